"""A small experiment, whose definition a test may change."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from claims_data import DEFINITION, written

from agemem_eval.harness.claims.experiment import Experiment, read_experiment


@pytest.fixture
def definition() -> dict[str, Any]:
    """Of an experiment; a test may change it."""
    return copy.deepcopy(DEFINITION)


@pytest.fixture
def experiment(tmp_path: Path, definition: dict[str, Any]) -> Callable[..., Experiment]:
    """Reads the definition as it stands."""

    def read(*models: str, episodes: int | None = None) -> Experiment:
        return read_experiment(str(written(tmp_path, definition)), list(models), episodes)

    return read
