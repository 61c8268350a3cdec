"""A worker that is a process on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

from ..errors import WorkerError
from .remote import HEARTBEAT_S, OPEN_TIMEOUT_S, Worker, forget
from .wire import pack

STDERR_BYTES = 16_384  # kept of what a worker prints


class WorkerProcess(Worker, asyncio.SubprocessProtocol):
    """One worker process; its end is noticed at once, even between calls."""

    def __init__(self, number: int, alone: bool = False, heartbeat_s: float = HEARTBEAT_S) -> None:
        super().__init__(number, alone, heartbeat_s)
        self._stderr = b""
        self._lifeline: int | None = None  # open as long as this process wants the worker alive
        self._transport: asyncio.SubprocessTransport | None = None
        self._leaving: list[bytes] = []  # frames that are written at the end of this round

    async def start(self) -> None:
        """See `Worker.start`."""
        command = [sys.executable, "-P", "-m", f"{__package__}.worker"]
        try:
            theirs, self._lifeline = os.pipe()
            try:
                await self._loop.subprocess_exec(
                    lambda: self,
                    *command,
                    str(theirs),
                    str(self.beat_s),
                    pass_fds=(theirs,),
                    start_new_session=True,
                )
            finally:
                os.close(theirs)
        except OSError as error:
            self._close_lifeline()
            failure = WorkerError(f"cannot start worker {self.number}: {error}")
            self._fail(failure, wanted=True)
            raise failure from error
        forget(self.call("path", 0, [sys.path], OPEN_TIMEOUT_S))

    async def end(self, timeout: float) -> None:
        """See `Worker.end`."""
        if self._transport is None:
            return
        if self.failure is None:
            self._send(pack(["exit", 0, []]))
            self._fail(WorkerError(f"{self._name} was ended"), wanted=True)
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
        self._opened()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Replies on 1; on 2 what environment code prints."""
        if fd == 2:
            self._stderr = (self._stderr + data)[-STDERR_BYTES:]
        else:
            self._feed(data)

    def process_exited(self) -> None:
        """The process is gone; its last words may still be on their way."""
        self._kill()  # children it may have had
        self._loop.call_later(0.2, self._report_exit)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """The process is gone and its pipes are read to the end."""
        self._report_exit()

    # --- inside -----------------------------------------------------------------------------

    def _send(self, frame: bytes) -> None:
        """Frames of one round of the event loop leave together: a write is dear."""
        if not self._leaving:
            self._loop.call_soon(self._write)
        self._leaving.append(frame)

    def _write(self) -> None:
        frames, self._leaving = b"".join(self._leaving), []
        assert self._transport is not None
        pipe = self._transport.get_pipe_transport(0)
        assert isinstance(pipe, asyncio.WriteTransport)
        pipe.write(frames)

    def _stopped(self) -> bool:
        """What the kernel says of it (Linux: proc(5), /proc/PID/stat)."""
        assert self._transport is not None
        try:
            stat = Path(f"/proc/{self._transport.get_pid()}/stat").read_text()
        except OSError:
            return False
        return stat.rpartition(")")[2].split()[0] in {"T", "t"}

    def _report_exit(self) -> None:
        self.ended.set()
        self._close_lifeline()
        if self._transport is not None:
            self._transport.close()
        self._lost(self._exit(), self._stderr)

    def _close_lifeline(self) -> None:
        lifeline, self._lifeline = self._lifeline, None
        if lifeline is not None:
            os.close(lifeline)

    def _exit(self) -> str:
        code = self._transport.get_returncode() if self._transport is not None else None
        return "its pipes closed" if code is None else exit_text(code)

    def _kill(self) -> None:
        """Kill the process and its children: it leads a group of its own.

        Not once that was done and it is gone: its number may be another's by now.
        """
        if self._transport is not None and not self.ended.is_set():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._transport.get_pid(), signal.SIGKILL)


def imports_alike() -> dict[str, str]:
    """The variables of a Python process that is to import from where this one does."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.curdir for path in sys.path)}


def exit_text(code: int) -> str:
    """How a process ended, from the code that `subprocess` gives."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
