"""How large an effect a paired comparison of this size finds, and how surely.

Power is that of finding an effect named beforehand, never the effect observed, of which it would
only be another name of p (J. M. Hoenig, D. M. Heisey, The American Statistician 55, 2001).
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from .clusters import FloatArray

POWER = 0.8  # with which the minimum detectable effect is found


def mcnemar_power(effect: float, n: int, discordant: float, alpha: float) -> float:
    """Power of McNemar's exact test, over how many of n pairs are discordant.

    Args:
        effect: The difference of the two rates.
        n: Pairs.
        discordant: The share of pairs that differ; at least `effect`, else that.
        alpha: The level of the two-sided test.
    """
    from scipy.special import bdtr, gammaln

    share = min(1.0, max(discordant, abs(effect)))
    if share == 0:
        return 0.0
    towards = 0.5 * (1 + abs(effect) / share)  # of a discordant pair, to favour the better
    spread = 6 * math.sqrt(n * share * (1 - share)) + 8  # beyond is less than 1e-8
    m = np.arange(max(0, int(n * share - spread)), min(n, int(n * share + spread)) + 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        log = gammaln(n + 1) - gammaln(m + 1) - gammaln(n - m + 1)
        log = log + m * math.log(share) + np.where(m < n, (n - m) * np.log1p(-share), 0.0)
    limits = _limits(n, alpha)[m]  # reject up to so many against, or as many for
    found = np.where(limits >= 0, bdtr(limits, m, towards) + bdtr(limits, m, 1 - towards), 0.0)
    return float(min(1.0, np.exp(log) @ found))


@lru_cache(maxsize=16)
def _limits(n: int, alpha: float) -> FloatArray:
    """Of 0 to n discordant pairs: the most of the rarer kind with which p <= alpha; -1 if none."""
    from scipy.special import bdtr, bdtrik

    m = np.arange(n + 1)
    with np.errstate(invalid="ignore"):
        limits = np.floor(np.nan_to_num(bdtrik(alpha / 2, m, 0.5), nan=-1.0))
    for _ in range(3):  # bdtrik inverts a continuous function: put the last step right
        too_many = (limits >= 0) & (2 * bdtr(np.maximum(limits, 0), m, 0.5) > alpha * (1 + 1e-12))
        limits = np.where(too_many, limits - 1, limits)
        more = (limits + 1 <= m) & (2 * bdtr(limits + 1, m, 0.5) <= alpha * (1 + 1e-12))
        limits = np.where(more, limits + 1, limits)
    return np.asarray(limits)


def mcnemar_mde(n: int, discordant: float, alpha: float) -> float:
    """The least difference of rates found with `POWER`; NaN if not even 1 is."""
    if mcnemar_power(1.0, n, discordant, alpha) < POWER:
        return math.nan
    low, high = 0.0, 1.0
    needed = NormalDist().inv_cdf(1 - alpha / 2) + NormalDist().inv_cdf(POWER)
    guess = needed * math.sqrt(discordant / n)  # of many pairs; mostly it saves half the steps
    for bound in (0.9 * guess, 1.3 * guess):
        if low < bound < high:
            found = mcnemar_power(bound, n, discordant, alpha) >= POWER
            low, high = (low, bound) if found else (bound, high)
    while high - low > 1e-4:
        middle = (low + high) / 2
        if mcnemar_power(middle, n, discordant, alpha) < POWER:
            low = middle
        else:
            high = middle
    return high


def t_power(effect: float, se: float, n_tasks: float, alpha: float) -> float:
    """Power of a test of a mean difference with this standard error, by Student's t."""
    from scipy.special import nctdtr, stdtrit

    if not can_reject(n_tasks, alpha):
        return 0.0
    df, shift = n_tasks - 1, abs(effect) / se
    critical = float(stdtrit(df, 1 - alpha / 2))
    if shift > critical + 30:  # beyond what the function is accurate for
        return 1.0
    beyond = float(nctdtr(df, shift, -critical))  # NaN at some points where it is below 1e-16
    return float(1 - nctdtr(df, shift, critical)) + (0.0 if math.isnan(beyond) else beyond)


def t_mde(se: float, n_tasks: float, alpha: float) -> float:
    """The least mean difference found with `POWER` (H. S. Bloom, Evaluation Review 19, 1995)."""
    from scipy.special import stdtrit

    if not can_reject(n_tasks, alpha) or se == 0:
        return math.nan
    df = n_tasks - 1
    return float(se * (stdtrit(df, 1 - alpha / 2) + stdtrit(df, POWER)))


def can_reject(n_tasks: float, alpha: float) -> bool:
    """Whether so few tasks can have a p of alpha at all: the least is that of one sign for all."""
    return bool(2.0 ** (1 - n_tasks) <= alpha)
