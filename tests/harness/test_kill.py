"""kill -9 at any moment: no finished episode is lost or counted twice, the table is the same."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

KILLS = 10
EPISODES = 200


def command(*extra: str) -> list[str]:
    return [
        sys.executable, "-m", "agemem_eval", "run", "--env", "alfworld", "--memory", "agemem",
        "--episodes", str(EPISODES), "--json", "--name", "r", *extra,
    ]  # fmt: skip


def table(cwd: Path, *extra: str) -> dict[str, Any]:
    done = subprocess.run(command(*extra), cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["rows"]
    row.pop("wall_s")  # the one thing that no two runs share
    row.pop("memory_wall_s")
    return row


def committed(cwd: Path) -> Counter[str]:
    """How often each episode's line was written, over all files."""
    found: Counter[str] = Counter()
    for path in (cwd / "runs/r/episodes").glob("*.jsonl"):
        for line in path.read_bytes().split(b"\n")[:-1]:
            found[json.loads(line)["key"]["task"]] += 1
    return found


def kill_and_resume(cwd: Path, rng: random.Random, extra: tuple[str, ...]) -> int:
    """Kill the runner at random moments; how many kills hit it between first and last commit.

    Every other kill waits for the run's next commit first: by the clock alone, a busy machine would
    be hit at its start every time.
    """
    hits, seen = 0, Counter[str]()
    for kill in range(KILLS):
        process = subprocess.Popen(
            command(*extra), cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 60 * (kill % 2)
        while committed(cwd) == seen and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.2) if kill % 2 else rng.uniform(0.5, 1.8))
        process.send_signal(signal.SIGKILL)
        process.wait()
        now = committed(cwd)
        hits += 0 < len(now) < EPISODES
        assert not seen - now, "a finished episode was lost"
        seen = now
    return hits


@pytest.mark.parametrize("scope", ["episode", "run"])
def test_ten_kills_and_a_resume_give_the_uninterrupted_table(tmp_path: Path, scope: str) -> None:
    extra = ("--memory-scope", scope)
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    whole = table(tmp_path / "whole", *extra)
    hits = kill_and_resume(tmp_path / "killed", random.Random(scope), extra)
    assert hits >= 2, "too few kills hit a run at work for this to mean anything"
    assert table(tmp_path / "killed", *extra) == whole
    counts = committed(tmp_path / "killed")
    assert len(counts) == EPISODES
    assert set(counts.values()) == {1}


def test_a_killed_runner_leaves_no_worker_behind(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command("--workers", "2"),
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    workers: set[int] = set()
    deadline = time.monotonic() + 30
    while not workers and process.poll() is None and time.monotonic() < deadline:
        workers = children(process.pid)
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert workers
    deadline = time.monotonic() + 10
    while any(alive(pid) for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in workers if alive(pid)]


def children(pid: int) -> set[int]:
    try:
        return {int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}
    except OSError:
        return set()


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z" and os.path.exists(f"/proc/{pid}")
