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

from agemem_eval.baselines import qdrant as qdrant_store
from agemem_eval.baselines.entries import entry_id
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


def points(store: Any) -> int:
    return int(store._ask("count", exact=True).count)


def refuse(*_: Any, **__: Any) -> Any:
    raise OSError("killed here")


@qdrant
def test_what_a_broken_restore_left_is_in_no_later_one(kind: str, monkeypatch: Any) -> None:
    store, many, few = filled(None, 3, kind), filled(None, 300), filled(None, 2)
    with monkeypatch.context() as patch:
        patch.setattr(store._collection, "keep", refuse)
        with pytest.raises(OSError, match="killed"):
            store.restore(many.snapshot())
    store.restore(few.snapshot())
    assert store.snapshot() == few.snapshot()
    assert points(store) == 2 + 2  # beside the entries: the mark and the scope's record


@qdrant
def test_no_generation_is_left_behind(kind: str, monkeypatch: Any) -> None:
    store = filled(None, 5, kind)
    snapshot = store.snapshot()
    store.restore(snapshot)
    assert points(store) == 5 + 2
    keep = store._collection.keep
    with monkeypatch.context() as patch:

        def last(*arguments: Any) -> None:  # killed between the record and the removal
            keep(*arguments)
            patch.setattr(store, "_ask", refuse)

        patch.setattr(store._collection, "keep", last)
        with pytest.raises(OSError, match="killed"):
            store.restore(snapshot)
    assert points(store) == 10 + 2
    assert store.snapshot() == snapshot
    store.restore(snapshot)
    assert points(store) == 5 + 2


@qdrant
def test_a_point_that_was_not_written_has_used_up_its_id(kind: str, monkeypatch: Any) -> None:
    store = make(kind)
    with monkeypatch.context() as patch:
        ask = store._ask
        patch.setattr(store, "_ask", lambda m, **a: (refuse if m == "upsert" else ask)(m, **a))
        with pytest.raises(OSError, match="killed"):
            store.add("x", unit(0), {}, "t")
    assert store.add("y", unit(0), {}, "t") == entry_id(0, "", 1)


def as_a_server(store: Any, monkeypatch: Any) -> list[Any]:
    """Answer a search as a server may: of those that tie, the newest first. Keeps its questions."""
    ask, asked = store._ask, []

    def answer(method: str, **arguments: Any) -> Any:
        if method != "query_points":
            return ask(method, **arguments)
        asked.append(arguments)
        known = {k: v for k, v in arguments.items() if k != "search_params"}
        found = ask(method, **{**known, "limit": 10_000})
        found.points.sort(key=lambda p: (-p.score, -p.payload["seq"]))
        del found.points[arguments["limit"] :]
        return found

    monkeypatch.setattr(store, "_ask", answer)
    return asked


@qdrant
def test_the_oldest_of_many_ties_come_first_whatever_order_they_are_found_in(
    kind: str, monkeypatch: Any
) -> None:
    store = make(kind)
    ids = [store.add(str(i), unit(0), {}, "t") for i in range(100)]
    as_a_server(store, monkeypatch)
    assert [entry.id for entry, _ in store.search(unit(0), 5)] == ids[:5]


@qdrant
def test_a_server_searches_exactly_up_to_so_many_entries(kind: str, monkeypatch: Any) -> None:
    store = make(kind)
    asked = as_a_server(store, monkeypatch)
    monkeypatch.setattr(store._collection, "on_server", True)
    monkeypatch.setattr(qdrant_store, "_EXACT_UP_TO", 3)
    for i in range(4):
        store.add(str(i), unit(i), {}, "t")
        store.search(unit(0), 1)
    assert [question["search_params"].exact for question in asked] == [True, True, True, False]
    monkeypatch.undo()
