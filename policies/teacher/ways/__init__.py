"""How the planning problems are played, a way for each domain.

The planner of the environment plans in secret: which of its reasons comes first stands nowhere. A
way is a list of plain rules on the present state instead. What it says is all that its rules look
at, in the order in which they do: first what is left of the goal, then where the things are that
this is about, last the step. So each word can be found from those before it, and the action too.

A way knows the goals that the generator makes. For others it has no step (`None`).
"""

from __future__ import annotations

from collections.abc import Callable

from ....envs.pddl.world import World
from . import bar, blocks, garage, rooms
from .step import Step as Step

_WAYS: dict[str, Callable[[World], Step | None]] = {
    "gripper": rooms.way,
    "blocksworld": blocks.way,
    "barman": bar.way,
    "tyreworld": garage.way,
}


def way(domain: str, world: World) -> Step | None:
    """The next step in a domain; None where its rules know none."""
    step = _WAYS[domain](world)
    return step if step is not None and step.action else None
