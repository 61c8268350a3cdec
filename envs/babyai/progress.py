"""How far a mission is, by subgoals of our own read from minigrid's instruction tree.

Each plain instruction counts for one: `go to`, `open` and `pick up` when done, `put` for a half
when one of the things to move is carried and for one when it lies next to the other. Where the
thing meant is a locked door or lies behind one, its key in the hands counts for half of the first
of these. In an ordered mission the second part counts only after the first. The progress is the
mean, the best so far, and 1 when the mission is accomplished.
minigrid's own verifier keeps state, so nothing of it is called here; the tree is only read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .commands import Primitive

_Cell = tuple[int, int]  # of minigrid's grid: to the right, down
HALF = 0.5
_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))  # by direction: to the right, down, left, up


class Progress:
    """The progress of one episode; `update` after every native action."""

    def __init__(self, env: Any) -> None:
        """Read the mission of a minigrid environment that has just been reset."""
        self._env = env
        self._root = _node(env.instrs)
        self.value = 0.0

    def update(self, primitive: Primitive, *, success: bool) -> float:
        """Take note of the state after a native action; returns the best progress so far."""
        self._root.update(self._env, primitive)
        share = self._root.share
        if share == 1.0 and not success:
            share = 0.0  # our reading of the mission and minigrid's differ: claim nothing
        self.value = 1.0 if success else max(self.value, share)
        return self.value


class _Leaf:
    """A plain instruction."""

    size = 1

    def __init__(self, instruction: Any) -> None:
        self._instruction = instruction
        self._kind = type(instruction).__name__
        self.share = 0.0
        self._locks = _locks(
            instruction.env, self._first.obj_poss, to_open=self._kind == "OpenInstr"
        )
        self._carried: Any = None  # before the action

    @property
    def _first(self) -> Any:
        """The description of what is to be reached first."""
        instruction = self._instruction
        return instruction.desc_move if self._kind == "PutNextInstr" else instruction.desc

    def update(self, env: Any, primitive: Primitive) -> None:
        """Raise `share` to what the state after an action is worth."""
        if self.share < 1.0:
            worth = self._worth(env, primitive) or self._worth_of_key(env.carrying)
            self.share = max(self.share, worth)
        self._carried = env.carrying

    def _worth_of_key(self, carried: Any) -> float:
        if carried is None or carried.type != "key" or carried.color not in self._locks:
            return 0.0
        return HALF * HALF if self._kind == "PutNextInstr" else HALF

    def _worth(self, env: Any, primitive: Primitive) -> float:
        instruction, carried = self._instruction, env.carrying
        if self._kind == "GoToInstr":
            return float(_front(env) in instruction.desc.obj_poss)
        if self._kind == "OpenInstr":
            if primitive != Primitive.TOGGLE:
                return 0.0
            front: Any = env.grid.get(*_front(env))
            return float(_among(front, instruction.desc.obj_set) and front.is_open)
        if self._kind == "PickupInstr":
            return float(
                primitive == Primitive.PICKUP
                and self._carried is None
                and _among(carried, instruction.desc.obj_set)
            )
        return self._worth_of_putting(carried, primitive)

    def _worth_of_putting(self, carried: Any, primitive: Primitive) -> float:
        move, fixed = self._instruction.desc_move, self._instruction.desc_fixed
        if _among(carried, move.obj_set):
            return HALF
        put = self._carried
        if primitive == Primitive.DROP and carried is None and _among(put, move.obj_set):
            x, y = put.cur_pos
            if any(abs(x - i) + abs(y - j) == 1 for i, j in fixed.obj_poss):
                return 1.0
        return 0.0


class _Both:
    """Two instructions: in any order, or the second counting only after the first."""

    def __init__(self, first: Any, second: Any, *, ordered: bool) -> None:
        self._first, self._second, self._ordered = _node(first), _node(second), ordered
        self.size: int = self._first.size + self._second.size

    @property
    def share(self) -> float:
        """The mean over the plain instructions below."""
        first, second = self._first, self._second
        return float(first.share * first.size + second.share * second.size) / self.size

    def update(self, env: Any, primitive: Primitive) -> None:
        """Pass an action on to the parts that are due."""
        self._first.update(env, primitive)
        if not self._ordered or self._first.share == 1.0:
            self._second.update(env, primitive)


def _node(instruction: Any) -> _Leaf | _Both:
    kind = type(instruction).__name__
    if kind == "BeforeInstr":
        return _Both(instruction.instr_a, instruction.instr_b, ordered=True)
    if kind == "AfterInstr":
        return _Both(instruction.instr_b, instruction.instr_a, ordered=True)
    if kind == "AndInstr":
        return _Both(instruction.instr_a, instruction.instr_b, ordered=False)
    return _Leaf(instruction)


def _locks(env: Any, places: Iterable[_Cell], *, to_open: bool) -> set[str]:
    """The colours of the locked doors that keep the agent from things at all of some places."""
    doors = {
        (i, j): cell.color
        for i in range(env.grid.width)
        for j in range(env.grid.height)
        if (cell := env.grid.get(i, j)) is not None and cell.type == "door" and cell.is_locked
    }
    # `the object on your left` matches walls too, but nobody is sent for them.
    places = {place for place in places if not _is_wall(env, place)}
    if to_open and places <= doors.keys():
        return {doors[place] for place in places}
    reached = _reached(env, {(int(env.agent_pos[0]), int(env.agent_pos[1]))}, doors)
    if not doors or any(reached.intersection((place, *_beside(place))) for place in places):
        return set()
    around = _reached(env, places, doors)
    return {color for place, color in doors.items() if around.intersection(_beside(place))}


def _reached(env: Any, starts: set[_Cell], doors: Mapping[_Cell, str]) -> set[_Cell]:
    """The cells that can be reached without opening a locked door, whatever lies in the way."""
    found, queue = set(starts), list(starts)
    for place in queue:  # grows while it is walked through
        for following in _beside(place):
            wall = _is_wall(env, following)
            if not wall and following not in doors and following not in found:
                found.add(following)
                queue.append(following)
    return found


def _is_wall(env: Any, place: _Cell) -> bool:
    cell = env.grid.get(*place)  # none of what is carried
    return cell is not None and bool(cell.type == "wall")


def _beside(place: _Cell) -> list[_Cell]:
    return [(place[0] + x, place[1] + y) for x, y in _STEPS]


def _front(env: Any) -> tuple[int, int]:
    """The cell in front of the agent; minigrid's `front_pos` makes numpy arrays of it."""
    x, y = env.agent_pos
    dx, dy = _STEPS[env.agent_dir]
    return int(x) + dx, int(y) + dy


def _among(thing: Any, things: Any) -> bool:
    return thing is not None and any(thing is other for other in things)
