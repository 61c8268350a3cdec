"""Episodes by task: the sums that every clustered statistic is made of, and their resamples.

Episodes of one task are alike, so that a task is one observation however often it was repeated.
A mean over episodes is then a ratio of sums over tasks, sum of values by sum of episodes, and a
resample of tasks needs no more than a weight a task: a matrix of weights times two columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

RESAMPLES = 2_000
_ROUNDING = 1e-12  # of the largest mean: means that differ by less are the same


@dataclass(frozen=True, slots=True)
class Clusters:
    """Values summed by task; row i of both is the same task, in the order of their names."""

    sums: FloatArray
    sizes: FloatArray  # episodes of each

    @property
    def n_tasks(self) -> int:
        """How many tasks."""
        return len(self.sums)

    @property
    def n(self) -> int:
        """How many values."""
        return int(self.sizes.sum())

    @property
    def mean(self) -> float:
        """The mean over all values, so that a task weighs by its episodes."""
        return float(self.sums.sum() / self.sizes.sum())

    @property
    def residuals(self) -> FloatArray:
        """What each task adds to the deviation of the mean: the linearised ratio."""
        return np.asarray((self.sums - self.mean * self.sizes) / self.sizes.sum())

    @property
    def alike(self) -> bool:
        """Whether all tasks have the same mean, but for what rounding makes of their sums."""
        means = self.sums / self.sizes
        return bool(np.ptp(means) <= _ROUNDING * np.abs(means).max())

    @property
    def se(self) -> float | None:
        """Standard error of the mean, by linearisation; None of a single task."""
        n = self.n_tasks
        if n < 2:
            return None
        if self.alike:
            return 0.0
        return float(np.sqrt(n / (n - 1) * np.square(self.residuals).sum()))

    def resampled_means(self, seed: int) -> FloatArray:
        """Means of as many tasks drawn with replacement; `RESAMPLES` of them."""
        weights, total = _weights(self.n_tasks, seed), self.sizes.sum()
        off = weights @ self.residuals.astype(np.float32)  # from the mean: 32 bits are enough
        if np.ptp(self.sizes):
            off = off * total / (weights @ self.sizes.astype(np.float32))
        return np.asarray(self.mean + off.astype(np.float64))


def clusters(values: ArrayLike, tasks: Sequence[str] | None) -> Clusters:
    """Sums by task; the same for every order of the values, to the last bit.

    Args:
        values: One number an episode, none of them NaN.
        tasks: The task of each; None if each is a task of its own.

    Raises:
        ValueError: if there is no value, one that is not finite, or not one task a value.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not len(array) or not np.isfinite(array).all():
        raise ValueError("statistics need a row of finite values: drop what has no score")
    if tasks is None:
        return Clusters(np.sort(array), np.ones(len(array)))
    if len(tasks) != len(array):
        raise ValueError(f"{len(array)} values of {len(tasks)} tasks")
    # By a dict: an array of texts takes five times as long to sort, and drops zeros at their ends.
    numbers = {task: number for number, task in enumerate(sorted(set(tasks)))}
    codes = np.fromiter(map(numbers.__getitem__, tasks), dtype=np.int64, count=len(tasks))
    order = np.lexsort((array, codes))
    sums = np.bincount(codes[order], weights=array[order])
    return Clusters(sums.astype(np.float64), np.bincount(codes).astype(np.float64))


@lru_cache(maxsize=4)
def _weights(n_tasks: int, seed: int) -> NDArray[np.float32]:
    """How often each task is drawn in each resample: kept, since the cells of a table share it."""
    rng = np.random.default_rng([seed, n_tasks])
    share = np.full(n_tasks, 1 / n_tasks)
    return rng.multinomial(n_tasks, share, size=RESAMPLES).astype(np.float32)
