"""An event loop whose clock jumps to the next timer: hours of waiting in milliseconds, exactly."""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from agemem_eval.harness.models.http.gate import Gate, GateLimits

T = TypeVar("T")


class _Jumping(selectors.DefaultSelector):
    """Never waits: time passes instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        assert timeout is not None, "everything waits and no timer is set: a deadlock"
        self.now += max(0.0, timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """See the module."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end, in virtual time; a deadlock is an error."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def now() -> float:
    return asyncio.get_running_loop().time()


class Endpoint:
    """An endpoint in virtual time, and what it saw.

    Args:
        latency: Seconds of a call, from how many are in flight (itself included).
        takes: More calls at once are refused.
        refuses: Whether it refuses the n-th call, whatever the load.
    """

    def __init__(
        self,
        latency: Callable[[int], float],
        *,
        takes: int = 10**9,
        refuses: Callable[[int], bool] = lambda _: False,
        retry_after: float | None = None,
    ) -> None:
        self.latency, self.takes, self.refuses = latency, takes, refuses
        self.retry_after = retry_after
        self.in_flight = self.most_in_flight = self.served = self.refused = 0
        self.busy_s = 0.0  # seconds of calls that were served
        self.started: list[float] = []

    async def call(self, gate: Gate, tokens: float = 0.0) -> bool:
        """One call through the gate; whether it was served."""
        with await gate.enter(tokens) as call:
            self.started.append(now())
            if self.in_flight >= self.takes or self.refuses(len(self.started)):
                await asyncio.sleep(0.001)
                self.refused += 1
                call.rejected(self.retry_after)
                return False
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            try:
                seconds = self.latency(self.in_flight)
                await asyncio.sleep(seconds)
            finally:
                self.in_flight -= 1
            self.served += 1
            self.busy_s += seconds
            call.served(None, tokens)
            return True


async def load(endpoint: Endpoint, concurrency: int, seconds: float, gate: Gate) -> None:
    """So many callers, each calling again at once, or a while after a refusal."""

    async def caller(seed: int) -> None:
        draw = random.Random(seed)
        while now() < seconds:
            if not await endpoint.call(gate):
                await asyncio.sleep(draw.uniform(0.25, 0.5))

    await asyncio.gather(*(caller(seed) for seed in range(concurrency)))


def gate(**limits: float) -> Gate:
    made = Gate()
    made.restrict(GateLimits(**limits))
    return made
