"""How anything looks at a run while it goes: the dashboard, progress lines, exported spans."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .records import Episode, EpisodeKey
from .trace import Event

log = logging.getLogger("agemem_eval.watch")


@dataclass(frozen=True, slots=True)
class CellPlan:
    """One cell of the table, as it is when the run starts."""

    env: str
    split: str
    memory: str
    model: str
    planned: int
    done: int  # scored in earlier parts of the run


@dataclass(frozen=True, slots=True)
class Planned:
    """What a run will play."""

    run: str
    directory: Path
    cells: tuple[CellPlan, ...]

    @property
    def planned(self) -> int:
        """Episodes of all cells."""
        return sum(cell.planned for cell in self.cells)

    @property
    def done(self) -> int:
        """Episodes scored in earlier parts of the run."""
        return sum(cell.done for cell in self.cells)


class Watcher:
    """Is told what happens in a run, from its event loop, so each call must be short."""

    def planned(self, plan: Planned) -> None:
        """The plan is made, the first episode is about to begin."""

    def begins(self, key: EpisodeKey, attempt: int) -> None:
        """A try of an episode begins."""

    def event(self, key: EpisodeKey, event: Event) -> None:
        """Something happened in it."""

    def ends(self, episode: Episode) -> None:
        """A try has ended, scored or not; it may be tried again."""

    def committed(self, episode: Episode) -> None:
        """An episode is on disk."""

    def close(self) -> None:
        """The run has ended, however it did."""


class Watchers(Watcher):
    """Several watchers as one; one that fails is dropped, and the run goes on."""

    def __init__(self, watchers: Sequence[Watcher]) -> None:
        self._watchers = list(watchers)
        # An event is told hundreds of times a second: only to those that listen.
        self._listening = [w for w in watchers if type(w).event is not Watcher.event]

    def listener(self, key: EpisodeKey) -> Callable[[Event], None] | None:
        """Takes the events of an episode; None where nobody listens."""
        return (lambda event: self.event(key, event)) if self._listening else None

    def planned(self, plan: Planned) -> None:
        """See `Watcher`."""
        self._tell(self._watchers, "planned", plan)

    def begins(self, key: EpisodeKey, attempt: int) -> None:
        """See `Watcher`."""
        self._tell(self._watchers, "begins", key, attempt)

    def event(self, key: EpisodeKey, event: Event) -> None:
        """See `Watcher`."""
        self._tell(self._listening, "event", key, event)

    def ends(self, episode: Episode) -> None:
        """See `Watcher`."""
        self._tell(self._watchers, "ends", episode)

    def committed(self, episode: Episode) -> None:
        """See `Watcher`."""
        self._tell(self._watchers, "committed", episode)

    def close(self) -> None:
        """See `Watcher`."""
        self._tell(self._watchers, "close")

    def _tell(self, watchers: list[Watcher], what: str, *about: Any) -> None:
        for watcher in tuple(watchers):
            try:
                getattr(watcher, what)(*about)
            except Exception as error:  # noqa: BLE001 - no watcher may end a run
                for them in (self._watchers, self._listening):
                    if watcher in them:
                        them.remove(watcher)
                name = type(watcher).__name__
                problem = f"{name} failed in {what} and is dropped: {type(error).__name__}: {error}"
                log.warning(problem, extra={"fields": {"event": "watcher_dropped", "name": name}})
                if what != "close":  # else it would keep the terminal, or what it has open
                    with contextlib.suppress(Exception):
                        watcher.close()
