"""Estimates against scipy, closed forms, published numbers and simulations."""

from __future__ import annotations

import math
import subprocess
import sys
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, bootstrap, norm, t

from agemem_eval.harness.errors import UsageError
from agemem_eval.harness.metrics import wilson
from agemem_eval.harness.stats import (
    Estimate,
    estimate,
    macro_average,
    mean,
    pass_at_k,
    pass_hat_k,
    rate,
)

SCORES = st.lists(st.floats(0, 1000, width=32), min_size=1, max_size=40)
BITS = st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=40)


def tasks_of(n: int, repeats: int) -> list[str]:
    return [f"task-{i // repeats}" for i in range(n)]


def found(estimated: Estimate | None) -> Estimate:
    assert estimated is not None
    return estimated


@given(BITS, st.sampled_from([0.8, 0.95, 0.99]))
def test_a_rate_of_tasks_played_once_has_the_interval_of_scipy(
    bits: list[float], confidence: float
) -> None:
    known = binomtest(int(sum(bits)), len(bits)).proportion_ci(confidence, method="wilson")
    got = found(rate(bits, [str(i) for i in range(len(bits))], confidence))
    assert (got.low, got.high) == pytest.approx((known.low, known.high), abs=1e-12)
    assert got.method == "Wilson"


def test_repeats_that_are_all_alike_tell_no_more_than_their_tasks() -> None:
    bits = np.array([1.0, 0, 0, 1, 1, 0, 1, 0, 0, 0])
    once, again = found(rate(bits)), found(rate(np.repeat(bits, 5), tasks_of(50, 5)))
    assert (again.low, again.high) == pytest.approx((once.low, once.high))
    assert (again.n, again.n_tasks) == (50, 10)


def test_repeats_that_owe_nothing_to_their_task_tell_nearly_as_much_as_other_tasks() -> None:
    bits = np.random.default_rng(5).random(4000) < 0.4
    once, again = found(rate(bits)), found(rate(bits, tasks_of(4000, 4)))
    assert again.high - again.low == pytest.approx(once.high - once.low, rel=0.06)


def test_repeats_count_by_the_standard_error_of_their_tasks() -> None:
    bits = np.random.default_rng(8).random((15, 4)) < np.linspace(0.1, 0.7, 15)[:, None]
    of_task, p = bits.mean(axis=1), bits.mean()
    se = of_task.std(ddof=1) / math.sqrt(15)
    n = p * (1 - p) / se**2 * (norm.ppf(0.975) / t(14).ppf(0.975)) ** 2
    assert 15 < n < 60
    got = found(rate(bits.ravel().astype(float), tasks_of(60, 4)))
    assert (got.low, got.high) == pytest.approx(wilson(p * n, n))
    assert got.se == pytest.approx(se)


def test_all_of_three_tasks_with_ten_repeats_is_not_all_of_thirty() -> None:
    got = found(rate(np.ones(30), tasks_of(30, 10)))
    assert got.low == pytest.approx(found(rate([1, 1, 1])).low)
    assert got.se is not None
    assert got.se > 0.1


def test_the_interval_of_a_rate_with_repeats_covers_in_simulations() -> None:
    rng, hits = np.random.default_rng(1), 0
    for _ in range(400):
        of_task = rng.beta(0.6, 1.4, 20)  # much alike within tasks; their mean is 0.3
        bits = rng.random((20, 3)) < of_task[:, None]
        got = found(rate(bits.ravel().astype(float), tasks_of(60, 3)))
        hits += got.low <= 0.3 <= got.high
    assert hits / 400 > 0.92


def test_the_interval_of_a_skewed_mean_covers_better_than_students() -> None:
    rng, hits, plain = np.random.default_rng(2), 0, 0
    for _ in range(400):
        tokens = rng.lognormal(0, 1, 30)
        got = found(mean(tokens))
        truth, away = math.exp(0.5), t(29).ppf(0.975) * tokens.std(ddof=1) / math.sqrt(30)
        hits += got.low <= truth <= got.high
        plain += abs(tokens.mean() - truth) <= away
    assert hits > plain
    assert hits / 400 > 0.88


