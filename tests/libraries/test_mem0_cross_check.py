"""Our Mem0 in its profile `oss-1.0` against the library mem0ai 1.0.11, on one conversation.

The same server answers both by rules that look at the content alone. What it is shown when it
decides, what is stored in the end and how many calls each exchange takes must be the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from library_bench import GARBLED, Clerk, Life, conversation

from agemem_eval.baselines.mem0 import Mem0
from agemem_eval.baselines.mem0_lib import Mem0Library
from agemem_eval.harness.models.openai import OpenAIModel
from agemem_eval.harness.testserver import ChatServer

pytestmark = pytest.mark.libraries


@asynccontextmanager
async def lives(clerk: Clerk, *, real: bool) -> AsyncIterator[tuple[Life, ChatServer]]:
    make: Callable[..., Mem0 | Mem0Library] = Mem0Library if real else Mem0
    options = {} if real else {"profile": "oss-1.0"}
    async with ChatServer(clerk) as server:
        model = OpenAIModel("m", base_url=server.url, max_retries=0)
        life = await Life(make, model, **options).begin()
        try:
            yield life, server
        finally:
            await life.memory.close()
            await model.close()


@pytest.mark.parametrize("seed", range(4))
async def test_library_and_reimplementation_agree_on_a_conversation(seed: int) -> None:
    results = []
    for real in (True, False):
        clerk = Clerk()
        async with lives(clerk, real=real) as (life, server):
            calls = [await life.tell(*pair) for pair in conversation(seed)]
            found = await life.memory.retrieve("The lantern of Zorla", 5)
            hits = [(entry.content, round(score, 5)) for entry, score in found]
            events = [(e["op"], e["content"]) for e in life.meter.trace.of("memory")]
            assert server.served.calls == life.calls == sum(calls)
            results.append((life.texts(), calls, clerk.decisions, hits, events, life.faults))
    library, ours = results
    assert library[1] == ours[1], "model calls of each exchange"
    assert library[2] == ours[2], "facts and candidates shown for a decision, with their ids"
    assert library[4] == ours[4], "operations in their order"
    assert library[0] == ours[0], "stored memories"
    assert library[3] == ours[3], "search"
    assert Counter(library[5]) == Counter(ours[5]), "what was skipped or lost"
    assert len(library[0]) > 5
    assert {"update", "delete"} <= {op for op, _ in library[4]}
    assert {1, 2} == set(library[1])


@pytest.mark.parametrize("real", [True, False])
async def test_made_up_ids_numbers_as_ids_and_events_without_text_do_nothing(real: bool) -> None:
    async with lives(Clerk(), real=real) as (life, _):
        await life.tell("The lantern of Zorla is amber.")
        for owner, n_faults in (("Zghost", 2), ("Znumber", 1), ("Zmute", 1), ("Zodd", 3)):
            before = len(life.faults)
            assert await life.tell(f"The oracle of {owner} is amber.") == 2
            assert len(life.faults) - before == n_faults
        assert life.texts() == ["The lantern of Zorla is amber."]


@pytest.mark.parametrize("real", [True, False])
async def test_an_extraction_that_is_no_json_stores_nothing_and_asks_for_no_decision(
    real: bool,
) -> None:
    clerk = Clerk()
    async with lives(clerk, real=real) as (life, _):
        calls = await life.tell(f"{GARBLED} The lantern of Zorla is amber.")
        assert calls == (1 if real else 2)  # ours asks once more, the library never does
        assert life.faults == ["extract_facts"]
        assert not life.texts()
        assert not clerk.decisions


@pytest.mark.parametrize("real", [True, False])
async def test_a_decision_that_is_no_json_changes_nothing(real: bool) -> None:
    async with lives(Clerk(garble_decisions=True), real=real) as (life, _):
        assert await life.tell("The lantern of Zorla is amber.") == (2 if real else 3)
        assert life.faults == ["decide"]
        assert not life.texts()


@pytest.mark.parametrize("real", [True, False])
async def test_an_exchange_without_facts_takes_one_call(real: bool) -> None:
    clerk = Clerk()
    async with lives(clerk, real=real) as (life, _):
        assert await life.tell("Nothing to report.") == 1
        assert not life.faults
        assert not clerk.decisions
