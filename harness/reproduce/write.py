"""A table as Markdown, CSV and JSON: our values beside the paper's, and how the two differ."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...results.paper import SET_APART, SOURCE
from ..exports.csv_file import field
from ..stats import Estimate
from ..tables import markdown_text
from .jobs import Job
from .measure import Entry, Paper
from .tables import Column, Table

NEVER_TESTED = (
    "Differences from the paper's numbers are told, and never tested: neither their episodes nor "
    "their protocol are known here."
)
SCRIPTED = (
    "A CHECK OF THE PATH, NOT A MEASURE: the environment's expert acts here, and a fixed rule uses "
    "the memory tools. These numbers say nothing about a memory or a model, so no difference from "
    "the paper's is told."
)


@dataclass(frozen=True, slots=True)
class Part:
    """The values of one model.

    Attributes:
        table: Its rows; the columns are those of all.
        model: As it was given.
        trained: Its checkpoints as they were given, by recipe.
        entries: By row and column.
        oracle: Whether its actions are an expert's.
    """

    table: Table
    model: str
    trained: Mapping[str, str]
    entries: Mapping[tuple[str, str], Entry]
    oracle: bool


@dataclass(frozen=True, slots=True)
class Result:
    """A table as far as it was played; it has at least one part."""

    parts: Sequence[Part]
    jobs: Sequence[Job]
    protocol: Sequence[str]  # how it was played, and what the paper says of that
    figures: Sequence[str] = ()  # files beside the table

    @property
    def table(self) -> Table:
        """Any model's, for what they have in common."""
        return self.parts[0].table


# --- JSON and CSV -----------------------------------------------------------------------------


