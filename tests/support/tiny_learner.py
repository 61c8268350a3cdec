"""Learners of tiny models, and what changed in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agemem_eval.policies.learner import Learner
from agemem_eval.policies.recipe import GrpoRecipe, Lora, ModelRecipe

RATE = 1e-2
SMALL = Lora(rank=4, alpha=8)
BOTH = pytest.mark.parametrize("lora", [None, SMALL], ids=["whole", "lora"])


def open_learner(folder: Path, *, seed: int = 0, **values: Any) -> Learner:
    """A learner of the model in `folder`; values of `ModelRecipe`, and of `Learner.open`."""
    of_open = {k: values.pop(k) for k in ("adapter", "reference") if k in values}
    recipe = ModelRecipe.model_validate({"path": "tiny", "device": "cpu", **values})
    return Learner.open(recipe, folder, seed, **of_open)


def grpo(**values: Any) -> GrpoRecipe:
    return GrpoRecipe.model_validate(values)


def weights(learner: Learner) -> dict[str, Any]:
    """All weights as they are now, adapters among them."""
    return {n: p.detach().clone() for n, p in learner.loaded.model.named_parameters()}


def changed(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    """Names of the weights that differ in a bit."""
    return {name for name, value in before.items() if not value.equal(after[name])}
