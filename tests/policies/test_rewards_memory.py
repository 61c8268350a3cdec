"""What was stored, kept right and looked up, against numbers counted by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from reward_traces import (
    CORRECTED,
    HERON,
    JUNK,
    QUESTION,
    STALE,
    VELL,
    Rollout,
    answered,
    component,
    rewarded,
    to_the_question,
)

from agemem_eval.harness.plan import make_embedder


@pytest.mark.parametrize(
    ("contents", "additions", "sentences", "recall"),
    [
        ((), 0, 0, 0),
        ((HERON,), 1, 1, 1 / 2),
        ((HERON, VELL), 1, 1, 1),
        ((HERON, JUNK), 1 / 2, 1 / 2, 1 / 2),
        ((HERON, HERON, HERON), 1 / 3, 1 / 3, 1 / 2),  # said again: nothing new
        ((HERON, f"{HERON}\n\n{VELL}"), 1, 1, 1),
        ((f"{HERON} {JUNK} {JUNK} Tea is nice.",), 1, 1 / 4, 1 / 2),
        ((JUNK, "Tea is better than coffee."), 0, 0, 0),
        (("Silver Heron: It was built in Oldmere.",), 0, 0, 0),
    ],
)
async def test_storage_is_the_share_of_additions_that_say_a_gold_fact_first(
    contents: tuple[str, ...], additions: float, sentences: float, recall: float
) -> None:
    evidence = answered(to_the_question(*contents)).evidence()
    assert await component("memory.storage", evidence) == pytest.approx(additions)
    by_sentence = await component("memory.storage", evidence, storage="sentences")
    assert by_sentence == pytest.approx(sentences)
    assert await component("memory.recall", evidence) == pytest.approx(recall)


async def test_only_additions_of_stage_1_are_storage_and_all_where_there_are_no_stages() -> None:
    rollout = to_the_question(JUNK)
    rollout.say()
    rollout.add(HERON)
    evidence = answered(rollout).evidence()
    assert await component("memory.storage", evidence) == 0
    alone = rollout.evidence(staged=False)
    assert await component("memory.storage", alone) == pytest.approx(1 / 2)


async def test_stage_1_knows_no_better_than_what_was_told_before_its_correction() -> None:
    evidence = answered(to_the_question(STALE)).evidence(gold=CORRECTED)
    assert await component("memory.storage", evidence) == 1


def updated(rollout: Rollout, id_: str) -> None:
    rollout.update(id_, f"{JUNK} So take a coat.")


def unchanged(rollout: Rollout, id_: str) -> None:
    rollout.update(id_, JUNK, changed=False)


def relabelled(rollout: Rollout, id_: str) -> None:
    rollout.update(id_, JUNK.upper())


def refused(rollout: Rollout, id_: str) -> None:
    rollout.call("Update_memory", "not_found", memory_id=id_)
    rollout.call("Delete_memory", "cancelled", memory_id=id_, confirmation=False)


def deleted(rollout: Rollout, id_: str) -> None:
    rollout.delete(id_, JUNK)


def undone(rollout: Rollout, id_: str) -> None:
    rollout.delete(rollout.add("a note"), "a note")


@pytest.mark.parametrize(
    ("does", "changed", "better"),
    [(updated, 1, 0), (deleted, 1, 0), (unchanged, 0, 0), (relabelled, 0, 0), (refused, 0, 0),
     (undone, 0, 0)],
)  # fmt: skip
async def test_maintenance_wants_an_effect(
    does: Callable[[Rollout, str], None], changed: float, better: float
) -> None:
    rollout = to_the_question(HERON, JUNK)
    rollout.say()
    does(rollout, "e2")
    evidence = answered(rollout).evidence()
    assert await component("memory.maintenance", evidence) == changed
    assert await component("memory.maintenance", evidence, maintenance="better") == better


@pytest.mark.parametrize("how", ["delete", "update"])
@pytest.mark.parametrize(("held", "expected"), [((HERON,), 0), ((HERON, HERON), 1)])
async def test_to_lose_a_gold_fact_is_no_maintenance_unless_another_entry_says_it(
    how: str, held: tuple[str, ...], expected: float
) -> None:
    rollout = to_the_question(*held)
    rollout.say()
    if how == "delete":
        rollout.delete("e1", HERON)
    else:
        rollout.update("e1", JUNK)
    evidence = answered(rollout).evidence()
    assert await component("memory.maintenance", evidence) == expected


def corrected_rollout(*, told: bool) -> Rollout:
    rollout = Rollout()
    rollout.observe(STALE)
    rollout.say()
    rollout.add(STALE)
    rollout.act()
    rollout.begin_anew()
    rollout.observe("I was wrong: the Silver Heron was built in Port Tallow." if told else JUNK)
    rollout.say()
    return rollout


async def test_what_was_told_first_is_gold_until_it_is_corrected() -> None:
    for told, expected in ((True, 1), (False, 0)):
        rollout = corrected_rollout(told=told)
        rollout.delete("e1", STALE)
        evidence = rollout.evidence(gold=CORRECTED)
        for mode in ("changed", "better"):
            assert await component("memory.maintenance", evidence, maintenance=mode) == expected


async def test_a_correction_in_place_is_maintenance_in_either_mode() -> None:
    rollout = corrected_rollout(told=True)
    rollout.update("e1", HERON)
    evidence = rollout.evidence(gold=CORRECTED)
    for mode in ("changed", "better"):
        assert await component("memory.maintenance", evidence, maintenance=mode) == 1


async def test_relevance_is_the_mean_clipped_cosine_of_what_was_found_for_the_question() -> None:
    embedder = make_embedder("hashing")
    asked, heron, junk = embedder.embed([QUESTION, HERON, JUNK])
    rollout = to_the_question()
    rollout.say()
    rollout.retrieve(HERON, JUNK)
    rollout.retrieve(HERON)  # again: once is enough
    expected = (max(0.0, float(heron @ asked)) + max(0.0, float(junk @ asked))) / 2
    found = await component("memory.relevance", answered(rollout).evidence())
    assert found == pytest.approx(expected, abs=1e-6)
    assert 0 < expected < 1


async def test_nothing_retrieved_for_the_question_is_0_whatever_was_looked_up_before() -> None:
    rollout = Rollout()
    rollout.observe(HERON)
    rollout.say()
    rollout.retrieve(HERON)
    assert await component("memory.relevance", rollout.evidence()) == 0
    rollout.begin_anew()
    rollout.ask()
    assert await component("memory.relevance", answered(rollout).evidence()) == 0


async def test_without_gold_storage_is_not_scored_and_the_mean_is_of_the_others() -> None:
    rollout = to_the_question(HERON)
    rollout.say()
    rollout.update("e1", VELL)
    reward = await rewarded(answered(rollout).evidence(gold=None))
    assert reward.components["memory.storage"] is None
    assert reward.components["memory.recall"] is None
    assert reward.components["memory.maintenance"] == 1
    assert reward.components["memory.relevance"] == 0
    assert reward.components["memory"] == pytest.approx(1 / 2)


@pytest.mark.parametrize(("changed", "expected"), [(True, 1), (False, 0)])
async def test_of_an_entry_of_before_the_episode_the_memory_says_whether_it_changed(
    changed: bool, expected: float
) -> None:
    rollout = to_the_question()
    rollout.say()
    rollout.update("from before", JUNK, changed=changed)
    assert await component("memory.maintenance", answered(rollout).evidence()) == expected
