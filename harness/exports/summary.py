"""A cell as the services for experiments see it: what it was made with, and its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from ..analysis import CellFrame
from ..records import stable_hash
from ..stats import Estimate, estimate
from .columns import column_of
from .source import Source

_SCORES = ("success", "progress", "metrics.", "quality.")  # what an interval is given for


@dataclass(frozen=True, slots=True)
class CellSummary:
    """One cell of a run."""

    source: Source
    frame: CellFrame
    about: dict[str, Any]  # flat; texts, numbers, truth values
    scores: dict[str, Estimate]  # by column, with an interval of 95%; the headline first
    means: dict[str, float]  # by column, of every column that has a value
    counts: dict[str, int]  # of episodes, by status

    @property
    def name(self) -> str:
        """What to call it: `RUN/ENV/SPLIT/MEMORY/MODEL`."""
        return "/".join((self.frame.run, *map(str, (self.about[k] for k in _CELL))))

    @property
    def id(self) -> str:
        """The same each time that this cell of this run is exported."""
        return stable_hash([self.frame.run, *self.frame.base.cell, self.frame.base.memory_hash])


_CELL = ("env", "split", "memory", "model")


def summaries(source: Source) -> list[CellSummary]:
    """The cells of a run that have episodes."""
    return [_summary(source, frame) for frame in source.frames if frame.keys]


def _summary(source: Source, frame: CellFrame) -> CellSummary:
    names = [n for n in frame.columns if n.startswith(_SCORES) and n != frame.headline]
    scores: dict[str, Estimate] = {}
    tasks = frame.tasks()
    for name in (frame.headline, *names):
        found = estimate(frame.values(name), tasks) if tasks else None
        if found is not None:
            scores[name] = found
    means: dict[str, float] = {}
    for name in frame.columns:
        values = frame.values(name)
        if not np.isnan(values).all():
            own = source.clean.setting(column_of(name, source.tools))
            means[own] = means.get(own, 0.0) + float(np.nanmean(values))  # of tools made up: sums
    counts = {status: frame.statuses.count(status) for status in sorted(set(frame.statuses))}
    return CellSummary(source, frame, _about(source, frame), scores, means, counts)


def _about(source: Source, frame: CellFrame) -> dict[str, Any]:
    base, protocol = frame.base, frame.protocol
    values = {
        "run": frame.run,
        **{name: getattr(base, name) for name in _CELL},
        "memory_name": frame.cell.memory_name,
        "protocol": protocol.id,
        "env_version": base.env_version,
        "data_hash": base.data_hash,
        "harness_schema": protocol.schema,
        "n_tasks": protocol.n_tasks,
        "repeats": frame.cell.repeats,
        "seed": base.seed,
        "headline": frame.headline,
        "n_planned": frame.n_planned,
        "n_scored": frame.n_scored,
        "coverage": frame.coverage,
        "tokens_estimated": frame.estimated,
        **{f"labels.{name}": text for name, text in sorted(frame.labels.items())},
    }
    cleaned: dict[str, Any] = source.clean.settings(values)
    return cleaned


def numbers(summary: CellSummary) -> dict[str, float]:
    """Means of all columns, the interval of scores, counts of statuses, coverage: all finite."""
    found = dict(summary.means)
    for name, score in summary.scores.items():
        found[f"{name}.low"], found[f"{name}.high"] = score.low, score.high
    found |= {f"status.{status}": float(n) for status, n in summary.counts.items()}
    found["coverage"] = summary.frame.coverage
    return {name: value for name, value in found.items() if np.isfinite(value)}


def moment(text: str) -> datetime:
    """A moment of a record; one that is none is the beginning of 1970."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return datetime.fromtimestamp(0, UTC)
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
