"""Exact cosine search over the entries of one scope, in float32 matrices."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]
Rows = NDArray[np.intp]
ROUNDING = 1e-5  # more than float32 can err on a dot product of unit vectors
CHUNK = 16_384  # rows of a matrix: growth never copies more
_RESCORED = 4096  # rows rescored at once


def same_json(one: Any, other: Any) -> bool:
    """Equality of JSON values, at any depth: true and 1 are different, 1 and 1.0 are not."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_json(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_json, one, other))
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def passes(metadata: Mapping[str, Any], filter_: Mapping[str, Any]) -> bool:
    """Whether metadata equal a filter on every key of it."""
    return all(
        key in metadata and same_json(metadata[key], wanted) for key, wanted in filter_.items()
    )


class EpisodeVectors:
    """Vectors of texts; each text is embedded, and booked, once until `clear`.

    Args:
        embed: Gives the vectors of texts, shape (len(texts), dim).
    """

    def __init__(self, embed: Callable[[Sequence[str]], Awaitable[Vector]]) -> None:
        self._embed = embed
        self._known: dict[str, Vector] = {}

    async def of(self, texts: Sequence[str]) -> list[Vector]:
        """The vectors, in the order of the texts."""
        missing = [text for text in dict.fromkeys(texts) if text not in self._known]
        for text, vector in zip(missing, await self._embed(missing), strict=True):
            self._known[text] = np.array(vector)
        return [self._known[text] for text in texts]

    def clear(self) -> None:
        """Forget them, so that an episode's ledger does not depend on earlier ones."""
        self._known.clear()


class Item(Protocol):
    """What the index holds beside a vector."""

    @property
    def id(self) -> str:
        """Unique in the index."""
        ...

    @property
    def metadata(self) -> dict[str, Any]:
        """What a filter looks at."""
        ...


T = TypeVar("T", bound=Item)


