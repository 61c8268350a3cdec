"""A policy's weights: loaded to be trained, and whole, as they are drawn with and saved."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from ..harness.models.hf.weights import Loaded, load
from .adapters import Adapter
from .distributed import Engine
from .forward import check_understood
from .recipe import ModelRecipe


class Whole:
    """The weights that are trained; where they are split over processes, a copy in each.

    Args:
        loaded: What is trained, before an engine takes it.
        adapter: That of it, where only that is trained.
        engine: Says whether it splits weights.

    Attributes:
        loaded: What is drawn with.
        adapter: That of it.
        stale: Whether the weights that are trained have changed since `refresh`.
    """

    def __init__(self, loaded: Loaded, adapter: Adapter | None, engine: Engine) -> None:
        self.loaded, self.adapter, self._engine = loaded, adapter, engine
        self.stale = False
        if engine.splits:
            self.adapter = copy.deepcopy(adapter)
            model = copy.deepcopy(loaded.model) if self.adapter is None else self.adapter.model
            self.loaded = replace(loaded, model=model.requires_grad_(False).to(engine.device))

    def refresh(self, trained: nn.Module) -> None:
        """Bring a copy up to date; each process calls this.

        Args:
            trained: The model that the copy is of.
        """
        if self._engine.splits and self.stale:
            kept = dict(self.loaded.model.named_parameters())
            for name, parameter in trained.named_parameters():
                if parameter.requires_grad:
                    kept[name].copy_(self._engine.whole(parameter))
        self.stale = False

    def save(self, folder: Path, base: str) -> None:
        """Write the model as transformers does, or the adapter as peft does, and the tokenizer.

        Args:
            folder: Made if it is not there.
            base: What the model under an adapter is called.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if self.adapter is not None:
            self.adapter.save(folder, base)
        else:
            self.loaded.model.save_pretrained(folder)
        self.loaded.tokenizer.save_pretrained(folder)


def load_to_train(recipe: ModelRecipe, folder: Path, engine: Engine) -> Loaded:
    """A model to train: float32, but for a frozen base in bfloat16 under an adapter.

    What is split comes to its device part by part.
    """
    dtype = recipe.dtype if recipe.lora is not None else "float32"
    loaded = load(
        folder, None, dtype, "cpu" if engine.splits else recipe.device, recipe.threads,
        trust_remote_code=recipe.trust_remote_code,
    )  # fmt: skip
    check_understood(loaded.model)
    _without_dropout(loaded.model)
    return loaded


def _without_dropout(model: Any) -> None:
    """Switch a model's own dropout off: what is trained must be what draws."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name, value in list(vars(module).items()):
            if name.endswith("dropout") and isinstance(value, float):
                setattr(module, name, 0.0)
