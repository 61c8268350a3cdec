"""Embedders by name: `hashing`, `minilm`, `st:NAME` or any hub name with a slash."""

from __future__ import annotations

from functools import cache

from ..harness.errors import UsageError, unknown_name
from ..harness.metering import Embedder
from .embed_hashing import HashingEmbedder

NAMES = ("hashing", "minilm", "st:NAME")


@cache
def make_embedder(name: str) -> Embedder:
    """The embedder of that name; made once a process, since weights are large and never change.

    Raises:
        UsageError: for an unknown name, or a model that cannot be loaded.
        MissingExtraError: where its packages or weights are not installed.
    """
    if name == "hashing":
        return HashingEmbedder()
    if name == "minilm":
        from .embed_minilm import MiniLMEmbedder

        return MiniLMEmbedder()
    model = name.removeprefix("st:") if name.startswith("st:") or "/" in name else ""
    if model.strip("/ "):
        from .embed_st import SentenceTransformersEmbedder

        return SentenceTransformersEmbedder(model)
    if name.startswith("st:"):
        raise UsageError("embedder 'st:' needs a model name, e.g. st:BAAI/bge-small-en-v1.5")
    raise unknown_name("embedder", name, NAMES)
