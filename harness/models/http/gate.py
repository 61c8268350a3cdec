"""The gate before an endpoint: when a call may start.

A call starts when fewer are in flight than the endpoint is known to take (`limit.py`), no
Retry-After holds it, and the requests and tokens a minute that the user allows are not used up.
Waiting calls start in the order of their arrival. A call that waits here has not begun, and
neither has its timeout.

- A slot whose call was rejected rests for one round trip: the endpoint did not have it.
- Retry-After holds all calls. Those that waited for its end start spread over a second.
- Requests and tokens a minute are token buckets. They hold a tenth of a second of requests, and a
  second of tokens, and refill so that no minute sees more than is allowed. A call that is larger
  than the bucket waits until it is full, and leaves a debt.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import deque
from collections.abc import Callable, Hashable
from types import TracebackType
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from .limit import AdaptiveLimit

SPREAD_S = 1.0  # over which the calls held back by Retry-After start
LONGEST_REST_S = 5.0
FIRST_REST_S = 0.5  # before anything was served

Told = Callable[[str, float, float], None]


class GateLimits(BaseModel):
    """Bounds that a user sets beside what is learnt; None sets none."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    max_in_flight: int | None = Field(None, ge=1)
    rpm: float | None = Field(None, gt=0)  # requests a minute
    tpm: float | None = Field(None, gt=0)  # tokens a minute, of prompts and completions


