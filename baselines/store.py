"""The memory store: SQLite holds the truth, float32 matrices beside it answer searches exactly.

Every change is one transaction, committed before the call returns, so a killed process loses no
entry it was told of (WAL with `synchronous=NORMAL`: a power cut may lose the latest commits, never
the file). Time is a string handed in by the caller and ids come from a seeded counter: the same
episode gives the same store, byte for byte, on any day.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from sys import intern

from ..harness.errors import DataError
from ..harness.types import Json
from .entries import (
    MAX_SNAPSHOT_BYTES,
    SNAPSHOT_FORMAT,
    Entry,
    check_embedder,
    check_vector,
    entry_id,
    from_bytes,
    read_snapshot,
    to_bytes,
    valid_unicode,
    write_snapshot,
)
from .vectors import Vector, VectorIndex

__all__ = ["MAX_SNAPSHOT_BYTES", "SNAPSHOT_FORMAT", "Entry", "MemoryStore", "valid_unicode"]

LOCK_TIMEOUT_S = 30.0  # how long a change waits for another process's
_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE scopes (
    scope TEXT PRIMARY KEY,
    added INTEGER NOT NULL DEFAULT 0,     -- entries ever added: ids are never given twice
    revision INTEGER NOT NULL DEFAULT 0,  -- grows with every change, by whichever process
    embedder TEXT NOT NULL
);
CREATE TABLE entries (
    seq INTEGER PRIMARY KEY,
    scope TEXT NOT NULL,
    id TEXT NOT NULL,
    content TEXT NOT NULL,
    metadata TEXT NOT NULL,
    created TEXT NOT NULL,
    updated TEXT NOT NULL,
    vector BLOB NOT NULL,
    UNIQUE (scope, id)
);
CREATE INDEX arrival ON entries (scope, seq);  -- so that a scope is read without sorting it
"""
_INSERT = (
    "INSERT INTO entries (scope, id, content, metadata, created, updated, vector) "
    "VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_ADVICE = {  # by the first part of SQLite's name of the error
    "FULL": "the disk is full: nothing of this change was kept; free space, then resume",
    "BUSY": "another process keeps it locked: end that process, then resume",
    "LOCKED": "another process keeps it locked: end that process, then resume",
    "READONLY": "it cannot be written: give this user the right to, then resume",
    "CANTOPEN": "it cannot be opened: check that its folder exists and may be written",
    "IOERR": "the disk fails or is full: nothing of this change was kept; mend it, then resume",
    "NOTADB": "not a memory store, or a corrupt one: put a copy in its place, or move it away",
    "CORRUPT": "the file is corrupt: put a copy in its place, or move it away",
}


