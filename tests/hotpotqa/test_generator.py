"""Generated questions: solvable in one way only, and only with both paragraphs."""

from __future__ import annotations

import hashlib
import os
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from agemem_eval.envs.hotpotqa.generator import (
    SIZES,
    VERSIONS,
    Generated,
    generate,
    split_hash,
    task_id,
)
from agemem_eval.envs.hotpotqa.kinds import KINDS
from agemem_eval.envs.hotpotqa.names import PER_QUESTION, Names, word
from agemem_eval.envs.hotpotqa.records import read_record
from agemem_eval.envs.hotpotqa.schema import LITERALS
from agemem_eval.harness.errors import UsageError

sys.path.insert(0, str(Path(__file__).resolve().parent))
from solver import solutions

_COMMON = {w for values in LITERALS.values() for v in values for w in v.split()}


@cache
def games() -> list[Generated]:
    return [generate("generated", index) for index in range(SIZES["generated"])]


def text_of(game: Generated, titles: set[str] | None = None) -> str:
    return "\n".join(
        f"{p.title}\n{' '.join(p.sentences)}"
        for p in game.question.context
        if titles is None or p.title in titles
    )


def invented(text: str) -> set[str]:
    """The invented words of a text: capitalised ones that are not in any pattern."""
    patterns = " ".join(n for kind in KINDS.values() for n in kind.names) + " River"
    known = set(re.findall(r"\w+", patterns))
    found = set(re.findall(r"(?<![.“] )(?<!^)\b[A-Z][a-z]{4,}\b", text, re.M)) - known
    return {w for w in found if w.lower() not in _COMMON}


def test_the_first_questions_are_of_both_types_and_all_forms() -> None:
    assert [g.question.type for g in games()[:6]] == ["bridge", "comparison"] * 3
    forms = Counter(g.query.form for g in games())
    assert forms["chain"] == forms["least"] + forms["most"] + forms["same"] == 250
    assert min(forms["least"], forms["most"]) >= 40
    assert forms["same"] == 125
    assert len({g.query.properties for g in games() if g.query.form == "chain"}) > 20
    answers = Counter(g.question.answer for g in games())
    assert abs(answers["yes"] - answers["no"]) <= 1
    choices = [g for g in games() if g.query.form in ("least", "most")]
    first_named = [g.question.answer == g.query.things[0] for g in choices]
    assert 0.35 < sum(first_named) / len(first_named) < 0.65


def test_yes_and_no_do_not_depend_on_what_is_compared() -> None:
    by_property: dict[tuple[str, ...], set[str]] = {}
    for split in SIZES:
        for index in range(3, 500, 4):
            game = generate(split, index)
            assert game.query.form == "same"
            key = (game.claims[game.question.facts[0]][0].kind, *game.query.properties)
            by_property.setdefault(key, set()).add(game.question.answer)
    assert all(answers == {"yes", "no"} for answers in by_property.values())


Rule = Callable[[Generated], bool]


def asked_pair(game: Generated) -> list[dict[str, str]]:
    claims = [c for told in game.claims.values() for c in told]
    return [{c.property: c.value for c in claims if c.subject == t} for t in game.query.things]


def shared(game: Generated) -> set[str]:
    one, two = asked_pair(game)
    return {key for key in one if one[key] == two[key]}


def values(game: Generated, *properties: str) -> list[str]:
    told = [c for told in game.claims.values() for c in told]
    return [c.value for c in told if not properties or c.property in properties]


def years_apart(game: Generated) -> int:
    one, two = asked_pair(game)
    return abs(int(one.get("year", "0")) - int(two.get("year", "0")))


@cache
def yes_or_no() -> list[Generated]:
    return [
        generate(split, index)
        for split, n_questions in (("generated", 500), ("generated-train", 2500))
        for index in range(3, n_questions, 4)
    ]


def shared_with_others(game: Generated, which: int) -> int:
    told = [c for claims in game.claims.values() for c in claims]
    others = {(c.property, c.value) for c in told if c.subject not in game.query.things}
    return len(others & asked_pair(game)[which].items())


