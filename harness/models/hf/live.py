"""A model of transformers that is loaded, asked by many episodes; its weights may change.

`HfModel` asks one whose weights stay. A trainer asks the very weights that it trains, and says so
when it has changed them (`forget`).
"""

from __future__ import annotations

from ...types import ModelInfo
from ..inprocess.chat import Chat
from ..inprocess.live import InProcessModel
from .generate import Decoder
from .weights import Loaded, room

_CACHE_BYTES = 4 * 2**30  # of keys and values, where nothing else is said; less where less is free


class LiveModel(InProcessModel):
    """A causal language model of transformers in this process.

    Args:
        loaded: The model and its tokenizer.
        info: What it is.
        chat: Between messages and tokens.
        max_batch: Requests decoded at once.
        max_wait_ms: How long a request waits for others, while others are decoded.
        max_tokens_in_flight: Tokens that the cache holds; None: 4 GiB of them, or half of what a
            GPU has free.
        prefill_tokens: Tokens of prompts computed at once.
        prefix_reuse: Whether a prompt that begins as another takes over what is computed of it.
    """

    def __init__(
        self,
        loaded: Loaded,
        info: ModelInfo,
        chat: Chat,
        *,
        max_batch: int = 32,
        max_wait_ms: float = 10.0,
        max_tokens_in_flight: int | None = None,
        prefill_tokens: int = 2048,
        prefix_reuse: bool = True,
    ) -> None:
        decoder = Decoder(
            loaded.model,
            loaded.stop,
            max_rows=max_batch,
            max_tokens=max_tokens_in_flight or room(loaded, _CACHE_BYTES),
            prefill_tokens=prefill_tokens,
            reuse=prefix_reuse,
        )
        super().__init__(decoder, loaded.positions, info, chat, max_wait_ms)
