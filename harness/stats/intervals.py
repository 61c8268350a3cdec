"""Estimates with intervals: rates, means, pass@k, pass^k, and their average over environments.

A bound that cannot be known from so few tasks is NaN, never 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from ..errors import UsageError
from ..metrics import wilson
from .clusters import RESAMPLES, Clusters, FloatArray, clusters

FEW_TASKS = 8  # with fewer, resamples hold too few different tasks: Student's t instead


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value and how far it can be trusted."""

    value: float
    low: float  # NaN where so few tasks tell nothing; so is `high`
    high: float
    n: int  # values
    n_tasks: int  # clusters: what counts as an observation
    se: float | None  # standard error; None where it cannot be known
    method: str


def rate(
    values: ArrayLike, tasks: Sequence[str] | None = None, confidence: float = 0.95
) -> Estimate | None:
    """A share of successes with Wilson's interval.

    Where tasks repeat, the interval is that of the effective sample size: as many independent
    episodes as would have the standard error that the tasks show, and at least one a task
    (E. L. Korn, B. I. Graubard, Survey Methodology 24, 1998; their correction by Student's t).

    Args:
        values: 0 or 1 an episode, none of them NaN.
        tasks: The task of each; None if each is a task of its own.
        confidence: Of the interval.

    Returns:
        None of no values.

    Raises:
        ValueError: for other values.
    """
    if not np.size(values):
        return None
    if not _binary(np.asarray(values, dtype=np.float64)):
        raise ValueError("a rate is of values 0 and 1")
    by_task = clusters(values, tasks)
    z, p = NormalDist().inv_cdf(0.5 + confidence / 2), by_task.mean
    repeats = by_task.n > by_task.n_tasks
    n = _effective_n(by_task, confidence) if repeats else float(by_task.n)
    low, high = wilson(p * n, n, confidence)
    # Of none or all, the plain standard error would be 0, as if more episodes could not differ.
    plain = by_task.se if repeats else math.sqrt(p * (1 - p) / n)
    se = plain or (high - low) / (2 * z)
    method = "Wilson, effective sample size by task" if repeats else "Wilson"
    return Estimate(p, low, high, by_task.n, by_task.n_tasks, se, method)


def _effective_n(by_task: Clusters, confidence: float) -> float:
    """Independent episodes that would tell as much as these, which repeat tasks."""
    p, se = by_task.mean, by_task.se
    least = by_task.n**2 / float(np.square(by_task.sizes).sum())  # repeats that tell nothing new
    if not se:
        return least
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    shrink = (z / t_quantile(confidence, by_task.n_tasks - 1)) ** 2
    return min(max(p * (1 - p) / se**2 * shrink, least), float(by_task.n))


