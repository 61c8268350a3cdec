"""`agemem-eval report` over one large run: seconds, CPU seconds, peak of memory, by format.

    python tests/performance/run.py report[:EPISODES]

The run is finished: five environments × eight memories, five repeats of each task, records with
all that real ones have. Nothing is played, and no traces are written, since a report reads none.
Each format is made by a process of its own, in turns; interpreter and imports are counted too.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from load_bench import machine
from rich.console import Console
from rich.table import Table

from agemem_eval.harness.config import make_config
from agemem_eval.harness.ledger import Cost, RoleUsage
from agemem_eval.harness.plan import Cell
from agemem_eval.harness.records import Episode, EpisodeKey, stable_hash
from agemem_eval.harness.store import RunStore
from agemem_eval.harness.store.index import record_body, sealed
from agemem_eval.harness.types import Task

FORMATS = ("terminal", "json", "html")
ROUNDS = 3
REPEATS = 5
TARGET_S, TARGET_MB = 10.0, 1000.0
ENVS = {
    "alfworld": ("success",), "scienceworld": ("success",), "babyai": ("success",),
    "pddl": ("progress",), "hotpotqa": ("quality.j", "success"),
}  # fmt: skip
WITH_TOOLS = ("agemem", "agemem-norl")
MEMORIES = ("none", "rag", "amem", "langmem", "mem0", "mem0g", *WITH_TOOLS)
TOOLS = ("Add_memory", "Update_memory", "Delete_memory", "Retrieve_memory", "Filter_context")
FACTS = (
    "fact_recall", "fact_precision", "fact_f1", "fact_recall_retrieved", "fact_recall_in_context",
    "stale", "updated", "redundancy", "unsupported",
)  # fmt: skip
ANSWERS = tuple(
    f"{of}{score}" for of in ("", "sp_", "joint_") for score in ("em", "f1", "prec", "recall")
)
LABELS = {"prompts": "1", "embedder": "hashing", "memory_model": "openai:m", "judge": "openai:j"}


def main(episodes: str = "100000") -> None:
    """Measure, and print a table."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        n = write_run(run, int(episodes))
        size = sum(path.stat().st_size for path in (run / "episodes").iterdir())
        found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in FORMATS}
        for _ in range(ROUNDS):
            for name, measured in found.items():
                measured.append(_measure(run, name, Path(folder) / f"out.{name}"))
    table = Table(
        "format", "s", "CPU s", "MB peak", "target",
        title=f"Report: {n:,} episodes in {len(ENVS) * len(MEMORIES)} cells ({size / 1e6:.0f} MB "
        f"of records), median (range) of {ROUNDS} rounds",
        caption=machine(),
    )  # fmt: skip
    for name, measured in found.items():
        wall, _, peak = columns = [sorted(column) for column in zip(*measured, strict=True)]
        met = statistics.median(wall) <= TARGET_S and peak[-1] <= TARGET_MB
        target = f"{TARGET_S:g} s, {TARGET_MB:g} MB: {'met' if met else 'missed'}"
        texts = [f"{statistics.median(c):.1f} ({c[0]:.1f}–{c[-1]:.1f})" for c in columns[:2]]
        table.add_row(name, *texts, f"{statistics.median(peak):.0f}", target)
    Console(width=120).print(table)


def _measure(run: Path, name: str, out: Path) -> tuple[float, float, float]:
    """Seconds, CPU seconds, and megabytes of memory at most, of one report."""
    command = [sys.executable, "-m", "agemem_eval", "report", str(run), "--format", name]
    write = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    clock = time.perf_counter()
    actions = [(os.POSIX_SPAWN_OPEN, 1, str(out), write, 0o644)]
    child = os.posix_spawn(sys.executable, command, os.environ, file_actions=actions)
    _, status, used = os.wait4(child, 0)
    seconds = time.perf_counter() - clock
    if status:
        raise RuntimeError(f"the report as {name} failed: {status}")
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e6


# --- the run ----------------------------------------------------------------------------------


