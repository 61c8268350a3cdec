"""Every component of the reward against numbers counted by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from quality_bench import judging
from reward_traces import BUDGET, GOLD, HERON, QUESTION, VELL, Rollout

from agemem_eval.harness.errors import ModelError, UsageError
from agemem_eval.harness.models.cache import ReplyCache, cached
from agemem_eval.harness.models.openai import OpenAIModel
from agemem_eval.harness.plan import make_embedder
from agemem_eval.harness.testserver import ChatServer
from agemem_eval.harness.types import Gold
from agemem_eval.policies.recipe import RewardRecipe
from agemem_eval.policies.rewards import Evidence, Rewarder
from agemem_eval.policies.trajectory import Reward

STALE = "Silver Heron: It was built in Oldmere."
CORRECTED = replace(GOLD, stale=(STALE,), corrected=(HERON,))
JUNK = "Rain is expected on Friday."


async def rewarded(evidence: Evidence, **recipe: Any) -> Reward:
    return await Rewarder(RewardRecipe(**recipe), make_embedder("hashing"), None)(evidence)


async def component(name: str, evidence: Evidence, **recipe: Any) -> float | None:
    return (await rewarded(evidence, **recipe)).components[name]


def to_the_question(*writes: str) -> Rollout:
    """Stage 1 with some additions, a distractor, and the question, not yet answered."""
    rollout = Rollout()
    rollout.observe(f"{HERON}\n{VELL}")
    rollout.say()
    for content in writes:
        rollout.add(content)
    rollout.act()
    rollout.begin_anew()
    rollout.observe(JUNK)
    rollout.say()
    rollout.act()
    rollout.ask()
    return rollout


def answered(rollout: Rollout, tokens: int | None = None) -> Rollout:
    rollout.say("<answer>Port Tallow</answer>", tokens)
    rollout.act("Port Tallow", answer="Port Tallow")
    return rollout


# --- task ------------------------------------------------------------------------------------


async def test_an_answer_is_worth_the_environments_own_score() -> None:
    evidence = answered(to_the_question()).evidence(metrics={"f1": 0.4, "em": 0.0})
    assert await component("task", evidence) == 0.4
    assert await component("task", evidence, task_score="em") == 0.0
    assert await component("answered", evidence) == 1


async def test_without_an_answer_the_task_is_minus_one_whatever_the_scores_are() -> None:
    evidence = to_the_question().evidence(metrics={"f1": 0.0, "em": 0.0}, success=False)
    assert await component("task", evidence) == -1
    assert await component("answered", evidence) == 0
    assert await component("task", evidence, profile="release") == -1


async def test_success_and_progress_are_scores_of_what_was_done() -> None:
    rollout = to_the_question()
    rollout.say()
    rollout.act("go north")
    evidence = rollout.evidence(success=False, progress=0.75)
    assert await component("task", evidence, task_score="success") == 0
    assert await component("task", evidence, task_score="progress") == 0.75
    gave_up = rollout.evidence(success=False, progress=0.75, status="agent_error")
    assert await component("task", gave_up, task_score="progress") == -1


async def test_blank_actions_and_those_of_earlier_stages_are_no_answer() -> None:
    rollout = to_the_question()
    rollout.say()
    rollout.act("  ")
    assert await component("task", rollout.evidence(progress=0.5), task_score="progress") == -1


async def test_a_score_that_the_environment_does_not_tell_is_refused() -> None:
    evidence = answered(to_the_question()).evidence(metrics={})
    with pytest.raises(UsageError, match="hotpotqa tells none"):
        await rewarded(evidence)


async def test_a_judge_is_counted_and_a_kept_reply_is_not_asked_for_again(tmp_path: Any) -> None:
    async with ChatServer(lambda _: '{"score": 0.7}') as server:
        model = OpenAIModel("judge", base_url=server.url, timeout_s=5, max_retries=0)
        kept = cached(model, ReplyCache(tmp_path))
        recipe = RewardRecipe(task_score="judge", judge="openai:judge")
        rewarder = Rewarder(recipe, make_embedder("hashing"), kept)
        evidence = answered(to_the_question()).evidence()
        rewards = [await rewarder(evidence) for _ in range(3)]
        unanswered = await rewarder(to_the_question().evidence())
        await kept.close()
    assert [reward.components["task"] for reward in rewards] == [0.7] * 3
    assert unanswered.components["task"] == -1
    assert len(server.requests) == 1
    assert rewarder.ledger.roles["judge"].calls == 3


async def test_a_judge_that_gives_no_score_breaks_the_rollout_and_scores_nothing() -> None:
    async with judging(lambda _: "no idea") as (server, _, _, _):
        model = OpenAIModel("judge", base_url=server.url, timeout_s=5, max_retries=0)
        recipe = RewardRecipe(task_score="judge", judge="openai:judge")
        rewarder = Rewarder(recipe, make_embedder("hashing"), model)
        with pytest.raises(ModelError, match="the judge gave no score"):
            await rewarder(answered(to_the_question()).evidence())
        await model.close()


# --- context ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("used", "expected"), [(0, 1), (250, 0.75), (BUDGET, 0), (1500, 0)])
async def test_compression_is_the_share_of_the_budget_left_at_the_answer(
    used: int, expected: float
) -> None:
    evidence = answered(to_the_question(), used).evidence()
    assert await component("context.compression", evidence) == pytest.approx(expected)


async def test_compression_without_an_answer_is_that_of_the_last_call_and_0_without_any() -> None:
    rollout = to_the_question()
    rollout.say(tokens=400)
    assert await component("context.compression", rollout.evidence()) == pytest.approx(0.6)
    assert await component("context.compression", Rollout().evidence()) == 0


async def test_calls_after_the_answer_are_no_part_of_its_context() -> None:
    rollout = answered(to_the_question(), 250)
    rollout.say(tokens=900)
    assert await component("context.compression", rollout.evidence()) == pytest.approx(0.75)


def filtered(rollout: Rollout) -> None:
    rollout.filter(rollout.observe("a b c d e f"), rollout.observe("g h"))


def nothing_filtered(rollout: Rollout) -> None:
    rollout.filter("m1")  # the system prompt, which is pinned


def condensed(rollout: Rollout) -> None:
    rollout.summarise("short", rollout.observe("a b c d e f g h i j"), rollout.observe("k"))


def inflated(rollout: Rollout) -> None:
    first = rollout.observe("a b")
    rollout.observe("k")
    rollout.summarise("a summary that is longer than all it replaces", first)


def mentioned(rollout: Rollout) -> None:
    rollout.say("<think>I use Filter_context and Summary_context now.</think>")


def failed(rollout: Rollout) -> None:
    rollout.call("Filter_context", "validation_error")


def overflowed_first(rollout: Rollout) -> None:
    rollout.observe("word " * 900)
    rollout.observe("word " * 900)
    rollout.context.fit()
    filtered(rollout)


def overflowed_later(rollout: Rollout) -> None:
    filtered(rollout)
    rollout.observe("word " * 900)
    rollout.observe("word " * 900)
    rollout.context.fit()


@pytest.mark.parametrize(
    ("does", "expected"),
    [
        (filtered, 1), (condensed, 1), (overflowed_later, 1), (nothing_filtered, 0),
        (inflated, 0), (mentioned, 0), (failed, 0), (overflowed_first, 0),
    ],
)  # fmt: skip
async def test_a_context_tool_is_preventive_if_it_made_room_before_any_overflow(
    does: Callable[[Rollout], None], expected: float
) -> None:
    rollout = Rollout()
    rollout.observe("hello")
    rollout.say()
    does(rollout)
    rollout.say()
    assert await component("context.preventive", rollout.evidence()) == expected


async def test_what_nothing_was_removed_from_preserves_everything() -> None:
    assert await component("context.preservation", answered(to_the_question()).evidence()) == 1


async def test_a_key_phrase_that_was_retrieved_and_filtered_away_is_lost() -> None:
    rollout = to_the_question()
    rollout.say()
    shown = rollout.retrieve(HERON)
    rollout.say()
    rollout.filter(shown)
    assert await component("context.preservation", answered(rollout).evidence()) == 0


async def test_a_key_phrase_survives_in_a_summary_or_is_fetched_again() -> None:
    rollout = to_the_question()
    rollout.say()
    shown = rollout.retrieve(HERON)
    rollout.say()
    rollout.summarise("Summary of 1 earlier messages:\nThe Silver Heron: Port Tallow.", shown)
    assert await component("context.preservation", answered(rollout).evidence()) == 1

    rollout = to_the_question()
    rollout.say()
    rollout.filter(rollout.retrieve(HERON))
    rollout.say()
    rollout.retrieve(HERON)
    assert await component("context.preservation", answered(rollout).evidence()) == 1


async def test_a_summary_that_drops_the_phrase_loses_it_though_a_thought_echoes_it() -> None:
    rollout = to_the_question()
    rollout.say()
    shown = rollout.retrieve(HERON)
    rollout.summarise("Summary of 1 earlier messages:\nA ship.", shown)
    rollout.say("<think>The Silver Heron, the Silver Heron.</think>")
    assert await component("context.preservation", answered(rollout).evidence()) == 0


async def test_the_context_before_its_new_beginning_loses_nothing() -> None:
    rollout = Rollout()
    told = rollout.observe(HERON)
    rollout.say()
    rollout.observe(JUNK)
    rollout.filter(told)
    rollout.begin_anew()
    rollout.observe(JUNK)
    rollout.say()
    rollout.ask()
    assert await component("context.preservation", answered(rollout).evidence()) == 1


async def test_a_goal_without_names_and_numbers_is_preserved_word_by_word() -> None:
    gold = Gold("put a mug into the drawer", "", ())
    rollout = Rollout()
    seen = rollout.observe("There is a mug on the shelf.")
    rollout.say()
    rollout.observe("You walk.")
    rollout.filter(seen)
    rollout.say()
    evidence = rollout.evidence(gold=gold, staged=False)
    assert await component("context.preservation", evidence, task_score="success") == 0
    none = rollout.evidence(gold=Gold("?", "", ()), staged=False)
    reward = await rewarded(none, task_score="success")
    assert reward.components["context.preservation"] is None
    shares = [reward.components[f"context.{name}"] for name in ("compression", "preventive")]
    assert reward.components["context"] == pytest.approx(sum(s or 0 for s in shares) / 2)


# --- memory ----------------------------------------------------------------------------------


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
