"""A comparison for people and machines: terminal, pull-request comment, JSON."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape as unmarked
from rich.table import Table

from ..observe.text import escape
from ..tables import markdown_text
from .verdict import CellOutcome, Finding, Outcome, Verdict

NAMES = ("metric", "BASE", "NEW", "change", "interval", "p", "Holm p", "MDE", "power", "verdict")
COMMENT_LIMIT = 60_000  # characters; a comment on GitHub may have 65,536


# --- in words ---------------------------------------------------------------------------------


def conclusion(outcome: Outcome) -> str:
    """The whole comparison in one line."""
    parts = []
    if outcome.regressed:
        parts.append(f"REGRESSION in {_some(_places(outcome, 'regression'))}")
    if outcome.lost:
        parts.append(f"LOST COVERAGE: {_some(list(losses(outcome)))}")
    if outcome.powerless:
        parts.append(f"CANNOT TELL: {_some(_untold(outcome))}")
    if not outcome.regressed:
        better = _places(outcome, "improvement")
        parts.append(f"better in {_some(better)}" if better else "no regression found")
    return "; ".join(parts)


def _some(parts: list[str]) -> str:
    """The first of many; all of them stand elsewhere."""
    more = f"; and {len(parts) - 3} more" if len(parts) > 3 else ""
    return "; ".join(parts[:3]) + more


def losses(outcome: Outcome) -> Iterator[str]:
    """What NEW lacks that BASE has, a line each."""
    for frame in outcome.missing:
        key = frame.base
        yield f"NEW has no {key.env}/{key.split} with {key.memory}"
    for cell in outcome.cells:
        yield from (f"{cell.name}: {line}" for line in losses_of(cell))


def losses_of(cell: CellOutcome) -> Iterator[str]:
    """Those of one pair of cells."""
    if cell.n_new < cell.n_base:
        yield f"{cell.n_new} episodes scored, {cell.n_base} in BASE"
    for finding in cell.findings:  # a score that an unscored episode lacks too is said above
        if finding.lost and finding.n_new - cell.n_new < finding.n_base - cell.n_base:
            yield f"{finding.n_new} values of {finding.metric.column}, {finding.n_base} in BASE"


def remarks(outcome: Outcome) -> Iterator[str]:
    """What else one must know, a line each."""
    of_note: dict[str, list[str]] = {}
    for cell in outcome.cells:
        for note in cell.pair.notes:
            of_note.setdefault(note, []).append(cell.name)
    for note, names in of_note.items():
        yield note if len(names) == len(outcome.cells) else f"{'; '.join(names)}: {note}"
    for frame in outcome.extra:
        yield f"{frame.base.env}/{frame.base.split} with {frame.base.memory}: in NEW alone"
    if any(cell.pair.base.estimated or cell.pair.new.estimated for cell in outcome.cells):
        yield "some tokens are estimated, not counted by the endpoint"


def rule_of(outcome: Outcome) -> str:
    """What decides, in one line."""
    settings = outcome.settings
    columns = ", ".join(settings.metrics or ["the headline of each environment"])
    return (
        f"decided by {columns}; max-drop {settings.max_drop:g}, alpha {settings.alpha:g} "
        f"(Holm over {len(outcome.deciding())})"
    )


def why(finding: Finding) -> str:
    """What a verdict rests on, in one line."""
    told = finding.comparison
    if told is None:
        return "no episode has a value in both"
    cells = dict(zip(NAMES, row(finding), strict=True))
    return (
        f"{cells['BASE']} in BASE, {cells['NEW']} in NEW: change {cells['change']} "
        f"{cells['interval']}, p {cells['p']}, Holm p {cells['Holm p']}, MDE {cells['MDE']}, "
        f"{told.n_pairs} pairs of {told.n_tasks} tasks ({told.method})"
    )


def _places(outcome: Outcome, verdict: Verdict) -> list[str]:
    found = outcome.with_verdict(verdict)
    return [f"{finding.metric.column} ({cell.name})" for cell, finding in found]


def _untold(outcome: Outcome) -> list[str]:
    parts = []
    for cell, finding in outcome.with_verdict("cannot tell"):
        n, least = finding.comparison.n_tasks if finding.comparison else 0, finding.least_drop
        shows = "no drop surely" if math.isnan(least) else f"a drop of {_drop(finding, least)}"
        wanted = f", none of {_drop(finding, finding.max_drop)}" if finding.max_drop else ""
        parts.append(f"{finding.metric.column} ({cell.name}): {n} tasks show {shows}{wanted}")
    return parts + [f"{place} is not scored in both" for place in _places(outcome, "not scored")]


# --- numbers ----------------------------------------------------------------------------------


def row(finding: Finding) -> tuple[str, ...]:
    """The cells of a finding's line; see `NAMES`."""
    told = finding.comparison
    name = finding.metric.column
    if told is None:
        return name, "–", "–", "–", "–", "–", "–", "–", "–", finding.verdict
    low, high = sorted((told.low, told.high))
    return (
        name,
        _value(finding, told.base),
        _value(finding, told.new),
        _change(finding, told.change),
        f"[{_change(finding, low)}, {_change(finding, high)}]",
        _p(told.p),
        _p(told.p_holm),
        _drop(finding, finding.least_drop) if finding.decides else "–",
        _power(finding),
        "" if finding.verdict == "informational" else finding.verdict,
    )


