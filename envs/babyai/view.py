"""What the agent sees at one moment, read from minigrid's observation image and put into words.

Nothing but the image is read, so what walls and closed doors hide stays hidden. Places are told
from the agent's side: `ahead` and `right` count cells from where it stands, a negative `right` is
to the left. The encoding of the image is minigrid's (`minigrid.core.constants`).
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from operator import itemgetter
from typing import NamedTuple

SIZE = 7  # cells along a side of the view; the agent stands in the middle of its last row
_MIDDLE = SIZE // 2
UNSEEN, EMPTY, WALL, FLOOR, DOOR, KEY, BALL, BOX, GOAL, LAVA = range(10)
KINDS = {DOOR: "door", KEY: "key", BALL: "ball", BOX: "box", GOAL: "goal", LAVA: "lava"}
COLORS = ("red", "green", "blue", "purple", "yellow", "grey")
STATES = ("open", "closed", "locked")  # of a door
PORTABLE = frozenset({"key", "ball", "box"})
_WALKABLE = frozenset({EMPTY, FLOOR, GOAL})

Cell = tuple[int, int]  # (ahead, right)


class Thing(NamedTuple):
    """An object in view; `number` tells it from others of its name, the nearest is 1."""

    color: str
    kind: str
    number: int
    ahead: int
    right: int
    state: str = ""  # of a door

    @property
    def name(self) -> str:
        """As an action names it, without the number."""
        return f"{self.color} {self.kind}"

    def __str__(self) -> str:
        return f"{self.color} {self.kind} {self.number}"


def _offset(ahead: int, right: int) -> int:
    """Where the image holds a cell of the view."""
    return 3 * ((right + _MIDDLE) * SIZE + SIZE - 1 - ahead)


def _steps(count: int, word: str) -> str:
    return f"{count} step{'s' if count > 1 else ''} {word}"


def _place(ahead: int, right: int) -> str:
    side = "right" if right > 0 else "left"
    if not right:
        return _steps(ahead, "ahead")
    if not ahead:
        return _steps(abs(right), f"to the {side}")
    return f"{_steps(ahead, 'ahead')} and {abs(right)} to the {side}"


_OWN = _offset(0, 0)
_FRONT = _offset(1, 0)
# Every other cell, the nearest first and then from left to right: where the image holds it, where
# it is, and where that is in words.
_CELLS = tuple(
    (_offset(ahead, right), ahead, right, _place(ahead, right))
    for ahead, right in sorted(
        ((a, r) for a in range(SIZE) for r in range(-_MIDDLE, _MIDDLE + 1) if a or r),
        key=lambda cell: (cell[0] + abs(cell[1]), cell[1]),
    )
)
_AT = tuple(at for at, *_ in _CELLS)
_kinds = itemgetter(*_AT)  # the kind of each cell, in the order of `_CELLS`
_OBJECT = re.compile(rb"[%c-%c]" % (DOOR, LAVA))
_LINES = tuple(
    tuple((_offset(*cell), _place(*cell)) for cell in line)
    for line in (
        [(n, 0) for n in range(1, SIZE)],
        [(0, -n) for n in range(1, _MIDDLE + 1)],
        [(0, n) for n in range(1, _MIDDLE + 1)],
    )
)
# What the text tells besides the objects: the kinds and states along the lines, and the agent's own
# cell, which holds what it carries.
_surroundings = itemgetter(
    *(at + channel for line in _LINES for at, _ in line for channel in (0, 2)), _OWN, _OWN + 1
)


class View:
    """One observation: the things in it, the cells that can be walked on, and its text.

    Everything is read from the image when first asked for: most views within a macro never are.

    Args:
        cells: The image's bytes: `SIZE` x `SIZE` x (kind, colour, state), columns from left to
            right, each from far to near.
    """

    __slots__ = ("_cells", "_entries", "_text")

    def __init__(self, cells: bytes) -> None:
        self._cells = cells
        self._entries: list[tuple[Thing, str]] | None = None
        self._text = ""

    @property
    def things(self) -> tuple[Thing, ...]:
        """The objects in view, the nearest first."""
        return tuple([thing for thing, _ in self._read()])

    @property
    def carried(self) -> str:
        """The object carried, as `blue key`; empty for none."""
        return _carried(self._cells[_OWN], self._cells[_OWN + 1])

    @property
    def text(self) -> str:
        """The view in words."""
        if not self._text:
            seen = "; ".join([words for _, words in self._read()]) or "no objects"
            self._text = f"You see {seen}. {_around(_surroundings(self._cells))}"
        return self._text

    def walkable(self) -> set[Cell]:
        """The cells seen that can be entered, the agent's own among them."""
        cells = self._cells
        free = {(ahead, right) for at, ahead, right, _ in _CELLS if cells[at] in _WALKABLE}
        opened = {(t.ahead, t.right) for t in self.things if t.state == "open"}
        return free | opened | {(0, 0)}

    @property
    def front_kind(self) -> int:
        """The code of what is right in front."""
        return self._cells[_FRONT]

    @property
    def front(self) -> Thing | None:
        """The object right in front, if there is one."""
        if self._cells[_FRONT] in KINDS:
            for thing in self.things:
                if thing.ahead == 1 and not thing.right:
                    return thing
        return None

    @property
    def front_is_walkable(self) -> bool:
        """Whether the agent can step forward."""
        kind = self._cells[_FRONT]
        return kind in _WALKABLE or (kind == DOOR and STATES[self._cells[_FRONT + 2]] == "open")

    def find(self, name: str, number: int) -> Thing | None:
        """The object of that name and number."""
        for thing in self.things:
            if thing.number == number and thing.name == name:
                return thing
        return None

    def _read(self) -> list[tuple[Thing, str]]:
        """The things in view and their words."""
        if self._entries is None:
            cells, numbers = self._cells, dict[bytes, int]()
            entries = []
            for hit in _OBJECT.finditer(bytes(_kinds(cells))):
                rank = hit.start()
                at = _AT[rank]
                name = cells[at : at + 2]
                number = numbers[name] = numbers.get(name, 0) + 1
                entries.append(_entry(name, cells[at + 2], number, rank))
            self._entries = entries
        return self._entries


