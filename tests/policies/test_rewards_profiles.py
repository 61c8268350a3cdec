"""Both profiles against totals computed by hand, and what a recipe may not say."""

from __future__ import annotations

from typing import Any

import pytest
from reward_traces import BUDGET, HERON, JUNK, VELL, Rollout, recipe, rewarded

from agemem_eval.harness.errors import UsageError
from agemem_eval.harness.plan import make_embedder
from agemem_eval.policies.recipe import RewardRecipe
from agemem_eval.policies.rewards import Rewarder
from agemem_eval.policies.rewards.profiles import mean, weighted


def whole() -> Rollout:
    """6 model calls, 3 of them of stage 3; 5 successful calls of memory tools.

    storage 1/2, maintenance 1, relevance as the embedder says; compression 0.8, preventive 1,
    preservation 1.
    """
    rollout = Rollout()
    rollout.observe(f"{HERON}\n{VELL}")
    rollout.say()  # 1
    rollout.add(HERON)
    rollout.add(JUNK)
    rollout.act()
    rollout.begin_anew()
    talk = rollout.observe("a b c d e f g")
    rollout.say()  # 2
    rollout.delete("e2", JUNK)
    rollout.act()
    rollout.observe("h")
    rollout.say()  # 3
    rollout.filter(talk)
    rollout.call("Update_memory", "not_found")
    rollout.act()
    rollout.ask()
    rollout.say()  # 4
    rollout.retrieve(HERON)
    rollout.say()  # 5
    rollout.say("<answer>Port Tallow</answer>", 200)  # 6
    rollout.act("Port Tallow", answer="Port Tallow")
    return rollout


def relevance() -> float:
    asked, found = make_embedder("hashing").embed(["Where was the Silver Heron built?", HERON])
    return float(asked @ found)


async def test_the_papers_total_is_the_mean_of_the_three_parts() -> None:
    reward = await rewarded(whole().evidence(metrics={"f1": 0.5}))
    context = (0.8 + 1 + 1) / 3
    memory = (1 / 2 + 1 + relevance()) / 3
    assert reward.components["context"] == pytest.approx(context)
    assert reward.components["memory"] == pytest.approx(memory)
    assert reward.components["penalty"] == 0
    assert reward.total == pytest.approx((0.5 + context + memory) / 3)


async def test_the_releases_total_adds_a_tool_term() -> None:
    reward = await rewarded(whole().evidence(metrics={"f1": 0.5}), profile="release")
    # 5 calls in 6 steps: +0.2; Retrieve +0.2; Filter +0.2; Add +0.1; 3 steps: 0.2 (1 - 3/5)
    tool = 0.2 + 0.2 + 0.2 + 0.1 + 0.08
    assert reward.components["tool"] == pytest.approx(tool)
    context = (0.8 + 1 + 1) / 3
    memory = (1 / 2 + 1 + relevance()) / 3
    expected = 0.5 * 0.5 + 0.15 * context + 0.15 * memory + 0.2 * tool
    assert reward.total == pytest.approx(expected)


@pytest.mark.parametrize("profile", ["paper", "release"])
async def test_answer_only_is_the_task_alone_and_the_parts_are_told_all_the_same(
    profile: str,
) -> None:
    all_returns = await rewarded(whole().evidence(metrics={"f1": 0.5}), profile=profile)
    answer_only = await rewarded(
        whole().evidence(metrics={"f1": 0.5}, status="limit"), profile=profile, scheme="answer-only"
    )
    assert answer_only.total == 0.5
    penalties = ("penalty", "penalty.rounds")
    assert {
        name: value for name, value in answer_only.components.items() if name not in penalties
    } == {name: value for name, value in all_returns.components.items() if name not in penalties}


