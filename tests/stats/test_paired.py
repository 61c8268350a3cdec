"""Comparisons of two cells: which test, what it gives, and what too little data give."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, t

from agemem_eval.harness.analysis import CellFrame
from agemem_eval.harness.records import EpisodeKey
from agemem_eval.harness.stats import Comparison, mean, pair, paired, paired_average

ROWS = st.lists(
    st.tuples(st.floats(0, 100, width=16), st.floats(0, 100, width=16)), min_size=1, max_size=30
)
BIT_ROWS = st.lists(
    st.tuples(st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 1.0])), min_size=1, max_size=40
)


def tasks_of(n: int, repeats: int = 1) -> list[str]:
    return [f"task-{i // repeats}" for i in range(n)]


def table(both: int, gained: int, lost: int, neither: int) -> Comparison:
    """McNemar's fourfold table as episodes."""
    base = [1] * both + [0] * gained + [1] * lost + [0] * neither
    new = [1] * both + [1] * gained + [0] * lost + [0] * neither
    return paired(base, new, tasks_of(len(base)))


def test_a_published_fourfold_table() -> None:
    # Fagerland, Lydersen, Laake, Statistics in Medicine 33 (2014): airway hyper-responsiveness
    # before and after stem cell transplantation; 1, 1, 7 and 12 children, exact p 0.0703.
    got = table(1, 7, 1, 12)
    assert got.p == pytest.approx(0.0703, abs=5e-5)
    assert (got.base, got.new, got.change) == pytest.approx((2 / 21, 8 / 21, 6 / 21))
    assert got.method == "McNemar, exact; Bonett-Price interval"
    # 8/23 - 2/23 and 1.96 standard errors; the lower bound, 0.0134, gives way to the test.
    assert got.high == pytest.approx(0.5084, abs=5e-4)
    assert got.low == 0


@given(BIT_ROWS)
@settings(deadline=None)
def test_rates_of_tasks_played_once_are_compared_by_mcnemars_exact_test(
    rows: list[tuple[float, float]],
) -> None:
    base, new = np.array(rows).T
    gained, lost = int((new > base).sum()), int((new < base).sum())
    got = paired(base, new, tasks_of(len(rows)))
    assert got.p == pytest.approx(binomtest(gained, gained + lost).pvalue if gained + lost else 1)
    assert -1 <= got.low <= got.change <= got.high <= 1


def test_repeats_that_are_all_alike_are_no_further_evidence() -> None:
    once = table(10, 8, 1, 11)
    base, new = np.repeat([1] * 10 + [0] * 8 + [1] + [0] * 11, 5), np.repeat(
        [1] * 10 + [1] * 8 + [0] + [0] * 11, 5
    )  # fmt: skip
    again = paired(base, new, tasks_of(150, 5))
    assert again.p == pytest.approx(once.p)
    assert (again.n_pairs, again.n_tasks) == (150, 30)
    assert again.method.startswith("sign flips by task, exact")


