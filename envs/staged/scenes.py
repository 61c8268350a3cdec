"""Which earlier task is told before a task: one that shares as much of its world as may be."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import Protocol

from ...harness.errors import UsageError
from ...harness.types import Environment, Task


class KnowsScenes(Protocol):
    """What an environment may offer beside: which of its tasks are set in the same place."""

    def scene(self, task: Task) -> str:
        """Names the place; tasks of the same scene share a layout."""
        ...


def earlier(env: Environment, tasks: Sequence[Task]) -> list[Task]:
    """Of each task the one that was played before it, by an order that never changes.

    It is the next task of the same scene where the environment knows scenes and the scene has
    another task; else the next one of the same type, else the next one. The last is followed by
    the first.

    Raises:
        UsageError: the split has one task only.
    """
    if len(tasks) == 1:
        raise UsageError(
            f"exposure=episode needs another task, and the split {tasks[0].split} of "
            f"{env.spec.name} has one: choose exposure=world or exposure=description"
        )
    scene: Callable[[Task], str] | None = getattr(env, "scene", None)
    keys: list[Callable[[Task], Hashable]] = [lambda task: task.type, lambda _: None]
    if scene is not None:
        keys.insert(0, scene)
    chosen: list[Task | None] = [None] * len(tasks)
    for key in keys:
        alike: dict[Hashable, list[int]] = defaultdict(list)
        for number, task in enumerate(tasks):
            alike[key(task)].append(number)
        for numbers in alike.values():
            for number, following in zip(numbers, [*numbers[1:], numbers[0]], strict=True):
                if chosen[number] is None and following != number:
                    chosen[number] = tasks[following]
    return [task for task in chosen if task is not None]
