"""The kinds of memory store, by the names that `--store` takes, behind one interface."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Protocol

from ..harness.errors import MissingExtraError, UsageError, unknown_name
from ..harness.types import Json
from .entries import Entry
from .store import MemoryStore
from .vectors import Vector

SERVER = "qdrant:"  # followed by the address
_ADDRESS = re.compile(r"https?://([\w.-]+|\[[0-9A-Fa-f:.]+\])(:(?P<port>[0-9]{1,5}))?/?")
KINDS = ("sqlite", "sqlite+usearch", "qdrant", "qdrant:http://HOST:PORT")


class Store(Protocol):
    """Memories with embeddings, kept apart by scope; one scope is open at a time.

    What a method does is told in `MemoryStore`. Ids, order, equality of metadata and the bytes of
    a snapshot are the same in every store, so that a run may be continued in another one. An
    `Entry` that is handed out must not be changed: the store may answer from the very same object.
    """

    def open(self, scope: str) -> None:
        """Work in this scope from now on."""
        ...

    def close(self) -> None:
        """Release files and connections."""
        ...

    def __len__(self) -> int: ...

    def get(self, id_: str) -> Entry | None:
        """The entry of that id, or None."""
        ...

    def entries(self) -> list[Entry]:
        """All entries, oldest addition first."""
        ...

    def search(
        self, query: Vector, top_k: int, metadata_filter: Json | None = None
    ) -> list[tuple[Entry, float]]:
        """The most similar entries and their cosine similarities, best first."""
        ...

    def add(self, content: str, vector: Vector, metadata: Json, time: str) -> str:
        """Add an entry and return its id."""
        ...

    def update(
        self, id_: str, content: str, vector: Vector | None, metadata: Json, time: str
    ) -> None:
        """Replace content, metadata and, unless None, the vector."""
        ...

    def delete(self, id_: str) -> None:
        """Remove an entry; its id is never given again."""
        ...

    def snapshot(self) -> bytes:
        """The open scope as bytes."""
        ...

    def restore(self, snapshot: bytes) -> None:
        """Set the open scope to a snapshot, wholly or not at all."""
        ...


def check_store(kind: str) -> None:
    """Refuse a store that cannot be opened, before anything else is done.

    Raises:
        UsageError: for an unknown kind, or a server's address that is none.
        MissingExtraError: if its package is not installed.
    """
    if kind.startswith(SERVER):
        _check_address(kind.removeprefix(SERVER))
    elif kind not in KINDS:
        raise unknown_name("store", kind.partition(":")[0], KINDS)  # an address may hold a key
    if kind == "sqlite+usearch" and importlib.util.find_spec("usearch") is None:
        raise MissingExtraError("usearch", "ann")
    if kind.startswith("qdrant") and importlib.util.find_spec("qdrant_client") is None:
        raise MissingExtraError("qdrant-client", "qdrant")


def open_store(
    kind: str, directory: Path | None, *, embedder: Json, dim: int, seed: int = 0
) -> Store:
    """A store of that kind.

    Args:
        kind: `sqlite` (exact), `sqlite+usearch` (approximate above 100,000 entries), `qdrant`
            (its local mode) or `qdrant:http://HOST:PORT` (its server).
        directory: Where it keeps its files; None keeps nothing beyond `close`.
        embedder: Identity of the embedder; a scope made with another one is refused.
        dim: Length of a vector.
        seed: See `MemoryStore`.

    Raises:
        UsageError: for an unknown kind.
        MissingExtraError: if its package is not installed.
        DataError: if a file that is there cannot be used.
        InfraError: if its server does not answer.
    """
    check_store(kind)
    path = directory / "memory.sqlite" if directory is not None else None
    if kind == "sqlite":
        return MemoryStore(path, embedder=embedder, dim=dim, seed=seed)
    if kind == "sqlite+usearch":
        from .approximate import UsearchStore

        return UsearchStore(path, embedder=embedder, dim=dim, seed=seed)
    from .qdrant import QdrantStore

    url = kind.removeprefix(SERVER) if kind.startswith(SERVER) else None
    return QdrantStore(directory, embedder=embedder, dim=dim, seed=seed, url=url)


def _check_address(address: str) -> None:
    """Refuse whatever may hold a key, without repeating it: a store's name is part of a result."""
    if set("@?#") & set(address):
        raise UsageError("a key in the store's address would be published: set QDRANT_API_KEY")
    found = _ADDRESS.fullmatch(address)
    if found is None or int(found["port"] or 1) not in range(1, 1 << 16):
        raise UsageError(
            "what follows `qdrant:` is no address of a Qdrant server: write http://HOST:6333"
        )