def _value(finding: Finding, value: float) -> str:
    return f"{value:,.1f}" if finding.metric.relative else f"{value:.3f}"


def _change(finding: Finding, change: float) -> str:
    """Of what is counted as a share of BASE, where that is not 0."""
    base = finding.comparison.base if finding.comparison else 0.0
    if not finding.metric.relative:
        return f"{change:+.3f}"
    return f"{100 * change / base:+.1f}%" if base else f"{change:+,.1f}"


def _drop(finding: Finding, drop: float | None) -> str:
    if drop is None or math.isnan(drop):
        return "–"
    return f"{100 * drop:.1f}%" if finding.metric.relative else f"{drop:.3f}"


def _power(finding: Finding) -> str:
    """With the drop that it is for, since power is of nothing else."""
    told = finding.comparison
    if told is None or told.power is None or not finding.decides or math.isnan(told.power):
        return "–"
    effect = told.effect / abs(told.base) if finding.metric.relative and told.base else told.effect
    return f"{told.power:.2f} for {_drop(finding, effect)}"


def _p(p: float | None) -> str:
    return "–" if p is None or math.isnan(p) else "<0.001" if p < 0.001 else f"{p:.3f}"


# --- terminal ---------------------------------------------------------------------------------


def print_outcome(outcome: Outcome, console: Console) -> None:
    """The comparison as tables, one a pair of cells."""
    console.print(_safe(f"BASE {outcome.base.name}, NEW {outcome.new.name}; {rule_of(outcome)}"))
    for cell in outcome.cells:
        title = f"{cell.name}: {cell.n_new} of {cell.n_planned} scored, {cell.n_base} in BASE"
        table = Table(*NAMES, title=_safe(title), title_justify="left", box=None)
        for column in table.columns[1:-1]:
            column.justify = "right"
        for finding in shown(cell):
            cells = map(_safe, row(finding))
            table.add_row(*cells, style="bold" if finding.decides else "")
        console.print()
        console.print(table)
        if left := len(cell.findings) - len(shown(cell)):
            console.print(f"and {left} columns that are the same in every episode")
    console.print()
    for line in remarks(outcome):
        console.print(_safe(f"note: {line}"), soft_wrap=True)
    console.print(_safe(conclusion(outcome)), soft_wrap=True)


def shown(cell: CellOutcome) -> list[Finding]:
    """What decides, and what changed anywhere."""
    return [f for f in cell.findings if f.decides or not f.same]


