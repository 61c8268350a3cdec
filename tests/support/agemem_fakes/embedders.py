"""An embedder that refuses to be asked on the event loop."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from agemem_eval.baselines.embed_hashing import HashingEmbedder


class NeverOnTheLoop(HashingEmbedder):
    """The vectors of `hashing`, from any thread but the one in which the event loop runs."""

    blocks = True

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        if threading.current_thread() is threading.main_thread():
            raise RuntimeError("the event loop waits for vectors")
        return super().embed(texts)
