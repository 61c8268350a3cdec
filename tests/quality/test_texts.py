"""Reading sentences: where they end, their numbers and names, what they deny."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agemem_eval.harness.quality import assertion, texts
from agemem_eval.harness.quality.words import number_of

PARTS = ["a", "B", "1", ".", "!", "?", " ", "\n", '"', ")", "é", "-", ",", "Mr", "…", "No"]
PROSE = st.lists(st.sampled_from(PARTS)).map("".join)


def bare(text: str) -> str:
    return "".join(text.split())


@settings(max_examples=40)
@given(st.one_of(st.text(), PROSE))
def test_any_text_is_split_without_failing_and_no_sentence_is_blank(text: str) -> None:
    found = texts.sentences(text)
    assert all(sentence.strip() for sentence in found)
    texts.units(text)
    texts.fact(text)


@settings(max_examples=40)
@given(PROSE.filter(lambda text: "-" not in text and "1" not in text))
def test_sentences_hold_all_of_a_text_but_blanks(text: str) -> None:
    assert bare("".join(texts.sentences(text))) == bare(text)


@settings(max_examples=40)
@given(st.lists(st.sampled_from(["It rains.", "Nora sings!", "Who knows?"]), min_size=1))
def test_plain_sentences_are_found_again(parts: list[str]) -> None:
    assert texts.sentences(" ".join(parts)) == parts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Dr. Vell met J. R. Finch. They sang.", ["Dr. Vell met J. R. Finch.", "They sang."]),
        ("It has 2.5 km. It ends.", ["It has 2.5 km.", "It ends."]),
        ("He said “No.” She left.", ["He said “No.”", "She left."]),
        ("- one thing\n- another thing", ["one thing", "another thing"]),
        ("Silver Heron\n[0] It sank.\n[1] It rose.", ["Silver Heron", "It sank.", "It rose."]),
        ("The U.S. Navy bought it. It sank.", ["The U.S. Navy bought it.", "It sank."]),
        ("It is No. 5 there. It ends.", ["It is No. 5 there.", "It ends."]),
        ("1. First\n2. Second", ["First", "Second"]),
    ],
)
def test_sentences_end_where_a_reader_ends_them(text: str, expected: list[str]) -> None:
    assert texts.sentences(text) == expected


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("a crew of forty", {"40"}),
        ("seventy-five men and 1,200 women", {"75", "1200"}),
        ("two hundred and six bones", {"206"}),
        ("twenty five thousand seats", {"25000"}),
        ("a height of 3.50 m", {"3.5"}),
        ("on the 19th of May 1901", {"19", "1901"}),
        ("one of them", set()),
        ("no number", set()),
        ("1.2 million people", {"1200000"}),
        ("$3.5 million", {"3500000"}),
        ("nineteen hundred and one", {"1901"}),
        ("nineteen twenty-three", {"1923"}),
        ("the twenty-first of the seventh", {"21", "7"}),
        ("on 1970-03-09", {"1970", "9"}),
        ("the 2nd captain", set()),
        ("on March 2nd", {"2"}),
    ],
)
def test_numbers_are_read_in_digits_and_in_words(text: str, numbers: set[str]) -> None:
    assert texts.statement(text).numbers == numbers


def test_a_number_written_in_two_ways_is_read_as_one() -> None:
    for one, two in [("the 2nd", "the second"), ("1970-03-09", "March 9, 1970")]:
        assert texts.statement(one).words == texts.statement(two).words


ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


def spoken(n: int) -> list[str]:
    """English number words, written here apart from the reader under test."""
    if n < 20:
        return [ONES[n]]
    if n < 100:
        return [TENS[n // 10 - 2], *(spoken(n % 10) if n % 10 else [])]
    if n < 1000:
        return [ONES[n // 100], "hundred", *(["and", *spoken(n % 100)] if n % 100 else [])]
    return [*spoken(n // 1000), "thousand", *(spoken(n % 1000) if n % 1000 else [])]


@settings(max_examples=40)
@given(st.integers(2, 999_999))
def test_every_spoken_number_is_read_as_itself(n: int) -> None:
    assert number_of([*spoken(n), "people"]) == (n, len(spoken(n)))


def test_names_are_runs_of_capitals_and_a_sentence_s_first_word_is_unsure() -> None:
    said = texts.statement(
        'Sailors say that Jonathan "Jonny" Craig met J. R. Finch in Port Tallow.'
    )
    assert [len(name) for name in said.names] == [1, 3, 3, 2]
    assert said.unsure == {"sailor"}


def test_peoples_and_countries_have_one_name() -> None:
    pairs = [("German", "Germany"), ("Austrian", "Austria"), ("Polish", "Poland")]
    for people, country in pairs:
        assert texts.statement(f"a {people} town").names == texts.statement(f"in {country}").names
    assert texts.statement("to Julia").names != texts.statement("to Julian").names


def test_a_denial_counts_in_the_clause_that_shares_most_with_the_claim() -> None:
    claim = texts.statement("The mug is in the cabinet.")
    assert not assertion.denied(
        texts.statement("The mug is in the cabinet, not the drawer."), claim
    )
    assert assertion.denied(texts.statement("It rains, and the mug isn't in the cabinet."), claim)


def test_only_a_name_before_the_colon_is_a_subject() -> None:
    assert texts.fact("Silver Heron: It sank.").subject == {"silver", "heron"}
    assert not texts.fact("Silver Heron: The Heron sank.").subject
    assert not texts.fact("There are two ships: Heron and Wren.").subject


@pytest.mark.parametrize("piece", ["A. ", "a.b. ", "\n", "[0] ", '"', "1,"])
def test_a_long_text_of_anything_is_read(piece: str) -> None:
    for unit in texts.units(piece * (8_000 // len(piece))):
        assert unit.said.words
