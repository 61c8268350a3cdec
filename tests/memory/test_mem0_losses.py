"""Which facts are lost where Mem0 deletes what they contradict, and which are not."""

from __future__ import annotations

from typing import Any

import pytest
from rule_bench import RuleBench, RuleModel

from agemem_eval.baselines.longterm import Exchange
from agemem_eval.baselines.mem0 import Mem0, denies, lost, says

KETTLE, KEY = "The kettle in the north kitchen is broken.", "The spare key lies under the pot."
MENDED = "The kettle in the north kitchen works again."


def said(*facts: str) -> dict[str, Any]:
    return {"facts": list(facts)}


def one(operation: str, id_: str | None = None) -> dict[str, Any]:
    return {"operation": operation, "id": id_, "text": ""}


def all_of(*events: tuple[str, str | None, str]) -> dict[str, Any]:
    return {"memory": [{"event": e, "id": i, "text": t} for e, i, t in events]}


def add_all(work: dict[str, Any]) -> dict[str, Any]:
    return all_of(*(("ADD", None, fact) for fact in work["facts"]))


async def started(profile: str = "paper", **rules: Any) -> RuleBench:
    model = RuleModel(**{"decide_one": one("ADD"), "decide": add_all, **rules})
    return await RuleBench(Mem0, model, profile=profile).begin()


async def tell(bench: RuleBench, *texts: str) -> None:
    for text in texts:
        bench.trace.step += 1
        await bench.memory.remember(Exchange(text, "look", bench.trace.step))


@pytest.mark.parametrize("profile", ["paper", "oss-1.0"])
@pytest.mark.parametrize(
    ("held", "fact", "is_lost"),
    [
        ([KETTLE], MENDED, True),
        ([KETTLE, f"Since noon: {MENDED}"], MENDED, False),  # another memory says it
        ([KETTLE], f"No longer: {KETTLE}", False),  # nothing is left to store
        ([KETTLE], "The kettle in the north kitchen is not broken any more.", False),
        ([KETTLE], "The kettle in the north kitchen is not broken but cold.", True),
        ([KEY], f"No longer: {KETTLE}", True),  # not what was deleted
    ],
)
async def test_a_fact_is_lost_where_nothing_says_it_and_it_says_more_than_a_denial(
    profile: str, held: list[str], fact: str, is_lost: bool
) -> None:
    def gone(work: dict[str, Any]) -> dict[str, Any]:
        id_, text = next((m["id"], m["text"]) for m in work["memories"] if m["text"] == held[0])
        return one("DELETE", id_) if work["do"] == "decide_one" else all_of(("DELETE", id_, text))

    bench = await started(profile, extract_facts=[said(*held), said(fact)])
    await tell(bench, "A kitchen.")
    bench.model.rules = {**bench.model.rules, "decide_one": gone, "decide": gone}
    await tell(bench, "Something changed.")
    assert bench.contents() == held[1:]
    assert bench.faults() == [("contradiction_lost", fact)] * is_lost


@pytest.mark.parametrize(
    ("fact", "text", "expected"),
    [
        ("No longer: b6 is clear.", "b6 is clear", True),
        ("The hand doesn't hold b1.", "The hand holds b1.", True),
        ("The hand doesn’t hold b1.", "The hand holds b1 and b2.", True),
        ("There is no key in the safe.", "There is a key in the safe.", True),
        ("The key is not in the safe.", "The key is in the drawer.", False),
        ("The key is in the safe.", "The key is not in the safe.", False),  # it affirms
        ("No!", "The key is in the safe.", False),
        ("", "The key is in the safe.", False),
    ],
)
def test_a_denial_is_what_a_text_says_with_words_of_denial(
    fact: str, text: str, expected: bool
) -> None:
    assert denies(fact, text) is expected
    assert lost([fact], held=[], deleted=[text]) == ([] if expected else [fact])
    assert says(text, text)
    assert lost([fact, text], held=[text, fact], deleted=[]) == []


async def test_a_fact_lost_in_a_deletion_is_counted_and_one_that_is_stored_is_not() -> None:
    for events, expected in (
        ([("DELETE", "0", KETTLE)], [MENDED]),
        ([("DELETE", "0", KETTLE), ("ADD", None, MENDED)], []),
        ([("DELETE", "0", KETTLE), ("ADD", None, f"Since step 2: {MENDED}")], []),
        ([("DELETE", "0", KETTLE), ("UPDATE", "9", MENDED)], [MENDED]),  # said, and not done
        ([("UPDATE", "0", MENDED)], []),
        ([("NONE", "0", KETTLE)], []),
    ):
        bench = await started(
            "oss-1.0",
            extract_facts=[said(KETTLE), said(MENDED)],
            decide=[add_all({"facts": [KETTLE]}), all_of(*events)],
        )
        await tell(bench, "You see a kettle.", "It works.")
        assert [text for op, text in bench.faults() if op == "contradiction_lost"] == expected, (
            events
        )


async def test_a_fact_that_a_memory_says_already_is_not_lost_in_a_deletion() -> None:
    bench = await started(
        "oss-1.0",
        extract_facts=[said(KETTLE, KEY), said(KEY)],
        decide=[add_all({"facts": [KETTLE, KEY]}), all_of(("DELETE", "1", KETTLE))],
    )
    await tell(bench, "A kitchen.", "A key.")
    assert bench.contents() == [KEY]
    assert not bench.faults()
