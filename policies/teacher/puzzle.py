"""A mind for the planning problems: what is true, what is still to be made true.

Nothing is hidden there, and `look` tells the whole state again. So nothing is noted: where the
start is cut off the context, one look takes its place.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...envs.pddl.games import GAMES, domain
from ...envs.pddl.language import Literal
from ...envs.pddl.planner import Observer
from ...envs.pddl.words import Reader

_LOOK = "look"
_MOST_LEFT = 4  # clauses of a thought that are still to be made true
_MOST_TRUE = 2  # and that are
_AIM = "make all of this true at the same time: "


def told(texts: Sequence[str]) -> dict[str, str]:
    """Nothing: what is told there is seen again when the task begins."""
    del texts
    return {}


class Puzzle:
    """What is known of a problem."""

    def __init__(self, goal: str) -> None:
        """Start with the goal."""
        self._goal = goal
        said = {name: len(_reader(name).literals(goal)) for name in GAMES}
        self._game = max(said, key=lambda name: said[name])
        self._observer: Observer | None = None
        self._chosen = ""

    def read(self, action: str, observation: str) -> None:
        """See `Mind.read`."""
        del action
        self._chosen = ""
        if self._observer is not None:
            self._observer.observe(observation)
        elif Reader.objects(observation):
            intro = GAMES[self._game].words.intro
            first = observation if intro in observation else f"{intro} {observation}"
            self._observer = Observer(self._goal, first)

    def recall(self, name: str, fact: str) -> None:
        """See `Mind.recall`: there are no notes."""

    @property
    def whole(self) -> bool:
        """See `Mind.whole`: what is missing is looked at, not retrieved."""
        return True

    def act(self) -> str:
        """See `Mind.act`."""
        if not self._chosen:
            action = self._observer.next_action() if self._observer is not None else None
            self._chosen = action or _LOOK
        return self._chosen

    def remark(self, action: str = "") -> str:
        """See `Mind.remark`: what of the goal does not hold, what of it comes next, what is true.

        What does not hold is told in the goal's order: so it is what the thought before told, less
        what has come true since.
        """
        observer, action = self._observer, action or self.act()
        if observer is None:
            return "The whole state is not in sight. Look."
        words = GAMES[self._game].words
        left = [
            words.literal(literal)
            for literal in _reader(self._game).literals(self._goal.removeprefix(_AIM))
            if (literal.fact in observer.facts) != literal.positive
        ]
        first = observer.next_reached()
        names = set(action.split())
        true = [
            clause
            for clause in map(words.literal, map(Literal, sorted(observer.facts)))
            if not names.isdisjoint(clause.split()[:1])
        ]
        parts = [f"Not yet: {'; '.join(left[:_MOST_LEFT])}."] if left else []
        if first is not None and len(left) > 1:
            parts.append(f"First {words.literal(first)}.")
        return " ".join([*parts, f"Now {'; '.join(true[:_MOST_TRUE])}."] if true else parts)

    def found(self) -> dict[str, str]:
        """See `Mind.found`."""
        return {}

    def state(self) -> dict[str, str]:
        """See `Mind.state`."""
        return {}

    def mended(self, name: str, fact: str) -> str | None:
        """See `Mind.mended`."""
        del name
        return fact

    def queries(self, *, cut: bool) -> list[tuple[str, int]]:
        """See `Mind.queries`."""
        del cut
        return []

    def over(self) -> str:
        """See `Mind.over`."""
        return ""


def _reader(game: str) -> Reader:
    return Reader(domain(game), GAMES[game].words)
