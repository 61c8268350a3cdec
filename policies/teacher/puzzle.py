"""A mind for the planning problems: it keeps the state in mind, and goes by plain rules (`ways`).

Nothing is hidden there, and `look` tells the whole state again. So nothing is noted: where the
start is cut off the context, one look takes its place.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...envs.pddl.games import GAMES, domain
from ...envs.pddl.planner import Observer
from ...envs.pddl.words import Reader
from .ways import Step, way

_LOOK = "look"
_MOST_LEFT = 4  # clauses of a thought that are still to be made true
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
        """See `Mind.act`: the planner's action where the way of the domain knows no step."""
        if not self._chosen:
            step, observer = self._step(), self._observer
            planned = observer.next_action() if observer is not None and step is None else None
            self._chosen = step.action if step is not None else planned or _LOOK
        return self._chosen

    def remark(self, action: str = "") -> str:
        """See `Mind.remark`: what the way looks at, and why it does what comes next."""
        step = self._step()
        if step is not None:
            meant = not action or action == step.action
            return f"{step.state} {step.why}".rstrip() if meant else step.state
        if self._observer is None:
            return "The whole state is not in sight. Look."
        left = [
            GAMES[self._game].words.literal(literal)
            for literal in _reader(self._game).literals(self._goal.removeprefix(_AIM))
            if (literal.fact in self._observer.facts) != literal.positive
        ]
        return f"Not yet: {'; '.join(left[:_MOST_LEFT])}." if left else ""

    def _step(self) -> Step | None:
        """The next step by the rules of the domain; None where they know none."""
        world = self._observer.world() if self._observer is not None else None
        return way(self._game, world) if world is not None else None

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
