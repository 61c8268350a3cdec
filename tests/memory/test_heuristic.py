"""The memory model of rules: what it answers to, what it refuses, and that nothing upsets it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agemem_eval.baselines.heuristic import HeuristicModel
from agemem_eval.harness.errors import UsageError
from agemem_eval.harness.ledger import Role
from agemem_eval.harness.models import make_model
from agemem_eval.harness.types import ChatMessage, Completion, Request, Sampling

FORMS: dict[str, dict[str, type]] = {
    "extract_facts": {"facts": list},
    "decide": {"memory": list},
    "decide_one": {"operation": str, "text": str},
    "entities": {"entities": list},
    "relations": {"relations": list},
    "conflicts": {"obsolete": list},
    "note": {"keywords": list, "context": str, "tags": list},
    "evolve": {"links": list, "tags": list, "updates": list},
    "manage": {"insert": list, "patch": list, "remove": list},
}


def complete(work: Any, role: Role = Role.MEMORY_WRITE, max_tokens: int = 4096) -> Completion:
    messages = [ChatMessage("user", "Please.")]
    request = Request(messages, Sampling(max_tokens=max_tokens), role, work=work)
    return asyncio.run(HeuristicModel().generate(request))


def ask(do: str, max_tokens: int = 4096, **work: Any) -> Any:
    return json.loads(complete({"do": do, **work}, max_tokens=max_tokens).text)


def test_it_is_found_by_name_and_says_what_it_is() -> None:
    model = make_model("heuristic")
    assert isinstance(model, HeuristicModel)
    assert model.info.name == "heuristic (rules)"
    assert model.info.writes
    assert not model.info.oracle
    assert model.info.identity["provider"] == "heuristic"


def test_a_name_is_refused() -> None:
    with pytest.raises(UsageError, match="takes no name"):
        make_model("heuristic:large")


@pytest.mark.parametrize(
    ("work", "role"),
    [
        ({"do": "note", "content": "Bob is in Oslo."}, Role.AGENT),
        (None, Role.MEMORY_WRITE),
        ({}, Role.MEMORY_WRITE),
        ({"do": "dance"}, Role.MEMORY_READ),
        ({"do": ["note"]}, Role.MEMORY_WRITE),
        ({"do": None}, Role.JUDGE),
        (None, Role.JUDGE),
    ],
)
def test_what_it_cannot_do_is_refused_in_one_line(work: Any, role: Role) -> None:
    with pytest.raises(UsageError) as caught:
        complete(work, role)
    assert "\n" not in str(caught.value)
    assert "choose another" in str(caught.value)


def test_usage_is_estimated() -> None:
    usage = complete({"do": "note", "content": "Bob is in Oslo."}).usage
    assert usage.estimated
    assert usage.prompt_tokens > 0
    assert usage.completion_tokens > 0


def test_a_summary_is_plain_text_within_its_limit() -> None:
    texts = [f"Room {n} holds a lamp and a chair. Room {n} is dark." for n in range(50)]
    text = complete({"do": "summarise", "texts": texts, "max_tokens": 40}).text
    assert text.startswith("Room")
    assert HeuristicModel().count_tokens(text) <= 60


def test_an_answer_is_never_longer_than_allowed_and_still_json() -> None:
    talk = "\n".join(f"“Town {n}”:\nIt was founded in {1800 + n} by Bob Miller." for n in range(99))
    messages = [{"role": "user", "content": talk}]
    whole = ask("extract_facts", messages=messages)["facts"]
    for limit in (20, 100, 500):
        text = complete({"do": "extract_facts", "messages": messages}, max_tokens=limit).text
        facts = json.loads(text)["facts"]
        assert HeuristicModel().count_tokens(text) <= limit
        assert facts == whole[: len(facts)]
    assert len(whole) == 99


# --- whatever is sent ------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=5,
)
VOCABULARY = (
    "the of Alice Bob was is in on at born 1999 mug 2 drawer 3 “Oslo” : . , ; ? not and The It You "
    "see a Now: No longer: b1 holds founded by directed I My name ( ) 's [0] River no longer You "
    "arrive On carry open closed \ud800 \x00 — wrong forget said"
)
WORDS = st.lists(st.sampled_from([*VOCABULARY.split(" "), "\n"]), max_size=40).map(" ".join)
TEXT = st.text(max_size=80) | WORDS
ITEM = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from(["0", "1", 0, 1, None, "", True, "x"]),
        **dict.fromkeys(
            ("text", "content", "context", "source", "relation", "target", "name"), TEXT | JSON
        ),
        "role": st.sampled_from(["user", "assistant", "system", None]),
        **dict.fromkeys(("keywords", "tags"), st.lists(TEXT, max_size=3) | JSON),
    },
)
FIELDS = {
    "extract_facts": ["messages"],
    "decide": ["facts", "memories"],
    "decide_one": ["fact", "memories"],
    "entities": ["text"],
    "relations": ["text", "entities"],
    "conflicts": ["new", "existing"],
    "note": ["content"],
    "evolve": ["note", "neighbours"],
    "manage": ["messages", "memories", "deletes"],
    "summarise": ["texts", "max_tokens"],
}
ANY = ITEM | st.lists(ITEM | TEXT, max_size=3) | TEXT | JSON
WORK = st.sampled_from(list(FIELDS)).flatmap(
    lambda do: st.fixed_dictionaries({"do": st.just(do)}, optional=dict.fromkeys(FIELDS[do], ANY))
)


@settings(max_examples=60, deadline=None)
@given(WORK)
def test_any_work_is_answered_in_its_form(work: dict[str, Any]) -> None:
    text = complete(work).text
    text.encode()
    if work["do"] != "summarise":
        answer = json.loads(text)
        for name, kind in FORMS[work["do"]].items():
            assert isinstance(answer[name], kind)


@settings(max_examples=40, deadline=None)
@given(st.lists(TEXT, max_size=4), st.lists(ITEM, max_size=5))
def test_only_ids_that_were_shown_come_back(texts: list[str], items: list[Any]) -> None:
    shown = {str(i["id"]) for i in items if isinstance(i.get("id"), (str, int)) and i["id"] != ""}
    said = [{"role": "user", "content": text} for text in texts]
    told = ask("decide", facts=texts, memories=items)["memory"]
    assert {event["id"] for event in told if event["id"] is not None} <= shown
    managed = ask("manage", messages=said, memories=items, deletes=True)
    assert {patch["id"] for patch in managed["patch"]} | {*managed["remove"]} <= shown
    evolved = ask("evolve", note={"content": " ".join(texts)}, neighbours=items)
    assert {*evolved["links"]} | {update["id"] for update in evolved["updates"]} <= shown
    touched = [e["id"] for e in told if e["event"] in ("UPDATE", "DELETE")]
    assert len(touched) == len(set(touched))


# --- long texts ------------------------------------------------------------------------------


def long_texts(n: int) -> dict[str, str]:
    return {
        "capitals": "A " * n,
        "one word": "A" * 5 * n,
        "one lower word": "a" * 5 * n,
        "dots": "." * 5 * n,
        "quotes": "“" * n,
        "links": "Alpha of the " * (n // 3),
        "members": "Now: " + "x1 and " * (n // 2) + "are in y",
        "list": "On the shelf 1, you see " + "a mug 1, " * n,
        "digits": "1," * n,
        "leads": "“A”:\n" * n,
        "rooms": "This room is called the x.\n" * (n // 5),
        "spaces": "You see" + " " * 5 * n,
        "abbreviations": "Mr. " * n,
        "possessives": "A's " * n,
        "denials": "X is, not " * n,
        "objects": "mug 1 " * n,
        "short sentences": "Bob is in Oslo. " * (n // 4),
        "paragraph": "“X”:\n" + "It was built in 1999 by Bob.\n" * (n // 6),
        "tags": "<think>" * n,
    }


@pytest.mark.parametrize("name", long_texts(10))
def test_ten_thousand_words_of_any_kind_take_no_time(name: str) -> None:
    text = long_texts(10_000)[name]
    started = time.process_time()
    ask("extract_facts", messages=[{"role": "user", "content": text}])
    ask("relations", text=text)
    ask("entities", text=text)
    ask("note", content=text)
    ask("decide", facts=[text], memories=[{"id": "0", "text": text}])
    assert time.process_time() - started < 20  # a quadratic rule takes minutes, these a second


# --- determinism -----------------------------------------------------------------------------

_SCRIPT = """
import asyncio, json, sys
from agemem_eval.baselines.heuristic import HeuristicModel
from agemem_eval.harness.ledger import Role
from agemem_eval.harness.types import ChatMessage, Request, Sampling
for work in json.load(sys.stdin):
    request = Request([ChatMessage("user", "x")], Sampling(4096), Role.MEMORY_WRITE, work=work)
    print(asyncio.run(HeuristicModel().generate(request)).text)
"""


def test_answers_do_not_depend_on_the_hash_seed() -> None:
    talk = (
        "This is about “Silver Heron”:\nIt was built in 1990 by Bob Hill and Ann Lee.\n"
        "The ship was launched in Oslo."
    )
    note = {"content": talk, "keywords": ["Oslo", "ship", "Bob Hill"], "tags": ["ship", "place"]}
    neighbours = [{"id": str(n), **note} for n in range(4)]
    works = [
        {"do": "extract_facts", "messages": [{"role": "user", "content": talk}]},
        {"do": "note", "content": talk},
        {"do": "entities", "text": talk},
        {"do": "relations", "text": talk},
        {"do": "evolve", "note": note, "neighbours": neighbours},
        {"do": "manage", "messages": [{"role": "user", "content": talk}], "memories": []},
    ]
    outputs = {
        subprocess.run(
            [sys.executable, "-c", _SCRIPT],
            input=json.dumps(works),
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert "Silver Heron" in outputs.pop()
