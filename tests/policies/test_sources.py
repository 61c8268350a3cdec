"""Several sources of tasks in one training: what a recipe says of them, and how they are played."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import train_runs

from agemem_eval.harness.errors import UsageError
from agemem_eval.harness.ledger import Usage
from agemem_eval.harness.models import ModelBase
from agemem_eval.harness.stats import macro_average, mean
from agemem_eval.harness.types import Completion, ModelInfo
from agemem_eval.policies.card import play_command
from agemem_eval.policies.command import find_recipe
from agemem_eval.policies.engines.episodes import Episodes
from agemem_eval.policies.logs import evaluation_line, step_line
from agemem_eval.policies.mixture import Pick
from agemem_eval.policies.progress import evaluation_text, numbers
from agemem_eval.policies.recipe import read_recipe
from agemem_eval.policies.refusals import set_value
from agemem_eval.policies.rollout import Player
from agemem_eval.policies.trajectory import Group, Reward

PDDL = {"env": "pddl"}
STAGED = {"env": "three-stage", "options": {"three-stage": {"env": "alfworld"}}}


def parts(*sources, **values):
    return train_runs.recipe(tasks__sources=list(sources), **values).parts


# --- the recipe -------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "known"), [
    ("tiny", "af9146b2d2d64b46"), ("qwen2.5-7b-instruct", "04f40a6928240426"),
    ("qwen3-4b-instruct", "aa01910c54773137"),
])  # fmt: skip
def test_a_recipe_of_one_source_keeps_the_hash_it_had_before_there_could_be_several(name, known):
    assert read_recipe(find_recipe(name)).hash == known
    assert read_recipe(find_recipe(name), {"tasks.sources": []}).hash == known


def test_a_recipe_of_one_source_is_its_own_part():
    recipe = train_runs.recipe()
    assert recipe.parts == (recipe,)
    assert recipe.labels == ("hotpotqa",)


def test_what_a_source_leaves_out_is_as_in_tasks_and_agent():
    questions, puzzles = parts(
        {}, {**PDDL, "agent": {"max_steps": 9}, "evaluation": {"first": 7}},
        tasks__first=5, tasks__embedder="hashing", tasks__data="/data",
        tasks__options={"hotpotqa": {"form": "three-stage"}, "agemem": {"k": "2"}},
    )  # fmt: skip
    assert (questions.tasks.env, questions.tasks.first, questions.tasks.episodes) == (
        "hotpotqa", 5, 30,
    )  # fmt: skip
    assert (puzzles.tasks.env, puzzles.tasks.first, puzzles.tasks.episodes) == ("pddl", 0, None)
    assert puzzles.tasks.options == {"agemem": {"k": "2"}}  # no option of another environment
    assert questions.agent.max_steps is None
    assert (puzzles.agent.max_steps, puzzles.agent.context_tokens) == (9, 4000)
    assert (questions.evaluation.first, questions.evaluation.episodes) == (4000, 2)
    assert (puzzles.evaluation.first, puzzles.evaluation.episodes) == (7, 2)
    assert {str(part.tasks.data) for part in (questions, puzzles)} == {"/data"}


@pytest.mark.parametrize(("wanted", "own", "scores"), [
    ("f1", None, ["f1", "progress", "progress"]), ("success", None, ["success"] * 3),
    ("progress", None, ["f1", "progress", "progress"]),
    ("em", "success", ["em", "progress", "success"]),
])  # fmt: skip
def test_each_source_has_the_score_that_suits_it(wanted, own, scores):
    found = parts({}, PDDL, {**STAGED, "task_score": own}, reward__task_score=wanted)
    assert [part.reward.task_score for part in found] == scores


def test_an_environment_of_which_no_progress_is_known_is_scored_by_success():
    assert parts({}, {"env": "some.package:Env"})[1].reward.task_score == "success"


def test_sources_are_called_by_their_environment_and_number_where_that_is_no_name():
    recipe = train_runs.recipe(tasks__sources=[{}, STAGED, {"env": "alfworld"}])
    assert recipe.labels == ("hotpotqa", "alfworld-1", "alfworld-2")


def test_what_a_source_says_is_part_of_the_identity_and_what_it_leaves_out_is_not():
    def hash_(*sources):
        return train_runs.recipe(tasks__sources=list(sources)).hash

    assert hash_({}, PDDL) == hash_({"split": None, "agent": {}}, {**PDDL, "evaluation": {}})
    other = [{"weight": 2.0}, {"agent": {"max_steps": 4}}, {"evaluation": {"first": 3}},
             {"task_score": "success"}, {"first": 0}, {"options": {}}]  # fmt: skip
    assert len({hash_({}, {**PDDL, **more}) for more in ({}, *other)}) == 7


@pytest.mark.parametrize(("sources", "said"), [
    ([{}, {"env": "pdl"}], r"tasks.sources.1.env: .* did you mean 'pddl'"),
    ([{}, {**PDDL, "wieght": 1}], r"'tasks.sources.1.wieght'; did you mean 'tasks.sources.1.w"),
    ([{}, {**PDDL, "agent": {"max_step": 1}}], r"did you mean 'tasks.sources.1.agent.max_steps'"),
    ([{"weight": 0}], r"tasks.sources.0.weight: .* greater than 0"),
    ([{}, {**PDDL, "task_score": "f1"}], r"tasks.sources.1.task_score f1 is of questions; for pd"),
    ([{"task_score": "progress"}], r"tasks.sources.0.task_score: hotpotqa tells no progress"),
    ([{"task_score": "judge"}], r"tasks.sources.0.task_score judge: set reward.task_score"),
    ([{}, {**PDDL, "agent": {"context_tokens": 8190}}],
     r"tasks.sources.1.agent.context_tokens 8190 and .* exceed the model's 8192 positions"),
])  # fmt: skip
def test_what_is_wrong_with_a_source_is_told_with_its_number(sources, said):
    with pytest.raises(UsageError, match=said):
        train_runs.recipe(tasks__sources=sources)


def test_a_list_in_the_place_of_tasks_is_told_where_sources_stand():
    with pytest.raises(UsageError, match=r"tasks: several sources are listed under tasks\.sources"):
        train_runs.recipe(tasks=[{}, PDDL])


@pytest.mark.parametrize(("sources", "said"), [
    ([{}, {**PDDL, "episodes": 5000}], r"tasks\.sources\.1\.first 0 and .*episodes 5000: the sp"),
    ([{}, {**PDDL, "evaluation": {"first": 5000}}], r"tasks\.sources\.1\.evaluation\.first 5000"),
    ([{}, {**PDDL, "evaluation": {"first": 100}}],
     r"tasks of tasks\.sources\.1 are also tasks of tasks\.sources\.1\.evaluation"),
    ([{"evaluation": {"first": 4000}}, {"first": 3999, "episodes": 9}],
     r"tasks of tasks\.sources\.1 are also tasks of tasks\.sources\.0\.evaluation"),
    ([{}, {**PDDL, "split": "trian"}], r"tasks\.sources\.1: .*'trian'"),
    ([{}, {**PDDL, "options": {"pddl": {"domian": "x"}}}], r"tasks\.sources\.1: .*'domian'"),
    ([{}, {**PDDL, "episodes": 1, "evaluation": {"first": 900}}],
     r"tasks\.sources\.1: grpo\.tasks_per_step 4, 2 of them its share, but there are 1 tasks"),
])  # fmt: skip
def test_a_source_that_cannot_be_is_refused_before_anything_is_loaded(tmp_path, sources, said):
    recipe = train_runs.recipe(tasks__sources=sources, grpo__tasks_per_step=4)
    with pytest.raises(UsageError, match=said):
        train_runs.plan(recipe, tmp_path / "run")


def test_demonstrations_of_what_any_source_holds_out_are_refused(tmp_path):
    shown = {"env": "pddl", "expert": "observer", "first": 895, "episodes": 9}
    recipe = train_runs.recipe(**train_runs.sources(), sft__demonstrations=shown)
    with pytest.raises(UsageError, match=r"also tasks of tasks\.sources\.1\.evaluation"):
        train_runs.plan(recipe, tmp_path / "run")


def test_a_value_of_one_source_is_set_by_its_number():
    values = {"tasks": {"sources": [{}, {"env": "pddl"}]}}
    set_value(values, "tasks.sources.1.agent.max_steps", 5)
    set_value(values, "tasks.sources.0", {"weight": 2})
    assert values["tasks"]["sources"] == [{"weight": 2}, {"env": "pddl", "agent": {"max_steps": 5}}]
    for key in ("tasks.sources.2.weight", "tasks.sources.one", "tasks.sources.-1"):
        with pytest.raises(UsageError, match="is none of the 2 there, from 0"):
            set_value(values, key, 1)
    with pytest.raises(UsageError, match="env is no section"):
        set_value(values, "tasks.sources.1.env.name", 1)


def test_each_source_has_a_command_that_plays_it():
    recipe = train_runs.recipe(tasks__sources=[{}, {**STAGED, "agent": {"max_steps": 30}}])
    first, second = (play_command(part) for part in recipe.parts)
    assert "--env hotpotqa" in first
    assert "--env three-stage" in second
    assert "-o three-stage.env=alfworld" in second
    assert "--max-steps 30" in second
    assert "--max-steps" not in first


def test_an_engine_of_others_takes_one_source():
    with pytest.raises(UsageError, match="a recipe and a task set for each"):
        Episodes(train_runs.recipe(tasks__sources=[{}, PDDL]), "verl")


# --- playing ----------------------------------------------------------------------------------


class Policy(ModelBase):
    """Says ok to everything, with tokens, and notes how many episodes it may wait for."""

    def __init__(self):
        self.info, self.expected = ModelInfo("policy", training="agemem"), []

    async def generate(self, request):
        text = "<think>so</think><answer>ok</answer>"
        more = {"token_ids": (7, 8), "logprobs": (-0.5, -1.0), "prompt_ids": (1, 2, 3)}
        return Completion(text, Usage(3, 2), **more)

    def expect(self, callers):
        self.expected.append(callers)


async def played(policy):
    recipe = train_runs.recipe(**train_runs.sources())
    player, left = Player(recipe, policy), []
    player.watch = left.append
    try:
        await player.list_tasks()
        questions = await player.tasks("generated-train", 0, 2)
        puzzles = await player.tasks("generated-train", 0, 1, 1)
        picks = [*map(Pick, questions), Pick(puzzles[0], 1)]
        batch = await player.groups(picks, rollouts=2, temperature=1.0, round_=0)
    finally:
        await player.close()
    return recipe, batch.groups, left


async def test_a_group_is_of_one_task_of_one_source_and_played_as_the_source_says():
    _, groups, _ = await played(Policy())
    assert [(group.source, len(group.trajectories)) for group in groups] == [(0, 2), (0, 2), (1, 2)]
    for group in groups:
        episodes = [trajectory.episode for trajectory in group.trajectories]
        env = "pddl" if group.source else "hotpotqa"
        assert {episode.key.env for episode in episodes} == {env}
        assert {episode.key.task for episode in episodes} == {group.task}
        assert all(episode.key.data_hash for episode in episodes)
        stages = {step.stage for t in group.trajectories for step in t.steps}
        assert stages == ({3} if group.source else {1, 3})
    puzzles = groups[2].trajectories[0]
    assert puzzles.episode.steps == 3  # its own limit
    assert puzzles.reward.components["task"] == puzzles.episode.progress
    assert puzzles.reward.components["penalty.rounds"] == -1


async def test_the_episodes_of_all_sources_are_counted_together():
    policy = Policy()
    _, _, left = await played(policy)
    assert policy.expected == left == [6, 5, 4, 3, 2, 1, 0]


# --- what is told -----------------------------------------------------------------------------


def group(source, task, *rewards, success=False):
    """A group of what is told of trajectories."""
    made = [
        SimpleNamespace(
            task=task, steps=(),
            reward=Reward(r, {"task": r / 2, "memory.recall": r, "answered": 1.0}, {}),
            episode=SimpleNamespace(success=success, turns=1, steps=1, malformed_outputs=0,
                                    overflow_drops=0, tool_calls={}),
        )
        for r in rewards
    ]  # fmt: skip
    return Group(task, tuple(made), source)


GROUPS = [
    group(0, "a", 0.2), group(0, "b", 0.4), group(0, "c", 0.9),
    group(1, "a", 0.9, success=True), group(1, "d", 0.7),
]  # fmt: skip


def test_held_out_results_are_the_mean_of_the_sources_means_and_told_by_source():
    recipe = train_runs.recipe(tasks__sources=[{}, PDDL])
    line = evaluation_line(recipe, 4, GROUPS, 0, 1.0)
    assert line["reward"] == pytest.approx((0.5 + 0.8) / 2)
    assert line["components"]["task"] == pytest.approx(line["reward"] / 2)
    assert line["tasks"] == 5
    told = line["sources"]
    assert list(told) == ["hotpotqa", "pddl"]
    assert told["hotpotqa"]["reward"] == pytest.approx(0.5)
    assert told["pddl"]["reward"] == pytest.approx(0.8)
    assert told["pddl"]["components"] == {"task": pytest.approx(0.4), "answered": 1.0}
    assert (told["pddl"]["success"], told["pddl"]["tasks"]) == (0.5, 2)
    own = [mean([0.2, 0.4, 0.9], list("abc")), mean([0.9, 0.7], list("ad"))]
    whole = macro_average(own)
    assert (line["low"], line["high"]) == (pytest.approx(whole.low), pytest.approx(whole.high))
    assert told["pddl"]["low"] == pytest.approx(own[1].low)
    text = evaluation_text(line)
    assert text.startswith("held-out reward 0.650 [")
    assert "(hotpotqa 0.500, pddl 0.800) of 5 tasks" in text


def test_a_step_tells_the_mean_reward_of_each_source_that_it_played():
    recipe = train_runs.recipe(tasks__sources=[{}, PDDL, STAGED])
    line = step_line(recipe, 4, [group(0, "a", 0.2, 0.4), group(1, "a", 0.9, 0.9)])
    assert line["reward"] == pytest.approx(0.6)
    told = line["sources"]
    assert {name: one["flat_groups"] for name, one in told.items()} == {"hotpotqa": 0, "pddl": 1}
    assert numbers(line)[-2:] == ["hotpotqa 0.300", "pddl 0.900"]


def test_nothing_is_told_by_source_where_there_is_one():
    recipe, groups = train_runs.recipe(), GROUPS[:3]
    assert "sources" not in step_line(recipe, 1, groups)
    line = evaluation_line(recipe, 1, groups, 0, 1.0)
    assert "sources" not in line
    assert line["method"] == mean([0.2, 0.4, 0.9], list("abc")).method
