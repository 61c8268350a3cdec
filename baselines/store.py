"""The memory store: SQLite holds the truth, float32 matrices beside it answer searches exactly.

Every change is one transaction, committed before the call returns, so a killed process loses no
entry it was told of (WAL with `synchronous=NORMAL`: a power cut may lose the latest commits, never
the file). Time is a string handed in by the caller and ids come from a seeded counter: the same
episode gives the same store, byte for byte, on any day.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from sys import intern

import numpy as np

from ..harness.errors import DataError
from ..harness.types import Json
from .entries import (
    MAX_SNAPSHOT_BYTES,
    NOT_FINITE,
    SNAPSHOT_FORMAT,
    Entry,
    Row,
    check_dim,
    check_embedder,
    check_vector,
    entry_id,
    from_bytes,
    read_snapshot,
    to_bytes,
    valid_unicode,
    write_snapshot,
)
from .store_file import ADVICE, connect, errors
from .vectors import Vector, VectorIndex

__all__ = ["MAX_SNAPSHOT_BYTES", "SNAPSHOT_FORMAT", "Entry", "MemoryStore", "valid_unicode"]

_INSERT = (
    "INSERT INTO entries (scope, id, content, metadata, created, updated, vector) "
    "VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_ONE = (
    "SELECT seq, id, content, metadata, created, updated, vector FROM entries "
    "WHERE scope=? AND id=?"
)
_IN_ORDER = (  # the numbers first: rows that are sorted with their vectors take long
    "SELECT seq, id, content, metadata, created, updated, vector FROM entries "
    "WHERE seq IN (SELECT seq FROM entries WHERE scope=?) ORDER BY seq"
)
_LISTED = 1024  # changes of a scope, at least, of which a neighbour hears one by one


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
            self._db = connect(path)
        try:
            self.open("")
        except BaseException:  # whatever it was, the file is not left open
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
        with self._change(adds=1) as added:
            entry = Entry(entry_id(self._seed, self._scope, added), content, metadata, time, time)
            self._db.execute(_INSERT, self._row(entry, vector))
            self._list(entry.id)
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
            self._list(id_)
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
            self._list(id_)
        self._index.remove(id_)
        self._revision += 1

    # --- snapshots --------------------------------------------------------------------------

    def snapshot(self) -> bytes:
        """The open scope as bytes, in the format of `entries.write_snapshot`."""
        added = self._sync()
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
    def _change(self, adds: int = 0) -> Iterator[int]:
        """One transaction on the open scope; gives the number of entries ever added before."""
        self._sync()  # what takes long is read before others have to wait
        with self._errors(), self._transaction("BEGIN IMMEDIATE"):
            added = self._sync()
            if not self._revision:
                self._db.execute(
                    "INSERT OR IGNORE INTO scopes (scope, embedder) VALUES (?, ?)",
                    (self._scope, self._embedder),
                )
            yield added
            self._db.execute(
                "UPDATE scopes SET revision = revision + 1, added = added + ? WHERE scope=?",
                (adds, self._scope),
            )

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[None]:
        self._db.execute(begin)
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:  # an interrupt too: no half transaction
            if self._db.in_transaction:  # SQLite ends it by itself on some errors
                with contextlib.suppress(sqlite3.Error):  # the first error is the one to tell
                    self._db.execute("ROLLBACK")
            raise

    def _list(self, id_: str) -> None:
        """List the change that is under way, so that neighbours need not read all again."""
        revision = self._revision + 1
        self._db.execute("INSERT INTO changes VALUES (?, ?, ?)", (self._scope, revision, id_))
        if revision % _LISTED == 0:
            old = self._scope, revision - _LISTED
            self._db.execute("DELETE FROM changes WHERE scope=? AND revision<=?", old)

    def _sync(self) -> int:
        """Have the index tell what the file tells; the number of entries ever added."""
        with self._errors():
            revision, added = self._numbers()
            if revision == self._revision:
                return added
            whole = self._db.in_transaction
            with contextlib.nullcontext() if whole else self._transaction("BEGIN"):
                revision, added = self._numbers()
                changed = self._db.execute(
                    "SELECT id FROM changes WHERE scope=? AND revision>?",
                    (self._scope, self._revision),
                ).fetchall()
                if 0 <= self._revision == revision - len(changed):
                    self._follow(list(dict.fromkeys(id_ for (id_,) in changed)))
                    self._revision = revision
                else:
                    self._load()
                return added

    def _follow(self, ids: list[str]) -> None:
        """Bring what others added, updated or deleted into the index."""
        self._revision = -1  # until all is done
        found = []
        for id_ in ids:
            place = self._scope, id_
            row = self._db.execute(_ONE, place).fetchone()
            if row is not None:
                found.append(row)
            elif self._index.get(id_) is not None:
                self._index.remove(id_)
        for _, *row in sorted(found):  # new ones in order of arrival
            entry, vector = self._read(*row)
            if not np.isfinite(vector).all():
                raise self._broken(entry.id, NOT_FINITE)
            if self._index.get(entry.id) is None:
                self._index.append(entry, vector)
            else:
                self._index.replace(entry, vector)

    def _load(self) -> None:
        """Build the index of the open scope from the file."""
        self._revision = -1  # until all is read
        self._index = self._new_index()  # the old one goes first: it may be gigabytes
        revision, _ = self._numbers()
        index = self._new_index()
        rows = self._db.execute(_IN_ORDER, (self._scope,))
        for _, *row in rows:
            index.append(*self._read(*row))
        unsound = index.unsound()
        if unsound is not None:
            raise self._broken(unsound.id, NOT_FINITE)
        self._index = index
        self._revision = revision

    def _read(
        self, id_: str, content: str, metadata: str, created: str, updated: str, blob: bytes
    ) -> Row:
        try:
            value = json.loads(metadata)
            if not isinstance(value, dict):
                raise ValueError("metadata that are no JSON object")
            entry = Entry(id_, content, value, intern(created), intern(updated))
            return entry, from_bytes(blob, self._dim)
        except (ValueError, TypeError, RecursionError) as error:
            self._check_dim()
            raise self._broken(id_, str(error)) from error

    def _check_dim(self) -> None:
        """Vectors that all have one other length are not broken: another embedder made them.

        Raises:
            DataError: if they have.
        """
        query = "SELECT DISTINCT typeof(vector), length(vector) FROM entries WHERE scope=?"
        match self._db.execute(query, (self._scope,)).fetchmany(2):
            case [("blob", size)] if size and size % 4 == 0:
                check_dim(size // 4, self._dim, f"{self._where}: this memory")

    def _broken(self, id_: str, problem: str) -> DataError:
        problem = f"entry {id_!r} is broken ({problem})"
        return DataError(f"{self._where}: {problem}: {ADVICE['CORRUPT']}")

    def _known(self, id_: str) -> Entry:
        entry = self._index.get(id_)
        if entry is None:
            raise KeyError(id_)
        return entry

    def _numbers(self) -> tuple[int, int]:
        """The revision of the open scope, and the number of entries ever added."""
        query = "SELECT revision, added FROM scopes WHERE scope=?"
        row = self._db.execute(query, (self._scope,)).fetchone()
        return (0, 0) if row is None else (int(row[0]), int(row[1]))

    def _row(self, entry: Entry, vector: Vector) -> tuple[object, ...]:
        metadata = json.dumps(entry.metadata)
        blob = to_bytes(vector, self._dim)
        times = entry.created, entry.updated
        return self._scope, entry.id, entry.content, metadata, *times, blob

    def _errors(self) -> AbstractContextManager[None]:
        return errors(self._where)
