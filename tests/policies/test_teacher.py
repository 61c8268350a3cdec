"""The teacher writes the protocol's format, uses the tools sensibly, and says what it was shown."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import pytest
from lessons import lessons

from agemem_eval.harness.errors import UsageError
from agemem_eval.harness.protocol import parse_text
from agemem_eval.harness.types import ChatMessage
from agemem_eval.policies.recipe import Recipe, make_recipe
from agemem_eval.policies.rollout import Heard
from agemem_eval.policies.teacher import UNKNOWN, Teacher
from agemem_eval.policies.teacher.questions import correction, notes, read

STAGED = {"form": "three-stage", "exposure": "each", "distractors": "2", "paragraphs": "4"}


def recipe(**options: str) -> Recipe:
    return make_recipe({
        "name": "lesson",
        "model": {"fresh": {"positions": 16384}},
        "sft": {},
        "agent": {"shots": 0, "context_tokens": 4096, "max_tokens": 256},
        "tasks": {"options": {"hotpotqa": STAGED | options}},
    })  # fmt: skip


@pytest.fixture(scope="module")
def heard() -> list[Heard]:
    return lessons(recipe(changes="1"), Teacher("reader"), 16)


def calls(heard: list[Heard]) -> Counter[tuple[str, str]]:
    return Counter(
        {
            (name, status): sum(h.episode.tool_calls.get(name, {}).get(status, 0) for h in heard)
            for h in heard
            for name, by in h.episode.tool_calls.items()
            for status in by
        }
    )


def test_its_questions_are_answered_and_every_output_is_in_the_format(heard: list[Heard]) -> None:
    assert sum(bool(h.episode.success) for h in heard) >= 14
    for h in heard:
        assert h.episode.malformed_outputs == 0
        for _, completion in h.turns:
            parsed = parse_text(completion.text)
            assert parsed.think
            assert not parsed.problems
            assert bool(parsed.calls) != (parsed.answer is not None)


def test_every_call_succeeds_and_corrections_update_what_they_concern(heard: list[Heard]) -> None:
    made = calls(heard)
    assert {status for _, status in made} == {"success"}
    assert made["Add_memory", "success"] == 4 * len(heard)  # each paragraph once
    assert made["Update_memory", "success"] >= len(heard) - 1
    assert made["Retrieve_memory", "success"] >= 2 * len(heard)
    assert made["Filter_context", "success"] > 0


def test_what_it_writes_stands_in_the_prompt(heard: list[Heard]) -> None:
    for h in heard:
        for messages, completion in h.turns:
            shown = " ".join(m.content for m in messages if m.role != "system").replace("\n", " ")
            parsed = parse_text(completion.text)
            for call in parsed.calls:
                if call.name == "Add_memory":
                    name, _, told = call.arguments["content"].partition(": ")
                    assert f"“{name}”" in shown
                    assert told in shown
                elif call.name == "Update_memory":
                    assert f"[{call.arguments['memory_id']}]" in shown
                else:
                    assert str(next(iter(call.arguments.values()))) in shown
            if parsed.answer not in (None, "ok", "yes", "no", UNKNOWN):
                assert str(parsed.answer) in shown


def test_an_answer_that_was_not_retrieved_is_unknown() -> None:
    heard = lessons(recipe(), Teacher("reader", noise=1.0), 4)
    assert all(not h.episode.tool_calls for h in heard)
    assert all(parse_text(h.turns[-1][1].text).answer == UNKNOWN for h in heard)


def test_a_note_that_was_not_found_is_looked_for_once_more() -> None:
    heard = lessons(recipe(changes="1", paragraphs="2"), Teacher("reader"), 12)
    again = [
        (h, at)
        for h in heard
        for at, (_, completion) in enumerate(h.turns)
        if "Look again for " in completion.text
    ]
    assert again, "an entry that was corrected may rank behind one that names its thing"
    for h, at in again:
        assert '"top_k": 3' in h.turns[at][1].text
    assert any(h.episode.success for h, _ in again)


def test_noise_leaves_out_some_calls_and_the_same_ones_again() -> None:
    def texts(seed: int) -> list[str]:
        heard = lessons(recipe(), Teacher("reader", 0.4, seed), 5)
        return [completion.text for h in heard for _, completion in h.turns]

    whole = [c.text for h in lessons(recipe(), Teacher("reader"), 5) for _, c in h.turns]
    assert texts(1) == texts(1)
    assert texts(1) != texts(2)
    assert len(texts(1)) < len(whole)


def test_an_expert_that_knows_what_is_not_shown_is_refused() -> None:
    with pytest.raises(UsageError, match=r"only observes.*'oracle'"):
        lessons(recipe(), Teacher("oracle"), 1)


def test_long_contexts_are_summarised() -> None:
    heard = lessons(recipe(paragraphs="10", distractors="2"), Teacher("reader"), 2)
    assert calls(heard)["Summary_context", "success"] > 0


def test_a_correction_names_the_sentence_that_it_replaces() -> None:
    content = "Ada Bel: Ada Bel is a poet. She was born in Tor. She was born in 1901."
    message = "I misread the page on “Ada Bel”. Bel was born in 1911. I said 1901 before."
    assert correction(message, "Ada Bel", content) == (
        "She was born in 1901.",
        "Bel was born in 1911.",
    )
    assert correction("I was wrong about “Ada Bel”.", "Ada Bel", content) == ("", "")


def test_what_is_told_is_read_by_its_lines() -> None:
    text = (
        "Hello.\n\nThis is about “Ada Bel”:\nShe wrote.\nShe sang.\n\nAnd here is “Tor”:\nA town."
    )
    assert notes(text) == {"Ada Bel": ["She wrote.", "She sang."], "Tor": ["A town."]}
    assert notes("My socks are wet. “Tor” is far.") == {}


def test_the_prompt_tells_what_was_done_since_the_newest_observation() -> None:
    id_ = "1ce80252-d0cb-5c2e-afe9-4f7917cb45b5"
    said: list[tuple[Any, str]] = [
        ("user", "Your goal: answer the question: Who?"),
        ("user", "My socks are wet."),
        ("tool", "[Filter_context: success] Removed 0 of 2 messages."),
        ("user", "I have a question for you now, and it is your new goal: Who?"),
        ("tool", f"[Retrieve_memory: success] [{id_}] Tor: A town."),
    ]
    seen = read([ChatMessage(role, text) for role, text in said])
    assert seen.goal == "answer the question: Who?"
    assert seen.before == ("My socks are wet.",)
    assert seen.entries == {id_: "Tor: A town."}
    assert [tool for tool, _, _ in seen.results] == ["Retrieve_memory"]


def test_calls_are_written_as_the_protocol_has_them(heard: list[Heard]) -> None:
    text = next(c.text for _, c in heard[0].turns if "<tool_call>" in c.text)
    body = re.fullmatch(r"<think>[^<]+</think><tool_call>(\[.*\])</tool_call>", text)
    assert body is not None
    assert [sorted(call) for call in json.loads(body[1])] == [["arguments", "name"]]
