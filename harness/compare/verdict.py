"""What a comparison comes to: each column's change, what decides, and the exit code."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..analysis import CellFrame
from ..errors import UsageError
from ..stats import Comparison, holm, pair, paired
from ..stats.power import can_reject
from .columns import COUNTED, HEADLINE, JUDGED, NOT_COMPARED, Metric, Rule, metric_of, rules_of
from .sides import CellPair, Pairing, Short, Side, pair_cells, short

Verdict = Literal[
    "regression", "improvement", "within max-drop", "no regression", "identical", "cannot tell",
    "not scored", "informational",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Settings:
    """How to compare."""

    max_drop: float = 0.0
    alpha: float = 0.05
    metrics: Sequence[str] | None = None  # see `rules_of`
    allow_mixed: bool = False
    require_power: bool = False
    base_memory: str | None = None
    new_memory: str | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One column of one pair of cells."""

    metric: Metric
    comparison: Comparison | None  # None: no episode has it in both
    max_drop: float | None  # None: it does not decide
    verdict: Verdict
    same: bool = False  # whether it is the same in every pair
    n_base: int = 0  # of the episodes planned in both, those with a value
    n_new: int = 0

    @property
    def decides(self) -> bool:
        """Whether the exit code may come of it."""
        return self.max_drop is not None

    @property
    def lost(self) -> bool:
        """Whether NEW lacks values that BASE has, where it decides."""
        return self.decides and self.n_new < self.n_base

    @property
    def least_drop(self) -> float:
        """The drop that this many pairs would mostly show: the MDE as a drop; NaN: unknown."""
        if self.comparison is None or self.metric.better == "neither":
            return math.nan
        size = abs(self.comparison.mde)
        worse = size if self.metric.better == "less" else -size
        return self.metric.drop(worse, self.comparison.base) if size else 0.0


@dataclass(frozen=True, slots=True)
class CellOutcome:
    """A pair of cells: how much of it was scored, and each column."""

    pair: CellPair
    n_planned: int  # in both
    n_base: int  # of these, scored in BASE
    n_new: int
    findings: list[Finding]  # those that decide first
    identical: bool = False  # whether each episode went the same way, by every column

    @property
    def lost(self) -> bool:
        """Whether NEW scored fewer episodes, or fewer values of what decides, than BASE."""
        return self.n_new < self.n_base or any(finding.lost for finding in self.findings)

    @property
    def name(self) -> str:
        """`alfworld/generated, agemem, openai:x`."""
        return f"{self.pair.env}, {self.pair.memory}, {self.pair.model}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that a comparison found."""

    base: Side
    new: Side
    settings: Settings
    cells: list[CellOutcome]
    missing: list[CellFrame]  # of BASE, that NEW has not
    extra: list[CellFrame]

    def deciding(self) -> list[tuple[CellOutcome, Finding]]:
        """What the exit code comes of."""
        return [(c, f) for c in self.cells for f in c.findings if f.decides]

    def with_verdict(self, verdict: Verdict) -> list[tuple[CellOutcome, Finding]]:
        """What of that ended so."""
        return [(c, f) for c, f in self.deciding() if f.verdict == verdict]

    @property
    def regressed(self) -> bool:
        """Whether a score that decides fell further than it may."""
        return bool(self.with_verdict("regression"))

    @property
    def lost(self) -> bool:
        """Whether NEW has less to show than BASE."""
        return bool(self.missing) or any(cell.lost for cell in self.cells)

    @property
    def powerless(self) -> bool:
        """Whether something that decides could not be told."""
        return bool(self.with_verdict("cannot tell") or self.with_verdict("not scored"))

    @property
    def code(self) -> int:
        """The exit code."""
        return int(self.regressed or self.lost or (self.settings.require_power and self.powerless))


def compare_sides(
    base: Side, new: Side, settings: Settings, *, informational: bool = True
) -> Outcome:
    """Compare two runs or baselines.

    A score regressed if its drop is more than `max_drop` and differs from none at `alpha`, by
    Holm's correction over all that decide in all cells.

    Args:
        base: To hold against.
        new: To judge.
        settings: How.
        informational: Also the columns that decide nothing.

    Raises:
        UsageError: for settings that make no sense here, or runs that cannot be compared.
    """
    if not 0 < settings.alpha < 1:
        raise UsageError(f"--alpha {settings.alpha:g}: a level is between 0 and 1, e.g. 0.05")
    pairing = pair_cells(
        base, new, base_memory=settings.base_memory, new_memory=settings.new_memory,
        allow_mixed=settings.allow_mixed,
    )  # fmt: skip
    known = {name for frame in (*base.frames, *new.frames) for name in frame.columns}
    rules = rules_of(settings.metrics, settings.max_drop, known)
    if settings.require_power and not all(rule.max_drop > 0 for rule in rules):
        raise UsageError("--require-power needs a drop to look for: add --max-drop, e.g. 0.05")
    n_tests = sum(len(_deciding(found.base, rules)) for found in pairing.pairs)
    levels = settings.alpha, settings.alpha / max(1, n_tests)
    cells = [_cell(found, rules, settings, levels, informational) for found in pairing.pairs]
    _check_decided(cells, rules)
    return _judged(base, new, settings, cells, pairing)


# --- one pair of cells ------------------------------------------------------------------------


