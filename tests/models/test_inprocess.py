"""Between callers and decoder: batching, leaving, failing, ending; here with numpy's."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from agemem_eval.harness.errors import ModelError
from agemem_eval.harness.models import make_model
from agemem_eval.harness.types import ChatMessage, Request, Sampling

LEAVES = Path(__file__).parent.parent / "support" / "leave_amid.py"
DEADLINE = 60.0  # seconds; nothing here should come near it


def ask(text: str = "Put a mug on the desk.", **sampling: Any) -> Request:
    return Request([ChatMessage("user", text)], Sampling(**{"max_tokens": 24, **sampling}))


async def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "it did not come to be"
        await asyncio.sleep(0.001)


class Watched:
    """A model, the shapes of its forwards, and a place to make them fail or wait."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.decoder = model._asked.decoder
        self.shapes: list[tuple[int, int]] = []
        self.before: Callable[[], None] = lambda: None
        self._forward = self.decoder._forward
        self.decoder._forward = self._look

    def _look(self, rows: list[Any], new: list[list[int]], last: list[int]) -> Any:
        self.shapes.append((len(rows), max(map(len, new))))
        self.before()
        return self._forward(rows, new, last)

    async def ask(self, *requests: Request) -> list[Any]:
        asked = (self.model.generate(request) for request in requests)
        async with asyncio.timeout(DEADLINE):
            return await asyncio.gather(*asked, return_exceptions=True)


@pytest.fixture
async def make(tiny: Path) -> AsyncIterator[Callable[..., Watched]]:
    made: list[Watched] = []

    def make_one(**options: str) -> Watched:
        made.append(Watched(make_model(f"numpy:{tiny}", options)))
        return made[-1]

    yield make_one
    for watched in made:
        watched.before = lambda: None
        await watched.model.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "decoder"]


def endless(watched: Watched) -> None:
    """No reply ends by itself, so that all have their 24 tokens."""
    watched.decoder.stop = frozenset()


async def test_requests_of_many_callers_are_decoded_together(make: Any) -> None:
    watched = make()
    endless(watched)
    requests = [ask(f"Go to shelf {i}.", temperature=1.0, seed=i) for i in range(16)]
    together = await watched.ask(*requests)
    assert max(rows for rows, columns in watched.shapes if columns == 1) >= 15
    assert sum(columns == 1 for _, columns in watched.shapes) < 3 * 24
    alone = [(await watched.ask(request))[0] for request in requests]
    assert alone == together
    assert [reply.usage.completion_tokens for reply in together] == [24] * 16


async def test_a_request_joins_while_others_are_decoded(make: Any) -> None:
    watched = make(max_wait_ms="0")
    endless(watched)
    first = asyncio.create_task(watched.model.generate(ask(max_tokens=2000)))
    await until(lambda: len(watched.shapes) > 5)
    late = await watched.model.generate(ask("Open the fridge."))
    assert not first.done()
    assert late.usage.completion_tokens == 24
    first.cancel()


async def test_while_others_are_decoded_a_request_waits_for_company_but_not_for_ever(
    make: Any,
) -> None:
    watched = make(max_wait_ms="200", max_batch="8")
    endless(watched)
    first = asyncio.create_task(watched.model.generate(ask(max_tokens=20_000)))
    await until(lambda: len(watched.shapes) > 2)
    start = time.monotonic()
    await watched.ask(*(ask(f"Go to shelf {i}.", max_tokens=1) for i in range(3)))
    assert time.monotonic() - start >= 0.2
    assert not first.done()
    first.cancel()


async def test_a_cancelled_request_leaves_the_batch(make: Any) -> None:
    watched = make(max_batch="2")
    endless(watched)
    tasks = [asyncio.create_task(watched.model.generate(ask(max_tokens=9000))) for _ in range(4)]
    await until(lambda: (2, 1) in watched.shapes)
    for task in tasks:
        task.cancel()
    reply = await asyncio.wait_for(watched.model.generate(ask()), DEADLINE)  # there is room
    assert reply.usage.completion_tokens == 24
    assert all(task.cancelled() or task.cancelling() for task in tasks)
    await until(lambda: not watched.decoder.rows)


async def test_a_failure_reaches_every_request_and_the_next_ones_are_served(make: Any) -> None:
    watched = make(max_batch="4")

    def fail() -> None:
        if len(watched.shapes) == 5:
            raise ValueError("a kernel\nis broken")

    watched.before = fail
    watched.model._asked.expect(10)  # else the first may be told before the last has asked
    replies = await watched.ask(*(ask(f"{i}", max_tokens=500) for i in range(10)))
    watched.model._asked.expect(0)
    failures = [reply for reply in replies if isinstance(reply, ModelError)]
    assert len(failures) == len(replies)
    assert {failure.kind for failure in failures} == {"server"}
    assert "ValueError: a kernel is broken" in str(failures[0])
    assert "\n" not in str(failures[0])
    (reply,) = await watched.ask(ask())
    assert reply.usage.completion_tokens > 0


