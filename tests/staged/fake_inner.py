"""A small environment to wrap: an answer of words, scores that move, and options of its own."""

from __future__ import annotations

from collections.abc import Sequence

from agemem_eval.harness.errors import UsageError
from agemem_eval.harness.types import (
    EnvSpec,
    Gold,
    Instructions,
    Observation,
    SplitSpec,
    StepResult,
    Task,
)

N_STEPS = 4  # actions that solve a task


class Counting:
    """Write `go` as often as the task wants; its seed is part of what is seen."""

    spec = EnvSpec(
        name="counting",
        version="7",
        splits=(SplitSpec("all", 6, "all there are"), SplitSpec("lone", 1, "one")),
        default_split="all",
        max_steps=11,
        instructions=Instructions("3", "Write go.\n\nThat is all.", "Your goal: go\n\n…"),
        experts=("oracle", "watcher"),
        metrics={"gone": "how often"},
        headline=("metrics.gone",),
    )

    def __init__(self, word: str = "go", data: str | None = None) -> None:
        self.word, self.data = word, data
        self.closed = 0
        self._gone: int | None = None

    def tasks(self, split: str) -> Sequence[Task]:
        if split not in ("all", "lone"):
            raise UsageError(f"unknown split of counting: {split!r}")
        n = 6 if split == "all" else 1
        return [
            Task(f"t{i}", split, "ab"[i % 2], {"i": i}, 9 + i if i % 3 else None,
                 N_STEPS if i % 2 else None)
            for i in range(n)
        ]  # fmt: skip

    def data_hash(self, split: str) -> str:
        return f"hash of {split}"

    def reset(self, task: Task, seed: int) -> Observation:
        listed = {t.id: t for t in self.tasks(task.split)}
        assert task == listed[task.id] or task.max_steps is None
        self._gone, self._task = 0, task
        return Observation(f"{task.id}, seed {seed}", f"leave {task.id} behind", {"gone": 0.5})

    def step(self, action: str) -> StepResult:
        if self._gone is None:
            raise UsageError("nothing is being played")
        valid = action == self.word
        self._gone += valid
        done = self._gone >= N_STEPS
        return StepResult(
            f"gone {self._gone}", float(valid and done), self._gone // 2 / 2, done, done,
            valid=valid, metrics={"gone": float(self._gone)},
        )  # fmt: skip

    def valid_actions(self) -> list[str]:
        return [self.word]

    def expert_action(self, name: str = "oracle") -> str | None:
        return None if self._gone is None or self._gone >= N_STEPS else self.word

    def gold(self, task: Task) -> Gold:
        return Gold(f"which of {task.id}?", str(task.data["i"]), ("a fact",))

    def close(self) -> None:
        self.closed += 1


class Speechless(Counting):
    """One that knows no expert and no gold."""

    spec = EnvSpec(
        name="speechless",
        version="1",
        splits=(SplitSpec("all", 6, "all there are"),),
        default_split="all",
        max_steps=5,
        instructions=Instructions("1", "Write go.", "…"),
        experts=(),
        has_valid_actions=False,
    )
    gold = None
