"""Reading actions: what is understood, and that nothing breaks it."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agemem_eval.envs.hotpotqa.answers import (
    NO_SENTENCE,
    read_answer,
    read_command,
    read_facts,
    unwrapped,
    write_answer,
)
from agemem_eval.envs.hotpotqa.metrics import score
from agemem_eval.envs.hotpotqa.records import Paragraph, Titles

CONTEXT = [
    Paragraph(title, ("One.", "Two.", "Three."))
    for title in ("Nick Park", "X&amp;Y", "X&Y", "Bath, Maine", "Creed (band)", "C", "C++", "!!!",
                  "1999", "Apollo 13, 14", "Nick  Park 2", "Indian general election, 1996",
                  "Fire and Ice (1996)")
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
        ("**search[Nick Park]**", ("search", "Nick Park")),
        ("`lookup[x]`", ("lookup", "x")),
        ('"search[Nick Park]"', ("search", "Nick Park")),
        ("“search[Nick Park]”", ("search", "Nick Park")),
        ("Action: search[Nick Park]", ("search", "Nick Park")),
        ("**Action:** `search[Nick Park]`", ("search", "Nick Park")),
        ("search(a) and search(b)", ("search", "a")),
        ("Action:", None),
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
        ("finish(New York) facts(Nick Park # 1)", "New York", (("Nick Park", 1),)),
        ("finish(Creed (band)) facts[Creed (band) # 1]", "Creed (band)", (("Creed (band)", 1),)),
        ("finish(x) facts(Creed (band) # 1 | C # 0)", "x", (("Creed (band)", 1), ("C", 0))),
        ("finish(x), supporting facts: C # 0", "x", (("C", 0),)),
        ("finish(x facts(C # 0))", "x", (("C", 0),)),
        ("finish(x", "x", None),
        ("finish(The facts (a story))", "The facts (a story)", None),
        ("finish: New York. facts: C # 1", "New York", (("C", 1),)),
        ("finish: New York facts[C # 1]", "New York", (("C", 1),)),
        ("finish: New York (state)", "New York (state)", None),
        ("finish[x] facts: C # 1", "x", (("C", 1),)),
        ("finish[x]\nfacts: [C # 1]", "x", (("C", 1),)),
        ("**finish[x]** facts[C # 1]", "x", (("C", 1),)),
        ("`finish[x] facts[C # 1]`", "x", (("C", 1),)),
        ("Answer: finish[x]", "x", None),
        ("finish(a] b) facts[C # 1]", "a", None),
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
        ("C # 0; Nick Park # 1", [("C", 0), ("Nick Park", 1)]),
        ("C#1, Nick Park#1", [("C", 1), ("Nick Park", 1)]),
        ("C # 0, 1999 # 1", [("C", 0), ("1999", 1)]),
        ("C # 0 and Nick Park # 1", [("C", 0), ("Nick Park", 1)]),
        ('["C", 0], ["Nick Park", 1]', [("C", 0), ("Nick Park", 1)]),
        ('[["C", 0], ["Nick Park", 1]]', [("C", 0), ("Nick Park", 1)]),
        ("('C', 0), ('Creed (band)', 1)", [("C", 0), ("Creed (band)", 1)]),
        ("Nick Park [0]", [("Nick Park", 0)]),
        ("Nick Park [0] [2]", [("Nick Park", 0), ("Nick Park", 2)]),
        ("Nick Park (0) | Creed (band) (1)", [("Nick Park", 0), ("Creed (band)", 1)]),
        ("Nick Park # 1.", [("Nick Park", 1)]),
        ("Nick Park # 0-2", [("Nick Park", 0), ("Nick Park", 1), ("Nick Park", 2)]),
        ("Nick Park # 0–1, C # 1", [("Nick Park", 0), ("Nick Park", 1), ("C", 1)]),
        ("Nick Park #0 #1", [("Nick Park", 0), ("Nick Park", 1)]),
        ("Indian general election, 1996, 0", [("Indian general election, 1996", 0)]),
        ("Indian general election, 1996 # 0", [("Indian general election, 1996", 0)]),
        ("Fire and Ice (1996) (0)", [("Fire and Ice (1996)", 0)]),
        ("Nobody # 3; C # 1", [("Nobody", 3), ("C", 1)]),
        ("Nobody, 3; C, 1", [("Nobody", 3), ("C", 1)]),
        ("C # 0, Nick Park", [("C", 0), ("Nick Park", NO_SENTENCE)]),
        ("C # 1st", [("C # 1st", NO_SENTENCE)]),
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


def test_a_cited_title_is_taken_as_written_before_it_is_taken_alike() -> None:
    context = [Paragraph(title, ("One.",)) for title in ("Creed band", "Creed (band)")]
    for text in ("Creed (band) # 0", "Creed (band), 0", "Creed (band) (0)", "Creed (band)#0"):
        assert read_facts(text, context) == (("Creed (band)", 0),)


# (“Nick Park (2)” could be a title; `!!!` is nothing but punctuation.)
TOLD_APART = [p for p in CONTEXT if p.title not in ("Nick  Park 2", "!!!")]
SPELLINGS = (
    ("{} # {}", " | "), ("{}#{}", "; "), ("{} # {}", ", "), ("{} [{}]", " | "), ("{} ({})", "; "),
    ('["{}", {}]', ", "), ("{}, {}", " | "), ("{} # {}.", " | "),
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(TOLD_APART), st.integers(0, 12)), min_size=1, max_size=4),
       st.sampled_from(SPELLINGS))  # fmt: skip
def test_a_list_of_facts_is_read_in_many_spellings(
    cited: list[tuple[Paragraph, int]], spelling: tuple[str, str]
) -> None:
    form, between = spelling
    text = between.join(form.format(paragraph.title, at) for paragraph, at in cited)
    assert set(read_facts(text, CONTEXT)) == {(p.title, at) for p, at in cited}, text


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="abc [](),.|#:é*`'\"“”", max_size=12))
def test_what_is_taken_from_a_bare_answer_changes_no_score(answer: str) -> None:
    text = unwrapped(answer)
    whole = answer.strip(" *`'\"")
    if not (whole.startswith("“") and whole.endswith("”")):
        assert score(text, None, answer, ())["em"] == 1.0
    assert unwrapped(f"**Answer: {answer}**") == text


def test_a_long_list_is_read_quickly() -> None:
    for unit in ("1, ", "C # 1, ", "a, 1 ", "#", "[", "and 1 ", "(1"):
        started = time.process_time()  # whatever else the machine does
        read_facts(unit * (2000 // len(unit)), CONTEXT)
        assert time.process_time() - started < 2
