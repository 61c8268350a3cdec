"""Episodes made by hand for the tests of claims, and definitions as files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from agemem_eval.harness.claims.episodes import About, CellData, Data
from agemem_eval.harness.claims.experiment import CellId

DEFINITION: dict[str, Any] = {
    "name": "tiny",
    "title": "A tiny experiment",
    "settings": {"workers": 0},
    "models": {
        "base": {"specs": ["scripted"]},
        "trained": {"specs": ["scripted:reader"], "training": "agemem"},
    },
    "tasks": {
        "one": {"env": "hotpotqa", "episodes": 3},
        "two": {"env": "hotpotqa", "episodes": 3, "score": "progress"},
    },
    "players": {
        "none": {"memory": "none", "model": "base"},
        "norl": {"memory": "agemem-norl", "model": "base"},
        "rl": {"memory": "agemem", "model": "trained"},
    },
    "tables": {
        "main": {"title": "Both", "tasks": ["one", "two"], "players": ["none", "norl", "rl"]}
    },
    "claims": {
        "a": {
            "says": "training helps",
            "parts": [{"says": "score", "new": "rl", "base": ["norl"], "over": ["one"]}],
        }
    },
}


def written(folder: Path, definition: Mapping[str, Any]) -> Path:
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(dict(definition)))
    return path


def cell(
    task: str, player: str, values: Sequence[float], seed: int = 0, column: str = "success",
    planned: int | None = None, **about: Any,
) -> Data:  # fmt: skip
    """A cell whose i-th task has the i-th value; NaN where it has none."""
    given = {
        "cell": f"{task}/{player}/{seed}", "env": "hotpotqa", "memory": player, "model": "m",
        "spec": f"{player}:{seed}", "run": "r", "planned": planned or len(values),
        "scored": len(values), "split": "generated", "model_hash": f"{player}{seed}", **about,
    }  # fmt: skip
    n = len(values)
    data = CellData(
        About(**given), [f"t{i:03}" for i in range(n)], [0] * n, ["x"] * n, ["completed"] * n,
        {column: np.array(values, dtype=float)},
    )  # fmt: skip
    return {CellId(task, player, seed): data}
