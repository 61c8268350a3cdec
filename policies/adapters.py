"""LoRA adapters (arXiv 2106.09685) by peft: made, resumed, held to, saved."""

from __future__ import annotations

import contextlib
import copy
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..harness.errors import DataError, MissingExtraError, UsageError
from ..harness.models.inprocess.files import ADAPTER, ADAPTER_CONFIG, adapter_files
from .recipe import Lora

_NOW, _HELD = "default", "reference"  # names of the adapter trained, and of the one held to


class Adapter:
    """The adapter of a model: the policy is the model with it.

    The reference of the KL term is the model without it, or with a frozen one; in either case no
    second model is needed.

    Args:
        model: A causal language model of transformers; its own weights are frozen, and its layers
            hold the adapter from now on.
        lora: Rank, targets and so on.
        folder: A saved adapter to go on with; None: a new one, which changes nothing yet.
        seed: Of a new one's weights.

    Raises:
        MissingExtraError: without peft.
        UsageError: for targets that the model does not have.
        DataError: for a saved adapter that is damaged, or not what the recipe asks for.
    """

    def __init__(self, model: Any, lora: Lora, folder: Path | None, seed: int) -> None:
        try:
            import peft
        except ImportError as error:
            raise MissingExtraError("peft", "train") from error
        self._lora = lora
        self._held: str | None = None  # "": no adapter is the reference; None: nothing is
        if folder is not None:
            with self._reading(folder):
                self._peft = peft.PeftModel.from_pretrained(
                    model, folder, is_trainable=True, use_safetensors=True
                )
        else:
            self._peft = _new(peft, model, lora, seed)
        self.model = self._peft.get_base_model()

    @property
    def holds(self) -> bool:
        """Whether there is a reference."""
        return self._held is not None

    def hold(self) -> None:
        """Let the policy as it is now be the reference."""
        import peft

        weights = self._weights()
        if not any(bool(w.any()) for name, w in weights.items() if "lora_B" in name):
            self._held = ""
            return
        if _HELD not in self._peft.peft_config:
            self._peft.add_adapter(_HELD, copy.copy(self._peft.peft_config[_NOW]))
        peft.set_peft_model_state_dict(self._peft, weights, adapter_name=_HELD)
        self._go_on()

    def hold_saved(self, folder: Path) -> None:
        """Let a saved adapter be the reference, or the model without one if none lies there.

        Raises:
            DataError: as for the adapter itself.
        """
        self._held = ""
        if (folder / ADAPTER_CONFIG).is_file():
            with self._reading(folder):
                self._peft.load_adapter(folder, _HELD, use_safetensors=True)
            self._go_on()

    def _go_on(self) -> None:
        """Train on, now that there is an adapter to hold to."""
        self._peft.set_adapter(_NOW)
        self.model.eval()  # the new layers' dropout too
        self._held = _HELD

    @contextlib.contextmanager
    def as_reference(self) -> Iterator[None]:
        """While this lasts, the model is the reference: the one held, or the bare model."""
        if not self._held:
            with self._peft.disable_adapter():
                yield
            return
        self._peft.set_adapter(self._held, inference_mode=True)
        try:
            yield
        finally:
            self._peft.set_adapter(_NOW)

    def save(self, folder: Path, base: str) -> None:
        """Write it as peft does, but for the card, and for where the base lay.

        Args:
            folder: Is there already.
            base: What the base model is called.
        """
        import safetensors.torch

        weights = {name: w.detach().cpu().contiguous() for name, w in self._weights().items()}
        safetensors.torch.save_file(weights, folder / ADAPTER, metadata={"format": "pt"})
        config = copy.copy(self._peft.peft_config[_NOW])
        config.base_model_name_or_path, config.inference_mode = base, True
        if not isinstance(config.target_modules, str):
            config.target_modules = sorted(config.target_modules)  # a set has no fixed order
        config.save_pretrained(folder)

    def _weights(self) -> dict[str, Tensor]:
        """The adapter's weights alone: peft would ask the hub whether the embedding has grown."""
        import peft

        weights: dict[str, Tensor] = peft.get_peft_model_state_dict(
            self._peft, adapter_name=_NOW, save_embedding_layers=False
        )
        return weights

    @contextlib.contextmanager
    def _reading(self, folder: Path) -> Iterator[None]:
        """Check a saved adapter's files; what peft raises over them becomes one line."""
        config, _ = adapter_files(folder)
        said = json.loads(config.read_bytes())
        for key, wanted in (("r", self._lora.rank), ("lora_alpha", self._lora.alpha)):
            if said.get(key) != wanted:
                raise DataError(f"{config}: {key} is {said.get(key)}, in the recipe {wanted:g}")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)
                yield
        except Exception as error:  # peft and safetensors raise whatever a bad file makes of them
            raise DataError(f"{folder} cannot be loaded: {_said(error)}") from error


def _new(peft: Any, model: Any, lora: Lora, seed: int) -> Any:
    config = peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.targets if isinstance(lora.targets, str) else list(lora.targets),
        task_type="CAUSAL_LM",
    )
    try:
        with torch.random.fork_rng(), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of transformers, at what peft calls
            torch.manual_seed(seed)
            return peft.get_peft_model(model, config)
    except ValueError as error:
        raise UsageError(f"recipe: model.lora.targets: {_said(error)}") from error


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
