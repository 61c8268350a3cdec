"""The claims as Markdown and JSON, the tables as Markdown."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from ...results.paper import SET_APART, SOURCE
from ..stats import Estimate
from ..tables import Grid, markdown_grid, markdown_text
from .episodes import Data
from .experiment import SCORE, Experiment, Part
from .tables import NOTES, of_table
from .verdicts import HOLM, RULE, Found, Judged

_INTERVAL = (
    "Interval: 95%; tasks, and the seeds of each training, are drawn with replacement 2,000 times; "
    "Student's t with Welch and Satterthwaite's degrees of freedom times the standard error found "
    "(docs/statistics.md). Tasks are paired; checkpoints of the same training are drawn together. "
    "A model of one checkpoint has no seeds to draw: how another training of it would differ is in "
    "no interval."
)
_HEAD = "| | claim | verdict | the same under Holm's correction | why undecided |"
_HOLDS = {True: "yes", False: "no", None: "–"}
_NOTHING_INFERRED = (
    "These are claims about policies of this size on these tasks. Nothing about larger models "
    "follows from them, and a claim that is undecided here is not refuted there."
)


# --- JSON -------------------------------------------------------------------------------------


def claims_json(experiment: Experiment, data: Data, judged: Sequence[Judged]) -> str:
    """Everything, for programs; what is not known is null."""
    about = {
        "experiment": experiment.name,
        "rule": RULE,
        "interval": _INTERVAL,
        "multiple_comparisons": HOLM,
        "paper": f"{SOURCE}: {SET_APART}",
        "claims": [
            {
                "claim": one.name,
                "says": one.claim.says,
                "verdict": one.verdict,
                "holds_under_holm": one.holds,
                "why": one.why or None,
                "limits": one.claim.limits or None,
                "parts": [_part(found) | {"verdict": found.verdict} for found in one.parts],
                "beside": [_part(found) | {"sign": found.sign or None} for found in one.beside],
            }
            for one in judged
        ],
        "cells": [
            {"cell": c.about.cell, "planned": c.about.planned, "scored": c.about.scored}
            for c in data.values()
        ],
    }
    return json.dumps(about, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def _part(found: Found) -> dict[str, Any]:
    part = found.part
    return {
        "id": found.id,
        "says": part.says,
        "measure": part.measure,
        "new": part.new,
        "base": list(part.base),
        "over": list(part.over),
        "direction": part.direction,
        "why": found.why or None,
        "new_mean": _known(found.new),
        "base_mean": _known(found.base),
        "difference": _estimate(found.difference),
        "p": _known(found.p),
        "p_holm": _known(found.p_holm),
        "by_task": {task: _estimate(e) for task, e in (found.by_task or {}).items()},
        "by_seed": {who: list(means) for who, means in (found.by_seed or {}).items()},
        "paper": found.paper,
    }


def _estimate(found: Estimate | None) -> dict[str, Any] | None:
    if found is None:
        return None
    values = asdict(found)
    return {key: _known(v) if isinstance(v, float) else v for key, v in values.items()}


def _known(number: float) -> float | None:
    return number if math.isfinite(number) else None


# --- Markdown ---------------------------------------------------------------------------------


def claims_markdown(experiment: Experiment, judged: Sequence[Judged], figures: list[str]) -> str:
    """The claims for people: a line each, then how each was tested."""
    rows = [
        (one.name, one.claim.says, f"**{one.verdict}**", _HOLDS[one.holds], one.why)
        for one in judged
    ]
    blocks = [
        f"# {markdown_text(experiment.title)}: the claims",
        markdown_text(_NOTHING_INFERRED),
        "\n".join([_HEAD, "|---|---|---|---|---|", *map(_row, rows)]),
        "\n".join(f"- {markdown_text(line)}" for line in (RULE, _INTERVAL, HOLM)),
        f"- the paper's: {SOURCE}, {SET_APART}; its own differences, of its two models, untested\n"
        "- differences of scores are in points of 100",
    ]
    for one in judged:
        blocks += _of_claim(one)
    if "claims.svg" in figures:
        blocks.append("![the differences tested](claims.svg)")
    return "\n\n".join(blocks) + "\n"


def _row(cells: Sequence[str]) -> str:
    told = (c if c.startswith("**") else markdown_text(" ".join(c.split())) for c in cells)
    return "| " + " | ".join(told) + " |"


def _of_claim(one: Judged) -> Iterator[str]:
    yield f"## ({one.name}) {markdown_text(one.claim.says)}: {one.verdict}"
    if one.claim.limits:
        yield markdown_text(one.claim.limits)
    yield markdown_grid(_tested(one.parts))
    if one.beside:
        yield markdown_grid(_beside(one.beside))
    yield "\n".join(f"- {markdown_text(line)}" for p in one.parts for line in _details(p))


def _tested(parts: Sequence[Found]) -> Grid:
    names = (*_MEASURED, "p", "Holm", "verdict", "paper")
    rows = [
        (
            *_measured(found),
            _p(found.p),
            _p(found.p_holm),
            found.verdict + (f": {found.why}" if found.why else ""),
            "; ".join(f"{_points(v, found.part)} ({m})" for m, v in (found.paper or {}).items()),
        )
        for found in parts
    ]
    return Grid("Tested", names, rows)


def _beside(parts: Sequence[Found]) -> Grid:
    """No verdicts: so many comparisons are not corrected for."""
    rows = [(*_measured(found), found.sign or found.why) for found in parts]
    return Grid("Beside it, exploratory and tested by nothing", (*_MEASURED, "interval"), rows)


_MEASURED = ("", "says", "new", "base", "difference", "tasks", "seeds")


def _measured(found: Found) -> tuple[str, ...]:
    part, change = found.part, found.difference
    return (
        found.id,
        part.says,
        _shown(found.new, part),
        _shown(found.base, part),
        "–" if change is None else _change(change, part),
        "0" if change is None else f"{change.n_tasks}",
        ", ".join(f"{n} {who}" for who, n in (found.seeds or {}).items()),
    )


def _details(found: Found) -> Iterator[str]:
    part = found.part
    yield (
        f"{found.id}: {part.measure} of {part.new} minus that of {', '.join(part.base)}, over "
        f"{', '.join(part.over)}; claimed: {part.direction}"
    )
    for task, change in (found.by_task or {}).items():
        if len(found.by_task or {}) > 1:
            yield f"{found.id} in {task}: {_change(change, part)}, {change.n_tasks} tasks"
    for player, means in (found.by_seed or {}).items():
        told = ", ".join(_shown(mean, part) for mean in means)
        yield f"{found.id}, each seed of {player}: {told}"


def _shown(value: float, part: Part) -> str:
    if math.isnan(value):
        return "–"
    if part.measure == SCORE:
        return f"{100 * value:.1f}%"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _change(found: Estimate, part: Part) -> str:
    value = _points(found.value, part)
    if math.isnan(found.low):
        return value
    return f"{value} [{_points(found.low, part)}, {_points(found.high, part)}]"


def _points(change: float, part: Part) -> str:
    """A difference: of scores, in points of 100."""
    if part.measure == SCORE:
        return f"{100 * change:+.1f}"
    return f"{change:+,.0f}" if abs(change) >= 100 else f"{change:+.3g}"


def _p(p: float) -> str:
    if math.isnan(p):
        return "–"
    return "<0.0001" if p < 1e-4 else f"{p:.4f}"


def tables_markdown(experiment: Experiment, data: Data, figures: list[str]) -> str:
    """All tables for people."""
    blocks = [f"# {markdown_text(experiment.title)}: the tables", markdown_text(NOTES)]
    for name, table in experiment.tables.items():
        blocks.append(f"## {markdown_text(table.title)}")
        blocks += [markdown_grid(grid) for grid in of_table(experiment, data, name)]
        blocks += [f"![{f}]({f})" for f in figures if f.endswith(f"-{name}.svg")]
    players = "\n".join(
        f"- {who}: memory {p.memory}, model {p.model}" + (f"; {p.says}" if p.says else "")
        for who, p in experiment.players.items()
    )
    models = "\n".join(
        f"- {name}: {len(of.specs)} checkpoint{'s' * (len(of.specs) > 1)}"
        + (f"; {of.says}" if of.says else "")
        for name, of in experiment.models.items()
    )
    return "\n\n".join([*blocks, f"## Players\n\n{players}", f"## Models\n\n{models}"]) + "\n"
