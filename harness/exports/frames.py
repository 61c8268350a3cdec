"""A run in one line of pandas: `agemem_eval.load_run("runs/a").episodes`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ..analysis import CellFrame, run_directory
from ..config import RunConfig
from ..metrics import Row as CellRow
from ..trace import Event
from .columns import TURN_COLUMNS, Row
from .source import Source, all_columns

if TYPE_CHECKING:
    import pandas as pd


class LoadedRun:
    """A run, finished or not, as data frames; each is read when it is first asked for.

    Args:
        source: The run.
    """

    def __init__(self, source: Source) -> None:
        self._source = source

    @property
    def name(self) -> str:
        """The name of the run."""
        return self._source.name

    @property
    def config(self) -> RunConfig:
        """What the run was made with."""
        return self._source.config

    @cached_property
    def episodes(self) -> pd.DataFrame:
        """One row an episode, in the order of the plan; the columns are in `docs/exports.md`.

        Raises:
            MissingExtraError: without the extra `frames`.
            DataError: for damage to the records.
        """
        from .arrow import data_frame

        return data_frame(self._source.episode_rows(), all_columns([self._source]))

    @cached_property
    def turns(self) -> pd.DataFrame:
        """One row a turn; `episode` is the one of `episodes`. Reads all traces.

        An episode whose trace cannot be read has no rows here; `unread` says why.

        Raises:
            MissingExtraError: without the extra `frames`.
        """
        from .arrow import data_frame

        return data_frame(self._source.turn_rows(), TURN_COLUMNS)

    @cached_property
    def rows(self) -> list[CellRow]:
        """The table of the run: one row a cell, as `report` prints it."""
        from ..runner import rows_of

        return list(rows_of(self._source.directory))

    @property
    def cells(self) -> list[CellFrame]:
        """The cells with their protocol, coverage and columns, as NumPy arrays."""
        return self._source.frames

    @property
    def unread(self) -> dict[str, str]:
        """Episodes whose trace could not be read so far, and why."""
        return self._source.unread

    def iter_turns(self) -> Iterator[Row]:
        """The rows of `turns` one at a time, as dicts: for runs that do not fit into memory."""
        return self._source.turn_rows()

    def trace(self, episode: str) -> list[Event]:
        """The events of an episode.

        Args:
            episode: Its id, as in the column `episode`.

        Raises:
            DataError: if they are missing or damaged.
        """
        return list(self._source.store.read_trace(episode))

    def __repr__(self) -> str:
        return f"<run {self.name}: {len(self.cells)} cells>"


def load_run(path: str | Path) -> LoadedRun:
    """Open a run.

    Args:
        path: Its directory, or its name under `runs`.

    Raises:
        UsageError: if there is none; it names the nearest.
        DataError: if it is empty, foreign, broken, or of a newer version.
    """
    return LoadedRun(Source(run_directory(str(path), Path("runs"))))
