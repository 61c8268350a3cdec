"""Whole runs with `vllm:MODEL` and the real vLLM: killed, and with a killed engine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_model import make_model

from .processes import alive, engines, needs_vllm, shared_memory, wait_for

pytestmark = [pytest.mark.vllm, needs_vllm]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("vllm") / "base").parent


def run_command(place: Path, *extra: str) -> list[str]:
    return [
        sys.executable, "-m", "agemem_eval", "run", "--env", "alfworld", "--memory", "agemem",
        "--model", f"vllm:{place / 'base'}", "--episodes", "2", "--max-steps", "4",
        "--max-tokens", "32", "--name", "r", "--concurrency", "2", "-o", "dtype=float32",
        "-o", 'args=["--enforce-eager"]', *extra,
    ]  # fmt: skip


def server_of(cwd: Path) -> int:
    """The process group of the server whose log is the newest in a run's cache."""
    logs = sorted((cwd / "runs/.cache/vllm").glob("*.log"), key=lambda p: p.stat().st_mtime)
    if not logs:
        return 0
    started = [line for line in logs[-1].read_text().splitlines() if "APIServer pid=" in line]
    return int(started[-1].partition("APIServer pid=")[2].partition(")")[0]) if started else 0


def test_a_run_that_is_killed_leaves_no_server_behind(place, tmp_path):
    before = shared_memory()
    process = subprocess.Popen(
        run_command(place), cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    group = wait_for(lambda: server_of(tmp_path))
    wait_for(lambda: engines(group))
    process.kill()
    process.wait()
    wait_for(lambda: not alive(group), 60)
    assert shared_memory() <= before


def test_a_run_outlives_a_killed_engine_and_ends_its_server(place, tmp_path):
    before = shared_memory()
    native = ("--transport", "native", "-o", "tool_parser=hermes")
    process = subprocess.Popen(
        run_command(place, *native), cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    group = wait_for(lambda: server_of(tmp_path))
    wait_for(lambda: "Application startup complete" in newest_log(tmp_path))
    for pid in engines(group):
        os.kill(pid, signal.SIGKILL)
    _, said = process.communicate(timeout=500)
    assert process.returncode == 0, said
    assert "2 of 2 episodes scored" in said
    assert "died" in said
    assert not alive(group)
    assert not alive(server_of(tmp_path))
    assert shared_memory() <= before


def newest_log(cwd: Path) -> str:
    logs = sorted((cwd / "runs/.cache/vllm").glob("*.log"), key=lambda p: p.stat().st_mtime)
    return logs[-1].read_text() if logs else ""
