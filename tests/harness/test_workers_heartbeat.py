"""Workers that give no sign are replaced; those that only seem silent are not."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from processes import alive, come_true, wait_for

from agemem_eval.harness.errors import WorkerError
from agemem_eval.harness.workers import remote
from agemem_eval.harness.workers.pool import WorkerEnv, WorkerPool

SUPPORT = Path(__file__).resolve().parent.parent / "support"
BAD = "agemem_fakes.envs:BadEnv"
HANGING = "agemem_fakes.envs:HangingEnv"


@pytest.fixture
async def pool() -> AsyncIterator[WorkerPool]:
    pool = WorkerPool(workers=1, concurrency=4, step_timeout_s=60, heartbeat_s=1.0)
    yield pool
    await pool.close()


async def pid_of(env: WorkerEnv) -> int:
    return int((await env.step("pid")).observation)


async def test_a_worker_that_is_stopped_in_a_step_is_replaced_long_before_the_step_times_out(
    pool: WorkerPool,
) -> None:
    env = await pool.acquire(BAD, {})
    pid = await pid_of(env)
    step = asyncio.create_task(env.step("hang 1000"))
    await asyncio.sleep(0)
    os.kill(pid, signal.SIGSTOP)
    async with asyncio.timeout(30):
        with pytest.raises(WorkerError, match=r"no sign for 1 s during step: it is stopped"):
            await step
    await env.close()
    assert await come_true(lambda: not alive(pid))
    assert await pid_of(await pool.acquire(BAD, {})) != pid


async def test_a_worker_that_is_stopped_while_idle_is_replaced_before_anybody_asks_for_it(
    pool: WorkerPool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "agemem_eval.workers")
    env = await pool.acquire(BAD, {})
    pid = await pid_of(env)
    await env.close()
    os.kill(pid, signal.SIGSTOP)
    assert await come_true(lambda: env.worker.failure is not None)
    assert await pid_of(await pool.acquire(BAD, {})) != pid
    assert await come_true(lambda: not alive(pid))
    (record,) = [r for r in caplog.records if r.name == "agemem_eval.workers"]
    assert record.levelno == logging.WARNING
    assert record.fields["event"] == "worker_lost"  # type: ignore[attr-defined]
    assert "no sign" in record.getMessage()


async def test_a_worker_that_is_stopped_while_it_builds_an_environment_is_replaced(
    pool: WorkerPool,
) -> None:
    env = await pool.acquire(BAD, {})
    pid = await pid_of(env)
    building = asyncio.create_task(pool.acquire(HANGING, {"seconds": "1000"}))
    await asyncio.sleep(0)
    os.kill(pid, signal.SIGSTOP)
    async with asyncio.timeout(30):
        with pytest.raises(WorkerError, match="no sign for 1 s during open: it is stopped"):
            await building
    assert await pid_of(await pool.acquire(BAD, {})) != pid


@pytest.mark.parametrize("how", ["hold", "wait"])
async def test_an_environment_that_takes_long_to_build_is_not_given_up(
    pool: WorkerPool, how: str
) -> None:
    clock = time.monotonic()
    env = await pool.acquire(HANGING, {"how": how})
    assert time.monotonic() - clock > 1.2, "it was too fast to show anything"
    assert await env.valid_actions() == ["inc"]


async def test_code_that_keeps_the_interpreter_within_its_step_timeout_is_not_dead(
    pool: WorkerPool,
) -> None:
    env = await pool.acquire(BAD, {})
    assert (await env.step("spin 2")).observation == "done"


async def test_a_parent_whose_loop_was_blocked_blames_nobody(pool: WorkerPool) -> None:
    env = await pool.acquire(BAD, {})
    pid = await pid_of(env)
    for _ in range(2):
        time.sleep(1.2)  # the point
        await asyncio.sleep(0.2)
    assert await pid_of(env) == pid


async def test_a_step_is_not_timed_out_by_a_parent_that_could_not_have_read_its_reply() -> None:
    pool = WorkerPool(workers=1, step_timeout_s=1.0)
    try:
        env = await pool.acquire(BAD, {})
        step = asyncio.create_task(env.step("hang 2.5"))
        await asyncio.sleep(0.1)
        time.sleep(2.2)  # the point
        assert (await step).observation == "done"
    finally:
        await pool.close()


async def test_beats_never_come_in_the_middle_of_a_reply(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "BEATS", 30_000)  # one a millisecond
    pool = WorkerPool(workers=1, heartbeat_s=30.0)
    try:
        env = await pool.acquire(BAD, {})
        for size in (0, 10, 70_000, 3_000_000) * 5:
            assert len((await env.step(f"big {size}")).observation) == size
    finally:
        await pool.close()


async def test_a_worker_nobody_uses_lives_on(pool: WorkerPool) -> None:
    env = await pool.acquire(BAD, {})
    pid = await pid_of(env)
    await env.close()
    await asyncio.sleep(2)  # twice as long as it may be silent
    again = await pool.acquire(BAD, {})
    assert (await pid_of(again), again.session) == (pid, env.session)


def test_a_run_that_was_stopped_and_goes_on_loses_no_worker(tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "agemem_eval", "run", "--env", "agemem_fakes.envs:CountEnv",
        "--memory", "none", "--model", "scripted", "--episodes", "8",
        "-o", "agemem_fakes.envs:CountEnv.slow=0.05",
        "--workers", "2", "--heartbeat", "1", "--name", "r", "--json",
    ]  # fmt: skip
    environ = {**os.environ, "PYTHONPATH": str(SUPPORT)}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environ, stdout=subprocess.PIPE, text=True
    ) as process:

        def records() -> list[str]:
            paths = (tmp_path / "runs/r/episodes").glob("*.jsonl")
            return [line for path in paths for line in path.read_text().splitlines()]

        assert wait_for(records)
        process.send_signal(signal.SIGSTOP)
        time.sleep(2)  # twice as long as a worker may be silent
        before = len(records())
        process.send_signal(signal.SIGCONT)
        told, _ = process.communicate(timeout=120)
    assert before < 8, "it was done before it was stopped, so this shows nothing"
    assert json.loads(told)["complete"]
    assert {json.loads(line)["attempt"] for line in records()} == {1}
    assert "worker_lost" not in (tmp_path / "runs/r/log.jsonl").read_text()
