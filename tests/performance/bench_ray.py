"""Throughput of two Ray actors on this machine beside two worker processes, on the same work.

    python tests/performance/run.py ray[:ROUNDS]

Two kinds of work: a scripted model, where what a call to the environment costs is nearly all there
is, and an endpoint that takes 50 ms, at concurrency 32. Clocked are turns from a tenth of the
episodes to the last, so that start-up is told beside it and not mixed in. The cluster is started
once and runs on while the processes are measured; the ways are interleaved, and the order turns
round with each round.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from load_bench import machine, spread
from rich.console import Console
from rich.table import Table

from agemem_eval.harness.config import Execution, make_config
from agemem_eval.harness.records import Episode
from agemem_eval.harness.runner import run
from agemem_eval.harness.watch import Watcher
from agemem_eval.harness.workers.pool import WorkerPool
from agemem_eval.harness.workers.ray_cluster import QUIET
from agemem_eval.harness.workers.ray_pool import RayPool

WORKERS = 2
TARGET = 0.9
LATENCY_S = 0.05
CALLS = 2000


class Clock(Watcher):
    """Notes when each episode was on disk, and its turns."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, int]] = []

    def committed(self, episode: Episode) -> None:
        self.seen.append((time.perf_counter(), episode.turns))

    def turns_a_second(self) -> float:
        first = len(self.seen) // 10
        turns = sum(turns for _, turns in self.seen[first + 1 :])
        return turns / (self.seen[-1][0] - self.seen[first][0])


def main(rounds: str = "5") -> None:
    """Measure, and print a table."""
    import ray

    os.environ.update(QUIET)
    ray.init(
        address="local", num_cpus=WORKERS, include_dashboard=False, log_to_driver=False,
        logging_level="ERROR",
    )  # fmt: skip
    with endpoint() as url:
        works = {
            "scripted model, 8 at once": ({"episodes": 200, "repeats": 2}, {"concurrency": 8}),
            "50 ms endpoint, 32 at once": (
                {"model": "openai:test", "episodes": 160, "repeats": 2, "agent": {"max_steps": 10}},
                {"concurrency": 32, "base_url": url},
            ),
        }
        table = Table(
            "work", "processes", "Ray actors", "ratio of medians", "ratios by round",
            "outside s: processes", "Ray", "target",
            title=f"Turns a second with {WORKERS} workers, median (range) of {rounds} rounds",
            caption=machine(),
        )  # fmt: skip
        for name, (values, options) in works.items():
            found: dict[str, list[tuple[float, float]]] = {"local": [], "ray": []}
            for turn in range(int(rounds)):
                for backend in ("local", "ray") if turn % 2 == 0 else ("ray", "local"):
                    found[backend].append(_measure(values, {**options, "backend": backend}))
            here, there = ([speed for speed, _ in found[b]] for b in ("local", "ray"))
            ratio = statistics.median(there) / statistics.median(here)
            by_round = [b / a for a, b in zip(here, there, strict=True)]
            outside = [f"{statistics.median(s for _, s in found[b]):.1f}" for b in found]
            table.add_row(
                name, spread(here, 0), spread(there, 0), f"{ratio:.3f}", spread(by_round, 2),
                *outside, f"{TARGET}",
            )  # fmt: skip
    asyncio.run(_calls(table))
    ray.shutdown()
    Console(width=170).print(table)


def _measure(values: dict[str, Any], options: dict[str, Any]) -> tuple[float, float]:
    """Turns a second, and the seconds of the run that were not clocked."""
    config = make_config({"envs": ["alfworld"], "memories": ["none"], **values})
    clock, begin = Clock(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        execution = Execution(runs_dir=Path(folder), name="r", workers=WORKERS, **options)
        result = asyncio.run(run(config, execution, [clock]))
    if not result.complete:
        raise RuntimeError(f"the run is not complete: {result.stopped}")
    first = len(clock.seen) // 10
    clocked = clock.seen[-1][0] - clock.seen[first][0]
    return clock.turns_a_second(), time.perf_counter() - begin - clocked


async def _calls(table: Table) -> None:
    """What one call of the environment costs on each way, one after the other."""
    ways: dict[str, Any] = {
        "processes": WorkerPool(workers=1),
        "Ray actors": RayPool(workers=1),
        "Ray, by actor calls": RayPool(workers=1, direct=False),
    }
    told = []
    for name, pool in ways.items():
        env = await pool.acquire("alfworld", {})
        task = (await env.describe("")).tasks[0]
        await env.reset(task, 0)
        begin = time.perf_counter()
        for _ in range(CALLS):
            await env.valid_actions()
        told.append(f"{name} {1000 * (time.perf_counter() - begin) / CALLS:.3f} ms")
        await env.close()
        await pool.close()
    table.caption = f"one call, {CALLS} in a row: {'; '.join(told)}\n{table.caption}"


@contextmanager
def endpoint() -> Iterator[str]:
    """The test server in a process of its own."""
    command = [sys.executable, "-m", "agemem_eval.harness.testserver", "--port", "0"]
    command += ["--latency-s", str(LATENCY_S)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.kill()


if __name__ == "__main__":
    main()
