"""What a store says and keeps when its disk, its file, its neighbours or its server fail."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from store_kinds import DIM, EMBEDDER, QDRANT, USEARCH, close_all, make, unit

from agemem_eval.baselines import store_file
from agemem_eval.baselines.store import MemoryStore
from agemem_eval.baselines.stores import check_store, open_store
from agemem_eval.harness.errors import DataError, InfraError, MissingExtraError, UsageError

ONE_LINE = r"^[^\n]*$"


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    close_all()


def filled(directory: Path | None, entries: int = 3, kind: str = "sqlite") -> Any:
    store = make(kind, directory)
    for i in range(entries):
        store.add(f"fact {i} " + "x" * 500, unit(i), {"n": i}, "t")
    return store


def contents(store: Any) -> list[str]:
    return [entry.content[:7].strip() for entry in store.entries()]


# --- a change that is refused -------------------------------------------------------------------

Fault = Callable[[MemoryStore, Path], Callable[[], None]]


def full(store: MemoryStore, _: Path) -> Callable[[], None]:
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count={pages}")
    return lambda: store._db.execute("PRAGMA max_page_count=1000000")


def locked(_: MemoryStore, directory: Path) -> Callable[[], None]:
    other = sqlite3.connect(directory / "memory.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    return other.close


def read_only(store: MemoryStore, _: Path) -> Callable[[], None]:
    store._db.execute("PRAGMA query_only=ON")
    return lambda: store._db.execute("PRAGMA query_only=OFF")


@pytest.mark.parametrize(
    ("fault", "advice"),
    [(full, "disk is full"), (locked, "keeps it locked"), (read_only, "cannot be written")],
)
def test_a_refused_change_is_told_and_leaves_nothing_behind(
    fault: Fault, advice: str, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(store_file, "LOCK_TIMEOUT_S", 0.05)
    store = filled(tmp_path)
    kept, snapshot = store.entries(), store.snapshot()
    bigger = make("sqlite")
    for i in range(200):
        bigger.add("y" * 5000, unit(i), {}, "t")
    mend = fault(store, tmp_path)
    changes = [
        lambda: store.add("new " + "z" * 50_000, unit(7), {}, "t"),
        lambda: store.update(kept[0].id, "new " + "z" * 50_000, unit(8), {"a": 1}, "t"),
        lambda: store.restore(bigger.snapshot()),
    ]
    if fault is not full:  # a deletion needs no room
        changes.append(lambda: store.delete(kept[1].id))
    for change in changes:
        with pytest.raises(DataError, match=ONE_LINE) as caught:
            change()
        assert advice in str(caught.value)
        assert str(tmp_path / "memory.sqlite") in str(caught.value)
        assert store.entries() == kept
        assert store.snapshot() == snapshot
        assert store.search(unit(1), 1)[0][0] == kept[1]
    mend()
    new = store.add("new", unit(7), {}, "t")
    again = make("sqlite", tmp_path)
    assert contents(again) == ["fact 0", "fact 1", "fact 2", "new"]
    untroubled = filled(tmp_path / "other")
    assert untroubled.add("new", unit(7), {}, "t") == new  # no id was used up


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this user may not mount a small disk")
    yield disk
    close_all()
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_is_really_full(small_disk: Path) -> None:
    store = make("sqlite", small_disk)
    told: list[int] = []

    def fill() -> None:
        for i in range(5000):
            store.add("x" * 2000, unit(i), {"n": i}, "t")
            told.append(i)

    with pytest.raises(DataError, match=r"memory\.sqlite: the disk .*full"):
        fill()
    assert [entry.metadata["n"] for entry in store.entries()] == told
    assert len(told) > 10
    with pytest.raises(DataError, match=r"memory\.sqlite: .*full"):
        make("sqlite", small_disk / "new")
    assert not list(small_disk.rglob("new/*"))
    store.close()
    again = make("sqlite", small_disk)
    assert [entry.metadata["n"] for entry in again.entries()] == told


# --- a file that is not whole -------------------------------------------------------------------


def overwrite(path: Path, start: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(data)


def execute(path: Path, *statements: Any) -> None:
    with sqlite3.connect(path) as db:
        for statement in statements:
            db.execute(*statement)
    db.close()


def garbage(path: Path) -> None:
    path.write_bytes(b"not a database, but long enough to look like a file of something" * 50)


def other_program(path: Path) -> None:
    path.unlink()
    execute(path, ["CREATE TABLE bookmarks (url TEXT)"])


VECTOR = "UPDATE entries SET vector=? WHERE seq=2"
METADATA = "UPDATE entries SET metadata=? WHERE seq=2"
DAMAGES: dict[str, Callable[[Path], Any]] = {
    "header": lambda path: overwrite(path, 0, b"\0" * 100),
    "garbage": garbage,
    "emptied": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:20_000]),
    "other program": other_program,
    "table lost": lambda path: execute(path, ["DROP TABLE entries"]),
    "short vector": lambda path: execute(path, [VECTOR, [b"\0" * (4 * DIM - 4)]]),
    "vector of no bytes": lambda path: execute(path, [VECTOR, ["text" * DIM]]),
    "vector not finite": lambda path: execute(path, [VECTOR, [b"\xff" * 4 * DIM]]),
    "metadata no JSON": lambda path: execute(path, [METADATA, ["{broken"]]),
    "metadata no object": lambda path: execute(path, [METADATA, ["[1]"]]),
    "metadata bytes": lambda path: execute(path, [METADATA, [b"\xff\xfe\xff"]]),
    "deep metadata": lambda path: execute(path, [METADATA, ["[" * 200_000]]),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused_with_its_path_and_left_as_it_is(
    damage: str, tmp_path: Path
) -> None:
    filled(tmp_path, 60).close()
    path = tmp_path / "memory.sqlite"
    DAMAGES[damage](path)
    before = path.read_bytes()
    for _ in range(2):
        with pytest.raises(DataError, match=ONE_LINE) as caught:
            make("sqlite", tmp_path)
        assert str(path) in str(caught.value)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir() if not p.name.startswith(path.name)] == []


def test_whichever_page_is_overwritten_the_file_is_refused(tmp_path: Path) -> None:
    filled(tmp_path, 60).close()
    path = tmp_path / "memory.sqlite"
    whole = path.read_bytes()
    pages = len(whole) // 4096
    assert pages > 8
    for page in range(pages):
        path.write_bytes(whole)
        overwrite(path, page * 4096, b"\xff" * 4096)
        with pytest.raises(DataError, match=r"memory\.sqlite"):
            make("sqlite", tmp_path)


def test_a_page_that_breaks_while_the_store_is_open_is_refused(tmp_path: Path) -> None:
    store = filled(tmp_path, 200)
    other = make("sqlite", tmp_path)
    other.add("one more", unit(5), {}, "t")
    other.close()
    store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store._db.execute("PRAGMA cache_size=0")
    path = tmp_path / "memory.sqlite"
    overwrite(path, 4096 * 3, b"\xff" * (path.stat().st_size - 4096 * 3))
    with pytest.raises(DataError, match=r"memory\.sqlite.*corrupt"):
        store.entries()


def test_a_file_that_is_lost_but_for_its_journal_is_not_made_anew(tmp_path: Path) -> None:
    store = filled(tmp_path)  # open, so its journal is there
    (tmp_path / "memory.sqlite").unlink()
    with pytest.raises(DataError, match=r"memory\.sqlite: lost"):
        make("sqlite", tmp_path)
    assert not (tmp_path / "memory.sqlite").exists()
    store.close()


def test_stores_that_make_the_file_at_once_share_it(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        stores = list(pool.map(lambda _: make("sqlite", tmp_path / "new"), range(8)))
    for number, store in enumerate(stores):
        store.add(str(number), unit(number), {}, "t")
    assert [len(store) for store in stores] == [8] * 8
    assert [p.name for p in (tmp_path / "new").iterdir() if p.is_dir()] == []


def test_a_folder_where_the_file_should_be(tmp_path: Path) -> None:
    (tmp_path / "memory.sqlite").mkdir()
    with pytest.raises(DataError, match=r"memory\.sqlite"):
        make("sqlite", tmp_path)


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="file"):
        make("sqlite", tmp_path / "file")


def test_a_store_of_another_version(tmp_path: Path) -> None:
    make("sqlite", tmp_path).close()
    execute(tmp_path / "memory.sqlite", ["PRAGMA user_version=99"])
    with pytest.raises(DataError, match="another version"):
        make("sqlite", tmp_path)


# --- usearch: the graph is derived --------------------------------------------------------------


@pytest.mark.parametrize("_", [pytest.param(0, marks=USEARCH.marks)])
@pytest.mark.parametrize("damage", ["whole", "graph broken", "note broken", "lost", "stale"])
def test_a_graph_is_taken_if_it_is_whole_and_made_again_if_not(
    damage: str, _: int, tmp_path: Path
) -> None:
    store = filled(tmp_path, 80, "sqlite+usearch")
    store.update(store.entries()[4].id, "changed", unit(500), {}, "t")
    store.delete(store.entries()[9].id)
    found = store.search(unit(500), 5)
    assert found[0][0].content == "changed"
    store.close()
    [graph] = (tmp_path / "memory.sqlite-graphs").glob("*.usearch")
    note = graph.with_suffix(".json")
    match damage:
        case "graph broken":
            overwrite(graph, graph.stat().st_size // 2, b"\xff" * 64)
        case "note broken":
            note.write_text('{"keys": [1, 2]}')
        case "lost":
            shutil.rmtree(graph.parent)
        case "stale":
            exact = make("sqlite", tmp_path)
            exact.add("by a store without a graph", unit(501), {}, "t")
            exact.close()
    again = make("sqlite+usearch", tmp_path)
    assert (again._index._graph is not None) == (damage == "whole")
    assert again.search(unit(500), 5) == found
    if damage == "stale":
        assert again.search(unit(501), 1)[0][0].content == "by a store without a graph"


@pytest.mark.parametrize("_", [pytest.param(0, marks=USEARCH.marks)])
def test_the_graph_finds_nearly_what_exact_search_finds(_: int) -> None:
    from agemem_eval.baselines.approximate import UsearchStore

    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((3000, 32)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    exact = MemoryStore(None, embedder=EMBEDDER, dim=32)
    near = UsearchStore(None, embedder=EMBEDDER, dim=32, threshold=1000)
    for number, v in enumerate(vectors[:2500]):
        for store in (exact, near):
            store.add(str(number), v, {"odd": number % 2 == 1}, "t")
        if number == 2000:
            assert near.search(v, 1)[0][0].content == "2000"
    for number, entry in enumerate(exact.entries()):
        for store in (exact, near):
            if number % 5 == 0:
                store.delete(entry.id)
            elif number % 5 == 1 and number < 2500:
                store.update(entry.id, "changed", vectors[number // 5 + 2500], {"odd": True}, "t")
    hits = total = 0
    for query in vectors[::60]:
        for wanted in ({}, {"odd": True}):
            best = exact.search(query, 10, wanted)
            found = near.search(query, 10, wanted)
            assert len(found) == 10
            assert all(entry.metadata["odd"] for entry, _ in found if wanted)
            known = {entry.id: (entry, score) for entry, score in exact.search(query, 3000)}
            assert all(known[entry.id] == (entry, score) for entry, score in found)
            hits += len({e.id for e, _ in best} & {e.id for e, _ in found})
            total += 10
    assert hits / total > 0.95


# --- Qdrant -------------------------------------------------------------------------------------

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


# --- names --------------------------------------------------------------------------------------


def test_an_unknown_store_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"unknown store 'sqlit'; did you mean 'sqlite'\?"):
        open_store("sqlit", None, embedder=EMBEDDER, dim=DIM)


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("", "no address"),
        ("localhost:6333", "no address"),
        ("ftp://host", "no address"),
        ("http://", "no address"),
        ("http://host:port", "no address"),
        ("http://[::1", "no address"),
        ("http://me:secret@host:6333", "QDRANT_API_KEY"),
        ("http://host:6333?api_key=secret", "QDRANT_API_KEY"),
    ],
)
def test_a_server_with_no_address_or_a_secret_in_it(address: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem) as caught:
        check_store(f"qdrant:{address}")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "module", "extra"),
    [
        ("sqlite+usearch", "usearch", "ann"),
        ("qdrant", "qdrant_client", "qdrant"),
        ("qdrant:http://localhost:6333", "qdrant_client", "qdrant"),
    ],
)
def test_a_store_whose_package_is_missing(
    kind: str, module: str, extra: str, monkeypatch: Any
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"agemem-eval\[{extra}\]"):
        open_store(kind, None, embedder=EMBEDDER, dim=DIM)


@pytest.mark.parametrize("kind", ["sqlite", USEARCH, QDRANT])
def test_a_store_is_opened_by_its_name(kind: str, tmp_path: Path) -> None:
    check_store(kind)
    for directory in (None, tmp_path):
        store = open_store(kind, directory, embedder=EMBEDDER, dim=DIM, seed=3)
        store.open("s")
        id_ = store.add("x", unit(0), {}, "t")
        assert [entry.id for entry, _ in store.search(unit(0), 3)] == [id_]
        store.close()
