"""What the agent sees at one moment, read from minigrid's observation image and put into words.

Nothing but the image is read, so what walls and closed doors hide stays hidden. Places are told
from the agent's side: `ahead` and `right` count cells from where it stands, a negative `right` is
to the left. The encoding of the image is minigrid's (`minigrid.core.constants`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

SIZE = 7  # cells along a side of the view; the agent stands in the middle of its last row
_MIDDLE = SIZE // 2
UNSEEN, EMPTY, WALL, FLOOR, DOOR, KEY, BALL, BOX, GOAL, LAVA = range(10)
KINDS = {DOOR: "door", KEY: "key", BALL: "ball", BOX: "box", GOAL: "goal", LAVA: "lava"}
COLORS = ("red", "green", "blue", "purple", "yellow", "grey")
STATES = ("open", "closed", "locked")  # of a door
PORTABLE = frozenset({"key", "ball", "box"})
_WALKABLE = frozenset({EMPTY, FLOOR, GOAL})

Cell = tuple[int, int]  # (ahead, right)


class Image(Protocol):
    """The part of a numpy array that is used: `SIZE` x `SIZE` x (kind, colour, state), uint8."""

    def tobytes(self) -> bytes:
        """All values in C order: columns from left to right, each from far to near."""
        ...


@dataclass(frozen=True, slots=True)
class Thing:
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
# Every other cell, the nearest first and then from left to right, with its place in words.
_CELLS = tuple(
    (_offset(ahead, right), ahead, right, _place(ahead, right))
    for ahead, right in sorted(
        ((a, r) for a in range(SIZE) for r in range(-_MIDDLE, _MIDDLE + 1) if a or r),
        key=lambda cell: (cell[0] + abs(cell[1]), cell[1]),
    )
)
_LINES = tuple(
    tuple((_offset(*cell), _place(*cell)) for cell in line)
    for line in (
        [(n, 0) for n in range(1, SIZE)],
        [(0, -n) for n in range(1, _MIDDLE + 1)],
        [(0, n) for n in range(1, _MIDDLE + 1)],
    )
)


class View:
    """One observation: the things in it, the cells that can be walked on, and its text."""

    def __init__(self, image: Image) -> None:
        self._cells = image.tobytes()

    @cached_property
    def things(self) -> tuple[Thing, ...]:
        """The objects in view, the nearest first."""
        return tuple(thing for thing, _ in self._seen)

    @cached_property
    def carried(self) -> str:
        """The object carried, as `blue key`; empty for none."""
        kind, color = self._cells[_OWN : _OWN + 2]
        return f"{COLORS[color]} {KINDS[kind]}" if kind in KINDS else ""

    @cached_property
    def text(self) -> str:
        """The view in words."""
        seen = "; ".join(
            f"{thing} ({thing.state}), {place}" if thing.state else f"{thing}, {place}"
            for thing, place in self._seen
        )
        walls = ", ".join(place for line in _LINES for place in self._wall(line))
        carried = f"a {self.carried}" if self.carried else "nothing"
        return (
            f"You see {seen or 'no objects'}. "
            f"Walls: {walls or 'none in a straight line'}. You carry {carried}."
        )

    @cached_property
    def walkable(self) -> frozenset[Cell]:
        """The cells seen that can be entered, the agent's own among them."""
        cells = self._cells
        free = [
            (ahead, right)
            for at, ahead, right, _ in _CELLS
            if cells[at] in _WALKABLE or (cells[at] == DOOR and not cells[at + 2])
        ]
        return frozenset([(0, 0), *free])

    def kind_at(self, cell: Cell) -> int:
        """The code of what a cell in view holds; UNSEEN where it is hidden."""
        return self._cells[_offset(*cell)]

    @property
    def front(self) -> Thing | None:
        """The object right in front, if there is one."""
        for thing in self.things:
            if thing.ahead == 1 and not thing.right:
                return thing
        return None

    @property
    def front_is_walkable(self) -> bool:
        """Whether the agent can step forward."""
        return (1, 0) in self.walkable

    def find(self, name: str, number: int) -> Thing | None:
        """The object of that name and number."""
        for thing in self.things:
            if thing.number == number and thing.name == name:
                return thing
        return None

    @cached_property
    def _seen(self) -> list[tuple[Thing, str]]:
        cells, numbers = self._cells, Counter[int]()
        seen = []
        for at, ahead, right, place in _CELLS:
            kind = cells[at]
            if kind < DOOR:
                continue
            color = cells[at + 1]
            numbers[kind << 8 | color] += 1
            number = numbers[kind << 8 | color]
            state = STATES[cells[at + 2]] if kind == DOOR else ""
            thing = Thing(COLORS[color], KINDS[kind], number, ahead, right, state)
            seen.append((thing, place))
        return seen

    def _wall(self, line: tuple[tuple[int, str], ...]) -> list[str]:
        """The place of the first wall along a line; none where a closed door hides it."""
        for at, place in line:
            if self._cells[at] == WALL:
                return [place]
            if not self._cells[at]:
                break
        return []
