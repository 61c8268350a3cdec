"""What the answer and the context are worth, against numbers counted by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from quality_bench import judging
from reward_traces import (
    BUDGET,
    HERON,
    JUNK,
    Rollout,
    answered,
    component,
    rewarded,
    to_the_question,
)

from agemem_eval.harness.errors import ModelError, UsageError
from agemem_eval.harness.models.cache import ReplyCache, cached
from agemem_eval.harness.models.openai import OpenAIModel
from agemem_eval.harness.plan import make_embedder
from agemem_eval.harness.testserver import ChatServer
from agemem_eval.harness.types import Gold
from agemem_eval.policies.recipe import RewardRecipe
from agemem_eval.policies.rewards import Rewarder

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
