"""What differs where several processes train one model together, in one place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Engine:
    """Backward, clipping and sums, as `accelerate` has them, or as one process alone does.

    Args:
        accelerator: An `accelerate.Accelerator`; None: this process trains alone.
    """

    def __init__(self, accelerator: Any = None) -> None:
        self.accelerator = accelerator

    @property
    def processes(self) -> int:
        """How many train together."""
        return 1 if self.accelerator is None else int(self.accelerator.num_processes)

    def prepare(self, *parts: Any) -> Any:
        """Modules and optimizers as the engine wraps them, a tuple."""
        return parts if self.accelerator is None else self.accelerator.prepare(*parts)

    def prepare_frozen(self, module: nn.Module) -> Any:
        """A module that is never trained: sharded where the engine shards, else left whole."""
        if self.accelerator is None:
            return module
        sharded = str(self.accelerator.distributed_type.value) == "FSDP"
        return self.accelerator.prepare_model(module, evaluation_mode=not sharded)

    def backward(self, loss: Tensor) -> None:
        """Add a loss's gradient; those of the processes are added up, not averaged."""
        if self.accelerator is None:
            loss.backward()
        else:
            self.accelerator.backward(loss * self.processes)  # engines average over processes

    def clip(self, parameters: Sequence[nn.Parameter], most: float) -> float:
        """Scale gradients down to a norm of at most `most`; returns what it was."""
        if self.accelerator is None:
            return float(nn.utils.clip_grad_norm_(parameters, most))
        norm = self.accelerator.clip_grad_norm_(parameters, most)
        return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)

    def sum(self, number: float) -> float:
        """The sum over processes of one number."""
        if self.accelerator is None:
            return float(number)
        device = self.accelerator.device
        return float(self.total(torch.tensor(number, dtype=torch.float64, device=device)))

    def total(self, values: Tensor) -> Tensor:
        """The sum over processes."""
        return values if self.accelerator is None else self.accelerator.reduce(values, "sum")

    def most(self, values: Tensor) -> Tensor:
        """The largest over processes, of each of some numbers [n]."""
        if self.accelerator is None:
            return values
        gathered: Tensor = self.accelerator.gather(values[None])
        return gathered.amax(0)


class Tally:
    """Means and maxima over the tokens of an update, which comes in parts."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._most: dict[str, Tensor] = {}

    def add(self, **values: Tensor) -> None:
        """Count in numbers of some tokens, [n] each."""
        for name, value in values.items():
            value = value.double()
            part = torch.stack([value.sum(), value.new_tensor(len(value))])
            self._sums[name] = self._sums[name] + part if name in self._sums else part

    def most(self, **values: Tensor) -> None:
        """Count in numbers of which the largest is kept, [n] each; none is below 0."""
        for name, value in values.items():
            part = value.double().max() if len(value) else value.new_zeros(()).double()
            self._most[name] = torch.maximum(self._most.get(name, part), part)

    def result(self, engine: Engine) -> dict[str, float]:
        """The means and maxima over all processes; what was never counted has none."""
        found: dict[str, float] = {}
        if self._sums:
            sums = engine.total(torch.stack(list(self._sums.values()))).tolist()
            found |= {n: s / c for n, (s, c) in zip(self._sums, sums, strict=True) if c}
        if self._most:
            most = engine.most(torch.stack(list(self._most.values()))).tolist()
            found |= dict(zip(self._most, most, strict=True))
        return found
