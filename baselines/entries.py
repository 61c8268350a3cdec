"""What every store agrees on: an entry, its id, the bytes of a vector and of a snapshot."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import zstandard
from numpy.typing import NDArray

from ..harness.errors import DataError
from ..harness.types import Json
from .vectors import Vector

SNAPSHOT_FORMAT = "agemem-store/1"
MAX_ADDED = 1 << 53  # beyond, JSON readers and SQLite no longer agree on a number
MAX_SNAPSHOT_BYTES = 8 << 30  # unpacked; a frame that holds or claims more is refused
NOT_FINITE = "a vector with numbers that are not finite"


@dataclass(frozen=True, slots=True)
class Entry:
    """One memory."""

    id: str  # in the shape of a UUID
    content: str
    metadata: Json
    created: str  # logical time of the addition
    updated: str  # logical time of the last change


Row = tuple[Entry, Vector]


def as_json(entry: Entry) -> Json:
    """The entry as `Memory.entries` gives it, with nothing shared; `asdict` takes longer."""
    return {
        "id": entry.id,
        "content": entry.content,
        "metadata": _copied(entry.metadata),
        "created": entry.created,
        "updated": entry.updated,
    }


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def entry_id(seed: int, scope: str, added: int) -> str:
    """The id of a scope's next entry, where `added` entries were ever added before it."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, json.dumps([seed, scope, added])))


def valid_unicode(value: Any) -> Any:
    """A JSON value whose strings are valid Unicode: lone surrogates become U+FFFD.

    Models and tolerant parsers do produce them; databases, tokenizers and files refuse them.
    """
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {valid_unicode(key): valid_unicode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):  # JSON knows lists only
        return [valid_unicode(item) for item in value]
    return value


def check_vector(vector: Vector, dim: int) -> Vector:
    """The vector in little-endian float32, as it would be kept.

    Raises:
        ValueError: for another length, or a number that is not finite in float32.
    """
    if vector.shape != (dim,):
        raise ValueError(f"a vector of shape {vector.shape}, expected ({dim},)")
    narrow = vector
    if vector.dtype != np.dtype("<f4"):
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused
            narrow = vector.astype("<f4")
    if not np.isfinite(narrow).all():
        raise ValueError(NOT_FINITE)
    return narrow


def to_bytes(vector: Vector, dim: int) -> bytes:
    """A vector as little-endian float32.

    Raises:
        ValueError: for another length, or a number that is not finite in float32.
    """
    return check_vector(vector, dim).tobytes()


def from_bytes(blob: bytes, dim: int) -> Vector:
    """The vector of such bytes; whether its numbers are finite is looked at for all at once.

    Raises:
        ValueError: if they are not `dim` numbers.
    """
    if not isinstance(blob, bytes) or len(blob) != 4 * dim:
        raise ValueError(f"a vector that is not {dim} numbers")
    vector: NDArray[np.float32] = np.frombuffer(blob, dtype="<f4")
    return vector


def check_embedder(found: str, mine: str, what: str) -> None:
    """Refuse what another embedder made: its vectors mean nothing to this one.

    Raises:
        DataError: if the identities, as JSON text, differ.
    """
    if found != mine:
        raise DataError(
            f"{what} was made with the embedder {found}, this run uses {mine}: "
            "use the same --embedder, or start a new run"
        )


def check_dim(found: int, mine: int, what: str) -> None:
    """Refuse vectors of another embedder, told by their length.

    Raises:
        DataError: if the lengths differ.
    """
    if found != mine:
        raise DataError(
            f"{what} has vectors of {found} dimensions, those of this run's embedder have {mine}: "
            "use the same --embedder, or start a new run"
        )


# --- snapshots ----------------------------------------------------------------------------------


