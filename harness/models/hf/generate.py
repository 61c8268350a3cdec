"""Decoding with a causal language model of transformers: the batch, computed by torch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from ..inprocess.batch import Barred, BatchDecoder, Row
from ..inprocess.decoding import Prompt
from .cache import SlotCache, attention_windows, call_keywords
from .draw import draw


class Decoder(BatchDecoder):
    """The batch: rows join, step together, and leave. Used by one thread.

    Args:
        model: A causal language model of transformers, in evaluation mode.
        stop: Token ids that end a continuation.
        max_rows: Prompts at once.
        max_tokens: Tokens that the cache may hold, all rows together.
        prefill_tokens: Tokens of prompts in one forward, padding included.
        reuse: Whether a prompt takes over keys and values of another that begins alike.

    Raises:
        UsageError: for a model that cannot be run so.
    """

    def __init__(
        self,
        model: Any,
        stop: Iterable[int],
        *,
        max_rows: int = 32,
        max_tokens: int = 65_536,
        prefill_tokens: int = 2048,
        reuse: bool = True,
    ) -> None:
        self.model = model
        self._cache = SlotCache(model.device)
        self._keywords = call_keywords(model, self._cache)
        self._windows = attention_windows(model.config)
        lists = (part for part in model.modules() if isinstance(part, torch.nn.ModuleList))
        self._layers = list(next(lists, ()))
        super().__init__(
            self._cache,
            stop,
            max_rows=max_rows,
            max_tokens=max_tokens,
            prefill_tokens=prefill_tokens,
            reuse=reuse,
        )

    def join(self, prompts: Iterable[Prompt]) -> list[Row]:
        """See `BatchDecoder.join`."""
        with torch.inference_mode():
            return super().join(prompts)

    def step(self) -> None:
        """See `BatchDecoder.step`."""
        with torch.inference_mode():
            super().step()

    def _seeded(self, seed: int) -> torch.Generator:
        return torch.Generator().manual_seed(seed)

    def _choose(
        self, logits: Tensor, barred: Barred | None, rows: list[Row]
    ) -> tuple[list[int], list[float]]:
        mask = None if barred is None else torch.from_numpy(barred).to(logits.device)
        prompts, generators = [row.prompt for row in rows], [row.generator for row in rows]
        return draw(logits, prompts, generators, mask)

    def _forward(self, rows: list[Row], new: list[list[int]], last: list[int]) -> Tensor:  # noqa: ARG002
        """Logits [rows, vocabulary] in float32, after the last new token of each row.

        `last` is 1 for each, since nothing is guessed here.

        Raises:
            ArithmeticError: if the model gives no numbers.
        """
        counts = [len(ids) for ids in new]
        width = max(counts)
        positions = self._cache.aim([r.slot for r in rows], [r.cached for r in rows], counts)
        padded = torch.tensor([ids[:1] * (width - len(ids)) + ids for ids in new])
        with self._watched():
            logits: Tensor = self.model(
                input_ids=padded.to(self.model.device),
                attention_mask=self._masks(positions),
                position_ids=positions,
                **self._keywords,
            ).logits[:, -1]
        if bool(logits.isnan().any()):
            raise ArithmeticError("the model's logits are not numbers (NaN): try dtype=float32")
        return logits.float()

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        """Calls `_go_on` before each layer; the model itself stays as it was, for a trainer."""

        def go_on(_: Any, __: Any) -> None:
            self._go_on()

        handles = [layer.register_forward_pre_hook(go_on) for layer in self._layers]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _masks(self, positions: Tensor) -> Any:
        """What is added to attention scores, [rows, 1, columns, positions read].

        A token sees its own and earlier positions of its slot, in a sliding layer the nearest.
        One for all layers, or one by type of layer where the model has two.
        """
        place = torch.arange(self._cache.length, device=positions.device)
        own = positions[:, None, :, None]
        later, dtype = place > own, self.model.dtype

        def mask(window: int | None) -> Tensor:
            hidden = later if window is None else later | (place <= own - window)
            scores = torch.zeros(hidden.shape, dtype=dtype, device=hidden.device)
            return scores.masked_fill_(hidden, torch.finfo(dtype).min)

        if isinstance(self._windows, dict):
            return {kind: mask(window) for kind, window in self._windows.items()}
        return mask(self._windows)
