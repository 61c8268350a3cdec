"""Simulates comparisons and intervals: false alarms, power beside its prediction, coverage, time.

python tests/performance/run.py statistics[:alarms|power|coverage|speed]

Tasks differ in how hard they are and in how much they cost; episodes of one task are alike. In
`own` tasks are hard for one memory and easy for the other, so that two memories that are equal on
average differ task by task. Asserts nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from agemem_eval.harness.stats import Estimate, estimate, holm, mean, paired
from agemem_eval.harness.stats.significance import sign_flip_p

FloatArray = NDArray[np.float64]
Rng = np.random.Generator
PAIRS = 1_000
SIZES = (20, 50, 100, 200)
CONSOLE = Console(width=110)


def tasks_of(n: int, repeats: int) -> list[str]:
    return [f"task-{i // repeats:05}" for i in range(n * repeats)]


def rates(rng: Rng, n: int, repeats: int, effect: float = 0.0, own: bool = False) -> FloatArray:
    """Successes of base and new (2 × episodes): 0.5 of base's on average, much alike in a task."""
    easy = rng.beta(0.75, 0.75, (2 if own else 1, n, 1)) * (1 - 2 * effect) + effect
    level = np.stack([easy[0], easy[-1] + effect])  # between effect and 1 in both
    return (rng.random((2, n, repeats)) < level).reshape(2, -1).astype(np.float64)


def tokens(rng: Rng, n: int, repeats: int, effect: float = 0.0, own: bool = False) -> FloatArray:
    """Skewed costs: log-normal over tasks (0.8) and within one (0.4); new costs 1 - effect."""
    spread = rng.normal(0, 0.8, (n, 1)) + rng.normal(0, 0.4 if own else 0.0, (2, n, 1))
    costs = 5_000 * np.exp(spread + rng.normal(0, 0.4, (2, n, repeats)))
    costs[1] *= 1 - effect
    return np.asarray(costs.reshape(2, -1))


def progress(rng: Rng, n: int, repeats: int, effect: float = 0.0, own: bool = False) -> FloatArray:
    """Shares of subgoals, of 5 each, many of them 0 or 1."""
    return sum(rates(rng, n, repeats, effect, own) for _ in range(2)) * 0.4 + 0.2 * rates(
        rng, n, repeats, effect, own
    )


def spread(rng: Rng, n: int, repeats: int, effect: float = 0.0, own: bool = False) -> FloatArray:
    """Costs that are equal on average alone: those of base skewed (0.8), those of new hardly (0.2).

    The hardest case for signs that are flipped: differences have a mean of 0 and no symmetry.
    """
    width = np.array([0.8, 0.2])[:, None, None]
    of_task = np.exp(rng.normal(0, 1, (2, n, 1)) * width - width**2 / 2)
    costs = of_task * np.exp(rng.normal(0, 0.1, (2, n, repeats)))
    costs[1] *= 1 - effect
    return np.asarray(5_000 * costs.reshape(2, -1))


KINDS: dict[str, Callable[..., FloatArray]] = {
    "rate": rates, "progress": progress, "tokens": tokens, "spread": spread,
}  # fmt: skip


def percent(value: float) -> str:
    return f"{100 * value:.1f}%"


def alarms() -> None:
    """How often two memories that are equal differ "significantly"."""
    table = Table(title=f"False alarms at 5%, of {PAIRS} A/A pairs each (6.4% is two errors off)")
    for column in ("score", "tasks differ", "repeats", *(f"{n} tasks" for n in SIZES),
                   "50, repeats as tasks"):  # fmt: skip
        table.add_column(column)
    for kind, draw in KINDS.items():
        for own, repeats in (
            ((False, 1), (False, 3), (True, 3)) if kind != "spread" else ((True, 1),)
        ):
            row, naive = [], 0.0
            for n in SIZES:
                rng, found = np.random.default_rng([n, repeats]), 0
                for seed in range(PAIRS):
                    base, new = draw(rng, n, repeats, own=own)
                    found += paired(base, new, tasks_of(n, repeats), seed=seed % 3).p <= 0.05
                    if n == 50:
                        naive += (sign_flip_p(new - base, seed % 3)[0] <= 0.05) / PAIRS
                row.append(percent(found / PAIRS))
            table.add_row(kind, "yes" if own else "no", str(repeats), *row, percent(naive))
    CONSOLE.print(table)
    rng, families = np.random.default_rng(1), np.zeros(2)
    for _ in range(PAIRS):
        p = [paired(*rates(rng, 50, 1), tasks_of(50, 1)).p for _ in range(10)]
        families += [min(p) <= 0.05, min(holm(p)) <= 0.05]
    plain, corrected = families / PAIRS
    CONSOLE.print(
        f"Tables of 10 such rates with at least one alarm: {percent(plain)}, "
        f"after Holm {percent(corrected)}.\n"
    )


def power() -> None:
    """How often an effect is found, beside how often each comparison says that it would be."""
    table = Table(
        title=f"Power at 5%: found in {PAIRS // 2} pairs each, and as predicted from them"
    )
    for column in ("score", "effect", "repeats", "tasks", "found", "predicted (quartiles)",
                   "detectable with 80% (median)"):  # fmt: skip
        table.add_column(column)
    for kind, effects in (("rate", (0.05, 0.1, 0.2)), ("tokens", (0.05, 0.1, 0.2))):
        for effect in effects:
            for repeats, sizes in ((1, SIZES), (3, SIZES[:3])):
                for n in sizes:
                    table.add_row(kind, str(effect), str(repeats), str(n),
                                  *_power_of(kind, effect, repeats, n))  # fmt: skip
    CONSOLE.print(table)


