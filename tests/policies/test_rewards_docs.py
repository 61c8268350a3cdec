"""The page on rewards names all that is reported, as it is."""

from __future__ import annotations

import re
from pathlib import Path

from reward_traces import Rollout, recipe

from agemem_eval.harness.plan import make_embedder
from agemem_eval.policies.recipe import RewardRecipe
from agemem_eval.policies.rewards import Rewarder
from agemem_eval.policies.rewards.hacks import MEANINGS

PAGE = (Path(__file__).parents[2] / "docs" / "rewards.md").read_text(encoding="utf-8")


async def test_every_component_and_every_sign_is_on_the_page_and_no_other() -> None:
    rewarder = Rewarder(RewardRecipe(), make_embedder("hashing"), None)
    reward = await rewarder(Rollout().evidence())
    named = set(re.findall(r"`([a-z_]+(?:\.[a-z_]+)?)`", PAGE))
    assert set(reward.components) <= named
    others = {"agent.context_tokens", "sampler.retries", "metrics.jsonl"}
    assert {name for name in named if "." in name} <= {*reward.components, *others}
    for name, meaning in MEANINGS.items():
        assert f"| `{name}` | {meaning} |" in PAGE


def test_the_recipe_on_the_page_is_one() -> None:
    keys = set(re.findall(r"^  (\w+):", PAGE, re.MULTILINE))
    assert keys == set(RewardRecipe.model_fields)
    weights = {"task": 0.4, "context": 0.3, "memory": 0.3}
    assert recipe(reward={"weights": weights, "max_rounds": 60}).reward.weights is not None
