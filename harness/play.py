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
from .workers.pool import EnvPool

# After these the next try is in a worker of its own, so that its environment harms nobody else.
# After others it is not: an endpoint that is down breaks all episodes in play, and as many workers
# would be started.
ISOLATED = frozenset({"worker", "timeout"})

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


class NotBegun(Exception):
    """The run was ended while the episode waited for an environment."""


async def play_alone(stage: Stage, cell: Cell, job: Job) -> Episode:
    """One episode with a memory of its own.

    Raises:
        NotBegun: if the run was ended before.
    """
    lost, fault = stage.store.spent(job.key), None
    retries = stage.execution.retries
    for attempt in range(1, retries + 2):
        episode, events = await _try_alone(stage, cell, job, attempt, fault)
        episode.tokens_lost, fault = lost, episode.fault
        if episode.scored or attempt > retries or stage.stopped():
            await stage.commit(episode, events, None)
            return episode
        add_usages(lost, episode.tokens)
    raise AssertionError("the last try is always committed")


async def play_next(stage: Stage, cell: Cell, job: Job, stream: Stream) -> Episode:
    """The next episode of a stream, with the memory that all of them share.

    The memory starts from the snapshot of the last committed episode, whatever its own files
    say: a killed process may have left them in the middle of an episode.

    Raises:
        NotBegun: if the run was ended before.
    """
    lost, fault = stage.store.spent(job.key), None
    retries = stage.execution.retries
    for attempt in range(1, retries + 2):
        episode, events, after = await _try_next(stage, cell, job, stream, attempt, fault)
        episode.tokens_lost, fault = lost, episode.fault
        if episode.scored or attempt > retries or stage.stopped():
            snapshot = (stream.name, after) if episode.scored else None
            await stage.commit(episode, events, snapshot)
            stream.snapshot = after
            return episode
        add_usages(lost, episode.tokens)
    raise AssertionError("the last try is always committed")


async def close_stream(stream: Stream) -> None:
    """Close the memory of a stream; it can be opened again."""
    memory, stream.memory, stream.meter = stream.memory, None, None
    if memory is not None:
        await close_memory(memory)


def _open(stage: Stage, cell: Cell, stream: Stream) -> tuple[Memory, Meter]:
    if stream.memory is None or stream.meter is None:
        if stream.at:
            before = stream.jobs[stream.at - 1].key.id
            stream.snapshot = stage.store.read_snapshot(stream.name, before)
        directory = stage.store.live_dir(stream.name)
        models = stage.models.of(cell.memory_name)
        made = make_memory(stage.config, cell.memory_name, models, directory)
        stream.memory, stream.meter = made
    return stream.memory, stream.meter


async def _try_alone(
    stage: Stage, cell: Cell, job: Job, attempt: int, fault: str | None
) -> tuple[Episode, list[Event]]:
    """One try of a lone episode, and its trace."""
    try:
        models = stage.models.of(cell.memory_name)
        memory, meter = make_memory(stage.config, cell.memory_name, models)
    except InfraError as error:  # a store in a server that is away
        return _not_tried(stage, job, error, attempt), []
    try:
        episode = await _try(stage, cell, job, memory, meter, None, attempt, fault)
        return episode, meter.trace.events
    finally:
        await close_memory(memory)


async def _try_next(
    stage: Stage, cell: Cell, job: Job, stream: Stream, attempt: int, fault: str | None
) -> tuple[Episode, list[Event], bytes]:
    """One try of a stream's next episode, its trace, and the memory after it."""
    meter = Meter(Ledger(), Trace())
    try:
        memory, meter = _open(stage, cell, stream)
        meter.point_to(Ledger(), Trace())  # what fails before it begins is no cost of the last one
        before = stream.snapshot
        with backend_errors("begin and restore"):
            await memory.begin(Scope(stream.name, "", Trace()))
            memory.restore(before)
        episode = await _try(stage, cell, job, memory, meter, stream.name, attempt, fault)
        if not episode.scored:
            return episode, meter.trace.events, before
        with backend_errors("snapshot"):
            return episode, meter.trace.events, memory.snapshot()
    except InfraError as error:
        episode = _not_tried(stage, job, error, attempt, meter)
        return episode, meter.trace.events, stream.snapshot


async def _try(
    stage: Stage,
    cell: Cell,
    job: Job,
    memory: Memory,
    meter: Meter,
    stream: str | None,
    attempt: int,
    fault: str | None,
) -> Episode:
    """One try of an episode; whatever the infrastructure did is its status.

    `fault` is what ended the try before.
    """
    meter.point_to(Ledger(), Trace(stage.watchers.listener(job.key)))
    options = env_options(stage.config, stage.execution, cell.base.env)
    limit = stage.execution.episode_timeout_s
    models = stage.models.of(cell.memory_name)
    stage.watchers.begins(job.key, attempt)
    try:
        env = await stage.pool.acquire(cell.base.env, options, alone=fault in ISOLATED)
        try:
            if attempt == 1 and stage.stopped():
                raise NotBegun
            async with asyncio.timeout(limit):  # waiting for an environment is not playing
                gold = await env.gold(job.task)
                episode = await run_episode(
                    env,
                    memory,
                    models.agent,
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
    labels = {"prompts": PROMPT_VERSION, **stage.scoring.labels(memory, models)}
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


def _not_tried(
    stage: Stage, job: Job, error: InfraError, attempt: int, meter: Meter | None = None
) -> Episode:
    """The record of a try that failed before or after the episode: its memory did."""
    episode = _failed(job, error, meter or Meter(Ledger(), Trace()))
    episode.attempt, episode.order = attempt, job.order
    stage.watchers.ends(episode)
    return episode


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