def _power_of(kind: str, effect: float, repeats: int, n: int) -> tuple[str, str, str]:
    rng, found, said, least = np.random.default_rng([n, repeats]), 0, [], []
    change = effect if kind == "rate" else 5_000 * effect * float(np.exp(0.8**2 / 2 + 0.4**2 / 2))
    for seed in range(PAIRS // 2):
        base, new = KINDS[kind](rng, n, repeats, effect)
        got = paired(base, new, tasks_of(n, repeats), seed=seed % 3, effect=change)
        found += got.p <= 0.05
        said.append(got.power or 0.0)
        least.append(got.mde * effect / change)
    low, middle, high = np.quantile(said, [0.25, 0.5, 0.75])
    shown = f"{percent(middle)} ({percent(low)} to {percent(high)})"
    return percent(2 * found / PAIRS), shown, f"{np.nanmedian(least):.3f}"


def coverage() -> None:
    """How often intervals hold the truth."""
    table = Table(title=f"Coverage of 95% intervals, of {PAIRS} each")
    sizes = (3, 5, 8, 10, 20, 50, 200)
    for column in ("estimate", "repeats", *(f"{n} tasks" for n in sizes)):
        table.add_column(column)
    for name, repeats, simulate in _intervals():
        row = []
        for n in sizes:
            rng = np.random.default_rng(n)
            found = [simulate(rng, n, seed % 3) for seed in range(PAIRS)]
            row.append(
                percent(float(np.mean([low <= truth <= high for low, high, truth in found])))
            )
        table.add_row(name, str(repeats), *row)
    CONSOLE.print(table)


Simulation = Callable[[Rng, int, int], tuple[float, float, float]]


def _intervals() -> list[tuple[str, int, Simulation]]:
    rows: list[tuple[str, int, Simulation]] = []
    for repeats in (1, 3):
        tasks = {n: tasks_of(n, repeats) for n in (3, 5, 8, 10, 20, 50, 200)}

        def of_rate(rng: Rng, n: int, _seed: int, p: float, repeats: int = repeats,
                    tasks: dict[int, list[str]] = tasks) -> tuple[float, float, float]:  # fmt: skip
            easy = rng.beta(1.5 * p, 1.5 * (1 - p), (n, 1))
            drawn = (rng.random((n, repeats)) < easy).ravel().astype(float)
            return _bounds(estimate(drawn, tasks[n]), p)

        def of_mean(rng: Rng, n: int, seed: int, skew: float, repeats: int = repeats,
                    tasks: dict[int, list[str]] = tasks) -> tuple[float, float, float]:  # fmt: skip
            spread = rng.normal(0, skew, (n, 1)) + rng.normal(0, skew / 2, (n, repeats))
            drawn = np.exp(spread) if skew > 0.1 else spread
            truth = float(np.exp((skew**2 + skew**2 / 4) / 2)) if skew > 0.1 else 0.0
            return _bounds(mean(drawn.ravel(), tasks[n], seed=seed), truth)

        def of_change(rng: Rng, n: int, seed: int, kind: str, effect: float, own: bool,
                      repeats: int = repeats, tasks: dict[int, list[str]] = tasks,
                      ) -> tuple[float, float, float]:  # fmt: skip
            base, new = KINDS[kind](rng, n, repeats, effect, own)
            got = paired(base, new, tasks[n], seed=seed)
            scale = -5_000 * float(np.exp((0.8**2 + 0.4**2 + (0.4**2 if own else 0)) / 2))
            return got.low, got.high, effect if kind == "rate" else scale * effect

        rows += [(f"rate {p}", repeats, lambda r, n, s, p=p, f=of_rate: f(r, n, s, p))
                 for p in (0.05, 0.3, 0.9)]  # fmt: skip
        rows += [(name, repeats, lambda r, n, s, k=skew, f=of_mean: f(r, n, s, k))
                 for name, skew in (("mean, normal", 0.1), ("mean, skew 0.5", 0.5),
                                    ("mean, skew 0.8", 0.8))]  # fmt: skip
        rows += [(f"change of {kind}{' task by task' if own else ''}", repeats,
                  lambda r, n, s, a=(kind, effect, own), f=of_change: f(r, n, s, *a))
                 for kind, effect, own in (("rate", 0.1, False), ("rate", 0.1, True),
                                           ("tokens", 0.2, True))]  # fmt: skip
    return rows


def _bounds(found: Estimate | None, truth: float) -> tuple[float, float, float]:
    assert found is not None
    return found.low, found.high, truth


def speed() -> None:
    """A table of 50 cells in 5 environments of 2,000 episodes each."""
    table = Table(title="50 cells × 5 environments × 2,000 episodes, 2,000 resamples")
    for column in ("statistic", "repeats", "CPU seconds"):
        table.add_column(column)
    rng = np.random.default_rng(0)
    for repeats in (1, 4):
        tasks = tasks_of(2_000 // repeats, repeats)
        for kind, draw in (item for item in KINDS.items() if item[0] != "spread"):
            cells = [draw(rng, 2_000 // repeats, repeats) for _ in range(250)]
            start = time.process_time()
            for base, _ in cells:
                estimate(base, tasks)
            middle = time.process_time()
            for base, new in cells:
                paired(base, new, tasks)
            end = time.process_time()
            table.add_row(f"{kind}: estimates", str(repeats), f"{middle - start:.2f}")
            table.add_row(f"{kind}: comparisons", str(repeats), f"{end - middle:.2f}")
    CONSOLE.print(table)


PARTS = {"alarms": alarms, "power": power, "coverage": coverage, "speed": speed}


def main(part: str = "") -> None:
    for name in [part] if part else PARTS:
        PARTS[name]()


if __name__ == "__main__":
    main()
