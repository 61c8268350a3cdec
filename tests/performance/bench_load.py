"""How much of a slow endpoint the runner keeps busy: 0.5 s a reply, conversations of ten turns.

    python tests/performance/run.py load[:ROUNDS]

The endpoint runs in a process of its own, the runner in another, started anew for each
measurement; the concurrencies are interleaved over the rounds. See `load_bench` for what
utilisation means. Start-up (imports, plan, worker processes) and the table at the end are outside
of it, since no call could be in flight then; they are told as seconds beside it.
"""

from __future__ import annotations

import statistics
from typing import Any

from load_bench import endpoint, machine, play, spread
from rich.console import Console
from rich.table import Table

TARGETS = {16: 0.95, 64: 0.95, 256: 0.90}
PER_SLOT = 4  # episodes a slot plays one after the other: 20 s at best
SIZES = [*((concurrency, PER_SLOT) for concurrency in TARGETS), (256, 2 * PER_SLOT)]
LATENCY_S = 0.5


def main(rounds: str = "5") -> None:
    """Measure, and print a table."""
    found: dict[tuple[int, int], list[dict[str, Any]]] = {size: [] for size in SIZES}
    with endpoint(LATENCY_S) as at:
        for _ in range(int(rounds)):
            for (concurrency, each), runs in found.items():
                runs.append(play("ours", at, concurrency, each * concurrency))
    table = Table(
        "at once", "calls", "utilisation", "target", "in flight", "ramp s", "tail s", "outside s",
        "parent ms/turn", "workers ms/turn", "orphans",
        title=f"Share of a {LATENCY_S} s endpoint kept busy, median (range) of {rounds} rounds",
        caption=machine(),
    )  # fmt: skip
    for (concurrency, _), runs in found.items():
        used = [run["usage"] for run in runs]
        table.add_row(
            str(concurrency),
            str(used[0].calls),
            spread([u.utilisation for u in used]),
            f"{TARGETS[concurrency]:.2f}",
            spread([u.in_flight for u in used]),
            f"{statistics.median(u.ramp_s for u in used):.2f}",
            f"{statistics.median(u.tail_s for u in used):.2f}",
            f"{statistics.median(r['wall_s'] - r['usage'].window_s for r in runs):.2f}",
            spread([1000 * r["cpu_s"] / r["usage"].calls for r in runs], 2),
            spread([1000 * r["children_cpu_s"] / r["usage"].calls for r in runs], 2),
            str(sum(r["orphans"] for r in runs)),
        )
    Console(width=170).print(table)


if __name__ == "__main__":
    main()