def mean(
    values: ArrayLike,
    tasks: Sequence[str] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate | None:
    """A mean over episodes with a bootstrap interval, tasks drawn with all their episodes.

    Args:
        values: A number an episode, none of them NaN.
        tasks: The task of each; None if each is a task of its own.
        confidence: Of the interval.
        seed: Of the resamples.

    Returns:
        None of no values. One task alone has no interval; below `FEW_TASKS`, Student's.

    Raises:
        ValueError: for values that are not finite.
    """
    if not np.size(values):
        return None
    by_task = clusters(values, tasks)
    low, high, method = mean_interval(by_task, confidence, seed)
    return Estimate(by_task.mean, low, high, by_task.n, by_task.n_tasks, by_task.se, method)


def mean_interval(by_task: Clusters, confidence: float, seed: int) -> tuple[float, float, str]:
    """The bounds of a mean, and how they were found."""
    value, se, n = by_task.mean, by_task.se, by_task.n_tasks
    if se is None:
        return math.nan, math.nan, "one task: no interval"
    if by_task.alike:
        return value, value, "all tasks alike"
    t = t_quantile(confidence, n - 1)
    if n < FEW_TASKS or (1 - confidence) * RESAMPLES < 10:  # or too few resamples out there
        return value - t * se, value + t * se, "Student's t by task"
    # Percentiles of n tasks are too narrow by sqrt((n - 1) / n), and by normal instead of Student:
    # further out by as much (T. Hesterberg, The American Statistician 69, 2015).
    z = t * math.sqrt(n / (n - 1))
    means = by_task.resampled_means(seed)
    low, high = np.quantile(means, _bca_levels(means, by_task, z))
    return min(float(low), value), max(float(high), value), "BCa bootstrap by task"


def _bca_levels(means: FloatArray, by_task: Clusters, z: float) -> FloatArray:
    """Which quantiles of the resampled means bound the mean, for one that is `z` errors away.

    Corrected for bias and for skew (B. Efron, Journal of the American Statistical Association 82,
    1987: BCa), the acceleration from the jackknife over tasks.
    """
    from scipy.special import ndtr, ndtri

    tolerance = 1e-6 * float(np.ptp(means))  # resampled in 32 bits
    below = np.mean(means < by_task.mean - tolerance)
    ties = np.mean(np.abs(means - by_task.mean) <= tolerance)
    # A share of 0 or 1 would be infinitely far: half a resample keeps it finite.
    bias = ndtri(np.clip(below + ties / 2, 0.5 / RESAMPLES, 1 - 0.5 / RESAMPLES))
    off = by_task.residuals
    acceleration = np.power(off, 3).sum() / (6 * np.square(off).sum() ** 1.5)
    shifted = bias + np.array([-z, z])
    return np.asarray(ndtr(bias + shifted / (1 - acceleration * shifted)))


def estimate(
    values: ArrayLike,
    tasks: Sequence[str] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate | None:
    """`rate` of values that are all 0 or 1, `mean` of others; NaN counts nowhere.

    Returns:
        None if no value is left.
    """
    array = np.asarray(values, dtype=np.float64)
    there = ~np.isnan(array)
    kept = array[there]
    if tasks is not None:
        tasks = [task for task, counts in zip(tasks, there, strict=True) if counts]
    if _binary(kept):
        return rate(kept, tasks, confidence)
    return mean(kept, tasks, confidence, seed)


def pass_at_k(successes_by_task: Mapping[str, Sequence[float]], k: int) -> Estimate:
    """The chance that at least one of k trials of a task succeeds, mean over tasks.

    Unbiased from n >= k trials, c of them successes: 1 - C(n - c, k) / C(n, k) (M. Chen et al.,
    Evaluating Large Language Models Trained on Code, 2021, equation 1).

    Raises:
        UsageError: if there is no task, or one with fewer trials.
    """
    return _over_tasks(successes_by_task, k, "pass@", lambda n, c: 1 - _share(n - c, n, k))


def pass_hat_k(successes_by_task: Mapping[str, Sequence[float]], k: int) -> Estimate:
    """The chance that all of k trials of a task succeed, mean over tasks.

    Unbiased from n >= k trials, c of them successes: C(c, k) / C(n, k) (S. Yao et al., tau-bench,
    2024).

    Raises:
        UsageError: if there is no task, or one with fewer trials.
    """
    return _over_tasks(successes_by_task, k, "pass^", lambda n, c: _share(c, n, k))


def _share(part: int, whole: int, k: int) -> float:
    return math.comb(part, k) / math.comb(whole, k)


def _over_tasks(
    successes_by_task: Mapping[str, Sequence[float]],
    k: int,
    name: str,
    of_task: Callable[[int, int], float],
) -> Estimate:
    if k < 1:
        raise UsageError(f"{name}{k} is not defined: k is at least 1")
    if not successes_by_task:
        raise UsageError(f"{name}{k} needs a task with {k} trials, there is none")
    values, n = [], 0
    for task, trials in sorted(successes_by_task.items()):
        if len(trials) < k:
            raise UsageError(f"{name}{k} needs {k} trials a task, {task!r} has {len(trials)}")
        if not _binary(np.asarray(trials, dtype=np.float64)):
            raise ValueError(f"the trials of {task!r} are not all 0 or 1")
        values.append(of_task(len(trials), int(sum(trials))))
        n += len(trials)
    found = estimate(values)
    assert found is not None  # there is a task
    low, high = max(0.0, found.low), min(1.0, found.high)  # Student's bounds know of no end
    if math.isnan(found.low):
        low = high = math.nan
    return replace(found, n=n, low=low, high=high)


def macro_average(estimates: Iterable[Estimate]) -> Estimate:
    """The mean over environments, each of the same weight, whatever its number of tasks.

    Environments are not a sample of others, so that only their own errors count: the standard
    error is the root of the sum of squares by their number, and the bounds are as far out as the
    root of the sum of squares of the parts' bounds (G. Y. Zou, A. Donner, Statistics in Medicine
    27, 2008: MOVER), which keeps them skewed where the parts are.

    Raises:
        ValueError: of no estimates.
    """
    parts = list(estimates)
    if not parts:
        raise ValueError("an average of nothing")
    k = len(parts)
    value = math.fsum(part.value for part in parts) / k
    below = math.sqrt(math.fsum((part.value - part.low) ** 2 for part in parts)) / k
    above = math.sqrt(math.fsum((part.high - part.value) ** 2 for part in parts)) / k
    errors = [part.se for part in parts if part.se is not None]
    se = math.sqrt(math.fsum(e * e for e in errors)) / k if len(errors) == k else None
    n, n_tasks = sum(part.n for part in parts), sum(part.n_tasks for part in parts)
    return Estimate(value, value - below, value + above, n, n_tasks, se, "MOVER")


def _binary(values: FloatArray) -> bool:
    return bool(((values == 0) | (values == 1)).all())


def t_quantile(confidence: float, df: float) -> float:
    """The two-sided quantile of Student's t."""
    from scipy.special import stdtrit  # far lighter than scipy.stats

    return float(stdtrit(df, 0.5 + confidence / 2))