@pytest.mark.parametrize("repeats", [1, 3])
@given(st.one_of(ROWS, BIT_ROWS), st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_the_other_way_round_is_the_same_and_so_is_every_order(
    repeats: int, rows: list[tuple[float, float]], random: object
) -> None:
    base, new = np.array(rows).T
    tasks = tasks_of(len(rows), repeats)
    got, back = paired(base, new, tasks, effect=1.0), paired(new, base, tasks, effect=1.0)
    assert (back.base, back.new, back.p) == (got.new, got.base, got.p)
    assert back.change == -got.change
    assert back.mde == pytest.approx(got.mde, nan_ok=True)
    assert back.power == got.power or back.power == pytest.approx(got.power)
    assert (-back.high, -back.low) == pytest.approx((got.low, got.high), nan_ok=True)
    assert math.isnan(got.low) or got.low <= got.change <= got.high
    order = list(range(len(rows)))
    random.shuffle(order)  # type: ignore[attr-defined]
    shuffled = paired(base[order], new[order], [tasks[i] for i in order], effect=1.0)
    assert (shuffled.p, shuffled.low, shuffled.high) == pytest.approx(
        (got.p, got.low, got.high), nan_ok=True
    )


@pytest.mark.parametrize("repeats", [1, 2])
@given(st.one_of(ROWS, BIT_ROWS))
@settings(max_examples=50, deadline=None)
def test_an_interval_says_of_no_change_what_the_test_says(
    repeats: int, rows: list[tuple[float, float]]
) -> None:
    base, new = np.array(rows).T
    got = paired(base, new, tasks_of(len(rows), repeats))
    if got.p > 0.05 and not math.isnan(got.low):
        assert got.low <= 0 <= got.high
    elif got.p <= 0.05:
        assert got.low >= 0 or got.high <= 0


def test_a_difference_of_means_has_the_wider_of_bootstrap_and_students_interval() -> None:
    rng = np.random.default_rng(1)
    base = rng.lognormal(8, 1, 60)
    new = base * rng.lognormal(-0.3, 0.2, 60)
    got = paired(base, new, tasks_of(60, 2))
    known = mean(new - base, tasks_of(60, 2))
    assert known is not None
    student = t(29, known.value, known.se).interval(0.95)
    assert got.change == known.value
    assert got.low == pytest.approx(min(known.low, student[0]))
    assert got.high == pytest.approx(max(known.high, student[1]))
    assert got.p < 0.01
    assert got.effect == pytest.approx(0.1 * base.mean())


def test_the_interval_of_a_change_of_heavy_tails_covers_in_simulations() -> None:
    rng, holds = np.random.default_rng(12), 0
    for seed in range(300):
        base, new = rng.lognormal(0, 1, (2, 25))
        got = paired(base, new, tasks_of(25), seed=seed % 3)
        holds += got.low <= 0 <= got.high
    assert holds / 300 > 0.92


def test_a_change_of_rates_that_repeat_has_walds_interval_of_two_more_tasks() -> None:
    rng = np.random.default_rng(13)
    base, new = (rng.random((2, 12, 4)) < [[[0.3]], [[0.6]]]).astype(float)
    got = paired(base.ravel(), new.ravel(), tasks_of(48, 4))
    changes = np.append((new - base).mean(axis=1), [0.5, -0.5])  # 1 / sqrt(4 repeats)
    middle, half = changes.mean(), t(13).ppf(0.975) * changes.std() / math.sqrt(14)
    assert got.p < 0.05
    assert (got.low, got.high) == pytest.approx((max(0.0, middle - half), middle + half))


def test_the_power_of_rates_that_repeat_is_what_simulations_find() -> None:
    rng, found, said = np.random.default_rng(14), 0, []
    for _ in range(400):
        level = rng.beta(0.75, 0.75, (20, 1)) * 0.6 + 0.2
        base, new = (rng.random((2, 20, 3)) < np.stack([level, level + 0.2])).astype(float)
        got = paired(base.ravel(), new.ravel(), tasks_of(60, 3), effect=0.2)
        found += got.p <= 0.05
        said.append(got.power)
    assert np.mean([power or 0.0 for power in said]) == pytest.approx(found / 400, abs=0.05)


def test_no_pairs_say_nothing() -> None:
    got = paired([], [], [])
    assert (got.n_pairs, got.n_tasks, got.method, got.power) == (0, 0, "no pairs", None)
    for value in (got.base, got.new, got.change, got.low, got.high, got.p, got.mde):
        assert math.isnan(value)


def test_a_change_that_is_the_same_in_every_task_tells_nothing_of_the_noise() -> None:
    """Differences of decimals differ in the last bit, which is no noise to plan with."""
    base = np.arange(10) / 10
    got = paired(base, base + 0.1, [str(i) for i in range(10)])
    assert (got.p, got.power, got.low, got.high) == (2 / 2**10, None, got.change, got.change)
    assert math.isnan(got.mde)


def test_two_cells_that_play_alike_still_have_an_interval() -> None:
    for got in (table(20, 0, 0, 0), table(0, 0, 0, 20), table(9, 0, 0, 11)):
        assert (got.change, got.p) == (0, 1)
        assert -0.3 < got.low < 0 < got.high < 0.3
        assert 0.2 < got.mde < 0.6
    again = paired(np.ones(60), np.ones(60), tasks_of(60, 3))
    assert (again.change, again.p) == (0, 1)
    assert again.low < 0 < again.high
    assert again.mde > 0.1


def test_too_few_tasks_cannot_tell_and_say_so() -> None:
    got = table(0, 5, 0, 0)
    assert got.change == 1
    assert got.p == pytest.approx(2 / 32)
    assert math.isnan(got.mde)
    assert got.power == 0
    assert got.low <= 0
    one = paired([3.0, 4.0], [9.0, 9.5], ["a", "a"])
    assert (one.p, one.n_tasks, one.change) == (1, 1, 5.75)
    assert math.isnan(one.low)
    assert math.isnan(one.mde)
    bits = paired([0, 0, 0], [1, 1, 1], ["a", "a", "a"])
    assert (bits.p, bits.power) == (1, 0)
    assert math.isnan(bits.low)


def test_a_constant_difference_is_certain_only_as_far_as_its_tasks_go() -> None:
    base = np.arange(10) + 0.5
    got = paired(base, base + 2, tasks_of(10))
    assert (got.low, got.high) == (2, 2)
    assert got.p == pytest.approx(2 / 2**10)
    assert math.isnan(got.mde)
    assert got.power is None
    few = paired(base[:4], base[:4] + 2, tasks_of(4))
    assert few.p == 1 / 8
    assert few.low == 0


def test_rows_that_do_not_match_are_refused() -> None:
    with pytest.raises(ValueError, match="2 and 1 values of 2 tasks"):
        paired([1, 0], [1], ["a", "b"])
    with pytest.raises(ValueError, match="finite"):
        paired([1, math.nan], [1, 0], ["a", "b"])


def test_the_power_is_that_of_the_effect_asked_for() -> None:
    base, new = [1] * 50 + [0] * 50, [0] * 10 + [1] * 90
    small, large = (paired(base, new, tasks_of(100), effect=e).power for e in (0.05, 0.3))
    assert small is not None
    assert large is not None
    assert small < 0.3 < 0.9 < large
    assert paired(base, new, tasks_of(100)).effect == 0.1


@pytest.mark.parametrize("repeats", [1, 3])
@pytest.mark.parametrize("kind", ["rate", "tokens"])
def test_two_cells_of_one_memory_seldom_differ(kind: str, repeats: int) -> None:
    rng, alarms = np.random.default_rng(9), 0
    for seed in range(300):
        if kind == "rate":
            of_task = rng.beta(0.7, 0.7, (20, 1))
            base, new = (rng.random((20, repeats)) < of_task for _ in range(2))
        else:
            of_task = rng.lognormal(8, 1, (20, 1))
            base, new = (of_task * rng.lognormal(0, 0.7, (20, repeats)) for _ in range(2))
        got = paired(
            base.ravel().astype(float), new.ravel().astype(float), tasks_of(20 * repeats, repeats),
            seed=seed % 3,
        )  # fmt: skip
        alarms += got.p <= 0.05
    assert alarms <= 25  # 15 are expected at most; 25 or fewer in 99.3% of such simulations


def environment(n: int, gained: int, lost: int) -> tuple[list[int], list[int], list[str]]:
    base, new = [0] * gained + [1] * (n - gained), [1] * gained + [0] * lost
    return base, new + [1] * (n - gained - lost), tasks_of(n)


def test_an_average_weighs_environments_not_episodes() -> None:
    got = paired_average([environment(20, 4, 0), environment(200, 0, 20)])
    assert got.change == pytest.approx((0.2 - 0.1) / 2)
    assert got.new - got.base == pytest.approx(got.change)
    assert (got.n_pairs, got.n_tasks) == (220, 220)
    assert got.low <= got.change <= got.high


def test_the_average_of_one_environment_is_its_comparison() -> None:
    one = environment(30, 9, 1)
    alone, average = paired(*one), paired_average([one])
    assert (average.base, average.new) == pytest.approx((alone.base, alone.new))
    assert average.p == pytest.approx(alone.p)
    assert (average.low, average.high) == pytest.approx((alone.low, alone.high))


def test_the_average_over_equal_environments_is_the_test_of_all_their_tasks() -> None:
    base, new, _ = environment(12, 7, 2)
    parts = [(base, new, tasks_of(12))] * 2
    both = paired([*base, *base], [*new, *new], tasks_of(24))
    assert paired_average(parts).p == pytest.approx(both.p, abs=0.01)


def test_an_environment_without_pairs_leaves_no_average() -> None:
    got = paired_average([environment(20, 4, 0), ([], [], [])], effect=0.1)
    assert math.isnan(got.change)
    assert math.isnan(got.p)
    assert got.effect == 0.1
    alone = paired_average([environment(20, 4, 0), ([0.5, 0.5], [0.6, 0.7], ["a", "a"])])
    assert alone.change == pytest.approx(0.175)
    assert math.isnan(alone.low)
    assert alone.power is None
    with pytest.raises(ValueError, match="nothing"):
        paired_average([])


def test_averages_that_are_equal_seldom_differ_and_their_interval_covers() -> None:
    rng, alarms, holds = np.random.default_rng(10), 0, 0
    for seed in range(300):
        parts = []
        for n, level in ((15, 0.05), (30, 0.4), (60, 0.9)):
            base, new = (rng.random((2, n)) < level).astype(float)
            parts.append((base, new, tasks_of(n)))
        scores = rng.beta(2, 2, (2, 20))
        got = paired_average([*parts, (*scores, tasks_of(20))], seed=seed % 3)
        alarms += got.p <= 0.05
        holds += got.low <= 0 <= got.high
    assert alarms <= 25
    assert holds >= 275


def frame(scores: dict[tuple[str, int], float], broken: str = "") -> CellFrame:
    keys = [
        EpisodeKey("env", "1", "d", "test", task, "m", "h", "model", "h", "p", 0, repeat)
        for task, repeat in scores
    ]
    made = CellFrame("run", Path(), cast(Any, None), cast(Any, None), len(keys), keys)
    made.statuses = ["infra_error" if key.task == broken else "success" for key in keys]
    made.columns["success"] = np.array(list(scores.values()), dtype=np.float64)
    return made


def test_episodes_are_paired_by_key_whatever_their_order() -> None:
    one = frame({("b", 0): 1, ("a", 1): 0, ("a", 0): 1, ("only-here", 0): 1})
    two = frame({("a", 0): 0, ("a", 1): 1, ("b", 0): 1, ("only-there", 0): 1})
    base, new, tasks = pair(one, two, "success")
    assert tasks == ["a", "a", "b"]
    assert base.tolist() == [1, 0, 1]
    assert new.tolist() == [0, 1, 1]


def test_what_either_cell_has_no_score_for_is_no_pair() -> None:
    one = frame({("a", 0): math.nan, ("b", 0): 1, ("c", 0): 0, ("d", 0): 1})
    two = frame({("a", 0): 0, ("b", 0): math.nan, ("c", 0): 0, ("d", 0): 1}, broken="d")
    base, new, tasks = pair(one, two, "success")
    assert (base.tolist(), new.tolist(), tasks) == ([0], [0], ["c"])
    assert paired(*pair(one, two, "no.such.column")).n_pairs == 0
