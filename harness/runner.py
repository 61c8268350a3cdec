"""Carries out a run: plan, skip what the store has, play the rest, commit, table."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from .breaker import PASSING, Breaker
from .config import Execution, RunConfig
from .errors import UsageError
from .metrics import Row, cell_row
from .plan import Cell, Models, make_plan
from .play import NotBegun, Stage, close_stream, play_alone, play_next
from .records import Episode
from .schedule import Schedule, Work
from .services import Scoring, make_models
from .store import RunStore, check_name
from .trace import Event
from .watch import CellPlan, Planned, Watcher, Watchers
from .workers.pool import EnvPool, make_pool

MAX_PASSES = 3  # over what failures that may pass left owed, once the outage is over
MAX_OPEN_STREAMS = 64  # whose memories stay open between their episodes
WRITERS = 2  # threads that commit; with more of them the event loop waits for Python

log = logging.getLogger("agemem_eval.run")


class Stop:
    """Asks a run to end: what is being played is finished, nothing new begins."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self.event = asyncio.Event()
        self.playing = False  # before and after that there is nothing to finish

    def drain(self, reason: str) -> None:
        """End the run once the episodes in play are finished."""
        self.reason = self.reason or reason
        self.event.set()


@dataclass(frozen=True, slots=True)
class RunResult:
    """What came of a run."""

    directory: Path
    rows: list[Row]
    planned: int
    scored: int
    resumed: int  # scored episodes that were there before
    wall_s: float
    stopped: str | None = None  # why the run ended early, in one line
    notes: tuple[str, ...] = ()  # what else is worth a line at the end

    @property
    def complete(self) -> bool:
        """Whether every planned episode was scored."""
        return self.scored == self.planned


async def run(
    config: RunConfig,
    execution: Execution,
    watchers: Sequence[Watcher] = (),
    stop: Stop | None = None,
) -> RunResult:
    """Carry out a run, or what is left of it.

    Args:
        config: What to measure.
        execution: How.
        watchers: Are told what happens; closed at the end.
        stop: Ends the run early when asked to.

    Raises:
        UsageError: for unknown names and options, or a run of that name with another
            configuration (`ConfigMismatchError`).
        DataError: for missing or broken data, or a disk that refuses.
        MissingExtraError: for a missing prerequisite.
    """
    clock = time.perf_counter()
    watching, stop = Watchers(watchers), stop or Stop()
    async with AsyncExitStack() as leaving:  # what is entered last is left first
        leaving.callback(watching.close)
        store = _store(config, execution)
        models = make_models(config, execution)
        leaving.push_async_callback(models.close)
        pool = make_pool(execution)
        leaving.push_async_callback(pool.close)
        leaving.callback(store.close)
        cells = await make_plan(config, execution, pool, models)
        store.lock(config, [cell.to_json() for cell in cells])
        part = _Part(config, execution, store, pool, models, cells, watching, stop)
        leaving.callback(part.close)
        await part.play()
        rows = [row_of(store, cell) for cell in cells]
        return RunResult(
            store.directory,
            rows,
            part.planned,
            scored=sum(row.n_scored for row in rows),
            resumed=part.done_before,
            wall_s=time.perf_counter() - clock,
            stopped=part.stopped,
            notes=(str(models.cache.stats()),) if execution.cache and models.cache else (),
        )


def _store(config: RunConfig, execution: Execution) -> RunStore:
    """The store of a run that may begin, or go on, under this configuration."""
    store = RunStore(execution.runs_dir / check_name(execution.name or default_name(config)))
    if not execution.resume and store.exists():
        raise UsageError(
            f"the run {store.directory.name} exists: leave out --no-resume to go on with it, or "
            "choose another --name"
        )
    store.check(config)
    return store


def rows_of(directory: Path) -> list[Row]:
    """The table of a run on disk, finished or not.

    Raises:
        UsageError: if there is no such directory.
        DataError: if it is not a run, or is broken.
    """
    store = RunStore.open(directory)
    return [row_of(store, Cell.from_json(value)) for value in store.plan()]


def row_of(store: RunStore, cell: Cell) -> Row:
    """The row of one cell, as it stands."""
    keys = cell.keys
    streams = [[job.key for job in jobs] for _, jobs in cell.streams()] if cell.lifelong else []
    return cell_row(keys, store.records(keys), cell.within_cap, streams)


def default_name(config: RunConfig) -> str:
    """The name that the same configuration always gets, so that running it again resumes it."""
    parts = ["+".join(config.envs), "+".join(config.memories), config.model, config.hash[:8]]
    return re.sub(r"[^A-Za-z0-9.+=-]+", "-", "_".join(p[:40] for p in parts)).strip("-.+=_")