def of_the_pairs_kind(game: Generated) -> int:
    kinds = {c.subject: c.kind for told in game.claims.values() for c in told}
    return Counter(kinds.values())[kinds[game.query.things[0]]]


SHORT_CUTS: list[Rule] = [
    lambda game: bool(shared(game)),
    lambda game: len(shared(game)) > 1,
    lambda game: len(shared(game)) > 2,
    lambda game: bool(shared(game) - {*game.query.properties}),
    lambda game: len(shared(game) - {*game.query.properties}) > 1,
    lambda game: len({*values(game)}) < len(values(game)),
    lambda game: len(values(game)) - len({*values(game)}) > 4,
    lambda game: max(Counter(values(game, *game.query.properties)).values()) > 1,
    lambda game: max(Counter(values(game, *game.query.properties)).values()) > 2,
    lambda game: years_apart(game) < 8,
    lambda game: shared_with_others(game, 0) > 1,
    lambda game: shared_with_others(game, 1) > 1,
    lambda game: of_the_pairs_kind(game) > 7,
]  # fmt: skip


@pytest.mark.parametrize("rule", SHORT_CUTS)
def test_yes_and_no_are_not_told_without_reading_what_is_asked(rule: Rule) -> None:
    right = [rule(game) == (game.question.answer == "yes") for game in yes_or_no()]
    assert len(right) == 750
    assert 0.35 < sum(right) / len(right) < 0.65  # and neither does the opposite


def test_every_question_has_ten_short_paragraphs_in_the_official_form() -> None:
    for game in games():
        question = game.question
        assert read_record(question.record()) == question
        titles = [p.title for p in question.context]
        assert len(titles) == len(set(titles)) == 10
        assert all(2 <= len(p.sentences) <= 6 for p in question.context)
        assert all(s[0].isupper() and s[-1] == "." for p in question.context for s in p.sentences)
        assert len({title for title, _ in question.facts}) == len(question.facts) == 2
        assert not re.search(r"\ba [aeiou]|[{}]|  ", text_of(game) + question.text)


def test_a_brute_force_over_all_facts_finds_exactly_the_answer() -> None:
    for split in SIZES:
        for index in range(0, 500, 1 if split == "generated" else 3):
            game = generate(split, index)
            every = [claim for told in game.claims.values() for claim in told]
            assert solutions(game.query, every) == {game.question.answer}, game.question.text


def test_without_a_supporting_sentence_nothing_is_supported() -> None:
    for game in games():
        for missing in game.question.facts:
            rest = [c for fact, told in game.claims.items() if fact != missing for c in told]
            assert solutions(game.query, rest) == set(), game.question.text


def test_sentences_say_what_they_claim() -> None:
    for game in games():
        texts = {p.title: p.sentences for p in game.question.context}
        for (title, at), told in game.claims.items():
            for claim in told:
                assert claim.subject == title
                assert claim.value in texts[title][at]
        claims = [c for told in game.claims.values() for c in told]
        assert len({(c.subject, c.property) for c in claims}) == len(claims)


def test_the_answer_of_a_bridge_question_stands_in_one_sentence_only() -> None:
    for game in games():
        if game.query.form == "chain":
            answer = rf"\b{re.escape(game.question.answer)}\b"
            sentences = [
                (p.title, at)
                for p in game.question.context
                for at, s in enumerate(p.sentences)
                if re.search(answer, s)
            ]
            assert sentences == [game.question.facts[1]], game.question.text
            assert not any(re.search(answer, p.title) for p in game.question.context
                           if p.title not in dict(game.question.facts))  # fmt: skip


def test_a_bridge_question_does_not_name_the_bridge_nor_does_that_name_the_start() -> None:
    for game in games():
        if game.query.form == "chain":
            (start, _), (bridge, _) = game.question.facts
            assert start in game.question.text
            assert bridge not in game.question.text
            assert not invented(bridge) & invented(game.question.text)
            assert bridge in text_of(game, {start})
            assert start not in text_of(game, {bridge})
            assert not invented(start) & invented(text_of(game, {bridge}))