async def test_weights_are_those_of_the_recipe() -> None:
    weights = {"task": 0.7, "context": 0.1, "memory": 0.1, "tool": 0.1}
    reward = await rewarded(whole().evidence(metrics={"f1": 0.5}), weights=weights)
    parts = {name: reward.components[name] or 0.0 for name in weights}
    assert reward.total == pytest.approx(sum(weights[name] * parts[name] for name in weights))


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        ([], {"rate": 0, "brevity": 0.2 * (1 - 1 / 5)}),
        ([("Add_memory", "success")], {"rate": 0.2, "add": 0.1}),
        ([("Add_memory", "success")] * 2, {"rate": 0.2, "add": 0.1}),
        ([("Add_memory", "success")] * 3, {"rate": 0, "add": 0.1}),
        ([("Add_memory", "success")] * 4, {"rate": -0.1, "add": 0.1}),
        ([("Add_memory", "validation_error")], {"rate": 0, "add": 0}),
        ([("Summary_context", "success")], {"rate": 0.2, "context": 0.2}),
        ([("Filter_context", "success")], {"rate": 0.2, "context": 0.2}),
        ([("Retrieve_memory", "success")], {"rate": 0.2, "retrieve": 0.2}),
        ([("List_valid_actions", "success")], {"rate": 0}),
    ],
)
async def test_the_tool_term_counts_successful_calls_of_memory_tools(
    term: list[tuple[str, str]], expected: dict[str, float]
) -> None:
    rollout = Rollout()
    rollout.say()
    for name, status in term:
        rollout.call(name, status)
    evidence = rollout.evidence(staged=False)
    reward = await rewarded(evidence, profile="release")
    found = {name: reward.components[f"tool.{name}"] for name in expected}
    assert found == pytest.approx(expected)


async def test_a_call_that_was_to_change_something_and_did_not_counts_for_nothing() -> None:
    rollout = Rollout()
    rollout.observe("a")
    rollout.say()
    rollout.filter("m1")
    rollout.update("e1", "x", changed=False)
    components = (await rewarded(rollout.evidence(), profile="release")).components
    assert components["tool.rate"] == components["tool.context"] == 0


async def test_naming_tools_everywhere_earns_nothing_in_the_release_profile() -> None:
    silent, loud = Rollout(), Rollout()
    for rollout, text in ((silent, "hm"), (loud, "Retrieve_memory Summary_context Add_memory")):
        rollout.observe(text)
        rollout.say(f"<think>{text}</think>", 10)
    rewards = [await rewarded(r.evidence(), profile="release") for r in (silent, loud)]
    assert rewards[0].total == rewards[1].total


def long(calls: int) -> Rollout:
    """A trajectory of one stage-1 call and some of stage 3."""
    rollout = Rollout()
    rollout.observe("talk")
    rollout.say(tokens=10)
    rollout.begin_anew()
    rollout.ask()
    for _ in range(calls):
        rollout.say(tokens=10)
    return rollout


@pytest.mark.parametrize(
    ("profile", "max_rounds", "calls", "expected"),
    [
        ("paper", 5, 4, 0), ("paper", 5, 5, -1),  # all calls count: 1 + 5 > 5
        ("paper", None, 40, 0),
        ("release", None, 4, 0), ("release", None, 5, -1),  # those of stage 3 count: 5 >= 5
        ("release", 8, 7, 0), ("release", 8, 8, -1),
    ],
)  # fmt: skip
async def test_too_many_rounds_cost_1(
    profile: str, max_rounds: int | None, calls: int, expected: float
) -> None:
    reward = await rewarded(long(calls).evidence(), profile=profile, max_rounds=max_rounds)
    assert reward.components["penalty.rounds"] == expected
    assert reward.components["penalty"] == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, 0),
        ({"status": "limit", "reason": "step_limit"}, -1),
        ({"status": "limit", "reason": "environment_limit"}, -1),
        ({"status": "limit", "reason": "context_overflow"}, 0),
    ],
)
async def test_without_a_limit_of_its_own_the_paper_profile_takes_the_harnesss(
    fields: dict[str, str], expected: float
) -> None:
    assert (await rewarded(long(1).evidence(**fields))).components["penalty.rounds"] == expected
    lost = long(1)
    lost.trace.emit("forfeit", reason="no answer within the turns of a step")
    assert (await rewarded(lost.evidence(**fields))).components["penalty.rounds"] == -1


