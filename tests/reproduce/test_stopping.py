"""An interrupted `reproduce` goes on with the same command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agemem_eval.harness.store import RunStore

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals")
SUPPORT = str(Path(__file__).parent.parent / "support")
EPISODES = 12


def start(cwd: Path, delay: str) -> subprocess.Popen[str]:
    (cwd / "settings.yaml").write_text("workers: 0\n")
    command = [
        sys.executable, "-m", "agemem_eval", "reproduce", "figure3",
        "--model", f"agemem_fakes.models:Inc delay={delay}", "--memory-model", "heuristic",
        "--episodes", str(EPISODES), "--concurrency", "2", "--config", "settings.yaml",
    ]  # fmt: skip
    return subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": SUPPORT}, start_new_session=True,
    )  # fmt: skip


def committed(cwd: Path) -> int:
    runs = [file.parent for file in (cwd / "runs").glob("*/config.json")]
    return sum(len(RunStore.open(run).episodes()) for run in runs)


def wait_for(n: int, cwd: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while committed(cwd) < n:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def finish(cwd: Path, kept: int) -> None:
    again = start(cwd, "0")
    out, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    table = json.loads((cwd / "results/figure3/table.json").read_text())
    played = [v for v in table["values"] if v["run"] and v["column"] == "prompt_tokens"]
    assert [value["n"] for value in played] == [EPISODES, EPISODES]
    assert out.startswith("# Figure 3")
    assert committed(cwd) == 2 * EPISODES
    assert kept > 0


def test_ctrl_c_ends_with_130_and_the_table_so_far_and_the_same_command_resumes(
    tmp_path: Path,
) -> None:
    process = start(tmp_path, "0.1")
    wait_for(2, tmp_path, process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "the same command resumes" in err
    kept = committed(tmp_path)
    assert kept < 2 * EPISODES
    table = json.loads((tmp_path / "results/figure3/table.json").read_text())
    (first,) = [v for v in table["values"] if v["n"] and v["column"] == "prompt_tokens"]
    assert first["n"] == kept
    assert first["coverage"] == kept / EPISODES
    assert f"{kept} of {EPISODES} episodes scored" in first["why"]
    finish(tmp_path, kept)


def test_a_killed_one_goes_on_where_it_was(tmp_path: Path) -> None:
    process = start(tmp_path, "0.1")
    wait_for(3, tmp_path, process)
    process.kill()
    process.communicate()
    kept = committed(tmp_path)
    assert not (tmp_path / "results/figure3/table.json").exists()
    finish(tmp_path, kept)
