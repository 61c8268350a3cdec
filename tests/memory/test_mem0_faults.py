"""Mem0 and Mem0g with a model that answers anything at all: nothing breaks, all is counted."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rule_bench import RuleBench, RuleModel

from agemem_eval.baselines.longterm import Exchange
from agemem_eval.baselines.mem0 import MAX_MESSAGE, MAX_RECENT, Mem0
from agemem_eval.baselines.mem0_prompts import MAX_FACTS
from agemem_eval.baselines.mem0g import Mem0g
from agemem_eval.harness.errors import ModelError

KINDS = (
    "extract_facts", "decide", "decide_one", "entities", "relations", "conflicts", "summarise",
)  # fmt: skip
GOOD: dict[str, Any] = {
    "extract_facts": {"facts": ["The key is under the pot.", "The kettle is broken."]},
    "decide_one": {"operation": "ADD", "id": None, "text": ""},
    "decide": lambda work: {"memory": [{"event": "ADD", "text": fact} for fact in work["facts"]]},
    "entities": {"entities": [{"name": "key", "type": "thing"}, {"name": "pot", "type": "place"}]},
    "relations": {"relations": [{"source": "key", "relation": "is under", "target": "pot"}]},
    "conflicts": {"obsolete": []},
    "summarise": "S",
}
BACKENDS = [(Mem0, "paper"), (Mem0, "oss-1.0"), (Mem0g, "paper"), (Mem0g, "oss-1.0")]


async def told(make: Any, profile: str, n: int = 2, **rules: Any) -> RuleBench:
    bench = await RuleBench(make, RuleModel(**{**GOOD, **rules}), profile=profile).begin()
    for step in range(n):
        bench.trace.step = step + 1
        await bench.memory.remember(Exchange("The key is under the pot.", "look", step))
    return bench


def check(bench: RuleBench) -> None:
    """Whatever was answered, what is held is sound, and survives a snapshot."""
    entries = bench.memory.entries()
    json.dumps(entries, allow_nan=False).encode()
    assert all(entry["content"].strip() for entry in entries)
    assert len({entry["id"] for entry in entries}) == len(entries)
    bench.memory.restore(bench.memory.snapshot())
    assert bench.memory.entries() == entries
    write = bench.ledger.roles["memory_write"]
    assert write.calls == len(bench.model.requests)


@pytest.mark.parametrize(("make", "profile"), BACKENDS)
@pytest.mark.parametrize("text", ["", "I am a poet, not JSON.", '{"facts": ["x"', "[]", "{}"])
async def test_what_is_no_reply_is_asked_for_once_more_then_skipped_and_counted(
    make: Any, profile: str, text: str
) -> None:
    for kind in KINDS[:-1]:
        bench = await told(make, profile, **{kind: text})
        asked = len(bench.model.asked(kind))
        assert asked % 2 == 0  # each is repaired once, and no more often
        op = "decide" if kind == "decide_one" else kind
        assert [fault for fault, _ in bench.faults()] == [op] * (asked // 2)
        check(bench)


@pytest.mark.parametrize(("make", "profile"), BACKENDS)
async def test_a_reply_that_is_mended_counts_as_a_reply(make: Any, profile: str) -> None:
    good = GOOD["extract_facts"]
    bench = await told(make, profile, 1, extract_facts=["no JSON", good])
    assert len(bench.model.asked("extract_facts")) == 2
    assert bench.contents()[:2] == good["facts"]
    assert not bench.faults()


@pytest.mark.parametrize(("make", "profile"), BACKENDS)
async def test_of_ten_thousand_facts_the_first_few_are_taken_and_the_rest_counted(
    make: Any, profile: str
) -> None:
    many = {"facts": [f"Fact {n}." for n in range(10_000)]}
    bench = await told(make, profile, 1, extract_facts=many)
    facts = [e["content"] for e in bench.memory.entries() if e["metadata"].get("kind") is None]
    assert facts == many["facts"][:MAX_FACTS]
    assert bench.faults() == [("fact_limit", f"{10_000 - MAX_FACTS} of 10000 items are too many")]


async def test_of_ten_thousand_events_as_many_are_taken_as_there_are_facts_and_memories() -> None:
    flood = {"memory": [{"event": "ADD", "text": f"Invented {n}."} for n in range(10_000)]}
    bench = await told(Mem0, "oss-1.0", 1, decide=flood)
    assert len(bench.contents()) == MAX_FACTS
    assert [op for op, _ in bench.faults()] == ["event_limit"]


async def test_ten_thousand_entities_relations_and_conflicts_are_limited_too() -> None:
    names = [f"thing {chr(97 + n % 26)}{n}" for n in range(10_000)]
    bench = await told(
        Mem0g,
        "oss-1.0",
        entities={"entities": [{"name": name, "type": "t"} for name in names]},
        relations={
            "relations": [
                {"source": a, "relation": "touches", "target": b} for a, b in pairwise(names)
            ]
        },
        conflicts={"obsolete": [str(n) for n in range(10_000)]},
    )
    assert len(bench.memory._graph.nodes()) <= MAX_FACTS
    ops = [op for op, _ in bench.faults()]
    assert ops.count("entity_limit") == ops.count("relation_limit") == 2
    check(bench)


@pytest.mark.parametrize(("make", "profile"), BACKENDS)
async def test_empty_facts_and_things_that_are_no_facts_are_never_stored(
    make: Any, profile: str
) -> None:
    facts = ["", "  ", None, 3, ["x"], {"fact": ""}, {"text": "A key."}, {"fact": "A pot."}]
    bench = await told(make, profile, 1, extract_facts={"facts": facts})
    assert bench.contents()[:2] == ["A key.", "A pot."]
    assert [op for op, _ in bench.faults()] == ["fact"] * 6


async def test_a_message_too_long_to_read_is_cut_and_that_is_counted() -> None:
    bench = await told(Mem0g, "paper", 0)
    await bench.memory.remember(Exchange("word " * MAX_MESSAGE, None, 0))
    (work,) = bench.model.asked("extract_facts")
    assert len(work["messages"][0]["content"]) < MAX_MESSAGE + 40
    assert work["messages"][0]["content"].endswith("[… 80000 characters cut]")
    assert [op for op, _ in bench.faults()] == ["message"]
    await bench.memory.remember(Exchange("A door.", None, 1))
    (before,) = bench.model.asked("extract_facts")[1]["recent"]
    assert before["content"].startswith(("word " * MAX_RECENT)[:MAX_RECENT] + " [… ")
    assert len(before["content"]) < MAX_RECENT + 40


async def test_a_message_too_long_is_counted_once_though_it_is_a_query_before() -> None:
    bench = await told(Mem0g, "paper", 1)
    long = "The key is under the pot. " * MAX_MESSAGE
    await bench.read("A room.", long, "A door.")
    assert max(len(work["text"]) for work in bench.model.asked("entities")) < MAX_MESSAGE + 60
    assert [op for op, _ in bench.faults()] == ["message"]
    query = [r for r in bench.model.requests if r.work and r.work.get("text", "")[:9] == long[:9]]
    assert len(query) >= 2  # as a query, and as a message


@pytest.mark.parametrize(("make", "profile"), BACKENDS)
async def test_a_failing_endpoint_is_no_fault_of_the_memory(make: Any, profile: str) -> None:
    with pytest.raises(ModelError):
        await told(make, profile, extract_facts=ModelError("the endpoint is gone"))


KEYS = st.sampled_from(
    ["facts", "fact", "memory", "event", "id", "text", "operation", "entities", "name", "type",
     "relations", "source", "relation", "target", "obsolete"]
)  # fmt: skip
WORDS = st.sampled_from(
    ["0", "1", "ADD", "UPDATE", "DELETE", "NONE", "NOOP", "key", "pot", "", " ", "\ud800", "\x00"]
)
VALUES = st.recursive(
    WORDS | st.none() | st.booleans() | st.integers(-2, 40) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=12,
)
ITEMS = {
    "extract_facts": st.fixed_dictionaries({"facts": st.lists(WORDS | VALUES, max_size=5)}),
    "decide_one": st.fixed_dictionaries({"operation": WORDS, "id": VALUES, "text": WORDS}),
    "decide": st.fixed_dictionaries(
        {"memory": st.lists(st.fixed_dictionaries({"event": WORDS, "id": WORDS, "text": WORDS}))}
    ),
    "entities": st.fixed_dictionaries(
        {"entities": st.lists(st.fixed_dictionaries({"name": WORDS, "type": WORDS}) | VALUES)}
    ),
    "relations": st.fixed_dictionaries(
        {
            "relations": st.lists(
                st.fixed_dictionaries({"source": WORDS, "relation": WORDS, "target": WORDS})
            )
        }
    ),
    "conflicts": st.fixed_dictionaries({"obsolete": st.lists(WORDS | VALUES)}),
    "summarise": VALUES,
}


@pytest.mark.parametrize(("make", "profile"), BACKENDS)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_any_json_at_all_leaves_a_sound_memory(make: Any, profile: str, data: Any) -> None:
    def answer(work: dict[str, Any]) -> str:
        value = data.draw(ITEMS[work["do"]] | VALUES)
        return data.draw(st.sampled_from(["{}", "```json\n{}\n```"])).format(json.dumps(value))

    async def run() -> None:
        bench = await told(make, profile, 6, **dict.fromkeys(KINDS, answer))
        check(bench)

    asyncio.run(run())
