"""What becomes of facts among memories, of triples among triples, of notes among notes."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from agemem_eval.baselines.heuristic.decisions import decide, decide_one
from agemem_eval.baselines.heuristic.graph import conflicts, entities, relations
from agemem_eval.baselines.heuristic.managing import manage
from agemem_eval.baselines.heuristic.notes import evolve, note


def shown(*texts: str) -> list[dict[str, str]]:
    return [{"id": str(n), "text": text} for n, text in enumerate(texts)]


OTHERS = ("Ann Lee studied law.", "The mug 1 is on the shelf 1.", "Oslo lies on the Lask River.")


@pytest.mark.parametrize(
    ("fact", "memory", "event", "text"),
    [
        ("Bob was born in Oslo.", "bob was born in Oslo", "NONE", "bob was born in Oslo"),
        ("The mug 2 is on shelf 1.", "The mug 2 is in drawer 3.", "UPDATE", None),
        ("You carry the mug 2.", "The mug 2 is in drawer 3.", "UPDATE", None),
        ("The drawer 3 is open.", "The drawer 3 is closed.", "UPDATE", None),
        ("The mug 2 is on the shelf 9.", "The shelf 9 holds nothing.", "UPDATE", None),
        ("The shelf 9 holds nothing.", "The mug 2 is on the shelf 9.", "UPDATE", None),
        ("I live in Paris.", "I moved to Oslo.", "UPDATE", None),
        ("My favourite colour is red.", "My favourite colour is blue.", "UPDATE", None),
        (
            "Vonda Works was founded in 1824, not 1842.",
            "Founded in 1842, Vonda Works is a company of middling size.",
            "UPDATE",
            "Vonda Works was founded in 1824.",
        ),
        (
            "Bob Hill was born in 1901, not 1910.",
            "Bob Hill (born 1910) is a noted illustrator.",
            "UPDATE",
            "Bob Hill (born 1901) is a noted illustrator.",
        ),
        (
            "Bob Hill is best remembered as an explorer, not illustrator.",
            "Bob Hill (born 1910) is a noted illustrator.",
            "UPDATE",
            "Bob Hill (born 1910) is a noted explorer.",
        ),
        (
            "Kay Hill is The Vonda Four's lead singer, not Eve Dun.",
            "The Vonda Four is fronted by Eve Dun.",
            "UPDATE",
            "Kay Hill is The Vonda Four's lead singer.",
        ),
        ("No longer: b3 is clear.", "b3 is clear.", "DELETE", "b3 is clear."),
        ("b3 is clear.", "No longer: b3 is clear.", "UPDATE", "b3 is clear."),
        ("Eve Dun no longer works at Acme.", "Eve Dun works at Acme.", "DELETE", None),
        # What is like it, but does not exclude it.
        ("Bob Hill was born in 1901.", "Bob Hill was born in Bergen.", "ADD", None),
        ("Bob Hill knows Eve Dun.", "Bob Hill knows Kay Moor.", "ADD", None),
        ("The drawer 3 is open.", "The drawer 2 is closed.", "ADD", None),
        ("The mug 2 is clean.", "The mug 2 is hot.", "ADD", None),
        ("shaker1 contains water2.", "shaker1 contains gin1.", "ADD", None),
        ("Eve Dun wrote Days in Lund.", "Eve Dun wrote Rain over Lund.", "ADD", None),
    ],
)
def test_a_fact_finds_the_memory_it_agrees_with_or_excludes(
    fact: str, memory: str, event: str, text: str | None
) -> None:
    for memories in permutations(shown(*OTHERS, memory)):
        (decision,) = decide([fact], list(memories))
        assert decision.event == event
        assert decision.id == (None if event == "ADD" else "3")
        if text is not None:
            assert decision.text == text
        one = decide_one(fact, list(memories))
        expected = "NOOP" if event == "NONE" else event
        assert (one["operation"], one["id"], one["text"]) == (expected, decision.id, decision.text)


def test_copies_of_what_is_wrong_go_with_it() -> None:
    memories = shown("The mug 2 is on shelf 1.", "Bob is tall.", "The mug 2 is in drawer 3.")
    first, second = decide(["The mug 2 is in the safe 1."], memories)
    assert (first.event, second.event) == ("UPDATE", "DELETE")
    assert {first.id, second.id} == {"0", "2"}


def test_a_memory_is_changed_once_and_a_fact_told_twice_is_added_once() -> None:
    facts = ["The mug 2 is on shelf 1.", "the mug 2 is on the shelf 1", "You carry the mug 2."]
    events = [(d.event, d.id) for d in decide(facts, shown("The mug 2 is in drawer 3."))]
    assert events == [("UPDATE", "0"), ("NONE", None), ("ADD", None)]


def test_empty_hands_are_news_only_after_full_ones() -> None:
    assert decide(["You carry nothing."], [])[0].event == "NONE"
    assert decide(["You carry nothing."], shown("You carry the key."))[0].event == "UPDATE"


# --- graphs ----------------------------------------------------------------------------------

PARAGRAPH = (
    "This is about “The Vonda Star”:\nIt was launched in 2004.\nIts first captain was Eve Dun.\n"
    "It was built by Hill & Sons.\n\nThis is about “Eve Dun”:\nShe studied at Lund College."
)


def test_entities_have_types_and_relations_lie_between_them() -> None:
    found = entities(PARAGRAPH)
    types = {entity["name"]: entity["type"] for entity in found}
    assert types == {
        "The Vonda Star": "thing",
        "2004": "year",
        "Eve Dun": "person",
        "Hill & Sons": "organisation",
        "Lund College": "organisation",
    }
    triples = {(t["source"], t["relation"], t["target"]) for t in relations(PARAGRAPH, found)}
    assert triples == {
        ("The Vonda Star", "launched in the year", "2004"),
        ("The Vonda Star", "captained by", "Eve Dun"),
        ("The Vonda Star", "built by", "Hill & Sons"),
        ("Eve Dun", "educated at", "Lund College"),
    }
    some = [e for e in found if e["name"] != "Eve Dun"]
    assert all("Eve Dun" not in t.values() for t in relations(PARAGRAPH, some))


def test_a_question_names_its_entities() -> None:
    query = "At which institution did the first captain of the ship The Vonda Star study?"
    assert [e["name"] for e in entities(query)] == ["The Vonda Star"]
    assert [e["name"] for e in entities("Where is the mug 2?")] == ["mug 2"]


def triple(source: str, relation: str, target: str, id_: Any = None) -> dict[str, Any]:
    return {"id": id_, "source": source, "relation": relation, "target": target}


@pytest.mark.parametrize(
    ("new", "old", "excluded"),
    [
        (("mug 2", "is in", "safe 1"), ("The mug 2", "is on", "shelf 1"), True),
        (("mug 2", "is at", "safe 1"), ("mug 2", "located_in", "safe 1"), False),
        (("Eve Dun", "born in", "Lund"), ("Eve Dun", "was born in", "Oslo"), True),
        (("Eve Dun", "born in", "Lund"), ("Eve Dun", "born in the year", "1901"), False),
        (("drawer 3", "is", "open"), ("drawer 3", "is", "closed"), True),
        (("drawer 3", "is", "open"), ("drawer 3", "is", "clean"), False),
        (("b3", "is", "not clear"), ("b3", "is", "clear"), True),
        (("Eve Dun", "knows", "Bob"), ("Eve Dun", "knows", "Kay"), False),
        (("shelf 1", "holds", "nothing"), ("mug 2", "is at", "shelf 1"), True),
    ],
)
def test_triples_that_exclude_each_other(
    new: tuple[str, str, str], old: tuple[str, str, str], excluded: bool
) -> None:
    others = [triple("mug 9", "is in", "shelf 1", "8"), triple("Bob", "born in", "Rome", "9")]
    others = others if "holds" not in new else others[1:]
    assert conflicts([triple(*new)], [triple(*old, "7"), *others]) == ["7"] * excluded


# --- notes -----------------------------------------------------------------------------------


def noted(id_: str, content: str) -> dict[str, Any]:
    return {"id": id_, "content": content, **note(content)}


def test_a_note_names_what_it_is_about() -> None:
    made = note("You arrive at shelf 1. On the shelf 1, you see a mug 2.\nAction taken then: look")
    assert made["keywords"][:2] == ["mug 2", "shelf 1"]
    assert made["context"] == "The mug 2 is on the shelf 1."
    assert "whereabouts" in made["tags"]
    assert note("Nothing happens.")["tags"] == ["failed attempt"]
    assert note("The wool is beige and scratchy. Should I begin again?")["tags"] == ["small talk"]


def test_a_note_links_to_what_shares_its_names_and_corrects_what_it_makes_wrong() -> None:
    neighbours = [
        noted("0", PARAGRAPH),
        noted("1", "Kay Moor lives in Rome."),
        noted("2", "Eve Dun wrote Rain over Lund."),
    ]
    said = "I misread the page on “The Vonda Star”. It was launched in 1999. I said 2004 before."
    reply = evolve(noted("9", said), neighbours)
    assert reply["links"] == ["0"]
    (update,) = reply["updates"]
    assert update["id"] == "0"
    assert update["context"].endswith("Since then: The Vonda Star was launched in 1999.")
    assert "superseded" in update["tags"]
    assert evolve(noted("9", "Eve Dun was seen in Lund."), neighbours)["links"] == ["0", "2"]


# --- typed memories --------------------------------------------------------------------------

MESSAGES = [
    {"role": "user", "content": "You arrive at drawer 3. The drawer 3 is closed."},
    {"role": "assistant", "content": "open drawer 3"},
    {
        "role": "user",
        "content": "You open the drawer 3. The drawer 3 is open. In it, you see a pen 1.",
    },
    {"role": "assistant", "content": "eat pen 1"},
    {"role": "user", "content": "Nothing happens."},
]


def test_facts_experiences_and_failures_are_kept_apart() -> None:
    memories = [{"id": "0", "kind": "semantic", "content": "The drawer 3 is closed."}]
    reply = manage(MESSAGES, memories, False)
    assert reply["patch"] == [{"id": "0", "content": "The drawer 3 is open."}]
    kinds = {(item["kind"], item["content"]) for item in reply["insert"]}
    assert ("semantic", "The pen 1 is in the drawer 3.") in kinds
    assert ("procedural", "“eat pen 1” does not work: Nothing happens.") in kinds
    assert any(k == "episodic" and c.startswith("After “open drawer 3”") for k, c in kinds)
    again = [{"id": str(n), **item} for n, item in enumerate(reply["insert"], 1)]
    assert manage(MESSAGES, [*memories, *again], False)["insert"] == []


def test_nothing_is_removed_unless_it_may_be() -> None:
    messages = [{"role": "user", "content": "Now: b4 is on b3. No longer: b3 is clear."}]
    memories = [{"id": "0", "kind": "semantic", "content": "b3 is clear."}]
    assert manage(messages, memories, True)["remove"] == ["0"]
    kept = manage(messages, memories, False)
    assert kept["remove"] == []
    assert kept["patch"] == [{"id": "0", "content": "No longer: b3 is clear."}]
