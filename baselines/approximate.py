"""An approximate index beside the exact store, for memories beyond a hundred thousand entries.

A graph (HNSW, by usearch) proposes candidates; the exact vectors score and order them, and they
pass the filter, so a graph that errs costs recall and nothing else. It is derived from the store
and never the truth: it is built at the first search above a threshold, kept in a file beside the
database, and built again where that file is missing, broken or of other vectors. Nothing is ever
removed from the graph, and a key is never used twice: a vector that is gone leaves a key that
leads nowhere, and the graph is built anew once half of its keys are such.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..harness.errors import MissingExtraError
from ..harness.types import Json
from .entries import Entry
from .store import MemoryStore
from .vectors import Rows, Vector, VectorIndex

THRESHOLD = 100_000  # entries up to which search is exact: 7 ms a search
_FORMAT = "agemem-usearch/2"
_GRAPH: dict[str, Any] = {  # bf16 halves time and memory; the exact vectors score anyway
    "metric": "ip",
    "dtype": "bf16",
    "connectivity": 16,
    "expansion_add": 64,
    "expansion_search": 128,
}
_MOST_CANDIDATES = 2048  # of which too few passed the filter: a filter so rare is scanned for
_GONE = -1


class ApproximateIndex(VectorIndex[Entry]):
    """A `VectorIndex` that asks a graph for candidates when it holds more than `threshold`.

    Args:
        dim: Length of a vector.
        threshold: Up to so many items, search is exact.

    Raises:
        MissingExtraError: if usearch is not installed.
    """

    def __init__(self, dim: int, threshold: int = THRESHOLD) -> None:
        super().__init__(dim)
        try:
            from usearch.index import Index
        except ImportError as error:
            raise MissingExtraError("usearch", "ann") from error
        self._make_graph = Index
        self._threshold = threshold
        self._graph: Any = None  # built when first needed
        self._row_at = array("q")  # by key of the graph: the row, or _GONE
        self._key_of = array("q")  # by row: its key, or _GONE while it is not in the graph
        self._waiting: dict[int, None] = {}  # rows to be put into the graph
        self._changed = False  # since it was saved or loaded

    def append(self, item: Entry, vector: Vector) -> None:
        """Add an item at the end."""
        super().append(item, vector)
        self._wait(len(self._rows) - 1)

    def replace(self, item: Entry, vector: Vector | None) -> None:
        """Put an item in the place of the one with its id; None keeps the vector."""
        super().replace(item, vector)
        if vector is not None and self._graph is not None:
            row = self._row_of[item.id]
            self._forget(row)
            self._wait(row)

    def remove(self, id_: str) -> None:
        """Remove the item of that id."""
        self._forget(self._row_of[id_])
        super().remove(id_)

    def search(
        self, query: Vector, top_k: int, filter_: Mapping[str, Any]
    ) -> list[tuple[Entry, float]]:
        """Nearly the `top_k` best items that pass the filter, by similarity, then by arrival."""
        if len(self) <= self._threshold or top_k < 1 or 4 * top_k > _MOST_CANDIDATES:
            return super().search(query, top_k, filter_)
        self._prepare()
        wanted = max(4 * top_k, 64)
        while wanted <= _MOST_CANDIDATES:
            rows = self._passing(self._proposed(query, wanted), filter_)
            if len(rows) >= top_k:
                return self._best(rows, query, top_k)
            wanted *= 4
        return super().search(query, top_k, filter_)

    # --- the graph --------------------------------------------------------------------------

    def _prepare(self) -> None:
        """Have every row in the graph, and not many keys in it that lead nowhere."""
        if self._graph is None or 2 * len(self) < len(self._row_at):
            self._drop()
            self._graph = self._make_graph(ndim=self._dim, **_GRAPH)
            for row in np.flatnonzero(self._alive[: len(self._rows)]).tolist():
                self._wait(row)
        rows = np.fromiter(self._waiting, dtype=np.intp)
        for start in range(0, len(rows), 8192):
            part = rows[start : start + 8192]
            keys = np.arange(len(self._row_at), len(self._row_at) + len(part))
            # One thread: the graph depends on the order of insertion, and results on the graph.
            self._graph.add(keys, self._vectors(part), threads=1)
            self._row_at.extend(part.tolist())
            for key, row in zip(keys.tolist(), part.tolist(), strict=True):
                self._key_of[row] = key
        self._waiting.clear()

    def _proposed(self, query: Vector, count: int) -> Rows:
        keys = self._graph.search(query.astype(np.float32, copy=False), count, threads=1).keys
        keys = keys[keys < len(self._row_at)].astype(np.intp)
        rows = np.frombuffer(self._row_at, dtype=np.int64)[keys]
        return np.unique(rows[rows != _GONE])  # in order of arrival

    def _wait(self, row: int) -> None:
        while len(self._key_of) <= row:
            self._key_of.append(_GONE)
        if self._graph is not None:
            self._waiting[row] = None
            self._changed = True

    def _forget(self, row: int) -> None:
        self._waiting.pop(row, None)
        self._changed = True
        if self._key_of[row] != _GONE:
            self._row_at[self._key_of[row]] = _GONE
            self._key_of[row] = _GONE

    def _drop(self) -> None:
        self._graph = None
        self._row_at = array("q")
        self._key_of = array("q", [_GONE]) * len(self._rows)
        self._waiting.clear()

    def _pack(self) -> None:
        super()._pack()  # every row moves, and half of the graph's keys lead nowhere
        self._drop()

    # --- its file ---------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        """Write the graph, if it is new, with the checksum of the vectors it is of."""
        if self._graph is None or not self._changed:
            return
        self._prepare()
        path.parent.mkdir(parents=True, exist_ok=True)
        bare = path.with_suffix(f".{os.getpid()}.tmp")
        rows = np.flatnonzero(self._alive[: len(self._rows)]).tolist()
        try:
            self._graph.save(str(bare))
            keys = [self._key_of[row] for row in rows]
            description = {**self._identity(), "sha256": _sha256(bare, keys), "keys": keys}
            os.replace(bare, path)
            bare.write_text(json.dumps(description))
            os.replace(bare, path.with_suffix(".json"))  # last: it vouches for the graph
            self._changed = False
        finally:
            bare.unlink(missing_ok=True)

    def load(self, path: Path) -> bool:
        """Take the graph of a file, if it is whole and of exactly these vectors."""
        if len(self) <= self._threshold or self._graph is not None:
            return False
        try:
            found = json.loads(path.with_suffix(".json").read_text())
            keys = found.pop("keys")
            # The library reads the bytes unchecked, so it is only given what it wrote itself.
            if found != {**self._identity(), "sha256": _sha256(path, keys)}:
                return False
            graph = self._make_graph(ndim=self._dim, **_GRAPH)
            graph.load(str(path))
            _check_keys(keys, len(self), len(graph))
        except Exception:  # noqa: BLE001 - whatever is wrong with it, it can be built again
            return False
        self._drop()
        self._row_at = array("q", [_GONE]) * len(graph)  # nothing ever leaves the graph
        rows = np.flatnonzero(self._alive[: len(self._rows)]).tolist()
        for row, key in zip(rows, keys, strict=True):
            self._row_at[key] = row
            self._key_of[row] = key
        self._graph = graph
        self._changed = False
        return True

    def _identity(self) -> Json:
        """What a graph must be of to be this index's: library, settings, vectors in order."""
        from usearch import __version__

        digest = hashlib.sha256()
        for start, chunk in self._used():
            digest.update(self._kept(start, chunk).tobytes())
        return {
            "format": _FORMAT,
            "usearch": __version__,
            "graph": _GRAPH,
            "count": len(self),
            "dim": self._dim,
            "vectors": digest.hexdigest(),
        }


