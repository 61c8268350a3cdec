"""Carries out a run: plan, skip what the store has, play the rest, commit, table.

Model calls are asyncio in this process, environments live in worker processes. An infrastructure
failure is tried again, then recorded and owed: it is never a score. Failures in a row end the run.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .agent import run_episode
from .config import Execution, RunConfig
from .errors import AgememError, EpisodeTimeout, InfraError, backend_errors
from .ledger import Ledger, RoleUsage, add_usages
from .metering import Meter
from .metrics import Row, cell_row
from .plan import Cell, Job, Models, close_memory, env_options, make_memory, make_plan
from .prompts import PROMPT_VERSION
from .records import Episode, EpisodeKey
from .services import Scoring, make_models
from .store import RunStore, check_name
from .trace import Trace
from .types import EnvClient, Gold, Memory, Scope, Task
from .workers import EnvPool, LocalPool, WorkerPool


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is; given to the callback at the start and after every episode."""

    planned: int
    done: int  # scored episodes, those of earlier parts of the run included
    statuses: dict[str, int]  # of the episodes finished in this part
    run: str


@dataclass(frozen=True, slots=True)
class RunResult:
    """What came of a run."""

    directory: Path
    rows: list[Row]
    planned: int
    scored: int
    resumed: int  # scored episodes that were there before
    wall_s: float
    stopped: str | None = None  # why the run ended early: the last failure, in one line

    @property
    def complete(self) -> bool:
        """Whether every planned episode was scored."""
        return self.scored == self.planned


@dataclass(frozen=True, slots=True)
class _Unit:
    """Episodes that one coroutine plays in order: a whole stream, or a single episode."""

    cell: Cell
    jobs: Sequence[Job]
    stream: str | None  # the memory that all of them share; None: each has its own


async def run(
    config: RunConfig,
    execution: Execution,
    progress: Callable[[Progress], None] = lambda _: None,
) -> RunResult:
    """Carry out a run, or what is left of it.

    Raises:
        UsageError: for unknown names and options, or a run of that name with another
            configuration (`ConfigMismatchError`).
        DataError: for missing or broken data, or a disk that refuses.
        MissingExtraError: for a missing prerequisite.
    """
    clock = time.perf_counter()
    store = RunStore(execution.runs_dir / check_name(execution.name or default_name(config)))
    store.check(config)
    models = make_models(config, execution)
    pool: EnvPool = LocalPool()
    if execution.workers != 0:
        pool = WorkerPool(
            workers=execution.workers,
            concurrency=execution.concurrency,
            step_timeout_s=execution.step_timeout_s,
        )
    try:
        cells = await make_plan(config, execution, pool, models)
        store.lock(config, [cell.to_json() for cell in cells])
        part = _Part(config, execution, store, pool, models, cells, progress)
        await part.play()
        scored = sum(row.n_scored for row in part.rows())
        resumed = part.done_before
        wall = time.perf_counter() - clock
        return RunResult(
            store.directory, part.rows(), part.planned, scored, resumed, wall, part.stopped
        )
    finally:
        store.close()
        await pool.close()
        await models.close()


