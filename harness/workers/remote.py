"""One environment worker as the parent sees it, wherever it runs.

A worker answers one call at a time, in order. It is given up when it dies, when a call takes
longer than it may, or when it gives no sign for `heartbeat_s`; every call that waits then fails
with an `InfraError`, and the pool starts another.

What no sign means: a thread of the worker beats while the process is scheduled and its interpreter
lock is free. Code that keeps the interpreter lock is silent and yet not dead (a large library that
is loaded over a network does so for minutes), so within a call the call's own timeout decides.
A process that is known to be stopped is given up even then. Silence is counted in beats that this
process itself waited for, so time during which it was stopped or blocked is not held against a
worker.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from ..errors import AgememError, EpisodeTimeout, WorkerError
from .wire import BEAT, Frames, error_from, pack

OPEN_TIMEOUT_S = 600.0  # building an environment or listing its tasks; may generate or load data
EXIT_TIMEOUT_S = 2.0  # for closing environments in good order, before the worker is killed
HEARTBEAT_S = 30.0  # without a sign before a worker is given up
BEATS = 6  # signs that a worker gives in that time
LATE_S = 1.0  # a timer this late says that this process was stopped or blocked

Kind = tuple[str, str]  # environment name and its options as JSON: instances alike


class _Call:
    """A request that waits for its reply."""

    __slots__ = ("due", "excused", "operation", "reply", "timeout")

    def __init__(self, operation: str, timeout: float, reply: asyncio.Future[Any]) -> None:
        self.operation, self.timeout, self.reply = operation, timeout, reply
        self.due = 0.0  # on the loop's clock; set when the worker turns to it
        self.excused = False  # its clock was started again once


class Worker:
    """One worker and the calls it still has to answer, oldest first.

    A kind of worker brings `start`, `_send`, `_kill` and `_name`, and reports by `_opened`,
    `_feed` and `_fail`.
    """

    def __init__(self, number: int, alone: bool = False, heartbeat_s: float = HEARTBEAT_S) -> None:
        self.number = number
        self.alone = alone  # serves one session only
        self.lent = 0  # sessions in use
        self.counts: dict[Kind, int] = {}  # live instances
        self.idle: dict[Kind, list[int]] = {}  # sessions that nobody uses
        self.failure: AgememError | None = None  # why no further call can be made
        self.on_loss: Callable[[Worker], None] = lambda _: None  # told of a failure, once
        self.ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._heartbeat_s = heartbeat_s
        self._frames = Frames()
        self._calls: deque[_Call] = deque()
        self._unsent: list[bytes] | None = []  # until there is a way to send; then None
        self._timer: asyncio.TimerHandle | None = None  # of the call in progress
        self._pulse: asyncio.TimerHandle | None = None
        self._missed = 0  # beats waited for since the last sign
        self._sessions = 0

    @property
    def beat_s(self) -> float:
        """Seconds between two signs of the worker."""
        return self._heartbeat_s / BEATS

    async def start(self) -> None:
        """Start the worker; calls may be made at once.

        Raises:
            WorkerError: if it cannot be started.
        """
        raise NotImplementedError

    def call(
        self, operation: str, session: int, arguments: list[Any], timeout: float
    ) -> asyncio.Future[Any]:
        """Send a request; the clock runs from when the worker turns to it."""
        reply = self._loop.create_future()
        if self.failure is not None:
            reply.set_exception(self.failure)
            return reply
        self._put(pack([operation, session, arguments]))
        self._calls.append(_Call(operation, timeout, reply))
        if len(self._calls) == 1:
            self._start_clock()
        return reply

    def new_session(self) -> int:
        """A session number not used before."""
        self._sessions += 1
        return self._sessions

    def discard(self, kind: Kind, session: int) -> None:
        """Close an instance without waiting for it."""
        self.counts[kind] -= 1
        if self.failure is None:
            forget(self.call("close", session, [], OPEN_TIMEOUT_S))

    async def end(self, timeout: float) -> None:
        """Let it close its environments, then make sure that it is gone."""
        raise NotImplementedError

    # --- for the kinds of workers -----------------------------------------------------------

    @property
    def _name(self) -> str:
        return f"worker {self.number}"

    def _send(self, frame: bytes) -> None:
        raise NotImplementedError

    def _kill(self) -> None:
        """End it and what it started, at once; may be called again and again."""
        raise NotImplementedError

    def _stopped(self) -> bool:
        """Whether somebody stopped the worker's process, as far as that can be told."""
        return False

    def _opened(self, beats: bool = True) -> None:
        """The worker can be reached: send what waits, start the clocks."""
        unsent, self._unsent = self._unsent or [], None
        for frame in unsent:
            self._send(frame)
        if self._calls:
            self._start_clock()
        if beats:
            self._pulse = self._loop.call_later(self.beat_s, self._miss)

    def _feed(self, data: bytes) -> None:
        """Bytes have come from the worker."""
        self._missed = 0
        try:
            for reply in self._frames.feed(data):
                if reply != BEAT:
                    self._receive(reply)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            self._die(WorkerError(f"{self._name} broke its protocol: {error}"))

    def _fail(self, failure: AgememError, wanted: bool = False) -> None:
        """Fail every call that waits and all that will come; `wanted`: it was ended on purpose."""
        first, self.failure = self.failure is None, self.failure or failure
        for timer in (self._timer, self._pulse):
            if timer is not None:
                timer.cancel()
        while self._calls:
            call = self._calls.popleft()
            if not call.reply.done():
                call.reply.set_exception(self.failure)
        if first and not wanted:
            self.on_loss(self)

    def _die(self, failure: AgememError) -> None:
        """End a worker that cannot be trusted any more."""
        self._fail(failure)
        self._kill()

    def _lost(self, how: str, last_words: bytes = b"") -> None:
        """It is gone unasked; a failure told before explains it better."""
        if self.failure is None:
            during = f" during {self._calls[0].operation}" if self._calls else ""
            said = last_words.decode(errors="replace").strip().splitlines()
            last = f"; its last output: {said[-1][:300]}" if said else ""
            self._fail(WorkerError(f"{self._name} died{during}: {how}{last}"))

    def _put(self, frame: bytes) -> None:
        if self._unsent is None:
            self._send(frame)
        else:
            self._unsent.append(frame)

    # --- clocks -----------------------------------------------------------------------------

    def _receive(self, reply: dict[str, Any]) -> None:
        if self.failure is not None:
            return
        # Read before its call is taken off: if it is no reply, the call has to fail with the rest.
        error = error_from(reply) if "error" in reply else None
        value = reply["value"] if error is None else None
        call = self._calls.popleft()
        if self._timer is not None:
            self._timer.cancel()
        if self._calls:
            self._start_clock()
        if call.reply.done():  # whoever asked has gone
            return
        if error is not None:
            call.reply.set_exception(error)
        else:
            call.reply.set_result(value)

    def _start_clock(self) -> None:
        if self._unsent is None:
            call = self._calls[0]
            call.due = self._loop.time() + call.timeout
            self._timer = self._loop.call_at(call.due, self._expire)

    def _expire(self) -> None:
        call = self._calls[0]
        if self._loop.time() - call.due > LATE_S and not call.excused:
            call.excused = True  # this process slept; perhaps, as in a frozen container, both did
            self._start_clock()
            return
        late = f"{call.operation} of {self._name} timed out after {call.timeout:g} s"
        if not call.reply.done():
            call.reply.set_exception(EpisodeTimeout(late))
        self._die(WorkerError(f"{self._name} was killed with all its episodes: {late}"))

    def _miss(self) -> None:
        """A beat's time has passed; between two of these the loop has read what there was."""
        self._missed += 1
        stopped = self._missed > BEATS and self._stopped()
        if stopped or (self._missed > BEATS and not self._calls):
            during = f" during {self._calls[0].operation}" if self._calls else ""
            why = ": it is stopped" if stopped else ""
            silent = f"{self._name} gave no sign for {self._heartbeat_s:g} s{during}{why}"
            self._die(WorkerError(f"{silent}; it was killed"))
            return
        self._pulse = self._loop.call_later(self.beat_s, self._miss)


def forget(reply: asyncio.Future[Any]) -> None:
    """Nobody waits for this reply, and a failure shows at the next call."""
    reply.add_done_callback(lambda done: done.cancelled() or done.exception())