class VectorIndex(Generic[T]):
    """Items in order of arrival, each with a unit vector of length `dim`.

    The vectors lie in chunks of `CHUNK` rows, the first of which grows by doubling, so that a
    million entries are never copied whole. A removed item leaves an empty row, and the rows are
    packed once half of them are empty: every operation is O(dim) on average.
    """

    def __init__(self, dim: int) -> None:
        self._dim = dim
        self._chunks: list[Vector] = [np.zeros((16, dim), dtype=np.float32)]
        self._alive = np.zeros(16, dtype=np.bool_)
        self._rows: list[T | None] = []
        self._row_of: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._row_of)

    def __iter__(self) -> Iterator[T]:
        return (item for item in self._rows if item is not None)

    def items(self) -> Iterator[tuple[T, Vector]]:
        """Items with their vectors, in order of arrival."""
        return (
            (item, self._vector(row)) for row, item in enumerate(self._rows) if item is not None
        )

    def get(self, id_: str) -> T | None:
        """The item of that id, or None."""
        row = self._row_of.get(id_)
        return None if row is None else self._rows[row]

    def unsound(self) -> T | None:
        """The first item whose vector has a number that is not finite, or None."""
        if all(np.isfinite(chunk).all() for _, chunk in self._used()):
            return None
        broken = (item for item, vector in self.items() if not np.isfinite(vector).all())
        return next(broken, None)

    def append(self, item: T, vector: Vector) -> None:
        """Add an item at the end."""
        row = len(self._rows)
        if row == self._capacity():
            self._grow()
        self._vector(row)[:] = vector
        self._alive[row] = True
        self._rows.append(item)
        self._row_of[item.id] = row

    def replace(self, item: T, vector: Vector | None) -> None:
        """Put an item in the place of the one with its id; None keeps the vector."""
        row = self._row_of[item.id]
        self._rows[row] = item
        if vector is not None:
            self._vector(row)[:] = vector

    def remove(self, id_: str) -> None:
        """Remove the item of that id."""
        row = self._row_of.pop(id_)
        self._rows[row] = None
        self._alive[row] = False
        if len(self._rows) > 64 and 2 * len(self._row_of) < len(self._rows):
            self._pack()

    def search(
        self, query: Vector, top_k: int, filter_: Mapping[str, Any]
    ) -> list[tuple[T, float]]:
        """The `top_k` best items that pass the filter, by similarity, then by arrival.

        Scores do not depend on where a row lies in a matrix: a first pass in float32 finds the
        candidates, and these are scored again, each by itself, in float64.
        """
        if top_k < 1 or not self._row_of:
            return []
        return self._best(self._candidates(self._scores(query), top_k, filter_), query, top_k)

    def _candidates(self, scores: Vector, top_k: int, filter_: Mapping[str, Any]) -> Rows:
        """Rows, in order, that hold the best `top_k` of those that pass the filter.

        The filter is asked of the best first, and of more only while too few have passed.
        """
        if len(self._row_of) < len(self._rows):
            scores[~self._alive[: len(self._rows)]] = -np.inf
        wanted = max(top_k, 64) if filter_ else top_k
        while wanted < len(self._row_of):
            worst = np.partition(scores, -wanted)[-wanted]
            rows = np.flatnonzero(scores >= worst - ROUNDING)
            if filter_:
                rows = self._passing(rows, filter_)
            if np.count_nonzero(scores[rows] >= worst) >= top_k:
                return rows
            wanted *= 8
        return self._passing(np.flatnonzero(self._alive[: len(self._rows)]), filter_)

    def _passing(self, rows: Rows, filter_: Mapping[str, Any]) -> Rows:
        kept: list[int] = rows.tolist()
        items = self._rows
        for key, wanted in filter_.items():  # quick and coarse first: there may be a million
            kept = [
                row
                for row in kept
                if (item := items[row]) is not None and item.metadata.get(key) == wanted
            ]
        if filter_:
            metadata = ((row, item.metadata) for row in kept if (item := items[row]) is not None)
            kept = [row for row, found in metadata if passes(found, filter_)]
        return np.array(kept, dtype=np.intp)

    def _best(self, rows: Rows, query: Vector, top_k: int) -> list[tuple[T, float]]:
        """The best of some rows, which are in order of arrival, by their exact scores."""
        wide = query.astype(np.float64)
        parts = [
            (self._vectors(rows[start : start + _RESCORED]) * wide).sum(axis=1)
            for start in range(0, len(rows), _RESCORED)
        ]
        exact = np.concatenate(parts) if parts else np.zeros(0)
        best = np.argsort(-exact, kind="stable")[:top_k]  # stable: ties stay in order of arrival
        found = ((self._rows[rows[i]], float(exact[i])) for i in best)
        return [(item, score) for item, score in found if item is not None]

    # --- the rows ---------------------------------------------------------------------------

    def _capacity(self) -> int:
        return len(self._chunks[0]) + CHUNK * (len(self._chunks) - 1)

    def _grow(self) -> None:
        first = self._chunks[0]
        if len(first) < CHUNK:
            self._chunks[0] = np.concatenate([first, np.zeros_like(first)])
        else:
            self._chunks.append(np.zeros((CHUNK, self._dim), dtype=np.float32))
        if len(self._alive) < self._capacity():  # doubles: a byte a row
            self._alive = np.concatenate([self._alive, np.zeros_like(self._alive)])

    def _vector(self, row: int) -> Vector:
        vector: Vector = self._chunks[row // CHUNK][row % CHUNK]
        return vector

    def _vectors(self, rows: Rows) -> Vector:
        found = np.empty((len(rows), self._dim), dtype=np.float32)
        chunks = rows // CHUNK
        for number in np.unique(chunks).tolist():
            here = chunks == number
            found[here] = self._chunks[number][rows[here] % CHUNK]
        return found

    def _used(self) -> Iterator[tuple[int, Vector]]:
        """The filled part of each chunk, with its first row."""
        for number, chunk in enumerate(self._chunks):
            start = number * CHUNK
            if start < len(self._rows):
                yield start, chunk[: len(self._rows) - start]

    def _scores(self, query: Vector) -> Vector:
        scores = np.empty(len(self._rows), dtype=np.float32)
        narrow = query.astype(np.float32, copy=False)  # float64 would cost five times as much
        for start, chunk in self._used():
            # A dot product a row, in this thread. As one product of matrix and vector it would be
            # given to BLAS's threads, which take four times as long once the cores are busy.
            out = scores[start : start + len(chunk), None]
            np.matmul(chunk[:, None, :], narrow, out=out)
        return scores

    def _pack(self) -> None:
        """Close the gaps, in place: a row never moves to behind where it was."""
        target = 0
        for start, chunk in list(self._used()):
            for vector in self._kept(start, chunk):
                self._vector(target)[:] = vector
                target += 1
        rows: Sequence[T] = list(self)
        self._rows = list(rows)
        self._alive[:] = False
        self._alive[: len(rows)] = True
        self._row_of = {item.id: row for row, item in enumerate(rows)}
        del self._chunks[max(1, -(-len(rows) // CHUNK)) :]

    def _kept(self, start: int, chunk: Vector) -> Vector:
        kept: Vector = chunk[self._alive[start : start + len(chunk)]]  # a copy
        return kept