@pytest.mark.parametrize(
    "short",
    [
        lambda: MemoryError("Unable to allocate 9 GiB for an array"),  # of numpy
        # of torch, on a GPU and on a CPU
        lambda: RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        lambda: RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9"),
    ],
)
async def test_where_memory_is_short_half_the_batch_is_tried_again(
    make: Any, short: Callable[[], Exception], caplog: pytest.LogCaptureFixture
) -> None:
    watched = make(max_batch="8")
    requests = [ask(f"Go to shelf {i}.", temperature=1.0, seed=i) for i in range(8)]
    expected = await watched.ask(*requests)

    def fail() -> None:
        if watched.shapes[-1][0] > 4:
            raise short()

    watched.before = fail
    watched.decoder.reset()
    assert await watched.ask(*requests) == expected
    assert watched.decoder.max_rows <= 4
    (record,) = [r for r in caplog.records if r.name == "agemem_eval.inprocess"]
    assert record.fields["event"] == "out_of_memory"


async def test_where_memory_stays_short_every_request_is_told(make: Any) -> None:
    watched = make(max_batch="8")

    def fail() -> None:
        raise MemoryError

    watched.before = fail
    watched.model._asked.expect(8)  # else some may come when others have been told already
    replies = await watched.ask(*(ask(f"{i}") for i in range(8)))
    assert all(isinstance(reply, ModelError) for reply in replies)
    assert "lower -o max_batch" in str(replies[0])
    assert [rows for rows, _ in watched.shapes] == [8, 4]


async def test_closing_ends_the_thread_and_fails_who_waits(make: Any) -> None:
    watched = make(max_batch="2")
    endless(watched)
    tasks = [asyncio.create_task(watched.model.generate(ask(max_tokens=9000))) for _ in range(5)]
    await until(lambda: len(watched.shapes) > 3)
    await asyncio.wait_for(watched.model.close(), DEADLINE)
    replies = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), DEADLINE)
    assert all(isinstance(reply, ModelError) for reply in replies)
    assert watched.decoder.rows == []
    assert watched.decoder._cache.slots == 0  # its memory is given back
    (reply,) = await watched.ask(ask())  # another thread begins
    assert reply.usage.completion_tokens == 24


async def test_a_run_that_is_ended_does_not_wait_for_a_long_forward(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agemem_eval.harness.models.inprocess.schedule.HURRY_S", 0.05)
    watched, goes_on = make(), threading.Event()
    watched.before = lambda: goes_on.wait(DEADLINE)

    async def asks_until_it_is_ended() -> None:
        try:
            await watched.model.generate(ask())
        finally:
            await watched.model.close()

    asking = asyncio.create_task(asks_until_it_is_ended())
    await until(lambda: len(watched.shapes) > 0)
    asking.cancel()
    await asyncio.wait({asking}, timeout=DEADLINE / 2)
    assert asking.cancelled()
    assert not goes_on.is_set()  # the forward is not over, and no thread of the loop waits for it
    with pytest.raises(ModelError, match="was closed"):
        await watched.model.generate(ask())
    goes_on.set()


async def test_closing_after_a_failure_or_before_any_use_does_nothing(make: Any) -> None:
    watched = make()
    await watched.model.close()

    def fail() -> None:
        raise ValueError("broken")

    watched.before = fail
    await watched.ask(ask())
    await watched.model.close()
    await watched.model.close()


def test_one_model_serves_one_event_loop_after_another(tiny: Path) -> None:
    model = make_model(f"numpy:{tiny}")

    async def once() -> Any:
        return await asyncio.wait_for(model.generate(ask()), DEADLINE)

    assert asyncio.run(once()) == asyncio.run(once())
    asyncio.run(model.close())


async def test_closing_amid_a_forward_waits_for_its_layer_alone(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched, network = make(), make().decoder.network.__class__
    feed, begun, goes_on = network._feed, threading.Event(), threading.Event()
    layers: list[Any] = []

    def slow(self: Any, layer: Any, x: Any) -> Any:
        layers.append(layer)
        begun.set()
        goes_on.wait(DEADLINE)
        return feed(self, layer, x)

    monkeypatch.setattr(network, "_feed", slow)
    asking = asyncio.create_task(watched.model.generate(ask()))
    await until(begun.is_set)
    closing = asyncio.create_task(watched.model.close())
    await until(lambda: watched.decoder.interrupted)
    goes_on.set()
    await asyncio.wait_for(closing, DEADLINE)
    assert len(layers) == 1  # of two
    with pytest.raises(ModelError, match="was closed"):
        await asking
    (reply,) = await watched.ask(ask())  # and nothing is interrupted any more
    assert reply.usage.completion_tokens > 0


def test_a_process_that_closes_nothing_ends_with_its_own_code(tiny: Path) -> None:
    command = [sys.executable, str(LEAVES), f"numpy:{tiny}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * DEADLINE)
    assert (done.returncode, done.stderr) == (3, "")