def rows_of(directory: Path) -> list[Row]:
    """The table of a run on disk, finished or not.

    Raises:
        UsageError: if there is no such directory.
        DataError: if it is not a run, or is broken.
    """
    store = RunStore.open(directory)
    episodes = store.episodes()
    cells = [Cell.from_json(value) for value in store.plan()]
    return [_row(cell, episodes) for cell in cells]


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
        progress: Callable[[Progress], None],
    ) -> None:
        self.config, self.execution, self.store, self.pool = config, execution, store, pool
        self.models, self.cells, self._progress = models, cells, progress
        self.scoring = Scoring(config, execution, models)
        self.planned = sum(len(cell.keys) for cell in cells)
        self.done_before = self._scored()
        self._done = self.done_before
        self._failures = 0  # failed episodes in a row
        self._statuses: Counter[str] = Counter()
        self.stopped: str | None = None
        self._units = deque(self._make_units())

    def rows(self) -> list[Row]:
        """The table as it stands."""
        episodes = self.store.episodes()
        return [_row(cell, episodes) for cell in self.cells]

    async def play(self) -> None:
        """Play all units, several at once; the first error that no retry mends ends the run."""
        self._tell()
        n = min(self.execution.concurrency, len(self._units))
        players = [asyncio.create_task(self._player()) for _ in range(n)]
        try:
            await asyncio.gather(*players)
        finally:
            for player in players:
                player.cancel()
            await asyncio.gather(*players, return_exceptions=True)

    def _make_units(self) -> list[_Unit]:
        known = self.store.episodes()
        units = []
        for cell in self.cells:
            for stream, jobs in cell.streams():
                owed = [j for j in jobs if j.key not in known or not known[j.key].scored]
                if self.config.memory_scope == "run":
                    units += [_Unit(cell, jobs, stream)] if owed else []
                else:
                    units += [_Unit(cell, [job], None) for job in owed]
        return units

    def _scored(self) -> int:
        known = self.store.episodes()
        keys = (key for cell in self.cells for key in cell.keys)
        return sum(key in known and known[key].scored for key in keys)

    async def _player(self) -> None:
        while self._units and self.stopped is None:
            unit = self._units.popleft()
            if unit.stream is None:
                await self._play_alone(unit)
            else:
                await self._play_stream(unit, unit.stream)

    async def _play_alone(self, unit: _Unit) -> None:
        """One episode with a memory of its own."""
        (job,) = unit.jobs
        lost = self._lost_before(job)
        for attempt in range(1, self.execution.retries + 2):
            memory, meter = make_memory(self.config, unit.cell.memory_name, self.models)
            try:
                episode = await self._episode(unit.cell, job, memory, meter, None, attempt)
                episode.tokens_lost = lost
                if episode.scored or attempt > self.execution.retries or self.stopped is not None:
                    self._commit(episode, meter.trace, None)
                    return
                add_usages(lost, episode.tokens)
            finally:
                await close_memory(memory)

    async def _play_stream(self, unit: _Unit, stream: str) -> None:
        """Episodes in order with one memory; a failed one ends the stream, the rest is owed.

        The memory starts from the snapshot of the last committed episode, whatever its own files
        say: a killed process may have left them in the middle of an episode.
        """
        known = self.store.episodes()
        done = 0
        while done < len(unit.jobs) and _is_scored(known.get(unit.jobs[done].key)):
            done += 1
        snapshot = b""
        if done:
            snapshot = self.store.read_snapshot(stream, unit.jobs[done - 1].key.id)
        directory = self.store.memory_dir(stream) / "live"
        directory.mkdir(parents=True, exist_ok=True)
        memory, meter = make_memory(self.config, unit.cell.memory_name, self.models, directory)
        try:
            for job in unit.jobs[done:]:
                lost = self._lost_before(job)
                for attempt in range(1, self.execution.retries + 2):
                    episode, after = await self._next_of_stream(
                        unit.cell, job, memory, meter, stream, attempt, snapshot
                    )
                    episode.tokens_lost = lost
                    if episode.scored or self.stopped is not None:
                        break
                    if attempt <= self.execution.retries:
                        add_usages(lost, episode.tokens)
                self._commit(episode, meter.trace, (stream, after) if episode.scored else None)
                if not episode.scored or self.stopped is not None:
                    return
                snapshot = after
        finally:
            await close_memory(memory)

    async def _next_of_stream(
        self,
        cell: Cell,
        job: Job,
        memory: Memory,
        meter: Meter,
        stream: str,
        attempt: int,
        before: bytes,
    ) -> tuple[Episode, bytes]:
        """One try of a stream's next episode, and the memory after it."""
        meter.point_to(Ledger(), Trace())  # what fails before it begins is no cost of the last one
        try:
            with backend_errors("begin and restore"):
                await memory.begin(Scope(stream, "", Trace()))
                memory.restore(before)
            episode = await self._episode(cell, job, memory, meter, stream, attempt)
            if not episode.scored:
                return episode, before
            with backend_errors("snapshot"):
                return episode, memory.snapshot()
        except InfraError as error:
            return _failed(job, error, meter), before

    def _lost_before(self, job: Job) -> dict[str, RoleUsage]:
        """What an earlier part of the run spent on an episode and has no score to show for."""
        lost: dict[str, RoleUsage] = {}
        before = self.store.episodes().get(job.key)
        if before is not None:
            add_usages(lost, before.tokens_lost)
            add_usages(lost, before.tokens)
        return lost

    async def _episode(
        self, cell: Cell, job: Job, memory: Memory, meter: Meter, stream: str | None, attempt: int
    ) -> Episode:
        """One try of an episode; whatever the infrastructure did is its status."""
        meter.point_to(Ledger(), Trace())
        options = env_options(self.config, self.execution, cell.base.env)
        limit = self.execution.episode_timeout_s
        try:
            env = await self.pool.acquire(cell.base.env, options, alone=attempt > 1)
            try:
                async with asyncio.timeout(limit):  # waiting for an environment is not playing
                    gold = await env.gold(job.task)
                    episode = await run_episode(
                        env,
                        memory,
                        self.models.agent,
                        job.task,
                        key=job.key,
                        config=self.config.agent,
                        meter=meter,
                        scope_id=stream,
                        position=None if stream is None else job.order + 1,
                        gold=await _told(memory, env, gold, cell.others[job.task.id]),
                        scorer=self.scoring.of(gold, meter),
                    )
            finally:
                await env.close()
        except TimeoutError:
            error = EpisodeTimeout(f"the episode took longer than {limit:g} s")
            episode = _failed(job, error, meter)
        except InfraError as error:
            episode = _failed(job, error, meter)
        labels = {"prompts": PROMPT_VERSION, **self.scoring.labels(memory)}
        episode.attempt, episode.order, episode.labels = attempt, job.order, labels
        return episode

    def _commit(self, episode: Episode, trace: Trace, snapshot: tuple[str, bytes] | None) -> None:
        self.store.commit(episode, trace.events, snapshot)
        self._statuses[episode.status] += 1
        if episode.scored:
            self._done += 1
            self._failures = 0
        else:
            self._failures += 1
            if self._failures >= self.execution.max_infra_errors:
                self.stopped = f"{self._failures} episodes in a row failed: {episode.reason}"
        self._tell()

    def _tell(self) -> None:
        name = self.store.directory.name
        self._progress(Progress(self.planned, self._done, dict(self._statuses), name))


