"""Blocksworld: take off whatever stands wrong, then build each wanted tower from below.

Towers are told from above, as "b1 is on b2" is read: what comes next stands behind each block.
"""

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
    highest = sorted({*wanted} - {*wanted.values()}, key=natural)
    aims = [_tower(block, wanted) for block in highest]
    if sum(map(len, aims)) != len({*wanted, *wanted.values()}):
        return None
    standing = {above: below for _, above, below in world.find("on")}
    held = next((block for _, block in world.find("holding")), None)
    now = [_tower(block, standing) for _, block in world.find("clear") if block != held]
    off = [tower for tower in now if not _may_stay(tower, wanted)]
    shown = "; ".join(" ".join([*tower, *(["off"] if tower in off else [])]) for tower in now)
    state = f"Wanted: {'; '.join(map(' '.join, aims))}. Now: {shown}. Hand: {held or 'empty'}."
    ready = {
        tower[0] for tower in now if tower not in off and (tower[0] not in wanted or len(tower) > 1)
    }
    if held is not None:
        return _put(state, held, wanted.get(held), ready)
    if off:
        top, below = off[0][:2]
        action = WORDS.forms["unstack"].format(b=top, below=below)
        return Step(state, f"Take off {top}.", action)
    for aim in aims:
        left = [top for top, below in pairwise(aim) if standing.get(top) != below]
        if left:
            action = WORDS.forms["pickup"].format(b=left[-1])
            why = f"Left: {' '.join(left)}. {left[-1]} goes on {wanted[left[-1]]}."
            return Step(state, why, action)
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


def _tower(block: str, below: Mapping[str, str]) -> list[str]:
    """A block and all that it stands on, from above."""
    tower = [block]
    while tower[-1] in below and below[tower[-1]] not in tower:
        tower.append(below[tower[-1]])
    return tower


def _may_stay(tower: Sequence[str], wanted: Mapping[str, str]) -> bool:
    """Whether nothing of a tower need be taken off: a block alone, or all as it is wanted."""
    as_wanted = all(wanted.get(above) == below for above, below in pairwise(tower))
    return len(tower) == 1 or (as_wanted and tower[-1] not in wanted)
