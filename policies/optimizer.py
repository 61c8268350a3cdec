"""AdamW (arXiv 1711.05101) or Muon, and what training needs: refusals, and a state to resume."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor, nn

from ..harness.errors import DataError
from .distributed import Engine
from .muon import MuonAdamW

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # kept of a parameter; Muon keeps no squares


class Optimizer:
    """Changes the trainable weights of a model.

    Args:
        model: Its parameters that require gradients are changed.
        scorer: The module that is called for gradients, and holds the model.
        engine: Prepares the scorer and the optimizer together.

    Attributes:
        scorer: As the engine wraps it.
        updates: Made so far.
    """

    def __init__(self, model: Any, scorer: nn.Module, engine: Engine) -> None:
        self.updates = 0
        self._engine = engine
        trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        self._shapes = {name: p.shape for name, p in trained}  # whole; an engine may split them
        heads = model.get_input_embeddings(), model.get_output_embeddings()
        ends = {id(head.weight) for head in heads if head is not None}
        self._inner_names = {name for name, p in trained if p.ndim == 2 and id(p) not in ends}

        def adamw() -> torch.optim.Optimizer:
            kinds: dict[tuple[bool, bool], list[nn.Parameter]] = {}
            for name, parameter in model.named_parameters():
                if parameter.requires_grad:
                    decays = parameter.ndim > 1  # biases and the scales of norms do not
                    kind = decays, name in self._inner_names
                    kinds.setdefault(kind, []).append(parameter)
            return MuonAdamW(
                [
                    {"params": some, "decays": decays, "inner": inner, "muon": 0.0}
                    for (decays, inner), some in kinds.items()
                ]
            )

        self.scorer, self._inner = engine.prepare(scorer, adamw)
        named = model.named_parameters()  # now, since an engine may have put others in their place
        self._named: dict[str, nn.Parameter] = {name: p for name, p in named if p.requires_grad}

    def begin(
        self, learning_rate: float, weight_decay: float, muon: float, inner: bool = False
    ) -> None:
        """Forget gradients; set the rates of the next update.

        Args:
            learning_rate: Of what is changed.
            weight_decay: Of matrices.
            muon: Of the inner matrices.
            inner: Whether nothing else than these is changed.
        """
        self._inner.zero_grad(set_to_none=True)
        for group in self._inner.param_groups:
            group["lr"] = learning_rate if group["inner"] or not inner else 0.0
            group["weight_decay"] = weight_decay if group["decays"] else 0.0
            group["muon"] = muon if group["inner"] else 0.0

    def step(self, max_norm: float) -> float:
        """Change the weights by the gradients that were added up, and forget these.

        Args:
            max_norm: Longer gradients are scaled down to it.

        Returns:
            The gradient's norm. If it is no finite number, weights and moments stay as they are.
        """
        norm = self._engine.update(self._inner, list(self._named.values()), max_norm)
        self.updates += math.isfinite(norm)
        self._inner.zero_grad(set_to_none=True)
        return norm

    def reset(self) -> None:
        """Forget the moments of earlier updates."""
        self._engine.forget(self._inner)

    def state(self, keep: bool = True) -> dict[str, Tensor]:
        """Moments, whole, and the number of updates, for safetensors; called by all processes.

        Args:
            keep: False: they are only gathered for another process, and let go of.
        """
        kept = {"updates": torch.tensor(self.updates)}
        for name, parameter in self._named.items():
            for key, value in self._engine.moments(self._inner, parameter).items():
                if keep:
                    kept[f"{key}.{name}"] = value.cpu().clone()
        return kept

    def restore(self, path: Path) -> None:
        """Take up what `state` gave.

        Args:
            path: The safetensors file that it is in.

        Raises:
            DataError: if it is of another model.
        """
        with safetensors.safe_open(path, "pt") as file:
            self._take(_Lazy(file))

    def _take(self, state: Mapping[str, Tensor]) -> None:
        problem = self._unlike(state)
        if problem is not None:
            raise DataError(f"the optimizer's state is of another model: {problem}")
        self.reset()
        for name, parameter in self._named.items():
            if f"step.{name}" in state:
                kept = [key for key in _MOMENTS if f"{key}.{name}" in state]
                found = {key: state[f"{key}.{name}"] for key in kept}
                self._engine.take_moments(self._inner, parameter, found)
        self.updates = int(state["updates"])

    def _unlike(self, state: Mapping[str, Tensor]) -> str | None:
        """What a state has that these parameters have not, or the other way round."""
        known = {"updates"} | {f"{key}.{name}" for key in _MOMENTS for name in self._named}
        if strange := sorted(set(state) - known):
            return f"it has {strange[0]!r}"
        present = [name for name in self._named if f"step.{name}" in state]
        needed = ["updates"] + [f"{key}.{name}" for key in _MOMENTS[:2] for name in present]
        squared = [name for name in present if name not in self._inner_names]
        needed += [f"{_MOMENTS[2]}.{name}" for name in squared]
        if lacking := [key for key in needed if key not in state]:
            return f"it lacks {lacking[0]!r}"
        moments = [(f"{key}.{name}", name) for key in _MOMENTS[1:] for name in present]
        kept = [(key, name) for key, name in moments if key in state]
        differ = [key for key, name in kept if state[key].shape != self._shapes[name]]
        return f"{differ[0]!r} has another shape" if differ else None


class _Lazy(Mapping[str, Tensor]):
    """The tensors of a safetensors file, each read when it is asked for."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._file.keys():  # noqa: SIM118 - a file, not a mapping
            raise KeyError(name)
        return self._file.get_tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._file.keys())

    def __len__(self) -> int:
        return len(self._file.keys())
