"""The explorer: an expert that knows only what the player has read, and school science.

It is built from texts alone and has no way to the simulator. What it knows of science (which
animals live long, which paints mix to which) is general knowledge, not taken from the tasks. It
solves the simpler kinds of tasks and tries its best at others.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from . import circuits, heat, living, mixing, slopes
from .hands import Hands, Plan
from .notes import Notes
from .simulator import NO_ACTION

_HARMLESS = re.compile(r"look .*|examine .*|inventory|task|help|objects|read .*")
_PLANS: tuple[tuple[str, Callable[[Hands, str], Plan[None]]], ...] = (
    (r"find a\(n\)", living.find),
    (r"life span", living.life_spans),
    (r"life stages of", living.life_stages),
    (r"to grow a \w+ plant", living.grow_plant),
    (r"dominant or recessive", living.inheritance),
    (r"create \S+ paint", mixing.paint),
    (r"use chemistry to create", mixing.recipe),
    (r"turn on the", circuits.power),
    (r"is electrically conductive", circuits.conductivity),
    (r"measure the temperature", heat.temperature),
    (r"measure the melting point", heat.melting_point),
    (r"to (?:boil|melt|freeze|change the state)", heat.change_state),
    (r"inclined planes", slopes.compare),
)


class Explorer:
    """Plays a task by what it has read so far."""

    def __init__(self, goal: str, first_observation: str) -> None:
        """Start with the task sentence and the first look around."""
        self._goal = goal
        self._notes = Notes(first_observation)
        self._plan: Plan[None] | None = None
        self._proposed: str | None = None

    @property
    def notes(self) -> Notes:
        """What was read so far."""
        return self._notes

    def observe(self, action: str, observation: str) -> None:
        """Take in what an action, one's own or another's, led to."""
        self._notes.observe(action, observation)
        if self._plan is not None and action == self._proposed:
            try:
                self._proposed = _folded(self._plan.send(observation))
            except StopIteration:
                self._proposed = None  # the plan has come to its end
        elif not _HARMLESS.fullmatch(action) and not observation.startswith(NO_ACTION):
            self._plan = None  # begin anew, with what the notes say

    def next_action(self) -> str | None:
        """The next action; None where there is none, or the task is not understood."""
        if self._plan is None:
            self._plan = self._begin()
            proposed = next(self._plan, None)
            self._proposed = None if proposed is None else _folded(proposed)
        return self._proposed

    def _begin(self) -> Plan[None]:
        for pattern, plan in _PLANS:
            if re.search(pattern, self._goal):
                return plan(Hands(self._notes), self._goal)
        return _nothing()


def _folded(action: str) -> str:
    """The action as it comes back: a plan that knows no name for a thing leaves a gap."""
    return " ".join(action.split())


def _nothing() -> Plan[None]:
    """No plan at all."""
    yield from ()
