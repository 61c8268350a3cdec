"""The environment of the load benchmarks: one step, and a list of actions to ask for before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from agemem_eval.harness.types import (
    EnvSpec,
    Instructions,
    Observation,
    SplitSpec,
    StepResult,
    Task,
)

ACTIONS = ["done", "look", "wait", "go north", "go south", "take the lamp"]
GOAL = "leave the room when you know what can be done"
FIRST = "You are in a room. There is a lamp, and a door to the north and to the south."


class LoadEnv:
    """A room that is left by `done`.

    Args:
        tasks: How many there are, all alike.
    """

    spec: ClassVar[EnvSpec] = EnvSpec(
        name="load",
        version="1",
        splits=(SplitSpec("test", None, "rooms, all alike"),),
        default_split="test",
        max_steps=20,
        instructions=Instructions("1", "Write one of the actions that can be done.", "look"),
        experts=(),
    )

    def __init__(self, tasks: str = "10") -> None:
        self._n = int(tasks)

    def tasks(self, split: str) -> Sequence[Task]:
        return [Task(f"room-{n:05}", split) for n in range(self._n)]

    def data_hash(self, split: str) -> str:
        return f"rooms-{self._n}"

    def reset(self, task: Task, seed: int) -> Observation:
        return Observation(FIRST, GOAL)

    def step(self, action: str) -> StepResult:
        done = action == "done"
        said = "You are outside." if done else "Nothing happens."
        return StepResult(said, float(done), float(done), done, done, valid=action in ACTIONS)

    def valid_actions(self) -> list[str] | None:
        return ACTIONS

    def expert_action(self, name: str = "oracle") -> str | None:
        return None

    def close(self) -> None:
        pass