async def test_a_context_beyond_its_budget_costs_a_half_in_any_stage() -> None:
    dropped = Rollout()
    dropped.observe("word " * 900)
    dropped.observe("word " * 900)
    dropped.context.fit()
    dropped.say()
    beyond = Rollout()
    beyond.say(tokens=BUDGET + 1)
    at_most = Rollout()
    at_most.say(tokens=BUDGET)
    ended = Rollout().evidence(status="limit", reason="context_overflow")
    given = [dropped.evidence(), beyond.evidence(), at_most.evidence(), ended]
    for profile in ("paper", "release"):
        rewards = [await rewarded(evidence, profile=profile) for evidence in given]
        found = [reward.components["penalty.overflow"] for reward in rewards]
        assert found == [-0.5, -0.5, 0, -0.5]


async def test_the_release_is_clipped_and_the_paper_is_not() -> None:
    rollout = long(6)
    rollout.trace.emit("remove", ids=[], reason="overflow")
    rollout.say(tokens=BUDGET)
    evidence = rollout.evidence(status="limit", reason="step_limit")
    paper, release = [await rewarded(evidence, profile=p) for p in ("paper", "release")]
    assert release.total == -1
    # task -1, context: compression 0, preventive 0, preservation 1; memory 0; both penalties
    assert paper.total == pytest.approx((-1 + 1 / 3 + 0) / 3 - 1.5)


def test_the_mean_leaves_out_what_was_not_scored() -> None:
    assert mean({"a": 1.0, "b": None, "c": 0.0}) == 0.5
    assert mean({"a": None}) is None


def test_the_weight_of_a_part_that_was_not_scored_is_shared() -> None:
    weights = {"task": 0.5, "context": 0.25, "memory": 0.25}
    parts = {"task": 0.6, "context": 0.3, "memory": None}
    assert weighted(parts, weights) == pytest.approx((0.5 * 0.6 + 0.25 * 0.3) / 0.75)
    assert weighted({"memory": None}, weights) == 0


@pytest.mark.parametrize(
    ("reward", "problem"),
    [
        ({"weights": {"task": 0.5, "context": 0.2, "memory": 0.2}}, "must sum to 1, not 0.9"),
        ({"weights": {"task": 1.2, "context": -0.2, "memory": 0}}, "less than or equal to 1"),
        ({"weigths": {}}, "reward.weigths"),
        ({"task_score": "judge"}, "name a judge if and only if"),
        ({"judge": "openai:x"}, "name a judge if and only if"),
        ({"profile": "releases"}, "'paper' or 'release'"),
        ({"maintenance": "any"}, "'changed' or 'better'"),
        (
            {"scheme": "answer-only", "weights": {"task": 1, "context": 0, "memory": 0}},
            "weights weigh nothing",
        ),
    ],
)
def test_a_recipe_with_such_a_reward_is_refused(reward: dict[str, Any], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        recipe(reward=reward)


def test_questions_are_scored_as_questions_only_where_there_are_any() -> None:
    tasks = {"env": "alfworld", "split": "generated", "options": {}}
    staged = {"env": "three-stage", "options": {"three-stage": {"env": "pddl"}}}
    for others in (tasks, staged):
        with pytest.raises(UsageError, match=r"is of questions; for (alfworld|pddl) use"):
            recipe(tasks=others)
    within = {"env": "three-stage", "options": {"three-stage": {"env": "hotpotqa"}}}
    assert recipe(tasks=within).reward.task_score == "f1"
    with pytest.raises(UsageError, match="hotpotqa tells no progress"):
        recipe(reward={"task_score": "progress"})
    assert recipe(tasks=tasks, reward={"task_score": "progress"}).reward.task_score == "progress"


def test_a_judge_that_is_not_there_is_refused_before_anything_is_scored() -> None:
    wanted = RewardRecipe(task_score="judge", judge="openai:x")
    with pytest.raises(UsageError, match="there is no judge"):
        Rewarder(wanted, make_embedder("hashing"), None)
