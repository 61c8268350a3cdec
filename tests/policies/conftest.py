"""The model that tests of a learner train."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that takes milliseconds to open; no test changes it."""
    pytest.importorskip("torch").set_num_threads(1)
    from tiny_model import make_model

    return make_model(tmp_path_factory.mktemp("models") / "tiny", hidden=32)
