"""How long the event loop stands still while a run computes: every episode waits for that long.

A task wakes every 5 ms; what it comes too late is a stall. Two runs that compute much: MiniLM's
vectors for ten episodes at once, and the scores of a lifelong memory that keeps all it reads. The
first row is of nothing at all: what the machine itself makes of 5 ms.
"""

from __future__ import annotations

import asyncio
import itertools
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from agemem_eval.harness.config import Execution, make_config
from agemem_eval.harness.runner import run
from agemem_eval.harness.store import RunStore

TICK_S = 0.005
LONG_S = 0.05
CASES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "minilm, 10 episodes at once": {
        "envs": ["alfworld"], "memories": ["rag"], "embedder": "minilm", "episodes": 10,
        "agent": {"max_steps": 15},
    },
    "lifelong, hashing": {
        "envs": ["hotpotqa"], "memories": ["store-all"], "memory_scope": "run", "episodes": 40,
        "options": {"hotpotqa": {"form": "three-stage"}},
    },
}  # fmt: skip


def main() -> None:
    """Measure, and print a table."""
    table = Table(
        "run", "wall s", "longest stall ms", f"stalls over {LONG_S * 1000:.0f} ms", "in all s",
        "entries at the end", title="Stalls of the event loop",
    )  # fmt: skip
    for name, values in CASES.items():
        late, wall, entries = asyncio.run(_measure(values))
        over = [stall for stall in late if stall > LONG_S]
        table.add_row(
            name, f"{wall:.1f}", f"{1000 * max(late):.0f}", str(len(over)), f"{sum(over):.2f}",
            str(entries),
        )  # fmt: skip
    Console(width=110).print(table)


async def _measure(values: dict[str, Any]) -> tuple[list[float], float, int]:
    """How late each tick was, seconds in all, entries that the largest memory ended with."""
    late: list[float] = []

    async def tick() -> None:
        for _ in itertools.count():
            clock = time.perf_counter()
            await asyncio.sleep(TICK_S)
            late.append(time.perf_counter() - clock - TICK_S)

    with tempfile.TemporaryDirectory() as folder:
        ticking = asyncio.create_task(tick())
        clock = time.perf_counter()
        execution = Execution(runs_dir=Path(folder), name="r", concurrency=10, workers=1)
        if not values:
            await asyncio.sleep(10)
            ticking.cancel()
            return late, 10, 0
        await run(make_config(values), execution)
        wall = time.perf_counter() - clock
        ticking.cancel()
        episodes = RunStore.open(Path(folder) / "r").episodes().values()
        return late, wall, max(episode.memory_entries or 0 for episode in episodes)


if __name__ == "__main__":
    main()
