"""Fixtures shared by the tests: where the real data are, and the games unpacked from them."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ALFWORLD_ARCHIVE = "alfworld/json_2.1.1_valid_seen.tar.xz"


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real test data: $AGEMEM_TEST_DATA, or shared/data beside the checkout."""
    given = os.environ.get("AGEMEM_TEST_DATA")
    path = Path(given) if given else ROOT.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip("no test data: set AGEMEM_TEST_DATA to the folder that holds alfworld/")
    return path


@pytest.fixture(scope="session")
def alfworld_data(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder to use as $ALFWORLD_DATA: the 140 official valid_seen games, unpacked."""
    archive = data_dir / ALFWORLD_ARCHIVE
    if not archive.is_file():
        pytest.skip(f"no official ALFWorld games: {ALFWORLD_ARCHIVE} is not in the test data")
    target = tmp_path_factory.mktemp("alfworld-data")
    with tarfile.open(archive) as tar:
        tar.extractall(target, filter="data")
    return target
