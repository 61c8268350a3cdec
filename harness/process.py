"""One environment worker process, as the parent sees it.

The process answers one call at a time, in order. The call it is working on is its heartbeat:
beyond that call's timeout the process is killed, and its end is noticed at once even between
calls. Every call that waits then fails with an `InfraError`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections import deque
from typing import Any

from .errors import AgememError, EpisodeTimeout, WorkerError
from .wire import Frames, error_from, pack

OPEN_TIMEOUT_S = 600.0  # building an environment or listing its tasks; may generate or load data
EXIT_TIMEOUT_S = 2.0  # for closing environments in good order, before the process is killed
STDERR_BYTES = 16_384  # kept of what a worker prints

Kind = tuple[str, str]  # environment name and its options as JSON: instances alike


class _Call:
    """A request that waits for its reply."""

    __slots__ = ("operation", "reply", "timeout")

    def __init__(self, operation: str, timeout: float, reply: asyncio.Future[Any]) -> None:
        self.operation, self.timeout, self.reply = operation, timeout, reply


class WorkerProcess(asyncio.SubprocessProtocol):
    """One worker process and the calls it still has to answer, oldest first."""

    def __init__(self, number: int, alone: bool = False) -> None:
        self.number = number
        self.alone = alone  # serves one session only
        self.lent = 0  # sessions in use
        self.counts: dict[Kind, int] = {}  # live instances
        self.idle: dict[Kind, list[int]] = {}  # sessions that nobody uses
        self.failure: AgememError | None = None  # why no further call can be made
        self.ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._frames = Frames()
        self._calls: deque[_Call] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._stderr = b""
        self._sessions = 0
        self._lifeline: int | None = None  # open as long as this process wants the worker alive
        self._transport: asyncio.SubprocessTransport | None = None

    async def start(self) -> None:
        """Start the process.

        Raises:
            WorkerError: if the system cannot start another process.
        """
        command = [sys.executable, "-P", "-m", f"{__package__}.worker"]
        try:
            theirs, self._lifeline = os.pipe()
            try:
                await self._loop.subprocess_exec(
                    lambda: self, *command, str(theirs), pass_fds=(theirs,), start_new_session=True
                )
            finally:
                os.close(theirs)
        except OSError as error:
            self._close_lifeline()
            self.failure = WorkerError(f"cannot start worker {self.number}: {error}")
            raise self.failure from error
        self._forget(self.call("path", 0, [sys.path], OPEN_TIMEOUT_S))

    def call(
        self, operation: str, session: int, arguments: list[Any], timeout: float
    ) -> asyncio.Future[Any]:
        """Send a request; the clock runs from when the process turns to it."""
        reply = self._loop.create_future()
        if self.failure is not None or self._transport is None:
            reply.set_exception(self.failure or WorkerError(f"{self._name} is not running"))
            return reply
        self._stdin().write(pack([operation, session, arguments]))
        self._calls.append(_Call(operation, timeout, reply))
        if len(self._calls) == 1:
            self._timer = self._loop.call_later(timeout, self._expire)
        return reply

    def new_session(self) -> int:
        """A session number not used before."""
        self._sessions += 1
        return self._sessions

    def discard(self, kind: Kind, session: int) -> None:
        """Close an instance without waiting for it."""
        self.counts[kind] -= 1
        if self.failure is None:
            self._forget(self.call("close", session, [], OPEN_TIMEOUT_S))

    async def end(self, timeout: float) -> None:
        """Let it close its environments, then make sure that it is gone."""
        if self._transport is None:
            return
        if self.failure is None:
            self._stdin().write(pack(["exit", 0, []]))
            self._fail(WorkerError(f"{self._name} was ended"))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.ended.wait(), timeout)
        self._kill()
        self._transport.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.ended.wait(), 1.0)

    # --- called by asyncio ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The process runs."""
        assert isinstance(transport, asyncio.SubprocessTransport)
        self._transport = transport

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Replies on 1; on 2 what environment code prints."""
        if fd == 2:
            self._stderr = (self._stderr + data)[-STDERR_BYTES:]
            return
        try:
            for reply in self._frames.feed(data):
                self._receive(reply)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            self._die(WorkerError(f"{self._name} broke its protocol: {error}"))

    def process_exited(self) -> None:
        """The process is gone; its last words may still be on their way."""
        self._kill()  # children it may have had
        self._loop.call_later(0.2, self._report_exit)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """The process is gone and its pipes are read to the end."""
        self._report_exit()

    # --- inside -----------------------------------------------------------------------------

    @property
    def _name(self) -> str:
        return f"worker {self.number}"

    def _stdin(self) -> asyncio.WriteTransport:
        assert self._transport is not None
        pipe = self._transport.get_pipe_transport(0)
        assert isinstance(pipe, asyncio.WriteTransport)
        return pipe

    def _receive(self, reply: dict[str, Any]) -> None:
        if self.failure is not None:
            return
        call = self._calls.popleft()
        if self._timer is not None:
            self._timer.cancel()
        if self._calls:
            self._timer = self._loop.call_later(self._calls[0].timeout, self._expire)
        if call.reply.done():  # whoever asked has gone
            return
        if "error" in reply:
            call.reply.set_exception(error_from(reply))
        else:
            call.reply.set_result(reply["value"])

    def _expire(self) -> None:
        call = self._calls[0]
        late = f"{call.operation} of {self._name} timed out after {call.timeout:g} s"
        if not call.reply.done():
            call.reply.set_exception(EpisodeTimeout(late))
        self._die(WorkerError(f"{self._name} was killed with all its episodes: {late}"))

    def _report_exit(self) -> None:
        self.ended.set()
        self._close_lifeline()
        if self._transport is not None:
            self._transport.close()
        if self.failure is None:
            during = f" during {self._calls[0].operation}" if self._calls else ""
            said = self._stderr.decode(errors="replace").strip().splitlines()
            last = f"; its last output: {said[-1][:300]}" if said else ""
            self._fail(WorkerError(f"{self._name} died{during}: {self._exit()}{last}"))

    def _close_lifeline(self) -> None:
        lifeline, self._lifeline = self._lifeline, None
        if lifeline is not None:
            os.close(lifeline)

    def _exit(self) -> str:
        code = self._transport.get_returncode() if self._transport is not None else None
        if code is None:
            return "its pipes closed"
        if code >= 0:
            return f"exit code {code}"
        try:
            return f"killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"killed by signal {-code}"

    def _die(self, failure: AgememError) -> None:
        """End a process that cannot be trusted any more."""
        self._fail(failure)
        self._kill()

    def _fail(self, failure: AgememError) -> None:
        """Fail every call that waits and all that will come."""
        if self.failure is None:
            self.failure = failure
        if self._timer is not None:
            self._timer.cancel()
        while self._calls:
            call = self._calls.popleft()
            if not call.reply.done():
                call.reply.set_exception(self.failure)

    def _kill(self) -> None:
        """Kill the process and its children: it leads a group of its own."""
        if self._transport is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._transport.get_pid(), signal.SIGKILL)

    @staticmethod
    def _forget(reply: asyncio.Future[Any]) -> None:
        """Nobody waits for this reply, and a failure shows at the next call."""
        reply.add_done_callback(lambda done: done.cancelled() or done.exception())