class _Part:
    """One part of a run: from this process's start to its end."""

    def __init__(
        self,
        config: RunConfig,
        execution: Execution,
        store: RunStore,
        pool: EnvPool,
        models: Models,
        cells: list[Cell],
        watchers: Watchers,
        stop: Stop,
    ) -> None:
        self._store, self._cells, self._watchers, self._stop = store, cells, watchers, stop
        self._concurrency, self._lifelong = execution.concurrency, config.memory_scope == "run"
        self._breaker = Breaker(execution.max_infra_errors, execution.patience_s, stop.event)
        # Commits wait for the disk; in threads they hold up no other episode, and share its syncs.
        self._writers = ThreadPoolExecutor(WRITERS, "agemem-eval-store")
        scoring = Scoring(models)
        self._stage = Stage(
            config, execution, store, pool, models, scoring, watchers, self._commit, self._ending
        )
        self._writing: set[asyncio.Task[None]] = set()
        # What is not written yet takes memory: so many episodes at most.
        self._unwritten = asyncio.Semaphore(execution.concurrency)
        self._broken: BaseException | None = None  # the first write that failed: it ends the run
        self._passing_faults = 0  # of this pass: what an outage left owed
        self._scored = 0  # in this part
        self.planned = self.done_before = 0

    @property
    def stopped(self) -> str | None:
        """Why the run ends early; None while it does not."""
        return self._breaker.gave_up or self._stop.reason

    async def play(self) -> None:
        """Play what is owed; what an outage took is played again once the rest is done."""
        for number in count(1):
            schedule = Schedule(self._cells, self._store.scored, self._lifelong)
            if number == 1:
                self._tell_plan(schedule)
            before, self._passing_faults = self._scored, 0
            self._stop.playing = True
            try:
                await self._pass(schedule)
            finally:
                self._stop.playing = False
            if self._ending() or not self._passing_faults:
                return
            # While an outage lasts, the breaker says how long it is waited for. Without one, what
            # fails again and again while others are scored will not pass.
            if not self._breaker.open and (self._scored == before or number >= MAX_PASSES):
                return
            log.info(
                f"{self._passing_faults} episodes were lost to failures that may have passed: "
                "playing them again",
                extra={"fields": {"event": "again", "episodes": self._passing_faults}},
            )

    def close(self) -> None:
        """Wait for the last commits."""
        self._writers.shutdown()

    async def _pass(self, schedule: Schedule) -> None:
        """Play what a schedule gives, several at once; an error that no retry mends ends it."""
        n = min(self._concurrency, schedule.owed)
        players = [asyncio.create_task(self._player(schedule)) for _ in range(n)]
        try:
            await asyncio.gather(*players)
        finally:
            for player in players:
                player.cancel()
            await asyncio.gather(*players, return_exceptions=True)
            await asyncio.gather(*self._writing, return_exceptions=True)
            for stream in schedule.streams:
                await close_stream(stream)
        if self._broken is not None:
            raise self._broken

    async def _player(self, schedule: Schedule) -> None:
        while not self._ending():
            async with self._breaker.turn():
                if self._ending():
                    return
                work = schedule.take()
                if work is None:
                    return
                try:
                    episode = await self._play(work)
                except NotBegun:
                    return
            if work.stream is not None and episode.scored:
                if len(schedule.streams) > MAX_OPEN_STREAMS:  # it begins again from its snapshot
                    await close_stream(work.stream)
                schedule.give_back(work)

    async def _play(self, work: Work) -> Episode:
        if work.stream is None:
            return await play_alone(self._stage, work.cell, work.job)
        return await play_next(self._stage, work.cell, work.job, work.stream)

    def _ending(self) -> bool:
        return self.stopped is not None or self._broken is not None

    async def _commit(
        self, episode: Episode, events: list[Event], snapshot: tuple[str, bytes] | None
    ) -> None:
        """Write an episode; waits for the disk only where a stream goes on from it.

        Many episodes that end together would wait for each other's syncs, and the endpoint idle.
        """
        self._breaker.record(episode)
        self._scored += episode.scored
        self._passing_faults += episode.fault in PASSING
        await self._unwritten.acquire()
        writing = asyncio.create_task(self._write(episode, events, snapshot))
        self._writing.add(writing)
        writing.add_done_callback(self._written)
        if snapshot is not None:
            await asyncio.shield(writing)

    async def _write(
        self, episode: Episode, events: list[Event], snapshot: tuple[str, bytes] | None
    ) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._writers, self._store.commit, episode, events, snapshot)
        self._watchers.committed(episode)

    def _written(self, writing: asyncio.Task[None]) -> None:
        self._writing.discard(writing)
        self._unwritten.release()
        if not writing.cancelled() and (error := writing.exception()) is not None:
            self._broken = self._broken or error

    def _tell_plan(self, schedule: Schedule) -> None:
        cells = []
        for lane in schedule.lanes:
            base = lane.cell.base
            about = (base.env, base.split, base.memory, base.model)
            cells.append(CellPlan(*about, lane.planned, lane.begun))
        self.planned = sum(cell.planned for cell in cells)
        self.done_before = sum(cell.done for cell in cells)
        directory = self._store.directory
        self._watchers.planned(Planned(directory.name, directory, tuple(cells)))