def _sha256(path: Path, keys: list[int]) -> str:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    digest.update(json.dumps(keys).encode())
    return digest.hexdigest()


def _check_keys(keys: Any, rows: int, graph: int) -> None:
    """Refuse what cannot be the keys of that many rows in a graph of that many keys."""
    if not isinstance(keys, list) or len(keys) != rows or len(set(keys)) != rows:
        raise ValueError("not a key for each row")
    if not all(type(key) is int and 0 <= key < graph for key in keys):
        raise ValueError("keys that are not in the graph")


class UsearchStore(MemoryStore):
    """A `MemoryStore` whose searches are approximate above a threshold.

    What an approximate search misses depends on how the graph came about. A store that was closed
    takes its graph again, and what other processes add, update or delete is put into it. Where
    there is no such graph (the process was killed, the scope was restored to something else, a
    neighbour did so, or made more changes at once than the file lists) it is built in the order of
    arrival, some minutes for 1e5 entries, and may answer a few searches otherwise than the one
    that had grown. Results that must be the same however often a run was cut off need the exact
    store.

    Args:
        path: The database file; the graphs lie in a folder beside it. None keeps everything in
            memory.
        embedder: As for `MemoryStore`.
        dim: As for `MemoryStore`.
        seed: As for `MemoryStore`.
        threshold: Up to so many entries, search is exact.

    Raises:
        MissingExtraError: if usearch is not installed.
        DataError: if there is a file and it is no whole database of this kind.
    """

    _index: ApproximateIndex

    def __init__(
        self,
        path: Path | None,
        *,
        embedder: Json,
        dim: int,
        seed: int = 0,
        threshold: int = THRESHOLD,
    ) -> None:
        self._threshold = threshold
        self._folder = path.with_name(f"{path.name}-graphs") if path is not None else None
        super().__init__(path, embedder=embedder, dim=dim, seed=seed)

    def open(self, scope: str) -> None:
        """Work in this scope from now on; see `MemoryStore.open`."""
        self._keep()
        super().open(scope)

    def close(self) -> None:
        """Keep the graph and close the file."""
        self._keep()
        super().close()

    def restore(self, snapshot: bytes) -> None:
        """Set the open scope to a snapshot; see `MemoryStore.restore`."""
        self._keep()  # what is restored is often what is there
        super().restore(snapshot)
        self._take()

    def _new_index(self) -> ApproximateIndex:
        return ApproximateIndex(self._dim, self._threshold)

    def _load(self) -> None:
        super()._load()
        self._take()

    def _keep(self) -> None:
        if self._folder is not None:
            with contextlib.suppress(OSError, RuntimeError):  # a full disk: it is only derived
                self._index.save(self._file(self._folder))

    def _take(self) -> None:
        if self._folder is not None:
            self._index.load(self._file(self._folder))

    def _file(self, folder: Path) -> Path:
        name = hashlib.sha256(self._scope.encode()).hexdigest()[:32]
        return folder / f"{name}.usearch"
