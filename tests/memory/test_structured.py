"""What counts as a model's answer in JSON, and what does not."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory_bench import Bench, FakeModel
from pydantic import Field

from agemem_eval.baselines.structured import Reply, ask, read
from agemem_eval.baselines.summary import extract, summarise
from agemem_eval.harness.context import Context, Message
from agemem_eval.harness.ledger import Usage
from agemem_eval.harness.trace import Trace
from agemem_eval.harness.types import ChatMessage, Completion, Request


class Facts(Reply):
    facts: list[str]


class Update(Reply):
    id: str
    context: str = ""
    tags: list[str] = Field(default_factory=list)


class Evolve(Reply):
    """Every key may be left out, and an update has one of them too."""

    links: list[str] = Field(default_factory=list)
    tags: list[str] = Field(default_factory=list)
    updates: list[Update] = Field(default_factory=list)


class Free(Reply):
    facts: Any


KEY = Facts(facts=["The key is red."])
KEY_JSON = '{"facts": ["The key is red."]}'
FORM = '{"facts": ["…", "…"]}'
EVOLVED = {
    "links": ["0"],
    "tags": ["place"],
    "updates": [
        {"id": "0", "context": 'a } or a "{" in it', "tags": ["near"]},
        {"id": "1", "context": 'says \\ and {"tags": ["quoted"]} }}', "tags": ["far"]},
        {"id": "2", "context": "reads </think> {", "tags": []},
    ],
}
STYLES = [{"indent": None}, {"indent": 2}, {"separators": (",", ":")}]


@pytest.mark.parametrize("style", STYLES, ids=["line", "indented", "dense"])
@pytest.mark.parametrize(
    "before", ["", "I think:\n```json\n", "In this {form}: ", "<think>{</think>"]
)
def test_a_reply_cut_off_anywhere_is_never_taken_for_a_whole_one(
    style: dict[str, Any], before: str
) -> None:
    text = json.dumps(EVOLVED, **style)
    assert read(before + text, Evolve) == Evolve(**EVOLVED)
    for cut in range(len(text)):
        assert isinstance(read(before + text[:cut], Evolve), str), text[:cut]


@pytest.mark.parametrize("cut", range(1, len(KEY_JSON)))
def test_an_example_of_the_form_is_not_stored_where_the_answer_after_it_is_cut_off(
    cut: int,
) -> None:
    assert isinstance(read(f"I answer as {FORM}: {KEY_JSON[:cut]}", Facts), str)


def test_an_object_whose_brackets_are_broken_is_not_looked_into() -> None:
    item = '{"id": "1", "context": "x", "tags": ["B"]}'
    for text in (
        f'{{"links": ["0"], "updates": [{item}]',
        f'{{"links": ["0"] "updates": [{item}]}}',
        f'{{"links": [NaN], "updates": [{item}]}}',
        f"{{links: ['0'], updates: [{item}]}}",
        f"{{'links': ['0'], 'updates': [{item}]}}",
        f"[{item}]",
        f"[{item}, {item}",
    ):
        assert isinstance(read(text, Evolve), str), text


@pytest.mark.parametrize(
    "before",
    [
        f"I must answer {FORM}, so:\n",
        'I must answer with {"facts": []} or a list. So:\n',
        'It has the form {"facts": [...]}, hence ',
        '{"facts": "none"} is wrong, this is right: ',
        "As {JSON}: ",
        "{x} then {y} then {z} then ",
        "{} {a: b} {{nested}} [1] [{x}] ",
        '{"thought": "It is red."}\n',
        "```json\n",
        "I could say {} but no.</think>\n",
        'I could say {"facts": []} but no.</think>\n',
        "A stray { in a thought.</think>\n",
        '<think>{"facts": []} or {</think>',
        "a <think> b </think> c { </think>",
        "A smile :-} and ",
    ],
)
@pytest.mark.parametrize(
    "after", ["", "\n```", " I hope {this} helps.", ' {"note": "done"}', "}", "<think>{</think>"]
)
def test_the_last_object_of_the_form_is_the_answer(before: str, after: str) -> None:
    assert read(before + KEY_JSON + after, Facts) == KEY


def test_an_answer_that_does_not_fit_is_not_replaced_by_the_example_before_it() -> None:
    assert isinstance(read(f'{FORM}: {{"facts": "The key is red."}}', Facts), str)
    assert isinstance(read(f'{FORM}: {{"facts": ["The "red" key."]}}', Facts), str)
    assert isinstance(read(f'{FORM}: {{facts: ["The key is red."]}}', Facts), str)
    assert isinstance(read(f"{FORM}: {{{KEY_JSON}}}", Facts), str)
    assert isinstance(read(f"<think>{KEY_JSON}", Facts), str)
    assert isinstance(read(f"{KEY_JSON} but no.</think> I have none.", Facts), str)


@pytest.mark.parametrize("text", ["{}", '{"answer": "none"}', "{} {}", "[]", "null", "", "{", "[{"])
def test_an_object_without_any_key_of_the_form_is_no_answer(text: str) -> None:
    assert isinstance(read(text, Evolve), str)
    assert read('{"links": []}', Evolve) == Evolve()


@pytest.mark.parametrize("tag", ["<think>", "</think>", "<think>a</think>", "a</think>b<think>"])
def test_a_thought_s_tag_within_a_text_is_part_of_the_text(tag: str) -> None:
    said = {"facts": [f"The note reads {tag}.", "The key is red."]}
    assert read(json.dumps(said), Facts) == Facts(**said)
    assert read(f"<think>hm</think>{json.dumps(said)}", Facts) == Facts(**said)
    assert read(f"hm</think>{json.dumps(said)}", Facts) == Facts(**said)


def test_a_text_of_white_space_of_any_kind_is_empty() -> None:
    space = "".join(chr(c) for c in range(0x3001) if chr(c).isspace())
    assert "\x1c" in space
    said = {"facts": [space, f"{space}The key is red.{space}", {"text": [f"\x1f{space}"]}]}
    answer = read(json.dumps(said), Free)
    assert answer == Free(facts=["", "The key is red.", {"text": [""]}])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
WORDS = st.text(st.characters(exclude_characters='{}[]"<', codec="utf-8"), max_size=12)
# Two words at least: `{the :}` begins as an object whose key lacks its quotes.
DECOY = st.recursive(WORDS, lambda inner: inner.map(lambda s: f"{{the one {s}}}"), max_leaves=3)
PROSE = st.lists(WORDS | DECOY | st.sampled_from(["{x}", "[1]", "{ }"]), max_size=6).map(" ".join)


def stripped(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: stripped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [stripped(item) for item in value]
    return value.strip() if isinstance(value, str) else value


@given(JSON, PROSE, PROSE, st.booleans())
def test_any_object_in_any_prose_with_balanced_braces_is_read(
    value: Any, before: str, after: str, ascii_: bool
) -> None:
    text = json.dumps({"facts": value}, ensure_ascii=ascii_)
    answer = read(f"{before} {text} {after}", Free)
    assert isinstance(answer, Free), answer
    assert answer.facts == stripped(value)


PIECES = ["{", "}", "[", "]", '"', "\\", ":", ",", "<think>", "</think>", '"facts"', "a", "\ud800"]


@given(st.text() | st.lists(st.sampled_from(PIECES)).map("".join))
def test_whatever_is_answered_it_is_read_or_refused(text: str) -> None:
    for form in (Facts, Evolve, Free):
        assert isinstance(read(text, form), str | form)


@pytest.mark.parametrize(
    "piece",
    [
        "{",
        "{x}",
        "{}",
        "[{",
        '{"a":',
        '{"facts":[',
        "{x</think>",
        "<think>",
        "</think>",
        '{"\\"',
        "[",
    ],
)
def test_the_time_grows_with_the_length_and_not_with_its_square(piece: str) -> None:
    many = piece * (100_000 // len(piece))
    for text in (many, "{" + many, '{"' + many):
        began = time.perf_counter()
        assert isinstance(read(text, Facts), str)
        assert time.perf_counter() - began < 3


class Cut(FakeModel):
    """Stops at the limit of tokens, then answers well."""

    async def generate(self, request: Request) -> Completion:
        self.requests.append(request)
        if len(self.requests) == 1:
            return Completion(KEY_JSON[:-4], Usage(9, 9), finish="length")
        return Completion(KEY_JSON, Usage(9, 9))


async def test_a_model_that_was_cut_off_is_told_so_and_asked_once_more() -> None:
    bench = Bench(model=Cut())
    said = [ChatMessage("user", "What is known?")]
    answer = await ask(bench.services.model, said, Facts, work={}, op="x", trace=bench.trace)
    assert answer == KEY
    first, second = bench.model.requests
    assert list(second.messages[:1]) == list(first.messages)
    assert "cut off, having grown too long" in second.messages[-1].content
    assert not [e for e in bench.trace.events if e["type"] == "memory_fault"]


@pytest.mark.parametrize(
    ("text", "notes"),
    [
        ("The user wants notes.</think>\nThe key is red.", "The key is red."),
        ("<think>Hm.</think>The key is red.", "The key is red."),
        ("<think>a<think>b</think>c</think>The key is red.", "The key is red."),
        ("The key is red.<think>Is it", "The key is red."),
    ],
)
async def test_a_summary_holds_no_thoughts(text: str, notes: str) -> None:
    bench = Bench(model=FakeModel(text))
    context = Context(4096, bench.model.count_tokens, Trace())
    context.add("user", "observation", "You see a key. It is red. It lies on the old desk.")
    messages: list[Message] = list(context.messages)
    assert await summarise(messages, bench.services.model, 50) == (notes, "model")
    assert extract([text], 50, bench.model.count_tokens) == notes
