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

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..columns import COUNTED, FloatArray, names_of, values_of
from ..columns import PLAIN as PLAIN
from ..metrics import Row, Tally
from ..plan import Cell
from ..records import Episode, EpisodeKey
from ..store import RunStore
from ..store.scan import scan
from .protocol import Protocol, protocol_of

MIN_COVERAGE = 0.95  # a cell with less of its episodes scored is shown, and never ranked


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
    # Statuses, how many, and which of them count: every column is cut by it, many times.
    _scored: tuple[list[str], int, NDArray[np.bool_]] = field(
        default_factory=lambda: ([], 0, np.zeros(0, dtype=bool)),
        init=False, repr=False, compare=False,
    )  # fmt: skip

    @property
    def base(self) -> EpisodeKey:
        """What all its keys have in common."""
        return self.cell.base

    @property
    def scored(self) -> NDArray[np.bool_]:
        """Which episodes count: an infrastructure failure is owed, never a score."""
        statuses, n, found = self._scored
        if statuses is not self.statuses or n != len(self.statuses):
            kept = [status != "infra_error" for status in self.statuses]
            found = np.array(kept, dtype=bool)
            found.flags.writeable = False  # everybody is given the same
            self._scored = self.statuses, len(kept), found
        return found

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


def load_frames(directory: Path) -> list[CellFrame]:
    """The cells of a run, finished or not, in the order of its plan.

    Raises:
        UsageError: if there is no such directory.
        DataError: if it is empty, foreign, broken, or of a newer version.
    """
    return [frame for frame, _ in _load(directory, rows=False)]


def load_run(directory: Path) -> list[tuple[CellFrame, Row]]:
    """The same, each with its row of the detail tables; the records are read once for both.

    Raises:
        UsageError: if there is no such directory.
        DataError: if it is empty, foreign, broken, or of a newer version.
    """
    return [(frame, row) for frame, row in _load(directory, rows=True) if row is not None]


def merge_frames(frames: Sequence[CellFrame]) -> CellFrame:
    """One frame of several that measure the same, e.g. with different seeds.

    Args:
        frames: At least one; no episode in two of them.
    """
    first = frames[0]
    if len(frames) == 1:
        return first
    merged = CellFrame(
        "+".join(dict.fromkeys(frame.run for frame in frames)),
        first.directory,
        first.cell,
        first.protocol,
        sum(frame.n_planned for frame in frames),
        [key for frame in frames for key in frame.keys],
        [type_ for frame in frames for type_ in frame.task_types],
        [status for frame in frames for status in frame.statuses],
        [loss for frame in frames for loss in frame.losses],
        [order for frame in frames for order in frame.orders],
        estimated=any(frame.estimated for frame in frames),
    )
    for frame in frames:
        _add_labels(merged, frame.labels)
    for name in {name: None for frame in frames for name in frame.columns}:
        empty = 0.0 if name.startswith(COUNTED) else np.nan
        parts = [f.columns.get(name, np.full(len(f.keys), empty)) for f in frames]
        merged.columns[name] = np.concatenate(parts)
    return merged


def _load(directory: Path, rows: bool) -> Iterator[tuple[CellFrame, Row | None]]:
    store = RunStore.open(directory)
    config, builders = store.config(), list[_Builder]()
    name = directory.resolve().name
    for cell in map(Cell.from_json, store.plan()):
        protocol = protocol_of(config, cell.base, [task.id for task in cell.tasks])
        planned = len(cell.tasks) * cell.repeats * max(1, len(cell.order_seeds))
        builders.append(_Builder(CellFrame(name, directory, cell, protocol, planned), rows))
    by_base = {_BASE(builder.frame.base): builder for builder in builders}
    for episode in scan(store):
        builder = by_base.get(_BASE(episode.key))
        if builder is not None:
            builder.add(episode)
    for builder in builders:
        yield builder.finish()


_BASE = attrgetter(
    "env", "env_version", "data_hash", "split", "memory", "memory_hash", "model", "model_hash",
    "protocol_hash", "seed",
)  # fmt: skip


class _Builder:
    """Fills a frame one episode at a time, and what its row needs."""

    def __init__(self, frame: CellFrame, row: bool) -> None:
        self.frame = frame
        cell = frame.cell
        self._tasks = {task.id for task in cell.tasks}
        self._repeats = range(cell.repeats)
        self._orders: set[int | None] = set(cell.order_seeds or (None,))
        self._tally = Tally(keep_successes=cell.lifelong)
        self._row = row
        self._last: dict[str, str] = {}  # labels of the last episode; mostly all have the same

    def add(self, episode: Episode) -> None:
        """Take in a committed episode; one that was never planned is none of this cell."""
        frame, key = self.frame, episode.key
        planned = key.task in self._tasks and key.repeat in self._repeats
        if not planned or key.order_seed not in self._orders:
            return
        self._tally.add(episode)
        frame.keys.append(key)
        frame.task_types.append(episode.task_type)
        frame.statuses.append(episode.status)
        frame.losses.append(episode.loss)
        frame.orders.append(episode.order)
        if episode.labels != self._last:
            self._last = episode.labels
            _add_labels(frame, episode.labels)

    def finish(self) -> tuple[CellFrame, Row | None]:
        """Make the columns, and the row if one is wanted; a score that nobody has is no column."""
        frame, cell = self.frame, self.frame.cell
        for name, column in self._tally.columns.arrays().items():
            if isinstance(name, tuple):
                frame.estimated |= name[0] == "estimated" and bool(column.any())
            elif not np.isnan(column).all():
                frame.columns[name] = column
        if not self._row:
            return frame, None
        streams = [[job.key for job in jobs] for _, jobs in cell.streams()] if cell.lifelong else []
        return frame, self._tally.row(cell.base, frame.n_planned, cell.within_cap, streams)


def _add_labels(frame: CellFrame, labels: dict[str, str]) -> None:
    for label, value in labels.items():
        if frame.labels.setdefault(label, value) != value:
            frame.labels[label] = "mixed"


def numbers_of(episode: Episode) -> Iterator[tuple[str, float]]:
    """The columns of one episode that have a value; see the module."""
    for name, value in zip(names_of(episode), values_of(episode), strict=True):
        if value is not None and isinstance(name, str):
            yield name, float(value)


def names_with(frames: Iterable[CellFrame], prefix: str) -> Sequence[str]:
    """The columns of any of these cells that begin so, in order."""
    return sorted({n for frame in frames for n in frame.columns if n.startswith(prefix)})
