"""Reading actions: what is understood, and that nothing breaks it."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agemem_eval.envs.hotpotqa.answers import (
    NO_SENTENCE,
    read_answer,
    read_command,
    read_facts,
    write_answer,
)
from agemem_eval.envs.hotpotqa.metrics import score
from agemem_eval.envs.hotpotqa.records import Paragraph, Titles

CONTEXT = [
    Paragraph(title, ("One.", "Two.", "Three."))
    for title in ("Nick Park", "X&amp;Y", "X&Y", "Bath, Maine", "Creed (band)", "C", "C++", "!!!",
                  "1999", "Apollo 13, 14", "Nick  Park 2")
]  # fmt: skip


@pytest.mark.parametrize(
    ("action", "command"),
    [
        ("search[Nick Park]", ("search", "Nick Park")),
        ("  Search [ Nick Park ] ", ("search", "Nick Park")),
        ("SEARCH[Nick Park", ("search", "Nick Park")),
        ("search[Nick Park]]", ("search", "Nick Park")),
        ("search[Nick [Park]]", ("search", "Nick [Park]")),
        ("search[a] and then lookup[b]", ("search", "a")),
        ("search: Nick Park", ("search", "Nick Park")),
        ("search(Creed (band))", ("search", "Creed (band)")),
        ("look up[x]", ("lookup", "x")),
        ("lookup[]", ("lookup", "")),
        ("lookup[[", ("lookup", "[")),
        ("search", None),
        ("searching[x]", None),
        ("research[x]", None),
        ("I search[x]", None),
        ("]search[", None),
        ("", None),
    ],
)
def test_commands(action: str, command: tuple[str, str] | None) -> None:
    assert read_command(action) == command


@pytest.mark.parametrize(
    ("action", "answer", "facts"),
    [
        ("finish[Delhi]", "Delhi", None),
        ("finish[Delhi", "Delhi", None),
        ("Finish: Delhi", "Delhi", None),
        ("finish[the [old] town]", "the [old] town", None),
        ("finish[]", "", None),
        ("finish[ ] facts[C # 0]", "", (("C", 0),)),
        ("finish[x] facts[]", "x", ()),
        ("finish[x] facts[C # 0 | nick park # 2]", "x", (("C", 0), ("Nick Park", 2))),
        ("finish[x], Facts: [C # 0 |", "x", (("C", 0),)),
        ("finish[x] facts[C # 0", "x", (("C", 0),)),
        ("finish[x facts[C # 0]]", "x", (("C", 0),)),
        ("finish[The facts: a story]", "The facts: a story", None),
        ("finish[x] facts[C # 0] facts[C # 1]", "x", (("C", 0),)),
        ("finish[x] because of C", "x", None),
    ],
)
def test_answers(action: str, answer: str, facts: object) -> None:
    command = read_command(action)
    assert command is not None
    assert command[0] == "finish"
    read = read_answer(command[1], CONTEXT)
    assert (read.text, read.facts) == (answer, facts)


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("Nick Park # 0, 2", [("Nick Park", 0), ("Nick Park", 2)]),
        ("Nick Park # 0 and 2", [("Nick Park", 0), ("Nick Park", 2)]),
        ("Nick Park#1|Nick Park #1", [("Nick Park", 1)]),
        ("[Nick Park, 1]", [("Nick Park", 1)]),
        ("“nick park” # 1", [("Nick Park", 1)]),
        ("Bath, Maine # 1", [("Bath, Maine", 1)]),
        ("Apollo 13, 14 # 2", [("Apollo 13, 14", 2)]),
        ("creed band # 0 | Creed # 0", [("Creed (band)", 0), ("Creed", 0)]),
        ("X&Y # 0", [("X&Y", 0)]),
        ("X&amp;Y # 0", [("X&amp;Y", 0)]),
        ("c # 0 | c++ # 0 | !!! # 0", [("C", 0), ("C++", 0), ("!!!", 0)]),
        ("1999 # 1", [("1999", 1)]),
        ("Nobody # 3", [("Nobody", 3)]),
        ("Nick Park", [("Nick Park", NO_SENTENCE)]),
        ("Nick Park # one", [("Nick Park # one", NO_SENTENCE)]),
        (" | ", []),
    ],
)
def test_facts(text: str, facts: list[tuple[str, int]]) -> None:
    assert list(read_facts(text, CONTEXT)) == facts


def test_a_title_is_found_as_written_before_it_is_found_alike() -> None:
    titles = Titles(CONTEXT)
    for number, paragraph in enumerate(CONTEXT):
        assert titles.find(paragraph.title) == number
    assert titles.find("NICK PARK 2") == 10
    assert titles.find("c ++") == titles.find("C") == 5
    assert titles.find("Nick") is titles.find("") is None


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=300))
@example("finish[" * 40)
@example("finish[x] facts[" + "#" * 200)
@example("search[" + "[" * 100 + "]" * 50)
@example("finish[x] facts[a # " + "1, " * 80)
def test_any_text_is_read(text: str) -> None:
    command = read_command(text)
    body = text if command is None else command[1]
    answer = read_answer(body, CONTEXT)
    assert len(answer.text) <= len(text)
    assert read_answer(body, CONTEXT) == answer


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="abc [](),.|#:é", min_size=1, max_size=30).filter(str.strip),
       st.lists(st.tuples(st.sampled_from(CONTEXT), st.integers(0, 12)), max_size=4))  # fmt: skip
def test_what_is_written_is_read_again(answer: str, cited: list[tuple[Paragraph, int]]) -> None:
    facts = [(p.title, at) for p, at in cited]
    command = read_command(write_answer(answer, facts))
    assert command is not None
    read = read_answer(command[1], CONTEXT)
    assert set(read.facts or ()) == set(facts)
    assert score(read.text, None, answer, ())["em"] == 1.0
