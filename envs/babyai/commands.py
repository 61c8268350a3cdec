"""The action grammar: reading an action, and planning it over what the agent sees right now.

A primitive is one native action. A macro is a path through cells in view, found by breadth-first
search over poses, and what is to be done at its end; nothing remembered from earlier is used. What
cannot be carried out now is refused with a reason, before anything is done.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from .view import COLORS, EMPTY, KINDS, PORTABLE, STATES, WALL, Cell, Thing, View


class Primitive(IntEnum):
    """minigrid's native actions (`minigrid.core.actions`)."""

    LEFT = 0
    RIGHT = 1
    FORWARD = 2
    PICKUP = 3
    DROP = 4
    TOGGLE = 5
    DONE = 6  # does nothing, but lets the mission be checked


@dataclass(frozen=True, slots=True)
class Plan:
    """Native actions to carry out one after the other.

    `may_stop`: the last step forward is left out where something stands in the way of it.
    """

    primitives: tuple[Primitive, ...]
    may_stop: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an action is not possible now."""

    reason: str


WORDS = {
    "turn left": Primitive.LEFT,
    "turn right": Primitive.RIGHT,
    "move forward": Primitive.FORWARD,
    "pick up": Primitive.PICKUP,
    "drop": Primitive.DROP,
    "toggle": Primitive.TOGGLE,
}
_ALIASES = {
    "left": "turn left",
    "right": "turn right",
    "forward": "move forward",
    "go forward": "move forward",
    "pickup": "pick up",
}
_NATIVE = {
    spoken: (primitive, Plan((primitive,)))
    for words, primitive in WORDS.items()
    for spoken in (words, *(alias for alias, meant in _ALIASES.items() if meant == words))
}
_TURNS = (Primitive.LEFT, Primitive.RIGHT)
_VERBS = ("go to", "pick up", "pickup", "toggle and go through", "go through")
_MACRO = re.compile(
    rf"(?P<verb>{'|'.join(_VERBS)}) (?:the )?(?P<color>{'|'.join(COLORS)})"
    rf"(?: (?:{'|'.join(STATES)}))? (?P<kind>{'|'.join(KINDS.values())})(?: (?P<number>\d{{1,2}}))?"
)
_HEADINGS: tuple[Cell, ...] = ((1, 0), (0, 1), (-1, 0), (0, -1))  # ahead, right, behind, left
_UNKNOWN = Refusal("That is not an action.")
Pose = tuple[Cell, int]  # a cell of the view and a heading, 0 being the agent's own
Path = tuple[Primitive, ...]


class Paths:
    """The shortest paths to every pose that can be reached through cells in view."""

    def __init__(self, view: View) -> None:
        start: Pose = ((0, 0), 0)
        free = view.walkable()
        self._came: dict[Pose, tuple[Pose, Primitive] | None] = {start: None}
        self._facing: dict[Cell, Pose] = {}  # the first pose, so the nearest, that faces a cell
        self._standing: dict[Cell, Pose] = {}  # the first pose on a cell
        queue = [start]
        for pose in queue:  # grows while it is walked through
            cell, heading = pose
            ahead, right = _HEADINGS[heading]
            front = (cell[0] + ahead, cell[1] + right)
            self._standing.setdefault(cell, pose)
            self._facing.setdefault(front, pose)
            moves = [
                ((cell, (heading - 1) % 4), Primitive.LEFT),
                ((cell, (heading + 1) % 4), Primitive.RIGHT),
            ]
            if front in free:
                moves.insert(0, ((front, heading), Primitive.FORWARD))
            for following, primitive in moves:
                if following not in self._came:
                    self._came[following] = (pose, primitive)
                    queue.append(following)

    def to_face(self, cell: Cell) -> Path | None:
        """The way to stand before a cell, facing it; None where there is none in view."""
        return self._path(self._facing.get(cell))

    def to_enter(self, cell: Cell) -> Path | None:
        """The way onto a cell."""
        return self._path(self._standing.get(cell))

    def _path(self, pose: Pose | None) -> Path | None:
        if pose is None:
            return None
        path = []
        while (came := self._came[pose]) is not None:
            pose, primitive = came
            path.append(primitive)
        return tuple(reversed(path))


def plan(action: str, view: View) -> Plan | Refusal:
    """What an action means in this view."""
    words = action.lower().rstrip(".")
    native = _NATIVE.get(words)
    if native is not None:
        reason = _obstacle(native[0], view)
        return Refusal(reason) if reason else native[1]
    macro = _MACRO.fullmatch(words)
    if macro is None:
        return _UNKNOWN
    thing = _named(view, f"{macro['color']} {macro['kind']}", macro["number"])
    if isinstance(thing, Refusal):
        return thing
    verb = "pick up" if macro["verb"] == "pickup" else macro["verb"]
    return _macro(verb, thing, view, Paths(view))


def possible(view: View) -> list[str]:
    """Every action that would not be refused in this view, sorted."""
    actions = [words for words, primitive in WORDS.items() if not _obstacle(primitive, view)]
    actions += [action for action, _ in macros(view)]
    return sorted(actions)


def macros(view: View) -> Iterator[tuple[str, Plan]]:
    """Every macro that is possible in this view, with its plan."""
    paths = Paths(view)
    for thing in view.things:
        for verb in ("go to", "pick up", "go through", "toggle and go through"):
            found = _macro(verb, thing, view, paths)
            if isinstance(found, Plan):
                yield f"{verb} {thing}", found


def _named(view: View, name: str, number: str | None) -> Thing | Refusal:
    if number is None:
        alike = [thing for thing in view.things if thing.name == name]
        if len(alike) > 1:
            return Refusal(f"You see {len(alike)} of them: say which, as in {alike[0]}.")
        return alike[0] if alike else Refusal(f"You see no {name}.")
    return view.find(name, int(number)) or Refusal(f"You see no {name} {int(number)}.")


def _macro(verb: str, thing: Thing, view: View, paths: Paths) -> Plan | Refusal:
    cell = (thing.ahead, thing.right)
    is_door = thing.kind == "door"
    if "through" in verb and not is_door:
        return Refusal(f"{thing} is not a door.")
    if verb == "go through" and thing.state != "open":
        return Refusal(f"{thing} is {thing.state}.")
    if verb == "toggle and go through" and (reason := _shut(thing, view)):
        return Refusal(reason)
    if verb == "pick up" and (reason := _unliftable(thing, view)):
        return Refusal(reason)
    path = paths.to_enter(cell) if verb == "go through" else paths.to_face(cell)
    if path is None:
        return Refusal(f"You see no way to {thing}.")
    if verb == "go through":
        return Plan((*path, Primitive.FORWARD), may_stop=True)
    if verb == "toggle and go through":
        return Plan((*path, *_TOGGLE_THROUGH), may_stop=True)
    if verb == "pick up":
        return Plan((*path, Primitive.PICKUP))
    return Plan(path or (Primitive.DONE,))  # already there: let the mission be checked


_TOGGLE_THROUGH = (Primitive.TOGGLE, Primitive.FORWARD, Primitive.FORWARD)


def _obstacle(primitive: Primitive, view: View) -> str:
    """Why a native action would do nothing now; empty where it would do something."""
    if primitive in _TURNS:
        return ""
    front = view.front
    if primitive == Primitive.FORWARD:
        return "" if view.front_is_walkable else f"{_what(front, view)} is in your way."
    if primitive == Primitive.PICKUP:
        return _unliftable(front, view) if front else "There is nothing in front of you."
    if primitive == Primitive.DROP:
        if not view.carried:
            return "You carry nothing."
        free = view.front_kind == EMPTY
        return "" if free else f"There is no room: {_what(front, view)} is in front of you."
    if primitive == Primitive.TOGGLE:
        if front is None or front.kind not in ("door", "box"):
            return "There is no door and no box in front of you."
        return _lock(front, view)
    return ""


def _what(front: Thing | None, view: View) -> str:
    if front is not None:
        return str(front)
    return "A wall" if view.front_kind == WALL else "Something"


def _unliftable(thing: Thing, view: View) -> str:
    if thing.kind not in PORTABLE:
        return f"{thing} cannot be picked up."
    return f"You carry a {view.carried} already." if view.carried else ""


def _shut(door: Thing, view: View) -> str:
    """Why a door cannot be opened on the way through it."""
    if door.state == "open":
        return f"{door} is open."
    return _lock(door, view)


def _lock(thing: Thing, view: View) -> str:
    if thing.state == "locked" and view.carried != f"{thing.color} key":
        return f"{thing} is locked, and you do not carry a {thing.color} key."
    return ""
