"""Holds episodes back while what they need is down, and ends a run for which it stays down.

A circuit breaker: after some failed episodes in a row it opens. Then one episode at a time is
tried, after waits that grow, and the first one that is scored closes it. So an endpoint that is
away for minutes in a long night costs a few episodes, which are owed, and not the run.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from .records import Episode

log = logging.getLogger("agemem_eval.run")

FIRST_WAIT_S, LONGEST_WAIT_S = 5.0, 60.0
# What may pass by itself. A worker or a memory that fails again and again has a bug.
PASSING = frozenset({"endpoint", "rate_limit", "timeout", "connection", "server", "malformed"})


class Breaker:
    """Counts failed episodes in a row, and says when to wait and when to stop.

    Args:
        limit: Failed episodes in a row that open it.
        patience_s: How long a run waits for an endpoint that has worked before; an endpoint that
            never did is not waited for.
        halted: Whether the run is being ended; awaited with a timeout as a wait, and set by this
            too, so that nobody waits once it gave up.
        clock: Seconds.
    """

    def __init__(
        self,
        limit: int,
        patience_s: float,
        halted: asyncio.Event,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit, self._patience_s = limit, patience_s
        self._halted, self._clock = halted, clock
        self._in_a_row = 0
        self._since = 0.0  # when the present failures began
        self._worked = False  # whether any episode was scored in this part of the run
        self._wait_s = FIRST_WAIT_S
        self._probe = asyncio.Lock()
        self.gave_up: str | None = None  # why no more should be played

    @property
    def open(self) -> bool:
        """Whether episodes are held back."""
        return self._in_a_row >= self._limit

    def record(self, episode: Episode) -> None:
        """Learn how an episode ended."""
        if episode.scored:
            if self.open and self.gave_up is None:
                log.warning("an episode was scored again: going on", extra=_fields("recovered"))
            self._in_a_row, self._worked, self._wait_s = 0, True, FIRST_WAIT_S
            return
        if not self._in_a_row:
            self._since = self._clock()
        self._in_a_row += 1
        if not self.open:
            return
        waited = self._clock() - self._since
        if not self._worked or episode.fault not in PASSING or waited >= self._patience_s:
            self.gave_up = f"{self._in_a_row} episodes in a row failed: {episode.reason}"
            self._halted.set()
        elif self._in_a_row == self._limit:
            log.warning(
                f"{self._in_a_row} episodes in a row failed, trying one at a time for up to "
                f"{self._patience_s:g} s: {episode.reason}",
                extra=_fields("outage"),
            )

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Within it an episode is played; waits first while others fail."""
        if not self.open:
            yield
            return
        async with self._probe:
            probing = self._in_a_row >= self._limit  # it may have closed while others probed
            if probing:
                wait, self._wait_s = self._wait_s, min(2 * self._wait_s, LONGEST_WAIT_S)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._halted.wait(), wait)
                yield
        if not probing:
            yield


def _fields(event: str) -> dict[str, dict[str, str]]:
    return {"fields": {"event": event}}
