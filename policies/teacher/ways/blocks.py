"""Blocksworld: take off whatever stands wrong, then build each wanted tower from below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from ....envs.pddl.blocksworld import WORDS
from ....envs.pddl.words import natural
from ....envs.pddl.world import World
from .step import Step


def way(world: World) -> Step | None:
    """The next step; None where the goal is of another kind, or bites its own tail."""
    wanted = {above: below for _, above, below in world.wants("on")}
    if len(wanted) + len(world.wants("on-table")) != len(world.goal):
        return None
    aims = _towers({under: above for above, under in wanted.items()}, wanted)
    standing = {below: above for _, above, below in world.find("on")}
    now = [
        _tower(block, standing)
        for block in sorted((block for _, block in world.find("on-table")), key=natural)
    ]
    if sum(map(len, aims)) != len({*wanted, *wanted.values()}):
        return None
    right = [_right(tower, wanted) for tower in now]
    held = next((block for _, block in world.find("holding")), None)
    shown = "; ".join(
        " ".join([*tower[:n], *(["off"] if n < len(tower) else []), *tower[n:]])
        for tower, n in zip(now, right, strict=True)
    )
    state = f"Wanted: {'; '.join(map(' '.join, aims))}. Now: {shown}. Hand: {held or 'empty'}."
    ready = {
        tower[-1] for tower, n in zip(now, right, strict=True)
        if n == len(tower) and (tower[-1] not in wanted or n > 1)
    }  # fmt: skip
    if held is not None:
        return _put(state, held, wanted.get(held), ready)
    for tower, n in zip(now, right, strict=True):
        if n < len(tower):
            action = WORDS.forms["unstack"].format(b=tower[-1], below=tower[-2])
            return Step(state, f"Take off {tower[-1]}.", action)
    for aim in aims:
        for below, above in pairwise(aim):
            if standing.get(below) != above:
                action = WORDS.forms["pickup"].format(b=above)
                return Step(state, f"{above} goes on {below}.", action)
    return None


def _put(state: str, held: str, target: str | None, ready: set[str]) -> Step:
    """Where the block in the hand goes."""
    down = WORDS.forms["putdown"].format(b=held)
    if target is None:
        return Step(state, f"{held} goes on none.", down)
    if target not in ready:
        return Step(state, f"{held} goes on {target}, not ready.", down)
    action = WORDS.forms["stack"].format(b=held, below=target)
    return Step(state, f"{held} goes on {target}, ready.", action)


def _towers(above: Mapping[str, str], below: Mapping[str, str]) -> list[list[str]]:
    """Towers from below, by their lowest blocks."""
    lowest = sorted({*above} - {*below}, key=natural)
    return [_tower(block, above) for block in lowest]


def _tower(block: str, above: Mapping[str, str]) -> list[str]:
    """A block and all that is on it, from below."""
    tower = [block]
    while tower[-1] in above and above[tower[-1]] not in tower:
        tower.append(above[tower[-1]])
    return tower


def _right(tower: Sequence[str], wanted: Mapping[str, str]) -> int:
    """How many blocks of a tower, from below, need not be taken off."""
    if tower[0] in wanted:
        return 1
    n = 1
    while n < len(tower) and wanted.get(tower[n]) == tower[n - 1]:
        n += 1
    return n
