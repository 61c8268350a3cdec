"""A process killed while it writes loses no entry that it was told is stored."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from store_kills import kill_writers
from store_kinds import QDRANT, USEARCH


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
@pytest.mark.parametrize(
    ("kind", "kills"),
    [
        ("sqlite", 5),
        pytest.param("sqlite+usearch", 2, marks=USEARCH.marks),
        pytest.param("qdrant", 2, marks=QDRANT.marks),
    ],
)
def test_kill_loses_no_committed_entry(kind: str, kills: int, tmp_path: Path) -> None:
    found = kill_writers(kind, tmp_path / "store", kills)
    assert found.lost == 0
    assert found.invented == 0
    assert found.told > 0
