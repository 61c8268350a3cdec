"""Shortest ways over the explorer's map, counted in actions."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from .view import SIZE, Cell
from .worldmap import Pose, WorldMap, add

BLOCKED = 30.0  # actions that it may take to put an object out of the way
LOCKED = 60.0  # and to find the key of a door
_FAR = SIZE - 1
_SIDE = SIZE // 2


class Routes:
    """How many actions each pose is away from the nearest of some poses to be reached.

    A way through an object or a locked door is counted at a price; who follows it has to clear
    the object away, or to bring the key, before.
    """

    def __init__(self, world: WorldMap, goals: Iterable[Pose]) -> None:
        self._world = world
        self.distance: dict[Pose, float] = dict.fromkeys(goals, 0.0)
        self.following: dict[Pose, Pose] = {}
        queue = [(0.0, pose) for pose in sorted(self.distance)]
        while queue:
            far, pose = heapq.heappop(queue)
            if far > self.distance[pose]:
                continue
            for before, cost in self._before(pose):
                if far + cost < self.distance.get(before, float("inf")):
                    self.distance[before] = far + cost
                    self.following[before] = pose
                    heapq.heappush(queue, (far + cost, before))

    def path(self, pose: Pose) -> list[Pose]:
        """The poses after this one, up to one to be reached."""
        path = []
        while pose in self.following:
            pose = self.following[pose]
            path.append(pose)
        return path

    def _before(self, pose: Pose) -> list[tuple[Pose, float]]:
        """From where a pose is one action away, and at what price."""
        cell, heading = pose
        poses = [((cell, (heading - 1) % 4), 1.0), ((cell, (heading + 1) % 4), 1.0)]
        behind = add(cell, heading, -1)
        if behind in self._world.free:
            poses.append(((behind, heading), self._price(cell)))
        return poses

    def _price(self, cell: Cell) -> float:
        """Actions to step onto a cell."""
        item = self._world.items.get(cell)
        if item is None or item.state == "open":
            return 1.0
        if item.state == "closed":
            return 2.0
        if item.state == "locked":
            carried = self._world.carried
            key = carried is not None and carried.name == key_of(item.name)
            return 2.0 if key else LOCKED
        return BLOCKED


def key_of(door: str) -> str:
    """The name of the key to a door."""
    return door.replace("door", "key")


def facing(world: WorldMap, cell: Cell) -> list[Pose]:
    """The poses from which a cell is right in front."""
    poses = [(add(cell, heading, -1), heading) for heading in range(4)]
    return [pose for pose in poses if pose[0] in world.free]


def in_sight(pose: Pose, cell: Cell) -> bool:
    """Whether a cell lies within the view from a pose, walls aside."""
    (here_ahead, here_right), heading = pose
    (ahead, right), turned = add((0, 0), heading), add((0, 0), heading + 1 & 3)
    da, dr = cell[0] - here_ahead, cell[1] - here_right
    return (
        0 <= da * ahead + dr * right <= _FAR and -_SIDE <= da * turned[0] + dr * turned[1] <= _SIDE
    )


def room(world: WorldMap, start: Cell) -> set[Cell]:
    """The known cells that can be reached from one without passing a door; objects do not count."""
    doors = {cell for cell, item in world.items.items() if item.is_door}
    found, queue = {start}, [start]
    for cell in queue:  # grows while it is walked through
        for heading in range(4):
            following = add(cell, heading)
            if following in world.free and following not in found and following not in doors:
                found.add(following)
                queue.append(following)
    return found


def frontiers(world: WorldMap) -> list[Pose]:
    """Poses that show unknown cells: in a room as far as a look goes, at a door by passing it."""
    known = world.free | world.walls
    poses: list[Pose] = []
    seen: set[Cell] = set()
    for start in sorted(world.free):
        item = world.items.get(start)
        if item is not None and item.is_door:
            poses += [
                (start, heading)
                for heading in range(4)
                if add(start, heading) not in known and add(start, heading, -1) in world.free
            ]
        elif start not in seen:
            cells = room(world, start)
            seen |= cells
            unknown = {add(c, h) for c in cells for h in range(4)} - known
            poses += [
                (cell, heading)
                for cell in sorted(cells)
                if cell not in world.items
                for heading in range(4)
                if any(in_sight((cell, heading), other) for other in unknown)
            ]
    return poses