def _row(cell: Cell, episodes: Mapping[EpisodeKey, Episode]) -> Row:
    streams = [[job.key for job in jobs] for _, jobs in cell.streams()] if cell.lifelong else []
    return cell_row(cell.keys, episodes, cell.within_cap, streams)


async def _told(memory: Memory, env: EnvClient, gold: Gold | None, other: Task) -> Gold | None:
    """What a control is told; nothing to any other memory."""
    match getattr(memory, "told", "nothing"):
        case "own":
            return gold
        case "other":
            return await env.gold(other)
    return None


def _is_scored(episode: Episode | None) -> bool:
    return episode is not None and episode.scored


def _failed(job: Job, error: AgememError, meter: Meter) -> Episode:
    """The record of an episode that the infrastructure ended outside the agent loop."""
    nothing: dict[str, Any] = {"success": None, "progress": None, "reward": None}
    return Episode(
        key=job.key,
        task_type=job.task.type,
        status="infra_error",
        **nothing,
        steps=meter.trace.step,
        turns=meter.trace.turn,
        invalid_actions=0,
        malformed_outputs=0,
        forfeits=0,
        overflow_drops=0,
        tool_calls={},
        tokens=meter.ledger.roles,
        memory_entries=None,
        wall_s=0.0,
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        reason=f"{type(error).__name__}: {error}",
    )