def _cell(
    found: CellPair,
    rules: Sequence[Rule],
    settings: Settings,
    levels: tuple[float, float],
    informational: bool,
) -> CellOutcome:
    masks = _planned(found.base, found.both), _planned(found.new, found.both)
    if not masks[0].any():
        raise UsageError(f"{found.env}, {found.memory}: BASE has no scored episode to compare with")
    base, new = _filled(found.base, found.new), _filled(found.new, found.base)
    drops = _deciding(base, rules)
    _check_judge(found, drops, settings)
    others = sorted({*base.columns, *new.columns} - {*drops, *NOT_COMPARED})
    findings = []
    for column in (*drops, *(others if informational else ())):
        finding = _finding(base, new, column, drops.get(column), levels)
        if finding.comparison is not None or finding.decides:
            n = [_n_values(f, column, m) for f, m in zip((base, new), masks, strict=True)]
            findings.append(replace(finding, n_base=n[0], n_new=n[1]))
    n_scored = [int(mask.sum()) for mask in masks]
    identical = informational and all(finding.same for finding in findings)
    return CellOutcome(found, len(found.both), n_scored[0], n_scored[1], findings, identical)


def _deciding(base: CellFrame, rules: Sequence[Rule]) -> dict[str, float]:
    """The columns that decide in a cell of BASE, and the drop of each that is no regression."""
    drops: dict[str, float] = {}
    for rule in rules:
        column = base.headline if rule.column == HEADLINE else rule.column
        if column in base.columns or rule.column == HEADLINE:
            drops.setdefault(column, rule.max_drop)
    return drops


def _finding(
    base: CellFrame,
    new: CellFrame,
    column: str,
    drop: float | None,
    levels: tuple[float, float],
) -> Finding:
    """A column's change; of one that decides, MDE and power are those that Holm's test has left."""
    metric = metric_of(column)
    base_values, new_values, tasks = pair(base, new, column)
    if not tasks:
        return Finding(metric, None, drop, "informational" if drop is None else "not scored")
    same = np.array_equal(base_values, new_values)
    if drop is None:
        told = paired(base_values, new_values, tasks, alpha=levels[0])
        return Finding(metric, told, None, "informational", same=same)
    effect = drop * (abs(float(base_values.mean())) if metric.relative else 1.0) or None
    told = paired(base_values, new_values, tasks, alpha=levels[0], effect=effect)
    if levels[1] < levels[0]:
        strict = paired(base_values, new_values, tasks, alpha=levels[1], effect=effect)
        told = replace(told, mde=strict.mde, power=strict.power)
    return Finding(metric, told, drop, "no regression", same=same)


def _n_values(frame: CellFrame, column: str, mask: NDArray[np.bool_]) -> int:
    return int((~np.isnan(frame.values(column)) & mask).sum())


def _planned(frame: CellFrame, both: frozenset[Short]) -> NDArray[np.bool_]:
    """Which scored episodes of a cell the other was to play too."""
    scored = (key for key, counts in zip(frame.keys, frame.scored, strict=True) if counts)
    return np.array([short(key) in both for key in scored], dtype=bool)


def _filled(frame: CellFrame, other: CellFrame) -> CellFrame:
    """The cell with zeros for what the other counted and it never told."""
    lacking = [n for n in other.columns if n not in frame.columns and n.startswith(COUNTED)]
    zeros = dict.fromkeys(lacking, np.zeros(len(frame.keys)))
    return replace(frame, columns={**frame.columns, **zeros})


def _check_judge(found: CellPair, columns: Iterable[str], settings: Settings) -> None:
    judged = [column for column in columns if column in JUDGED]
    judges = [frame.labels.get("judge", "none") for frame in (found.base, found.new)]
    if judged and judges[0] != judges[1] and "none" not in judges and not settings.allow_mixed:
        raise UsageError(
            f"{found.env}: {judged[0]} is of two judges, {judges[0]} and {judges[1]}: score NEW "
            "with the judge of BASE (--model replay:RUN --judge …), or add --allow-mixed"
        )


def _check_decided(cells: Sequence[CellOutcome], rules: Sequence[Rule]) -> None:
    decided = {f.metric.column for cell in cells for f in cell.findings if f.decides}
    for rule in rules:
        if rule.column not in decided | {HEADLINE}:
            raise UsageError(f"--metric {rule.column}: BASE has no score of it to compare with")


# --- all of them ------------------------------------------------------------------------------


def _judged(
    base: Side, new: Side, settings: Settings, cells: list[CellOutcome], pairing: Pairing
) -> Outcome:
    """Verdicts, once Holm's correction over all that decide is known."""
    family = [
        finding.comparison.p
        for cell in cells
        for finding in cell.findings
        if finding.decides and finding.comparison is not None
    ]
    corrected = iter(holm(family))
    judged = []
    for cell in cells:
        findings = []
        for finding in cell.findings:
            if finding.decides and finding.comparison is not None:
                told = replace(finding.comparison, p_holm=next(corrected))
                finding = replace(finding, comparison=told)
                finding = replace(
                    finding,
                    verdict=_verdict(finding, cell.identical, settings.alpha, len(family)),
                )
            findings.append(finding)
        judged.append(replace(cell, findings=findings))
    return Outcome(base, new, settings, judged, pairing.missing, pairing.extra)


def _verdict(finding: Finding, identical: bool, alpha: float, n_tests: int) -> Verdict:
    told, limit = finding.comparison, finding.max_drop
    if told is None or limit is None or told.p_holm is None:
        return "not scored"
    if identical:  # nothing was left to chance, so there is nothing that more pairs would show
        return "identical"
    drop = finding.metric.drop(told.change, told.base)
    if told.p_holm <= alpha:
        if drop > limit:
            return "regression"
        return "improvement" if drop < 0 else "within max-drop"
    if not can_reject(told.n_tasks, alpha / n_tests):  # however much was lost
        return "cannot tell"
    if limit > 0 and not finding.least_drop <= limit:  # also where it is unknown
        return "cannot tell"
    return "no regression"