def as_json(result: Result) -> str:
    """Everything, for programs; what is not known is null."""
    table = result.table
    about = {
        "table": table.name,
        "title": table.title,
        "source_of_paper": SOURCE,
        "paper": SET_APART,
        "differences": NEVER_TESTED,
        "columns": [
            {"name": c.name, "scale": c.scale, "meaning": c.meaning} for c in table.columns
        ],
        "models": [
            {"model": p.model, "trained": dict(p.trained), "only_a_check_of_the_path": p.oracle}
            for p in result.parts
        ],
        "notes": list(table.notes),
        "protocol": list(result.protocol),
        "runs": [_run(job) for job in result.jobs],
        "values": [_value(part, entry) for part, entry in _entries(result)],
    }
    return json.dumps(about, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def _run(job: Job) -> dict[str, Any]:
    key = job.cell.base
    return {
        "run": job.name,
        "env": key.env,
        "split": key.split,
        "tasks": len(job.cell.tasks),
        "tasks_of_split": job.n_split,
        "data_hash": key.data_hash,
        "memory": key.memory,
        "model": key.model,
        "episodes": job.planned,
        "problem": job.problem,
    }


def _value(part: Part, entry: Entry) -> dict[str, Any]:
    ours = entry.ours
    return {
        "model": part.model,
        "row": entry.row,
        "column": entry.column,
        "ours": _known(ours.value) if ours else None,
        "low": _known(ours.low) if ours else None,
        "high": _known(ours.high) if ours else None,
        "interval": ours.method if ours else None,
        "n": ours.n if ours else 0,
        "n_tasks": ours.n_tasks if ours else 0,
        "n_planned": entry.n_planned,
        "coverage": entry.coverage,
        "estimated": entry.estimated,
        "why": entry.why or None,
        "run": entry.run,
        "played_by": entry.played_by,
        "paper": [
            {
                "model": paper.model,
                "value": paper.value,
                "same_model": paper.same_model,
                "difference": _known(difference(part, entry, paper)),
            }
            for paper in entry.paper
        ],
    }


def as_csv(result: Result) -> str:
    """One line a value and model of the paper; texts that look like formulas are none."""
    names = (
        "model", "row", "column", "ours", "low", "high", "n", "n_planned", "coverage",
        "estimated", "why", "run", "played_by", "paper_model", "paper", "difference", "paper_is",
    )  # fmt: skip
    lines = [",".join(map(field, names))]
    for part, entry in _entries(result):
        value = _value(part, entry)
        shared = [value[name] for name in names[:13]]
        for paper in value["paper"] or [None]:
            own: list[Any] = [None] * 4
            if paper is not None:
                own = [paper["model"], paper["value"], paper["difference"], SET_APART]
            lines.append(",".join(map(field, [*shared, *own])))
    return "\r\n".join(lines) + "\r\n"


def difference(part: Part, entry: Entry, paper: Paper) -> float | None:
    """Ours minus theirs; None where ours is none, or no measure."""
    return None if entry.ours is None or part.oracle else entry.ours.value - paper.value


def _known(number: float | None) -> float | None:
    return None if number is None or not math.isfinite(number) else number


def _entries(result: Result) -> Iterator[tuple[Part, Entry]]:
    for part in result.parts:
        for entry in part.entries.values():
            yield part, entry


# --- Markdown ---------------------------------------------------------------------------------


def as_markdown(result: Result) -> str:
    """The table for people."""
    table = result.table
    blocks = [
        f"# {table.title}",
        f"Ours: value [95% interval] scored/planned. Paper: {SOURCE}, {SET_APART}; in brackets "
        f"ours minus theirs; ~ are tokens that the model did not report. {NEVER_TESTED}",
    ]
    for part in result.parts:
        blocks += _part(part)
    meanings = [f"{c.name}: {c.meaning}" for c in table.columns if c.meaning]
    blocks.append("## Columns\n\n" + _lines(meanings))
    blocks.append("## What differs from the paper's protocol\n\n" + _lines(result.protocol))
    if table.notes:
        blocks.append("## Notes\n\n" + _lines(table.notes))
    blocks.append("## Runs\n\n" + _runs(result.jobs))
    if result.figures:
        blocks.append("## Figure\n\n" + "\n".join(f"![{table.title}]({f})" for f in result.figures))
    return "\n\n".join(blocks) + "\n"


def _part(part: Part) -> Iterator[str]:
    table = part.table
    trained = "; ".join(f"{recipe}: {spec}" for recipe, spec in part.trained.items())
    yield f"## {_cell(part.model)}" + (f" (trained: {_cell(trained)})" if trained else "")
    if part.oracle:
        yield f"**{SCRIPTED}**"
    lines = [
        "| " + " | ".join([table.head, "", *(c.name for c in table.columns)]) + " |",
        "|---|---|" + "---:|" * len(table.columns),
    ]
    for row in table.rows:
        entries = [part.entries.get((row, column.name)) for column in table.columns]
        there = [entry for entry in entries if entry is not None]
        ours = [_ours(e, c) for e, c in zip(entries, table.columns, strict=True)]
        lines.append(f"| {_cell(row)} | ours | " + " | ".join(ours) + " |")
        for model in dict.fromkeys(paper.model for entry in there for paper in entry.paper):
            theirs = [
                _theirs(part, e, c, model) for e, c in zip(entries, table.columns, strict=True)
            ]
            lines.append(f"| | paper: {model} | " + " | ".join(theirs) + " |")
    yield "\n".join(lines)
    if left_out := _left_out(part):
        yield "Left out, or not whole:\n\n" + _lines(left_out)


def _ours(entry: Entry | None, column: Column) -> str:
    if entry is None or entry.ours is None:
        return "–"
    mark = "~" if entry.estimated else ""
    return f"{mark}{_estimate(entry.ours, column.digits)} {entry.ours.n}/{entry.n_planned}"


def _estimate(ours: Estimate, digits: int) -> str:
    value = f"{ours.value:,.{digits}f}"
    if math.isnan(ours.low) or math.isnan(ours.high):
        return value
    return f"{value} [{ours.low:,.{digits}f}, {ours.high:,.{digits}f}]"


def _theirs(part: Part, entry: Entry | None, column: Column, model: str) -> str:
    for paper in entry.paper if entry is not None else ():
        if entry is not None and paper.model == model:
            change = difference(part, entry, paper)
            told = "" if change is None else f" ({change:+,.{column.digits}f})"
            return f"{paper.value:,.{column.digits}f}{told}"
    return "–"


def _left_out(part: Part) -> list[str]:
    """The reasons, each with the rows and columns that it concerns."""
    places: dict[str, dict[str, list[str]]] = {}
    for entry in part.entries.values():
        if entry.why and "an average needs" not in entry.why:
            places.setdefault(entry.why, {}).setdefault(entry.row, []).append(entry.column)
    found = []
    for why, by_row in places.items():
        by_columns: dict[str, list[str]] = {}
        for row, columns in by_row.items():
            by_columns.setdefault(", ".join(columns), []).append(row)
        where = "; ".join(f"{', '.join(rows)} ({columns})" for columns, rows in by_columns.items())
        found.append(f"{where}: {why}")
    return found


def _runs(jobs: Sequence[Job]) -> str:
    lines = ["| run | environment | split | tasks | memory | model |", "|---|---|---|---|---|---|"]
    for job in jobs:
        key = job.cell.base
        tasks = f"{len(job.cell.tasks)} of {job.n_split}"
        cells = (job.name, key.env, key.split, tasks, key.memory, key.model)
        lines.append("| " + " | ".join(map(_cell, cells)) + " |")
    return "\n".join(lines)


def _lines(texts: Sequence[str]) -> str:
    return "\n".join(f"- {_cell(text)}" for text in texts)


def _cell(text: str) -> str:
    """A text that stays one, in a cell or a line: names are the user's, errors quote anything."""
    return markdown_text(" ".join(text.split()))
