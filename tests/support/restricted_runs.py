"""Short runs of ALFWorld's generated games, with free or restricted actions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agemem_eval.harness.cli import main
from agemem_eval.harness.store import RunStore


def play(
    provider: str, folder: Path, runs: Path, actions: str, *more: str
) -> list[tuple[Any, list[Any]]]:
    """Two games of five steps, their records and events; the run is called after `actions`."""
    command = [
        "run", "--env", "alfworld", "--memory", "none", "--model", f"{provider}:{folder}",
        "--max-tokens", "64", "--max-steps", "5", "--max-turns-per-step", "1", "--shots", "0",
        "--episodes", "2", "--runs-dir", str(runs), "--name", actions, "--workers", "0",
        "-o", f"{provider}.actions={actions}", *more,
    ]  # fmt: skip
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert not ended.value.code
    store = RunStore.open(runs / actions)
    found = sorted(store.episodes().items(), key=lambda item: item[0].task)
    return [(episode, list(store.read_trace(key.id))) for key, episode in found]


def told(events: list[Any], kind: str, field: str) -> list[Any]:
    """A field of all events of a kind, in order."""
    return [event[field] for event in events if event["type"] == kind]


def table_of(runs: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The report on both runs, as JSON."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["report", "free", "restricted", "--runs-dir", str(runs), "--format", "json"])
    assert not ended.value.code
    return capsys.readouterr().out
