"""Groups of rollouts: whole, seeded, tried again, and decoded only while all of them wait."""

from __future__ import annotations

import pytest
import train_runs

from agemem_eval.harness.errors import ModelError
from agemem_eval.harness.ledger import Usage
from agemem_eval.harness.models import ModelBase
from agemem_eval.harness.testserver import ChatServer
from agemem_eval.harness.types import Completion, ModelInfo
from agemem_eval.policies.mixture import Pick
from agemem_eval.policies.rollout import Player
from agemem_eval.policies.trajectory import stages_of


class Policy(ModelBase):
    """Says ok to everything, with tokens, and notes what it was asked."""

    def __init__(self, finish="stop", broken=lambda n: False):
        self.info = ModelInfo("policy", training="agemem")
        self.finish, self.broken = finish, broken
        self.seeds, self.temperatures, self.expected = [], [], []
        self.asked = 0

    async def generate(self, request):
        assert request.want_tokens
        self.asked += 1
        if self.broken(self.asked):
            raise ModelError("the server is down", "server")
        self.seeds.append(request.sampling.seed)
        self.temperatures.append(request.sampling.temperature)
        text = "<think>so</think><answer>ok</answer>"
        return Completion(
            text, Usage(3, 2), finish=self.finish, token_ids=(7, 8), logprobs=(-0.5, -1.0),
            prompt_ids=(1, 2, 3),
        )  # fmt: skip

    def expect(self, callers):
        self.expected.append(callers)


async def play(policy, n_tasks=2, rollouts=3, round_=0, **overrides):
    player = Player(train_runs.recipe(**overrides), policy)
    left = []
    player.watch = left.append
    try:
        tasks = await player.tasks("generated-train", 0, n_tasks)
        picks = [Pick(task) for task in tasks]
        batch = await player.groups(picks, rollouts=rollouts, temperature=0.7, round_=round_)
        return batch, left
    finally:
        await player.close()


async def test_each_task_is_one_group_of_all_its_rollouts():
    batch, _ = await play(Policy())
    assert [len(group.trajectories) for group in batch.groups] == [3, 3]
    for group in batch.groups:
        assert [t.rollout for t in group.trajectories] == [0, 1, 2]
        assert {t.task for t in group.trajectories} == {group.task}
    assert batch.lost == 0


async def test_a_step_is_a_model_call_with_its_exact_tokens_and_its_stage():
    batch, _ = await play(Policy(), n_tasks=1)
    for trajectory in batch.groups[0].trajectories:
        completions = [e for e in trajectory.events if e["type"] == "completion"]
        assert len(trajectory.steps) == len(completions) == trajectory.episode.turns
        assert {(s.prompt_ids, s.completion_ids) for s in trajectory.steps} == {((1, 2, 3), (7, 8))}
        stages = [step.stage for step in trajectory.steps]
        assert stages == sorted(stages)
        assert stages[0] == 1
        assert stages[-1] == 3


async def test_rollouts_of_a_group_and_rounds_draw_from_different_seeds_and_the_given_temperature():
    first, second = Policy(), Policy()
    await play(first, n_tasks=1, round_=0)
    await play(second, n_tasks=1, round_=1)
    assert len(set(first.seeds)) == 3
    assert not set(first.seeds) & set(second.seeds)
    assert set(first.temperatures) == {0.7}


async def test_the_decoder_is_told_how_many_episodes_it_may_wait_for():
    policy = Policy()
    _, left = await play(policy, sampler__concurrency=4)
    assert policy.expected == [4, 4, 4, 3, 2, 1, 0]  # 6 episodes, 4 at once
    assert left == [6, 5, 4, 3, 2, 1, 0]


async def test_a_rollout_that_the_infrastructure_broke_is_played_again():
    policy = Policy(broken=lambda n: n == 2)
    batch, _ = await play(policy, sampler__retries=1)
    assert batch.lost == 0
    assert all(len(group.trajectories) == 3 for group in batch.groups)
    assert policy.expected[-1] == 0


async def test_a_group_that_is_not_whole_is_lost_and_counted():
    def broken(n):
        return n == 1

    batch, _ = await play(Policy(broken=broken), sampler__retries=0)
    assert (len(batch.groups), batch.lost) == (1, 1)


