"""Environments for the parent: a pool of workers behind `EnvClient`.

A worker is a process on this machine or a Ray actor. One that died or was killed takes its
sessions with it: their episodes end with an `InfraError`, and the next `acquire` starts another.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from ..build import build
from ..config import Execution
from ..errors import AgememError, UsageError
from ..types import EnvClient, Environment, EnvSpec, Gold, Observation, StepResult, Task
from .process import WorkerProcess
from .remote import EXIT_TIMEOUT_S, HEARTBEAT_S, OPEN_TIMEOUT_S, Kind, Worker
from .wire import EnvDescription, gold_from, knows_gold, plain, raised, sound, sound_gold, spec_from

_log = logging.getLogger("agemem_eval.workers")


class EnvPool(Protocol):
    """Where environments come from."""

    async def describe(self, env: str, options: Mapping[str, str], split: str) -> EnvDescription:
        """The tasks of a split; an empty split means the default one."""
        ...

    async def acquire(
        self, env: str, options: Mapping[str, str], *, alone: bool = False
    ) -> EnvClient:
        """An instance to play with, given back by its `close`."""
        ...

    async def close(self) -> None:
        """Release everything; leaves no process behind."""
        ...


# --- what the agent loop holds --------------------------------------------------------------


class WorkerEnv:
    """An environment in a worker; see `EnvClient`."""

    def __init__(self, pool: WorkerPool, worker: Worker, kind: Kind, session: int) -> None:
        self.spec: EnvSpec = pool.specs[kind]
        self.worker, self.kind, self.session = worker, kind, session
        self._pool = pool
        self._timeout = max(pool.step_timeout_s, self.spec.slowest_call_s)
        self.sound = True  # False after any failure: not to be used for another episode
        self._closed = False

    async def reset(self, task: Task, seed: int) -> Observation:
        """See `Environment.reset`."""
        return Observation(**await self._call("reset", plain(task), seed))

    async def step(self, action: str) -> StepResult:
        """See `Environment.step`."""
        return StepResult(**await self._call("step", action))

    async def valid_actions(self) -> list[str] | None:
        """See `Environment.valid_actions`."""
        actions: list[str] | None = await self._call("valid_actions")
        return actions

    async def expert_action(self, name: str = "oracle") -> str | None:
        """See `Environment.expert_action`."""
        action: str | None = await self._call("expert_action", name)
        return action

    async def gold(self, task: Task) -> Gold | None:
        """See `KnowsGold`."""
        return gold_from(await self._call("gold", plain(task)))

    async def close(self) -> None:
        """Give the instance back."""
        if not self._closed:
            self._closed = True
            await self._pool.give_back(self)

    async def describe(self, split: str) -> EnvDescription:
        """The tasks of a split; an empty split means the default one."""
        name = split or self.spec.default_split
        tasks, *rest = await self._call("describe", name, timeout=OPEN_TIMEOUT_S)
        return EnvDescription(self.spec, tuple(Task(**task) for task in tasks), *rest)

    async def _call(self, operation: str, *arguments: Any, timeout: float | None = None) -> Any:
        limit = self._timeout if timeout is None else timeout
        try:
            return await self.worker.call(operation, self.session, [*arguments], limit)
        except BaseException:  # a cancelled call too: what it left behind is not known
            self.sound = False
            raise


# --- the pool -------------------------------------------------------------------------------


class WorkerPool:
    """Hands out environments that live in worker processes, and takes them back for reuse.

    Args:
        workers: Workers at most; None: one a core, or one an episode for environments of which
            a worker may hold only one.
        concurrency: Episodes at once.
        step_timeout_s: Seconds a reset, a step or a question may take.
        heartbeat_s: Seconds without a sign after which a worker is given up.
    """

    def __init__(
        self,
        *,
        workers: int | None = None,
        concurrency: int = 8,
        step_timeout_s: float = 60.0,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self.step_timeout_s = step_timeout_s
        self.specs: dict[Kind, EnvSpec] = {}
        self._workers = workers
        self._concurrency = concurrency
        self._heartbeat_s = heartbeat_s
        self._all: list[Worker] = []
        self._started = 0
        self._placing = asyncio.Lock()
        self._freed = asyncio.Event()

    async def describe(self, env: str, options: Mapping[str, str], split: str) -> EnvDescription:
        """See `EnvPool.describe`; the environment's own errors keep their type."""
        client = await self.acquire(env, options)
        try:
            return await client.describe(split)
        finally:
            await client.close()

    async def acquire(
        self, env: str, options: Mapping[str, str], *, alone: bool = False
    ) -> WorkerEnv:
        """An instance of an environment.

        Args:
            env: Registered name.
            options: The environment's options.
            alone: In a worker of its own, so that it can harm no other episode.

        Raises:
            WorkerError: if the worker or the environment cannot be started.
            UsageError: and the other errors of this project, as the environment raises them.
        """
        kind = (env, json.dumps(dict(options), sort_keys=True))
        worker = await self._place(kind, alone)
        worker.lent += 1
        try:
            session = await self._session(worker, kind, env, options)
        except BaseException:  # cancelled, too: the place is given back
            await self._return(worker)
            raise
        return WorkerEnv(self, worker, kind, session)

    async def give_back(self, client: WorkerEnv) -> None:
        """Take an instance back, for reuse if nothing went wrong with it."""
        if client.sound:
            client.worker.idle.setdefault(client.kind, []).append(client.session)
        else:
            client.worker.discard(client.kind, client.session)
        await self._return(client.worker)

    async def close(self) -> None:
        """End all workers."""
        workers, self._all = self._all, []
        await asyncio.gather(*(worker.end(EXIT_TIMEOUT_S) for worker in workers))

    async def _return(self, worker: Worker) -> None:
        worker.lent -= 1
        self._freed.set()
        if worker.alone:
            await worker.end(EXIT_TIMEOUT_S)

    async def _session(
        self, worker: Worker, kind: Kind, env: str, options: Mapping[str, str]
    ) -> int:
        if idle := worker.idle.get(kind):
            return idle.pop()
        session = worker.new_session()
        worker.counts[kind] = worker.counts.get(kind, 0) + 1
        try:
            spec = await worker.call("open", session, [env, dict(options)], OPEN_TIMEOUT_S)
        except BaseException:  # cancelled, too: the instance may be half built
            worker.discard(kind, session)
            raise
        self.specs[kind] = spec_from(spec)
        self._freed.set()  # whoever waited to learn the limits of this environment
        return session

    async def _place(self, kind: Kind, alone: bool) -> Worker:
        """The worker for another session: the least busy one, or a new one."""
        while True:
            async with self._placing:
                self._all = [w for w in self._all if not w.ended.is_set()]
                if alone:
                    return await self._start(alone)
                shared = [w for w in self._all if not w.alone and w.failure is None]
                free = [w for w in shared if w.idle.get(kind) or self._room(w, kind)]
                best = min(free, key=lambda w: w.lent, default=None)
                busy = best is None or best.lent > 0
                if busy and len(shared) < self._limit(kind):
                    best = await self._start()
                if best is not None:
                    return best
            self._freed.clear()
            await self._freed.wait()

    def _room(self, worker: Worker, kind: Kind) -> bool:
        spec = self.specs.get(kind)
        # Before the first instance has told the limit, one is safe.
        limit = spec.max_live if spec is not None else 1
        return limit is None or worker.counts.get(kind, 0) < limit

    def _limit(self, kind: Kind) -> int:
        """How many workers there may be."""
        if self._workers is not None:
            return self._workers
        cores = min(os.cpu_count() or 1, self._concurrency)
        spec = self.specs.get(kind)
        if spec is None or spec.max_live is None:
            return cores
        return max(cores, -(-self._concurrency // spec.max_live))

    async def _start(self, alone: bool = False) -> Worker:
        self._started += 1
        worker = self._make(self._started, alone)
        worker.on_loss = self._lost
        await worker.start()
        self._all.append(worker)
        return worker

    def _make(self, number: int, alone: bool) -> Worker:
        return WorkerProcess(number, alone, self._heartbeat_s)

    def _lost(self, worker: Worker) -> None:
        """Say that a worker failed; the next one asked for takes its place."""
        fields = {"event": "worker_lost", "worker": worker.number, "episodes": worker.lent}
        _log.warning(
            "%s; %d episodes that it played are tried again, and another takes its place",
            worker.failure,
            worker.lent,
            extra={"fields": {**fields, "reason": str(worker.failure)}},
        )
        self._freed.set()  # there is room for another


# --- without processes ----------------------------------------------------------------------


class LocalEnv:
    """An environment in this process; see `EnvClient`. No timeout can interrupt it."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.spec: EnvSpec = environment.spec

    async def reset(self, task: Task, seed: int) -> Observation:
        """See `Environment.reset`."""
        with _as_worker_error("reset"):
            observation = self.environment.reset(task, seed)
            sound(observation)
            return observation

    async def step(self, action: str) -> StepResult:
        """See `Environment.step`."""
        with _as_worker_error("step"):
            result = self.environment.step(action)
            sound(result)
            return result

    async def valid_actions(self) -> list[str] | None:
        """See `Environment.valid_actions`."""
        with _as_worker_error("valid_actions"):
            return self.environment.valid_actions()

    async def expert_action(self, name: str = "oracle") -> str | None:
        """See `Environment.expert_action`."""
        with _as_worker_error("expert_action"):
            return self.environment.expert_action(name)

    async def gold(self, task: Task) -> Gold | None:
        """See `KnowsGold`."""
        with _as_worker_error("gold"):
            gold = getattr(self.environment, "gold", None)
            return None if gold is None else sound_gold(gold(task))

    async def close(self) -> None:
        """Release the environment."""
        with _as_worker_error("close"):
            self.environment.close()


class LocalPool:
    """Builds environments in this process (`--workers 0`): for debugging and for training."""

    async def describe(self, env: str, options: Mapping[str, str], split: str) -> EnvDescription:
        """See `EnvPool.describe`."""
        with _as_worker_error("describe"):
            environment: Environment = build("envs", env, options)
            name = split or environment.spec.default_split
            tasks, data_hash = tuple(environment.tasks(name)), environment.data_hash(name)
            has_gold = knows_gold(environment, tasks)
            environment.close()
            return EnvDescription(environment.spec, tasks, data_hash, has_gold)

    async def acquire(
        self, env: str, options: Mapping[str, str], *, alone: bool = False
    ) -> LocalEnv:
        """See `EnvPool.acquire`; `alone` means nothing here."""
        del alone
        with _as_worker_error("open"):
            return LocalEnv(build("envs", env, options))

    async def close(self) -> None:
        """Nothing to release: each environment is closed after its episode."""


@contextlib.contextmanager
def _as_worker_error(operation: str) -> Iterator[None]:
    try:
        yield
    except AgememError:
        raise
    except Exception as error:  # environment code may raise anything
        raise raised(error, f"the environment's {operation}") from error


# --- which of them --------------------------------------------------------------------------


def make_pool(execution: Execution) -> EnvPool:
    """The pool that a run's execution options ask for.

    Raises:
        MissingExtraError: for `backend: ray` without Ray.
        UsageError: for `backend: ray` without workers.
    """
    if execution.workers == 0:
        if execution.backend == "ray":
            raise UsageError("--workers 0 plays in this process: not with --backend ray")
        return LocalPool()
    common: dict[str, Any] = {
        "workers": execution.workers,
        "concurrency": execution.concurrency,
        "step_timeout_s": execution.step_timeout_s,
        "heartbeat_s": execution.heartbeat_s,
    }
    if execution.backend == "ray":
        from .ray_pool import RayPool

        return RayPool(address=execution.ray_address, cpus=execution.ray_cpus, **common)
    return WorkerPool(**common)