def test_other_paragraphs_look_alike() -> None:
    for game in games():
        kinds = {fact[0]: told[0].kind for fact, told in game.claims.items() if told}
        properties = Counter((c.kind, c.property) for told in game.claims.values() for c in told)
        for title, at in game.question.facts:
            wanted = {c.property for c in game.claims[title, at]}
            assert any(properties[kinds[title], p] >= 4 for p in wanted), game.question.text


def test_no_two_questions_share_an_invented_word() -> None:
    seen: dict[str, str] = {}
    first_names: dict[str, set[str]] = {"generated": set(), "generated-train": set()}
    numbers = {
        "generated": range(500),
        "generated-train": (*range(200), *range(4900, 5000), *range(14_900, 15_000)),
    }
    for split, indices in numbers.items():
        for index in indices:
            game = generate(split, index)
            people = {
                c.subject for told in game.claims.values() for c in told if c.kind == "person"
            }
            firsts = {name.split()[0] for name in people}
            first_names[split] |= firsts
            names = " ".join(p.title for p in game.question.context)
            for found in invented(f"the {names}") - firsts - {"Works", "Brothers"}:
                assert seen.setdefault(found, game.question.id) == game.question.id, found
    assert len(seen) > 7900
    assert not first_names["generated"] & first_names["generated-train"]


def test_no_invented_word_is_one_that_was_found_to_be_real() -> None:
    real = {"Silvana", "Nevada", "Rivera", "Condado", "Bendigo", "Hengelo", "Candaba", "Tongeren",
            "Kuskovo", "Favara", "Dangila", "Mastitis", "Rangiro"}  # fmt: skip
    n_questions = sum(SIZES.values())
    assert real <= {word(n) for n in range(n_questions * PER_QUESTION)}  # they would come up
    for number in range(n_questions):
        names = Names(number, training=False, rng=random.Random(0))
        assert not real & {names.word() for _ in range(PER_QUESTION - 2)}


def test_supporting_facts_stand_at_many_places() -> None:
    for forms in (("chain",), ("same",), ("least", "most")):
        places = Counter(
            at for game in games() if game.query.form in forms for _, at in game.question.facts
        )
        assert max(places.values()) < 0.7 * places.total(), (forms, places)
        assert len(places) >= 5


def test_every_template_is_used() -> None:
    told = "\n".join(text_of(generate("generated-train", index)) for index in range(400))
    for kind in KINDS.values():
        templates = [t for prop in kind.properties.values() for t in prop.sentences]
        for template in (*kind.openings, *kind.asides, *templates):
            parts = [re.escape(part) for part in re.split(r"\{\w+\}", template)]
            pattern = ".+".join(parts).replace("\\ a.+", "\\ an?.+")
            assert re.search(pattern, told), template


def test_invented_words_are_different_for_every_number_in_use() -> None:
    n_words = sum(SIZES.values()) * 64
    assert len({word(n) for n in range(n_words)}) == n_words


def test_the_same_bytes_in_every_process() -> None:
    code = (
        "from agemem_eval.envs.hotpotqa.generator import generate\n"
        "for i in range(60): print(generate('generated', i).question.canonical())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("0", "4242")
    }
    assert len(outputs) == 1


def test_only_questions_of_a_split_are_generated() -> None:
    assert task_id("generated", 7) == generate("generated", 7).question.id
    with pytest.raises(UsageError, match="did you mean 'generated'"):
        generate("genrated", 0)
    for index in (-1, 500):
        with pytest.raises(UsageError, match="has the questions 0 to 499"):
            generate("generated", index)


def test_the_bytes_are_those_of_this_version() -> None:
    # Raise that of the split, and change these, whenever any question changes.
    assert VERSIONS == {"generated": "1", "generated-train": "2"}
    assert split_hash("generated") == "1a5e2da8e2a01d31"
    some = (
        generate("generated-train", index).question.canonical() for index in range(0, 5000, 100)
    )
    assert hashlib.sha256(b"".join(some)).hexdigest()[:16] == "e47be2b40130b202"
