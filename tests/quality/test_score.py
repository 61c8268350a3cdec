"""The scores of an episode made by hand, against numbers counted by hand."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from quality_bench import FACTS, GOLD, Episode, judging

from agemem_eval.harness.quality.matching import Matcher
from agemem_eval.harness.quality.score import (
    JUDGED,
    MEANINGS,
    Quality,
    harmonic,
    score,
)
from agemem_eval.harness.types import Gold

HERON, VELL = FACTS
TALK = "Rain is expected on Friday."


def asked(gold: Gold = GOLD) -> Episode:
    """An episode whose question has been put."""
    episode = Episode()
    episode.message(f"answer the question: {gold.question}", "goal")
    return episode


async def scored(episode: Episode, matcher: Matcher, *contents: str, **changes: object) -> Quality:
    return await score(episode.evidence(*contents, **changes), matcher, None)


async def test_every_score_has_a_meaning_and_only_those_of_the_judge_are_absent(
    hashing: Matcher,
) -> None:
    quality = await scored(Episode(), hashing)
    assert set(quality.scores) == set(MEANINGS) - set(JUDGED)


async def test_an_empty_store_recalls_nothing_and_has_no_precision(hashing: Matcher) -> None:
    scores = (await scored(Episode(), hashing)).scores
    assert scores["fact_recall"] == scores["fact_f1"] == scores["memory_tokens"] == 0
    nothing = ("fact_precision", "redundancy", "unsupported", "stale", "updated")
    assert {scores[name] for name in nothing} == {None}


async def test_without_gold_only_the_store_itself_is_scored(hashing: Matcher) -> None:
    episode = Episode()
    episode.message(TALK)
    quality = await scored(episode, hashing, TALK, gold=None)
    given = {name for name, value in quality.scores.items() if value is not None}
    assert given == {"redundancy", "unsupported", "memory_tokens"}
    assert quality.loss is None


async def test_recall_precision_and_f1_are_those_of_the_counts(matcher: Matcher) -> None:
    entries = ("The Silver Heron was built in Port Tallow.", TALK, "Tea is better than coffee.")
    scores = (await scored(Episode(), matcher, *entries)).scores
    assert scores["fact_recall"] == pytest.approx(1 / 2)
    assert scores["fact_precision"] == pytest.approx(1 / 3)
    assert scores["fact_f1"] == pytest.approx(2 * (1 / 2) * (1 / 3) / (1 / 2 + 1 / 3))


@given(st.floats(0, 1), st.floats(0, 1))
def test_f1_lies_between_its_parts(precision: float, recall: float) -> None:
    f1 = harmonic(precision, recall)
    assert min(precision, recall) - 1e-9 <= f1 <= max(precision, recall) + 1e-9


async def test_only_what_was_retrieved_after_the_question_counts(hashing: Matcher) -> None:
    episode = Episode()
    episode.message("keep it in mind", "goal")
    episode.retrieve(VELL)
    episode.message(f"answer the question: {GOLD.question}", "goal")
    episode.retrieve(HERON, TALK)
    episode.complete()
    assert (await scored(episode, hashing, *FACTS)).scores["fact_recall_retrieved"] == 0.5


async def test_never_retrieving_is_no_score_and_not_retrieving_any_more_is_zero(
    hashing: Matcher,
) -> None:
    episode = Episode()
    episode.message("keep it in mind", "goal")
    assert (await scored(episode, hashing, *FACTS)).scores["fact_recall_retrieved"] is None
    episode.retrieve(*FACTS)
    episode.message(f"answer the question: {GOLD.question}", "goal")
    assert (await scored(episode, hashing, *FACTS)).scores["fact_recall_retrieved"] == 0


async def test_the_context_is_what_was_there_at_the_last_completion(hashing: Matcher) -> None:
    episode = Episode()
    episode.message(f"Example: {HERON}", "system")  # no knowledge of this task
    gone = episode.message(HERON)
    changed = episode.message(f"{VELL} Valid actions: go")
    episode.complete()
    episode.remove(gone)
    episode.trace.emit("rewrite", id=changed, text=VELL, tokens=1)
    episode.complete()
    episode.message(HERON)  # too late
    assert (await scored(episode, hashing)).scores["fact_recall_in_context"] == 0.5


@pytest.mark.parametrize("stored", list(product([False, True], repeat=2)))
@pytest.mark.parametrize("shown", list(product([False, True], repeat=2)))
async def test_a_failed_question_is_lost_in_exactly_one_place(
    hashing: Matcher, stored: Sequence[bool], shown: Sequence[bool]
) -> None:
    episode = Episode()
    episode.message(f"answer the question: {GOLD.question}", "goal")
    for fact, is_shown in zip(FACTS, shown, strict=True):
        if is_shown:
            episode.message(fact)
    episode.complete()
    kept = [fact for fact, is_stored in zip(FACTS, stored, strict=True) if is_stored]
    missing = [s for s, is_shown in zip(stored, shown, strict=True) if not is_shown]
    expected = "not_retrieved" if all(missing) else "not_stored"
    expected = expected if missing else "not_used"
    assert (await scored(episode, hashing, *kept)).loss == expected
    assert (await scored(episode, hashing, *kept, success=True)).loss is None
    assert (await scored(episode, hashing, *kept, success=None)).loss is None


CHANGED = Gold(
    "Where was she born?",
    "Kell",
    ("Nora Vell: She was born in Kell.", "Lindmoor: The town lives on making clocks."),
    ("Nora Vell: She was born in Harrow Bay.", "Lindmoor: The town lives on making ink."),
    ("Nora Vell: She was born in Kell.", "Lindmoor: The town lives on making clocks."),
)


@pytest.mark.parametrize(
    ("entries", "stale", "updated"),
    [
        (CHANGED.facts, 0, 1),
        (CHANGED.stale, 1, 0),
        ((*CHANGED.facts, *CHANGED.stale), 1, 0),
        ((CHANGED.facts[0], CHANGED.stale[1]), 0.5, 0.5),
        ((CHANGED.facts[0],), 0, 0.5),
        ((), 0, 0),
        # An entry that tells the change itself is not stale.
        (("Nora Vell was born in Harrow Bay, I first said. Nora Vell was born in Kell.",), 0, 0.5),
        (("\n".join((*CHANGED.stale, *CHANGED.facts)),), 0, 1),
        (("\n".join((*CHANGED.stale, *CHANGED.facts)), CHANGED.stale[0]), 0.5, 0.5),
    ],
)
async def test_stale_and_updated_tell_old_from_new(
    hashing: Matcher, entries: Sequence[str], stale: float, updated: float
) -> None:
    scores = (await scored(asked(CHANGED), hashing, *entries, gold=CHANGED)).scores
    assert (scores["stale"], scores["updated"]) == (stale, updated)


async def test_a_correction_beside_the_gold_facts_counts_and_pairs_with_none_of_them(
    hashing: Matcher,
) -> None:
    # As like as can be to a gold fact, which a pairing by likeness would take for its correction.
    facts = ("Otto Falk: He was born in 1901.", "Emil Stroud: He was born in 1923.")
    old, now = "Otto Stroud: He was born in 1899.", "Otto Stroud: Stroud was born in 1950."
    gold = Gold("Who is older?", "Otto Falk", facts, (old,), (now,))
    expected = {(*facts, old): (1, 0), (*facts, now): (0, 1), facts: (0, 0), (old, now): (1, 0)}
    for entries, of_it in expected.items():
        scores = (await scored(asked(gold), hashing, *entries, gold=gold)).scores
        assert (scores["stale"], scores["updated"]) == of_it, entries


async def test_an_old_value_is_not_recalled_as_the_new_one(matcher: Matcher) -> None:
    scores = (await scored(Episode(), matcher, *CHANGED.stale, gold=CHANGED)).scores
    assert scores["fact_recall"] == 0


@pytest.mark.parametrize("success", [False, None])
async def test_a_question_never_put_was_neither_looked_up_nor_lost(
    hashing: Matcher, success: bool | None
) -> None:
    episode = Episode()
    episode.message("keep it in mind", "goal")
    episode.retrieve(*CHANGED.facts)
    episode.complete()
    cut = await scored(episode, hashing, *CHANGED.stale, gold=CHANGED, success=success)
    names = ("fact_recall_retrieved", "stale", "updated")
    assert cut.loss is None
    assert {cut.scores[name] for name in names} == {None}
    assert cut.scores["fact_recall"] == 0
    episode.message(f"answer:  {CHANGED.question}", "goal")
    put = await scored(episode, hashing, *CHANGED.stale, gold=CHANGED, success=success)
    assert put.loss == ("not_stored" if success is False else None)
    assert [put.scores[name] for name in names] == [0, 1, 0]
    episode.message("something else", "goal")  # the question is no longer what is asked
    other = await scored(episode, hashing, *CHANGED.stale, gold=CHANGED, success=success)
    assert {other.scores[name] for name in names} == {None}


async def test_an_answer_shows_that_the_question_was_put(hashing: Matcher) -> None:
    episode = Episode()
    episode.message("keep it in mind", "goal")
    episode.complete()
    quality = await scored(episode, hashing, *CHANGED.stale, gold=CHANGED, answer="Harrow Bay")
    assert (quality.loss, quality.scores["stale"]) == ("not_stored", 1)


# --- unsupported --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "unsupported"),
    [
        ("Mug 1 is on shelf 2.", 0),
        ("The mug 1 was found on the shelf 2 (step 3, turn 4).", 0),
        ("Mug 2 is on shelf 1.", 1),  # both numbers were read, of other things
        ("Mug 1 is on shelf 3.", 1),  # a number of its own
        ("Nora put the mug 1 on the shelf 2.", 0),  # opens the sentence: not surely a name
        ("The mug 1 on the shelf 2 belongs to Nora Vell.", 1),  # a name of its own
        ("Quantum physics explains superconductors.", 1),
        ("Mug 1 is on shelf 2. The fridge 1 is closed and locked.", 0.5),
        ("Forty eggs lie in the fridge 1.", 0),  # the agent read 40 eggs
        ("I took mug 1.", 0),  # it did
    ],
)
async def test_a_sentence_is_supported_by_what_was_read_or_done(
    hashing: Matcher, entry: str, unsupported: float
) -> None:
    episode = Episode()
    episode.message("On the shelf 2, you see a mug 1. 40 eggs lie in the fridge.")
    episode.act("take mug 1 from shelf 2", "You pick up the mug 1.")
    assert (await scored(episode, hashing, entry)).scores["unsupported"] == unsupported


BIRTHS = (
    "Nora Vell is a novelist. She was born in 1901.",
    "Otto Falk was born in 1923 in Kell.",
    "Sorry, I was wrong about “Otto Falk”. He was born in 1930.",
)


@pytest.mark.parametrize("between", ["\n\n", None])  # paragraphs of a message, or messages
@pytest.mark.parametrize(
    ("entry", "unsupported"),
    [
        ("Nora Vell was born in 1901.", 0),
        ("Nora Vell was born in 1923.", 1),  # both were read, apart
        ("Nora Vell was born in Kell.", 1),
        ("Otto Falk of Kell was born in 1930.", 0),  # Kell and 1930 are linked by the man
        ("He was born in 1923.", 0),
        ("The novelist Nora Vell was born before Otto Falk.", 1),  # a conclusion
        ("Otto Falk was born in 1923, not in 1930.", 0),  # what is not seen
    ],
)
async def test_names_and_numbers_must_have_been_read_together(
    hashing: Matcher, entry: str, unsupported: float, between: str | None
) -> None:
    episode = Episode()
    for text in BIRTHS if between is None else [between.join(BIRTHS)]:
        episode.message(text)
    assert (await scored(episode, hashing, entry)).scores["unsupported"] == unsupported


@pytest.mark.parametrize("kind", ["assistant", "tool_result", "memory", "summary"])
async def test_what_agent_or_memory_wrote_supports_nothing(hashing: Matcher, kind: str) -> None:
    episode = Episode()
    episode.message("The Silver Heron sank in 1931.", kind)
    episode.complete("The Silver Heron sank in 1931.")
    quality = await scored(episode, hashing, "The Silver Heron sank in 1931.")
    assert quality.scores["unsupported"] == 1


async def test_only_new_and_changed_entries_are_asked_for_support(hashing: Matcher) -> None:
    before = {"0": "The Silver Heron sank in 1931."}
    old = await scored(Episode(), hashing, before["0"], before=before)
    assert old.scores["unsupported"] is None
    longer = "The Silver Heron sank in 1931. The Silver Heron sank in Kell."
    grown = await scored(Episode(), hashing, longer, before=before)
    assert grown.scores["unsupported"] == 0.5  # what the entry said before is support


async def test_redundancy_and_size_are_counted(hashing: Matcher) -> None:
    entries = (HERON, "The Silver Heron was built in Port Tallow.", TALK, TALK)
    scores = (await scored(Episode(), hashing, *entries)).scores
    assert scores["redundancy"] == 0.5
    single = [(await scored(Episode(), hashing, e)).scores["memory_tokens"] or 0 for e in entries]
    assert scores["memory_tokens"] == sum(single) > 0


# --- with a judge ---------------------------------------------------------------------------------


async def test_a_judge_adds_j_and_mq(hashing: Matcher) -> None:
    async with judging(lambda _: "0.7") as (server, judge, _, _):
        evidence = Episode().evidence(*FACTS, answer="Port Tallow")
        quality = await score(evidence, hashing, judge)
    assert (quality.scores["j"], quality.scores["mq"]) == (0.7, 0.7)
    assert server.served.calls == 2


async def test_no_answer_is_zero_without_a_call_and_a_broken_episode_has_no_score(
    hashing: Matcher,
) -> None:
    async with judging(lambda _: "1") as (server, judge, _, _):
        silent = await score(Episode().evidence(), hashing, judge)
        broken = await score(Episode().evidence(*FACTS, success=None), hashing, judge)
        free = await score(Episode().evidence(*FACTS, gold=None), hashing, judge)
    assert (silent.scores["j"], silent.scores["mq"]) == (0.0, 0.0)
    assert {broken.scores["j"], broken.scores["mq"], free.scores["j"]} == {None}
    assert server.n_requests == 0


async def test_the_judge_sees_the_twenty_entries_nearest_to_the_question(hashing: Matcher) -> None:
    entries = [f"Talk of thing {n}." for n in range(30)]
    async with judging(lambda _: "1") as (server, judge, _, _):
        await score(Episode().evidence(*entries, HERON), hashing, judge)
    shown = server.requests[0].body["messages"][-1]["content"]
    assert shown.count("\nENTRY ") == 20
    assert 'ENTRY 1: "Silver Heron: It was built in Port Tallow."' in shown
    assert GOLD.facts[1] in shown
