"""The connection to Qdrant and the collection of a directory: found, made, checked, asked."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..harness.errors import DataError, InfraError, MissingExtraError
from ..harness.types import Json
from .entries import check_dim

FORMAT = "agemem-qdrant/1"
KEY_VARIABLE = "QDRANT_API_KEY"
_TIMEOUT_S = 60
_LOCAL: dict[Path, list[Any]] = {}  # open folders: the client, which locks one, and its users


class StoreUnavailable(InfraError):
    """The Qdrant server is gone, or fails: the episode is owed again."""

    kind = "connection"


class Collection:
    """The collection of a directory, in a server or in this process.

    A note in the directory names the collection; a point in the collection marks it as ours. So
    one that is lost or emptied is refused, never made again.

    Args:
        directory: Where the files of the local mode and the note lie; None keeps nothing beyond
            `close`.
        dim: Length of a vector.
        url: Address of a server; None is the local mode, in this process.

    Attributes:
        where: For messages.
        models: Qdrant's own classes of filters and points.
        on_server: Whether there is a server.

    Raises:
        MissingExtraError: if qdrant-client is not installed.
        DataError: if what is there is no whole collection.
        StoreUnavailable: if the server does not answer.
    """

    def __init__(self, directory: Path | None, dim: int, url: str | None) -> None:
        try:
            from qdrant_client import QdrantClient, models
        except ImportError as error:
            raise MissingExtraError("qdrant-client", "qdrant") from error
        self.models = models
        self.on_server = url is not None
        self._dim = dim
        self._temporary = directory is None
        self._folder = directory / "qdrant" if directory is not None and url is None else None
        self.where = url or (str(self._folder) if self._folder is not None else ":memory:")
        self._name = ""
        self._client: Any = self._guarded(lambda: self._connect(QdrantClient, url))
        try:
            self._guarded(lambda: self._settle(directory))
        except BaseException:  # whatever it was, no client is left open
            self.close()
            raise

    def close(self) -> None:
        """Release the folder or the connection; a collection without a directory is removed."""
        if self._client is None:
            return
        client, self._client = self._client, None
        if self._folder is not None:
            shared = _LOCAL[self._folder.resolve()]
            shared[1] -= 1
            if shared[1]:
                return
            del _LOCAL[self._folder.resolve()]
        if self.on_server and self._temporary and self._name:
            self._guarded(lambda: client.delete_collection(self._name))
        client.close()

    def ask(self, method: str, **arguments: Any) -> Any:
        """Call a method of Qdrant's client on the collection.

        Raises:
            StoreUnavailable: if the server does not answer, or fails.
            DataError: for anything else that Qdrant refuses.
        """
        call = getattr(self._client, method)
        return self._guarded(lambda: call(self._name, **arguments))

    def record(self, *name: str) -> str | None:
        """The text kept under a name, or None."""
        found = self.ask("retrieve", ids=[point_id(*name)], with_payload=True)
        return self._guarded(lambda: str(found[0].payload["record"])) if found else None

    def keep(self, text: str, *name: str) -> None:
        """Keep a text under a name: a point that no search asks for."""
        nowhere = [0.0] * self._dim
        point = self.models.PointStruct(
            id=point_id(*name), vector=nowhere, payload={"record": text}
        )
        self.ask("upsert", points=[point], wait=True)

    def _connect(self, make: Any, url: str | None) -> Any:
        if url is not None:
            key = os.environ.get(KEY_VARIABLE) or None
            return make(url=url, api_key=key, timeout=_TIMEOUT_S, check_compatibility=False)
        if self._folder is None:
            return make(":memory:", force_disable_check_same_thread=True)
        shared = _LOCAL.get(self._folder.resolve())
        if shared is None:
            client = make(path=str(self._folder), force_disable_check_same_thread=True)
            shared = _LOCAL[self._folder.resolve()] = [client, 0]
        shared[1] += 1
        return shared[0]

    def _settle(self, directory: Path | None) -> None:
        """Find the directory's collection, or make one; the note that names it comes last."""
        note = None
        if directory is not None:
            note = directory / ("qdrant-server.json" if self.on_server else "qdrant-local.json")
        if note is None or not note.exists():
            self._make(note)
            return
        self._name = str(json.loads(note.read_text())["collection"])
        if not self._client.collection_exists(self._name) or self.record("store") != FORMAT:
            problem = f"its collection {self._name}, of {note}, is lost or was emptied"
            raise DataError(f"{self.where}: {problem}: put a copy in its place, or move both away")
        size = self._client.get_collection(self._name).config.params.vectors.size
        check_dim(size, self._dim, f"{self.where}: this memory")

    def _make(self, note: Path | None) -> None:
        models = self.models
        self._name = f"agemem-{uuid.uuid4().hex}"
        size = models.VectorParams(size=self._dim, distance=models.Distance.DOT)  # of unit vectors
        self._client.create_collection(self._name, vectors_config=size)
        if self.on_server:  # the local mode has no use for an index, and says so
            for field, tenant in (("place", True), ("match", False)):
                index: Json = {"type": models.KeywordIndexType.KEYWORD, "is_tenant": tenant}
                schema = models.KeywordIndexParams(**index)
                self.ask("create_payload_index", field_name=field, field_schema=schema)
        self.keep(FORMAT, "store")
        if note is not None:
            note.parent.mkdir(parents=True, exist_ok=True)
            bare = note.with_suffix(".tmp")
            bare.write_text(json.dumps({"collection": self._name}))
            os.replace(bare, note)

    def _guarded(self, work: Callable[[], Any]) -> Any:
        """Whatever Qdrant raises is one line: the server's failure, or broken data."""
        from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
        from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

        try:
            return work()
        except (DataError, InfraError):
            raise
        except (ResponseHandlingException, ResourceExhaustedResponse) as error:
            cause = getattr(error, "source", error)
            problem = f"the Qdrant server does not answer ({_line(cause)})"
            raise StoreUnavailable(f"{self.where}: {problem}: start it, then resume") from error
        except UnexpectedResponse as error:
            status = error.status_code or 500
            kind = StoreUnavailable if status >= 500 or status in (408, 429) else DataError
            raise kind(f"{self.where}: the Qdrant server refuses: {_line(error)}") from error
        except Exception as error:  # the local mode raises whatever its files provoke
            raise DataError(f"{self.where}: not a usable memory store: {_line(error)}") from error


def point_id(*parts: str) -> str:
    """The id of a point: Qdrant wants a UUID."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(parts)))


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
