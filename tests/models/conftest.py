"""Checkpoints that tests of models in this process make, tiny and with random weights."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_model import make_model


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen2 of two layers, with a tokenizer and a chat template."""
    return make_model(tmp_path_factory.mktemp("models") / "tiny", hidden=64)
