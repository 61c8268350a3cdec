"""Tests of differences against scipy, enumeration and Fisher; Holm against closed testing."""

from __future__ import annotations

import math
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, permutation_test

from agemem_eval.harness.stats import holm
from agemem_eval.harness.stats.significance import FLIPS, sign_flip_p

# Fisher, The Design of Experiments (1935), section 21: Darwin's maize, crossed less selfed,
# eighths of an inch. 1,726 of the 32,768 flips are as far from 0.
MAIZE = np.array([49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48], dtype=float)


def by_enumeration(differences: np.ndarray) -> float:
    total = abs(differences.sum())
    sums = [sum(s) for s in product(*[(d, -d) for d in differences])]
    return float(np.mean([abs(s) >= total - 1e-9 for s in sums]))


def test_fishers_example_has_fishers_p() -> None:
    assert sign_flip_p(MAIZE) == (pytest.approx(1726 / 2**15), True)


def test_the_same_in_other_units_is_found_by_random_flips() -> None:
    p, exact = sign_flip_p(MAIZE / 8 + 1e-13)
    assert not exact
    assert p == pytest.approx(1726 / 2**15, abs=0.007)


@given(st.lists(st.integers(-6, 6), min_size=1, max_size=9))
def test_whole_differences_have_the_p_of_all_flips(differences: list[int]) -> None:
    array = np.array(differences, dtype=float)
    assert sign_flip_p(array) == (pytest.approx(by_enumeration(array)), True)


@given(st.lists(st.integers(-500, 500), min_size=1, max_size=9))
@settings(deadline=None)
def test_other_differences_have_it_too(hundredths: list[int]) -> None:
    known = by_enumeration(np.array(hundredths, dtype=float))
    assert sign_flip_p(np.array(hundredths) / 100) == (pytest.approx(known), True)


@given(st.integers(0, 60), st.integers(0, 60))
def test_differences_of_one_are_mcnemars_exact_test(gained: int, lost: int) -> None:
    p, exact = sign_flip_p(np.array([1.0] * gained + [-1.0] * lost + [0.0] * 5))
    known = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert exact
    assert p == pytest.approx(known)


def test_random_flips_agree_with_scipys() -> None:
    array = np.random.default_rng(1).normal(0.25, 1, 40)
    p, exact = sign_flip_p(array)
    known = permutation_test(
        (array,), np.sum, permutation_type="samples", n_resamples=50_000,
        rng=np.random.default_rng(0),
    ).pvalue  # fmt: skip
    assert not exact
    assert p == pytest.approx(known, abs=0.012)


def test_random_flips_are_never_sure() -> None:
    assert sign_flip_p(np.random.default_rng(2).normal(9, 1, 100))[0] == 1 / (FLIPS + 1)


@pytest.mark.parametrize("whole", [True, False])
@given(st.lists(st.integers(-50, 50), min_size=1, max_size=30), st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_neither_order_nor_side_nor_ties_change_p(
    whole: bool, differences: list[int], random: object
) -> None:
    array = np.array(differences) * (1.0 if whole else 0.37)
    p = sign_flip_p(array)
    random.shuffle(differences)  # type: ignore[attr-defined]
    shuffled = np.array([*differences, 0]) * (1.0 if whole else 0.37)
    assert sign_flip_p(shuffled) == p
    assert sign_flip_p(-array) == p


def test_many_tasks_with_many_repeats_stay_a_chance() -> None:
    rng = np.random.default_rng(3)
    for _ in range(5):
        array = rng.integers(-3, 4, 1500).astype(float)
        p, exact = sign_flip_p(array)
        z = abs(array.sum()) / math.sqrt(np.square(array).sum())
        assert exact
        assert p == pytest.approx(math.erfc(z / math.sqrt(2)), abs=0.02)


def test_no_difference_is_no_evidence() -> None:
    assert sign_flip_p(np.zeros(10)) == (1.0, True)
    assert sign_flip_p(np.zeros(0)) == (1.0, True)
    assert sign_flip_p(np.array([5.5])) == (1.0, True)


def test_holm_of_a_known_table() -> None:
    # R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


P = st.lists(st.floats(0, 1), max_size=6)


@given(P)
def test_holm_is_closed_testing_by_bonferroni(p: list[float]) -> None:
    rows = range(len(p))
    subsets = [s for size in range(1, len(p) + 1) for s in combinations(rows, size)]
    known = [
        max(min(1.0, len(s) * min(p[i] for i in s)) for s in subsets if row in s) for row in rows
    ]
    assert holm(p) == pytest.approx(known)


@given(P, st.integers(0, 6))
def test_holm_keeps_the_order_and_counts_no_missing_test(p: list[float], at: int) -> None:
    got = holm(p)
    for i, j in combinations(range(len(p)), 2):
        if p[i] < p[j]:
            assert got[i] <= got[j]
    assert all(p_i <= g <= 1 for p_i, g in zip(p, got, strict=True))
    at = min(at, len(p))
    with_gap = holm([*p[:at], math.nan, *p[at:]])
    assert math.isnan(with_gap.pop(at))
    assert with_gap == got
