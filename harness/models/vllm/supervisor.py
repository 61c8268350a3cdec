"""Keeps a model server up for all who share it: starts it when asked, and again when it died."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ...errors import AgememError, ModelError, UsageError
from .. import in_hurry
from .process import Launch, ServerFailed, ServerProcess

MOST_DEATHS = 3  # in a row, without an answered call between them
DYING_S = 30.0  # for a server whose engine is gone to end by itself
_SUSPECT = frozenset({"endpoint", "server", "connection", "timeout", "malformed"})

T = TypeVar("T")
log = logging.getLogger("agemem_eval.server")


class ServerGivenUp(AgememError):
    """A server that cannot be kept up: the run ends, and what it has is kept."""

    exit_code = 1


class Supervisor:
    """One server, whichever process it is at the moment.

    Args:
        prepare: Makes a launch for each start, since each takes a port of its own.
        startup_timeout_s: How long a start may take.
        hint: What to do about a failure, from the line that tells it; empty for nothing.
    """

    def __init__(
        self,
        prepare: Callable[[], Launch],
        startup_timeout_s: float,
        hint: Callable[[str], str] = lambda _: "",
    ) -> None:
        self._prepare, self._timeout_s, self._hint = prepare, startup_timeout_s, hint
        self._process: ServerProcess | None = None  # the one that answers
        self._starting: asyncio.Task[ServerProcess] | None = None
        self._worked = False  # whether any of them ever came up
        self._deaths = 0
        self._hurry = False
        self._given_up: AgememError | None = None

    async def process(self) -> ServerProcess:
        """The server that answers; starts one where there is none.

        Raises:
            UsageError: if the first one does not come up.
            ModelError: if a later one does not.
            ServerGivenUp: after `MOST_DEATHS` deaths in a row.
        """
        if self._given_up is not None:
            raise self._given_up
        if self._process is not None:
            if not self._process.ended.is_set():
                return self._process
            self._bury(self._process)
            if self._given_up is not None:
                raise self._given_up
        if self._starting is None:
            self._starting = asyncio.create_task(self._start())
            self._starting.add_done_callback(self._started)
        return await asyncio.shield(self._starting)  # whoever waits may go; others still wait

    async def watch(self, process: ServerProcess, call: Awaitable[T]) -> T:
        """The result of a call to a server, unless it dies first.

        Raises:
            ModelError: of kind `server` if it died; else what the call raises.
        """
        calling = asyncio.ensure_future(call)
        dying = asyncio.ensure_future(process.ended.wait())
        try:
            await asyncio.wait({calling, dying}, return_when=asyncio.FIRST_COMPLETED)
            if not calling.done():
                raise self._death(process)
            try:
                result = await calling
            except ModelError as error:
                if error.kind not in _SUSPECT or not await self._is_dead(process):
                    raise
                raise self._death(process) from error
            self._deaths = 0
            return result
        finally:
            for task in (calling, dying):
                task.cancel()
            await asyncio.gather(calling, dying, return_exceptions=True)

    async def close(self) -> None:
        """End the server; a later call starts another one.

        Where the calling task is itself being cancelled, as by SIGTERM, its guard ends the server.
        """
        self._hurry = in_hurry()
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        process, self._process = self._process, None
        if process is not None:
            await process.stop(hurry=self._hurry)

    # --- inside -----------------------------------------------------------------------------

    def _started(self, starting: asyncio.Task[ServerProcess]) -> None:
        self._starting = None
        if not starting.cancelled():
            starting.exception()  # told to whoever waits, if anybody does

    async def _start(self) -> ServerProcess:
        try:
            process, took_s = await self._come_up()
        except ServerFailed as error:
            raise self._not_up(str(error)) from None
        self._process, self._worked = process, True
        what = process.launch.what
        fields = {"event": "server_ready", "took_s": round(took_s, 1), "pid": process.pid}
        log.info("%s answers after %.1f s", what, took_s, extra={"fields": fields})
        return process

    async def _come_up(self) -> tuple[ServerProcess, float]:
        """Start a server and wait for it; once more where its port was taken meanwhile."""
        for last in (False, True):
            launch = self._prepare()
            fields = {"event": "server_start", "log": str(launch.log)}
            log.info("%s is started (log: %s)", launch.what, launch.log, extra={"fields": fields})
            process = ServerProcess(launch)
            try:
                process.start()
                return process, await process.ready(self._timeout_s)
            except ServerFailed as error:
                await process.stop()
                if last or "address already in use" not in str(error).lower():
                    raise
            except BaseException:  # a cancelled start leaves nothing behind
                await process.stop(hurry=self._hurry)
                raise
        raise AssertionError("unreachable")

    def _not_up(self, problem: str) -> AgememError:
        problem = self._with_hint(problem)
        if not self._worked:  # whatever it is, it will not pass by itself
            self._given_up = UsageError(problem)
            return self._given_up
        self._count(problem)
        return self._given_up or ModelError(problem, "server")

    async def _is_dead(self, process: ServerProcess) -> bool:
        """Whether a call failed because its server is going; sees to it that it goes."""
        if await process.healthy():
            return False
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.ended.wait(), DYING_S)
        if await process.healthy():  # it was only busy
            return False
        await process.stop()
        return True

    def _death(self, process: ServerProcess) -> ModelError:
        self._bury(process)
        return ModelError(self._with_hint(process.obituary()), "server")

    def _bury(self, process: ServerProcess) -> None:
        """Count a death, once."""
        if self._process is process:
            self._process = None
            self._count(self._with_hint(process.obituary()))

    def _count(self, problem: str) -> None:
        self._deaths += 1
        fields = {"event": "server_died", "deaths": self._deaths}
        if self._deaths < MOST_DEATHS:
            log.warning("%s; the next call starts it again", problem, extra={"fields": fields})
            return
        log.error("%s", problem, extra={"fields": fields})
        self._given_up = ServerGivenUp(f"given up after {self._deaths} deaths in a row: {problem}")

    def _with_hint(self, problem: str) -> str:
        hint = self._hint(problem)
        return f"{problem}; {hint}" if hint else problem
