"""Environment workers: what dies, hangs or shouts in one costs its own episodes, nothing else."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest
from processes import alive, come_true

from agemem_eval.harness.errors import (
    DataError,
    EpisodeTimeout,
    MissingExtraError,
    UsageError,
    WorkerError,
)
from agemem_eval.harness.types import Task
from agemem_eval.harness.workers.pool import LocalPool, WorkerEnv, WorkerPool

BAD = "agemem_fakes.envs:BadEnv"
COUNT = "agemem_fakes.envs:CountEnv"
TASK = Task("t0001", "test")


@pytest.fixture
async def pool() -> AsyncIterator[WorkerPool]:
    pool = WorkerPool(workers=1, concurrency=4, step_timeout_s=1.0)
    yield pool
    await pool.close()


async def start(pool: WorkerPool, env: str = BAD) -> WorkerEnv:
    client = await pool.acquire(env, {})
    await client.reset(TASK, 0)
    return client


async def gone(*pids: int) -> bool:
    return await come_true(lambda: not any(map(alive, pids)))


async def test_it_plays_like_the_environment_in_this_process(pool: WorkerPool) -> None:
    far, near = await start(pool, COUNT), await LocalPool().acquire(COUNT, {})
    assert await near.reset(TASK, 0) == await far.reset(TASK, 0)
    for action in ("inc", "dec", "", "inc", "x" * 1_000_000, "inc"):
        assert await far.step(action) == await near.step(action)
    assert await far.valid_actions() == ["inc"]
    assert far.spec == near.spec
    description = await pool.describe(COUNT, {"tasks": "3"}, "")
    assert [task.id for task in description.tasks] == ["t0000", "t0001", "t0002"]


async def test_what_is_printed_does_not_break_the_protocol(pool: WorkerPool) -> None:
    env = await start(pool)
    assert (await env.step("print")).observation == "done"
    assert (await env.step("read")).observation == "read ''"
    assert (await env.step("echo \ud800 \x00 é")).observation == "\ud800 \x00 é"
    assert len((await env.step("big 5000000")).observation) == 5_000_000


@pytest.mark.parametrize(
    ("action", "error", "said"),
    [
        ("raise", WorkerError, "KeyError"),
        ("usage", UsageError, "do it otherwise"),
        ("data", DataError, "game.json is broken"),
        ("extra", MissingExtraError, "agemem-eval\\[scienceworld\\]"),
        ("nan", WorkerError, "JSON"),
        ("wrong", WorkerError, "dict"),
        ("exit", WorkerError, "7"),
        ("kill", WorkerError, "SIGKILL"),
        ("segfault", WorkerError, "SIGSEGV.*last words"),
        ("hang", EpisodeTimeout, "timed out"),
        ("spin", EpisodeTimeout, "timed out"),
    ],
)
async def test_every_failure_has_its_class_and_the_pool_goes_on(
    pool: WorkerPool, action: str, error: type[Exception], said: str
) -> None:
    env = await start(pool)
    with pytest.raises(error, match=said) as caught:
        await env.step(action)
    assert "\n" not in str(caught.value)
    await env.close()
    again = await start(pool)
    assert (await again.step("echo here")).observation == "here"


async def test_a_dead_process_fails_all_its_sessions_and_only_those() -> None:
    pool = WorkerPool(workers=2, concurrency=4, step_timeout_s=5)
    try:
        envs = [await start(pool) for _ in range(4)]
        pids = [int((await env.step("pid")).observation) for env in envs]
        assert len(set(pids)) == 2
        os.kill(pids[0], signal.SIGKILL)
        await gone(pids[0])
        for env, pid in zip(envs, pids, strict=True):
            if pid == pids[0]:
                with pytest.raises(WorkerError):
                    await env.step("pid")
            else:
                assert (await env.step("pid")).observation == str(pid)
    finally:
        await pool.close()
    assert await gone(*pids)


async def test_an_instance_that_must_be_alone_gets_a_process_each() -> None:
    pool = WorkerPool(concurrency=3)
    try:
        envs = await asyncio.gather(
            *(pool.acquire("agemem_fakes.envs:SingleEnv", {}) for _ in range(3))
        )
        assert len({id(env.worker) for env in envs}) == 3
    finally:
        await pool.close()


async def test_a_good_instance_is_used_again_and_a_failed_one_is_not(pool: WorkerPool) -> None:
    first = await start(pool)
    await first.close()
    second = await start(pool)
    assert second.session == first.session
    with pytest.raises(WorkerError):
        await second.step("raise")
    await second.close()
    assert (await start(pool)).session != first.session


async def test_what_an_environment_started_ends_with_it(pool: WorkerPool) -> None:
    env = await start(pool)
    child = int((await env.step("child")).observation)
    assert alive(child)
    await pool.close()
    assert await gone(child)


async def test_an_environment_that_cannot_be_built_says_so(pool: WorkerPool) -> None:
    with pytest.raises(MissingExtraError, match="scienceworld"):
        await pool.acquire("agemem_fakes.envs:NeedsExtra", {})
