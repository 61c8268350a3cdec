"""A model that is loaded, asked by many episodes at once; its weights may change in between.

`HfModel` asks one whose weights stay. A trainer asks the very weights that it trains, and says so
when it has changed them (`forget`).
"""

from __future__ import annotations

import secrets

from ...errors import ModelError, UsageError
from ...records import stable_hash
from ...types import Completion, EpisodeView, Model, ModelInfo, Request
from .. import ModelBase
from .chat import Chat
from .draw import Prompt
from .generate import Decoder
from .schedule import Batcher
from .weights import Loaded, room

_CACHE_BYTES = 4 * 2**30  # of keys and values, where nothing else is said; less where less is free


class LiveModel(ModelBase):
    """A causal language model in this process.

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
        self.info = info
        self._positions = loaded.positions
        self._chat = chat
        self.decoder = Decoder(
            loaded.model,
            loaded.stop,
            max_rows=max_batch,
            max_tokens=max_tokens_in_flight or room(loaded, _CACHE_BYTES),
            prefill_tokens=prefill_tokens,
            reuse=prefix_reuse,
        )
        self._batcher = Batcher(self.decoder, info.name, max_wait_ms / 1000)

    def bind(self, episode: EpisodeView) -> Model:
        """The model itself.

        Raises:
            UsageError: where functions are to be called natively and the template shows none.
        """
        if episode.native and episode.tools and not self._chat.knows_tools():
            raise UsageError(
                f"the chat template of {self.info.name} shows no tools: use --transport prompt, "
                "or a template that does with -o chat_template=FILE"
            )
        return self

    async def generate(self, request: Request) -> Completion:
        """Decode a reply, together with the other requests of the time.

        A temperature or top_p of None is 1: the model's own distribution.

        Raises:
            ModelError: if the prompt and `max_tokens` exceed the model's positions, or decoding
                fails.
            UsageError: if the chat template refuses the messages.
        """
        tokens = self._chat.encode(request)
        most, asked = self._positions, request.sampling.max_tokens
        if most is not None and len(tokens) + asked > most:
            raise ModelError(
                f"{self.info.name}: a prompt of {len(tokens)} tokens and --max-tokens {asked} "
                f"exceed the model's {most} positions: lower --context-tokens or --max-tokens",
                "refused",
            )
        reply = await self._batcher.generate(_prompt(tokens, request))
        return self._chat.read(request, tokens, reply)

    def count_tokens(self, text: str) -> int:
        """Tokens of a text by the model's tokenizer."""
        return self._chat.count_tokens(text)

    def expect(self, callers: int) -> None:
        """Decode only while so many callers wait, so that batches do not depend on their speed."""
        self._batcher.expect(callers)

    async def forget(self) -> None:
        """Forget what was computed with weights that have changed; nothing may be under way."""
        await self._batcher.close()

    async def close(self) -> None:
        """End the thread that decodes; requests under way fail."""
        await self._batcher.close()


def _prompt(tokens: tuple[int, ...], request: Request) -> Prompt:
    """What to continue, and how.

    The seed of the draws is made of the request's and the prompt: one seed serves a whole run, and
    its episodes must not all draw the same numbers.
    """
    sampling = request.sampling
    seed = secrets.randbits(62)
    if sampling.seed is not None:
        seed = int(stable_hash([sampling.seed, tokens]), 16) % 2**62
    return Prompt(
        tokens,
        sampling.max_tokens,
        1.0 if sampling.temperature is None else sampling.temperature,
        1.0 if sampling.top_p is None else sampling.top_p,
        seed,
        request.want_tokens,
    )
