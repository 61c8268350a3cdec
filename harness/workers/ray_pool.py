"""Environment workers that are Ray actors, on this machine or on a cluster.

Ray places them and notices their deaths. This process stays the only driver: it plays the episodes
and writes the store. Placing of sessions, reuse and replacement are `WorkerPool`'s, the frames and
the host of the environments those of a worker process.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import json
import logging
import os
import secrets
import sys
from collections.abc import Mapping
from typing import Any

from ..errors import InfraError, WorkerError
from .pool import WorkerEnv, WorkerPool
from .ray_cluster import Cluster, NotPlacedError
from .ray_listener import Listener
from .remote import HEARTBEAT_S, OPEN_TIMEOUT_S, Kind, Worker, forget
from .wire import pack

START_TIMEOUT_S = 120.0  # for Ray to find a place for an actor and to start its process
PLACINGS = 4  # tries to find a place for one worker
DEATH_NOTICE_S = 1.0  # after a connection broke, for Ray to say why
LOOK_S = 5.0  # for which a count of free CPUs is good

_log = logging.getLogger("agemem_eval.workers")


class RayWorker(Worker, asyncio.Protocol):
    """One actor; frames go over the connection it made, or else through calls of it."""

    def __init__(
        self, pool: RayPool, number: int, alone: bool, heartbeat_s: float, start_timeout_s: float
    ) -> None:
        super().__init__(number, alone, heartbeat_s)
        self.token = secrets.token_hex(16)
        self.node = "no node yet"
        self._pool, self._start_timeout_s = pool, start_timeout_s
        self._actor: Any = None
        self._lines: dict[str, asyncio.Transport] = {}
        self._connected = asyncio.Event()
        self._replies: asyncio.Queue[asyncio.Future[bytes]] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """See `Worker.start`; whether Ray finds a place shows at the first call."""
        self._actor = self._pool.cluster.actor(self.number, self.alone)
        self._tasks.append(self._loop.create_task(self._rise()))
        forget(self.call("join", 0, [sys.path, os.getcwd()], OPEN_TIMEOUT_S))

    async def end(self, timeout: float) -> None:
        """See `Worker.end`."""
        if self.failure is None:
            direct, ready = bool(self._lines), self._unsent is None
            if ready and direct:
                self._send(pack(["exit", 0, []]))
            self._fail(WorkerError(f"{self._name} was ended"), wanted=True)
            with contextlib.suppress(TimeoutError, InfraError):
                if ready and direct:
                    await asyncio.wait_for(self.ended.wait(), timeout)
                elif ready:
                    await self._result(self._actor.close.remote(), timeout)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._kill()

    # --- called by the listener and by asyncio ----------------------------------------------

    def attach(self, line: str, transport: asyncio.Transport) -> None:
        """One of the two connections that the actor makes."""
        self._lines[line] = transport
        if line == "frames":
            transport.set_protocol(self)
        if len(self._lines) == 2:
            self._connected.set()

    def data_received(self, data: bytes) -> None:
        """Frames from the actor."""
        self._feed(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """The actor, its node or the network is gone; Ray may be about to say which."""
        if not self.ended.is_set():
            self._loop.call_later(DEATH_NOTICE_S, self._over, "its connection broke")

    # --- inside -----------------------------------------------------------------------------

    @property
    def _name(self) -> str:
        return f"worker {self.number} (Ray actor on {self.node})"

    async def _rise(self) -> None:
        """Wait until the actor runs, then until it is connected or known not to be able to."""
        try:
            greeting = json.dumps({"worker": self.number, "token": self.token})
            place = self._actor.connect.remote(self._pool.listener.addresses, greeting)
            told = await self._result(place, self._start_timeout_s)
            self._check(told)
            if not told["problem"]:
                await asyncio.wait_for(self._connected.wait(), self._start_timeout_s)
        except TimeoutError:
            room = self._pool.cluster.room()
            self._die(NotPlacedError(f"{self._name} did not start within "
                                     f"{self._start_timeout_s:g} s: {room}"))  # fmt: skip
        except WorkerError as error:
            self._die(type(error)(f"{self._name} did not start: {error}"))
        else:
            if told["problem"]:
                _log.info("%s is reached by actor calls: %s", self._name, told["problem"])
                self._tasks.append(self._loop.create_task(self._read_replies()))
            else:
                self._tasks.append(self._loop.create_task(self._watch()))
            self._opened(beats=not told["problem"])

    def _check(self, told: dict[str, Any]) -> None:
        self.node = told["node"]
        ours = importlib.metadata.version("agemem-eval")
        if told["version"] != ours:
            raise WorkerError(
                f"this node has agemem-eval {told['version']} and the runner {ours}: "
                "install the same on both"
            )

    async def _watch(self) -> None:
        """Wait for the actor's end, and why it came."""
        why = "it ended"
        try:
            await self._result(self._actor.serve.remote(self.beat_s), None)
        except InfraError as error:
            why = str(error)
        self._over(why)

    async def _read_replies(self) -> None:
        """Take the results of actor calls in the order of the calls."""
        try:
            while True:
                self._feed(await (await self._replies.get()))
        except Exception as error:  # noqa: BLE001 - Ray has errors of many bases for one event
            self._over(str(self._pool.cluster.explain(error)))

    async def _result(self, reference: Any, timeout: float | None) -> Any:
        """What an actor call returned.

        Raises:
            TimeoutError: if it did not in that many seconds.
            WorkerError: if the actor cannot be made or is dead.
        """
        try:
            return await asyncio.wait_for(asyncio.wrap_future(reference.future()), timeout)
        except TimeoutError:
            raise
        except Exception as error:  # Ray has errors of many bases for one event
            raise self._pool.cluster.explain(error) from error

    def _send(self, frame: bytes) -> None:
        if line := self._lines.get("frames"):
            line.write(frame)
        else:
            reference = self._actor.exchange.remote(frame)
            self._replies.put_nowait(asyncio.wrap_future(reference.future()))

    def _over(self, why: str) -> None:
        if not self.ended.is_set():
            self._lost(why)
            self._kill()

    def _hang_up(self) -> None:
        self._pool.listener.forget(self)
        for line in self._lines.values():
            line.abort()

    def _kill(self) -> None:
        """End the actor; that its lifeline closes ends what it started (see `end_with_parent`)."""
        self._hang_up()
        if self._actor is not None:
            self._pool.cluster.kill(self._actor)
        self.ended.set()


