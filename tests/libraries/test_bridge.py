"""The bridge between a library that blocks and the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from agemem_eval.baselines.bridge import Bridge, LibraryFailed
from agemem_eval.harness.errors import ModelError


@pytest.fixture
async def bridge() -> AsyncIterator[Bridge]:
    made = Bridge()
    yield made
    made.close()


async def test_questions_are_answered_on_the_loop_and_work_is_done_beside_it(
    bridge: Bridge,
) -> None:
    async def answer() -> str:
        await asyncio.sleep(0)
        return threading.current_thread().name

    def work() -> tuple[str, str]:
        return threading.current_thread().name, bridge.ask(answer)

    here = threading.current_thread().name
    there, answered = await bridge.run(work)
    assert answered == here != there


async def test_the_loop_runs_on_while_the_library_waits(bridge: Bridge) -> None:
    release = threading.Event()
    running = asyncio.create_task(bridge.run(lambda: release.wait(10)))
    await asyncio.sleep(0.01)
    release.set()  # would never be reached if the loop waited
    assert await running is True


async def test_a_failure_of_ours_comes_out_though_the_library_catches_everything(
    bridge: Bridge,
) -> None:
    asked = []

    async def fail() -> str:
        asked.append(1)
        raise ModelError("the endpoint is gone")

    def swallows() -> str:
        for _ in range(3):
            with suppress(BaseException):
                return bridge.ask(fail)
        return "all is well"

    for work in (swallows, lambda: bridge.ask(fail)):
        with pytest.raises(ModelError, match="the endpoint is gone"):
            await bridge.run(work)
    assert len(asked) == 2  # once for each work: after a failure nothing more is asked


async def test_a_failure_ends_the_work_at_once(bridge: Bridge) -> None:
    async def fail() -> None:
        raise ModelError("gone")

    went_on = []

    def work() -> None:
        with suppress(Exception):  # what libraries catch
            bridge.ask(fail)
        went_on.append(1)

    with pytest.raises(ModelError):
        await bridge.run(work)
    assert not went_on


async def test_the_librarys_own_failure_is_told_apart(bridge: Bridge) -> None:
    def work() -> None:
        raise KeyError("text")

    with pytest.raises(LibraryFailed, match="KeyError: 'text'"):
        await bridge.run(work)
    assert await bridge.run(lambda: 5) == 5


async def test_a_cancelled_work_is_over_when_it_says_so(bridge: Bridge) -> None:
    asked, cancelled, ended = asyncio.Event(), [], threading.Event()

    async def never() -> None:
        asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(1)
            raise

    def work() -> None:
        try:
            bridge.ask(never)
        finally:
            ended.set()

    running = asyncio.create_task(bridge.run(work))
    await asyncio.wait_for(asked.wait(), 10)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert ended.is_set()
    assert cancelled
    assert await bridge.run(lambda: 5) == 5


async def test_a_cancelled_work_gets_no_further_answers(bridge: Bridge) -> None:
    written, go, entered = [], threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    async def write() -> None:
        written.append(1)

    def work() -> None:
        loop.call_soon_threadsafe(entered.set)
        go.wait(10)
        bridge.ask(write)

    running = asyncio.create_task(bridge.run(work))
    await asyncio.wait_for(entered.wait(), 10)
    running.cancel()
    await asyncio.sleep(0)
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not written


async def test_questions_may_come_from_threads_of_the_librarys_own(bridge: Bridge) -> None:
    async def answer() -> int:
        return 7

    def work() -> list[int]:
        with ThreadPoolExecutor(4) as pool:
            return [f.result() for f in [pool.submit(bridge.ask, answer) for _ in range(20)]]

    assert await bridge.run(work) == [7] * 20


async def test_many_bridges_at_once(bridge: Bridge) -> None:
    bridges = [Bridge() for _ in range(16)]

    async def double(n: int) -> int:
        await asyncio.sleep(0)
        return 2 * n

    async def one(n: int) -> int:
        own = bridges[n]
        return await own.run(lambda: sum(own.ask(lambda: double(n)) for _ in range(20)))

    assert await asyncio.gather(*(one(n) for n in range(16))) == [40 * n for n in range(16)]
    for made in bridges:
        made.close()
