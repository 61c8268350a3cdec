"""The store in Qdrant's local mode: damage, broken changes, what is left behind."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from store_kinds import (
    DIM,
    EMBEDDER,
    ONE_LINE,
    QDRANT,
    close_all,
    contents,
    filled,
    make,
    overwrite,
    unit,
)

from agemem_eval.baselines.stores import open_store
from agemem_eval.harness.errors import DataError, InfraError


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    close_all()


qdrant = pytest.mark.parametrize("kind", [QDRANT])


@qdrant
def test_a_server_that_is_gone_owes_the_episode_again(kind: str, tmp_path: Path) -> None:
    with pytest.raises(InfraError, match=r"^http://127\.0\.0\.1:9: the Qdrant server does not"):
        open_store("qdrant:http://127.0.0.1:9", tmp_path, embedder=EMBEDDER, dim=DIM)
    assert list(tmp_path.iterdir()) == []


def _emptied(folder: Path) -> None:
    [file] = folder.rglob("storage.sqlite")
    file.unlink()


@qdrant
@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: shutil.rmtree(folder),
        lambda folder: (folder / "meta.json").write_text("{broken"),
        lambda folder: overwrite(next(folder.rglob("storage.sqlite")), 0, b"\0" * 100),
        _emptied,
        lambda folder: (folder.parent / "qdrant-local.json").write_text("[]"),
    ],
    ids=["lost", "meta", "header", "emptied", "note"],
)
def test_a_damaged_folder_is_refused_and_not_made_again(
    kind: str, damage: Any, tmp_path: Path
) -> None:
    filled(tmp_path, 3, kind).close()
    damage(tmp_path / "qdrant")
    for _ in range(2):
        with pytest.raises(DataError, match=ONE_LINE) as caught:
            make(kind, tmp_path)
        assert str(tmp_path / "qdrant") in str(caught.value)


@qdrant
def test_a_folder_that_another_process_uses(kind: str, tmp_path: Path) -> None:
    from qdrant_client import QdrantClient

    filled(tmp_path, 3, kind).close()
    other = QdrantClient(path=str(tmp_path / "qdrant"))
    with pytest.raises(DataError, match=r"qdrant: .*already accessed"):
        make(kind, tmp_path)
    other.close()
    assert len(make(kind, tmp_path)) == 3


@qdrant
def test_vectors_of_another_length_are_refused(kind: str, tmp_path: Path) -> None:
    filled(tmp_path, 3, kind).close()
    with pytest.raises(DataError, match=f"{DIM} dimensions"):
        make(kind, tmp_path, dim=DIM + 1)


@qdrant
def test_a_restore_that_breaks_off_changes_nothing(kind: str, monkeypatch: Any) -> None:
    store, other = filled(None, 3, kind), make("sqlite")
    for i in range(600):
        other.add(f"other {i}", unit(i), {}, "t")
    keep = store._collection.keep
    monkeypatch.setattr(store._collection, "keep", lambda *_: (_ for _ in ()).throw(OSError()))
    with pytest.raises(OSError):
        store.restore(other.snapshot())
    assert contents(store) == ["fact 0", "fact 1", "fact 2"]
    monkeypatch.setattr(store._collection, "keep", keep)
    store.restore(other.snapshot())
    assert store.snapshot() == other.snapshot()
