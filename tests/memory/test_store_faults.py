"""What a store says and keeps when its disk, its file, its neighbours or its server fail."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from store_kinds import DIM, ONE_LINE, close_all, contents, filled, make, overwrite, unit

from agemem_eval.baselines import store as sqlite_store
from agemem_eval.baselines import store_file
from agemem_eval.baselines.store import MemoryStore
from agemem_eval.harness.errors import DataError


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    close_all()


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


def test_vectors_that_all_have_another_length_tell_of_the_embedder(tmp_path: Path) -> None:
    filled(tmp_path).close()
    with pytest.raises(DataError, match=rf"vectors of {DIM} dimensions.*same --embedder"):
        make("sqlite", tmp_path, dim=DIM + 1)


def test_a_scope_that_could_not_be_read_is_never_empty_later(tmp_path: Path) -> None:
    store = make("sqlite", tmp_path)
    for scope in "ab":
        store.open(scope)
        store.add("x", unit(0), {}, "t")
    store.open("a")
    execute(tmp_path / "memory.sqlite", ["UPDATE entries SET metadata='{' WHERE scope='b'"])
    for work in (lambda: store.open("b"), lambda: len(store), lambda: store.search(unit(0), 1)):
        with pytest.raises(DataError, match="is broken"):
            work()


# --- no links, neighbours -----------------------------------------------------------------------


def no_links(monkeypatch: Any, before: Callable[[], object] = lambda: None) -> None:
    def link(*_: object) -> None:
        before()
        raise PermissionError("no links here")

    monkeypatch.setattr(store_file.os, "link", link)


def test_a_file_that_another_process_made_meanwhile_is_kept(
    tmp_path: Path, monkeypatch: Any
) -> None:
    def faster() -> None:
        monkeypatch.undo()
        filled(tmp_path).close()

    no_links(monkeypatch, faster)
    assert contents(make("sqlite", tmp_path)) == ["fact 0", "fact 1", "fact 2"]


def test_stores_that_make_the_file_at_once_lose_nothing_without_links(
    tmp_path: Path, monkeypatch: Any
) -> None:
    no_links(monkeypatch)

    def work(number: int) -> str:
        return make("sqlite", tmp_path / "new").add(str(number), unit(number), {}, "t")

    with ThreadPoolExecutor(8) as pool:
        told = set(pool.map(work, range(8)))
    assert {entry.id for entry in make("sqlite", tmp_path / "new").entries()} == told
    assert [p for p in (tmp_path / "new").iterdir() if p.name.startswith(".")] == []


def test_a_lock_that_a_killed_process_left_is_named(tmp_path: Path, monkeypatch: Any) -> None:
    no_links(monkeypatch)
    monkeypatch.setattr(store_file, "LOCK_TIMEOUT_S", 0.05)
    (tmp_path / ".memory.sqlite.lock").touch()
    with pytest.raises(DataError, match=r"\.memory\.sqlite\.lock is there: .* remove it"):
        make("sqlite", tmp_path)


def test_a_neighbour_follows_changes_without_reading_all_again(
    tmp_path: Path, monkeypatch: Any
) -> None:
    one, two = filled(tmp_path, 40), make("sqlite", tmp_path)
    kept = two.entries()
    monkeypatch.setattr(two, "_load", lambda: pytest.fail("all was read again"))
    one.delete(kept[3].id)
    one.update(kept[5].id, "new 5", unit(105), {}, "t")
    one.update(kept[6].id, "new 6", None, {}, "t")
    for i in range(3):
        one.add(f"more {i}", unit(200 + i), {}, "t")
    one.delete(one.add("gone", unit(300), {}, "t"))
    assert two.entries() == one.entries()
    assert two.snapshot() == one.snapshot()
    assert two.search(unit(105), 1)[0][0].content == "new 5"
    two.add("by the other", unit(7), {}, "t")
    assert contents(one)[-1] == "by the"


def test_more_changes_than_are_listed_are_read_all_at_once(
    tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(sqlite_store, "_LISTED", 4)
    one, two = filled(tmp_path, 3), make("sqlite", tmp_path)
    for changes in range(1, 12):
        for i in range(changes):
            one.add(f"{changes}.{i}", unit(i), {}, "t")
        assert two.entries() == one.entries()
        one.restore(one.snapshot() if changes % 2 else b"")
        one.add("after", unit(1), {}, "t")
        assert two.entries() == one.entries()
    [(listed,)] = one._db.execute("SELECT count(*) FROM changes").fetchall()
    assert listed <= 8


def test_a_neighbours_broken_entry_is_refused_until_it_is_mended(tmp_path: Path) -> None:
    one, two = filled(tmp_path), make("sqlite", tmp_path)
    id_ = one.add("new", unit(5), {}, "t")
    path = tmp_path / "memory.sqlite"
    for column, broken, whole in (
        ("metadata", "{", "{}"),
        ("vector", b"\xff" * 4 * DIM, unit(5).tobytes()),
    ):
        one.update(id_, "new", unit(5), {}, "t")
        execute(path, [f"UPDATE entries SET {column}=? WHERE id=?", [broken, id_]])
        for _ in range(2):
            with pytest.raises(DataError, match=r"is broken"):
                two.entries()
        execute(path, [f"UPDATE entries SET {column}=? WHERE id=?", [whole, id_]])
        assert contents(two) == ["fact 0", "fact 1", "fact 2", "new"]


def test_others_may_write_while_a_change_reads_all_again(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(store_file, "LOCK_TIMEOUT_S", 0.05)
    one, two = filled(tmp_path), make("sqlite", tmp_path)
    one.restore(one.snapshot())
    load = two._load

    def slow() -> None:
        monkeypatch.setattr(two, "_load", load)
        one.add("meanwhile", unit(5), {}, "t")
        load()

    monkeypatch.setattr(two, "_load", slow)
    two.add("later", unit(6), {}, "t")
    assert contents(one) == ["fact 0", "fact 1", "fact 2", "meanwhi", "later"]
    assert two.entries() == one.entries()


def test_a_file_from_before_changes_were_listed_is_used(tmp_path: Path) -> None:
    filled(tmp_path).close()
    old = [["DROP TABLE changes"], ["CREATE INDEX arrival ON entries (scope, seq)"]]
    execute(tmp_path / "memory.sqlite", *old)
    one, two = make("sqlite", tmp_path), make("sqlite", tmp_path)
    one.add("new", unit(5), {}, "t")
    assert contents(two) == ["fact 0", "fact 1", "fact 2", "new"]
