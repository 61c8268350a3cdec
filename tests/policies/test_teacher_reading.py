"""How the teacher reads generated texts, held against what the generator knows of them."""

from __future__ import annotations

import re

import pytest
from lessons import lessons

from agemem_eval.envs.hotpotqa.generator import Generated, generate
from agemem_eval.harness.prompts import MEMORY_HEADING
from agemem_eval.harness.protocol import parse_text
from agemem_eval.policies.recipe import make_recipe
from agemem_eval.policies.rollout import Heard
from agemem_eval.policies.teacher import Teacher
from agemem_eval.policies.teacher.reading import labelled, settled, shown_of, sought, told

SPLITS = {"generated": range(0, 500, 3), "generated-train": range(0, 15_000, 90)}
SHORT = {"form": "three-stage", "exposure": "each", "distractors": "0", "paragraphs": "2"}


@pytest.fixture(scope="module")
def games() -> list[Generated]:
    return [generate(split, index) for split, some in SPLITS.items() for index in some]


def test_sentences_are_labelled_with_what_they_claim(games: list[Generated]) -> None:
    told_nothing = 0
    for game in games:
        for paragraph in game.question.context:
            for at, sentence in enumerate(paragraph.sentences):
                claims = game.claims[paragraph.title, at]
                assert dict(labelled(sentence)) == {c.property: c.value for c in claims}, sentence
                told_nothing += not claims
    assert told_nothing > 100
    assert labelled("Nobody knows what became of it.") == ()


def test_questions_are_read_as_they_were_asked(games: list[Generated]) -> None:
    for game in games:
        assert sought(game.question.text) == game.query
    assert sought("Who let the dogs out?") is None


def test_a_note_is_read_sentence_by_sentence() -> None:
    note = "Tor: Tor is a market town. It lies on the Bel River. The town has 1,250 inhabitants."
    assert told(note, "Tor") == [
        ("Tor is a market town.", ()),
        ("It lies on the Bel River.", (("river", "Bel River"),)),
        ("The town has 1,250 inhabitants.", (("count", "1,250"),)),
    ]


def test_comparisons_are_settled_by_numbers_and_not_by_digits() -> None:
    assert settled("least", ("1,250", "980")) == 1
    assert settled("most", ("1,250", "980")) == 0
    assert settled("most", ("1901", "1911")) == 1
    assert settled("same", ("Tor", "Tor")) == 0
    assert settled("same", ("Tor", "Bel")) == 1


def heard(episodes: int, **sft: object) -> list[Heard]:
    recipe = make_recipe({
        "name": "reading",
        "model": {"fresh": {"positions": 16384}},
        "sft": sft,
        "agent": {"shots": 0, "context_tokens": 4096, "max_tokens": 256},
        "tasks": {"options": {"hotpotqa": SHORT}},
    })  # fmt: skip

    return lessons(recipe, Teacher("reader"), episodes)


def test_each_value_that_it_names_was_labelled_before_it() -> None:
    episodes = heard(24)
    assert sum(bool(one.episode.success) for one in episodes) >= 22
    answered = 0
    for one in episodes:
        for _, completion in one.turns:
            thought = parse_text(completion.text).think or ""
            for label, value in re.findall(
                r"So (\w+): (.*?)\. (?:Look|Want|Answer|least|most|same)", thought
            ):
                assert f"{label}: {value}" in thought.partition(" So ")[0]
            if found := re.search(r"Answer: (.*)\.$", thought):
                assert parse_text(completion.text).answer == found[1]
                answered += 1
    assert answered >= 22


# --- what other memories show ---------------------------------------------------------------------

PARAGRAPH = f"""{MEMORY_HEADING}
- I read this.

  This is about “Tor”:
  Tor is a market town.
  It lies on the Bel River.
  Action taken then: ok
  (step 1; Tor; keywords: town)
- Another page was on “Bel & Sons”:
  It was founded in 1901."""
FACTS = f"""{MEMORY_HEADING}
- The Bel River flows through Tor.
- Bel & Sons was founded in 1901.
- Tor has 1,250 inhabitants.
- Bel & Sons has its headquarters in Tor."""
NOTES = f"""{MEMORY_HEADING}
- [0f3a] Bel & Sons: It was founded in 1901.
- [77b2] Tor: Tor is a market town. It lies on the Bel River."""


@pytest.mark.parametrize(
    ("recalled", "town", "firm"),
    [
        (PARAGRAPH, "Tor is a market town. It lies on the Bel River.", "It was founded in 1901."),
        (
            FACTS,  # of a town none in which it is the value, nor one that is not understood
            "Tor has 1,250 inhabitants.",
            "Bel & Sons was founded in 1901. Bel & Sons has its headquarters in Tor.",
        ),
        (NOTES, "Tor is a market town. It lies on the Bel River.", "It was founded in 1901."),
    ],
)
def test_a_note_is_made_of_what_a_memory_shows(recalled: str, town: str, firm: str) -> None:
    assert shown_of("Tor", recalled) == f"Tor: {town}"
    assert shown_of("Bel & Sons", recalled) == f"Bel & Sons: {firm}"
    assert shown_of("Brem", recalled) is None
    assert shown_of("Tor", "") is None
