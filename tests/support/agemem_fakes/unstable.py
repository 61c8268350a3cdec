"""An environment whose texts depend on the order of a set of strings."""

from __future__ import annotations

import dataclasses

from agemem_eval.harness.errors import UsageError
from agemem_eval.harness.types import StepResult
from agemem_fakes.envs import SPEC, CountEnv


class SetOrder(CountEnv):
    spec = dataclasses.replace(SPEC, name="set-order")

    def step(self, action: str) -> StepResult:
        if not hasattr(self, "at"):
            raise UsageError("reset a task first")
        words = {f"word {n}" for n in range(50)}
        return dataclasses.replace(super().step(action), observation=", ".join(words))
