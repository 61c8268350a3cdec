"""The memory store: SQLite holds the truth, a float32 matrix beside it answers searches exactly.

Every change is one transaction, committed before the call returns, so a killed process loses no
entry it was told of (WAL with `synchronous=NORMAL`: a power cut may lose the latest commits, never
the file). Time is a string handed in by the caller and ids come from a seeded counter: the same
episode gives the same store, byte for byte, on any day.
"""

from __future__ import annotations

import base64
import json
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zstandard
from numpy.typing import NDArray

from ..harness.errors import DataError
from ..harness.types import Json
from .vectors import Vector, VectorIndex

SNAPSHOT_FORMAT = "agemem-store/1"
MAX_SNAPSHOT_BYTES = 8 << 30  # unpacked; a frame that claims more is refused unread
_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS scopes (
    scope TEXT PRIMARY KEY,
    added INTEGER NOT NULL DEFAULT 0,     -- entries ever added: ids are never given twice
    revision INTEGER NOT NULL DEFAULT 0,  -- grows with every change, by whichever process
    embedder TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS entries (
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
"""
_INSERT = (
    "INSERT INTO entries (scope, id, content, metadata, created, updated, vector) "
    "VALUES (?, ?, ?, ?, ?, ?, ?)"
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One memory."""

    id: str  # in the shape of a UUID
    content: str
    metadata: Json
    created: str  # logical time of the addition
    updated: str  # logical time of the last change


def valid_unicode(value: Any) -> Any:
    """A JSON value whose strings are valid Unicode: lone surrogates become U+FFFD.

    Models and tolerant parsers do produce them; databases, tokenizers and files refuse them.
    """
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {valid_unicode(key): valid_unicode(item) for key, item in value.items()}
    if isinstance(value, list):
        return [valid_unicode(item) for item in value]
    return value


class MemoryStore:
    """Memories with embeddings, kept apart by scope; one scope is open at a time.

    Several stores, in one process or many, may use the same file, even the same scope: each
    notices what the others wrote before it answers.

    Args:
        path: The database file; None keeps everything in memory.
        embedder: Identity of the embedder; a scope made with another one is refused.
        dim: Length of a vector.
        seed: Ids are a function of seed, scope and the number of additions.

    Raises:
        DataError: if the file is no database of this kind.
    """

    def __init__(self, path: Path | None, *, embedder: Json, dim: int, seed: int = 0) -> None:
        self._where = str(path) if path is not None else ":memory:"
        self._embedder = json.dumps(embedder, sort_keys=True)
        self._dim = dim
        self._seed = seed
        self._index: VectorIndex[Entry] = VectorIndex(dim)
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(
                self._where, timeout=30, isolation_level=None, check_same_thread=False
            )
            self._prepare()
            self.open("")
        except (sqlite3.Error, OSError) as error:
            raise DataError(f"{self._where}: not a usable memory store: {error}") from error

    def _prepare(self) -> None:
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, _SCHEMA_VERSION):
            raise DataError(f"{self._where}: made by another version of the memory store")
        self._db.executescript(f"{_SCHEMA} PRAGMA user_version={_SCHEMA_VERSION};")

    def open(self, scope: str) -> None:
        """Work in this scope from now on; it is empty where nothing was ever added.

        Raises:
            DataError: if the scope was made with another embedder.
        """
        scope = valid_unicode(scope)
        row = self._db.execute("SELECT embedder FROM scopes WHERE scope=?", (scope,)).fetchone()
        if row is not None:
            self._check_embedder(row[0], f"{self._where}: this memory")
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
        """
        self._sync()
        return self._index.search(query, top_k, metadata_filter or {})

    # --- writing ----------------------------------------------------------------------------

    def add(self, content: str, vector: Vector, metadata: Json, time: str) -> str:
        """Add an entry and return its id."""
        metadata = valid_unicode(metadata)
        with self._change() as added:
            key = json.dumps([self._seed, self._scope, added])
            entry = Entry(
                str(uuid.uuid5(uuid.NAMESPACE_OID, key)),
                valid_unicode(content),
                metadata,
                time,
                time,
            )
            self._db.execute(_INSERT, self._row(entry, vector))
            self._db.execute("UPDATE scopes SET added = added + 1 WHERE scope=?", (self._scope,))
            self._index.append(entry, vector)
        return entry.id

    def update(
        self, id_: str, content: str, vector: Vector | None, metadata: Json, time: str
    ) -> None:
        """Replace content, metadata and, unless None, the vector; the id and its place stay.

        Raises:
            KeyError: if there is no such entry.
        """
        with self._change():
            old = self._index.get(id_)
            if old is None:
                raise KeyError(id_)
            metadata = valid_unicode(metadata)
            entry = Entry(id_, valid_unicode(content), metadata, old.created, time)
            self._db.execute(
                "UPDATE entries SET content=?, metadata=?, updated=?, vector=coalesce(?, vector) "
                "WHERE scope=? AND id=?",
                (
                    entry.content,
                    json.dumps(metadata),
                    time,
                    None if vector is None else _to_bytes(vector, self._dim),
                    self._scope,
                    id_,
                ),
            )
            self._index.replace(entry, vector)

    def delete(self, id_: str) -> None:
        """Remove an entry; its id is never given again.

        Raises:
            KeyError: if there is no such entry.
        """
        with self._change():
            if self._index.get(id_) is None:
                raise KeyError(id_)
            self._db.execute("DELETE FROM entries WHERE scope=? AND id=?", (self._scope, id_))
            self._index.remove(id_)

    # --- snapshots --------------------------------------------------------------------------

    def snapshot(self) -> bytes:
        """The open scope as bytes: a zstd frame around UTF-8 JSON.

        The object has `format`, `embedder` (its identity), `dim`, `added` (entries ever added)
        and `entries`, each the fields of `Entry` and `vector`, base64 of little-endian float32.
        """
        self._sync()
        entries = [
            {**asdict(entry), "vector": base64.b64encode(_to_bytes(vector, self._dim)).decode()}
            for entry, vector in self._index.items()
        ]
        value = {
            "format": SNAPSHOT_FORMAT,
            "embedder": self._embedder,
            "dim": self._dim,
            "added": self._added(),
            "entries": entries,
        }
        return zstandard.compress(json.dumps(value).encode(), 3)

    def restore(self, snapshot: bytes) -> None:
        """Set the open scope to a snapshot, wholly or not at all; empty bytes empty it.

        Raises:
            DataError: if the bytes are no snapshot, or one made with another embedder.
        """
        added, rows = self._read_snapshot(snapshot) if snapshot else (0, [])
        with self._change():
            self._db.execute("DELETE FROM entries WHERE scope=?", (self._scope,))
            self._db.executemany(_INSERT, (self._row(entry, vector) for entry, vector in rows))
            self._db.execute("UPDATE scopes SET added=? WHERE scope=?", (added, self._scope))
            self._index = VectorIndex(self._dim)
            for entry, vector in rows:
                self._index.append(entry, vector)

    def _read_snapshot(self, snapshot: bytes) -> tuple[int, list[tuple[Entry, Vector]]]:
        try:
            if zstandard.frame_content_size(snapshot) > MAX_SNAPSHOT_BYTES:
                raise ValueError("larger than a snapshot may be")
            value = json.loads(zstandard.decompress(snapshot))
            if value["format"] != SNAPSHOT_FORMAT:
                raise ValueError(f"format {value['format']!r}")
            self._check_embedder(value["embedder"], "the memory snapshot")
            rows = [
                (_read_entry(e), _from_base64(e["vector"], self._dim)) for e in value["entries"]
            ]
            added = value["added"]
            if type(added) is not int or added < 0:
                raise ValueError(f"added {added!r}")
            if len({entry.id for entry, _ in rows}) < len(rows):
                raise ValueError("two entries with one id")
        except (zstandard.ZstdError, ValueError, KeyError, TypeError, RecursionError) as error:
            problem = f"{type(error).__name__}: {error}"
            raise DataError(f"not a memory snapshot ({problem})") from error
        return added, rows

    # --- keeping file and matrix together ---------------------------------------------------

    @contextmanager
    def _change(self) -> Iterator[int]:
        """One transaction on the open scope; gives the number of entries ever added."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.execute(
                "INSERT OR IGNORE INTO scopes (scope, embedder) VALUES (?, ?)",
                (self._scope, self._embedder),
            )
            self._sync()
            yield self._added()
            self._db.execute(
                "UPDATE scopes SET revision = revision + 1 WHERE scope=?", (self._scope,)
            )
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            self._revision = -1  # the matrix may be ahead of the file: read it again
            raise
        self._revision += 1

    def _sync(self) -> None:
        if self._current_revision() != self._revision:
            self._load()

    def _load(self) -> None:
        """Build the matrix of the open scope from the file."""
        self._revision = self._current_revision()
        self._index = VectorIndex(self._dim)
        rows = self._db.execute(
            "SELECT id, content, metadata, created, updated, vector FROM entries "
            "WHERE scope=? ORDER BY seq",
            (self._scope,),
        )
        for id_, content, metadata, created, updated, blob in rows:
            entry = Entry(id_, content, json.loads(metadata), created, updated)
            self._index.append(entry, np.frombuffer(blob, dtype="<f4"))

    def _current_revision(self) -> int:
        return self._scope_number("SELECT revision FROM scopes WHERE scope=?")

    def _added(self) -> int:
        return self._scope_number("SELECT added FROM scopes WHERE scope=?")

    def _scope_number(self, query: str) -> int:
        row = self._db.execute(query, (self._scope,)).fetchone()
        return 0 if row is None else int(row[0])

    def _row(self, entry: Entry, vector: Vector) -> tuple[object, ...]:
        metadata = json.dumps(entry.metadata)
        blob = _to_bytes(vector, self._dim)
        times = entry.created, entry.updated
        return self._scope, entry.id, entry.content, metadata, *times, blob

    def _check_embedder(self, found: str, what: str) -> None:
        if found != self._embedder:
            raise DataError(
                f"{what} was made with the embedder {found}, this run uses {self._embedder}: "
                "use the same --embedder, or start a new run"
            )


def _to_bytes(vector: Vector, dim: int) -> bytes:
    if vector.shape != (dim,):
        raise ValueError(f"a vector of shape {vector.shape}, expected ({dim},)")
    return vector.astype("<f4").tobytes()


def _from_base64(text: str, dim: int) -> Vector:
    vector: NDArray[np.float32] = np.frombuffer(base64.b64decode(text, validate=True), dtype="<f4")
    if vector.shape != (dim,) or not np.isfinite(vector).all():
        raise ValueError(f"a vector that is not {dim} finite numbers")
    return vector


def _read_entry(value: Json) -> Entry:
    texts = [value[key] for key in ("id", "content", "created", "updated")]
    if not all(isinstance(text, str) for text in texts) or not isinstance(value["metadata"], dict):
        raise TypeError("an entry with fields of a wrong type")
    id_, content, created, updated = map(valid_unicode, texts)
    return Entry(id_, content, valid_unicode(value["metadata"]), created, updated)
