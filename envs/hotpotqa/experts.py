"""The oracle: it knows the answer, and reads the paragraphs that support it before it gives it."""

from __future__ import annotations

from ..staged.messages import OK
from .answers import write_answer
from .forms import Form, Interactive, ThreeStage


class Oracle:
    """Solves an episode from wherever it stands."""

    def __init__(self, episode: Form) -> None:
        self._episode = episode
        self._tried: set[str] = set()  # so that no paragraph is asked for for ever

    def next_action(self) -> str:
        """The next action."""
        episode = self._episode
        if isinstance(episode, ThreeStage) and not episode.asked:
            return OK
        if isinstance(episode, Interactive):
            for title in dict.fromkeys(title for title, _ in episode.question.facts):
                number = episode.library.titled(title)
                if number in episode.opened or title in self._tried:
                    continue
                self._tried.add(title)
                if number is not None:
                    return f"search[{episode.question.context[number].name}]"
        names = {p.title: p.name for p in episode.question.context}
        facts = [(names.get(title, title), at) for title, at in episode.question.facts]
        return write_answer(episode.question.answer, facts)
