"""Small talk: natural, fixed by task and seed, and without any word of the question."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from agemem_eval.envs.hotpotqa import irregular
from agemem_eval.envs.hotpotqa.distractors import MAX_DISTRACTORS, VERSION, distractors
from agemem_eval.envs.hotpotqa.generator import SIZES, generate
from agemem_eval.envs.hotpotqa.text import STOP_WORDS
from agemem_eval.harness.errors import DataError

# A list of its own: what may stand on both sides. All of them are words of grammar.
GRAMMAR_TEXT = """
a about above after again all also am an and any are as at be because been before being
below both but by can could did do does down during each even every few for from had has have
he her here him his how i if in into is it its just many may me might more most much must my
no not of off on once one only or other our out over own same shall she should since so some
still such than that the their them then there these they this those though through to too
under until up us very was we were what when where which while who whom whose why will with
within without would yet you your somebody everybody each another whenever
"""
GRAMMAR = set(GRAMMAR_TEXT.split())


def variants(word: str) -> set[str]:
    """The word with the endings it may have: an own idea of when two words are the same."""
    forms = {word}
    if len(word) < 3:
        return forms
    for ending in ("s", "es", "ed", "ing", "er", "est", "ly", "en"):
        forms.add(word + ending)
        forms.add(word + word[-1] + ending)
        if word.endswith("e"):
            forms.add(word[:-1] + ending)
        base = word.removesuffix(ending)
        if len(word) > len(base) > 2:
            forms |= {base, base + "e"}
            if base[-1] == base[-2]:
                forms.add(base[:-1])
    if word.endswith(("ies", "ied", "ier")):
        forms.add(word[:-3] + "y")
    return forms.union(*(irregular.forms(form) for form in forms))


def content(text: str) -> set[str]:
    return {
        w.removesuffix("'s") for w in re.findall(r"[^\W_]+(?:'[a-z]+)?", text.lower())
    } - GRAMMAR


def shared(messages: list[str], *texts: str) -> set[str]:
    asked = {form for word in content(" ".join(texts)) for form in variants(word)}
    return {word for m in messages for word in content(m) if {word, *variants(word)} & asked}


def real(data_dir: Path) -> Iterator[tuple[str, str, str]]:
    path = data_dir / "hotpotqa" / "hotpot_sample.json"
    for record in json.loads(path.read_text(encoding="utf-8")):
        yield record["_id"], record["question"], record["answer"]


def test_real_questions_share_no_word_with_their_distractors(data_dir: Path) -> None:
    for key, question, answer in real(data_dir):
        messages = distractors(key, 0, 12, [question, answer])
        assert shared(messages, question, answer) == set(), (question, answer)


def test_generated_questions_share_no_word_with_their_distractors() -> None:
    for split in SIZES:
        for index in range(150):
            question = generate(split, index).question
            messages = distractors(question.id, 0, 5, [question.text, question.answer])
            assert shared(messages, question.text, question.answer) == set(), question.text


def test_the_check_can_fail() -> None:
    messages = distractors("x", 0, MAX_DISTRACTORS, [])
    assert shared(messages, "Who cooked mushrooms?") == {"cook", "mushrooms"}
    avoiding = distractors("x", 0, MAX_DISTRACTORS, ["Who cooked a mushroom?"])
    assert shared(avoiding, "Who cooked mushrooms?") == set()


@pytest.mark.parametrize(
    ("asked", "said"),
    [("written", "wrote"), ("come", "came"), ("coming", "came"), ("fallen", "fell"),
     ("goes", "went"), ("going", "went"), ("best", "better"), ("held", "hold"),
     ("drawn", "drawing"), ("running", "ran"), ("grown", "grew"), ("burning", "burnt"),
     ("losing", "lost"), ("taken", "took"), ("taking", "took"), ("knees", "knee"),
     ("shelves", "shelf"), ("thinking", "thought"), ("buys", "bought"), ("hidden", "hides"),
     ("frozen", "froze"), ("spending", "spent"), ("lives", "living"), ("worst", "badly"),
     ("made", "makes"), ("kept", "keep"), ("swam", "swimming"), ("slept", "sleeping")],
)  # fmt: skip
def test_irregular_forms_are_the_same_word(asked: str, said: str) -> None:
    for seed in range(3):
        messages = distractors("x", seed, 20, [f"Who {asked} it?"])
        assert said not in {word for message in messages for word in content(message)}
    assert variants(asked) & variants(said)


def test_words_taken_for_grammar_are_grammar() -> None:
    assert not STOP_WORDS & {"year", "first", "name", "born", "film", "town", "two", "old", "new"}
    assert all(len(word) <= 10 for word in STOP_WORDS)


def test_messages_name_nobody_and_hold_no_digit() -> None:
    for message in distractors("x", 3, MAX_DISTRACTORS, []):
        inner = re.sub(r"(^|[.?!] )\w", "", message)
        assert not re.search(r"[0-9]|(?<!\w)(?!I\b)[A-Z]|[{}]|  |\ba [aeiou]", inner), message
        assert 60 < len(message) < 400
        assert 3 <= len(re.findall(r"[.?!]", message)) <= 5


def test_all_are_different_and_neighbours_are_on_other_topics() -> None:
    messages = distractors("x", 0, MAX_DISTRACTORS, [])
    assert len(set(messages)) == len(messages) == MAX_DISTRACTORS
    few = [content(m) for m in distractors("x", 0, 10, [])]
    assert all(len(a & b) < 6 for a, b in pairwise(few))


def test_they_are_fixed_by_task_and_seed() -> None:
    assert distractors("a", 0, 5, ["x"]) == distractors("a", 0, 5, ["x"])
    assert distractors("a", 0, 5, ["x"]) == distractors("a", 0, 9, ["x"])[:5]
    assert distractors("a", 0, 5, ["x"]) != distractors("a", 1, 5, ["x"])
    assert distractors("a", 0, 5, ["x"]) != distractors("b", 0, 5, ["x"])
    assert distractors("a", 0, 0, ["x"]) == []


def test_a_question_that_leaves_nothing_to_say_is_refused() -> None:
    everything = " ".join(distractors("x", seed, MAX_DISTRACTORS, [])[n] for seed in range(4)
                          for n in range(MAX_DISTRACTORS))  # fmt: skip
    with pytest.raises(DataError, match="no 5 distractor messages avoid the words"):
        distractors("x", 0, 5, [everything])


def test_the_bytes_are_those_of_this_version() -> None:
    assert VERSION == "1"  # raise it, and the environment's, and change this, with any message
    text = repr(distractors("x", 0, MAX_DISTRACTORS, []))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "e6d2129c01a504f2"
