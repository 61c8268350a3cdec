"""Weights that are split over processes by torch's FSDP2 (arXiv 2304.11277; `fully_shard`).

Each process keeps a part of every weight, its gradient and its moments. A layer's weights are
gathered when it computes, and let go of afterwards. Accelerate starts the processes; since it
splits nothing on a CPU, and torch does on CPUs as on GPUs, torch is asked directly.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..harness.errors import UsageError
from .distributed import Together
from .launched import Team


class Sharded(Together):
    """Several processes, each with a part of every weight."""

    splits = True

    def __init__(self, team: Team) -> None:
        super().__init__(team)
        from torch.distributed.device_mesh import init_device_mesh

        self._mesh = init_device_mesh(team.accelerator.device.type, (self.processes,))

    def prepare(
        self, scorer: nn.Module, optimizer: Callable[[], torch.optim.Optimizer]
    ) -> tuple[Any, Any]:
        """See `Engine.prepare`; the scorer is split in place."""
        self._split(scorer)
        return scorer, optimizer()

    def prepare_frozen(self, scorer: nn.Module) -> Any:
        """See `Engine.prepare_frozen`."""
        self._split(scorer)
        return scorer

    def _split(self, scorer: Any) -> None:
        """Each layer is gathered for itself; embedding and head, which others call, with the rest.

        What transformers names as never to be split over devices are a model's layers.
        """
        from torch.distributed.fsdp import fully_shard

        layers = set(getattr(scorer.model, "_no_split_modules", None) or ())
        for module in reversed(list(scorer.modules())):  # the innermost first
            if type(module).__name__ in layers:
                fully_shard(module, mesh=self._mesh)
        # The outermost would stay whole after a forward if it were not said.
        fully_shard(scorer, mesh=self._mesh, reshard_after_forward=True)

    def backward(self, loss: Tensor, last: bool) -> None:  # noqa: ARG002
        """See `Engine.backward`."""
        (loss * self.processes).backward()  # gradients are averaged over processes

    def clip(self, parameters: Sequence[nn.Parameter], most: float) -> float:
        """See `Engine.clip`."""
        norm: Any = nn.utils.clip_grad_norm_(parameters, most)
        return float(norm.full_tensor())

    def whole(self, parameter: nn.Parameter) -> Tensor:
        """See `Engine.whole`."""
        return _whole(parameter.detach())

    def moments(self, optimizer: Any, parameter: nn.Parameter) -> dict[str, Tensor]:
        """See `Engine.moments`."""
        found = super().moments(optimizer, parameter)
        return {key: _whole(value) for key, value in found.items()}

    def part(self, parameter: nn.Parameter, value: Tensor) -> Tensor:
        """See `Engine.part`."""
        from torch.distributed.tensor import distribute_tensor

        like: Any = parameter
        there = value.to(self.device)
        return distribute_tensor(there, like.device_mesh, like.placements)


def check_fsdp() -> None:
    """Refuse what the launcher was told of FSDP and is not done here.

    Raises:
        UsageError: for FSDP1, other ways to split beside it, and weights kept in main memory.
    """
    if os.environ.get("FSDP_VERSION", "1") != "2":
        raise UsageError("FSDP 1 is not supported: launch with --fsdp_version 2")
    if os.environ.get("ACCELERATE_USE_PARALLELISM_CONFIG", "false").lower() == "true":
        raise UsageError("--use_parallelism_config is not supported: launch without it")
    if os.environ.get("FSDP_OFFLOAD_PARAMS", "false").lower() == "true":
        raise UsageError("--fsdp_offload_params true is not supported: launch with false")


def _whole(value: Any) -> Tensor:
    """All of what is split; the rest as it is."""
    whole: Tensor = value.full_tensor() if hasattr(value, "full_tensor") else value
    return whole
