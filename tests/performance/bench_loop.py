"""CPU of the harness for each turn of the agent: scripted model, memory `none`, real ALFWorld.

The parent's time (loop, prompts, parsing, ledger, trace, store) and the workers' (the environment
and the pipe) are told apart.
"""

from __future__ import annotations

import asyncio
import resource
import statistics
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from agemem_eval.harness.config import Execution, make_config
from agemem_eval.harness.runner import run
from agemem_eval.harness.store import RunStore

ROUNDS = 5
EPISODES = 200
MODES = {  # what is measured: memory, transport, workers
    "none": ("none", "prompt", 1),
    "none, in process": ("none", "prompt", 0),
    "none, native": ("none", "native", 1),
    "agemem": ("agemem", "prompt", 1),
}


def main() -> None:
    """Measure, and print a table."""
    table = Table(
        "memory", "turns", "parent ms/turn", "spread", "worker ms/turn", "turns/s",
        title=f"Harness CPU a turn, median of {ROUNDS} runs of {EPISODES} episodes",
    )  # fmt: skip
    for name, mode in MODES.items():
        rounds = [_measure(*mode) for _ in range(ROUNDS)]
        parent = [1000 * r[1] / r[0] for r in rounds]
        worker = [1000 * r[2] / r[0] for r in rounds]
        speed = [r[0] / r[3] for r in rounds]
        table.add_row(
            name,
            str(rounds[0][0]),
            f"{statistics.median(parent):.3f}",
            f"{min(parent):.3f}–{max(parent):.3f}",
            f"{statistics.median(worker):.3f}",
            f"{statistics.median(speed):,.0f}",
        )
    Console(width=110).print(table)


def _measure(memory: str, transport: str, workers: int) -> tuple[int, float, float, float]:
    """Turns played, CPU seconds of the parent and of its workers, wall seconds."""
    values = {
        "envs": ["alfworld"],
        "memories": [memory],
        "episodes": EPISODES,
        "agent": {"transport": transport},
    }
    with tempfile.TemporaryDirectory() as folder:
        execution = Execution(runs_dir=Path(folder), name="r", workers=workers)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu, wall = time.process_time(), time.perf_counter()
        asyncio.run(run(make_config(values), execution))
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        episodes = RunStore.open(Path(folder) / "r").episodes().values()
        turns = sum(episode.turns for episode in episodes)
    children = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return turns, cpu, children, wall


if __name__ == "__main__":
    main()