@lru_cache(maxsize=1 << 12)
def view_of(cells: bytes) -> View:
    """The view of an image, which may have been read before: one turns back, or plays again."""
    return View(cells)


@cache
def _entry(name: bytes, state: int, number: int, rank: int) -> tuple[Thing, str]:
    """A thing and its words, by codes and by the rank of its cell; there are a few thousand."""
    kind, color = name
    _, ahead, right, place = _CELLS[rank]
    door = STATES[state] if kind == DOOR else ""
    thing = Thing(COLORS[color], KINDS[kind], number, ahead, right, door)
    return thing, f"{thing} ({door}), {place}" if door else f"{thing}, {place}"


@lru_cache(maxsize=1 << 14)
def _around(surroundings: tuple[int, ...]) -> str:
    """What is told of walls and of what is carried, by the codes that `_surroundings` takes."""
    codes = iter(surroundings)
    places = []
    for line in _LINES:
        wall = ""
        open_so_far = True  # unseen cells and closed doors hide what is beyond
        for _, place in line:
            kind, state = next(codes), next(codes)
            if open_so_far and kind == WALL:
                wall = place
            open_so_far = (
                open_so_far and kind not in (UNSEEN, WALL) and not (kind == DOOR and state)
            )
        places += [wall] if wall else []
    carried = _carried(*codes)
    walls = ", ".join(places) or "none in a straight line"
    return f"Walls: {walls}. You carry {f'a {carried}' if carried else 'nothing'}."


@cache
def _carried(kind: int, color: int) -> str:
    return f"{COLORS[color]} {KINDS[kind]}" if kind in KINDS else ""
