"""The explorer: an expert that knows only what the player has read.

It draws a map from the texts, works through the mission clause by clause, looks for what it has not
seen yet, fetches keys for locked doors and puts aside what is in its way. It plans anew at each
step, so it goes on sensibly after anybody else's actions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise

from .reading import Clause, Description, read_mission, read_observation
from .routes import BLOCKED, Routes, facing, frontiers, key_of, room
from .view import PORTABLE, Cell
from .worldmap import HEADINGS, Item, Pose, WorldMap, add

_DEPTH = 6  # errands within errands: a key, behind an object, behind a door, ...
_GLANCE = 3  # actions that a look around is worth before anything is taken out of the way
_NEAR = 6  # actions that a good place to lay something down is worth
_PATIENCE = 3  # times the same action is tried in the same situation
_WANDER = ("turn left", "move forward", "turn right", "move forward")


@dataclass(slots=True)
class _Errand:
    """Something to take away that lies in a way."""

    item: Item
    way: set[Cell]
    arrived: bool = False  # what was carried has been brought up to it


class Explorer:
    """Plays a game by what it has read so far."""

    def __init__(self, mission: str, view: str) -> None:
        """Begin with the mission and the first observation."""
        self._groups = read_mission(mission) or []
        self._world = WorldMap()
        self._looked: set[Pose] = set()
        self._refused: set[tuple[Pose, str]] = set()
        self._tried: Counter[tuple[Pose, str, str]] = Counter()
        self._start_room: set[Cell] = set()
        self._errand: _Errand | None = None
        self.observe("", view)

    def inform(self, free: set[Cell], walls: set[Cell], items: Iterable[Item]) -> None:
        """Draw a whole map in, at the beginning: makes a guide that knows what it has not read."""
        world = self._world
        world.free |= free
        world.walls = walls
        for item in items:
            world.items.setdefault(item.cell, item)
        self._start_room = room(world, (0, 0))

    @property
    def world(self) -> WorldMap:
        """The map as it is drawn so far."""
        return self._world

    @property
    def groups(self) -> list[list[Clause]]:
        """The parts of the mission that are still to be done, as `read_mission` has them."""
        return self._groups

    def resume(self, groups: list[list[Clause]]) -> None:
        """Go on with what is left of a mission."""
        self._groups = groups

    def remember(self, items: Iterable[Item]) -> None:
        """Draw in what was seen before, where nothing is drawn yet."""
        for item in items:
            self._world.items.setdefault(item.cell, item)

    def next_action(self) -> str:
        """The next action by what is known now."""
        action = self._decide()
        world = self._world
        situation = (world.pose, world.carried.name if world.carried else "", action)
        self._tried[situation] += 1
        if self._tried[situation] > _PATIENCE:  # going round in circles: anything else
            return _WANDER[sum(self._tried.values()) % len(_WANDER)]
        return action

    # --- reading ----------------------------------------------------------------------------

    def observe(self, action: str, observation: str) -> None:
        """Take in what an action did."""
        seen = read_observation(observation)
        if seen is None:
            return
        if action and not seen.done:
            self._refused.add((self._world.pose, action))
        for deed in seen.done:
            held = self._world.carried
            self._world.follow(deed)
            self._check(deed, held)
        self._world.see(seen)
        self._looked.add(self._world.pose)
        self._start_room = room(self._world, (0, 0))
        if seen.done:  # what is faced now may only just have come into view
            self._check("", self._world.carried)

    def _check(self, deed: str, held: Item | None) -> None:
        """Strike out the clauses that this deed has fulfilled; a group follows the one before."""
        while self._groups:
            group = self._groups[0]
            left = [clause for clause in group if not self._fulfilled(clause, deed, held)]
            self._groups[0] = left
            if left:
                return
            self._groups.pop(0)

    def _fulfilled(self, clause: Clause, deed: str, held: Item | None) -> bool:
        world = self._world
        front = world.items.get(world.front)
        if clause.verb == "go to":
            return front is not None and self._meant(clause.what, front)
        if clause.verb == "open":
            fits = front is not None and self._meant(clause.what, front)
            return bool(deed.startswith("toggle") and fits and front and front.state == "open")
        if clause.verb == "pick up":
            carried = world.carried
            return bool(
                deed.startswith("pick up") and carried and self._meant(clause.what, carried)
            )
        if not deed.startswith("drop") or held is None or not self._meant(clause.what, held):
            return False
        return any(
            self._meant(clause.beside, item)
            for item in map(world.items.get, _beside(held.cell))
            if item is not None and clause.beside is not None
        )

    def _meant(self, what: Description, item: Item) -> bool:
        """Whether a mission may speak of an object; places hold at the start, in the first room."""
        if not what.fits(item.name):
            return False
        ahead, right = item.home
        near = not {item.home, *_beside(item.home)}.isdisjoint(self._start_room)
        return {
            "": True,
            "front": ahead > 0 and near,
            "behind": ahead < 0 and near,
            "left": right < 0 and near,
            "right": right > 0 and near,
        }[what.place]

    # --- deciding ---------------------------------------------------------------------------

    def _decide(self) -> str:
        action = self._run_errand(0)
        if action is not None:
            return action
        if not self._groups:
            return self._explore(0) or _WANDER[0]
        plans = [self._plan(clause) for clause in self._groups[0]]
        for _, act in sorted(plans, key=lambda plan: plan[0]):
            action = act()
            if action is not None:
                return action
        return self._explore(0) or _WANDER[0]

    def _plan(self, clause: Clause) -> tuple[float, Callable[[], str | None]]:
        """How far a clause is from being fulfilled, and the action that brings it nearer."""
        world = self._world
        carried = world.carried
        if clause.beside is not None and carried is not None and self._meant(clause.what, carried):
            spots = self._spots(clause.beside)
            return self._distance(spots), lambda: self._reach(spots, "drop", None, 0)
        items = [item for item in world.items.values() if self._meant(clause.what, item)]
        if clause.beside is not None:
            items = [item for item in items if not self._meant(clause.beside, item)] or items
        goals = [pose for item in items for pose in facing(world, item.cell)]
        verb = "pick up" if clause.verb == "put" else clause.verb
        return self._distance(goals), lambda: self._handle(verb, items, 0)

    def _handle(self, verb: str, items: list[Item], depth: int) -> str | None:
        """Go to, open or pick up the nearest of some objects."""
        world = self._world
        if not items or depth > _DEPTH:
            return None
        if verb == "pick up" and world.carried is not None:
            return self._unlock_way(items, depth + 1) or self._lay_down(depth + 1)
        if verb == "open":
            locked = [item for item in items if item.state == "locked" and not self._key(item)]
            if len(locked) == len(items):
                return self._fetch_key(locked[0], depth + 1)
            items = [item for item in items if item not in locked]
        goals = [pose for item in items for pose in facing(world, item.cell)]
        at_end = {"go to": "stay", "open": "toggle", "pick up": "pick up"}[verb]
        return self._reach(goals, at_end, items, depth)

    def _unlock_way(self, items: list[Item], depth: int) -> str | None:
        """Open the first locked door on the way, before the hands are emptied at its end."""
        goals = [pose for item in items for pose in facing(self._world, item.cell)]
        for pose in Routes(self._world, goals).path(self._world.pose):
            door = self._world.items.get(pose[0])
            if door is not None and door.state == "locked":
                return self._handle("open", [door], depth)
        return None

    def _reach(
        self, goals: list[Pose], at_end: str, items: list[Item] | None, depth: int
    ) -> str | None:
        """The next action on the way to one of some poses, and there the deed."""
        world = self._world
        routes = Routes(world, goals)
        here = routes.distance.get(world.pose)
        if here is None or depth > _DEPTH:
            return None
        if here == 0:
            front = world.items.get(world.front)
            if at_end == "stay":
                return f"go to {front.name} {front.number}" if front else "turn left"
            return at_end
        path = [world.pose, *routes.path(world.pose)]
        hindrance = self._hindrance(path)
        if hindrance is None:
            return self._first(routes, path[1], at_end, items or [])
        if hindrance.is_door:
            return self._fetch_key(hindrance, depth + 1)
        fresh = self._fresh()
        if self._distance(fresh) <= _GLANCE:  # there may be a way around
            return self._reach(fresh, "turn left", None, depth + 1)
        return self._clear(hindrance, {pose[0] for pose in path}, depth + 1)

    def _hindrance(self, path: list[Pose]) -> Item | None:
        """The first object or locked door on a way that has to be dealt with before."""
        for before, after in pairwise(path):
            item = self._world.items.get(after[0])
            if item is None or before[0] == after[0] or item.state in ("open", "closed"):
                continue
            if not (item.is_door and self._key(item)):
                return item
        return None

    def _first(self, routes: Routes, following: Pose, at_end: str, items: list[Item]) -> str:
        """The first action of a way: a macro where that saves steps."""
        world = self._world
        best, far = self._primitive(following), routes.distance[following]
        if world.items.get(following[0]) and self._primitive(following) == "toggle":
            far += 1
        # Turns and steps take as long in both directions, so the way from here is a way to here.
        from_here = Routes(world, [world.pose])
        for item in world.items.values():
            if not item.number:
                continue
            for action, pose in self._macros(item, at_end, items, from_here):
                distance = routes.distance.get(pose)
                if distance is not None and distance < far and self._untried(action):
                    best, far = action, distance
        return best

    def _macros(
        self, item: Item, at_end: str, items: list[Item], from_here: Routes
    ) -> Iterable[tuple[str, Pose]]:
        """The macros for an object in view and where each would probably end."""
        world = self._world
        sides = [
            (from_here.distance.get((cell, (heading + 2) % 4), BLOCKED), (cell, heading))
            for cell, heading in facing(world, item.cell)
            if cell not in world.items or world.items[cell].state == "open"
        ]
        far, (cell, heading) = min(sides, default=(BLOCKED, world.pose))
        if far >= BLOCKED:
            return
        name = f"{item.name} {item.number}"
        verb = "pick up" if at_end == "pick up" and item in items else "go to"
        yield f"{verb} {name}", (cell, heading)
        if item.is_door and (item.state != "locked" or self._key(item)):
            verb = "go through" if item.state == "open" else "toggle and go through"
            if not (at_end == "toggle" and item in items):
                beyond = add(item.cell, heading)
                end = beyond if beyond in world.free else item.cell
                yield f"{verb} {name}", (end, heading)

    def _primitive(self, following: Pose) -> str:
        cell, heading = self._world.pose
        if following[0] == cell:
            return "turn right" if (heading + 1) % 4 == following[1] else "turn left"
        item = self._world.items.get(following[0])
        return (
            "toggle" if item is not None and item.state in ("closed", "locked") else "move forward"
        )

    def _untried(self, action: str) -> bool:
        """Whether it has not been refused here before."""
        return (self._world.pose, action) not in self._refused

    # --- errands ----------------------------------------------------------------------------

    def _key(self, door: Item) -> bool:
        carried = self._world.carried
        return carried is not None and carried.name == key_of(door.name)

    def _fetch_key(self, door: Item, depth: int) -> str | None:
        """Get the key of a door, after what lies before the door is out of the way."""
        world = self._world
        keys = [item for item in world.items.values() if item.name == key_of(door.name)]
        with world.without(keys):  # taking the key may be all that it needs
            goals = facing(world, door.cell)
            path = [world.pose, *Routes(world, goals).path(world.pose)]
            hindrance = self._hindrance(path)
        if hindrance is not None and not hindrance.is_door and depth <= _DEPTH:
            action = self._clear(hindrance, {pose[0] for pose in path}, depth)
            if action is not None:
                return action
        return self._handle("pick up", keys, depth) or self._explore(depth, but=door.cell)

    def _clear(self, item: Item, way: set[Cell], depth: int) -> str | None:
        """Begin to take away what lies in a way."""
        if item.name.split()[-1] not in PORTABLE:
            return None
        self._errand = _Errand(item, way)
        return self._run_errand(depth)

    def _run_errand(self, depth: int) -> str | None:
        """Go on taking something away: empty the hands, take it, lay it down off the way."""
        errand, world = self._errand, self._world
        if errand is None:
            return None
        item = errand.item
        action = None
        before = facing(world, item.cell)
        if world.carried is item:
            action = self._lay_down(depth, errand.way)
            if action == "drop":
                self._errand = None
        elif world.carried is not None:  # taken along up to there, since it will be wanted again
            errand.arrived |= not 1 < self._distance(before) < float("inf")
            action = (
                self._lay_down(depth, errand.way)
                if errand.arrived
                else self._reach(before, "", None, depth)
            )
        elif world.items.get(item.cell) is item:
            action = self._reach(before, "pick up", [item], depth)
        if action is None:
            self._errand = None
        return action

    def _lay_down(self, depth: int, way: set[Cell] | None = None) -> str | None:
        """Drop what is carried where it is in nobody's way."""
        world = self._world
        doors = {cell for cell, item in world.items.items() if item.is_door}
        free = sorted(world.free - world.items.keys())
        apart = [cell for cell in free if doors.isdisjoint(_beside(cell))]
        off = [cell for cell in free if cell not in (way or ())]
        best = [cell for cell in apart if cell in off]
        choices = [[p for c in cells for p in facing(world, c)] for cells in (best, off, free)]
        near = [goals for goals in choices[:2] if self._distance(goals) <= _NEAR]
        for goals in (*near, *choices):
            action = self._reach(goals, "drop", None, depth)
            if action is not None:
                return action
        return None

    def _explore(self, depth: int, but: Cell | None = None) -> str | None:
        """Look for what is unknown, the nearest first."""
        if depth > _DEPTH:
            return None
        goals = [pose for pose in self._fresh() if pose[0] != but]
        return self._reach(goals, "turn left", None, depth + 1)

    def _fresh(self) -> list[Pose]:
        """Poses that would show something unknown."""
        return [pose for pose in frontiers(self._world) if pose not in self._looked]

    def _spots(self, beside: Description) -> list[Pose]:
        """Poses that face a free cell next to an object."""
        world = self._world
        return [
            pose
            for item in list(world.items.values())
            if self._meant(beside, item)
            for cell in _beside(item.cell)
            if cell in world.free and cell not in world.items
            for pose in facing(world, cell)
            if pose[0] not in world.items
        ]

    def _distance(self, goals: list[Pose]) -> float:
        return Routes(self._world, goals).distance.get(self._world.pose, float("inf"))


def _beside(cell: Cell) -> list[Cell]:
    return [add(cell, heading) for heading in range(len(HEADINGS))]
