"""Which tasks a step plays: of each source its share, and of these one after the other."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest
import train_runs

from agemem_eval.harness.types import Task
from agemem_eval.policies.mixture import Mixture, shares


def tasks(n, name="t"):
    return [Task(f"{name}{i}", "generated-train", "") for i in range(n)]


def dealt(sources, steps, size, weights=(), **more):
    """The ids of the tasks of steps."""
    listed = [{"weight": weight} for weight in weights]
    recipe = train_runs.recipe(grpo__tasks_per_step=size, tasks__sources=listed, **more)
    mixture = Mixture(recipe, sources)
    return [[pick.task.id for pick in mixture.of_step(step)] for step in steps]


def test_an_epoch_plays_each_task_once_and_the_next_in_another_order():
    all_ = tasks(9)
    steps = dealt([all_], range(1, 7), 3)
    first, second = ([id_ for step in part for id_ in step] for part in (steps[:3], steps[3:]))
    assert Counter(first) == Counter(second) == Counter(t.id for t in all_)
    assert first != second
    assert dealt([all_], range(1, 4), 3, seed=1) != steps[:3]


def test_no_step_has_a_task_twice_where_an_epoch_does_not_divide():
    for found in dealt([tasks(7)], range(1, 30), 4):
        assert len(found) == len(set(found)) == 4


def test_what_a_step_plays_follows_from_its_number_whatever_was_asked_before():
    sources, weights = [tasks(7, "a"), tasks(11, "b")], (1, 2.5)
    steps = dealt(sources, range(1, 40), 4, weights)
    assert dealt(sources, (31,), 4, weights) == [steps[30]]
    assert dealt(sources, (9, 3, 3, 38), 4, weights) == [steps[i - 1] for i in (9, 3, 3, 38)]


def test_the_tasks_of_one_source_are_dealt_as_they_were_before_there_could_be_several():
    order = dealt([tasks(6)], (1, 2, 3, 4), 3)
    assert order == [["t0", "t5", "t4"], ["t1", "t2", "t3"], ["t3", "t1", "t0"], ["t5", "t2", "t4"]]


def test_a_source_has_its_own_epochs_and_its_own_order():
    steps = dealt([tasks(6, "a"), tasks(4, "b")], range(1, 13), 4, (1, 1))
    for name, n in (("a", 6), ("b", 4)):
        played = [id_ for step in steps for id_ in step if id_[0] == name]
        epochs = [played[at : at + n] for at in range(0, len(played), n)]
        assert len(epochs) > 2
        assert all(len(set(epoch)) == n for epoch in epochs)
        assert len({tuple(epoch) for epoch in epochs}) > 1
    same = dealt([tasks(6), tasks(6)], (1,), 8, (1, 1))[0]
    assert same[:4] != same[4:]


@pytest.mark.parametrize(("weights", "size", "first"), [
    ((2, 1, 1), 4, [[2, 1, 1], [2, 1, 1]]),
    ((1, 1), 3, [[2, 1], [1, 2]]),
    ((1,), 5, [[5], [5]]),
    ((3, 1), 1, [[1, 0], [1, 0], [0, 1], [1, 0], [1, 0], [1, 0], [0, 1]]),
])  # fmt: skip
def test_each_source_gets_its_share_of_a_step(weights, size, first):
    assert list(islice(shares(weights, size), len(first))) == first


@pytest.mark.parametrize("weights", [
    (1, 1, 1, 1, 1), (5, 3, 1, 1, 0.5), (0.1, 0.7, 0.2), (1 / 3, 1 / 3, 1 / 3), (100, 1),
])  # fmt: skip
@pytest.mark.parametrize("size", [1, 4, 7, 16])
def test_over_the_steps_the_shares_hold_to_a_task(weights, size):
    given = [0] * len(weights)
    for step, counts in enumerate(islice(shares(weights, size), 200), 1):
        assert sum(counts) == size
        given = [had + count for had, count in zip(given, counts, strict=True)]
        for had, weight in zip(given, weights, strict=True):
            assert abs(had - weight / sum(weights) * size * step) < 1 + 1e-9
