"""The gate before an endpoint: its guarantees under any history, and what its limit converges to.

All of it runs in virtual time (`virtual_time.py`), so waiting costs nothing and is exact.
"""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agemem_eval.harness.models.http.gate import LONGEST_REST_S, SPREAD_S, Gate, GateLimits
from agemem_eval.harness.models.http.limit import START

from .virtual_time import Endpoint, gate, load, now, run


def flat(_):
    return 0.5


def driven(endpoint, concurrency, seconds, made=None, told=None):
    """How an endpoint fared under load, and the limits that were in force, by half seconds."""

    async def main():
        through = made() if made is not None else Gate(told or (lambda *_: None))
        limits = []

        async def watch():
            while now() < seconds:
                limits.append(through.limit)
                await asyncio.sleep(0.5)

        watching = asyncio.create_task(watch())
        await load(endpoint, concurrency, seconds, through)
        await watching
        return limits

    return run(main())


def utilisation(endpoint, ideal, seconds):
    """Share of the seconds that `ideal` calls at once would have used."""
    return endpoint.busy_s / (ideal * seconds)


# --- what the limit converges to ------------------------------------------------------------


@pytest.mark.parametrize(("callers", "least"), [(16, 1.0), (64, 0.98), (256, 0.94)])
def test_an_endpoint_that_holds_gets_all_that_is_asked_for(callers, least):
    endpoint = Endpoint(flat)
    driven(endpoint, callers, 20)
    assert utilisation(endpoint, callers, 20) >= least
    assert endpoint.most_in_flight == callers


def test_slow_start_saturates_256_in_two_seconds():
    endpoint = Endpoint(flat)
    limits = driven(endpoint, 256, 4)
    assert limits[0] == START
    assert limits[4] >= 256  # at 2 s


