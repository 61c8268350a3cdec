"""Runs a library that blocks beside the event loop, and answers it from the loop.

A memory library calls its model, its embedder and its store in the middle of its own work. Here
that work runs in a thread, and each such call is carried out on the event loop, where everything
of this project lives: nothing of ours is touched from two threads, and the loop never waits.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")
_GRACE_S = 10.0  # how long a work that was cancelled may take to notice


class Interrupted(BaseException):
    """Ends the library's work from inside.

    Not an `Exception`, since libraries catch those, log them and go on: an endpoint that failed
    would look like a model that had nothing to say.
    """


class LibraryFailed(Exception):
    """The library itself raised: what its model answered was more than it could take."""


class Bridge:
    """One library instance and its thread; one piece of work at a time."""

    def __init__(self) -> None:
        self._executor = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="library")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._failure: BaseException | None = None
        self._stopped = False
        self._answering: set[asyncio.Task[Any]] = set()  # touched on the loop alone

    async def run(self, work: Callable[[], T]) -> T:
        """Do a piece of the library's work in its thread.

        A cancelled work is over when this returns, unless the library does not ask for anything
        for a while.

        Raises:
            BaseException: what a call of `ask` raised first, whatever the library made of it.
            LibraryFailed: if the library raised of its own accord.
        """
        self._loop = asyncio.get_running_loop()
        self._failure, self._stopped = None, False
        running = self._loop.run_in_executor(self._executor, work)
        try:
            result = await asyncio.shield(running)
        except asyncio.CancelledError:
            await self._cut_short(running)
            raise
        except (Exception, Interrupted) as error:
            if self._failure is not None:
                raise self._failure from None
            raise LibraryFailed(f"{type(error).__name__}: {error}") from error
        if self._failure is not None:
            raise self._failure
        return result

    def ask(self, answer: Callable[[], Awaitable[T]]) -> T:
        """Have something done on the event loop; called from the library's threads.

        Raises:
            Interrupted: if it failed, or the work was cancelled. `run` raises the reason.
        """
        if self._failure is not None or self._stopped or self._loop is None:
            raise Interrupted
        future = asyncio.run_coroutine_threadsafe(self._guarded(answer), self._loop)
        try:
            return future.result()
        except BaseException as error:  # the loop's failure ends the work of the library
            if self._failure is None and not self._stopped:
                self._failure = error
            raise Interrupted from error

    def close(self) -> None:
        """Let the thread end."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _guarded(self, answer: Callable[[], Awaitable[T]]) -> T:
        if self._stopped:  # cancelled after it was asked and before it was its turn
            raise Interrupted
        task = asyncio.current_task()
        assert task is not None
        self._answering.add(task)
        try:
            return await answer()
        finally:
            self._answering.discard(task)

    async def _cut_short(self, running: asyncio.Future[T]) -> None:
        self._stopped = True
        for task in self._answering:
            task.cancel()
        await asyncio.wait([running], timeout=_GRACE_S)
        if running.done() and not running.cancelled():
            running.exception()  # seen: it is no news to anybody
