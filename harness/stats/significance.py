"""Tests of paired differences, and what many tests at once do to their p-values."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .clusters import FloatArray

FLIPS = 9_999  # random sign flips: with the data themselves, p is a multiple of 1/10,000
_EXACT_TASKS = 12  # up to so many tasks that differ, every flip is tried
_EXACT_TOTAL = 5_000  # so are whole differences up to this sum, by convolution
_ROUNDING = 1e-12  # of the sum of sizes: totals that differ by less are ties


def sign_flip_p(differences: FloatArray, seed: int = 0) -> tuple[float, bool]:
    """Two-sided p of differences, one a task, whose signs could as well be the other way round.

    Where base and new play alike, each difference is as likely as its negative. Of one episode a
    task, 0 or 1, this is McNemar's exact test. Tasks without a difference tell nothing.

    Returns:
        p, and whether every flip was counted, rather than `FLIPS` random ones and the data.
    """
    sizes = np.abs(differences[differences != 0])
    total = abs(float(differences.sum()))
    if not len(sizes):
        return 1.0, True
    if (sizes == np.rint(sizes)).all() and sizes.sum() <= _EXACT_TOTAL:
        return _by_convolution(sizes.astype(np.int64), round(total)), True
    sizes = np.sort(sizes)
    total -= _ROUNDING * float(sizes.sum())
    if len(sizes) <= _EXACT_TASKS:
        signs = 1.0 - 2.0 * ((np.arange(1 << len(sizes))[:, None] >> np.arange(len(sizes))) & 1)
        return float(np.mean(np.abs(signs @ sizes) >= total)), True
    extreme = int((np.abs(_flipped_sums(sizes, seed)) >= total).sum())
    return (1 + extreme) / (1 + FLIPS), False


def _by_convolution(sizes: NDArray[np.int64], total: int) -> float:
    """The exact chance that whole numbers with random signs add up to `total` or further from 0."""
    from scipy.special import bdtr, gammaln

    values, counts = np.unique(sizes, return_counts=True)
    if len(values) == 1:  # binomial: McNemar's
        n = int(counts[0])
        rarer = (n - total // int(values[0])) // 2
        return min(1.0, 2 * float(bdtr(rarer, n, 0.5)))
    span = int(sizes.sum())
    chance = np.zeros(2 * span + 1)  # of each sum from -span to span
    chance[span] = 1.0
    reach = 0  # sums so far lie within
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        grown, plus = np.zeros_like(chance), np.arange(count + 1)
        log = gammaln(count + 1) - gammaln(plus + 1) - gammaln(count - plus + 1)
        shares = np.exp(log - count * np.log(2))  # of so many of them positive
        for shift, share in zip(value * (2 * plus - count), shares, strict=True):
            part = chance[span - reach : span + reach + 1]
            grown[span - reach + shift : span + reach + 1 + shift] += share * part
        chance, reach = grown, reach + value * count
    return min(1.0, 2 * float(chance[: span - total + 1].sum())) if total else 1.0


def _flipped_sums(sizes: FloatArray, seed: int) -> FloatArray:
    """Sums under random signs: eight signs are a byte, whose 256 sums are looked up."""
    groups = -(-len(sizes) // 8)
    padded = np.zeros(8 * groups)
    padded[: len(sizes)] = sizes
    signs = 1.0 - 2.0 * ((np.arange(256)[:, None] >> np.arange(8)) & 1)
    table = padded.reshape(groups, 8) @ signs.T
    drawn, sums, of_group = _bytes(groups, seed), np.zeros(FLIPS), np.empty(FLIPS)
    for group in range(groups):
        np.take(table[group], drawn[group], out=of_group, mode="clip")  # 5 times as fast as [ ]
        sums += of_group
    return sums


@lru_cache(maxsize=4)
def _bytes(groups: int, seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng([seed, groups]).integers(0, 256, (groups, FLIPS), dtype=np.uint8)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values of a table, such that one below alpha is false in at most alpha of all tables.

    S. Holm, Scandinavian Journal of Statistics 6, 1979. NaN stays NaN, and is no test.
    """
    p = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(len(p), np.nan)
    order = [i for i in np.argsort(p, kind="stable") if not np.isnan(p[i])]
    highest = 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * float(p[i])))
        adjusted[i] = highest
    return [float(value) for value in adjusted]
