"""The circuit breaker: it waits for what has worked and may come back, and for nothing else."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from agemem_eval.harness import breaker as module
from agemem_eval.harness.breaker import Breaker


def episode(fault: str | None = None) -> Any:
    return SimpleNamespace(scored=fault is None, fault=fault, reason=f"it was {fault}")


def breaker(clock: list[float], patience_s: float = 100.0) -> Breaker:
    return Breaker(3, patience_s, asyncio.Event(), lambda: clock[0])


def test_an_endpoint_that_never_worked_is_not_waited_for() -> None:
    b = breaker([0.0])
    for _ in range(2):
        b.record(episode("connection"))
    assert (b.open, b.gave_up) == (False, None)
    b.record(episode("connection"))
    assert b.gave_up == "3 episodes in a row failed: it was connection"


@pytest.mark.parametrize("fault", ["worker", "memory", "refused", "tls"])
def test_what_does_not_pass_by_itself_is_not_waited_for(fault: str) -> None:
    b = breaker([0.0])
    for ended in (None, fault, fault, fault):
        b.record(episode(ended))
    assert b.gave_up is not None


def test_a_scored_episode_closes_it_and_patience_ends() -> None:
    clock = [0.0]
    b = breaker(clock)
    for fault in (None, "timeout", "server", "rate_limit"):
        b.record(episode(fault))
    assert (b.open, b.gave_up) == (True, None)
    b.record(episode())
    assert not b.open
    for fault in ("timeout", "timeout", "timeout"):
        b.record(episode(fault))
    clock[0] = 99.0
    b.record(episode("timeout"))
    assert b.gave_up is None
    clock[0] = 100.0
    b.record(episode("timeout"))
    assert b.gave_up == "5 episodes in a row failed: it was timeout"


def test_while_it_is_open_one_episode_is_tried_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_WAIT_S", 0.01)
    at_once: list[int] = []

    async def go() -> None:
        b = breaker([0.0])
        b._wait_s = 0.01
        for fault in (None, "server", "server", "server"):
            b.record(episode(fault))
        playing = 0
        fails = 2

        async def player() -> None:
            nonlocal playing, fails
            async with b.turn():
                playing += 1
                at_once.append(playing)
                await asyncio.sleep(0.01)
                playing -= 1
                fails -= 1
                b.record(episode("server" if fails >= 0 else None))

        await asyncio.wait_for(asyncio.gather(*(player() for _ in range(8))), 30)

    asyncio.run(go())
    assert at_once[:3] == [1, 1, 1], "two probes failed, the third closed it"
    assert max(at_once) > 1, "the others play together again"


def test_a_run_that_ends_cuts_the_wait_short() -> None:
    async def go() -> None:
        halted = asyncio.Event()
        b = Breaker(1, 1000, halted, lambda: 0.0)
        for fault in (None, "server"):
            b.record(episode(fault))
        asyncio.get_running_loop().call_soon(halted.set)

        async def player() -> None:
            async with b.turn():
                pass

        await asyncio.wait_for(player(), module.FIRST_WAIT_S / 2)

    asyncio.run(go())


def test_nobody_waits_for_what_was_given_up(caplog: pytest.LogCaptureFixture) -> None:
    clock = [0.0]

    async def go() -> None:
        b = breaker(clock)
        for fault in (None, "server", "server", "server"):
            b.record(episode(fault))

        async def player() -> None:
            async with b.turn():
                assert b.gave_up is not None

        players = [asyncio.create_task(player()) for _ in range(8)]
        await asyncio.sleep(0)  # the first one waits, the others for it
        clock[0] = 100.0
        b.record(episode("server"))
        async with asyncio.timeout(module.FIRST_WAIT_S / 2):
            await asyncio.gather(*players)
        b.record(episode())  # one that was in play

    asyncio.run(go())
    assert not [record for record in caplog.records if "going on" in record.message]
