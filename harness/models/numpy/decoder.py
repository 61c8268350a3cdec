"""Decoding in numpy: the batch, and how a token is drawn."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..inprocess.batch import Barred, BatchDecoder, Row
from ..inprocess.decoding import GREEDY, Prompt
from .cache import SlotCache
from .network import Floats, Network
from .threads import threads_for


class Decoder(BatchDecoder):
    """The batch. Used by one thread.

    Args:
        network: What computes.
        stop: Token ids that end a continuation.
        max_rows: Prompts at once.
        max_tokens: Tokens that the cache may hold, all slots together.
        prefill_tokens: Tokens of prompts in one forward.
        reuse: Whether a prompt takes over what is computed of another that begins alike.
    """

    guesses = 14  # computing some tokens at once costs little more than one
    spare = 2  # a slot is read by itself, so idle ones between two rows cost nothing

    def __init__(
        self,
        network: Network,
        stop: Iterable[int],
        *,
        max_rows: int = 32,
        max_tokens: int = 262_144,
        prefill_tokens: int = 2048,
        reuse: bool = True,
    ) -> None:
        self.network = network
        self._cache = SlotCache(network.sizes)
        super().__init__(
            self._cache,
            stop,
            max_rows=max_rows,
            max_tokens=max_tokens,
            prefill_tokens=prefill_tokens,
            reuse=reuse,
        )

    def _seeded(self, seed: int) -> np.random.Generator:
        return np.random.default_rng(seed)

    def _forward(self, rows: list[Row], new: list[list[int]], last: list[int]) -> Floats:
        slots, starts = [row.slot for row in rows], [row.cached for row in rows]
        with threads_for(self.network.sizes.hidden):
            logits = self.network.forward(self._cache, slots, starts, new, last, self._go_on)
        if not np.isfinite(logits).all():
            raise ArithmeticError("the model's logits are not numbers (NaN or infinite)")
        return logits

    def _choose(
        self, logits: Floats, barred: Barred | None, rows: list[Row]
    ) -> tuple[list[int], list[float]]:
        offered = logits if barred is None else np.where(barred, np.float32(-np.inf), logits)
        tokens = offered.argmax(-1).tolist()
        for i, row in enumerate(rows):
            if row.prompt.temperature >= GREEDY:
                tokens[i] = draw(offered[i], row.prompt, row.generator)
        logprobs = [0.0] * len(rows)
        if any(row.prompt.want_logprobs for row in rows):
            exact = logits.astype(np.float64)
            exact -= exact.max(-1, keepdims=True)
            exact -= np.log(np.exp(exact).sum(-1, keepdims=True))
            logprobs = exact[np.arange(len(rows)), tokens].tolist()
        return tokens, logprobs


def draw(logits: Floats, prompt: Prompt, numbers: np.random.Generator) -> int:
    """A token at the prompt's temperature, from its nucleus; takes one number.

    The nucleus is the smallest set of likeliest tokens with a probability of at least top_p
    (Holtzman et al., arXiv 1904.09751, section 3.1). The cumulated probabilities are inverted in
    the vocabulary's order, so that two tokens that rounding swaps swap nothing else.

    Args:
        logits: [vocabulary]; minus infinity for what may not be drawn.
        prompt: Its temperature is not 0.
        numbers: Of the row.
    """
    scaled = logits.astype(np.float64) / prompt.temperature
    weights = np.exp(scaled - scaled.max())
    if prompt.top_p < 1:
        order = np.argsort(-weights, kind="stable")
        before = weights[order].cumsum() - weights[order]
        weights[order[before >= prompt.top_p * weights.sum()]] = 0
    cumulated = weights.cumsum()
    total = cumulated[-1]
    target = min(numbers.random() * total, np.nextafter(total, 0))
    return int(np.searchsorted(cumulated, target, side="right"))