class Call:
    """A call that may start; as a context manager it gives its slot back however it ends.

    What became of it is told with `served`, `rejected`, `late` or `failed`. A call that ends
    untold, such as a cancelled one, teaches the gate nothing.
    """

    __slots__ = ("_gate", "alike", "epoch", "outcome", "started", "tokens", "used")

    def __init__(self, gate: Gate, started: float, epoch: int, tokens: float) -> None:
        self._gate, self.started, self.epoch, self.tokens = gate, started, epoch, tokens
        self.outcome: Literal["served", "rejected", "late", "failed"] | None = None
        self.alike: Hashable = None
        self.used: float | None = None

    def served(self, alike: Hashable = None, tokens: float | None = None) -> None:
        """The endpoint answered.

        Args:
            alike: Calls with an equal value should take about equally long.
            tokens: What it really used, where that is known.
        """
        self.outcome, self.alike, self.used = "served", alike, tokens

    def rejected(self, retry_after: float | None = None) -> None:
        """The endpoint refused it as one too many; it may say for how many seconds."""
        self.outcome, self.used = "rejected", 0.0
        self._gate.hold(retry_after or 0.0)

    def late(self, retry_after: float | None = None) -> None:
        """It got no answer in time."""
        self.outcome = "late"
        self._gate.hold(retry_after or 0.0)

    def failed(self, retry_after: float | None = None) -> None:
        """It failed in a way that has nothing to do with load."""
        self.outcome = "failed"
        self._gate.hold(retry_after or 0.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self._gate.leave(self)


class Gate:
    """Lets the calls to one endpoint start, in one event loop.

    Args:
        told: Hears when the limit has `backed off` or `recovered` (the limit now, the one
            before), and when the endpoint is `held` (seconds, 0).
    """

    def __init__(self, told: Told = lambda *_: None) -> None:
        self._told = told
        self._limit = AdaptiveLimit(told)
        self._requests: _Bucket | None = None
        self._tokens: _Bucket | None = None
        self._busy = 0  # calls in flight, and slots that rest
        self._waiting: deque[tuple[asyncio.Future[Call], float]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._held_until = self._next_start = -math.inf

    @property
    def limit(self) -> int:
        """Calls that may be in flight now."""
        return self._limit.value

    @property
    def in_flight(self) -> int:
        """Slots that are taken: calls in flight, and rejected ones that rest."""
        return self._busy

    @property
    def waiting(self) -> int:
        """Calls that wait to start."""
        return sum(not future.done() for future, _ in self._waiting)

    @property
    def counts_tokens(self) -> bool:
        """Whether `enter` wants to know the tokens of a call."""
        return self._tokens is not None

    def restrict(self, limits: GateLimits) -> None:
        """Take over the bounds of one more user; of two bounds the stricter holds."""
        if limits.max_in_flight is not None:
            self._limit.most = min(self._limit.most, limits.max_in_flight)
        if limits.rpm is not None:
            self._requests = _stricter(self._requests, limits.rpm, max(1.0, limits.rpm / 600))
        if limits.tpm is not None:
            self._tokens = _stricter(self._tokens, limits.tpm, limits.tpm / 60)

    async def enter(self, tokens: float = 0.0) -> Call:
        """Wait for a turn, and take it.

        Args:
            tokens: An estimate of what the call will use.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        if not self._waiting and self._limit.admits(self._busy) and self._wait(tokens, now) <= 0:
            return self._start(tokens, now)
        future: asyncio.Future[Call] = loop.create_future()
        self._waiting.append((future, tokens))
        self._pump()
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():  # it had just been let in
                self.leave(future.result())
            self._pump()  # the one behind it may need less
            raise

    def hold(self, seconds: float) -> None:
        """Let no call start for so long; those in flight go on."""
        now = asyncio.get_running_loop().time()
        if seconds > 0 and now + seconds > self._held_until:
            if self._held_until <= now:
                self._told("held", seconds, 0.0)
            self._held_until = now + seconds

    def leave(self, call: Call) -> None:
        """Take a call's slot back, and learn from how it ended."""
        loop = asyncio.get_running_loop()
        now, limit = loop.time(), self._limit
        rest = 0.0
        if call.outcome == "rejected":
            rest = min(limit.round_trip or FIRST_REST_S, LONGEST_REST_S)
        if rest > 0 and self._held_until <= now:
            loop.call_later(rest, self._rested)
        else:
            self._busy -= 1
        if self._tokens is not None and call.used is not None:
            self._tokens.take(call.used - call.tokens, now)
        if call.outcome == "served":
            limit.served(call.epoch, call.alike, now - call.started)
        elif call.outcome == "failed":
            limit.failed(call.epoch)
        elif call.outcome is not None:
            limit.rejected(call.epoch)
        self._pump()
        limit.begin_round(self._busy)

    def _rested(self) -> None:
        self._busy -= 1
        self._pump()

    def _wait(self, tokens: float, now: float) -> float:
        """Seconds until a call may start, were there a slot."""
        wait = max(self._held_until, self._next_start) - now
        if self._requests is not None:
            wait = max(wait, self._requests.wait(1.0, now))
        if self._tokens is not None:
            wait = max(wait, self._tokens.wait(tokens, now))
        return wait

    def _start(self, tokens: float, now: float) -> Call:
        self._busy += 1
        if self._requests is not None:
            self._requests.take(1.0, now)
        if self._tokens is not None:
            self._tokens.take(tokens, now)
        if now < self._held_until + SPREAD_S:
            self._next_start = now + random.uniform(0, 2) * SPREAD_S / self.limit
        return Call(self, now, self._limit.starts(self._busy), tokens)

    def _pump(self) -> None:
        """Let in who may, and come back when the next one may for the passing of time alone."""
        if not self._waiting:
            return
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            future, tokens = self._waiting[0]
            if future.done():  # cancelled
                self._waiting.popleft()
                continue
            if not self._limit.admits(self._busy):
                return  # a call that leaves comes back here
            now = loop.time()
            wait = self._wait(tokens, now)
            if wait > 0:
                self._timer = loop.call_later(wait, self._pump)
                return
            self._waiting.popleft()
            future.set_result(self._start(tokens, now))


class _Bucket:
    """Amounts that come back at a steady rate, up to a burst.

    Args:
        per_minute: The most that may be taken within any minute, debts aside.
        burst: The most that may be taken at once.
    """

    def __init__(self, per_minute: float, burst: float) -> None:
        self.per_minute, self._burst = per_minute, burst
        # A full bucket and what refills within a minute must not exceed what a minute allows. One
        # that holds a single request needs no such care: its minute ends when the next one starts.
        self._rate = (per_minute - (burst if burst > 1 else 0)) / 60
        self._level = burst
        self._at = -math.inf

    def wait(self, amount: float, now: float) -> float:
        """Seconds until an amount may be taken."""
        self._level = min(self._burst, self._level + max(0.0, now - self._at) * self._rate)
        self._at = now
        lacking = min(amount, self._burst) - self._level
        return lacking / self._rate if lacking > 1e-9 * self._burst else 0.0

    def take(self, amount: float, now: float) -> None:
        """Take an amount, into debt if need be; a negative one is given back."""
        self.wait(0.0, now)
        self._level = min(self._burst, self._level - amount)


def _stricter(one: _Bucket | None, per_minute: float, burst: float) -> _Bucket:
    return one if one is not None and one.per_minute <= per_minute else _Bucket(per_minute, burst)
