"""`compare` end to end on simulated runs: how often it raises a false alarm, and what it finds.

Runs are drawn of one system (`compare_bench.System`): five environments with tasks of very
different difficulty, success or progress or a judge's mark that decides, and tokens beside it. All
that is compared twice over nothing but luck must pass; drops that were put in must be found. Part
`aa` or `power` alone by `compare:aa`. Each number has its 95% interval (Wilson).
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from compare_bench import ENVS, System
from rich.console import Console
from rich.table import Table

from agemem_eval.harness.compare.verdict import Outcome, Settings, compare_sides
from agemem_eval.harness.metrics import wilson

PAIRS = 1_000  # of A/A, of each kind
POWER_PAIRS = 200  # of each point of the curve
BOTH = ("headline", "tokens.agent.prompt")
KINDS: tuple[tuple[str, int, int, Sequence[str], tuple[str, ...]], ...] = (
    ("5 environments, headline and tokens", 50, 1, tuple(ENVS), BOTH),
    ("5 environments × 3 repeats, headline and tokens", 20, 3, tuple(ENVS), BOTH),
    ("1 environment, success", 50, 1, ("alfworld",), ("headline",)),
)
DROPS = (0.05, 0.1, 0.2, 0.3)
SIZES = (50, 100, 200, 500)  # tasks


def main(part: str = "all") -> None:
    """Measure, and print tables."""
    console = Console(width=120)
    if part in ("all", "aa"):
        console.print(_false_alarms())
    if part in ("all", "power"):
        console.print(_power())


def _false_alarms() -> Table:
    table = Table(
        "runs", "tasks", "pairs", "exit 1", "share", "95% interval", "any difference", "ms",
        title="Two runs of the same system (--max-drop 0, --alpha 0.05)",
        caption="any difference: a regression or an improvement of anything that decides",
    )  # fmt: skip
    for seed, (name, n_tasks, repeats, envs, metrics) in enumerate(KINDS):
        rng = np.random.default_rng(seed)
        clock, alarms, differences = time.perf_counter(), 0, 0
        for _ in range(PAIRS):
            outcome = _outcome(System(rng, n_tasks, repeats), 0.0, envs, Settings(metrics=metrics))
            alarms += outcome.code
            differences += outcome.regressed or bool(outcome.with_verdict("improvement"))
        ms = 1000 * (time.perf_counter() - clock) / PAIRS
        low, high = wilson(alarms, PAIRS)
        table.add_row(
            name, f"{n_tasks} × {repeats}", f"{PAIRS:,}", str(alarms), f"{alarms / PAIRS:.1%}",
            f"{low:.1%} – {high:.1%}", f"{differences / PAIRS:.1%}", f"{ms:.0f}",
        )  # fmt: skip
    return table


def _power() -> Table:
    table = Table(
        "drop put in", *(f"{n} tasks" for n in SIZES),
        title=f"Share of {POWER_PAIRS} pairs that exit 1, success of one environment "
        "(--max-drop 0); MDE as told, mean",
    )  # fmt: skip
    for drop in DROPS:
        cells = []
        for n_tasks in SIZES:
            rng = np.random.default_rng([n_tasks, round(100 * drop)])
            found, least = 0, []
            for _ in range(POWER_PAIRS):
                outcome = _outcome(System(rng, n_tasks), drop, ("alfworld",), Settings())
                found += outcome.code
                least.append(outcome.cells[0].findings[0].least_drop)
            cells.append(f"{found / POWER_PAIRS:.0%} (MDE {np.nanmean(least):.2f})")
        table.add_row(f"{drop:g}", *cells)
    return table


def _outcome(system: System, drop: float, envs: Sequence[str], settings: Settings) -> Outcome:
    base, new = system.run("base", envs=envs), system.run("new", drop, envs=envs)
    return compare_sides(base, new, settings, informational=False)