def test_the_bootstrap_is_scipys_bca_further_out_by_what_so_few_tasks_lose() -> None:
    values = np.random.default_rng(3).gamma(1.5, 100, 25)
    away = math.sqrt(25 / 24) * t(24).ppf(0.975)
    level = math.erf(away / math.sqrt(2))
    known = bootstrap(
        (values,), np.mean, confidence_level=level, n_resamples=100_000, method="BCa",
        rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    got = found(mean(values))
    assert (got.low, got.high) == pytest.approx((known.low, known.high), rel=0.03)


def test_the_standard_error_of_a_clustered_mean_is_that_of_the_task_means() -> None:
    values = np.random.default_rng(4).normal(10, 2, 60)
    of_task = values.reshape(20, 3).mean(axis=1)
    got = found(mean(values, tasks_of(60, 3)))
    assert got.se == pytest.approx(of_task.std(ddof=1) / math.sqrt(20))
    assert got.value == pytest.approx(values.mean())


def test_few_tasks_get_students_interval_and_one_gets_none() -> None:
    got = found(mean([3.0, 5.0]))
    known = t(1, 4.0, 1.0).interval(0.95)
    assert (got.low, got.high) == pytest.approx(known)
    alone = found(mean([3.0, 5.0, 4.0], ["a", "a", "a"]))
    assert math.isnan(alone.low)
    assert math.isnan(alone.high)
    assert alone.se is None
    assert (alone.value, alone.n, alone.n_tasks) == (4.0, 3, 1)


def test_one_value_for_all_is_all_alike_whatever_rounding_makes_of_unequal_repeats() -> None:
    """Three times 0.1 is not 0.3: tasks of the same mean are told apart by the last bit alone."""
    got = found(mean([0.1] * 14, list("aaabbcdefghijj")))
    assert (got.low, got.high, got.se) == (got.value, got.value, 0.0)
    assert got.method == "all tasks alike"


def test_values_all_alike_say_so() -> None:
    got = found(mean([30.0] * 12))
    assert (got.low, got.value, got.high, got.se) == (30, 30, 30, 0)
    assert got.method == "all tasks alike"


def test_nothing_is_no_estimate_and_nan_counts_nowhere() -> None:
    assert rate([]) is None
    assert mean([]) is None
    assert estimate([math.nan, math.nan], ["a", "b"]) is None
    assert estimate([1, math.nan, 0, 1], ["a", "b", "c", "d"]) == rate([1, 0, 1])
    assert estimate([1.5, math.nan, 0], ["a", "b", "c"]) == mean([1.5, 0])


def test_what_is_no_rate_or_no_row_of_numbers_is_refused() -> None:
    for values in ([0.5, 1], [2], [math.nan, 1]):
        with pytest.raises(ValueError, match="0 and 1"):
            rate(values)
    for values in ([1.0, math.nan], [math.inf, 1.5], [[1.0, 2.0]]):
        with pytest.raises(ValueError, match="finite"):
            mean(values)
    with pytest.raises(ValueError, match="2 values of 1 tasks"):
        mean([1.5, 2.5], ["a"])


@settings(max_examples=60, deadline=None)
@given(SCORES, st.integers(1, 5), st.randoms(use_true_random=False))
def test_an_interval_holds_its_estimate_and_no_order_changes_it(
    scores: list[float], repeats: int, random: object
) -> None:
    tasks = tasks_of(len(scores), repeats)
    got = found(estimate(scores, tasks))
    if not math.isnan(got.low):
        assert got.low <= got.value <= got.high
    order = list(range(len(scores)))
    random.shuffle(order)  # type: ignore[attr-defined]
    again = found(estimate([scores[i] for i in order], [tasks[i] for i in order]))
    assert repr(again) == repr(got)


@settings(max_examples=40, deadline=None)
@given(SCORES, st.integers(1, 3))
def test_a_wider_confidence_is_a_wider_interval(scores: list[float], repeats: int) -> None:
    tasks = tasks_of(len(scores), repeats)
    narrow, wide = (found(estimate(scores, tasks, c)) for c in (0.8, 0.99))
    if not math.isnan(wide.low):
        assert wide.low <= narrow.low + 1e-9
        assert narrow.high <= wide.high + 1e-9


def test_the_same_seed_gives_the_same_interval_and_another_nearly_so() -> None:
    values = np.random.default_rng(6).gamma(2, 10, 50)
    assert mean(values) == mean(values)
    assert found(mean(values, seed=1)).low == pytest.approx(found(mean(values)).low, rel=0.05)
    assert found(mean(values, seed=1)).low != found(mean(values)).low


@given(st.lists(BITS.filter(lambda b: 3 <= len(b) <= 7), min_size=1, max_size=5), st.integers(1, 3))
@settings(max_examples=50, deadline=None)
def test_pass_at_k_and_pass_hat_k_are_what_all_subsets_of_trials_give(
    trials: list[list[float]], k: int
) -> None:
    by_task = {f"t{i}": bits for i, bits in enumerate(trials)}
    some = [np.mean([max(c) for c in combinations(bits, k)]) for bits in trials]
    every = [np.mean([min(c) for c in combinations(bits, k)]) for bits in trials]
    one, both = pass_at_k(by_task, k), pass_hat_k(by_task, k)
    assert one.value == pytest.approx(np.mean(some))
    assert both.value == pytest.approx(np.mean(every))
    for got in (one, both):
        assert (got.n, got.n_tasks) == (sum(map(len, trials)), len(trials))
        assert math.isnan(got.low) or 0 <= got.low <= got.value <= got.high <= 1


def test_pass_at_k_is_the_product_form_of_its_paper() -> None:
    n, c, k = 20, 7, 5
    known = 1 - np.prod(1 - k / np.arange(n - c + 1, n + 1))
    assert pass_at_k({"t": [1] * c + [0] * (n - c)}, k).value == pytest.approx(known)


def test_too_few_trials_are_refused_in_one_line() -> None:
    with pytest.raises(UsageError, match=r"^pass@8 needs 8 trials a task, 'b' has 4$"):
        pass_at_k({"a": [1] * 8, "b": [1] * 4}, 8)
    with pytest.raises(UsageError, match=r"^pass\^2 needs a task"):
        pass_hat_k({}, 2)
    with pytest.raises(UsageError, match="at least 1"):
        pass_at_k({"a": [1]}, 0)
    with pytest.raises(ValueError, match="0 or 1"):
        pass_at_k({"a": [0.5, 1]}, 1)


def test_the_macro_average_has_the_error_of_a_sum_of_independent_parts() -> None:
    parts = [found(rate([1] * k + [0] * (50 - k))) for k in (10, 25, 40)]
    got = macro_average(parts)
    assert got.value == pytest.approx(0.5)
    assert got.se == pytest.approx(math.sqrt(sum(p.se**2 for p in parts if p.se)) / 3)
    assert got.low < 0.5 - got.se < 0.5 + got.se < got.high
    assert (got.n, got.n_tasks) == (150, 150)


def test_the_macro_average_is_no_surer_than_the_part_that_tells_nothing() -> None:
    known, alone = found(rate([1, 0, 1, 1])), found(mean([0.7]))
    got = macro_average([known, alone])
    assert got.value == pytest.approx(0.725)
    assert got.se is None
    assert math.isnan(got.low)
    assert macro_average([known]).low == pytest.approx(known.low)
    with pytest.raises(ValueError, match="nothing"):
        macro_average([])


def test_the_macro_average_of_rates_near_zero_covers_in_simulations() -> None:
    rng, truths, hits = np.random.default_rng(7), (0.02, 0.1, 0.3, 0.6, 0.9), 0
    for _ in range(400):
        got = macro_average([found(rate(rng.random(40) < p)) for p in truths])
        hits += got.low <= np.mean(truths) <= got.high
    assert 0.92 < hits / 400 < 0.99


def test_scipy_is_not_imported_before_a_statistic_is_asked_for() -> None:
    code = "import sys, agemem_eval.harness.stats; sys.exit('scipy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
