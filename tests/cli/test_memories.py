"""Every memory of the paper in one command, offline, as the README has it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

MEMORIES = ("none", "rag", "mem0", "mem0g", "amem", "langmem", "agemem")


def test_all_memories_play_two_environments_offline(tmp_path: Path) -> None:
    command = [
        *(sys.executable, "-m", "agemem_eval", "run", "--env", "hotpotqa,alfworld"),
        *("--memory", ",".join(MEMORIES), "--memory-model", "heuristic"),
        *("--model", "scripted", "--episodes", "20", "--json"),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    table = json.loads(done.stdout)
    assert table["complete"]
    rows = {(row["env"], row["memory"]): row for row in table["rows"]}
    labels = ["agemem-norl" if name == "agemem" else name for name in MEMORIES]
    assert list(rows) == [(env, name) for env in ("hotpotqa", "alfworld") for name in labels]
    for (env, memory), row in rows.items():
        assert row["coverage"] == 1, (env, memory)
        assert row["n_scored"] == 20
        asked = memory in ("mem0", "mem0g", "amem", "langmem")
        assert ("memory_write" in row["tokens"]) >= asked, (env, memory)
        if "memory_model" in row["labels"]:
            assert row["labels"]["memory_model"] == "heuristic (rules)"
        if memory != "none":
            assert row["memory_entries_mean"] > 0, (env, memory)
        if env == "hotpotqa":
            stored = row["quality"]["fact_recall"]["mean"]
            assert stored == 0 if memory == "none" else stored > 0.9, (memory, stored)
