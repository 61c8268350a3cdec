"""A model server as a child process: started, waited for, watched, and never left behind.

A small process of its own (`guard`) stands between: it ends the server and all its children when
this process is gone, however it went. The server's output goes to a log file, and its last
telling line into the error when it fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from ...errors import DataError, UsageError
from ...workers.process import exit_text
from . import guard

# For the server to end in good order: killed, vLLM leaves hundreds of megabytes in shared memory.
GRACE_S = 20.0
HURRY_S = 1.0  # to wait for that where this process is itself told to end
ADMIN_TIMEOUT_S = 120.0  # loading an adapter is the slowest of these requests
PROBE_TIMEOUT_S = 5.0
PROBE_S = 0.25  # between two looks at whether it answers
TELL_S = 15.0  # between two progress lines
_TAIL = 2**18  # bytes of a log's end that an error is looked for in

log = logging.getLogger("agemem_eval.server")

_left: list[
    subprocess.Popen[bytes]
] = []  # guards that still end their servers: not to be waited for

# `(APIServer pid=7) ERROR 11-26 03:37:11 [core.py:790] ` before what a line says
_PREFIX = re.compile(r"^(?:\([^)]*\) ?)?(?:[A-Z]+ [-\d]+ [:.\d]+ \[[^]]*\] ?)?")
_ERROR = re.compile(r"^[\w.]*(?:Error|Exception|Interrupt|Exit)\b: ?\S|^[\w.-]+: error: ")
_NO_CAUSE = re.compile(r"root cause|stack trace|EngineDeadError|cancelled", re.IGNORECASE)
_UNTOLD = re.compile(r"validation errors? for \w+$")  # pydantic: what is wrong stands in the next


class ServerFailed(Exception):
    """A server did not come up, or ended; one line that says why."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start a server.

    Attributes:
        what: What it is called in messages.
        command: Program and arguments; no secret among them, since any user may read them.
        environment: All of its environment.
        url: Where it answers, without a path.
        key: The bearer token that it asks for.
        log: The file that its output is appended to.
    """

    what: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    url: str
    key: str = field(repr=False)
    log: Path

    def session(self) -> aiohttp.ClientSession:
        """For the few requests that are about the server, not to the model."""
        return aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {self.key}"},
            timeout=aiohttp.ClientTimeout(total=ADMIN_TIMEOUT_S),
        )


class ServerProcess:
    """One server, from its start to its end; a restart is another one.

    Args:
        launch: How to start it.
    """

    def __init__(self, launch: Launch) -> None:
        self.launch = launch
        self.ended = asyncio.Event()
        self.pid: int | None = None  # of the server, which leads a process group of this number
        self._exit = "its guard was killed"
        self._guard: subprocess.Popen[bytes] | None = None
        self._lifeline: int | None = None
        self._status: int | None = None  # where the guard says how the server is
        self._said = b""
        self._log_start = 0  # bytes of the log that earlier starts wrote

    def start(self) -> None:
        """Start the process; it does not answer yet.

        Raises:
            DataError: if its log cannot be written.
            ServerFailed: if the system cannot start another process.
        """
        launch = self.launch
        try:
            launch.log.parent.mkdir(parents=True, exist_ok=True)
            output = os.open(launch.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise DataError(f"cannot write the log of {launch.what}: {error}") from error
        self._log_start = os.fstat(output).st_size
        theirs, self._lifeline = os.pipe()
        self._status, saying = os.pipe()
        # isolated and without packages: that starts at once, and imports nothing of others
        own = (sys.executable, "-I", "-S", guard.__file__)
        command = (*own, str(theirs), str(GRACE_S), *launch.command)
        try:
            # not asyncio's: its transport kills a process that is left to itself
            self._guard = subprocess.Popen(  # noqa: S603 - what the launch asks for
                command,
                stdin=subprocess.DEVNULL,
                stdout=saying,
                stderr=output,
                env=dict(launch.environment),
                pass_fds=(theirs,),
                start_new_session=True,
            )
        except OSError as error:
            self._close_pipes()
            raise ServerFailed(f"{launch.what} cannot be started: {error}") from error
        finally:
            for descriptor in (theirs, saying, output):
                os.close(descriptor)
        os.set_blocking(self._status, False)
        asyncio.get_running_loop().add_reader(self._status, self._read)

    async def ready(self, timeout_s: float) -> float:
        """Wait until it lists its models, to the holder of its key; tells how long that takes.

        Returns:
            The seconds it took.

        Raises:
            ServerFailed: if it ended, or took longer than `timeout_s` seconds.
        """
        begun = told = time.monotonic()
        async with self.launch.session() as session:
            while not self.ended.is_set():
                now = time.monotonic()
                # another server that took the port meanwhile would refuse the key
                if await _answers(session, f"{self.launch.url}/v1/models"):
                    return now - begun
                if now - begun > timeout_s:
                    raise ServerFailed(self._failed(f"did not answer within {timeout_s:g} s"))
                if now - told >= TELL_S:
                    told = now
                    self._tell(now - begun)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.ended.wait(), PROBE_S)
        raise ServerFailed(self.obituary("did not start"))

    async def healthy(self) -> bool:
        """Whether it lives and says that its engine does."""
        if self.ended.is_set():
            return False
        async with self.launch.session() as session:
            return await _answers(session, f"{self.launch.url}/health")

    async def stop(self, *, hurry: bool = False) -> None:
        """End it and its children; returns when they are gone.

        Args:
            hurry: Leave the rest of that to the guard soon.
        """
        lifeline, self._lifeline = self._lifeline, None
        if lifeline is not None:
            os.close(lifeline)
        if self._guard is None:
            return
        with contextlib.suppress(TimeoutError):
            patience = HURRY_S if hurry else GRACE_S + 2 * guard.SWEEP_S + 1.0
            await asyncio.wait_for(self.ended.wait(), patience)
        if not self.ended.is_set():
            if not hurry and self.pid is not None:
                guard.kill_group(self.pid)
            _left.append(self._guard)
            self._end()

    def obituary(self, how: str = "died") -> str:
        """One line on how it ended, its last telling words, and where the whole log is."""
        return self._failed(f"{how}: {self._exit}")

    # --- inside -----------------------------------------------------------------------------

    def _failed(self, what: str) -> str:
        said = telling_line(self.launch.log, self._log_start)
        quoted = f"; it said: {said}" if said else ""
        return f"{self.launch.what} {what}{quoted} (log: {self.launch.log})"

    def _tell(self, waited_s: float) -> None:
        log.warning(  # whoever waits for it should see it
            "%s is still starting, after %.0f s (log: %s)",
            self.launch.what,
            waited_s,
            self.launch.log,
            extra={"fields": {"event": "server_starting", "waited_s": round(waited_s, 1)}},
        )

    def _read(self) -> None:
        """Follow the guard's two lines; whichever way it ends, so does the server."""
        assert self._status is not None
        assert self._guard is not None
        data = os.read(self._status, 4096)
        self._said += data
        *lines, self._said = self._said.split(b"\n")
        for line in lines:
            word, _, number = line.decode().partition(" ")
            if word == "pid":
                self.pid = int(number)
            elif word == "exit":
                self._exit = exit_text(int(number))
        if not data:
            self._guard.wait()  # it has closed its end by ending
            if self.pid is not None:
                guard.kill_group(self.pid)  # where the guard could not
            self._end()

    def _end(self) -> None:
        if self._status is not None:
            asyncio.get_running_loop().remove_reader(self._status)
        self._close_pipes()
        self.ended.set()

    def _close_pipes(self) -> None:
        for descriptor in (self._lifeline, self._status):
            if descriptor is not None:
                os.close(descriptor)
        self._lifeline = self._status = None


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        timeout = aiohttp.ClientTimeout(total=PROBE_TIMEOUT_S)
        async with session.get(url, timeout=timeout) as response:
            return response.status == 200
    except (aiohttp.ClientError, OSError, TimeoutError):
        return False


def telling_line(path: Path, start: int = 0) -> str:
    """The line of a log that says best why a server failed; empty where there is none.

    That is the last line that names an error and no other line as its cause, else the last one.

    Args:
        path: The log.
        start: Bytes to skip.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(start, size - _TAIL))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    lines = [_PREFIX.sub("", line).strip() for line in text.splitlines()]
    lines = [line for line in lines if line]
    for index in range(len(lines) - 1):
        if _UNTOLD.search(lines[index]):
            lines[index] += ": " + lines[index + 1].partition(" [type=")[0]
    errors = [line for line in lines if _ERROR.match(line)]
    causes = [line for line in errors if not _NO_CAUSE.search(line)]
    found = (causes or errors or lines)[-1:]
    line = " ".join("".join(found).split())
    return line if len(line) <= 400 else line[:400] + "…"


def choose_port(port: int | None) -> int:
    """A free port of this machine, or the given one if it is free.

    Raises:
        UsageError: if it is taken.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port or 0))
        except OSError as error:
            raise UsageError(
                f"port {port} cannot be used ({error.strerror}): leave out -o port, and a free "
                "one is chosen"
            ) from error
        number: int = probe.getsockname()[1]
    return number
