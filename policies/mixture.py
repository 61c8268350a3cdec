"""Which tasks a step plays: of each source its share, and of these one after the other.

What a step plays is a function of the recipe and the step's number alone, so that a training that
was stopped goes on with the same tasks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from ..harness.types import Task
from .recipe import Recipe


@dataclass(frozen=True, slots=True)
class Pick:
    """A task to be played.

    Attributes:
        task: Which.
        source: Number of the source that it is of, from 0.
    """

    task: Task
    source: int = 0


def shares(weights: Sequence[float], size: int) -> Iterator[list[int]]:
    """How many tasks of each source the steps have, the first step first.

    Task by task the source is taken that is furthest behind its share of all tasks so far, the
    first one of equals. So after any number of steps each has had its share, to about a task.

    Args:
        weights: Of the sources; their sum need not be 1.
        size: Tasks of a step.
    """
    total, given, n = sum(weights), [0] * len(weights), 0
    while True:
        before = list(given)
        for _ in range(size):
            n += 1
            behind = [weight / total * n - had for weight, had in zip(weights, given, strict=True)]
            given[behind.index(max(behind))] += 1
        yield [now - had for now, had in zip(given, before, strict=True)]


class Mixture:
    """The tasks of each step.

    Of a source they are epochs over all its tasks, each in an order of its own. No step has a task
    twice: what is left at an epoch's end is too few for a step, and is left out.

    Args:
        recipe: With `grpo`.
        sources: The tasks of each source.
    """

    def __init__(self, recipe: Recipe, sources: Sequence[Sequence[Task]]) -> None:
        assert recipe.grpo is not None
        self._seed, self._size, self._sources = recipe.seed, recipe.grpo.tasks_per_step, sources
        self._weights = weights(recipe)
        self._begin()

    def _begin(self) -> None:
        self._step, self._counts = 0, shares(self._weights, self._size)
        self._at = [(0, 0)] * len(self._sources)  # epoch, and place in it, of what comes next

    def of_step(self, step: int) -> list[Pick]:
        """The tasks of a step, from 1; source by source."""
        if step <= self._step:
            self._begin()
        picks: list[Pick] = []
        while self._step < step:
            self._step += 1
            picks = self._next() if self._step == step else self._next(pick=False)
        return picks

    def _next(self, *, pick: bool = True) -> list[Pick]:
        picks = []
        for number, count in enumerate(next(self._counts)):
            tasks, (epoch, place) = self._sources[number], self._at[number]
            if place + count > len(tasks):
                epoch, place = epoch + 1, 0
            self._at[number] = epoch, place + count
            if pick:
                order = self._shuffled(tasks, number, f"tasks {self._seed} {epoch}")
                picks += [Pick(task, number) for task in order[place : place + count]]
        return picks

    def others(
        self, used: Sequence[Pick], missing: Sequence[int], step: int, round_: int
    ) -> list[Pick]:
        """Tasks to play in the place of those whose groups are flat, each of the same source.

        Args:
            used: What the step has played.
            missing: How many are wanted of each source; fewer are given where no more are left.
            step: The step.
            round_: Its further round, from 1.
        """
        picks = []
        for number, tasks in enumerate(self._sources):
            known = {pick.task.id for pick in used if pick.source == number}
            left = [task for task in tasks if task.id not in known]
            left = self._shuffled(left, number, f"resample {self._seed} {step} {round_}")
            picks += [Pick(task, number) for task in left[: max(0, missing[number])]]
        return picks

    def _shuffled(self, tasks: Sequence[Task], number: int, seed: str) -> list[Task]:
        order = list(tasks)
        Random(seed if not number else f"{seed} {number}").shuffle(order)
        return order


def weights(recipe: Recipe) -> list[float]:
    """The weights of a recipe's sources of tasks."""
    return [source.weight for source in recipe.tasks.sources] or [1.0]
