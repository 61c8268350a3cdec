"""When `openai:NAME` calls again: Retry-After, backoff, giving up, being cancelled."""

from __future__ import annotations

import asyncio
from email.utils import formatdate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agemem_eval.harness.errors import ModelError
from agemem_eval.harness.models.http import HttpLimits, JsonClient

from .fakes import endpoint, request


def client(url="http://127.0.0.1:1/v1", clock=lambda: 1e9, **limits):
    return JsonClient(url, "NO_SUCH_KEY", HttpLimits(**limits), clock=clock)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("1.5", 1.5),
        (formatdate(1e9 + 12, usegmt=True), 12.0),
        (formatdate(1e9 - 30, usegmt=True), 0.0),
        (formatdate(1e9 + 1e8, usegmt=True), 20.0),
        ("86400", 20.0),  # capped by max_wait_s
        ("1000000000", 20.0),
        ("Tue, 1 Jan 2002 00:00:00", 20.0),  # without a zone
        ("soon", None),
        ("-5", None),
        ("inf", None),
        ("1e9", None),
        ("٣", None),
        ("Mon, 99 Foo 99999 99:99:99 +9999999", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_in_all_its_forms(header, seconds):
    assert client(max_wait_s=20)._seconds(header) == seconds


@settings(deadline=None)
@given(st.text() | st.text(alphabet="0123456789 :,+-GMTJanFebonue", max_size=40))
def test_any_retry_after_is_a_time_within_reason_or_none(header):
    seconds = client(max_wait_s=20)._seconds(header)
    assert seconds is None or 0 <= seconds <= 20


async def test_no_call_starts_before_retry_after_has_passed():
    arrived = []

    def faults(index):
        arrived.append(asyncio.get_running_loop().time())
        return "429" if index == 0 else None

    async with endpoint(faults=faults, retry_after="0.4") as (server, model):
        refused = asyncio.create_task(model.generate(request()))
        async with asyncio.timeout(10):
            while model._client._joined is None or model._client._joined.gate._held_until < 0:
                await asyncio.sleep(0.001)
        other = asyncio.create_task(model.generate(request()))  # which was never refused itself
        await asyncio.gather(refused, other)
    assert len(arrived) == 3
    assert min(arrived[1:]) - arrived[0] >= 0.4
    assert server.served.calls == 2


@pytest.mark.parametrize("header", ["0", "Thu, 01 Jan 1970 00:00:00 GMT"])
async def test_retry_after_that_asks_for_no_wait_leaves_backoff_in_force(header):
    arrived = []

    def faults(_):
        arrived.append(asyncio.get_running_loop().time())
        return "503"

    options = {"backoff_s": 0.2, "max_retries": 2}
    async with endpoint(faults=faults, retry_after=header, options=options) as (_, model):
        with pytest.raises(ModelError, match="gave up after 3 tries"):
            await model.generate(request())
    assert arrived[1] - arrived[0] >= 0.1
    assert arrived[2] - arrived[1] >= 0.2


def test_backoff_doubles_with_jitter_up_to_the_cap():
    one = client(backoff_s=1, max_wait_s=8)
    for attempt, full in enumerate([1, 2, 4, 8, 8, 8], 1):
        pauses = [one._backoff(attempt) for _ in range(50)]
        assert full / 2 <= min(pauses) < max(pauses) <= full
        assert len(set(pauses)) == 50


async def test_a_call_that_gives_up_says_after_how_many_tries():
    async with endpoint(faults=lambda _: "500", options={"max_retries": 6}) as (server, model):
        with pytest.raises(ModelError, match="gave up after 7 tries"):
            await model.generate(request())
    assert server.n_requests == 7


async def test_cancelling_is_not_a_failure():
    async with endpoint(faults=lambda _: "hang", options={"timeout_s": 30}) as (server, model):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await model.generate(request())
        assert server.n_requests == 1