def write_snapshot(rows: Iterable[Row], *, embedder: str, dim: int, added: int) -> bytes:
    """A scope as bytes: a zstd frame around UTF-8 JSON, the same from every store.

    The object has `format`, `embedder` (its identity), `dim`, `added` (entries ever added) and
    `entries`, each the fields of `Entry` and `vector`, base64 of little-endian float32. The frame
    tells its size.
    """
    head = {"format": SNAPSHOT_FORMAT, "embedder": embedder, "dim": dim, "added": added}
    pieces = [f'{json.dumps(head)[:-1]}, "entries": ['.encode(), *_pieces(rows, dim), b"]}"]
    packer = zstandard.ZstdCompressor(3).compressobj(size=sum(map(len, pieces)))
    packed = [packer.compress(piece) for piece in pieces]  # never joined: it may be gigabytes
    return b"".join([*packed, packer.flush()])


def _pieces(rows: Iterable[Row], dim: int) -> Iterator[bytes]:
    comma = ""
    for entry, vector in rows:
        value = {  # not `asdict`, which copies the metadata first
            "id": entry.id,
            "content": entry.content,
            "metadata": entry.metadata,
            "created": entry.created,
            "updated": entry.updated,
            "vector": base64.b64encode(to_bytes(vector, dim)).decode(),
        }
        yield f"{comma}{json.dumps(value)}".encode()
        comma = ", "


def read_snapshot(snapshot: bytes, *, embedder: str, dim: int) -> tuple[int, list[Row]]:
    """The number of entries ever added, and the rows; empty bytes are an empty scope.

    Raises:
        DataError: if the bytes are no snapshot, or one made with another embedder.
    """
    if not snapshot:
        return 0, []
    try:
        value = json.loads(_unpacked(snapshot))
        if value["format"] != SNAPSHOT_FORMAT:
            raise ValueError(f"format {value['format']!r}")
        check_embedder(value["embedder"], embedder, "the memory snapshot")
        if type(value["dim"]) is not int:
            raise ValueError(f"dim {value['dim']!r}")
        check_dim(value["dim"], dim, "the memory snapshot")
        rows = [(_read_entry(e), _from_base64(e["vector"], dim)) for e in value["entries"]]
        added = value["added"]
        if type(added) is not int or not len(rows) <= added < MAX_ADDED:
            raise ValueError(f"added {added!r}")
        if len({entry.id for entry, _ in rows}) < len(rows):
            raise ValueError("two entries with one id")
    except (zstandard.ZstdError, ValueError, KeyError, TypeError, RecursionError) as error:
        problem = f"{type(error).__name__}: {error}"
        raise DataError(f"not a memory snapshot ({problem})") from error
    return added, rows


def _unpacked(snapshot: bytes) -> bytes:
    claimed = zstandard.frame_content_size(snapshot)  # -1: the frame does not tell
    if claimed > MAX_SNAPSHOT_BYTES:
        raise ValueError("larger than a snapshot may be")
    unpacker = zstandard.ZstdDecompressor().decompressobj()
    parts: list[bytes] = []
    size = 0
    view = memoryview(snapshot)
    for start in range(0, len(snapshot), 1 << 16):  # small steps, or a bomb unpacks in one
        parts.append(unpacker.decompress(view[start : start + (1 << 16)]))
        size += len(parts[-1])
        if size > MAX_SNAPSHOT_BYTES:
            raise ValueError("larger than a snapshot may be")
        if unpacker.eof:
            break
    if not unpacker.eof:
        raise ValueError("cut off")
    if unpacker.unused_data or start + (1 << 16) < len(snapshot):
        raise ValueError("something follows it")
    return b"".join(parts)


def _from_base64(text: str, dim: int) -> Vector:
    vector = from_bytes(base64.b64decode(text, validate=True), dim)
    if not np.isfinite(vector).all():
        raise ValueError(NOT_FINITE)
    return vector


def _read_entry(value: Json) -> Entry:
    texts = [value[key] for key in ("id", "content", "created", "updated")]
    if not all(isinstance(text, str) for text in texts) or not isinstance(value["metadata"], dict):
        raise TypeError("an entry with fields of a wrong type")
    id_, content, created, updated = map(valid_unicode, texts)
    return Entry(id_, content, valid_unicode(value["metadata"]), created, updated)
