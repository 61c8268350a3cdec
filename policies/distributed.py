"""What differs where several processes train one model together, in one place."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .launched import Team


class Engine:
    """How weights are kept and changed where one process trains alone.

    Others, which several processes are, do some of it otherwise; see `engine_of`.

    Attributes:
        processes: How many train together.
        device: Of this process's weights; None: where they were loaded to.
        splits: Whether each keeps but a part of the weights. Nothing can be drawn with these or
            read off them then, but for `whole`.
    """

    processes = 1
    device: torch.device | None = None
    splits = False

    def prepare(
        self, scorer: nn.Module, optimizer: Callable[[], torch.optim.Optimizer]
    ) -> tuple[Any, Any]:
        """A scorer and its optimizer as the engine wraps them.

        Args:
            scorer: Its parameters may be others afterwards.
            optimizer: Makes one of the scorer's parameters.
        """
        return scorer, optimizer()

    def prepare_frozen(self, scorer: nn.Module) -> Any:
        """A scorer that is never trained: split where the engine splits, else as it is."""
        return scorer

    def backward(self, loss: Tensor, last: bool) -> None:  # noqa: ARG002 - others must know
        """Add a loss's gradient; those of the processes are added up, not averaged.

        Args:
            loss: A number.
            last: Whether it is the update's last.
        """
        loss.backward()

    def update(self, optimizer: Any, parameters: Sequence[nn.Parameter], most: float) -> float:
        """Change the weights by the gradients that were added up.

        Args:
            optimizer: As prepared.
            parameters: Those of it.
            most: Longer gradients are scaled down to this norm.

        Returns:
            The gradient's norm. If it is no finite number, weights and moments stay as they are.
        """
        norm = self.clip(parameters, most)
        if math.isfinite(norm):
            optimizer.step()
        return norm

    def clip(self, parameters: Sequence[nn.Parameter], most: float) -> float:
        """Scale gradients down to a norm of at most `most`; returns what it was."""
        return float(nn.utils.clip_grad_norm_(parameters, most))

    def whole(self, parameter: nn.Parameter) -> Tensor:
        """All of a parameter, without gradient; each process calls this, in the same order."""
        return parameter.detach()

    def moments(self, optimizer: Any, parameter: nn.Parameter) -> dict[str, Tensor]:
        """What the optimizer keeps of a parameter, whole, by name; called as `whole` is."""
        state = optimizer.state.get(parameter, {})
        return {key: torch.as_tensor(value).detach() for key, value in state.items()}

    def take_moments(
        self, optimizer: Any, parameter: nn.Parameter, moments: Mapping[str, Tensor]
    ) -> None:
        """Put in place what `moments` gave."""
        optimizer.state[parameter] = {
            key: value.clone() if key == "step" else self.part(parameter, value)
            for key, value in moments.items()
        }

    def part(self, parameter: nn.Parameter, value: Tensor) -> Tensor:
        """What this process keeps of something that is like a parameter; a copy."""
        return value.to(parameter.device, copy=True)

    def forget(self, optimizer: Any) -> None:
        """Let the optimizer keep nothing of any parameter."""
        optimizer.state.clear()

    def sum(self, number: float) -> float:
        """The sum over processes of one number."""
        return float(number)

    def total(self, values: Tensor) -> Tensor:
        """The sum over processes."""
        return values

    def most(self, values: Tensor) -> Tensor:
        """The largest over processes, of each of some numbers [n]."""
        return values


class Together(Engine):
    """Several processes, each with all the weights.

    Args:
        team: These processes.
    """

    def __init__(self, team: Team) -> None:
        self.accelerator = team.accelerator
        self.processes, self.device = team.size, team.accelerator.device

    def prepare(
        self, scorer: nn.Module, optimizer: Callable[[], torch.optim.Optimizer]
    ) -> tuple[Any, Any]:
        """See `Engine.prepare`."""
        scorer, inner = self.accelerator.prepare(scorer, optimizer())
        return scorer, inner

    def prepare_frozen(self, scorer: nn.Module) -> Any:
        """See `Engine.prepare_frozen`."""
        return self.accelerator.prepare_model(scorer, evaluation_mode=True)

    def backward(self, loss: Tensor, last: bool) -> None:  # noqa: ARG002 - others must know
        """See `Engine.backward`."""
        self.accelerator.backward(loss * self.processes)  # gradients are averaged over processes

    def clip(self, parameters: Sequence[nn.Parameter], most: float) -> float:
        """See `Engine.clip`."""
        return float(self.accelerator.clip_grad_norm_(parameters, most))

    def sum(self, number: float) -> float:
        """See `Engine.sum`."""
        one = torch.tensor(number, dtype=torch.float64, device=self.device)
        return float(self.total(one))

    def total(self, values: Tensor) -> Tensor:
        """See `Engine.total`."""
        summed: Tensor = self.accelerator.reduce(values, "sum")
        return summed

    def most(self, values: Tensor) -> Tensor:
        """See `Engine.most`."""
        gathered: Tensor = self.accelerator.gather(values[None])
        return gathered.amax(0)


def engine_of(team: Team) -> Engine:
    """What some processes train with.

    Raises:
        MissingExtraError: for DeepSpeed, where it is not installed.
    """
    if team.size == 1:
        return Engine()
    if team.weights == "fsdp":
        from .sharded import Sharded

        return Sharded(team)
    if team.weights == "deepspeed":
        from .zero import Zero

        return Zero(team)
    return Together(team)


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
