"""Two cells on the same episodes: how much a score changed, and whether that is chance."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from .clusters import Clusters, FloatArray, clusters
from .intervals import Estimate, macro_average, mean_interval, t_quantile
from .power import mcnemar_mde, mcnemar_power, t_mde, t_power
from .significance import sign_flip_p

if TYPE_CHECKING:
    from ..analysis import CellFrame


@dataclass(frozen=True, slots=True)
class Comparison:
    """A change from base to new over the same episodes; what cannot be known is NaN."""

    base: float  # mean over the pairs, as is `new`
    new: float
    change: float  # new - base
    low: float  # bounds of the change
    high: float
    p: float  # two-sided, of no change; NaN of no pairs
    n_pairs: int
    n_tasks: int
    method: str
    mde: (
        float  # the least change that so many tasks find with 80% power; NaN if none, however large
    )
    power: float | None  # of finding a change of `effect`; None where it cannot be told
    p_holm: float | None = None  # p among the tests of its table, once they are known
    effect: float = math.nan  # the change that `power` is for


def paired(
    base: ArrayLike,
    new: ArrayLike,
    tasks: Sequence[str],
    *,
    alpha: float = 0.05,
    seed: int = 0,
    effect: float | None = None,
) -> Comparison:
    """Compare two cells over the same episodes.

    Args:
        base: A score an episode, none of them NaN.
        new: The same episodes' other score.
        tasks: The task of each: its episodes are one observation.
        alpha: The level of the test; the interval has confidence 1 - alpha.
        seed: Of resamples and random flips.
        effect: The change that the power is told for; else ten points of a rate, a tenth of
            the mean of base.

    Raises:
        ValueError: if they are not equally long, or not finite.
    """
    sample = _sample(base, new, tasks)
    if sample is None:
        return _no_pairs(effect)
    by_task = sample.by_task
    wanted = effect if effect is not None else 0.1 * (1.0 if sample.binary else abs(sample.base))
    p, exact = sign_flip_p(by_task.sums, seed)
    of_power = _power_of_rates if sample.binary else _power_of_means
    mde, power = of_power(by_task, wanted, alpha)
    low, high, interval = sample.interval(alpha, seed)
    low, high = _agreeing(low, high, by_task.mean, p, alpha)
    once = sample.binary and by_task.n == by_task.n_tasks
    test = f"{'McNemar' if once else 'sign flips by task'}, {'exact' if exact else 'random'}"
    return Comparison(
        sample.base, sample.new, by_task.mean, low, high, p, by_task.n, by_task.n_tasks,
        f"{test}; {interval}", mde, power, effect=wanted,
    )  # fmt: skip


def paired_average(
    parts: Iterable[tuple[ArrayLike, ArrayLike, Sequence[str]]],
    *,
    alpha: float = 0.05,
    seed: int = 0,
    effect: float | None = None,
) -> Comparison:
    """Compare two macro-averages: the mean change over environments, each of the same weight.

    The test flips the signs of all environments' tasks, each weighing as it does in the average;
    the interval is that of `macro_average`, of the environments' changes.

    Args:
        parts: Of each environment what `paired` takes: base, new, tasks.
        alpha: The level of the test; the interval has confidence 1 - alpha.
        seed: Of resamples and random flips.
        effect: The change that the power is told for; else a tenth of the average of base.

    Returns:
        NaN in all but the counts if an environment has no pairs: then there is no average.

    Raises:
        ValueError: as `paired`, or if there is no environment.
    """
    samples = [_sample(*part) for part in parts]
    there = [sample for sample in samples if sample is not None]
    if len(there) < len(samples):
        return _no_pairs(effect)
    average = macro_average(
        Estimate(s.by_task.mean, *s.interval(alpha, seed)[:2], s.by_task.n, s.by_task.n_tasks,
                 _se(s.by_task, s.binary), "")
        for s in there
    )  # fmt: skip
    base, new = np.mean([(s.base, s.new) for s in there], axis=0).tolist()
    wanted = effect if effect is not None else 0.1 * abs(base)
    flips = [s.by_task.sums / (s.by_task.n * len(there)) for s in there]
    p, exact = sign_flip_p(np.concatenate(flips), seed)
    mde, power = _power_of_average(there, average.se, wanted, alpha)
    low, high = _agreeing(average.low, average.high, average.value, p, alpha)
    method = f"sign flips by task over environments, {'exact' if exact else 'random'}; MOVER"
    return Comparison(
        base, new, average.value, low, high, p, average.n, average.n_tasks, method, mde, power,
        effect=wanted,
    )  # fmt: skip


def _power_of_average(
    samples: Sequence[_Sample], se: float | None, effect: float, alpha: float
) -> tuple[float, float | None]:
    if not se:
        return math.nan, None
    # Welch and Satterthwaite's degrees of freedom, and one, for the tasks that have as many.
    squares = [((_se(s.by_task, s.binary) or 0) / len(samples)) ** 2 for s in samples]
    spread = zip(squares, samples, strict=True)
    n = 1 + sum(squares) ** 2 / sum(q**2 / (s.by_task.n_tasks - 1) for q, s in spread)
    return t_mde(se, n, alpha), t_power(effect, se, n, alpha)


@dataclass(frozen=True, slots=True)
class _Sample:
    """Differences by task, and the two means."""

    base: float
    new: float
    binary: bool  # both scores are rates
    by_task: Clusters

    def interval(self, alpha: float, seed: int) -> tuple[float, float, str]:
        """Bounds of the change, and how they were found."""
        if self.binary:
            return _rate_change(self.by_task, alpha)
        low, high, method = mean_interval(self.by_task, 1 - alpha, seed)
        se, change = self.by_task.se, self.by_task.mean
        if not se or "bootstrap" not in method:
            return low, high, method
        # Differences are symmetric with heavy tails, where BCa covers less than Student does.
        away = t_quantile(1 - alpha, self.by_task.n_tasks - 1) * se
        return (
            min(low, change - away),
            max(high, change + away),
            f"{method} or Student's, the wider",
        )


def _sample(base: ArrayLike, new: ArrayLike, tasks: Sequence[str]) -> _Sample | None:
    """What there is to compare; None of no pairs."""
    old, now = np.asarray(base, dtype=np.float64), np.asarray(new, dtype=np.float64)
    if not len(old) == len(now) == len(tasks):
        raise ValueError(f"{len(old)} and {len(now)} values of {len(tasks)} tasks")
    if not len(old):
        return None
    by_task = clusters(now - old, tasks)
    binary = bool(np.isin(old, (0, 1)).all() and np.isin(now, (0, 1)).all())
    return _Sample(float(old.mean()), float(now.mean()), binary, by_task)


def _no_pairs(effect: float | None) -> Comparison:
    nan = math.nan
    wanted = nan if effect is None else effect
    return Comparison(
        nan, nan, nan, nan, nan, nan, 0, 0, "no pairs", nan, None, effect=wanted
    )  # fmt: skip


def _se(by_task: Clusters, binary: bool) -> float | None:
    """Standard error of a mean difference to plan with; None of one task.

    Of rates half an episode more than was seen, so that none seen is not taken for none to come.
    """
    n = by_task.n_tasks
    if not binary or n == 1:
        return by_task.se
    squares = np.square(by_task.residuals * n).sum() + 0.5 * n / by_task.n
    return math.sqrt(float(squares) / ((n - 1) * n))


def _agreeing(
    low: float, high: float, change: float, p: float, alpha: float
) -> tuple[float, float]:
    """Bounds that say of no change what the test says, which is the one that decides."""
    if p > alpha:
        return min(low, 0.0), max(high, 0.0)
    return (max(low, 0.0), high) if change > 0 else (low, min(high, 0.0))


def _power_of_rates(by_task: Clusters, effect: float, alpha: float) -> tuple[float, float | None]:
    """Detectable change, and power for `effect`, of two rates."""
    n, repeats = by_task.n_tasks, by_task.n / by_task.n_tasks
    if repeats == 1:
        discordant = (float(np.abs(by_task.sums).sum()) + 0.5) / (n + 1)
        return mcnemar_mde(n, discordant, alpha), mcnemar_power(effect, n, discordant, alpha)
    se = _se(by_task, binary=True)
    if se is None:
        return math.nan, 0.0
    # Sums of whole numbers move by two when a sign flips: half a step is lost on average.
    half = 1 / by_task.n
    found = t_power(max(0.0, abs(effect) - half), se, n, alpha)
    # However alike repeats are, tasks must differ for a test by task: each by an episode at least.
    least = mcnemar_mde(n, 0.0, alpha) / repeats
    at_most = mcnemar_power(min(1.0, abs(effect) * repeats), n, 0.0, alpha)
    return max(t_mde(se, n, alpha) + half, least), min(found, at_most)


def _power_of_means(by_task: Clusters, effect: float, alpha: float) -> tuple[float, float | None]:
    se = by_task.se
    if not se:  # one task, or all alike: nothing tells how much they could differ
        return math.nan, None
    return t_mde(se, by_task.n_tasks, alpha), t_power(effect, se, by_task.n_tasks, alpha)


def _rate_change(by_task: Clusters, alpha: float) -> tuple[float, float, str]:
    """Bounds of a difference of paired rates: Wald's of two more tasks, one for each side.

    Those of one episode a task are of D. G. Bonett, R. M. Price, Journal of Educational and
    Behavioral Statistics 37, 2012. With r repeats the two weigh 1/sqrt(r), and Student's t stands
    for the normal: ours; the coverage is measured in docs/statistics.md.
    """
    n, repeats = by_task.n_tasks, by_task.n / by_task.n_tasks
    if n == 1 and repeats > 1:
        return math.nan, math.nan, "one task: no interval"
    by_itself = by_task.mean + n * by_task.residuals
    middle = by_itself.sum() / (n + 2)
    square = (np.square(by_itself).sum() + 2 / repeats) / (n + 2) - middle**2
    once = NormalDist().inv_cdf(1 - alpha / 2)
    half = (once if repeats == 1 else t_quantile(1 - alpha, n + 1)) * math.sqrt(square / (n + 2))
    low, high = min(middle - half, by_task.mean), max(middle + half, by_task.mean)
    name = "Bonett-Price interval" if repeats == 1 else "Bonett-Price interval by task"
    return max(-1.0, float(low)), min(1.0, float(high)), name


def pair(
    frame_a: CellFrame, frame_b: CellFrame, column: str
) -> tuple[FloatArray, FloatArray, list[str]]:
    """The scores of two cells on the same episodes: of the same task, seed, repeat and order.

    Only episodes that both scored and that have a score in both count.

    Returns:
        Scores of the first, of the second, and tasks.
    """
    first, second = _by_episode(frame_a, column), _by_episode(frame_b, column)
    both = sorted(first.keys() & second.keys(), key=lambda key: (*key[:3], key[3] or 0))
    old, now = np.array([first[k] for k in both]), np.array([second[k] for k in both])
    return old, now, [key[0] for key in both]


def _by_episode(frame: CellFrame, column: str) -> dict[tuple[str, int, int, int | None], float]:
    keys = [key for key, counts in zip(frame.keys, frame.scored, strict=True) if counts]
    values = zip(keys, frame.values(column).tolist(), strict=True)
    return {(k.task, k.seed, k.repeat, k.order_seed): v for k, v in values if not math.isnan(v)}
