"""Means over two levels: tasks, and the seeds of a training; differences of such means.

A training with k seeds gives k checkpoints. What is said of the training, not of one checkpoint,
must count how much its seeds differ, beside how much tasks do. Both are drawn with replacement and
independently of each other (A. B. Owen, The Annals of Applied Statistics 1, 2007: the pigeonhole
bootstrap), and each level's deviations are stretched by sqrt(k / (k - 1)), without which few draws
would vary too little (J. N. K. Rao, C. F. J. Wu, Journal of the American Statistical Association
83, 1988). The interval is the mean and Student's t times the standard error so found, with the
degrees of freedom of Welch and Satterthwaite: three seeds that differ much make it wide.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .clusters import FloatArray
from .intervals import Estimate, t_quantile

RESAMPLES = 2_000


@dataclass(frozen=True, slots=True)
class Block:
    """The scores of one cell.

    Attributes:
        values: Shape (seeds, tasks), finite; the mean over a task's repeats.
        trained: Whose seeds the rows are: blocks of the same name are of the same checkpoints, in
            the same order, and drawn together. One row is a checkpoint that is fixed.
        weight: Of the block's mean in the sum.
    """

    values: FloatArray
    trained: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Levels:
    """A sum of means with its interval."""

    estimate: Estimate
    p: float  # two-sided, of 0; NaN where it cannot be known
    df: float  # degrees of freedom of the standard error


def two_levels(
    groups: Sequence[Sequence[Block]], *, confidence: float = 0.95, seed: int = 0
) -> Levels:
    """The weighted sum of the means of blocks, as an estimate.

    Args:
        groups: Blocks by environment; the blocks of one have the same tasks as columns, and these
            are drawn together, so that a difference of two blocks is paired by task.
        confidence: Of the interval.
        seed: Of the resamples.

    Raises:
        ValueError: of no blocks, no values or values that are not finite; of blocks of one group
            with other tasks, or of one training with other seeds.
    """
    _check(groups)
    blocks = [block for group in groups for block in group]
    value = math.fsum(block.weight * float(block.values.mean()) for block in blocks)
    n = sum(block.values.size for block in blocks)
    n_tasks = sum(group[0].values.shape[1] for group in groups)
    parts = list(_variances(groups))
    if any(math.isnan(variance) for variance, _ in parts):
        nan = math.nan
        alone = Estimate(value, nan, nan, n, n_tasks, None, "one task: no interval")
        return Levels(alone, nan, nan)
    total = math.fsum(variance for variance, _ in parts)
    if total <= 1e-24 * max(1.0, *(float(np.square(b.values).max()) for b in blocks)):
        same = Estimate(value, value, value, n, n_tasks, 0.0, "all tasks alike")
        return Levels(same, _least(n_tasks) if value else 1.0, math.inf)
    df = total**2 / math.fsum(variance**2 / of for variance, of in parts)
    se = float(_resampled(groups, seed).std(ddof=1))
    away = t_quantile(confidence, df) * se
    seeds = max(len(block.values) for block in blocks)
    method = "bootstrap by task" + (" and training seed" if seeds > 1 else "") + ", Student's t"
    found = Estimate(value, value - away, value + away, n, n_tasks, se, method)
    return Levels(found, max(_p(value / se, df), _least(n_tasks)), df)


def _check(groups: Sequence[Sequence[Block]]) -> None:
    if not groups or not all(groups):
        raise ValueError("a mean of nothing")
    seeds: dict[str, int] = {}
    for group in groups:
        if len({block.values.shape[1] for block in group}) > 1:
            raise ValueError("blocks of one group have the same tasks")
        for block in group:
            if not block.values.size or not np.isfinite(block.values).all():
                raise ValueError("a mean needs finite values: drop what has no score")
            if seeds.setdefault(block.trained, len(block.values)) != len(block.values):
                raise ValueError(f"the seeds of {block.trained} are not always the same")


def _variances(groups: Sequence[Sequence[Block]]) -> Iterator[tuple[float, int]]:
    """What each level adds to the variance of the sum, and its degrees of freedom.

    NaN of one task, of which nobody knows how much it could differ from others.
    """
    for group in groups:
        of_task = np.sum([block.weight * block.values.mean(axis=0) for block in group], axis=0)
        n = len(of_task)
        yield (float(of_task.var(ddof=1)) / n, n - 1) if n > 1 else (math.nan, 1)
    for _, of_seed in _by_training(groups):
        yield float(of_seed.var(ddof=1)) / len(of_seed), len(of_seed) - 1


def _by_training(groups: Iterable[Sequence[Block]]) -> Iterator[tuple[str, FloatArray]]:
    """By training of more than one seed, what each seed's mean adds to the sum."""
    found: dict[str, FloatArray] = {}
    for block in (block for group in groups for block in group if len(block.values) > 1):
        own = block.weight * block.values.mean(axis=1)
        found[block.trained] = found.get(block.trained, np.zeros(len(own))) + own
    yield from sorted(found.items())


def _resampled(groups: Sequence[Sequence[Block]], seed: int) -> FloatArray:
    """The sum over tasks and seeds drawn with replacement; `RESAMPLES` of it."""
    rng = np.random.default_rng([seed, len(groups)])
    names = [name for name, _ in _by_training(groups)]
    sizes = {block.trained: len(block.values) for group in groups for block in group}
    of_seeds = {name: _weights(sizes[name], rng) for name in names}
    total = np.zeros(RESAMPLES)
    for group in groups:
        of_tasks = _weights(group[0].values.shape[1], rng)
        for block in group:
            means = of_tasks @ block.values.T  # resamples, seeds
            drawn = of_seeds.get(block.trained)
            mean = means[:, 0] if drawn is None else (means * drawn).sum(axis=1)
            total += block.weight * mean
    return total


def _weights(n: int, rng: np.random.Generator) -> FloatArray:
    """What each of n weighs in each resample, stretched from the equal shares."""
    drawn = rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES) / n
    stretch = math.sqrt(n / (n - 1)) if n > 1 else 1.0
    return np.asarray(1 / n + stretch * (drawn - 1 / n))


def _p(t: float, df: float) -> float:
    from scipy.special import stdtr

    return float(2 * stdtr(df, -abs(t)))


def _least(n_tasks: int) -> float:
    """The least p of so many tasks: that of one sign for all of them; see `power.can_reject`."""
    return float(2.0 ** (1 - n_tasks))
