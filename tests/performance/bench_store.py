"""The run store: what committing 10,000 episodes costs beside 1,000, and resuming them."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from agemem_eval.harness.config import make_config
from agemem_eval.harness.ledger import RoleUsage
from agemem_eval.harness.records import Episode, EpisodeKey
from agemem_eval.harness.store import RunStore

SIZES = (1_000, 10_000)
ROUNDS = 3
CONFIG = make_config({"envs": ["alfworld"], "memories": ["none"]})
EVENTS = [
    {"type": "action", "step": n, "turn": n, "action": "go to desk 1", "observation": "You " * 20}
    for n in range(40)
]


def main() -> None:
    """Measure, and print a table."""
    table = Table("episodes", "commit s", "ms each", "resume s", "MB", title="Run store, medians")
    commits: dict[int, float] = {}
    for size in SIZES:
        rounds = [_measure(size) for _ in range(ROUNDS)]
        commits[size], resume, megabytes = (statistics.median(c) for c in zip(*rounds, strict=True))
        table.add_row(
            f"{size:,}",
            f"{commits[size]:.2f}",
            f"{1000 * commits[size] / size:.3f}",
            f"{resume:.3f}",
            f"{megabytes:.1f}",
        )
    table.caption = f"10,000 cost {commits[SIZES[1]] / commits[SIZES[0]]:.1f} times 1,000"
    Console(width=100).print(table)


def _measure(size: int) -> tuple[float, float, float]:
    """Seconds to commit so many episodes, seconds to read them back, megabytes on disk."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "r"

        def commit() -> None:
            with RunStore(directory) as store:
                store.lock(CONFIG, [])
                for n in range(size):
                    store.commit(_episode(n), EVENTS)

        committing = _seconds(commit)
        resuming = _seconds(lambda: _resume(directory, size))
        megabytes = sum(p.stat().st_size for p in directory.rglob("*") if p.is_file()) / 1e6
    return committing, resuming, megabytes


def _resume(directory: Path, size: int) -> None:
    with RunStore(directory) as store:
        store.lock(CONFIG, [])
        if len(store.episodes()) != size:
            raise RuntimeError("the store lost episodes")


def _episode(n: int) -> Episode:
    key = EpisodeKey("alfworld", "1", "d", "s", f"t{n}", "m", "h", "x", "h", "p", 0, 0)
    return Episode(
        key=key, task_type="t", status="completed", success=True, progress=1.0, reward=1.0,
        steps=40, turns=40, invalid_actions=0, malformed_outputs=0, forfeits=0, overflow_drops=0,
        tool_calls={"Add_memory": {"success": 3}}, tokens={"agent": RoleUsage(40, 9, 9, 0)},
        memory_entries=3, wall_s=1.0, started_at="2026-01-01T00:00:00+00:00",
    )  # fmt: skip


def _seconds(work: Callable[[], None]) -> float:
    clock = time.perf_counter()
    work()
    return time.perf_counter() - clock


if __name__ == "__main__":
    main()