def _safe(text: str) -> str:
    """Names come from records: neither control characters nor markup of theirs."""
    return unmarked(escape(text))


# --- Markdown ---------------------------------------------------------------------------------


def marker(outcome: Outcome) -> str:
    """The hidden first line by which a later comment finds the one to replace."""
    name = re.sub(r"[^A-Za-z0-9._+=]+", "-", outcome.base.name).strip("-")
    return f"<!-- agemem-eval compare {name} -->"


def markdown(outcome: Outcome) -> str:
    """The comparison as a comment on a pull request: what decides first, the rest folded."""
    mark = "❌" if outcome.code else "⚠️" if outcome.powerless else "✅"
    head = [
        marker(outcome),
        f"### {mark} agemem-eval: "
        + markdown_text(f"{outcome.new.name} against {outcome.base.name}"),
        "",
        markdown_text(conclusion(outcome)),
        "",
        *_grid(("cell", *NAMES), [(c.name, *row(f)) for c, f in outcome.deciding()]),
        "",
        *(f"- {markdown_text(line)}" for line in remarks(outcome)),
        f"- {markdown_text(rule_of(outcome))}",
    ]
    text, size = "\n".join(head), len("\n".join(head))
    for cell in outcome.cells:
        rest = [row(finding) for finding in shown(cell) if not finding.decides]
        if not rest:
            continue
        grid = _grid(NAMES[:6], [cells[:6] for cells in rest])
        part = f"\n\n<details><summary>{markdown_text(cell.name)}: what else changed</summary>\n\n"
        part += "\n".join(grid) + "\n\n</details>"
        if size + len(part) > COMMENT_LIMIT:
            text += "\n\nMore changed than fits here: see the report."
            break
        text, size = text + part, size + len(part)
    return text[:65_000] + "\n"


def _grid(names: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(names) + " |", "|" + "|".join(["---"] * len(names)) + "|"]
    return lines + ["| " + " | ".join(map(markdown_text, cells)) + " |" for cells in rows]


# --- JSON -------------------------------------------------------------------------------------


def as_json(outcome: Outcome) -> dict[str, Any]:
    """The object that `--json` prints."""
    settings = outcome.settings
    return {
        "base": outcome.base.name,
        "new": outcome.new.name,
        "exit_code": outcome.code,
        "regressed": outcome.regressed,
        "lost_coverage": outcome.lost,
        "cannot_tell": outcome.powerless,
        "conclusion": conclusion(outcome),
        "max_drop": settings.max_drop,
        "alpha": settings.alpha,
        "losses": list(losses(outcome)),
        "notes": list(remarks(outcome)),
        "cells": [_cell_json(cell) for cell in outcome.cells],
    }


def _cell_json(cell: CellOutcome) -> dict[str, Any]:
    base, new = cell.pair.base.base, cell.pair.new.base
    return {
        "env": base.env,
        "split": base.split,
        "memory": {"base": base.memory, "new": new.memory},
        "model": {"base": base.model, "new": new.model},
        "planned": cell.n_planned,
        "scored": {"base": cell.n_base, "new": cell.n_new},
        "metrics": [_finding_json(finding) for finding in cell.findings],
    }


def _finding_json(finding: Finding) -> dict[str, Any]:
    told = asdict(finding.comparison) if finding.comparison is not None else None
    return {
        "metric": finding.metric.column,
        "decides": finding.decides,
        "verdict": finding.verdict,
        "better": finding.metric.better,
        "max_drop": finding.max_drop,
        "max_drop_relative": finding.metric.relative,
        "values": {"base": finding.n_base, "new": finding.n_new},
        "comparison": _finite(told),
    }


def _finite(values: dict[str, Any] | None) -> dict[str, Any] | None:
    """JSON has no NaN: what is unknown is null."""
    if values is None:
        return None
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }
