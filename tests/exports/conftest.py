"""Runs to export: one that was played, and one with all that can go wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from export_runs import SECRET, nasty_run


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two cells: a memory whose tools are called, and none."""
    runs = tmp_path_factory.mktemp("played") / "runs"
    arguments = (
        "run --env alfworld --memory none,agemem --model scripted --memory-model heuristic "
        f"--episodes 2 --workers 0 --name played --runs-dir {runs}"
    )
    subprocess.run(
        [sys.executable, "-m", "agemem_eval", *arguments.split()], check=True, timeout=120,
        capture_output=True,
    )  # fmt: skip
    return runs / "played"


@pytest.fixture
def nasty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """See `nasty_run`; its secret is in the environment, and home is a folder of the test."""
    home = tmp_path / "home"
    monkeypatch.setenv("EXPORT_TEST_KEY", SECRET)
    monkeypatch.setenv("HOME", str(home))
    return nasty_run(tmp_path / "runs" / "nasty", home)
