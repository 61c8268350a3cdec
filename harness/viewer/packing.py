"""Data as script files: a page opened from disk may load scripts, and nothing else.

Each file is one call with two strings, a name and base64 of gzip of JSON, so nothing in it can be
code or end a script, whatever a model has written.
"""

from __future__ import annotations

import base64
import gzip
import json
import math
from pathlib import Path
from typing import Any

from .reconstruct import Memory

CALL = "agememData"  # the function of the page that takes the data in
CHUNK_BYTES = 1 << 19  # of JSON; what opening one episode has to unpack


def compact(value: Any) -> bytes:
    """A value as JSON that a browser reads: no NaN, no halves of surrogate pairs."""
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError:  # seldom, so that what is finite need not be looked at twice
        return compact(_finite(value))
    return text.encode(errors="replace")


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def write_script(folder: Path, name: str, content: bytes) -> int:
    """Write JSON as a script file; returns its size in bytes.

    Args:
        folder: Where to.
        name: Of the file without `.js`, and of the data in the page.
        content: The JSON.
    """
    packed = base64.b64encode(gzip.compress(content, 6, mtime=0)).decode()
    script = f'{CALL}("{name}","{packed}");\n'.encode()
    (folder / f"{name}.js").write_bytes(script)  # the folder takes its place once it is whole
    return len(script)


class Chunks:
    """Episodes in files of about half a megabyte of JSON each, written as they fill.

    A chunk of a stream begins with the entries that its memory held, which the changes of its
    episodes then carry on. It grows with them, so that entries are at most half of what is written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parts: list[bytes] = []
        self._initial = b"[]"
        self._size = 0
        self.n_files = 0
        self.n_bytes = 0

    def begin(self, memory: Memory | None = None) -> None:
        """Begin a chunk: of lone episodes, or of a stream with what its memory holds."""
        self.flush()
        self._initial = compact([[id_, *held] for id_, held in (memory or {}).items()])

    @property
    def full(self) -> bool:
        """Whether the next episode should begin another."""
        return self._size >= max(CHUNK_BYTES, len(self._initial))

    def add(self, payload: Any) -> tuple[int, int]:
        """Take in an episode; returns the number of its file and its place there."""
        content = compact(payload)
        self._parts.append(content)
        self._size += len(content)
        return self.n_files, len(self._parts) - 1

    def flush(self) -> None:
        """Write what was taken in."""
        if self._parts:
            body = b",".join(self._parts)
            content = b'{"initial":' + self._initial + b',"episodes":[' + body + b"]}"
            self.n_bytes += write_script(self._folder, f"t{self.n_files}", content)
            self.n_files += 1
        self._parts, self._size, self._initial = [], 0, b"[]"
