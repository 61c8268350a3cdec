"""A network of numpy that is ready, asked by many episodes; its weights may change.

`NumpyModel` asks one whose weights stay. A trainer on a CPU asks a copy of those that it trains,
and hands in a new one whenever it has changed them.
"""

from __future__ import annotations

from collections.abc import Iterable

from ...types import ModelInfo
from ..inprocess.chat import Chat
from ..inprocess.live import InProcessModel
from .decoder import Decoder
from .network import Network

_CACHE_BYTES = 2 * 2**30  # of keys and values; memory that was never written to is not taken


class LiveModel(InProcessModel):
    """A causal language model in numpy.

    Args:
        network: What computes.
        stop: Token ids that end a reply.
        info: What it is.
        chat: Between messages and tokens.
        max_batch: Requests decoded at once.
        max_wait_ms: How long a request waits for others, while others are decoded.
        max_tokens_in_flight: Tokens that the cache holds; None: 2 GiB of them.
        prefill_tokens: Tokens of prompts computed at once.
        prefix_reuse: Whether a prompt that begins as another takes over what is computed of it.
    """

    def __init__(
        self,
        network: Network,
        stop: Iterable[int],
        info: ModelInfo,
        chat: Chat,
        *,
        max_batch: int = 32,
        max_wait_ms: float = 10.0,
        max_tokens_in_flight: int | None = None,
        prefill_tokens: int = 2048,
        prefix_reuse: bool = True,
    ) -> None:
        self._computes = Decoder(
            network,
            stop,
            max_rows=max_batch,
            max_tokens=max_tokens_in_flight or network.sizes.room(_CACHE_BYTES),
            prefill_tokens=prefill_tokens,
            reuse=prefix_reuse,
        )
        super().__init__(self._computes, network.sizes.positions, info, chat, max_wait_ms)

    async def take(self, network: Network) -> None:
        """Go on with other weights of the same sizes; no request may be under way."""
        await self.forget()
        self._computes.network = network
