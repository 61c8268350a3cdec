"""Power against enumeration, scipy, and what a standard program prints."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom, binomtest, multinomial, nct, norm, t

from agemem_eval.harness.stats.power import (
    POWER,
    _limits,
    can_reject,
    mcnemar_mde,
    mcnemar_power,
    t_mde,
    t_power,
)


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
def test_the_limits_of_the_test_are_those_of_its_p(alpha: float) -> None:
    limits = _limits(120, alpha)
    for m in range(121):
        rarer = np.arange((m + 1) // 2)  # an even split is no evidence
        known = rarer[2 * binom.cdf(rarer, m, 0.5) <= alpha]
        assert limits[m] == max(known, default=-1)


@pytest.mark.parametrize(("effect", "discordant"), [(0.0, 0.4), (0.2, 0.4), (0.5, 0.5), (0.3, 0.1)])
def test_mcnemars_power_is_that_of_all_tables(effect: float, discordant: float) -> None:
    n, share = 14, max(effect, discordant)
    gain, lose = (share + effect) / 2, (share - effect) / 2
    known = 0.0
    for b in range(n + 1):
        for c in range(n + 1 - b):
            if b + c and binomtest(b, b + c).pvalue <= 0.05:
                known += multinomial.pmf([b, c, n - b - c], n, [gain, lose, 1 - gain - lose])
    assert mcnemar_power(effect, n, discordant, 0.05) == pytest.approx(known, abs=1e-9)


def test_mcnemars_power_of_many_pairs_is_nearly_that_of_its_asymptotic_formula() -> None:
    n, effect, share = 2000, 0.04, 0.3  # R. J. Connor, Biometrics 43, 1987
    spread = math.sqrt(share - effect**2)
    known = norm.cdf((effect * math.sqrt(n) - norm.ppf(0.975) * math.sqrt(share)) / spread)
    assert mcnemar_power(effect, n, share, 0.05) == pytest.approx(known, abs=0.015)
    assert mcnemar_power(-effect, n, share, 0.05) == mcnemar_power(effect, n, share, 0.05)


def test_students_power_is_what_gpower_prints() -> None:
    # G*Power, difference of two dependent means, dz = 0.5, two-sided 0.05: 34 pairs, 0.8077775
    assert t_power(0.5, 1 / math.sqrt(34), 34, 0.05) == pytest.approx(0.8077775, abs=1e-6)


def test_students_power_is_that_of_the_noncentral_t() -> None:
    for n, shift in ((8, 1.0), (30, 2.5), (200, 4.0), (50, 0.0)):
        critical = t(n - 1).ppf(0.975)
        known = nct(n - 1, shift).sf(critical) + nct(n - 1, shift).cdf(-critical)
        assert t_power(shift, 1.0, n, 0.05) == pytest.approx(known, abs=1e-6)
    assert t_power(1e6, 1.0, 50, 0.05) == 1.0


@pytest.mark.parametrize("n", [10, 20, 50, 200, 2000])
def test_what_is_detectable_is_found_with_its_power(n: int) -> None:
    for discordant in (0.0, 0.1, 0.4):
        mde = mcnemar_mde(n, discordant, 0.05)
        assert mcnemar_power(mde, n, discordant, 0.05) == pytest.approx(POWER, abs=0.01)
    assert t_power(t_mde(2.0, n, 0.05), 2.0, n, 0.05) == pytest.approx(POWER, abs=0.025)


def test_more_pairs_find_smaller_effects_and_more_noise_larger_ones() -> None:
    by_n = [mcnemar_mde(n, 0.3, 0.05) for n in (20, 50, 100, 500)]
    assert by_n == sorted(by_n, reverse=True)
    by_noise = [mcnemar_mde(100, share, 0.05) for share in (0.05, 0.2, 0.5, 0.9)]
    assert by_noise == sorted(by_noise)


def test_five_tasks_find_nothing_at_five_percent() -> None:
    assert not can_reject(5, 0.05)
    assert can_reject(6, 0.05)
    assert math.isnan(mcnemar_mde(5, 0.3, 0.05))
    assert mcnemar_power(1.0, 5, 0.3, 0.05) == 0
    assert math.isnan(t_mde(0.1, 5, 0.05))
    assert t_power(9.0, 0.1, 5, 0.05) == 0
    assert mcnemar_power(1.0, 6, 0.3, 0.05) == pytest.approx(1.0)


def test_an_effect_of_nothing_is_found_no_oftener_than_alpha() -> None:
    for n in (10, 50, 300):
        for discordant in np.linspace(0.05, 1, 8):
            assert mcnemar_power(0.0, n, discordant, 0.05) <= 0.05 + 1e-12
    assert mcnemar_power(0.0, 50, 0.0, 0.05) == 0
