"""Which way a column is good, in what a drop of it is told, and what `--metric` says."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from ..errors import UsageError, unknown_name

HEADLINE = "headline"  # `--metric headline`: of each environment its own
COUNTED = ("tokens.", "tool_calls.", "tool_failed.", "memory_faults")  # never told means 0
JUDGED = ("quality.j", "quality.mq")  # another judge, another scale
NOT_COMPARED = ("wall_s",)  # of the machine more than of the memory; by `--metric` alone

_COSTS = (
    "steps", "turns", "invalid_actions", "malformed_outputs", "forfeits", "overflow_drops",
    "wall_s", "memory_faults", "judge_faults", "quality.memory_tokens",
)  # fmt: skip
_LESS_IS_BETTER = ("quality.stale", "quality.redundancy", "quality.unsupported")
_NEITHER = ("tool_calls.", "memory_entries")


@dataclass(frozen=True, slots=True)
class Metric:
    """What a change of a column means.

    A drop is a change for the worse: of a score in its own unit (0.05 is five points of a share),
    of what is counted (tokens, steps, …) as a share of what it was in BASE (0.05 is 5% more).
    """

    column: str
    better: Literal["more", "less", "neither"]
    relative: bool

    def drop(self, change: float, base: float) -> float:
        """How much worse a change is; below 0 it is better, NaN where neither way is.

        Args:
            change: NEW minus BASE.
            base: The mean in BASE.
        """
        if self.better == "neither":
            return math.nan
        worse = -change if self.better == "more" else change
        if not self.relative or worse == 0:
            return worse
        return worse / abs(base) if base else math.copysign(math.inf, worse)


@dataclass(frozen=True, slots=True)
class Rule:
    """A column that decides, and the drop of it that is no regression yet."""

    column: str  # or HEADLINE
    max_drop: float


def metric_of(column: str) -> Metric:
    """What a change of this column means; scores of environments are good when they are high."""
    if column.startswith(_NEITHER):
        return Metric(column, "neither", relative=True)
    if column in _COSTS or column.startswith(("tokens.", "tool_failed.")):
        return Metric(column, "less", relative=True)
    return Metric(column, "less" if column in _LESS_IS_BETTER else "more", relative=False)


def rules_of(metrics: Sequence[str] | None, max_drop: float, known: Iterable[str]) -> list[Rule]:
    """The columns that decide; by default the headline of each environment alone.

    Args:
        metrics: `COLUMN`, `COLUMN=MAX_DROP` or `COLUMN=5%` each.
        max_drop: Of those that do not say.
        known: The columns that either run has.

    Raises:
        UsageError: for an unknown column, one twice, one that is neither good nor bad, or a drop
            that is no number from 0.
    """
    _check_drop(max_drop, f"--max-drop {max_drop:g}")
    rules: dict[str, Rule] = {}
    names = {*known, HEADLINE}
    for given in metrics or [HEADLINE]:
        column, equals, drop = given.partition("=")
        if column not in names:
            raise unknown_name("column", column, names)
        if column in rules:
            raise UsageError(f"--metric names {column} twice")
        if column != HEADLINE and metric_of(column).better == "neither":
            raise UsageError(
                f"--metric {column}: neither more nor less of it is worse, so it cannot decide; "
                "tokens.ROLE.prompt or tool_failed.TOOL can"
            )
        rules[column] = Rule(column, _drop(column, drop) if equals else max_drop)
    return list(rules.values())


def _drop(column: str, text: str) -> float:
    percent = text.endswith("%")
    if percent and (column == HEADLINE or not metric_of(column).relative):
        raise UsageError(
            f"--metric {column}={text}: a score drops by points, 0.05 for five of a hundred; "
            "percent are for what is counted"
        )
    try:
        value = float(text.removesuffix("%")) / (100 if percent else 1)
    except ValueError:
        value = math.nan
    _check_drop(value, f"--metric {column}={text}")
    return value


def _check_drop(value: float, given: str) -> None:
    if not (math.isfinite(value) and value >= 0):
        raise UsageError(f"{given}: a drop is a number from 0, e.g. 0.05")
