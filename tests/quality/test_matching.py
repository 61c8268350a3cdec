"""Facts are found in other words, and nothing else is taken for them."""

from __future__ import annotations

import pytest

from agemem_eval.harness.quality import matching
from agemem_eval.harness.quality import repeats as repeating
from agemem_eval.harness.quality.matching import Matcher, rates
from agemem_eval.harness.quality.pairs import CALIBRATION, HELD_OUT, Pair
from agemem_eval.harness.quality.repeats import repeats

HERON = "Silver Heron: It was built in Port Tallow by a crew of forty."


def test_the_labelled_set_is_large_and_its_halves_share_no_fact() -> None:
    assert len(CALIBRATION) >= 80
    assert len(HELD_OUT) >= 60
    assert not {pair.fact for pair in CALIBRATION} & {pair.fact for pair in HELD_OUT}
    for pairs in (CALIBRATION, HELD_OUT):
        kinds = {pair.kind for pair in pairs}
        assert {"paraphrase", "pronoun", "number", "name", "other fact", "unrelated"} <= kinds


def test_precision_and_recall_on_pairs_that_chose_no_threshold(matcher: Matcher) -> None:
    scores = [matcher.score(pair.entry, pair.fact) for pair in HELD_OUT]
    found = rates(scores, HELD_OUT, matcher.threshold)
    print(f"threshold {matcher.threshold}, precision {found.precision}, recall {found.recall}")
    assert found.precision is not None
    hashing = "hashing" in str(matcher.identity["embedder"])
    assert found.precision >= (0.8 if hashing else 0.9)
    assert found.recall >= 0.8


@pytest.mark.parametrize("kind", ["number", "name", "negated", "opposite", "relative", "unrelated"])
def test_no_pair_of_these_kinds_ever_matches(hashing: Matcher, kind: str) -> None:
    pairs = [pair for pair in (*CALIBRATION, *HELD_OUT) if pair.kind == kind]
    assert [p.entry for p in pairs if hashing.says(p.entry, p.fact)] == []


@pytest.mark.parametrize("year", ["1923", "1910", "19", "190"])
def test_another_year_is_another_fact_however_alike_the_sentences(
    matcher: Matcher, year: str
) -> None:
    assert matcher.says("Nora Vell was born in 1901.", "Nora Vell was born in 1901.")
    assert not matcher.says(f"Nora Vell was born in {year}.", "Nora Vell was born in 1901.")


def test_a_pronoun_is_who_its_paragraph_is_about(matcher: Matcher) -> None:
    assert matcher.says("Silver Heron\n[0] It was built in Port Tallow by a crew of 40.", HERON)
    assert matcher.says("The Silver Heron was built in Port Tallow by a crew of 40.", HERON)
    assert not matcher.says("Golden Wren\n[0] It was built in Port Tallow by a crew of 40.", HERON)
    told = "About the Golden Wren:\nIt was built in Port Tallow by a crew of 40."
    assert not matcher.says(f"The Silver Heron sank.\n\n{told}", HERON)


def test_what_one_sentence_lacks_no_contradicting_one_may_lend(matcher: Matcher) -> None:
    entry = "Emil Stroud was born in 1901. Nora Vell was born in 1923."
    assert matcher.says(entry, "Nora Vell was born in 1923.")
    assert not matcher.says(entry, "Nora Vell was born in 1901.")


@pytest.mark.parametrize(
    ("fact", "entry"),
    [
        ("Nora Vell taught Otto Falk.", "Otto Falk taught Nora Vell."),
        ("Nora Vell was the mother of Ada Quill.", "Ada Quill was the mother of Nora Vell."),
        ("Mount Iskar is higher than Mount Bel.", "Mount Bel is higher than Mount Iskar."),
        ("Emil Stroud defeated Otto Falk.", "Emil Stroud was defeated by Otto Falk."),
        ("Nora Vell's teacher was Otto Falk.", "Nora Vell was the teacher of Otto Falk."),
        ("Nora Vell: She was born in 1901.", "Was Nora Vell born in 1901?"),
        ("Nora Vell was born in 1901.", "It is false that Nora Vell was born in 1901."),
        ("Nora Vell was born in 1901.", "Nora Vell was born in 1901, but this proved wrong."),
        ("Nora Vell was born in 1901.", "Nora Vell was born in 1901; corrected to 1911."),
        ("Nora Vell was born in 1901.", "Nora Vell was born, though it is not 1901, but 1922."),
        ("Nora Vell was born in 1901.", "Nora Vell's son was born in 1901."),
        ("The Wren was built by Nora Vell.", "The Wren was built by Nora Vell's brother."),
        ("Boeing 747: It first flew in 1969.", "The Boeing 737 first flew in 1969."),
    ],
)  # fmt: skip
def test_the_same_words_may_say_something_else(hashing: Matcher, fact: str, entry: str) -> None:
    assert hashing.says(fact, fact)
    assert not hashing.says(entry, fact)


@pytest.mark.parametrize(
    ("fact", "entry"),
    [
        ("Nora Vell taught Otto Falk.", "Otto Falk was taught by Nora Vell."),
        ("Nora Vell was the mother of Ada Quill.", "Ada Quill's mother was Nora Vell."),
        ("Nora Vell married Otto Falk.", "Otto Falk married Nora Vell."),
        ("Nora Vell was born in 1911.", "Nora Vell was not born in 1901 but in 1911."),
        ("Nora Vell was born in 1911.", "Nora Vell was born in 1901, corrected to 1911."),
        ("Nora Vell: Her teacher was Otto Falk.", "Nora Vell's teacher was Otto Falk."),
    ],
)
def test_what_is_turned_round_twice_says_the_same(hashing: Matcher, fact: str, entry: str) -> None:
    assert hashing.says(entry, fact)


