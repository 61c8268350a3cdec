"""The run store: what a commit costs, and reopening and tabling runs of up to 100,000 episodes.

Commits are timed on the disk that temporary files are on, since they wait for it. Large runs are
written where a sync costs nothing, if there is such a place: there the processor's part shows.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.table import Table

from agemem_eval.harness.config import make_config
from agemem_eval.harness.ledger import RoleUsage
from agemem_eval.harness.plan import Cell
from agemem_eval.harness.records import Episode, EpisodeKey
from agemem_eval.harness.runner import rows_of
from agemem_eval.harness.store import RunStore
from agemem_eval.harness.types import Task

SIZES = (1_000, 10_000, 100_000)
THREADS = (1, 4, 16)
COMMITS = 400  # of one timing
ROUNDS = 5
CELLS = 10
CONFIG = make_config({"envs": ["alfworld"], "memories": ["none"]})
EVENTS = [
    {"type": "action", "step": n, "turn": n, "action": "go to desk 1", "observation": "You " * 20}
    for n in range(40)
]


def main() -> None:
    """Measure, and print tables."""
    console = Console(width=100)
    console.print(_commits())
    console.print(_sizes())


def _commits() -> Table:
    """Milliseconds a commit by how many threads commit at once, interleaved."""
    times: dict[int, list[float]] = {threads: [] for threads in THREADS}
    for _ in range(ROUNDS):
        for threads in THREADS:
            with tempfile.TemporaryDirectory() as folder, RunStore(Path(folder) / "r") as store:
                store.lock(CONFIG, [])
                clock = time.perf_counter()
                with ThreadPoolExecutor(threads) as pool:
                    list(pool.map(lambda n, s=store: s.commit(_episode(n), EVENTS), range(COMMITS)))
                times[threads].append(1000 * (time.perf_counter() - clock) / COMMITS)
    table = Table("threads", "ms a commit", "from – to", "commits/s", title="Commits to this disk")
    for threads, found in times.items():
        middle = statistics.median(found)
        spread = f"{min(found):.2f} – {max(found):.2f}"
        table.add_row(str(threads), f"{middle:.2f}", spread, f"{1000 / middle:,.0f}")
    return table


def _sizes() -> Table:
    memory = Path("/dev/shm")
    table = Table(
        "episodes", "ms a commit", "MB added", "reopen s", "MB added", "rows s", "MB added",
        title=f"Runs of {CELLS} cells, each number from a process of its own (reading: medians)",
        caption=f"sync costs {'nothing' if memory.is_dir() else 'what the disk takes'} here",
    )  # fmt: skip
    for size in SIZES:
        with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
            write = _part("write", folder, size)
            reopen = [_part("reopen", folder, size) for _ in range(ROUNDS)]
            rows = [_part("rows", folder, size) for _ in range(ROUNDS)]
        seconds, megabytes = write
        cells = [f"{size:,}", f"{1000 * seconds / size:.3f}", f"{megabytes:.1f}"]
        for found in (reopen, rows):
            s, mb = (statistics.median(column) for column in zip(*found, strict=True))
            cells += [f"{s:.2f}", f"{mb:.1f}"]
        table.add_row(*cells)
    return table


def _part(what: str, folder: str, size: int) -> tuple[float, float]:
    """Seconds, and megabytes that the process grew by at most."""
    command = [sys.executable, __file__, what, folder, str(size)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, megabytes = json.loads(done.stdout)
    return seconds, megabytes


def part(what: str, folder: str, size: int) -> None:
    """What `_part` runs."""
    directory = Path(folder) / "r"
    before, clock = _memory("VmRSS"), time.perf_counter()
    if what == "rows":
        found = sum(row.n_scored for row in rows_of(directory))
    else:
        with RunStore(directory) as store:
            store.lock(CONFIG, [cell.to_json() for cell in _cells(size)])
            for n in range(size) if what == "write" else ():
                store.commit(_episode(n), EVENTS)
            found = store.counts()[0]
    seconds = time.perf_counter() - clock
    if found != size:
        raise RuntimeError(f"{found} of {size} episodes")
    print(json.dumps([seconds, _memory("VmHWM") - before]))


def _memory(field: str) -> float:
    """Megabytes of this process: now (`VmRSS`), or at most so far (`VmHWM`)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith(field))


def _cells(size: int) -> list[Cell]:
    return [
        Cell(f"m{c}", _key("", c), tuple(Task(f"t{n}", "s", "t") for n in range(c, size, CELLS)), 1)
        for c in range(CELLS)
    ]


def _key(task: str, cell: int) -> EpisodeKey:
    return EpisodeKey("alfworld", "1", "d", "s", task, f"m{cell}", "h", "x", "h", "p", 0, 0)


def _episode(n: int) -> Episode:
    return Episode(
        key=_key(f"t{n}", n % CELLS), task_type="t", status="completed", success=True,
        progress=1.0, reward=1.0, steps=40, turns=40, invalid_actions=0, malformed_outputs=0,
        forfeits=0, overflow_drops=0, tool_calls={"Add_memory": {"success": 3}},
        tokens={"agent": RoleUsage(40, 9, 9, 0)}, memory_entries=3, wall_s=1.0,
        started_at="2026-01-01T00:00:00+00:00",
    )  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1:]:
        part(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    else:
        main()
