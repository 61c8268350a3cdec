"""The records of training."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

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
