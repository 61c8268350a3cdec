"""The kinds of memory store, by name."""

from __future__ import annotations

from pathlib import Path

from ..harness.errors import unknown_name
from ..harness.types import Json
from .store import MemoryStore

KINDS = ("sqlite",)


def open_store(
    kind: str, directory: Path | None, *, embedder: Json, dim: int, seed: int = 0
) -> MemoryStore:
    """A store of that kind.

    Args:
        kind: `sqlite`.
        directory: Where it keeps its files; None keeps everything in memory.
        embedder: Identity of the embedder; a scope made with another one is refused.
        dim: Length of a vector.
        seed: See `MemoryStore`.

    Raises:
        UsageError: for an unknown kind.
        DataError: if a file that is there cannot be used.
    """
    if kind not in KINDS:
        raise unknown_name("store", kind, KINDS)
    path = directory / "memory.sqlite" if directory is not None else None
    return MemoryStore(path, embedder=embedder, dim=dim, seed=seed)
