"""The results that are kept beside the code are what their episodes make with this code."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from agemem_eval.harness.claims.command import write_command
from agemem_eval.harness.claims.episodes import CELLS, EPISODES

KEPT = Path(__file__).resolve().parents[2] / "results" / "nano"


def test_nanos_results_are_made_of_their_episodes(tmp_path: Path) -> None:
    for name in (CELLS, EPISODES):
        shutil.copy(KEPT / name, tmp_path)
    given: dict[str, Any] = {"models": [], "episodes": None, "from_data": True, "replace": False}
    assert write_command("nano", out=tmp_path, **given) == 0
    made, kept = (leaves(json.loads((at / "claims.json").read_text())) for at in (tmp_path, KEPT))
    assert made.keys() == kept.keys()
    for place, value in kept.items():
        same = pytest.approx(value, rel=1e-6) if isinstance(value, float) else value
        assert made[place] == same, place
    for name in ("claims.md", "tables.md"):
        assert told(tmp_path / name) == told(KEPT / name)


def leaves(value: Any, at: str = "") -> dict[str, Any]:
    """What stands in a JSON, by its place."""
    if isinstance(value, dict | list):
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        return {k: v for key, part in parts for k, v in leaves(part, f"{at}/{key}").items()}
    return {at: value}


def told(path: Path) -> list[str]:
    """The lines of a file but for figures, which need matplotlib."""
    lines = path.read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("![")]
