"""Workers under load and sudden death: queues, lone processes, orphans, random kills."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from processes import alive, wait_for

from agemem_eval.harness.errors import EpisodeTimeout, InfraError, WorkerError
from agemem_eval.harness.types import Task
from agemem_eval.harness.workers.pool import WorkerEnv, WorkerPool
from agemem_eval.harness.workers.wire import Frames, pack

SUPPORT = Path(__file__).resolve().parent.parent / "support"
BAD = "agemem_fakes.envs:BadEnv"
COUNT = "agemem_fakes.envs:CountEnv"
TASK = Task("t0001", "test")

ORPHAN = """
import asyncio, sys
from agemem_eval.harness.types import Task
from agemem_eval.harness.workers.pool import WorkerPool

async def main():
    pool = WorkerPool(workers=1)
    env = await pool.acquire("agemem_fakes.envs:BadEnv", {})
    await env.reset(Task("t0001", "test"), 0)
    for action in ("pid", "child"):
        print((await env.step(action)).observation, flush=True)
    await env.step(sys.argv[1])

asyncio.run(main())
"""


async def pid_of(env: WorkerEnv) -> int:
    return int((await env.step("pid")).observation)


def all_gone(pids: set[int]) -> bool:
    return wait_for(lambda: not any(map(alive, pids)))


async def test_no_step_timeout_is_shorter_than_what_a_call_may_honestly_take() -> None:
    pool = WorkerPool(workers=1, step_timeout_s=0.3)
    try:
        env = await pool.acquire("agemem_fakes.envs:SlowEnv", {})
        assert (await env.step("hang 0.8")).observation == "done"
        with pytest.raises(EpisodeTimeout, match="timed out after 2 s"):
            await env.step("hang")
    finally:
        await pool.close()


async def test_waiting_behind_another_session_is_no_timeout() -> None:
    pool = WorkerPool(workers=1, step_timeout_s=1.0)
    try:
        envs = [await pool.acquire(BAD, {}) for _ in range(4)]
        clock = time.monotonic()
        await asyncio.gather(*(env.step("hang 0.4") for env in envs))
        assert time.monotonic() - clock > 1.0, "they did not queue, so this shows nothing"
    finally:
        await pool.close()


async def test_an_episode_played_alone_harms_no_other() -> None:
    pool = WorkerPool(workers=1, step_timeout_s=5)
    try:
        shared = await pool.acquire(BAD, {})
        lone = await pool.acquire(BAD, {}, alone=True)
        pids = {await pid_of(shared), await pid_of(lone)}
        assert len(pids) == 2
        with pytest.raises(WorkerError, match="SIGKILL"):
            await lone.step("kill")
        await lone.close()
        assert await pid_of(shared) in pids
        again = await pool.acquire(BAD, {}, alone=True)
        gone = await pid_of(again)
        await again.close()
        assert all_gone({gone}), "a lone process ends with its episode"
    finally:
        await pool.close()


async def test_a_cancelled_call_spoils_no_later_episode() -> None:
    pool = WorkerPool(workers=1, step_timeout_s=5)
    try:
        env = await pool.acquire(BAD, {})
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(env.step("hang 0.3"), 0.05)
        await env.close()
        after = await pool.acquire(BAD, {})
        assert after.session != env.session
        assert (await after.step("echo mine")).observation == "mine"
    finally:
        await pool.close()


async def test_no_more_processes_than_asked_for_and_none_idle_while_one_is_crowded() -> None:
    pool = WorkerPool(workers=2, concurrency=8)
    try:
        for _ in range(2):  # the second time with instances that are used again
            envs = await asyncio.gather(*(pool.acquire(BAD, {}) for _ in range(8)))
            pids = [await pid_of(env) for env in envs]
            assert sorted(pids.count(pid) for pid in set(pids)) == [4, 4]
            await asyncio.gather(*(env.close() for env in envs))
    finally:
        await pool.close()


async def test_whoever_waits_for_the_only_instance_gets_it_even_if_its_process_dies() -> None:
    pool = WorkerPool(workers=1, concurrency=4, step_timeout_s=5)
    single = "agemem_fakes.envs:SingleEnv"
    try:
        first = await pool.acquire(single, {})
        waiting = asyncio.create_task(pool.acquire(single, {}))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        first.worker._kill()
        with pytest.raises(WorkerError):
            await first.reset(TASK, 0)
        await first.close()
        second = await asyncio.wait_for(waiting, 10)
        assert (await second.reset(TASK, 0)).text
    finally:
        await pool.close()


async def test_workers_killed_at_random_moments_cost_only_calls_in_flight() -> None:
    rng = random.Random(7)
    pool = WorkerPool(workers=2, concurrency=4, step_timeout_s=5)
    seen: set[int] = set()
    finished = failed = kills = 0

    async def play() -> None:
        nonlocal finished, failed
        while finished < 20 or kills < 6:
            try:
                env = await pool.acquire(BAD, {})
            except InfraError:
                failed += 1
                continue
            try:
                seen.add(await pid_of(env))
                for n in range(10):
                    assert (await env.step(f"echo {n}")).observation == str(n)
                    await asyncio.sleep(0.002)
                finished += 1
            except InfraError:
                failed += 1
            finally:
                await env.close()

    async def kill() -> None:
        nonlocal kills
        while kills < 6:
            await asyncio.sleep(rng.uniform(0.01, 0.15))
            living = [pid for pid in seen if alive(pid)]
            if living:
                os.kill(rng.choice(living), signal.SIGKILL)
                kills += 1

    try:
        async with asyncio.timeout(60):
            await asyncio.gather(kill(), *(play() for _ in range(4)))
    finally:
        await pool.close()
    assert finished >= 20
    assert failed > 0, "no kill hit a game, so this shows nothing"
    assert all_gone(seen)


@pytest.mark.parametrize("action", ["hang", "spin"])
def test_a_killed_parent_leaves_no_orphan_even_of_code_that_never_yields(action: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ORPHAN, action],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(SUPPORT)},
        text=True,
    ) as parent:
        assert parent.stdout is not None
        worker, child = int(parent.stdout.readline()), int(parent.stdout.readline())
        time.sleep(0.2)  # now it is inside the call
        assert alive(worker)
        parent.kill()
        parent.wait()
    try:
        assert all_gone({worker, child})
    finally:
        for pid in filter(alive, (worker, child)):
            os.kill(pid, signal.SIGKILL)


async def test_processes_leave_no_descriptor_open() -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    counts = []
    for _ in range(3):
        pool = WorkerPool(workers=2, concurrency=2)
        envs = await asyncio.gather(*(pool.acquire(BAD, {}) for _ in range(2)))
        with pytest.raises(WorkerError):
            await envs[0].step("kill")
        await pool.close()
        counts.append(descriptors())
    assert counts[1] == counts[-1]


def test_a_worker_starts_without_what_only_the_parent_needs() -> None:
    program = "import sys, agemem_eval.harness.workers.worker; print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for heavy in ("pydantic", "numpy", "asyncio", "rich", "aiohttp"):
        assert f"'{heavy}'" not in done.stdout


@pytest.mark.parametrize("frame", [{}, {"error": "NoSuchError"}, {"error": "WorkerError"}, [1], 7])
async def test_a_reply_that_is_none_fails_the_call_that_waits_for_it(frame: object) -> None:
    pool = WorkerPool(workers=1)
    try:
        env = await pool.acquire(BAD, {})
        step = asyncio.create_task(env.step("hang"))
        await asyncio.sleep(0)
        env.worker._feed(pack(frame))
        with pytest.raises(WorkerError, match="broke its protocol"):
            await asyncio.wait_for(step, 10)
    finally:
        await pool.close()


def test_a_frame_that_is_nested_too_deeply_is_no_frame() -> None:
    body = b"[" * 200_000
    with pytest.raises(ValueError, match="nested"):
        list(Frames().feed(len(body).to_bytes(4, "big") + body))


async def test_a_worker_that_is_gone_is_not_killed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = WorkerPool(workers=1)
    env = await pool.acquire(BAD, {})
    with pytest.raises(WorkerError):
        await env.step("kill")
    await env.worker.ended.wait()
    killed: list[int] = []  # by now the number may be another process's
    monkeypatch.setattr(os, "killpg", lambda pid, _: killed.append(pid))
    await env.close()
    await pool.close()
    env.worker._kill()
    assert not killed
