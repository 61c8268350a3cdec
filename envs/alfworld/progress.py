"""What a game asks for, and how much of it is reached: our own subgoals, from engine facts.

ALFWorld itself only knows won or not. The subgoals are read off the goal condition, so they are
the same for official and generated games:

- an object to be placed: to hold it (or to have it in its place, treated as wanted); each state it
  must have (clean, hot, cool); to be in its place with those states. So two subgoals for
  `pick_and_place_simple`, three for the clean, heat and cool tasks, and four for
  `pick_two_obj_and_place`, where both objects count towards the same receptacle;
- `look_at_obj_in_light`: to hold the object; to have switched the lamp on; both at the lamp.

What counts is the best choice of objects and receptacle. Progress is the share of subgoals reached,
best so far in the episode: it never falls, and it is 1 exactly when the game is won. A scene may
offer a subgoal from the start, such as one of two objects in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .engine import Engine
from .game import NONE, Game
from .goal import Goal, atoms

_STATES = {"isclean": "clean", "ishot": "hot", "iscool": "cool", "issliced": "sliced"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """One object that a goal asks for.

    Attributes:
        kind: its type, such as `mugtype`.
        states: what it must be: `clean, hot, cool, sliced`.
        place: the type of receptacle it must be in; None where it need not be in one.
        held: whether it must be in hand.
        lit: whether it is a lamp that must have been switched on, with the player beside it.
    """

    kind: str
    states: frozenset[str]
    place: str | None
    held: bool
    lit: bool


def wanted_by(goal: Goal) -> tuple[Wanted, ...]:
    """The objects a goal asks for, in its order; objects with a place share one receptacle."""
    found = list(atoms(goal))
    kinds = {a.args[0]: a.args[1] for a in found if a.predicate == "objecttype"}
    places = {a.args[0]: a.args[1] for a in found if a.predicate == "receptacletype"}
    inside = {a.args[0]: a.args[1] for a in found if a.predicate == "inreceptacle"}
    held = {a.args[1] for a in found if a.predicate == "holds"}
    lit = {a.args[0] for a in found if a.predicate == "istoggled"}
    states = [(a.args[0], _STATES[a.predicate]) for a in found if a.predicate in _STATES]
    return tuple(
        Wanted(
            kind=kind,
            states=frozenset(state for owner, state in states if owner == thing),
            place=places.get(inside.get(thing, "")),
            held=thing in held,
            lit=thing in lit,
        )
        for thing, kind in kinds.items()
    )


def of_kind(game: Game, kind: str) -> tuple[str, ...]:
    """The names of a game's objects of a type."""
    return tuple(name for name in game.objects if game.types.get(name) == kind)


def reachable(game: Game, kind: str) -> tuple[str, ...]:
    """The names of a game's receptacles of a type that one can go to."""
    return tuple(
        name
        for name, place in zip(game.receptacles, game.place_of, strict=True)
        if game.types.get(name) == kind and place != NONE
    )


class Progress:
    """The progress of one episode; `update` after the reset and after each step."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        game = engine.game
        self.wanted = wanted_by(game.goal)
        self._things = {w.kind: of_kind(game, w.kind) for w in self.wanted}
        self._placed = [w for w in self.wanted if w.place is not None]
        self._places = reachable(game, self._placed[0].place or "") if self._placed else ()
        self._beside = [w for w in self.wanted if w.place is None]
        # A goal that is not placing comes true as a whole, which is one more subgoal.
        self._total = sum(2 + len(w.states) for w in self._placed) + (
            len(self._beside) + 1 if self._beside else 0
        )
        self.best = 0.0

    def update(self) -> float:
        """The share of subgoals reached so far, from the engine's present state."""
        if self._engine.won:
            self.best = 1.0
        elif self._total and self.best < 1.0:
            reached = self._reached_placing() + sum(map(self._reached_beside, self._beside))
            self.best = max(self.best, min(reached, self._total - 1) / self._total)
        return self.best

    def _reached_beside(self, wanted: Wanted) -> bool:
        if wanted.lit:
            return any("toggled" in self._engine.flags(t) for t in self._things[wanted.kind])
        return self._engine.holding in self._things[wanted.kind]

    def _reached_placing(self) -> int:
        if not self._placed:
            return 0
        return max((self._reached_at(place) for place in self._places), default=0)

    def _reached_at(self, place: str) -> int:
        """Subgoals reached if the objects are to go to this receptacle, each by another object."""
        contents = self._engine.contents(place)
        used: set[str] = set()
        total = 0
        for wanted in self._placed:
            options = [
                (self._reached_by(thing, wanted, contents), thing)
                for thing in self._things[wanted.kind]
                if thing not in used
            ]
            if options:
                reached, thing = max(options)
                used.add(thing)
                total += reached
        return total

    def _reached_by(self, thing: str, wanted: Wanted, contents: Sequence[str]) -> int:
        states = wanted.states & self._engine.flags(thing)
        done = thing in contents and states == wanted.states
        return (done or self._engine.holding == thing) + len(states) + done
