"""Which embodied environments the teacher knows, and by which expert's way it plays there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...harness.types import EnvSpec
from . import grid, house, lab, puzzle
from .world import Mind, Told

_WRAPPER = "three-stage"  # its version tells what it wraps: `1+alfworld-1`


@dataclass(frozen=True, slots=True)
class Known:
    """An environment.

    Attributes:
        expert: The expert of the environment whose way of playing the mind follows.
        make_mind: A mind that knows nothing yet, by the goal.
        told: Reads what is told before the goal is known.
    """

    expert: str
    make_mind: Callable[[str], Mind]
    told: Told


KNOWN = {
    "alfworld": Known("explorer", house.House, house.told),
    "babyai": Known("explorer", grid.Grid, grid.told),
    "pddl": Known("observer", puzzle.Puzzle, puzzle.told),
    "scienceworld": Known("explorer", lab.Lab, lab.told),
}


def known(spec: EnvSpec) -> Known | None:
    """What is known of an environment, or of the one that it wraps; None if nothing is."""
    name = spec.name
    if name == _WRAPPER:
        name = spec.version.partition("+")[2].rpartition("-")[0]
    return KNOWN.get(name)
