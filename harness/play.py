"""Plays one episode of a run to a record: a try, further tries after failures, the commit.

Model calls are asyncio in this process, environments live in workers. An infrastructure failure is
tried again, then recorded and owed: it is never a score.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from .agent import run_episode
from .config import Execution, RunConfig
from .errors import EpisodeTimeout, InfraError, backend_errors
from .ledger import Ledger, add_usages
from .metering import Meter
from .plan import Cell, Job, Models, close_memory, env_options, make_memory
from .prompts import PROMPT_VERSION
from .records import Episode
from .schedule import Stream
from .services import Scoring
from .store import RunStore
from .trace import Event, Trace
from .types import EnvClient, Gold, Memory, Scope, Task
from .watch import Watchers
from .workers import EnvPool

Commit = Callable[[Episode, list[Event], tuple[str, bytes] | None], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Stage:
    """What every episode of a run is played with."""

    config: RunConfig
    execution: Execution
    store: RunStore
    pool: EnvPool
    models: Models
    scoring: Scoring
    watchers: Watchers
    commit: Commit
    stopped: Callable[[], bool]  # no further try then


async def play_alone(stage: Stage, cell: Cell, job: Job) -> Episode:
    """One episode with a memory of its own."""
    lost = stage.store.spent(job.key)
    retries = stage.execution.retries
    for attempt in range(1, retries + 2):
        memory, meter = make_memory(stage.config, cell.memory_name, stage.models)
        try:
            episode = await _try(stage, cell, job, memory, meter, None, attempt)
            episode.tokens_lost = lost
            if episode.scored or attempt > retries or stage.stopped():
                await stage.commit(episode, meter.trace.events, None)
                return episode
            add_usages(lost, episode.tokens)
        finally:
            await close_memory(memory)
    raise AssertionError("the last try is always committed")


async def play_next(stage: Stage, cell: Cell, job: Job, stream: Stream) -> Episode:
    """The next episode of a stream, with the memory that all of them share.

    The memory starts from the snapshot of the last committed episode, whatever its own files
    say: a killed process may have left them in the middle of an episode.
    """
    if stream.memory is None or stream.meter is None:
        _open(stage, cell, stream)
    assert stream.memory is not None
    assert stream.meter is not None
    lost = stage.store.spent(job.key)
    retries = stage.execution.retries
    for attempt in range(1, retries + 2):
        episode, after = await _try_next(stage, cell, job, stream, attempt)
        episode.tokens_lost = lost
        if episode.scored or stage.stopped():
            break
        if attempt <= retries:
            add_usages(lost, episode.tokens)
    snapshot = (stream.name, after) if episode.scored else None
    await stage.commit(episode, stream.meter.trace.events, snapshot)
    stream.snapshot = after
    return episode


async def close_stream(stream: Stream) -> None:
    """Close the memory of a stream; it can be opened again."""
    memory, stream.memory, stream.meter = stream.memory, None, None
    if memory is not None:
        await close_memory(memory)


def _open(stage: Stage, cell: Cell, stream: Stream) -> None:
    if stream.at:
        before = stream.jobs[stream.at - 1].key.id
        stream.snapshot = stage.store.read_snapshot(stream.name, before)
    directory = stage.store.live_dir(stream.name)
    made = make_memory(stage.config, cell.memory_name, stage.models, directory)
    stream.memory, stream.meter = made


async def _try_next(
    stage: Stage, cell: Cell, job: Job, stream: Stream, attempt: int
) -> tuple[Episode, bytes]:
    """One try of a stream's next episode, and the memory after it."""
    memory, meter, before = stream.memory, stream.meter, stream.snapshot
    assert memory is not None
    assert meter is not None
    meter.point_to(Ledger(), Trace())  # what fails before it begins is no cost of the last one
    try:
        with backend_errors("begin and restore"):
            await memory.begin(Scope(stream.name, "", Trace()))
            memory.restore(before)
        episode = await _try(stage, cell, job, memory, meter, stream.name, attempt)
        if not episode.scored:
            return episode, before
        with backend_errors("snapshot"):
            return episode, memory.snapshot()
    except InfraError as error:
        return _failed(job, error, meter), before


async def _try(
    stage: Stage,
    cell: Cell,
    job: Job,
    memory: Memory,
    meter: Meter,
    stream: str | None,
    attempt: int,
) -> Episode:
    """One try of an episode; whatever the infrastructure did is its status."""
    meter.point_to(Ledger(), Trace(stage.watchers.listener(job.key)))
    options = env_options(stage.config, stage.execution, cell.base.env)
    limit = stage.execution.episode_timeout_s
    stage.watchers.begins(job.key, attempt)
    try:
        env = await stage.pool.acquire(cell.base.env, options, alone=attempt > 1)
        try:
            async with asyncio.timeout(limit):  # waiting for an environment is not playing
                gold = await env.gold(job.task)
                episode = await run_episode(
                    env,
                    memory,
                    stage.models.agent,
                    job.task,
                    key=job.key,
                    config=stage.config.agent,
                    meter=meter,
                    scope_id=stream,
                    position=None if stream is None else job.order + 1,
                    gold=await _told(memory, env, gold, cell.others[job.task.id]),
                    scorer=stage.scoring.of(gold, meter),
                )
        finally:
            await env.close()
    except TimeoutError:
        error = EpisodeTimeout(f"the episode took longer than {limit:g} s")
        episode = _failed(job, error, meter)
    except InfraError as error:
        episode = _failed(job, error, meter)
    labels = {"prompts": PROMPT_VERSION, **stage.scoring.labels(memory)}
    episode.attempt, episode.order, episode.labels = attempt, job.order, labels
    stage.watchers.ends(episode)
    return episode


async def _told(memory: Memory, env: EnvClient, gold: Gold | None, other: Task) -> Gold | None:
    """What a control is told; nothing to any other memory."""
    match getattr(memory, "told", "nothing"):
        case "own":
            return gold
        case "other":
            return await env.gold(other)
    return None


def _failed(job: Job, error: InfraError, meter: Meter) -> Episode:
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
        fault=error.kind,
    )
