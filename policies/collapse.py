"""Signs that a training has collapsed, upon which it ends and keeps the last good checkpoint.

Three are known (see the AgeMem paper's release and `docs/training.md`): the policy stops answering,
drifts far from the reference, or its numbers cease to be numbers. A policy that has never answered
has not collapsed, it has not learned yet: the share of missing answers counts only once it has
been below the limit, in a step or in the evaluation before the first one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from .recipe import Collapse

_NUMBERS = ("loss", "grad_norm", "kl")  # of an update; one that is no number has spoilt the weights


class Watch:
    """Looks at each step for signs of collapse.

    Args:
        limits: From which on something is a sign, and for how many steps.
        seen: What `state` gave when the training was interrupted.
    """

    def __init__(self, limits: Collapse, seen: Mapping[str, Any] | None = None) -> None:
        self._limits, seen = limits, seen or {}
        self._answered = bool(seen.get("answered", False))  # whether it ever did
        self._silent = int(seen.get("silent", 0))  # steps in a row with too few answers
        self._far = int(seen.get("far", 0))  # steps in a row too far from the reference

    @property
    def state(self) -> dict[str, Any]:
        """What was seen, as JSON values."""
        return {"answered": self._answered, "silent": self._silent, "far": self._far}

    @property
    def streak(self) -> int:
        """Steps in a row, up to now, that looked like collapse."""
        return max(self._silent, self._far)

    def evaluated(self, answered: float) -> None:
        """The share of held-out tasks with an answer."""
        self._answered = self._answered or 1 - answered < self._limits.no_answer

    def look(self, answered: float, numbers: Mapping[str, float | None]) -> str | None:
        """Look at a step.

        Args:
            answered: Share of its trajectories with an answer.
            numbers: Of the update: loss, grad_norm and kl, as far as there are any.

        Returns:
            Why training ends, in one line; None where it goes on.
        """
        for name in _NUMBERS:
            value = numbers.get(name)
            if value is not None and not math.isfinite(value):
                return f"{name} is {value}, no finite number: lower learning_rate"
        silent, far = 1 - answered >= self._limits.no_answer, self._is_far(numbers.get("kl"))
        self._silent = self._silent + 1 if silent and self._answered else 0
        self._answered = self._answered or not silent
        self._far = self._far + 1 if far else 0
        if self._silent >= self._limits.patience:
            return (
                f"{1 - answered:.0%} of the trajectories have no answer, {self._silent} steps in a "
                f"row from {self._limits.no_answer:.0%} on (collapse.no_answer): lower "
                "grpo.learning_rate or raise grpo.beta"
            )
        if self._far >= self._limits.patience:
            return (
                f"the mean KL to the reference is {numbers['kl']:.3g} a token, {self._far} steps "
                f"in a row above {self._limits.kl:g} (collapse.kl): lower grpo.learning_rate or "
                "raise grpo.beta"
            )
        return None

    def _is_far(self, kl: float | None) -> bool:
        return kl is not None and kl > self._limits.kl
