"""What the first page tells of runs: the cells with intervals, and what makes them differ."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ... import __version__
from ..analysis import CellFrame, protocol_differences
from ..errors import AgememError, MissingExtraError

_MEANS = (
    "success", "progress", "steps", "turns", "quality.mq", "memory_entries", "wall_s",
)  # fmt: skip
_DRAWN_BY_THE_PAGE = frozenset({"scores"})
_ROLES = ("agent", "memory_write", "memory_read", "embedding", "judge")


def overview(
    runs: Sequence[Path], frames: Sequence[Sequence[CellFrame]], n_episodes: int
) -> dict[str, Any]:
    """What the page holds from the start.

    Args:
        runs: Directories of the runs.
        frames: The cells of each.
        n_episodes: How many episodes the report has.
    """
    planned = sum(frame.n_planned for of_run in frames for frame in of_run)
    return {
        "version": __version__,
        "runs": run_names(runs),
        "episodes": n_episodes,
        "planned": planned,
        "scored": sum(frame.n_scored for of_run in frames for frame in of_run),
        "cells": [_cell(i, f) for i, of_run in enumerate(frames) for f in of_run],
        "notes": list(_notes(frames)),
    }


def drawings(frames: Sequence[Sequence[CellFrame]]) -> tuple[list[dict[str, str]], str]:
    """Figures to show as pictures, beside those that the page draws itself; or why there are none.

    Args:
        frames: The cells of each run.
    """
    from .. import figures

    cells = [frame for of_run in frames for frame in of_run if frame.n_scored]
    found = []
    try:
        for name in figures.drawable(cells, allow_mixed=True):
            if name in _DRAWN_BY_THE_PAGE:
                continue
            svg = figures.svg(figures.draw(cells, name, allow_mixed=True))
            src = "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
            found.append({"title": figures.TITLES[name], "src": src})
    except MissingExtraError as error:
        return [], f"For more figures: {error}, then write the report again."
    except AgememError as error:
        return found, f"Some figures are left out: {error}"
    return found, ""


def run_names(runs: Sequence[Path]) -> list[str]:
    """A name for each run; two of one name are told apart by a number."""
    names = [run.resolve().name for run in runs]
    return [f"{n} ({i + 1})" if names.count(n) > 1 else n for i, n in enumerate(names)]


def _cell(run: int, frame: CellFrame) -> dict[str, Any]:
    base = frame.base
    headline = frame.headline
    return {
        "run": run,
        "env": base.env,
        "split": base.split,
        "memory": base.memory,
        "model": base.model,
        "planned": frame.n_planned,
        "scored": frame.n_scored,
        "headline": headline,
        "score": _estimate(frame, headline),
        "means": {name: _mean(frame.values(name)) for name in _MEANS},
        "tokens": {role: _tokens(frame, role) for role in _ROLES},
        "tools": _tools(frame),
        "estimated": frame.estimated,
        "labels": frame.labels,
        "lifelong": frame.cell.lifelong,
    }


def _estimate(frame: CellFrame, column: str) -> dict[str, float] | None:
    """Mean and interval of a column; None where nothing is scored."""
    from ..stats import estimate

    found = estimate(frame.values(column), frame.tasks())
    if found is None:
        return None
    return {"value": found.value, "low": found.low, "high": found.high, "n": found.n}


def _mean(values: np.ndarray[Any, np.dtype[np.float64]]) -> float | None:
    there = values[~np.isnan(values)]
    return float(there.mean()) if there.size else None


def _tokens(frame: CellFrame, role: str) -> float | None:
    """Prompt and completion tokens of an episode of a role, on average."""
    parts = [frame.values(f"tokens.{role}.{kind}") for kind in ("prompt", "completion")]
    return _mean(np.nansum(parts, axis=0)) if frame.n_scored else None


def _tools(frame: CellFrame) -> dict[str, float]:
    """Calls of an episode by tool, on average."""
    prefix = "tool_calls."
    found = {n.removeprefix(prefix): _mean(frame.values(n)) for n in frame.columns if prefix in n}
    return {name: value for name, value in sorted(found.items()) if value}


def _notes(frames: Sequence[Sequence[CellFrame]]) -> Iterator[str]:
    """What one must know to read two runs side by side."""
    if len(frames) < 2:
        return
    for one in frames[0]:
        for other in frames[1]:
            if one.base.env == other.base.env and one.protocol.id != other.protocol.id:
                for line in protocol_differences(one.protocol, other.protocol):
                    yield f"{one.base.env}: another protocol ({line})"
                break
