"""The explorer's map: what a player can draw from the texts, in a frame of its own.

Cells are (ahead, right) from where the game began, headings 0 to 3 are the one at the start and
then clockwise. Rooms are rectangles, so the nearest walls ahead and to both sides bound an area
that is all in view: what is not named in it is free.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .reading import Seen
from .view import SIZE, Cell

HEADINGS: tuple[Cell, ...] = ((1, 0), (0, 1), (-1, 0), (0, -1))
_SIDE = SIZE // 2
Pose = tuple[Cell, int]


@dataclass(slots=True)
class Item:
    """An object on the map; `home` is where it was first seen, `number` is that of the view."""

    name: str
    cell: Cell
    home: Cell
    state: str = ""
    number: int = 0  # 0 while it is not in view

    @property
    def is_door(self) -> bool:
        """Whether it is a door."""
        return bool(self.state)


def add(cell: Cell, heading: int, count: int = 1) -> Cell:
    """The cell so many steps away."""
    ahead, right = HEADINGS[heading]
    return cell[0] + count * ahead, cell[1] + count * right


class WorldMap:
    """Cells known to be free or wall, the objects, and the player's pose."""

    def __init__(self) -> None:
        self.pose: Pose = ((0, 0), 0)
        self.free: set[Cell] = {(0, 0)}  # floor, whether or not an object lies on it
        self.walls: set[Cell] = set()
        self.items: dict[Cell, Item] = {}
        self.carried: Item | None = None

    @property
    def front(self) -> Cell:
        """The cell in front of the player."""
        return add(*self.pose)

    def follow(self, deed: str) -> None:
        """Move as the text reports; deeds are single."""
        cell, heading = self.pose
        if deed == "turn left":
            self.pose = cell, (heading - 1) % 4
        elif deed == "turn right":
            self.pose = cell, (heading + 1) % 4
        elif deed == "move forward":
            self.pose = self.front, heading
        elif deed.startswith("pick up"):
            self.carried = self.items.pop(self.front, None)
        elif deed.startswith("drop") and self.carried is not None:
            self.carried.cell = self.front
            self.items[self.front], self.carried = self.carried, None
        elif deed.startswith("toggle") and self.front in self.items:
            item = self.items[self.front]
            if item.is_door:
                item.state = "closed" if item.state == "open" else "open"
            else:
                del self.items[self.front]

    def see(self, seen: Seen) -> None:
        """Draw what an observation shows from the present pose."""
        for item in self.items.values():
            item.number = 0
        shown = {}
        for thing in seen.things:
            cell = self._cell(thing.ahead, thing.right)
            known = self.items.get(cell)
            item = known if known and known.name == thing.name else Item(thing.name, cell, cell)
            self.items[cell] = item
            item.state, item.number = thing.state, thing.number
            shown[thing.ahead, thing.right] = item
            self.free.add(cell)
        self._draw(seen, shown)

    @contextlib.contextmanager
    def without(self, items: Iterable[Item]) -> Iterator[None]:
        """The map as it would be if these objects were gone."""
        whole = dict(self.items)
        for item in items:
            self.items.pop(item.cell, None)
        try:
            yield
        finally:
            self.items = whole

    def _draw(self, seen: Seen, shown: dict[Cell, Item]) -> None:
        """The area that the walls bound, and the walls themselves."""
        ahead, wall_ahead = self._line(seen.walls[0], SIZE - 1, (1, 0), shown)
        left, wall_left = self._line(seen.walls[1], _SIDE, (0, -1), shown)
        right, wall_right = self._line(seen.walls[2], _SIDE, (0, 1), shown)
        here = self.items.get(self.pose[0])
        if here is not None and here.is_door:  # in a doorway only the row itself is bounded
            self.walls |= {self._cell(0, -1), self._cell(0, 1)}
            left = right = 1
            wall_left = wall_right = False
        for a in range(ahead):
            for r in range(1 - left, right):
                cell = self._cell(a, r)
                self.free.add(cell)
                if (a or r) and (a, r) not in shown:
                    self.items.pop(cell, None)  # moved since
        bounds = [(ahead, r) for r in range(1 - left, right)] if wall_ahead else []
        bounds += [(a, -left) for a in range(ahead)] if wall_left else []
        bounds += [(a, right) for a in range(ahead)] if wall_right else []
        for place in bounds:
            cell = self._cell(*place)
            if not (place in shown and shown[place].is_door) and cell not in self.free:
                self.walls.add(cell)

    def _line(
        self, wall: int | None, reach: int, step: Cell, shown: dict[Cell, Item]
    ) -> tuple[int, bool]:
        """How far away the area ends along a line, and whether by a wall or door."""
        for n in range(1, (wall or reach + 1)):
            item = shown.get((n * step[0], n * step[1]))
            if item is not None and item.is_door:
                beyond = range(n + 1, (wall or reach + 1)) if item.state == "open" else ()
                self.free |= {self._cell(m * step[0], m * step[1]) for m in beyond}
                return n, True
        return (wall, True) if wall else (reach + 1, False)

    def _cell(self, ahead: int, right: int) -> Cell:
        cell, heading = self.pose
        forward, side = HEADINGS[heading], HEADINGS[(heading + 1) % 4]
        return (
            cell[0] + ahead * forward[0] + right * side[0],
            cell[1] + ahead * forward[1] + right * side[1],
        )
