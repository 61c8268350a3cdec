"""Exact cosine search over the entries of one scope, in one float32 matrix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]
ROUNDING = 1e-5  # more than float32 can err on a dot product of unit vectors
_CHUNK = 4096  # rows rescored at once


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

    The matrix doubles when full. A removed item leaves an empty row, and the rows are packed once
    half of them are empty, so that every operation is O(dim) on average.
    """

    def __init__(self, dim: int) -> None:
        self._matrix: Vector = np.zeros((16, dim), dtype=np.float32)
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
            (item, self._matrix[row]) for row, item in enumerate(self._rows) if item is not None
        )

    def get(self, id_: str) -> T | None:
        """The item of that id, or None."""
        row = self._row_of.get(id_)
        return None if row is None else self._rows[row]

    def append(self, item: T, vector: Vector) -> None:
        """Add an item at the end."""
        row = len(self._rows)
        if row == len(self._matrix):
            self._matrix = np.concatenate([self._matrix, np.zeros_like(self._matrix)])
            self._alive = np.concatenate([self._alive, np.zeros_like(self._alive)])
        self._matrix[row] = vector
        self._alive[row] = True
        self._rows.append(item)
        self._row_of[item.id] = row

    def replace(self, item: T, vector: Vector | None) -> None:
        """Put an item in the place of the one with its id; None keeps the vector."""
        row = self._row_of[item.id]
        self._rows[row] = item
        if vector is not None:
            self._matrix[row] = vector

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

        Scores do not depend on where a row lies in the matrix: a first pass in float32 finds the
        candidates, and these are scored again, each by itself, in float64.
        """
        if top_k < 1 or not self._row_of:
            return []
        scores = self._matrix[: len(self._rows)] @ query.astype(np.float32, copy=False)
        rows = np.flatnonzero(self._alive[: len(self._rows)])
        if filter_:
            rows = np.array(
                [row for row in rows.tolist() if self._passes(row, filter_)], dtype=np.intp
            )
        if len(rows) > top_k:
            worst = np.partition(scores[rows], -top_k)[-top_k]
            rows = rows[scores[rows] >= worst - ROUNDING]
        exact = self._exact_scores(rows, query)
        best = np.argsort(-exact, kind="stable")[:top_k]  # stable: ties stay in order of arrival
        found = ((self._rows[rows[i]], float(exact[i])) for i in best)
        return [(item, score) for item, score in found if item is not None]

    def _passes(self, row: int, filter_: Mapping[str, Any]) -> bool:
        """Exact equality on every key; JSON's true and 1 are different values."""
        item = self._rows[row]
        return item is not None and all(
            key in item.metadata
            and item.metadata[key] == wanted
            and isinstance(item.metadata[key], bool) == isinstance(wanted, bool)
            for key, wanted in filter_.items()
        )

    def _exact_scores(self, rows: NDArray[np.intp], query: Vector) -> NDArray[np.float64]:
        wide = query.astype(np.float64)
        parts = [
            (self._matrix[rows[start : start + _CHUNK]] * wide).sum(axis=1)
            for start in range(0, len(rows), _CHUNK)
        ]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _pack(self) -> None:
        alive = list(self._row_of.values())
        alive.sort()
        self._matrix[: len(alive)] = self._matrix[alive]
        self._alive[:] = False
        self._alive[: len(alive)] = True
        self._rows = [self._rows[row] for row in alive]
        self._row_of = {item.id: row for row, item in enumerate(self)}
