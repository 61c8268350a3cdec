"""Reading missions and observations as an agent reads them: what the explorer knows, it has here.

Only the texts are read; nothing of minigrid or of the game is reached from here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .view import Thing

_COLORS = "red|green|blue|purple|yellow|grey"
_KINDS = "ball|box|key|door|goal|lava"
_VIEW = re.compile(r"You see ([^.]*)\. Walls: ([^.]*)\. You carry ([^.]*)\.$")
_THING = re.compile(rf"({_COLORS}) ({_KINDS}) (\d+)(?: \((\w+)\))?, ([^;]+)")
_PLACE = re.compile(r"(?:(\d+) steps? ahead)?(?: and )?(?:(\d+)(?: steps?)? to the (left|right))?")
_DONE = re.compile(r"^You ((?:turn|move|pick|drop|toggle|stay)[^.]*)\.")
_REPEATED = re.compile(r"(.*?) (\d+) times")
_CLAUSE = re.compile(r"(go to|open|pick up|put) (.+?)(?: next to (.+))?")
_PLACES = {
    "in front of you": "front",
    "behind you": "behind",
    "on your left": "left",
    "on your right": "right",
}
_NAMED = re.compile(
    rf"(?:the|a) (?:({_COLORS}) )?(ball|box|key|door|object)"
    r"(?: (in front of you|behind you|on your left|on your right))?"
)


@dataclass(frozen=True, slots=True)
class Seen:
    """What one observation says.

    `done` are the single movements and deeds it reports; `walls` the cells to the nearest wall
    ahead, to the left and to the right, None where it names none.
    """

    done: tuple[str, ...]
    things: tuple[Thing, ...]
    walls: tuple[int | None, int | None, int | None]
    carried: str


@dataclass(frozen=True, slots=True)
class Description:
    """The object that a mission speaks of; an empty part is left open."""

    color: str
    kind: str
    place: str

    def fits(self, name: str) -> bool:
        """Whether an object of this name, as `red ball`, may be meant; places aside."""
        color, _, kind = name.partition(" ")
        return self.color in ("", color) and self.kind in ("", kind)


@dataclass(frozen=True, slots=True)
class Clause:
    """One plain instruction; `beside` only for `put`."""

    verb: str
    what: Description
    beside: Description | None = None


def read_observation(text: str) -> Seen | None:
    """What an observation says; None for one that shows no view."""
    view = _VIEW.search(text)
    if view is None:
        return None
    things = tuple(_thing(found) for found in _THING.finditer(view[1]))
    done = _DONE.match(text)
    return Seen(
        done=tuple(_deeds(done[1])) if done else (),
        things=things,
        walls=_walls(view[2]),
        carried="" if view[3] == "nothing" else view[3].removeprefix("a "),
    )


def _place(text: str) -> tuple[int, int]:
    found = _PLACE.fullmatch(text)
    if found is None:
        return 0, 0
    side = -1 if found[3] == "left" else 1
    return int(found[1] or 0), side * int(found[2] or 0)


def _thing(found: re.Match[str]) -> Thing:
    ahead, right = _place(found[5])
    return Thing(found[1], found[2], int(found[3]), ahead, right, found[4] or "")


def _walls(text: str) -> tuple[int | None, int | None, int | None]:
    ahead = left = right = None
    for part in text.split(", "):
        a, r = _place(part)
        if a:
            ahead = a
        elif r < 0:
            left = -r
        elif r:
            right = r
    return ahead, left, right


def _deeds(text: str) -> list[str]:
    deeds: list[str] = []
    for part in text.split(", "):
        repeated = _REPEATED.fullmatch(part)
        deeds += [repeated[1]] * int(repeated[2]) if repeated else [part]
    return deeds


def read_mission(mission: str) -> list[list[Clause]] | None:
    """A mission as groups of clauses, the groups in the order they are due; None if unreadable."""
    first, after, second = mission.partition(" after you ")
    parts = [second, first] if after else mission.split(", then ")
    groups = [[_clause(text) for text in re.split(r" and (?=go|open|pick|put)", p)] for p in parts]
    read = [[clause for clause in group if clause is not None] for group in groups]
    return read if all(len(a) == len(b) for a, b in zip(read, groups, strict=True)) else None


def _clause(text: str) -> Clause | None:
    found = _CLAUSE.fullmatch(text)
    if found is None or (found[1] == "put") != (found[3] is not None):
        return None
    what = _description(found[2])
    beside = _description(found[3]) if found[3] else None
    if what is None or (found[3] and beside is None):
        return None
    return Clause(found[1], what, beside)


def _description(text: str) -> Description | None:
    found = _NAMED.fullmatch(text)
    if found is None:
        return None
    kind = "" if found[2] == "object" else found[2]
    return Description(found[1] or "", kind, _PLACES.get(found[3], ""))