class RayPool(WorkerPool):
    """Hands out environments that live in Ray actors.

    Args:
        address: Of the cluster, as `ray.init` takes it; None: `$RAY_ADDRESS`, or without that a
            cluster on this machine, for the time of the run.
        cpus: CPUs of the cluster that a worker takes. In a cluster of the run's own nothing is
            counted.
        start_timeout_s: Seconds Ray may take to find a place for a worker and to start it.
        direct: Let the actors connect to this process; otherwise use actor calls.
        workers: Actors at most; None: as many as the cluster has CPUs for.
        concurrency: Episodes at once.
        step_timeout_s: Seconds a reset, a step or a question may take.
        heartbeat_s: Seconds without a sign after which a worker is given up.

    Raises:
        MissingExtraError: if Ray is not installed.
    """

    def __init__(
        self,
        *,
        address: str | None = None,
        cpus: float = 1.0,
        start_timeout_s: float = START_TIMEOUT_S,
        direct: bool = True,
        workers: int | None = None,
        concurrency: int = 8,
        step_timeout_s: float = 60.0,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        super().__init__(
            workers=workers,
            concurrency=concurrency,
            step_timeout_s=step_timeout_s,
            heartbeat_s=heartbeat_s,
        )
        self.cluster = Cluster(address, cpus)
        self.listener = Listener()
        self._start_timeout_s = start_timeout_s
        self._direct = direct
        self._places = (0, float("-inf"))  # how many more workers fit, and when that was seen

    async def acquire(
        self, env: str, options: Mapping[str, str], *, alone: bool = False
    ) -> WorkerEnv:
        """See `WorkerPool.acquire`; without a worker that found no place, if there are others.

        A node that Ray does not know yet to be lost may be given actors that never run.
        """
        clock = asyncio.get_running_loop().time
        for tries_left in reversed(range(PLACINGS)):
            begin = clock()
            try:
                return await super().acquire(env, options, alone=alone)
            except NotPlacedError:
                others = any(w.failure is None and not w.alone for w in self._all)
                full = clock() - begin >= self._start_timeout_s
                if not tries_left or (full and (alone or not others)):
                    raise
                if full:
                    self._places = (0, clock() + self._start_timeout_s)
        raise AssertionError("the last try returns or raises")

    async def close(self) -> None:
        """End all actors, and the cluster if it is the run's own."""
        try:
            await super().close()
        finally:
            await self.listener.close()
            self.cluster.close()

    def _make(self, number: int, alone: bool) -> RayWorker:
        worker = RayWorker(self, number, alone, self._heartbeat_s, self._start_timeout_s)
        self.listener.expect(worker)
        return worker

    async def _start(self, alone: bool = False) -> Worker:
        self.cluster.connect()
        await self.listener.open(self.cluster.bind if self._direct else None)
        worker = await super()._start(alone)
        self._places = (max(0, self._places[0] - (not alone)), self._places[1])
        return worker

    def _lost(self, worker: Worker) -> None:
        self._places = (0, float("-inf"))
        super()._lost(worker)

    def _limit(self, kind: Kind) -> int:
        if not self.cluster.counted:
            return super()._limit(kind)
        self.cluster.connect()
        wanted = self._workers or self._concurrency
        shared = sum(w.failure is None and not w.alone for w in self._all)
        now = asyncio.get_running_loop().time()
        if shared < wanted and now - self._places[1] > LOOK_S:
            self._places = (self.cluster.places(shared), now)
        return max(1, min(wanted, shared + self._places[0]))
