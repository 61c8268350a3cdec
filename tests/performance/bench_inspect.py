"""The runner beside Inspect AI: the same conversations of ten turns, the same endpoint.

    tox -e bench-load        or        python tests/performance/run.py inspect[:ROUNDS]

At 64 at once both play in every round, in turns as to who begins; at 16 and 256, which only
inform, in the first. Inspect AI plays its plain `generate()` tool loop with its OpenAI-compatible
provider; what it may do beside is off where that makes it faster (`load_players`).
"""

from __future__ import annotations

import statistics
from importlib.metadata import version
from typing import Any

from load_bench import endpoint, machine, play, spread
from rich.console import Console
from rich.table import Table

HARNESSES = ("ours", "inspect")
AT_ONCE = 64
PER_SLOT = {16: 3, AT_ONCE: 3, 256: 2}  # episodes a slot plays one after the other
LATENCY_S = 0.5
BETTER, CHEAPER = 1.3, 5.0  # targets at 64: times the utilisation, times less CPU


def main(rounds: str = "5") -> None:
    """Measure, and print a table."""
    found: dict[tuple[int, str], list[dict[str, Any]]] = {}
    with endpoint(LATENCY_S) as at:
        for index in range(int(rounds)):
            for concurrency in PER_SLOT if index == 0 else (AT_ONCE,):
                for harness in HARNESSES if index % 2 == 0 else HARNESSES[::-1]:
                    episodes = PER_SLOT[concurrency] * concurrency
                    run = play(harness, at, concurrency, episodes)
                    found.setdefault((concurrency, harness), []).append(run)
    table = Table(
        "at once", "harness", "rounds", "calls", "utilisation", "tail s", "outside s",
        "CPU ms/turn", "orphans",
        title=f"A {LATENCY_S} s endpoint beside Inspect AI {version('inspect_ai')}: median (range)",
        caption=machine(),
    )  # fmt: skip
    for (concurrency, harness), runs in sorted(found.items()):
        used = [run["usage"] for run in runs]
        table.add_row(
            str(concurrency),
            {"ours": "agemem-eval", "inspect": "Inspect AI"}[harness],
            str(len(runs)),
            str(used[0].calls),
            spread([u.utilisation for u in used]),
            f"{statistics.median(u.tail_s for u in used):.2f}",
            f"{statistics.median(r['wall_s'] - r['usage'].window_s for r in runs):.2f}",
            spread([r["ms_turn"] for r in runs], 2),
            str(sum(r["orphans"] for r in runs)),
        )
    console = Console(width=150)
    console.print(table)
    ours, other = (found[AT_ONCE, harness] for harness in HARNESSES)
    pairs = list(zip(ours, other, strict=True))
    better = [a["usage"].utilisation / b["usage"].utilisation for a, b in pairs]
    cheaper = [b["ms_turn"] / a["ms_turn"] for a, b in pairs]
    console.print(f"At {AT_ONCE}: utilisation {spread(better, 2)} times (target {BETTER})")
    console.print(f"At {AT_ONCE}: CPU a turn {spread(cheaper, 1)} times less (target {CHEAPER})")


if __name__ == "__main__":
    main()