class MemoryStore:
    """Memories with embeddings, kept apart by scope; one scope is open at a time.

    Several stores, in one process or many, may use the same file, even the same scope: each
    notices what the others wrote before it answers. Any method raises DataError, in one line
    with the path, where the file cannot be read or written; the change is then not made at all.

    Args:
        path: The database file; None keeps everything in memory.
        embedder: Identity of the embedder; a scope made with another one is refused.
        dim: Length of a vector.
        seed: Ids are a function of seed, scope and the number of additions.

    Raises:
        DataError: if there is a file and it is no whole database of this kind.
    """

    def __init__(self, path: Path | None, *, embedder: Json, dim: int, seed: int = 0) -> None:
        self._where = str(path) if path is not None else ":memory:"
        self._embedder = json.dumps(embedder, sort_keys=True)
        self._dim = dim
        self._seed = seed
        self._scope = ""
        self._revision = -1
        self._index = self._new_index()
        with self._errors():
            if path is not None and not path.exists():
                _create(path)
            self._db = _connect(self._where)
            try:
                self._check(fresh=path is None)
                self.open("")
            except BaseException:
                self._db.close()
                raise

    def open(self, scope: str) -> None:
        """Work in this scope from now on; it is empty where nothing was ever added.

        Raises:
            DataError: if the scope was made with another embedder.
        """
        scope = valid_unicode(scope)
        with self._errors():
            row = self._db.execute("SELECT embedder FROM scopes WHERE scope=?", (scope,)).fetchone()
            if row is not None:
                check_embedder(row[0], self._embedder, f"{self._where}: this memory")
            if scope == self._scope:
                self._sync()
                return
            self._scope = scope
            self._load()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # --- reading ----------------------------------------------------------------------------

    def __len__(self) -> int:
        self._sync()
        return len(self._index)

    def get(self, id_: str) -> Entry | None:
        """The entry of that id, or None."""
        self._sync()
        return self._index.get(id_)

    def entries(self) -> list[Entry]:
        """All entries, oldest addition first."""
        self._sync()
        return list(self._index)

    def search(
        self, query: Vector, top_k: int, metadata_filter: Json | None = None
    ) -> list[tuple[Entry, float]]:
        """The most similar entries and their cosine similarities, best first.

        Args:
            query: Unit vector of shape (dim,).
            top_k: At most so many.
            metadata_filter: Only entries whose metadata equal it on every one of its keys.

        Raises:
            ValueError: if the query has another shape, or a number that is not finite.
        """
        check_vector(query, self._dim)
        self._sync()
        return self._index.search(query, top_k, valid_unicode(metadata_filter or {}))

    # --- writing ----------------------------------------------------------------------------
    # The index follows once the file has the change; until then its revision is behind, so
    # whatever comes between, the next call reads the file again.

    def add(self, content: str, vector: Vector, metadata: Json, time: str) -> str:
        """Add an entry and return its id."""
        metadata, content = valid_unicode(metadata), valid_unicode(content)
        with self._change() as added:
            entry = Entry(entry_id(self._seed, self._scope, added), content, metadata, time, time)
            self._db.execute(_INSERT, self._row(entry, vector))
            self._db.execute("UPDATE scopes SET added = added + 1 WHERE scope=?", (self._scope,))
        self._index.append(entry, vector)
        self._revision += 1
        return entry.id

    def update(
        self, id_: str, content: str, vector: Vector | None, metadata: Json, time: str
    ) -> None:
        """Replace content, metadata and, unless None, the vector; the id and its place stay.

        Raises:
            KeyError: if there is no such entry.
        """
        metadata, content = valid_unicode(metadata), valid_unicode(content)
        blob = None if vector is None else to_bytes(vector, self._dim)
        with self._change():
            entry = Entry(id_, content, metadata, self._known(id_).created, time)
            self._db.execute(
                "UPDATE entries SET content=?, metadata=?, updated=?, vector=coalesce(?, vector) "
                "WHERE scope=? AND id=?",
                (content, json.dumps(metadata), time, blob, self._scope, id_),
            )
        self._index.replace(entry, vector)
        self._revision += 1

    def delete(self, id_: str) -> None:
        """Remove an entry; its id is never given again.

        Raises:
            KeyError: if there is no such entry.
        """
        with self._change():
            self._known(id_)
            self._db.execute("DELETE FROM entries WHERE scope=? AND id=?", (self._scope, id_))
        self._index.remove(id_)
        self._revision += 1

    # --- snapshots --------------------------------------------------------------------------

    def snapshot(self) -> bytes:
        """The open scope as bytes, in the format of `entries.write_snapshot`."""
        self._sync()
        with self._errors():
            added = self._scope_number("added")
        rows = self._index.items()
        return write_snapshot(rows, embedder=self._embedder, dim=self._dim, added=added)

    def restore(self, snapshot: bytes) -> None:
        """Set the open scope to a snapshot, wholly or not at all; empty bytes empty it.

        Raises:
            DataError: if the bytes are no snapshot, or one made with another embedder.
        """
        added, rows = read_snapshot(snapshot, embedder=self._embedder, dim=self._dim)
        with self._change():
            self._db.execute("DELETE FROM entries WHERE scope=?", (self._scope,))
            self._db.executemany(_INSERT, (self._row(entry, vector) for entry, vector in rows))
            self._db.execute("UPDATE scopes SET added=? WHERE scope=?", (added, self._scope))
        self._index = index = self._new_index()
        for entry, vector in rows:
            index.append(entry, vector)
        self._revision += 1

    # --- keeping file and matrix together ---------------------------------------------------

    def _new_index(self) -> VectorIndex[Entry]:
        return VectorIndex(self._dim)

    @contextmanager
    def _change(self) -> Iterator[int]:
        """One transaction on the open scope; gives the number of entries ever added."""
        with self._errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._db.execute(
                    "INSERT OR IGNORE INTO scopes (scope, embedder) VALUES (?, ?)",
                    (self._scope, self._embedder),
                )
                self._sync()
                yield self._scope_number("added")
                self._db.execute(
                    "UPDATE scopes SET revision = revision + 1 WHERE scope=?", (self._scope,)
                )
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # SQLite ends it by itself on some errors
                    with contextlib.suppress(sqlite3.Error):  # the first error is the one to tell
                        self._db.execute("ROLLBACK")
                raise

    def _sync(self) -> None:
        with self._errors():
            if self._scope_number("revision") != self._revision:
                self._load()

    def _load(self) -> None:
        """Build the index of the open scope from the file."""
        self._revision = -1  # until all is read
        self._index = self._new_index()  # the old one goes first: it may be gigabytes
        revision = self._scope_number("revision")
        index = self._new_index()
        rows = self._db.execute(
            "SELECT id, content, metadata, created, updated, vector FROM entries "
            "WHERE scope=? ORDER BY seq",
            (self._scope,),
        )
        for id_, content, metadata, created, updated, blob in rows:
            try:
                value = json.loads(metadata)
                if not isinstance(value, dict):
                    raise ValueError("metadata that are no JSON object")
                entry = Entry(id_, content, value, intern(created), intern(updated))
                index.append(entry, from_bytes(blob, self._dim))
            except (ValueError, TypeError, RecursionError) as error:
                raise self._broken(id_, str(error)) from error
        unsound = index.unsound()
        if unsound is not None:
            raise self._broken(unsound.id, "a vector with numbers that are not finite")
        self._index = index
        self._revision = revision

    def _broken(self, id_: str, problem: str) -> DataError:
        problem = f"entry {id_!r} is broken ({problem})"
        return DataError(f"{self._where}: {problem}: {_ADVICE['CORRUPT']}")

    def _known(self, id_: str) -> Entry:
        entry = self._index.get(id_)
        if entry is None:
            raise KeyError(id_)
        return entry

    def _scope_number(self, column: str) -> int:
        query = f"SELECT {column} FROM scopes WHERE scope=?"  # noqa: S608 - one of our columns
        row = self._db.execute(query, (self._scope,)).fetchone()
        return 0 if row is None else int(row[0])

    def _row(self, entry: Entry, vector: Vector) -> tuple[object, ...]:
        metadata = json.dumps(entry.metadata)
        blob = to_bytes(vector, self._dim)
        times = entry.created, entry.updated
        return self._scope, entry.id, entry.content, metadata, *times, blob

    def _check(self, *, fresh: bool) -> None:
        """Refuse what is no whole store, before anything is written to it."""
        if fresh:
            self._db.executescript(_SCHEMA)
            return
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        tables = {name for (name,) in self._db.execute("SELECT name FROM sqlite_master")}
        if version == 0 or not {"scopes", "entries"} <= tables:
            raise DataError(f"{self._where}: {_ADVICE['NOTADB']}")
        if version != _SCHEMA_VERSION:
            raise DataError(f"{self._where}: made by another version of the memory store")
        problem = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if problem != "ok":
            problem = " ".join(problem.split())
            raise DataError(f"{self._where}: {_ADVICE['CORRUPT']} ({problem})")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Whatever SQLite or the disk refuses is one line with the path and what to do."""
        try:
            yield
        except sqlite3.ProgrammingError:
            raise  # our own mistake
        except sqlite3.Error as error:
            name = getattr(error, "sqlite_errorname", "").removeprefix("SQLITE_").split("_")[0]
            advice = _ADVICE.get(name, "not a usable memory store")
            raise DataError(f"{self._where}: {advice} ({error})") from error
        except OSError as error:
            raise DataError(f"{self._where}: not a usable memory store: {error}") from error


def _connect(where: str) -> sqlite3.Connection:
    db = sqlite3.connect(
        where, timeout=LOCK_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
    db.execute("PRAGMA synchronous=NORMAL")
    db.execute("PRAGMA wal_autocheckpoint=4000")  # 16 MB: a checkpoint waits for the disk
    return db


def _create(path: Path) -> None:
    """Make an empty store elsewhere and link it to its place: the file is never half made.

    So a file without the tables is one that lost them, and is refused.
    """
    journal = path.with_name(f"{path.name}-wal")
    if journal.exists() and not path.exists():  # asked last: another process may be faster
        raise DataError(f"{path}: lost, but {journal.name} is there: put a copy in its place")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
        made = Path(folder) / "new"
        db = _connect(str(made))
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.executescript(f"{_SCHEMA} PRAGMA user_version={_SCHEMA_VERSION};")
        finally:
            db.close()
        try:
            os.link(made, path)
        except FileExistsError:
            return  # another process was faster: its file is as good
        except OSError:  # a file system without links; nothing else is there yet
            os.replace(made, path)
