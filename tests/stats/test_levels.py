"""Means over tasks and training seeds, against scipy, closed forms and a simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from agemem_eval.harness.stats import Block, two_levels


def block(values, trained: str = "a", weight: float = 1.0) -> Block:
    return Block(np.atleast_2d(np.asarray(values, dtype=float)), trained, weight)


def test_of_one_seed_the_standard_error_is_that_of_scipys_bootstrap() -> None:
    values = np.random.default_rng(3).exponential(size=60)
    found = two_levels([[block(values)]])
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(5)
    )
    stretch = math.sqrt(60 / 59)
    assert found.estimate.se == pytest.approx(stretch * theirs.standard_error, rel=0.05)
    assert found.estimate.value == pytest.approx(values.mean())
    assert found.df == pytest.approx(59)
    low, high = stats.t.interval(0.95, 59, loc=values.mean(), scale=found.estimate.se)
    assert (found.estimate.low, found.estimate.high) == pytest.approx((low, high))
    assert found.p == pytest.approx(2 * stats.t.sf(values.mean() / found.estimate.se, 59))


def test_a_difference_is_paired_by_task_as_scipys_is() -> None:
    rng = np.random.default_rng(7)
    base = rng.normal(size=80)
    new = base + 0.1 + 0.2 * rng.normal(size=80)  # alike but for little
    found = two_levels([[block(new, "new"), block(base, "base", -1.0)]]).estimate
    theirs = stats.bootstrap(
        (new, base), lambda a, b: np.mean(a - b, axis=-1), paired=True, vectorized=False,
        n_resamples=5_000, method="percentile", rng=np.random.default_rng(1),
    )  # fmt: skip
    assert found.se == pytest.approx(theirs.standard_error, rel=0.05)
    assert found.value == pytest.approx(np.mean(new - base))
    assert found.low > 0


def test_two_levels_add_up_where_neither_changes_what_the_other_does() -> None:
    of_seed, of_task = np.array([0.0, 0.3, 0.9]), np.linspace(0, 2, 21)
    found = two_levels([[block(of_seed[:, None] + of_task)]])
    seeds, tasks = of_seed.var(ddof=1) / 3, of_task.var(ddof=1) / 21
    assert found.estimate.se == pytest.approx(math.sqrt(seeds + tasks), rel=0.04)
    assert found.df == pytest.approx((seeds + tasks) ** 2 / (seeds**2 / 2 + tasks**2 / 20))
    assert found.estimate.method == "bootstrap by task and training seed, Student's t"
    assert found.estimate.n == 63
    assert found.estimate.n_tasks == 21


def test_the_same_checkpoints_with_two_memories_are_drawn_together() -> None:
    of_seed = np.array([[0.0], [0.4], [0.8]])
    tasks = np.linspace(0, 1, 30)
    new, base = 0.2 + of_seed + tasks, of_seed + tasks**2
    together = two_levels([[block(new, "one"), block(base, "one", -1.0)]]).estimate
    apart = two_levels([[block(new, "one"), block(base, "other", -1.0)]]).estimate
    assert together.value == pytest.approx(apart.value)
    difference = (new - base)[0]
    assert together.se == pytest.approx(difference.std(ddof=1) / math.sqrt(30), rel=0.05)
    assert apart.se == pytest.approx(
        math.sqrt(2 * of_seed.var(ddof=1) / 3 + difference.var(ddof=1) / 30), rel=0.04
    )


def test_environments_weigh_the_same_whatever_their_number_of_tasks() -> None:
    found = two_levels([[block([1, 0, 1, 0], "a", 0.5)], [block([1, 1], "a", 0.5)]]).estimate
    assert found.value == pytest.approx(0.75)
    assert found.se == pytest.approx(0.5 * math.sqrt(np.var([1, 0, 1, 0], ddof=1) / 4), rel=0.05)


def test_one_task_alone_has_no_interval_and_tasks_all_alike_a_p_of_their_number() -> None:
    alone = two_levels([[block([[0.2], [0.4], [0.6]])]])
    assert alone.estimate.value == pytest.approx(0.4)
    assert math.isnan(alone.estimate.low)
    assert math.isnan(alone.p)
    alike = two_levels([[block([1] * 5, "a"), block([0] * 5, "b", -1.0)]])
    assert (alike.estimate.low, alike.estimate.high) == (1, 1)
    assert alike.p == 2.0**-4
    none = two_levels([[block([1] * 5, "a"), block([1] * 5, "b", -1.0)]])
    assert none.p == 1


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ([], "nothing"),
        ([[]], "nothing"),
        ([[block([1, math.nan])]], "finite"),
        ([[block([1, 2]), block([1, 2, 3], "b")]], "same tasks"),
        ([[block([1, 2]), block([[1, 2], [3, 4]])]], "seeds of a"),
    ],
)
def test_what_cannot_be_a_mean_is_refused(groups, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        two_levels(groups)


def test_the_same_input_gives_the_same_interval() -> None:
    values = np.random.default_rng(0).normal(size=(3, 40))
    assert two_levels([[block(values)]]) == two_levels([[block(values)]])
    assert two_levels([[block(values)]]) != two_levels([[block(values)]], seed=1)


def test_intervals_cover_what_they_say_where_seeds_differ_as_much_as_tasks() -> None:
    """95% of 150 are 142; fewer than 132 have a chance below 0.1%. Without seeds it is far less."""
    rng = np.random.default_rng(11)
    held = fixed = 0
    for _ in range(150):
        values = rng.normal(0, 0.1, (3, 1)) + rng.normal(0, 0.7, (1, 50))
        found = two_levels([[block(values)]]).estimate
        held += found.low <= 0 <= found.high
        tasks_alone = two_levels([[block(values.mean(axis=0))]]).estimate
        fixed += tasks_alone.low <= 0 <= tasks_alone.high
    assert held >= 132
    assert fixed < held
