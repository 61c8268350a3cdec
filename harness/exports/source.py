"""A run opened for export: its cells, episodes and turns, and what of it could not be read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from ..analysis import CellFrame, load_frames
from ..config import RunConfig
from ..errors import DataError
from ..records import Episode
from ..store import RunStore
from ..trace import Event
from .clean import Clean
from .columns import (
    Column,
    Row,
    column_of,
    episode_columns,
    episode_row,
    known_tools,
    numbers_and_labels,
    turn_rows,
)


@dataclass
class Source:
    """One run. Episodes come in the order of its plan, one at a time, however many there are.

    Args:
        directory: Of the run.

    Raises:
        UsageError: if there is no such directory.
        DataError: if it is empty, foreign, broken, or of a newer version.
    """

    directory: Path
    unread: dict[str, str] = field(default_factory=dict)  # episode -> why it has no turns

    def __post_init__(self) -> None:
        self.directory = self.directory.resolve()
        self.store = RunStore.open(self.directory)
        self.config: RunConfig = self.store.config()
        self.clean = Clean(self.directory, self.config)

    @property
    def name(self) -> str:
        """The name of the run."""
        return self.directory.name

    @cached_property
    def frames(self) -> list[CellFrame]:
        """The cells as columns."""
        return load_frames(self.directory)

    def episodes(self) -> Iterator[tuple[CellFrame, Episode]]:
        """The committed episodes, each with its cell."""
        for frame in self.frames:
            for episode in self.store.records(frame.cell.keys):
                yield frame, episode

    @cached_property
    def _told(self) -> tuple[frozenset[str], frozenset[str]]:
        """The tools that were carried out, and the names of all columns, in one reading."""
        tools: set[str] = set()
        names: set[str] = set()
        for _, episode in self.episodes():
            tools |= known_tools(episode)
            names.update(name for name, _ in numbers_and_labels(episode))
        known = frozenset(tools)
        return known, frozenset(self.clean.name(column_of(name, known)) for name in names)

    @property
    def column_names(self) -> frozenset[str]:
        """The columns of episodes that depend on the run."""
        return self._told[1]

    @property
    def tools(self) -> frozenset[str]:
        """The tools that were carried out in this run."""
        return self._told[0]

    def episode_rows(self) -> Iterator[Row]:
        """One row an episode; see `columns`."""
        for frame, episode in self.episodes():
            yield self.row(frame, episode)

    def row(self, frame: CellFrame, episode: Episode) -> Row:
        """One episode as a row."""
        return episode_row(frame, episode, self.tools, self.clean)

    def turn_rows(self) -> Iterator[Row]:
        """One row a turn; an episode without a readable trace has none, and is in `unread`."""
        for _, episode in self.episodes():
            yield from self._turns(episode)

    def _turns(self, episode: Episode) -> list[Row]:
        id_ = episode.key.id
        events = self.events(id_)
        try:
            return list(turn_rows(self.name, id_, events, self.clean))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            self.unread[id_] = f"its trace holds what is no event: {error!r:.80}"
            return []

    def events(self, episode: str) -> list[Event]:
        """The trace of an episode; one that cannot be read is empty, and told in `unread`."""
        try:
            return list(self.store.read_trace(episode))
        except DataError as error:
            self.unread[episode] = str(error)
            return []

    def problems(self) -> Iterator[str]:
        """What whoever exports this must know, one line each."""
        short = [frame for frame in self.frames if frame.n_scored < frame.n_planned]
        if short:
            scored = sum(frame.n_scored for frame in self.frames)
            planned = sum(frame.n_planned for frame in self.frames)
            cells = ", ".join(
                f"{f.base.env}/{f.base.memory} {f.n_scored} of {f.n_planned}" for f in short[:4]
            )
            more = f" and {len(short) - 4} more cells" if short[4:] else ""
            yield (
                f"{self.name} is not finished: {scored} of {planned} episodes scored "
                f"({cells}{more})"
            )
        if self.unread:
            first = next(iter(self.unread.values()))
            n = len(self.unread)
            yield (
                f"{self.name}: {n} episode{'s have' if n > 1 else ' has'} no readable trace and "
                f"{'are' if n > 1 else 'is'} exported without turns; {first}"
            )


def all_columns(sources: Sequence[Source]) -> tuple[Column, ...]:
    """The columns of the episodes of all these runs together."""
    return episode_columns({name for source in sources for name in source.column_names})