def judged(server, **more):
    """Values of a recipe whose answers are judged."""
    return {
        "reward": {
            "task_score": "judge", "judge": "openai:judge", "judge_base_url": server.url, **more
        },
        "tasks__options": {
            "hotpotqa": {"form": "three-stage", "distractors": "0", "paragraphs": "2"},
            "openai": {"max_retries": "0"},
        },
    }  # fmt: skip


async def judge_rounds(recipe, runs_dir, policy, rounds=1):
    """Play one task with a judge; the batches."""
    batches = []
    player = Player(recipe, policy, runs_dir)
    try:
        tasks = await player.tasks("generated-train", 0, 1)
        for round_ in range(rounds):
            more = {"rollouts": 3, "temperature": 0.7, "round_": round_}
            batches.append(await player.groups([Pick(task) for task in tasks], **more))
        return batches
    finally:
        await player.close()


async def test_a_judge_is_asked_once_for_the_same_answer_and_its_cost_is_told(tmp_path):
    async with ChatServer(lambda _: '{"score": 0.5}') as server:
        recipe = train_runs.recipe(**judged(server))
        batches = await judge_rounds(recipe, tmp_path, Policy(), rounds=2)
        again = await judge_rounds(recipe, tmp_path, Policy())
    assert len(server.requests) == 1
    for batch in [*batches, *again]:
        assert batch.judged.calls == 3
        assert batch.judged.prompt_tokens > 0
        scores = [t.reward.components["task"] for t in batch.groups[0].trajectories]
        assert scores == [0.5] * 3


async def test_where_a_judge_fails_it_is_asked_again_and_nothing_is_played_again(tmp_path):
    replies = iter(["no idea"] * 20)
    policy, other = Policy(), Policy()
    async with ChatServer(lambda _: next(replies, '{"score": 1}')) as server:
        recipe = train_runs.recipe(sampler__retries=0, **judged(server))
        with pytest.raises(ModelError, match="the judge gave no score"):
            await judge_rounds(recipe, tmp_path / "a", policy)
        recipe = train_runs.recipe(sampler__retries=3, **judged(server))
        with pytest.raises(ModelError, match="the judge gave no score"):
            await judge_rounds(recipe, tmp_path / "b", other)
    assert other.asked == policy.asked
    assert other.expected == policy.expected


async def test_without_a_judge_there_is_no_cost_of_one():
    batch, _ = await play(Policy(), n_tasks=1)
    assert batch.judged is None


async def test_where_no_group_is_whole_the_failure_is_raised():
    policy = Policy(broken=lambda n: True)
    with pytest.raises(ModelError, match="the server is down"):
        await play(policy, sampler__retries=1)
    assert policy.expected[-1] == 0


@pytest.mark.parametrize(("masked", "trained"), [(True, False), (False, True)])
async def test_outputs_that_were_cut_are_left_out_of_the_loss_where_that_is_asked(masked, trained):
    batch, _ = await play(Policy(finish="length"), n_tasks=1, grpo__mask_truncated=masked)
    masks = {step.mask for t in batch.groups[0].trajectories for step in t.steps}
    assert masks == {(trained, trained)}


async def test_small_talk_belongs_to_the_task_so_that_all_of_a_group_hear_the_same():
    options = {"hotpotqa": {"form": "three-stage", "distractors": "2", "paragraphs": "2"}}
    batch, _ = await play(Policy(), n_tasks=1, tasks__options=options)
    heard = [
        [event["observation"] for event in t.events if event["type"] == "action"]
        for t in batch.groups[0].trajectories
    ]
    assert heard[0] == heard[1] == heard[2]
    assert len(heard[0]) >= 3


def test_stages_are_read_off_the_trace():
    call = {"type": "completion"}
    events = [
        call, call, {"type": "remove", "reason": "new_context"}, call,
        {"type": "remove", "reason": "tool"}, call, {"type": "remove", "reason": "new_goal"}, call,
    ]  # fmt: skip
    assert stages_of(events, staged=True) == [1, 1, 2, 2, 3]
    assert stages_of(events, staged=False) == [3, 3, 3, 3, 3]
