"""Ray actors as workers: they play, fail and are replaced like processes."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from processes import alive, come_true

from agemem_eval.harness.config import Execution
from agemem_eval.harness.errors import (
    DataError,
    EpisodeTimeout,
    MissingExtraError,
    UsageError,
    WorkerError,
)
from agemem_eval.harness.types import Task
from agemem_eval.harness.workers import ray_cluster
from agemem_eval.harness.workers.pool import LocalPool, WorkerEnv, make_pool
from agemem_eval.harness.workers.ray_pool import RayPool
from agemem_eval.harness.workers.wire import Frames, pack

pytestmark = pytest.mark.ray

BAD = "agemem_fakes.envs:BadEnv"
COUNT = "agemem_fakes.envs:CountEnv"
SINGLE = "agemem_fakes.envs:SingleEnv"
TASK = Task("t0001", "test")


@pytest.fixture(params=[True, False], ids=["connected", "by calls"])
async def pool(address: str, request: pytest.FixtureRequest) -> AsyncIterator[RayPool]:
    pool = RayPool(
        address=address, workers=1, concurrency=4, step_timeout_s=3.0, direct=request.param
    )
    yield pool
    await pool.close()


@pytest.fixture
async def two(address: str) -> AsyncIterator[RayPool]:
    pool = RayPool(address=address, workers=2, concurrency=4, step_timeout_s=20, heartbeat_s=1.0)
    yield pool
    await pool.close()


async def pid_of(env: WorkerEnv) -> int:
    return int((await env.step("pid")).observation)


async def test_an_actor_plays_like_the_environment_in_this_process(pool: RayPool) -> None:
    far, near = await pool.acquire(COUNT, {}), await LocalPool().acquire(COUNT, {})
    assert await near.reset(TASK, 0) == await far.reset(TASK, 0)
    for action in ("inc", "dec", "", "inc", "x" * 1_000_000, "inc"):
        assert await far.step(action) == await near.step(action)
    assert await far.valid_actions() == ["inc"]
    assert far.spec == near.spec
    assert await pool.describe(COUNT, {"tasks": "3"}, "") == await LocalPool().describe(
        COUNT, {"tasks": "3"}, ""
    )
    assert bool(pool.listener.addresses) == pool._direct, "frames went another way than meant"


async def test_replies_come_in_the_order_of_the_calls_of_several_sessions(pool: RayPool) -> None:
    envs = [await pool.acquire(BAD, {}) for _ in range(4)]

    async def talk(env: WorkerEnv, name: str) -> None:
        for n in range(25):
            said = f"{name} {n}"
            assert (await env.step(f"echo {said}")).observation == said

    await asyncio.gather(*(talk(env, f"session {i}") for i, env in enumerate(envs)))


async def test_every_failure_has_its_class_and_the_pool_goes_on(pool: RayPool) -> None:
    cases = {
        "raise": (WorkerError, "KeyError"),
        "usage": (UsageError, "do it otherwise"),
        "data": (DataError, "game.json is broken"),
        "extra": (MissingExtraError, "scienceworld"),
        "nan": (WorkerError, "JSON"),
        "exit": (WorkerError, r"died during step.*7"),
        "kill": (WorkerError, r"died during step"),
        "segfault": (WorkerError, r"died during step"),
        "spin": (EpisodeTimeout, "timed out after 3 s"),
    }
    for action, (error, said) in cases.items():
        env = await pool.acquire(BAD, {})
        await env.reset(TASK, 0)
        with pytest.raises(error, match=said) as caught:
            await env.step(action)
        assert "\n" not in str(caught.value)
        await env.close()
        again = await pool.acquire(BAD, {})
        assert (await again.step("echo here")).observation == "here"
        await again.close()


async def test_a_good_instance_is_used_again(pool: RayPool) -> None:
    first = await pool.acquire(BAD, {})
    await first.close()
    second = await pool.acquire(BAD, {})
    assert (second.worker, second.session) == (first.worker, first.session)


async def test_workers_are_as_many_as_asked_for_and_each_is_a_process(two: RayPool) -> None:
    envs = await asyncio.gather(*(two.acquire(BAD, {}) for _ in range(4)))
    pids = [await pid_of(env) for env in envs]
    assert sorted(pids.count(pid) for pid in set(pids)) == [2, 2]
    await two.close()
    assert await come_true(lambda: not any(map(alive, pids)))


async def test_an_episode_played_alone_finds_a_place_though_every_cpu_is_taken(
    two: RayPool,
) -> None:
    shared = await asyncio.gather(*(two.acquire(BAD, {}) for _ in range(2)))
    lone = await asyncio.wait_for(two.acquire(BAD, {}, alone=True), 120)
    pid = await pid_of(lone)
    assert pid not in [await pid_of(env) for env in shared]
    await lone.close()
    assert await come_true(lambda: not alive(pid))


async def test_what_an_environment_started_ends_with_its_actor(two: RayPool) -> None:
    two.step_timeout_s = 1.0
    env = await two.acquire(BAD, {})
    child = int((await env.step("child")).observation)
    assert alive(child)
    with pytest.raises(EpisodeTimeout):
        await env.step("hang")
    await env.close()
    assert await come_true(lambda: not alive(child))


async def test_an_actor_that_is_stopped_while_idle_is_replaced(two: RayPool) -> None:
    env = await two.acquire(BAD, {})
    pid = await pid_of(env)
    await env.close()
    os.kill(pid, signal.SIGSTOP)
    assert await come_true(lambda: env.worker.failure is not None)
    assert "no sign for 1 s" in str(env.worker.failure)
    assert await pid_of(await two.acquire(BAD, {})) != pid
    assert await come_true(lambda: not alive(pid))


async def test_environments_of_which_a_process_holds_one_wait_for_a_free_actor(
    two: RayPool,
) -> None:
    async def play() -> None:
        env = await two.acquire(SINGLE, {})
        await env.reset(TASK, 0)
        await env.close()

    async with asyncio.timeout(120):
        await asyncio.gather(*(play() for _ in range(6)))


async def test_a_worker_that_asks_for_more_than_there_is_says_what_is_free(address: str) -> None:
    pool = RayPool(address=address, cpus=64, start_timeout_s=2)
    try:
        with pytest.raises(WorkerError, match=r"asked for 64 CPU, and 2 of the cluster's 2"):
            await pool.acquire(COUNT, {})
    finally:
        await pool.close()


async def test_a_pool_makes_do_with_what_others_leave_free(address: str) -> None:
    pool = RayPool(address=address, workers=8, concurrency=8, start_timeout_s=60)
    try:
        pool.cluster.connect()
        other = pool.cluster.actor(0, alone=False)  # somebody else's
        await asyncio.wrap_future(other.close.remote().future())
        assert await come_true(lambda: pool.cluster.places(0) == 1)
        envs = [await pool.acquire(BAD, {}) for _ in range(4)]
        assert len({await pid_of(env) for env in envs}) == 1
        pool.cluster.kill(other)
    finally:
        await pool.close()


async def test_only_who_knows_the_token_is_listened_to(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    pool = RayPool(address=address, workers=1)
    try:
        env = await pool.acquire(BAD, {})
        ((host, port),) = pool.listener.addresses
        good = {"worker": env.worker.number, "token": env.worker.token, "line": "frames"}  # type: ignore[attr-defined]
        for sent in (
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"\xff" * 5000,
            (1000).to_bytes(4, "big") + b"[" * 1000,
            pack({**good, "token": "0" * 32}),
            pack({**good, "token": "\u00e9"}),
            pack({**good, "worker": 99}),
            pack([1, 2]),
            pack({**good, "worker": [1]}),
            pack(good),  # a second time
        ):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(sent)
            if sent.startswith((b"GET", b"\xff")):
                writer.write(b"x" * 2000)
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await asyncio.wait_for(reader.readexactly(1), 20)
            writer.close()
        assert (await env.step("echo still here")).observation == "still here"
        assert not [r.getMessage() for r in caplog.records if r.name == "asyncio"]
    finally:
        await pool.close()


async def test_an_actor_that_was_given_up_is_not_listened_to(address: str) -> None:
    pool = RayPool(address=address, workers=1)
    try:
        await pool.acquire(BAD, {})
        late: Any = pool._make(99, True)
        late._kill()
        ((host, port),) = pool.listener.addresses
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(pack({"worker": 99, "token": late.token, "line": "frames"}))
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(1), 20)
        writer.close()
    finally:
        await pool.close()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("127.0.0.1:1", r"no Ray cluster at 127.0.0.1:1: .*ray start --head"),
        ("ray://127.0.0.1:1", r"no Ray cluster at ray://127.0.0.1:1: .*ray start --head"),
        ("nowhere", "nowhere"),
    ],
)
async def test_an_address_without_a_cluster_says_so(given: str, said: str) -> None:
    pool = RayPool(address=given)
    try:
        with pytest.raises(UsageError, match=said):
            await asyncio.wait_for(pool.acquire(COUNT, {}), 100)
    finally:
        await pool.close()


async def test_the_address_may_come_from_the_environment(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    pool = make_pool(Execution(backend="ray", workers=1))
    try:
        assert (await pool.describe(COUNT, {"tasks": "3"}, "")).spec.name == "count"
        assert isinstance(pool, RayPool)
        assert pool.cluster.counted
    finally:
        await pool.close()


async def test_a_cluster_of_another_version_is_told_apart(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    monkeypatch.setattr(ray, "__version__", "2.0.0")
    pool = RayPool(address=address)
    try:
        with pytest.raises(UsageError, match=r"another Ray or Python.*2\.0\.0"):
            await pool.acquire(COUNT, {})
    finally:
        await pool.close()
    assert ray._private.worker.global_worker.node is None, "a half made connection is left"


async def test_a_node_that_cannot_import_the_worker_says_what_to_do(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "agemem_eval_elsewhere.py").write_text(
        "class WorkerActor:\n    def connect(self, addresses, greeting): ...\n"
        "    def close(self): ...\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import agemem_eval_elsewhere  # type: ignore[import-not-found]

    monkeypatch.setattr(ray_cluster, "WorkerActor", agemem_eval_elsewhere.WorkerActor)
    pool = RayPool(address=address)
    try:
        with pytest.raises(WorkerError, match=r"cannot be imported on a node.*runtime-env") as told:
            await pool.acquire(COUNT, {})
        assert "\n" not in str(told.value)
    finally:
        await pool.close()


async def test_data_that_a_node_does_not_have_is_the_environments_own_error(two: RayPool) -> None:
    with pytest.raises(DataError) as far:
        await two.describe("alfworld", {"data": "/nowhere"}, "valid_seen")
    with pytest.raises(DataError) as near:
        await LocalPool().describe("alfworld", {"data": "/nowhere"}, "valid_seen")
    assert str(far.value) == str(near.value)


def test_without_workers_there_is_nothing_for_ray_to_place() -> None:
    with pytest.raises(UsageError, match="--workers 0"):
        make_pool(Execution(backend="ray", workers=0))


def test_an_actor_that_gets_only_one_of_its_connections_says_nothing_on_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from agemem_eval.harness.workers.ray_actor import WorkerActor

    connect, made = socket.create_connection, []

    def once(place: tuple[str, int], timeout: float) -> socket.socket:
        if made:
            raise TimeoutError("timed out")
        made.append(connect(place, timeout))
        return made[0]

    monkeypatch.setattr(socket, "create_connection", once)
    with socket.create_server(("127.0.0.1", 0)) as server:
        told = WorkerActor().connect([server.getsockname()[:2]], '{"worker": 1}')
        assert told["problem"].endswith("timed out")
        heard, _ = server.accept()
        made[0].close()
        with heard:
            assert heard.recv(100) == b""


def test_frames_are_what_they_are_on_a_pipe() -> None:
    from agemem_eval.harness.workers.ray_actor import WorkerActor

    actor: Any = WorkerActor()
    said = actor.exchange(pack(["open", 1, [COUNT, {}]]) + pack(["nonsense", 1, []]))
    first, second = Frames().feed(said)
    assert first["value"]["name"] == "count"
    assert "nonsense" in second["message"]
