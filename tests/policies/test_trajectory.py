"""The records of training, and which tasks a step plays."""

from __future__ import annotations

import math
from collections import Counter
from types import SimpleNamespace

import pytest
import train_runs

from agemem_eval.harness.types import Task
from agemem_eval.policies.trajectory import Group, Reward, Step


def group(*rewards):
    return Group("t", tuple(SimpleNamespace(reward=Reward(r)) for r in rewards))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_reward_is_a_finite_number(value):
    with pytest.raises(ValueError, match="finite"):
        Reward(value)


def test_a_group_is_flat_where_all_rewards_are_equal():
    assert group(0.3, 0.3, 0.1 + 0.2).flat
    assert not group(0.3, 0.3001).flat
    assert group(0.1, 0.2).rewards == [0.1, 0.2]


def test_the_length_of_a_step_is_that_of_prompt_and_completion():
    assert Step((1, 2, 3), (4,), None, (True,), 1).length == 4


def tasks(n):
    return [Task(f"t{i}", "generated-train", "") for i in range(n)]


@pytest.mark.train
def test_an_epoch_plays_each_task_once_and_the_next_in_another_order():
    pytest.importorskip("torch")
    from agemem_eval.policies.reinforce import tasks_of_step

    recipe, all_ = train_runs.recipe(grpo__tasks_per_step=3), tasks(9)
    steps = [[t.id for t in tasks_of_step(recipe, all_, step)] for step in range(1, 7)]
    first, second = ([id_ for step in part for id_ in step] for part in (steps[:3], steps[3:]))
    assert Counter(first) == Counter(second) == Counter(t.id for t in all_)
    assert first != second
    assert [t.id for t in tasks_of_step(recipe, all_, 5)] == steps[4]
    other = train_runs.recipe(grpo__tasks_per_step=3, seed=1)
    assert [[t.id for t in tasks_of_step(other, all_, s)] for s in range(1, 4)] != steps[:3]


@pytest.mark.train
def test_no_step_has_a_task_twice_where_an_epoch_does_not_divide():
    pytest.importorskip("torch")
    from agemem_eval.policies.reinforce import tasks_of_step

    recipe, all_ = train_runs.recipe(grpo__tasks_per_step=4), tasks(7)
    for step in range(1, 30):
        found = [t.id for t in tasks_of_step(recipe, all_, step)]
        assert len(found) == len(set(found)) == 4
