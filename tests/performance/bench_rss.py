"""Resident memory while a run goes on: after 100 episodes, 1,000 and 5,000, and what is left over.

    python tests/performance/run.py rss[:ROUNDS]

Parent and workers are told apart. Each run is a process of its own; its memory is read when the
episodes are committed, in that process (`/proc/self/status`), so nothing else is measured.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from kills import children
from load_bench import child_environment, endpoint, machine, new_mark, spread, wait_gone
from rich.console import Console
from rich.table import Table

from agemem_eval.harness.config import Execution, make_config
from agemem_eval.harness.records import Episode
from agemem_eval.harness.runner import run
from agemem_eval.harness.watch import Watcher

AT = (100, 1_000, 5_000)
TARGET = 1.2
LOAD = "load_env:LoadEnv"


def settings(name: str, episodes: int) -> dict[str, Any]:
    """The configuration of a setting, with that many episodes."""
    if name == "openai:, native tools":
        return {
            "envs": [LOAD],
            "memories": ["none"],
            "model": "openai:load",
            "options": {LOAD: {"tasks": str(episodes)}},
            "agent": {
                "transport": "native",
                "show_valid_actions": "on-request",
                "max_turns_per_step": 11,
            },
        }
    each = {"envs": ["alfworld"], "episodes": 100, "agent": {"max_steps": 8}}
    one_memory = {"memory_scope": "run"} if name == "rag, one memory" else {}
    memory = "rag" if one_memory else "agemem"
    return {**each, **one_memory, "memories": [memory], "repeats": episodes // 100}


NAMES = ("agemem, scripted", "rag, one memory", "openai:, native tools")


def main(rounds: str = "3") -> None:
    """Measure, and print a table; the last size is played in the first round alone."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in NAMES}
    with endpoint(0.0) as at:
        for index in range(int(rounds)):
            for name, runs in found.items():
                runs.append(_measure(name, AT[-1] if index == 0 else AT[-2], at.url))
    table = Table(
        "run", "process", *(f"MB at {n:,}" for n in AT), "1,000 / 100", "target", "5,000 / 100",
        "orphans",
        title=f"Resident memory, median (range) of {rounds} runs; 5,000 episodes in one of them",
        caption=machine(),
    )  # fmt: skip
    for name, runs in found.items():
        for process in ("parent", "workers"):
            sizes = [[run[process].get(str(n)) for n in AT] for run in runs]
            mb = [
                statistics.median(s for s in column if s is not None)
                for column in zip(*sizes, strict=True)
            ]
            table.add_row(
                name,
                process,
                *(f"{size:.1f}" for size in mb),
                spread([size[1] / size[0] for size in sizes], 2),
                f"{TARGET}",
                f"{sizes[0][2] / sizes[0][0]:.2f}",
                str(sum(run["orphans"] for run in runs)),
            )
    Console(width=150).print(table)


def _measure(name: str, episodes: int, url: str) -> dict[str, Any]:
    mark = new_mark()
    done = subprocess.run(
        [sys.executable, __file__, name, str(episodes), url],
        env=child_environment(mark), stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**result, "orphans": wait_gone(mark)}


class Sampler(Watcher):
    """Reads the resident memory of this process and its children at some numbers of episodes."""

    def __init__(self) -> None:
        self.n = 0
        self.parent: dict[int, float] = {}
        self.workers: dict[int, float] = {}

    def committed(self, episode: Episode) -> None:
        """See `Watcher`."""
        self.n += 1
        if self.n in AT:
            self.parent[self.n] = _resident_mb(os.getpid())
            self.workers[self.n] = sum(map(_resident_mb, children(os.getpid())))


def _resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS"))


def _child(name: str, episodes: str, url: str) -> None:
    """One run in this process; prints what was sampled."""
    sampler = Sampler()
    with tempfile.TemporaryDirectory() as folder:
        execution = Execution(
            runs_dir=Path(folder),
            base_url=url if name.startswith("openai:") else None,
            concurrency=16,
            workers=2,
        )
        config = make_config(settings(name, int(episodes)))
        result = asyncio.run(run(config, execution, [sampler]))
    if not result.complete:
        raise RuntimeError(f"{name}: {result.scored} of {result.planned} were scored")
    print(json.dumps({"parent": sampler.parent, "workers": sampler.workers}))


if __name__ == "__main__":
    _child(*sys.argv[1:])
