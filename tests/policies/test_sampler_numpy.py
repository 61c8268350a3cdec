"""Rollouts drawn by numpy, with a copy of the weights that are trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_groups import some_groups

from agemem_eval.harness.errors import UsageError
from agemem_eval.harness.types import ChatMessage, Completion, Request, Sampling
from agemem_eval.policies.recipe import make_recipe

torch = pytest.importorskip("torch", reason="needs the extra train")
pytestmark = pytest.mark.train

from tiny_learner import RATE, open_learner  # noqa: E402

from agemem_eval.policies.grpo import steps_of  # noqa: E402
from agemem_eval.policies.sampler import check_sampler, make_sampler  # noqa: E402
from agemem_eval.policies.trajectory import Step  # noqa: E402

STEPS = steps_of(some_groups([[0.0, 1.0, 0.4], [1.0, 0.0, 0.0]], seed=3))
SAID = ("put a mug on the desk", "open the fridge", "go to shelf 1, then take an apple")


def recipe_of(folder: Path, **more: Any) -> Any:
    model = {"path": str(folder), **more.pop("model", {})}
    return make_recipe(
        {"name": "r", "model": model, "grpo": {}, "sampler": {"engine": "numpy", **more}}
    )


async def ask(sampler: Any) -> list[Completion]:
    sampling = Sampling(max_tokens=12, temperature=1.0, seed=3)
    return [
        await sampler.generate(Request([ChatMessage("user", text)], sampling, want_tokens=True))
        for text in SAID
    ]


def logprobs(replies: list[Completion]) -> Any:
    """Of the first tokens: further ones are others where the first are."""
    return torch.tensor([reply.logprobs[0] for reply in replies])


async def test_what_numpy_draws_has_the_chances_of_the_weights_as_they_are(folder: Path) -> None:
    one = open_learner(folder)
    sampler, drawn = make_sampler(recipe_of(folder), one, base=folder, scratch=folder), []
    for _ in range(3):
        await sampler.sync()
        replies = await ask(sampler)
        drawn.append([reply.token_ids for reply in replies])
        steps = [
            Step(r.prompt_ids, r.token_ids, r.logprobs, (True,) * len(r.token_ids), 3)
            for r in replies
        ]
        told = torch.tensor([p for reply in replies for p in reply.logprobs])
        assert one.logprobs(steps).sub(told).abs().max() < 1e-4
        one.sft_update(STEPS, RATE, 1.0)
    await sampler.close()
    assert drawn[0] != drawn[1] != drawn[2]


async def test_until_it_is_told_it_draws_with_the_weights_as_they_were(folder: Path) -> None:
    one = open_learner(folder)
    sampler = make_sampler(recipe_of(folder), one, base=folder, scratch=folder)
    before = logprobs(await ask(sampler))
    one.sft_update(STEPS, RATE, 1.0)
    assert logprobs(await ask(sampler)).sub(before).abs().max() < 1e-5
    await sampler.sync()
    assert logprobs(await ask(sampler)).sub(before).abs().max() > 1e-3
    await sampler.close()


def test_adapters_and_unknown_options_are_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="numpy knows no adapter: use the engine hf"):
        check_sampler(recipe_of(folder, model={"lora": {"rank": 4}}))
    with pytest.raises(UsageError, match=r"sampler\.options\.max_waits"):
        check_sampler(recipe_of(folder, options={"max_waits": "1"}))