def write_run(directory: Path, episodes: int) -> int:
    """Write a finished run of about so many episodes, in the store's lines; how many they are."""
    n_tasks = max(1, episodes // (len(ENVS) * len(MEMORIES) * REPEATS))
    tasks = tuple(Task(f"generated/kind-{i % 6}/{i:04}", "test", f"kind-{i % 6}")
                  for i in range(n_tasks))  # fmt: skip
    cells = [
        Cell(memory, _base(env, memory), tasks, REPEATS, headline=headline)
        for env, headline in ENVS.items()
        for memory in MEMORIES
    ]
    config = make_config({"envs": list(ENVS), "memories": list(MEMORIES), "repeats": REPEATS})
    with RunStore(directory) as store:
        store.lock(config, [cell.to_json() for cell in cells])
    (directory / "episodes").mkdir(exist_ok=True)
    n = 0
    with (directory / "episodes" / "0001.jsonl").open("wb") as file:
        for cell in cells:
            for one in _episodes(cell):
                file.write(sealed(record_body(one), 0))
                n += 1
    return n


def _base(env: str, memory: str) -> EpisodeKey:
    data, protocol = (stable_hash([what, env]) for what in ("data", "protocol"))
    return EpisodeKey(
        env,
        "1",
        data,
        "test",
        "",
        memory,
        stable_hash(memory),
        "openai:m",
        stable_hash("m"),
        protocol,
        0,
        0,
    )


def _episodes(cell: Cell) -> Iterator[Episode]:
    """All of a cell; a task is as hard for all memories, and some memories are better."""
    env, memory = cell.base.env, cell.memory_name
    better = 0.04 * MEMORIES.index(memory)
    for _, jobs in cell.streams():
        for job in jobs:
            rng = Random(job.key.id)
            easy = Random(f"{env} {job.task.id}").random()
            yield _episode(job.key, job.task, job.order, rng, 0.6 * easy + better)


def _episode(key: EpisodeKey, task: Task, order: int, rng: Random, chance: float) -> Episode:
    asked, won, turns = key.env == "hotpotqa", rng.random() < chance, rng.randint(4, 40)
    tools = rng.sample(TOOLS, rng.randint(1, 4)) if key.memory in WITH_TOOLS else []
    calls = {tool: {"success": rng.randint(1, 5)} for tool in sorted(tools)}
    for statuses in calls.values():
        if rng.random() < 0.1:
            statuses["validation_error"] = 1
    return Episode(
        key=key, task_type=task.type, status="completed" if won else "limit", success=won,
        progress=None if asked else 1.0 if won else round(rng.random(), 3), reward=float(won),
        steps=turns, turns=turns, invalid_actions=rng.randint(0, 3), malformed_outputs=0,
        forfeits=0, overflow_drops=0, tool_calls=calls, tokens=_tokens(key.memory, turns, rng),
        memory_entries=rng.randint(0, 60), wall_s=60 * rng.random(),
        started_at="2026-01-01T00:00:00+00:00", reason="solved" if won else "step_limit",
        order=order, labels=LABELS, quality=_quality(asked, won, rng),
        metrics={name: float(won) if won else rng.random() for name in ANSWERS} if asked else {},
        loss="never_stored" if asked and not won else None,
        memory_costs=_costs(key.memory, calls, rng),
    )  # fmt: skip


def _tokens(memory: str, turns: int, rng: Random) -> dict[str, RoleUsage]:
    roles = ["agent"] if memory == "none" else ["embedding", "agent"]
    if memory in ("amem", "langmem", "mem0", "mem0g"):
        roles.append("memory_write")
    return {role: RoleUsage(turns, turns * rng.randint(200, 3000), 16 * turns, 0) for role in roles}


def _quality(asked: bool, won: bool, rng: Random) -> dict[str, float | None]:
    found: dict[str, float | None] = {
        name: rng.random() if asked or name in FACTS[-2:] else None for name in FACTS
    }
    found["memory_tokens"] = float(rng.randint(0, 3000))
    return (
        {**found, "mq": rng.random(), "j": min(1.0, won * 0.5 + rng.random())} if asked else found
    )


def _costs(memory: str, calls: dict[str, Any], rng: Random) -> dict[str, Cost]:
    operations = () if memory == "none" else calls or ("read", "write")
    return {
        name: Cost(
            rng.randint(1, 9), 1, rng.randint(0, 9000), 90, rng.randint(0, 500), rng.random()
        )
        for name in operations
    }
