"""The episodes of a cell as columns: one array a metric, a missing score as NaN.

Columns have the names that exports use too:

    success, progress, reward, steps, turns, invalid_actions, malformed_outputs, forfeits,
    overflow_drops, memory_entries, wall_s      as in `Episode`
    metrics.NAME                                further scores of the environment
    quality.NAME                                of the memory; `quality.score.MEANINGS`
    tokens.ROLE.{calls,prompt,completion}       `tokens.agent.prompt`, …
    tool_calls.TOOL, tool_failed.TOOL           calls, and those whose status is not `success`
    memory_faults, judge_faults                 counts
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import unknown_name
from ..plan import Cell
from ..records import Episode, EpisodeKey
from ..store import RunStore
from .protocol import Protocol, protocol_of

FloatArray = NDArray[np.float64]

PLAIN = (
    "success", "progress", "reward", "steps", "turns", "invalid_actions", "malformed_outputs",
    "forfeits", "overflow_drops", "memory_entries", "wall_s", "judge_faults",
)  # fmt: skip


@dataclass(slots=True)
class CellFrame:
    """All committed episodes of one cell; row i of every list and column is the same episode."""

    run: str  # name of the run
    directory: Path
    cell: Cell
    protocol: Protocol
    n_planned: int
    keys: list[EpisodeKey] = field(default_factory=list)
    task_types: list[str] = field(default_factory=list)
    statuses: list[str] = field(default_factory=list)
    losses: list[str | None] = field(default_factory=list)
    orders: list[int] = field(default_factory=list)  # place in the plan or stream
    labels: dict[str, str] = field(default_factory=dict)  # `mixed` where episodes disagree
    estimated: bool = False  # whether some tokens were estimated
    columns: dict[str, FloatArray] = field(default_factory=dict)

    @property
    def base(self) -> EpisodeKey:
        """What all its keys have in common."""
        return self.cell.base

    @property
    def scored(self) -> NDArray[np.bool_]:
        """Which episodes count: an infrastructure failure is owed, never a score."""
        return np.array([status != "infra_error" for status in self.statuses], dtype=bool)

    @property
    def n_scored(self) -> int:
        """How many episodes count."""
        return int(self.scored.sum())

    @property
    def coverage(self) -> float:
        """Scored of planned."""
        return self.n_scored / self.n_planned

    @property
    def headline(self) -> str:
        """The column that ranks its memory: the first of the environment's that has a score."""
        for name in self.cell.headline:
            if name in self.columns and not np.isnan(self.values(name)).all():
                return name
        return self.cell.headline[-1]

    def values(self, name: str) -> FloatArray:
        """A column of the scored episodes alone; all NaN where nobody has such a score."""
        column = self.columns.get(name)
        if column is None:
            return np.full(self.n_scored, np.nan)
        return column[self.scored]

    def tasks(self) -> list[str]:
        """The task of each scored episode: what repeats of one task are clustered by."""
        return [key.task for key, counts in zip(self.keys, self.scored, strict=True) if counts]


def run_directory(run: str, runs_dir: Path) -> Path:
    """Where a run lies: a path, or a name under the folder of runs.

    Raises:
        UsageError: if there is none; it names the nearest.
    """
    directory = Path(run) if Path(run).is_dir() else runs_dir / run
    if not directory.is_dir():
        known = [path.name for path in runs_dir.iterdir()] if runs_dir.is_dir() else []
        raise unknown_name("run", run, known)
    return directory


def load_frames(directory: Path) -> list[CellFrame]:
    """The cells of a run, finished or not, in the order of its plan.

    Raises:
        UsageError: if there is no such directory.
        DataError: if it is empty, foreign, broken, or of a newer version.
    """
    store = RunStore.open(directory)
    config, frames = store.config(), []
    builders: dict[EpisodeKey, _Builder] = {}
    for cell in map(Cell.from_json, store.plan()):
        protocol = protocol_of(config, cell.base, [task.id for task in cell.tasks])
        planned = len(cell.tasks) * cell.repeats * max(1, len(cell.order_seeds))
        frame = CellFrame(directory.name, directory, cell, protocol, planned)
        frames.append(frame)
        builders[cell.base] = _Builder(frame)
    for episode in store.records():
        builder = builders.get(replace(episode.key, task="", repeat=0, order_seed=None))
        if builder is not None:
            builder.add(episode)
    for builder in builders.values():
        builder.finish()
    return frames


class _Builder:
    """Fills a frame one episode at a time."""

    def __init__(self, frame: CellFrame) -> None:
        self._frame = frame
        self._columns: dict[str, array[float]] = {}
        self._n = 0

    def add(self, episode: Episode) -> None:
        """Take in a committed episode."""
        frame = self._frame
        frame.keys.append(episode.key)
        frame.task_types.append(episode.task_type)
        frame.statuses.append(episode.status)
        frame.losses.append(episode.loss)
        frame.orders.append(episode.order)
        for label, value in episode.labels.items():
            if frame.labels.setdefault(label, value) != value:
                frame.labels[label] = "mixed"
        frame.estimated |= any(usage.estimated_calls for usage in episode.tokens.values())
        for name, value in numbers_of(episode):
            self._put(name, value)
        self._n += 1

    def _put(self, name: str, value: float) -> None:
        column = self._columns.get(name)
        if column is None:
            column = self._columns[name] = array("d")
        gap = self._n - len(column)
        if gap:  # episodes before it have nothing of that name
            column.extend([np.nan] * gap)
        column.append(value)

    def finish(self) -> None:
        """Make the columns equally long; what is counted and was never told is 0."""
        for name, column in self._columns.items():
            column.extend([np.nan] * (self._n - len(column)))
            values = np.array(column, dtype=np.float64)
            if name.startswith(("tokens.", "tool_calls.", "tool_failed.", "memory_faults")):
                values[np.isnan(values)] = 0.0
            self._frame.columns[name] = values


def numbers_of(episode: Episode) -> Iterator[tuple[str, float]]:
    """The columns of one episode that have a value; see the module."""
    for name in PLAIN:
        value = getattr(episode, name)
        if value is not None:
            yield name, float(value)
    yield "memory_faults", float(sum(episode.memory_faults.values()))
    for group, scores in (("metrics", episode.metrics), ("quality", episode.quality)):
        for name, score in scores.items():
            if score is not None:
                yield f"{group}.{name}", float(score)
    for role, usage in episode.tokens.items():
        yield f"tokens.{role}.calls", usage.calls
        yield f"tokens.{role}.prompt", usage.prompt_tokens
        yield f"tokens.{role}.completion", usage.completion_tokens
    for tool, by_status in episode.tool_calls.items():
        calls = sum(by_status.values())
        yield f"tool_calls.{tool}", calls
        yield f"tool_failed.{tool}", calls - by_status.get("success", 0)


def names_with(frames: Iterable[CellFrame], prefix: str) -> Sequence[str]:
    """The columns of any of these cells that begin so, in order."""
    return sorted({n for frame in frames for n in frame.columns if n.startswith(prefix)})
