"""The kinds of memory store, for tests that every one of them must pass."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agemem_eval.baselines.store import MemoryStore
from agemem_eval.baselines.stores import Store

DIM = 8
ONE_LINE = r"^[^\n]*$"  # what the message of a refusal is
EMBEDDER = {"name": "test", "dim": DIM}


def _extra(kind: str, package: str, extra: str) -> Any:
    missing = importlib.util.find_spec(package) is None
    reason = f"{package} is not installed: the extra `{extra}`"
    return pytest.param(
        kind, marks=[pytest.mark.stores, pytest.mark.skipif(missing, reason=reason)]
    )


USEARCH = _extra("sqlite+usearch", "usearch", "ann")
QDRANT = _extra("qdrant", "qdrant_client", "qdrant")
ALL = ["sqlite", USEARCH, QDRANT]
_made: list[Store] = []


def close_all() -> None:
    """Close whatever was made and not closed."""
    while _made:
        _made.pop().close()


def make(kind: str, directory: Path | None = None, **more: Any) -> Store:
    """A store of that kind; usearch's graph is used from the sixth entry on."""
    store = _make(kind, directory, **more)
    _made.append(store)
    return store


def _make(kind: str, directory: Path | None, **more: Any) -> Store:
    more = {"embedder": EMBEDDER, "dim": DIM, **more}
    path = directory / "memory.sqlite" if directory is not None else None
    if kind == "sqlite":
        return MemoryStore(path, **more)
    if kind == "sqlite+usearch":
        from agemem_eval.baselines.approximate import UsearchStore

        return UsearchStore(path, **{"threshold": 5, **more})
    from agemem_eval.baselines.qdrant import QdrantStore

    return QdrantStore(directory, **more)


def vector(*numbers: float) -> np.ndarray:
    """A unit vector in the direction of some numbers; the zero vector for none."""
    padded = np.zeros(DIM, dtype=np.float32)
    padded[: len(numbers)] = numbers
    norm = np.linalg.norm(padded)
    return padded / norm if norm else padded


def unit(seed: int) -> np.ndarray:
    """A random unit vector."""
    return vector(*np.random.default_rng(seed).standard_normal(DIM))


def filled(directory: Path | None, entries: int = 3, kind: str = "sqlite") -> Any:
    """A store with some facts in it."""
    store = make(kind, directory)
    for i in range(entries):
        store.add(f"fact {i} " + "x" * 500, unit(i), {"n": i}, "t")
    return store


def contents(store: Any) -> list[str]:
    """The beginnings of its entries."""
    return [entry.content[:7].strip() for entry in store.entries()]


def overwrite(path: Path, start: int, data: bytes) -> None:
    """Write over some bytes of a file."""
    with path.open("r+b") as file:
        file.seek(start)
        file.write(data)
