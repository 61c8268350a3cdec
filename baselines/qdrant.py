"""The memory store in Qdrant: its server for memories of any size, its local mode for small ones.

A directory has one collection. Its points are the entries, a record for each scope, and a mark that
the collection is ours. Qdrant has no transactions, so each change is one point, or ends in one: a
restored scope is written as a new generation, and the scope's record, which names the generation
to read, is changed last. One process works on a scope at a time.

Qdrant's own filters find an array that holds a value where the value is asked for, and cannot ask
for numbers with a fraction or for objects. So each pair of key and value of the metadata is kept as
a digest of its canonical JSON, and a filter asks for digests: equality is that of `same_json`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..harness.errors import DataError
from ..harness.types import Json
from .entries import (
    Entry,
    Row,
    check_embedder,
    check_vector,
    entry_id,
    read_snapshot,
    to_bytes,
    valid_unicode,
    write_snapshot,
)
from .qdrant_link import Collection, point_id
from .vectors import ROUNDING, Vector

_EXACT_UP_TO = 100_000  # entries of a scope; beyond, the server may use its approximate index
_PAGE = 2048  # points read at once
_BATCH = 256  # points written at once


@dataclass(slots=True)
class _Scope:
    """What is known of a scope beside its entries."""

    embedder: str
    added: int = 0  # entries ever added: ids are never given twice
    next: int = 0  # place of the next entry in the order of arrival
    generation: int = 0  # grows when the scope is replaced by a snapshot


class QdrantStore:
    """Memories with embeddings, kept apart by scope; the interface is `stores.Store`.

    Args:
        directory: Where the files of the local mode lie, or the name of the server's collection;
            None keeps nothing beyond `close`.
        embedder: Identity of the embedder; a scope made with another one is refused.
        dim: Length of a vector.
        seed: Ids are a function of seed, scope and the number of additions.
        url: Address of a server; None is the local mode, in this process.

    Raises:
        MissingExtraError: if qdrant-client is not installed.
        DataError: if what is there is no whole store.
        StoreUnavailable: if the server does not answer.
    """

    def __init__(
        self,
        directory: Path | None,
        *,
        embedder: Json,
        dim: int,
        seed: int = 0,
        url: str | None = None,
    ) -> None:
        self._collection = Collection(directory, dim, url)
        self._models = self._collection.models
        self._ask = self._collection.ask
        self._embedder = json.dumps(embedder, sort_keys=True)
        self._dim = dim
        self._seed = seed
        try:
            self.open("")
        except BaseException:  # whatever it was, no client is left open
            self.close()
            raise

    def open(self, scope: str) -> None:
        """Work in this scope from now on; it is empty where nothing was ever added.

        Raises:
            DataError: if the scope was made with another embedder.
        """
        scope = valid_unicode(scope)
        found = self._read_scope(scope)
        check_embedder(found.embedder, self._embedder, f"{self._collection.where}: this memory")
        self._scope = scope

    def close(self) -> None:
        """Release the folder or the connection; a store without a directory is removed."""
        self._collection.close()

    # --- reading ----------------------------------------------------------------------------

    def __len__(self) -> int:
        return int(self._ask("count", count_filter=self._filter({}), exact=True).count)

    def get(self, id_: str) -> Entry | None:
        """The entry of that id, or None."""
        point = self._point(self._read_scope(self._scope), id_)
        found = self._ask("retrieve", ids=[point], with_payload=True)
        return self._entry(found[0].payload) if found else None

    def entries(self) -> list[Entry]:
        """All entries, oldest addition first."""
        return [entry for entry, _ in self._rows()]

    def search(
        self, query: Vector, top_k: int, metadata_filter: Json | None = None
    ) -> list[tuple[Entry, float]]:
        """The most similar entries and their similarities, best first; see `MemoryStore.search`."""
        check_vector(query, self._dim)
        if top_k < 1:
            return []
        scope = self._read_scope(self._scope)
        wanted = self._filter(metadata_filter or {}, scope)
        more: Json = {}
        if self._collection.on_server:
            exact = scope.next <= _EXACT_UP_TO  # no count: entries since the last restore
            more["search_params"] = self._models.SearchParams(exact=exact)
        limit = top_k + 8
        while True:
            points = self._ask(
                "query_points",
                query=query.astype(np.float32).tolist(),
                query_filter=wanted,
                limit=limit,
                with_payload=True,
                with_vectors=True,
                **more,
            ).points
            # All that may tie with the last one are needed: the oldest of them come first.
            if len(points) < limit or points[-1].score < points[top_k - 1].score - ROUNDING:
                break
            limit *= 4
        if not points:
            return []
        vectors = np.array([point.vector for point in points], dtype=np.float32)
        scores = (vectors * query.astype(np.float64)).sum(axis=1)
        order = np.lexsort(([point.payload["seq"] for point in points], -scores))[:top_k]
        return [(self._entry(points[i].payload), float(scores[i])) for i in order]

    # --- writing ----------------------------------------------------------------------------

    def add(self, content: str, vector: Vector, metadata: Json, time: str) -> str:
        """Add an entry and return its id."""
        to_bytes(vector, self._dim)
        scope = self._read_scope(self._scope)
        id_ = entry_id(self._seed, self._scope, scope.added)
        entry = Entry(id_, valid_unicode(content), valid_unicode(metadata), time, time)
        place = scope.next
        scope.added += 1
        scope.next += 1
        self._write_scope(scope)  # first: a process killed in between has skipped an id
        self._ask("upsert", points=[self._struct(scope, place, entry, vector)], wait=True)
        return id_

    def update(
        self, id_: str, content: str, vector: Vector | None, metadata: Json, time: str
    ) -> None:
        """Replace content, metadata and, unless None, the vector; the id and its place stay.

        Raises:
            KeyError: if there is no such entry.
        """
        if vector is not None:
            to_bytes(vector, self._dim)
        scope = self._read_scope(self._scope)
        point = self._point(scope, id_)
        found = self._ask("retrieve", ids=[point], with_payload=True)
        if not found:
            raise KeyError(id_)
        old = found[0].payload
        entry = Entry(id_, valid_unicode(content), valid_unicode(metadata), old["created"], time)
        if vector is not None:
            struct = self._struct(scope, old["seq"], entry, vector)
            self._ask("upsert", points=[struct], wait=True)
        else:
            payload = self._payload(scope, old["seq"], entry)
            self._ask("overwrite_payload", payload=payload, points=[point], wait=True)

    def delete(self, id_: str) -> None:
        """Remove an entry; its id is never given again.

        Raises:
            KeyError: if there is no such entry.
        """
        point = self._point(self._read_scope(self._scope), id_)
        if not self._ask("retrieve", ids=[point], with_payload=False):
            raise KeyError(id_)
        self._ask("delete", points_selector=[point], wait=True)

    # --- snapshots --------------------------------------------------------------------------

    def snapshot(self) -> bytes:
        """The open scope as bytes, in the format of `entries.write_snapshot`."""
        added = self._read_scope(self._scope).added
        rows = self._rows(vectors=True)
        return write_snapshot(rows, embedder=self._embedder, dim=self._dim, added=added)

    def restore(self, snapshot: bytes) -> None:
        """Set the open scope to a snapshot, wholly or not at all; empty bytes empty it.

        Raises:
            DataError: if the bytes are no snapshot, or one made with another embedder.
        """
        added, rows = read_snapshot(snapshot, embedder=self._embedder, dim=self._dim)
        old = self._read_scope(self._scope)
        new = _Scope(self._embedder, added, len(rows), old.generation + 1)
        # What attempts left that did not come to their end: points that no record names yet, and
        # those of the generation before, if the last one ended between record and removal.
        self._remove(old.generation - 1, new.generation)
        for start in range(0, len(rows), _BATCH):
            part = enumerate(rows[start : start + _BATCH], start)
            points = [self._struct(new, place, entry, vector) for place, (entry, vector) in part]
            self._ask("upsert", points=points, wait=True)
        self._write_scope(new)
        self._remove(old.generation)

    # --- points -----------------------------------------------------------------------------

    def _rows(self, *, vectors: bool = False) -> list[Row]:
        none = np.zeros(0, dtype=np.float32)
        found = [
            (point.payload["seq"], self._entry(point.payload), point.vector if vectors else None)
            for point in self._scroll(vectors)
        ]
        found.sort(key=lambda row: row[0])
        return [
            (entry, none if vector is None else np.array(vector, dtype=np.float32))
            for _, entry, vector in found
        ]

    def _scroll(self, vectors: bool) -> Iterator[Any]:
        wanted, offset = self._filter({}), None
        while True:
            points, offset = self._ask(
                "scroll",
                scroll_filter=wanted,
                limit=_PAGE,
                offset=offset,
                with_payload=True,
                with_vectors=vectors,
            )
            yield from points
            if offset is None:
                return

    def _filter(self, metadata: Json, scope: _Scope | None = None) -> Any:
        scope = scope or self._read_scope(self._scope)
        wanted = [
            ("place", self._place(scope.generation)),
            *(("match", d) for d in _digests(metadata)),
        ]
        match, condition = self._models.MatchValue, self._models.FieldCondition
        must = [condition(key=key, match=match(value=value)) for key, value in wanted]
        return self._models.Filter(must=must)

    def _remove(self, *generations: int) -> None:
        places = [self._place(generation) for generation in generations]
        match = self._models.MatchAny(any=places)
        condition = self._models.FieldCondition(key="place", match=match)
        selector = self._models.FilterSelector(filter=self._models.Filter(must=[condition]))
        self._ask("delete", points_selector=selector, wait=True)

    def _place(self, generation: int) -> str:
        return json.dumps([self._scope, generation])

    def _point(self, scope: _Scope, id_: str) -> str:
        return point_id("entry", self._place(scope.generation), id_)

    def _payload(self, scope: _Scope, place: int, entry: Entry) -> Json:
        return {
            **asdict(entry),
            "metadata": json.dumps(entry.metadata),  # as text: numbers come back as they were
            "place": self._place(scope.generation),
            "seq": place,
            "match": list(_digests(entry.metadata)),
        }

    def _struct(self, scope: _Scope, place: int, entry: Entry, vector: Vector) -> Any:
        return self._models.PointStruct(
            id=self._point(scope, entry.id),
            vector=vector.astype(np.float32).tolist(),
            payload=self._payload(scope, place, entry),
        )

    def _entry(self, payload: Json) -> Entry:
        try:
            texts = [payload[key] for key in ("id", "content", "created", "updated")]
            id_, content, created, updated = texts
            metadata = json.loads(payload["metadata"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{self._collection.where}: an entry is broken ({error!r})") from error
        return Entry(id_, content, metadata, created, updated)

    def _read_scope(self, scope: str) -> _Scope:
        record = self._collection.record("scope", scope)
        if record is None:
            return _Scope(self._embedder)
        try:
            return _Scope(**json.loads(record))
        except (ValueError, TypeError) as error:
            where = self._collection.where
            raise DataError(f"{where}: the record of scope {scope!r} is broken") from error

    def _write_scope(self, scope: _Scope) -> None:
        self._collection.keep(json.dumps(asdict(scope)), "scope", self._scope)


def _digests(metadata: Json) -> Iterable[str]:
    for key, value in valid_unicode(metadata).items():
        text = json.dumps([key, _canonical(value)], sort_keys=True)
        yield hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _canonical(value: Any) -> Any:
    """Equal JSON values have the same text: 1.0 is 1."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    return value
