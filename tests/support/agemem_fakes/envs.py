"""Environments that count, and environments that misbehave when told to."""

from __future__ import annotations

import ctypes
import dataclasses
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from agemem_eval.harness.errors import DataError, MissingExtraError, UsageError
from agemem_eval.harness.types import (
    EnvSpec,
    Instructions,
    Observation,
    SplitSpec,
    StepResult,
    Task,
)

SPEC = EnvSpec(
    name="count",
    version="1",
    splits=(SplitSpec("test", None, "any number of tasks"), SplitSpec("fixed", 5, "five tasks")),
    default_split="test",
    max_steps=12,
    instructions=Instructions("1", "Say `inc` until the number is reached.", "inc"),
    experts=("oracle",),
)


class CountEnv:
    """Reach a number by `inc`. Every `task.data['solvable']` that is False never gets there."""

    spec: ClassVar[EnvSpec] = SPEC

    def __init__(self, tasks: str = "20", slow: str = "0", version: str = "1") -> None:
        self.n = int(tasks)
        self.slow = float(slow)
        if version != "1":
            self.spec = dataclasses.replace(SPEC, version=version)  # type: ignore[misc]

    def tasks(self, split: str) -> Sequence[Task]:
        if split not in {"test", "fixed"}:
            raise UsageError(f"unknown split {split!r}")
        return [Task(f"t{i:04}", split, "even" if i % 2 == 0 else "odd") for i in range(self.n)]

    def data_hash(self, split: str) -> str:
        return f"h{self.n}"

    def reset(self, task: Task, seed: int) -> Observation:
        self.rng = random.Random(f"{task.id}/{seed}")
        self.goal = self.rng.randint(1, 6)
        self.solvable = self.rng.random() < 0.7
        self.at = 0
        return Observation("The number is 0.", f"reach {self.goal}")

    def step(self, action: str) -> StepResult:
        time.sleep(self.slow)
        valid = action == "inc"
        if valid and (self.solvable or self.at + 1 < self.goal):
            self.at += 1
        done = self.at >= self.goal
        return StepResult(
            f"The number is {self.at}.", float(done), self.at / self.goal, done, done, valid=valid
        )

    def valid_actions(self) -> list[str] | None:
        return ["inc"]

    def expert_action(self, name: str = "oracle") -> str | None:
        return "inc"

    def close(self) -> None:
        pass


class SingleEnv(CountEnv):
    """Of which a process may hold only one."""

    spec: ClassVar[EnvSpec] = dataclasses.replace(SPEC, name="single", max_live=1)
    live = 0

    def __init__(self, **options: str) -> None:
        super().__init__(**options)
        type(self).live += 1
        if type(self).live > 1:
            raise RuntimeError("two instances in one process")

    def close(self) -> None:
        type(self).live -= 1


class BadEnv(CountEnv):
    """Does what the action says, most of it evil."""

    def step(self, action: str) -> StepResult:
        word, _, rest = action.partition(" ")
        if word == "print":
            print("noise " * 1000, flush=True)
            os.write(1, b"\x00\x00\x00\x02{}")
            sys.stdout.flush()
        elif word == "read":
            return StepResult(f"read {sys.stdin.read()!r}", 0.0, None, None, False)
        elif word == "raise":
            raise KeyError("missing\nthing")
        elif word == "usage":
            raise UsageError("do it otherwise")
        elif word == "data":
            raise DataError("game.json is broken")
        elif word == "extra":
            raise MissingExtraError("ScienceWorld", "scienceworld")
        elif word == "segfault":
            print("last words", file=sys.stderr, flush=True)
            ctypes.string_at(0)
        elif word == "exit":
            sys.exit(7)
        elif word == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif word == "hang":
            time.sleep(float(rest or 1000))
        elif word == "spin":
            ctypes.PyDLL(None).sleep(int(rest or 1000))  # holds the interpreter lock meanwhile
        elif word == "child":
            child = subprocess.Popen(["sleep", "1000"])
            return StepResult(str(child.pid), 0.0, None, None, False)
        elif word == "pid":
            return StepResult(str(os.getpid()), 0.0, None, None, False)
        elif word == "big":
            return StepResult("x" * int(rest), 0.0, None, None, False)
        elif word == "echo":
            return StepResult(rest, 0.0, None, None, False)
        elif word == "nan":
            return StepResult("", float("nan"), None, None, False)
        elif word == "wrong":
            return {"observation": "a dict"}  # type: ignore[return-value]
        return StepResult("done", 0.0, None, None, False)


class SlowEnv(BadEnv):
    """Whose calls may take two seconds."""

    spec: ClassVar[EnvSpec] = dataclasses.replace(SPEC, name="slow", slowest_call_s=2.0)


class TwinTasks(CountEnv):
    """Gives two tasks the same id."""

    def tasks(self, split: str) -> Sequence[Task]:
        return [*super().tasks(split), *super().tasks(split)]


class NeedsExtra(CountEnv):
    """Cannot be built here."""

    def __init__(self) -> None:
        raise MissingExtraError("ScienceWorld", "scienceworld")


class Flaky(CountEnv):
    """Kills its process now and then, by the clock; the game itself stays the same."""

    def __init__(self, tasks: str = "20", slow: str = "0", risk: str = "0.02") -> None:
        super().__init__(tasks, slow)
        self.risk = float(risk)

    def step(self, action: str) -> StepResult:
        if random.SystemRandom().random() < self.risk:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(action)


class HangingEnv(CountEnv):
    """Which does not get built soon."""

    def __init__(self, how: str = "wait", seconds: str = "2") -> None:
        super().__init__()
        if how == "hold":  # as a large library does that is loaded over a network
            ctypes.PyDLL(None).sleep(int(seconds))
        else:
            time.sleep(int(seconds))


class DiesListing(CountEnv):
    """Takes its process with it when it first lists its tasks, and leaves a mark."""

    def __init__(self, mark: str) -> None:
        super().__init__()
        self._mark = Path(mark)

    def tasks(self, split: str) -> Sequence[Task]:
        if not self._mark.exists():
            self._mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().tasks(split)