@pytest.mark.parametrize("takes", [1, 3, 10, 100, 180])
def test_an_endpoint_that_takes_so_many_is_held_there(takes):
    endpoint = Endpoint(flat, takes=takes)
    limits = driven(endpoint, 256, 60)
    assert endpoint.most_in_flight == takes
    assert utilisation(endpoint, takes, 60) > 0.9
    assert endpoint.refused < 0.2 * endpoint.served + 120  # 256 callers begin at once
    late = limits[len(limits) // 2 :]
    assert max(late) <= 1.25 * takes + 3
    assert sum(late) / len(late) > 0.85 * takes


@pytest.mark.parametrize(("share", "least"), [(0.03, 0.9), (0.1, 0.75)])
@pytest.mark.parametrize("callers", [8, 16, 64, 256])
def test_faults_that_have_nothing_to_do_with_load_do_not_slow_it_down(share, callers, least):
    draw = random.Random(0)
    endpoint = Endpoint(flat, refuses=lambda _: draw.random() < share)
    driven(endpoint, callers, 60)
    assert utilisation(endpoint, callers, 60) > least


def test_an_outage_is_survived_and_recovered_from():
    told = []
    endpoint = Endpoint(flat, refuses=lambda _: 10 < now() < 20)
    limits = driven(endpoint, 256, 60, told=lambda *change: told.append(change))
    assert min(limits[30:40]) <= 4  # it knocks, no more
    assert max(limits[-10:]) >= 256
    assert endpoint.refused < 1000
    assert [change for change, _, _ in told] == ["backed off"] * (len(told) - 1) + ["recovered"]
    assert len(told) < 20  # a line for each halving, not for each call


def test_a_queue_behind_the_endpoint_stops_the_growth():
    endpoint = Endpoint(lambda n: 0.5 * max(1.0, n / 20))  # it works on 20 at once
    limits = driven(endpoint, 500, 60)
    assert max(limits) < 260
    assert endpoint.served > 0.9 * 20 / 0.5 * 60


def test_a_server_that_batches_is_given_more_though_it_slows():
    endpoint = Endpoint(lambda n: 0.5 * (1 + n / 64))
    limits = driven(endpoint, 256, 60)
    assert max(limits) >= 150
    assert endpoint.served > 75 * 60  # 256 at once: 102 a second; 32 at once: 43


@pytest.mark.parametrize("spread", [0.3, 0.7, 1.2])
def test_replies_of_different_lengths_are_no_congestion(spread):
    draw = random.Random(1)
    endpoint = Endpoint(lambda _: draw.lognormvariate(-1, spread))
    driven(endpoint, 64, 120)
    assert utilisation(endpoint, 64, 120) > 0.85


def test_short_and_long_calls_are_not_compared_with_each_other():
    """Short prompts first, then ones that take 20 times as long."""
    served = []

    async def main():
        through = Gate()

        async def caller():
            while now() < 120:
                long = now() > 10
                with await through.enter() as call:
                    await asyncio.sleep(10 if long else 0.5)
                    call.served("long" if long else "short")
                    served.append(long)

        await asyncio.gather(*(caller() for _ in range(100)))
        return through.limit

    assert run(main()) >= 100
    assert sum(served) > 900


def test_what_was_never_tried_proves_nothing():
    limits = driven(Endpoint(flat), 4, 60)
    assert max(limits) == START


@pytest.mark.parametrize(("callers", "most"), [(1, 9), (3, 9), (3, 1)])
def test_an_endpoint_that_gets_slower_goes_on_being_asked_however_few_may(callers, most):
    endpoint = Endpoint(lambda _: 0.2 if now() < 20 else 0.9)
    limits = driven(endpoint, callers, 120, lambda: gate(max_in_flight=most))
    assert min(limits) >= 1  # a deadlock is an error in `driven`
    assert endpoint.served > 200


@pytest.mark.parametrize("callers", [8, 31, 64])
def test_who_gets_slower_for_others_sake_is_not_asked_for_less(callers):
    endpoint = Endpoint(lambda _: 0.3 if now() < 20 else 1.5)
    limits = driven(endpoint, callers, 80)
    assert min(limits[10:]) >= callers


def test_calls_that_started_before_a_cut_are_not_held_against_it():
    async def main():
        through = Gate()
        calls = [await through.enter() for _ in range(START)]
        for call in calls:
            call.late()
            through.leave(call)
        assert through.limit == START // 4  # once, for all that were under way
        calls = [await through.enter() for _ in range(START // 4)]
        for call in calls[:-1]:
            call.served()
            through.leave(call)
        return through.limit

    assert run(main()) >= START // 4


# --- Retry-After, and bounds of the user ----------------------------------------------------


def test_retry_after_holds_everybody_and_they_do_not_come_back_at_once():
    endpoint = Endpoint(flat, refuses=lambda n: n == 40, retry_after=7.0)
    told = []
    driven(endpoint, 64, 20, told=lambda *change: told.append(change))
    refused_at = endpoint.started[39]
    after = [at for at in endpoint.started if at > refused_at + 0.0011]
    assert min(after) >= refused_at + 7.0
    assert ("held", 7.0, 0.0) in told
    burst = [at for at in after if at < refused_at + 7.001 + SPREAD_S]
    assert len(set(burst)) > 0.9 * len(burst)
    assert sum(at < refused_at + 7.05 for at in burst) < 16
    assert endpoint.served > 64 * 20


def test_a_longer_hold_is_not_shortened_by_a_shorter_one():
    async def main():
        through = Gate()
        through.hold(10)
        through.hold(2)
        through.hold(0)
        with await through.enter():
            return now()

    assert run(main()) == pytest.approx(10)


@pytest.mark.parametrize("rpm", [1, 7, 60, 90, 600, 5000])
def test_no_minute_sees_more_requests_than_allowed(rpm):
    endpoint = Endpoint(lambda _: 0.01)
    minutes = 3 if rpm < 600 else 1.2
    driven(endpoint, 8 if rpm < 1000 else 64, 60 * minutes, made=lambda: gate(rpm=rpm))
    starts = endpoint.started
    for first, at in enumerate(starts):
        if first + rpm < len(starts):
            assert starts[first + rpm] >= at + 60 - 1e-6
    assert len([at for at in starts if at < 60 * minutes]) >= 0.97 * rpm * minutes - 2


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(0, 3000), min_size=1, max_size=40),
    st.integers(30, 60_000),
    st.floats(0.5, 2.0),
)
def test_no_minute_sees_more_tokens_than_allowed_but_for_one_call(tokens, tpm, wrong):
    """Estimates are wrong by a factor, and larger than the bucket; all get through in the end."""
    started = []

    async def main():
        through = gate(tpm=tpm)

        async def one(amount):
            with await through.enter(amount * wrong) as call:
                started.append((now(), amount))
                call.served(None, amount)

        await asyncio.gather(*(one(amount) for amount in tokens))

    run(main())
    assert [amount for _, amount in started] == tokens
    for first in range(len(started)):
        window = [amount for at, amount in started[first:] if at < started[first][0] + 60 - 1e-6]
        # the largest leaves a debt, and as much as could not be known before was underestimated
        largest = sorted(window)[-1:]
        assert sum(window) <= tpm + sum(largest) * max(1.0, 1 / wrong) + 1e-6


def test_a_refused_call_costs_no_tokens():
    async def main():
        through = gate(tpm=60)
        for _ in range(50):
            with await through.enter(1) as call:
                call.rejected()
            await asyncio.sleep(0)
        return now()

    assert run(main()) < LONGEST_REST_S


def test_two_users_share_the_stricter_bounds():
    through = gate(max_in_flight=9, rpm=60, tpm=5000)
    through.restrict(GateLimits(max_in_flight=20, rpm=30))
    through.restrict(GateLimits(tpm=100_000))
    assert through.limit == 9
    assert through._requests.per_minute == 30
    assert through._tokens.per_minute == 5000


# --- guarantees under any history -----------------------------------------------------------

OUTCOMES = st.sampled_from(["served", "rejected", "retry after", "late", "failed", "raises", None])
CALLS = st.lists(
    st.tuples(
        st.floats(0, 5),  # arrives
        st.floats(0, 3),  # takes
        OUTCOMES,
        st.none() | st.floats(0, 6),  # is cancelled, after it arrived
        st.integers(0, 500),  # tokens
    ),
    min_size=1,
    max_size=80,
)
BOUNDS = st.fixed_dictionaries(
    {},
    optional={
        "max_in_flight": st.integers(1, 5),
        "rpm": st.sampled_from([30, 600, 6000]),
        "tpm": st.sampled_from([60, 6000, 600_000]),
    },
)


@settings(max_examples=100, deadline=None)
@given(CALLS, BOUNDS)
def test_no_slot_is_lost_none_is_doubled_and_nobody_waits_for_ever(calls, bounds):
    """Any history of arrivals, outcomes and cancellations; a deadlock would stop the clock."""
    admitted, arrived = [], []

    async def main():
        through = gate(**bounds)
        in_flight = 0

        async def one(index, arrives, takes, outcome, tokens):
            nonlocal in_flight
            await asyncio.sleep(arrives)
            arrived.append(index)
            with await through.enter(tokens) as call:
                admitted.append(index)
                in_flight += 1
                assert in_flight <= through.in_flight
                assert in_flight <= bounds.get("max_in_flight", 10**9)
                try:
                    await asyncio.sleep(takes)
                    if outcome == "raises":
                        raise ValueError
                    if outcome == "retry after":
                        call.rejected(2.5)
                    elif outcome is not None:
                        getattr(call, outcome)()
                finally:
                    in_flight -= 1

        tasks = []
        for index, (arrives, takes, outcome, cancelled, tokens) in enumerate(calls):
            task = asyncio.create_task(one(index, arrives, takes, outcome, tokens))
            tasks.append(task)
            if cancelled is not None:
                asyncio.get_running_loop().call_later(arrives + cancelled, task.cancel)
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(end) for end in ends} <= {type(None), ValueError, asyncio.CancelledError}
        await asyncio.sleep(LONGEST_REST_S)
        assert through.in_flight == in_flight == 0
        assert through.waiting == 0
        assert through.limit >= 1
        async with asyncio.timeout(3600):  # it still lets calls in
            with await through.enter(10**6):
                pass

    run(main())
    assert len(admitted) == len(set(admitted))
    positions = [arrived.index(index) for index in admitted]
    assert positions == sorted(positions)  # first come, first served


@pytest.mark.parametrize("seed", range(20))
def test_a_call_cancelled_in_the_moment_it_is_let_in_gives_its_slot_on(seed):
    async def main():
        through = gate(max_in_flight=1)
        draw = random.Random(seed)
        order = []

        async def one(index):
            with await through.enter():
                order.append(index)
                await asyncio.sleep(0)

        tasks = [asyncio.create_task(one(index)) for index in range(20)]
        for _ in range(60):
            await asyncio.sleep(0)
            draw.choice(tasks).cancel()
        async with asyncio.timeout(60):
            await asyncio.gather(*tasks, return_exceptions=True)
        assert through.in_flight == 0
        assert order == sorted(order)

    run(main())
