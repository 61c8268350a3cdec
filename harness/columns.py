"""Episodes as columns of numbers: taken in one at a time, 8 bytes a value, none of them kept.

A column has a name, as exports have it, or is known by a tuple where only tables need it:

    ("estimated", ROLE)             calls of a role whose tokens were estimated
    ("tool", TOOL, STATUS)          calls of a tool that ended so
    ("cost", OPERATION, FIELD)      what a memory's operations of one kind cost; fields of `Cost`
    ("fault", KIND)                 operations of a memory that were skipped
    ("lost",)                       tokens of tries that came to nothing
"""

from __future__ import annotations

import math
from array import array
from dataclasses import fields
from operator import attrgetter
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from .ledger import Cost
from .records import Episode

FloatArray: TypeAlias = NDArray[np.float64]
Name: TypeAlias = str | tuple[str, ...]

PLAIN = (
    "success", "progress", "reward", "steps", "turns", "invalid_actions", "malformed_outputs",
    "forfeits", "overflow_drops", "memory_entries", "wall_s", "judge_faults",
)  # fmt: skip
COUNTED = ("tokens.", "tool_calls.", "tool_failed.", "memory_faults")  # 0 where nothing is told

_PLAIN_OF = attrgetter(*PLAIN)
_COST_FIELDS = tuple(field.name for field in fields(Cost))
_COST_OF = attrgetter(*_COST_FIELDS)
_USAGE_OF = attrgetter("calls", "prompt_tokens", "completion_tokens", "estimated_calls")
_Shape: TypeAlias = tuple[object, ...]


class Columns:
    """The columns of some episodes; row i of each is the i-th that was added."""

    def __init__(self) -> None:
        self.n = 0
        # Episodes with the same names of scores, roles and tools: their numbers, one after the
        # other, and their places. A value appended so costs a tenth of one that is looked up.
        self._parts: dict[_Shape, tuple[list[Name], array[int], array[float]]] = {}
        self._scored: set[_Shape] = set()
        self._made: dict[Name, FloatArray] | None = None  # until another episode comes

    def add(self, episode: Episode) -> None:
        """Take in an episode."""
        self._made = None
        shape = _shape(episode)
        part = self._parts.get(shape)
        if part is None:
            part = self._parts[shape] = (names_of(episode), array("q"), array("d"))
            if episode.scored:
                self._scored.add(shape)
        part[1].append(self.n)
        part[2].fromlist([math.nan if value is None else value for value in values_of(episode)])
        self.n += 1

    def arrays(self) -> dict[Name, FloatArray]:
        """All of them: NaN where an episode has no such score, 0 where it counted nothing."""
        if self._made is not None:
            return self._made
        found: dict[Name, FloatArray] = {}
        for names, places, numbers in self._parts.values():
            table = np.frombuffer(numbers, dtype=np.float64).reshape(len(places), len(names))
            rows = np.frombuffer(places, dtype=np.int64)
            for name, values in zip(names, np.ascontiguousarray(table.T), strict=True):
                column = found.get(name)
                if column is None:
                    counted = not isinstance(name, str) or name.startswith(COUNTED)
                    column = found[name] = np.full(self.n, 0.0 if counted else np.nan)
                column[rows] = values
        self._made = found
        return found

    def scored_names(self) -> dict[Name, None]:
        """The names that scored episodes have, also of scores that none of them has."""
        parts = (self._parts[shape] for shape in self._parts if shape in self._scored)
        return dict.fromkeys(name for names, _, _ in parts for name in names)


def names_of(episode: Episode) -> list[Name]:
    """The names of an episode's columns."""
    tools, costs = episode.tool_calls, episode.memory_costs
    return [
        *PLAIN,
        "memory_faults",
        ("lost",),
        *(f"metrics.{name}" for name in episode.metrics),
        *(f"quality.{name}" for name in episode.quality),
        *(name for role in episode.tokens for name in _of_role(role)),
        *(f"{group}.{tool}" for tool in tools for group in ("tool_calls", "tool_failed")),
        *(("tool", tool, status) for tool, statuses in tools.items() for status in statuses),
        *(("cost", operation, name) for operation in costs for name in _COST_FIELDS),
        *(("fault", kind) for kind in episode.memory_faults),
    ]


def values_of(episode: Episode) -> list[float | None]:
    """The values of `names_of`, in their order."""
    faults = episode.memory_faults.values()
    values: list[float | None] = [
        *_PLAIN_OF(episode),
        sum(faults),
        _lost(episode),
        *episode.metrics.values(),
        *episode.quality.values(),
    ]
    for usage in episode.tokens.values():
        values += _USAGE_OF(usage)
    for by_status in episode.tool_calls.values():
        calls = sum(by_status.values())
        values += (calls, calls - by_status.get("success", 0))
    for by_status in episode.tool_calls.values():
        values += by_status.values()
    for cost in episode.memory_costs.values():
        values += _COST_OF(cost)
    values += faults
    return values


def _of_role(role: str) -> tuple[Name, ...]:
    kinds = ("calls", "prompt", "completion")
    return (*(f"tokens.{role}.{kind}" for kind in kinds), ("estimated", role))


def _shape(episode: Episode) -> _Shape:
    """What decides the names."""
    return (
        episode.scored,
        tuple(episode.metrics),
        tuple(episode.quality),
        tuple(episode.tokens),
        *((tool, *statuses) for tool, statuses in episode.tool_calls.items()),
        None,
        *episode.memory_costs,
        None,
        *episode.memory_faults,
    )


def _lost(episode: Episode) -> int:
    """Tokens spent on this episode's failed tries; all of them if none was scored."""
    if episode.scored and not episode.tokens_lost:
        return 0
    tables = (episode.tokens_lost,) if episode.scored else (episode.tokens_lost, episode.tokens)
    usages = [usage for table in tables for usage in table.values()]
    return sum(usage.prompt_tokens + usage.completion_tokens for usage in usages)
