"""Muon: the momentum of a matrix, made orthogonal, is its update.

AdamW scales each number of a gradient by itself. A matrix maps directions to directions, and its
gradient is mostly of few of them; made orthogonal it moves all of them alike. In a small model that
saved a quarter of the updates (`docs/training.md`). Embeddings, norms and biases stay with
AdamW. K. Jordan, https://kellerjordan.github.io/posts/muon; scale and decay as in Moonlight (arXiv
2502.16982), so that an update is about as large as one of AdamW's at the same rate.

Here in float32: `torch.optim.Muon` computes in bfloat16, which on CPUs without it takes ten times
as long.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

_STEPS = 5  # of the iteration
_FACTORS = 3.4445, -4.775, 2.0315  # of its polynomial, as K. Jordan chose them
_MOMENTUM = 0.95
_SCALE = 0.2  # the root mean square of AdamW's updates (arXiv 2502.16982, section 2.2)


class MuonAdamW(torch.optim.AdamW):  # type: ignore[misc]
    """AdamW; groups whose `muon` is above 0 go by Muon, at so many times their rate.

    Args:
        groups: Of parameters, each with `muon`; those of which it may be above 0 hold matrices.
    """

    def __init__(self, groups: Sequence[dict[str, Any]]) -> None:
        super().__init__(list(groups), lr=0.0)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change the weights by their gradients."""
        gone: list[tuple[nn.Parameter, Tensor]] = []
        for group in self.param_groups:
            if group["muon"]:
                own = [(p, p.grad) for p in group["params"] if p.grad is not None]
                self._turn(own, group)
                gone += own
        for parameter, _ in gone:
            parameter.grad = None
        optimizer: Any = super()
        done = optimizer.step(closure)
        for parameter, gradient in gone:
            parameter.grad = gradient
        return done

    def _turn(self, own: Sequence[tuple[nn.Parameter, Tensor]], group: dict[str, Any]) -> None:
        """Those of one shape together: on a GPU a matrix of a small model takes no time itself."""
        alike: dict[Any, list[tuple[nn.Parameter, Tensor]]] = {}
        for parameter, gradient in own:
            kind = parameter.shape, parameter.dtype, parameter.device
            alike.setdefault(kind, []).append((parameter, self._ahead(parameter, gradient)))
        for some in alike.values():
            turned = orthogonal(torch.stack([ahead for _, ahead in some]))
            for (parameter, _), update in zip(some, turned, strict=True):
                size = group["lr"] * group["muon"] * _SCALE * math.sqrt(max(parameter.shape))
                with torch.no_grad():
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(update, alpha=-size)

    def _ahead(self, parameter: nn.Parameter, gradient: Tensor) -> Tensor:
        """The momentum, one step ahead: Nesterov's."""
        state = self.state[parameter]
        if not state:
            state["step"], state["exp_avg"] = torch.tensor(0.0), torch.zeros_like(parameter)
        state["step"] += 1
        return gradient.lerp(state["exp_avg"].lerp_(gradient, 1 - _MOMENTUM), _MOMENTUM)


def orthogonal(matrix: Tensor) -> Tensor:
    """A matrix with the same singular vectors, and singular values of about 1.

    By five steps of the quintic iteration of Newton and Schulz; the values come to lie between 0.7
    and 1.2, which is as good as 1 for the purpose. Values far below the others stay smaller.

    Args:
        matrix: [n, m], or several [..., n, m].

    Returns:
        As many of the same shape.
    """
    a, b, c = _FACTORS
    tall = matrix.shape[-2] > matrix.shape[-1]
    x = matrix.reshape(-1, *matrix.shape[-2:])
    x = x.mT if tall else x
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(_STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).reshape(matrix.shape)
