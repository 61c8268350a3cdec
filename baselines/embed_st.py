"""Any sentence-transformers model by name (extra `sentence-transformers`; brings torch)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..harness.errors import MissingExtraError, UsageError
from ..harness.types import Json
from .store import valid_unicode


class SentenceTransformersEmbedder:
    """A model of the sentence-transformers library; no code of the model's repository is run.

    Args:
        model: Hub name or local folder, e.g. `BAAI/bge-small-en-v1.5`.

    Raises:
        MissingExtraError: if the library is not installed.
        UsageError: if the model cannot be loaded.
    """

    blocks = True
    theta_f = 0.6  # the paper's threshold, meant for dense embedders

    def __init__(self, model: str) -> None:
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise MissingExtraError("sentence-transformers", "sentence-transformers") from error
        try:
            self._model: Any = SentenceTransformer(model, trust_remote_code=False)
        except Exception as error:  # the library lets the errors of four others through
            problem = str(error).partition("\n")[0]
            raise UsageError(
                f"embedder {model!r} cannot be loaded: {type(error).__name__}: {problem}"
            ) from error
        self.name = f"st:{model}"
        self.dim = int(self._model.get_sentence_embedding_dimension())
        self.identity: Json = {
            "name": self.name,
            "version": 2,  # 1: texts in batches
            "dim": self.dim,
            "sha256": _weights_hash(self._model),
        }

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors of shape (len(texts), dim); the zero vector for an empty text."""
        vectors = np.zeros((len(texts), self.dim), dtype=np.float32)
        for row, text in enumerate(texts):
            if text.strip():  # each by itself: padding in a batch changes the last bits
                (vectors[row],) = self._model.encode(
                    [valid_unicode(text)],
                    normalize_embeddings=True,
                    convert_to_numpy=True,
                    show_progress_bar=False,
                )
        return vectors

    def count_tokens(self, text: str) -> int:
        """Tokens the model reads of a text, special ones included."""
        if not text.strip():
            return 0
        return len(self._model.tokenize([valid_unicode(text)])["input_ids"][0])


def _weights_hash(model: Any) -> str:
    """SHA-256 over the names and the bytes of all weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().float().numpy().tobytes())
    return digest.hexdigest()
