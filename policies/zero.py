"""Training split over processes by DeepSpeed's ZeRO (arXiv 1910.02054), its stages 2 and 3.

In stage 2 each process keeps all weights, but a part of the gradients and moments; in stage 3 a
part of the weights too. Accelerate starts the processes; since it runs no DeepSpeed on a CPU, which
DeepSpeed itself does, DeepSpeed is asked directly.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..harness.errors import MissingExtraError, UsageError
from ..harness.files import read_json
from .distributed import Together
from .forward import Packed
from .launched import Team
from .recipe import Recipe

_ENV = "ACCELERATE_DEEPSPEED_"  # how `accelerate launch` tells what it was told
_SECTION = "zero_optimization"
_STAGES = (2, 3)


class Zero(Together):
    """Several processes, each with a part of the moments and gradients, and maybe the weights."""

    def __init__(self, team: Team) -> None:
        super().__init__(team)
        self._deepspeed, self._asked = _library(), asked_of_zero()
        self.splits = self._asked["stage"] == 3
        self._zero: Any = None

    def prepare(
        self, scorer: nn.Module, optimizer: Callable[[], torch.optim.Optimizer]
    ) -> tuple[Any, Any]:
        """See `Engine.prepare`."""
        self._zero = self._started(scorer, optimizer())
        return self._zero, self._zero.optimizer

    def prepare_frozen(self, scorer: nn.Module) -> Any:
        """See `Engine.prepare_frozen`."""
        return self._started(scorer, None) if self.splits else scorer

    def _started(self, scorer: nn.Module, optimizer: torch.optim.Optimizer | None) -> Any:
        config = {
            "train_micro_batch_size_per_gpu": 1,  # only its ratio to the others counts
            "gradient_accumulation_steps": 1,
            "zero_allow_untested_optimizer": True,
            "zero_force_ds_cpu_optimizer": False,
            _SECTION: dict(self._asked),
        }
        return self._deepspeed.initialize(model=scorer, optimizer=optimizer, config=config)[0]

    def backward(self, loss: Tensor, last: bool) -> None:
        """See `Engine.backward`."""
        self._zero.set_gradient_accumulation_boundary(last)
        self._zero.backward(loss * self.processes)  # gradients are averaged over processes

    def update(
        self,
        optimizer: Any,
        parameters: Sequence[nn.Parameter],  # noqa: ARG002 - DeepSpeed knows them
        most: float,
    ) -> float:
        """See `Engine.update`; a norm that is no finite number is told as infinite."""
        optimizer.clip_grad = most
        self._zero.step()
        return float(self._zero.get_global_grad_norm())

    def whole(self, parameter: nn.Parameter) -> Tensor:
        """See `Engine.whole`."""
        from deepspeed.utils import safe_get_full_fp32_param

        whole: Tensor = safe_get_full_fp32_param(parameter)
        return whole

    def moments(self, optimizer: Any, parameter: nn.Parameter) -> dict[str, Tensor]:
        """See `Engine.moments`."""
        from deepspeed.utils import safe_get_full_optimizer_state

        self._link(optimizer)
        kept = list(optimizer.optimizer.state.values())  # of the parts here, which are flat
        return {
            key: value if key == "step" else safe_get_full_optimizer_state(parameter, key)
            for key, value in (kept[0].items() if kept else ())
        }

    def take_moments(
        self, optimizer: Any, parameter: nn.Parameter, moments: Mapping[str, Tensor]
    ) -> None:
        """See `Engine.take_moments`."""
        from deepspeed.utils import safe_set_full_optimizer_state

        if not optimizer.optimizer.state:
            self._change_nothing(optimizer)
        self._link(optimizer)
        for key, value in moments.items():
            if key == "step":
                for kept in optimizer.optimizer.state.values():
                    kept[key].copy_(value)
            else:
                safe_set_full_optimizer_state(parameter, value.to(self.device), key)

    def forget(self, optimizer: Any) -> None:
        """See `Engine.forget`; moments of 0 after 0 updates are as good as none."""
        for kept in optimizer.optimizer.state.values():
            for value in kept.values():
                value.zero_()

    def _link(self, optimizer: Any) -> None:
        """Let each parameter know its moments.

        In stage 2 DeepSpeed does so once, when only the first group of parameters has any.
        """
        from deepspeed.utils import lazy_init_hp_params_optimizer_state as link

        state = optimizer.optimizer.state
        if state and not self.splits:
            flat = optimizer.single_partition_of_fp32_groups
            for parameters, part in zip(optimizer.bit16_groups, flat, strict=True):
                link(parameters, part, state)

    def _change_nothing(self, optimizer: Any) -> None:
        """Make an update by a gradient of 0, after which there is room for moments."""
        for group in optimizer.param_groups:
            group["lr"] = 0.0
        found = self._zero(Packed.nothing().to(self.device))[0]
        self.backward(found.sum(), True)
        self._zero.step()


def check_zero(recipe: Recipe) -> None:
    """Refuse what DeepSpeed cannot do, or the launcher was told of it and is not done here.

    Raises:
        UsageError: for weights of two precisions; see also `asked_of_zero`.
        MissingExtraError: without DeepSpeed.
    """
    asked_of_zero()
    if recipe.model.lora is not None and recipe.model.dtype != "float32":
        raise UsageError(
            "recipe: under DeepSpeed the frozen weights must be as precise as the adapter: set "
            "model.dtype to float32, or launch with --use_fsdp"
        )
    _library()


def asked_of_zero() -> dict[str, Any]:
    """DeepSpeed's section `zero_optimization`, as the launcher was told of it.

    Raises:
        UsageError: for what is not supported; in one line that says what to do.
    """
    path = os.environ.get(f"{_ENV}CONFIG_FILE", "none")
    if path.lower() == "none":
        asked: dict[str, Any] = {"stage": int(os.environ.get(f"{_ENV}ZERO_STAGE", "2"))}
        for what in ("optimizer", "param"):
            device = os.environ.get(f"{_ENV}OFFLOAD_{what.upper()}_DEVICE", "none")
            asked[f"offload_{what}"] = {"device": device}
    else:
        config = read_json(Path(path))
        if not isinstance(config, dict) or not isinstance(config.get(_SECTION), dict):
            raise UsageError(f"{path}: there is no section {_SECTION}, which says the stage")
        for key, value in config.items():
            if key != _SECTION and value != "auto":
                raise UsageError(f"{path}: remove {key!r}: the recipe decides all but {_SECTION}")
        asked = {key: value for key, value in config[_SECTION].items() if value != "auto"}
    if asked.get("stage") not in _STAGES:
        raise UsageError(f"DeepSpeed ZeRO stage {asked.get('stage')} is not supported: use 2 or 3")
    for key in ("offload_optimizer", "offload_param"):
        device = (asked.pop(key, None) or {}).get("device", "none")
        if device != "none":
            raise UsageError(f"DeepSpeed's {key} to {device!r} is not supported: use 'none'")
    return asked


def _library() -> Any:
    try:
        import deepspeed
    except ImportError as error:
        raise MissingExtraError("deepspeed", "deepspeed") from error
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", "`torch.distributed", FutureWarning)  # at what it calls
    return deepspeed
