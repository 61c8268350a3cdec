"""Shared by the tests of ScienceWorld: one environment with one Java for all that only play."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agemem_eval.envs.scienceworld.env import ScienceworldEnvironment


@pytest.fixture(scope="session")
def played() -> Iterator[ScienceworldEnvironment]:
    """An environment to play with; tests that harm their Java make their own."""
    environment = ScienceworldEnvironment()
    yield environment
    environment.close()


def gone(pid: int) -> bool:
    """Whether a process has ended, reaped or not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z" or not os.path.exists(f"/proc/{pid}")