def test_swapped_numbers_of_things_are_noticed(matcher: Matcher) -> None:
    assert not matcher.says("The mug 2 is on the shelf 1.", "The mug 1 is on the shelf 2.")


def test_a_fact_word_for_word_in_a_long_entry_is_found_whatever_the_threshold() -> None:
    never = Matcher(_Blind(), threshold=2.0)
    assert never.says(f"Some talk. {HERON} More talk.", HERON)
    assert not never.says("The Silver Heron was built in Port Tallow by forty people.", HERON)


def test_a_sentence_that_names_its_subject_in_part_is_found_word_for_word() -> None:
    fact = "1995 Wren season: Before the season, they sold Piet Haan and Otto Falk."
    told = f"This is about “1995 Wren season”:\nThey won. {fact.partition(': ')[2]}"
    assert Matcher(_Blind(), threshold=2.0).says(told, fact)


def test_a_rival_must_be_told_apart_by_a_word_of_its_own(matcher: Matcher) -> None:
    old, new = "Kell lives on making ink.", "Kell lives on making clocks."
    assert matcher.says("Kell makes clocks; it lives on making clocks.", new, old)
    assert not matcher.says(old, new, old)
    assert not matcher.says(new, old, new)


def test_precision_counts_sentences_and_leaves_headings_out(hashing: Matcher) -> None:
    entry = (
        "Silver Heron\n[0] It was built in Port Tallow by a crew of forty.\n[1] Gulls nest there."
    )
    found = hashing.find([entry], [HERON])
    assert (found.facts, found.matching, found.total) == ((True,), 1, 2)


def test_the_threshold_is_computed_once_for_an_embedder(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(matching, "_THRESHOLDS", {})
    monkeypatch.setattr(matching, "calibrated", lambda *_: calls.append(1) or 0.5)
    assert Matcher(_Blind()).threshold == Matcher(_Blind()).threshold == 0.5
    assert calls == [1]


def test_the_identity_tells_embedder_and_threshold_apart(hashing: Matcher) -> None:
    assert Matcher(_Blind(), 0.5).identity != Matcher(_Blind(), 0.6).identity
    assert Matcher(_Blind(), hashing.threshold).identity != hashing.identity


def test_vectors_are_computed_once_and_only_so_many_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    blind = _Blind()
    monkeypatch.setattr(matching, "CACHE_BYTES", 0)
    small = Matcher(blind, 0.5)
    for number in range(500):
        small.nearest("query", [f"text {number}"], 1)
    assert len(small._vectors) <= 64
    assert blind.seen.count("query") == 1  # used again and again, so it stays


def test_rates_are_those_of_their_definitions() -> None:
    pairs = [Pair("f", "e", same, "k") for same in (True, True, True, False, False)]
    found = rates([0.9, 0.8, 0.1, 0.7, 0.2], pairs, 0.5)
    precision, recall = 2 / 3, 2 / 3
    assert found.precision == pytest.approx(precision)
    assert found.recall == pytest.approx(recall)
    assert found.f_half == pytest.approx(1.25 * precision * recall / (0.25 * precision + recall))


def test_an_entry_repeats_an_earlier_one_that_says_it_all(hashing: Matcher) -> None:
    entries = [
        "The mug 1 is on the shelf 2. The pen 3 is on the desk 1.",
        "The mug 1 is on the shelf 2.",  # half of the first
        "The mug 1 is on the shelf 3.",
        "the MUG 1 is on the shelf 2",  # but for case
        "The mug 1 is on the shelf 2. The book 1 is on the bed 1.",  # has something new
        "!!!",
        "!!!",
    ]
    assert repeats(hashing, entries) == [False, True, False, True, False, False, True]


def test_a_question_and_its_bare_answer_repeat_nothing(hashing: Matcher) -> None:
    entries = [
        "In what year was the Buvatur Museum founded?",
        "You answered: Buvatur Museum",
        "In what year was Buvatur Museum founded?",
        "Buvatur Museum",
        "In what year was the Buvatur Museum founded?",
    ]
    assert repeats(hashing, entries) == [False, False, False, True, True]


def test_of_thousands_of_alike_entries_only_a_few_are_compared_with_each(
    hashing: Matcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    may_say = repeating.may_say
    monkeypatch.setattr(repeating, "COMPARED", 150)
    monkeypatch.setattr(repeating, "may_say", lambda *a: calls.append(1) or may_say(*a))
    entries = [
        f"Look at the mug, it is w{chr(97 + n % 26)}{chr(97 + n // 26)}." for n in range(150)
    ]
    repeated = repeats(hashing, [*entries, entries[7]])
    assert len(calls) <= repeating.MIN_COMPARED * 150
    assert repeated[-1]


def test_the_index_finds_what_comparing_every_pair_finds(hashing: Matcher) -> None:
    entries = [pair.entry for pair in CALIBRATION]
    slow = []
    for place, entry in enumerate(entries):
        units = [unit.said.text for unit in matching.texts.units(entry)]
        slow.append(any(all(hashing.find([e], units).facts) for e in entries[:place]))
    assert repeats(hashing, entries) == slow


class _Blind:
    """An embedder for which all texts are alike."""

    name = "blind"
    identity = {"name": "blind"}
    dim = 4
    theta_f = 0.5

    def __init__(self) -> None:
        self.seen: list[str] = []

    def embed(self, texts):
        import numpy as np

        self.seen += texts
        return np.tile(np.array([1, 0, 0, 0], dtype=np.float32), (len(texts), 1))

    def count_tokens(self, text: str) -> int:
        return 1
