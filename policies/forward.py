"""Log-probabilities of completions under a model: which rows are computed, and what is read off.

A *pack* is one forward: rows of tokens, and the places whose logits predict a trained token. Only
at those places logits are computed, a few at a time, so that [rows, width, vocabulary] never
exists; for a vocabulary of 150,000 that would be most of the memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..harness.errors import UsageError
from ..harness.models.hf.cache import attention_windows
from .trajectory import Step

_LOGITS = 2**25  # numbers of logits at once; more are computed in parts, and again for gradients
_CHECKED = 8  # tokens of the trial that a model's forward is understood


@dataclass(frozen=True, slots=True)
class Packed:
    """One forward.

    The *canonical order* of completion tokens is that of the steps, and within a step that of its
    completion; tokens that are not trained are counted in it, though no pack predicts them.

    Attributes:
        ids: Tokens [rows, width], int64.
        positions: Of the tokens, for the model's position embedding [rows, width], int64.
        mask: Whether a row's token (third axis) sees another (fourth) [rows, 1, width, width];
            every token sees at least itself. None: each sees itself and those before it.
        sources: Flat places (row * width + column) whose logits predict a trained token [n].
        targets: Those tokens [n].
        order: Their indices in the canonical order [n].
        computed: Tokens of the rows, without padding.
    """

    ids: Tensor
    positions: Tensor
    mask: Tensor | None
    sources: Tensor
    targets: Tensor
    order: Tensor
    computed: int

    @classmethod
    def nothing(cls) -> Packed:
        """A forward that predicts nothing, for a process that waits for others."""
        none, one = torch.zeros(0, dtype=torch.int64), torch.zeros(1, 1, dtype=torch.int64)
        return cls(one, one, None, none, none, none, 0)

    def to(self, device: torch.device) -> Packed:
        """The same on a device."""
        return Packed(
            self.ids.to(device), self.positions.to(device),
            self.mask.to(device) if self.mask is not None else None,
            self.sources.to(device), self.targets.to(device), self.order.to(device),
            self.computed,
        )  # fmt: skip


def trained_offsets(steps: Sequence[Step]) -> Iterator[tuple[Step, int, list[int]]]:
    """The steps in which something is trained.

    Yields:
        Each with the canonical index of its first completion token, and the offsets of the trained
        tokens within its completion.

    Raises:
        ValueError: for a trained completion after an empty prompt: nothing predicts its first
            token.
    """
    first = 0
    for step in steps:
        offsets = [offset for offset, trained in enumerate(step.mask) if trained]
        if offsets and not step.prompt_ids:
            raise ValueError("a step with an empty prompt cannot be trained on")
        if offsets:
            yield step, first, offsets
        first += len(step.completion_ids)


def pack(steps: Sequence[Step], batch_tokens: int, share: bool) -> list[Packed]:
    """The forwards of some steps.

    Args:
        steps: In canonical order.
        batch_tokens: Most tokens of a forward, padding included.
        share: Whether what steps have in common from their first token on is computed once.
    """
    if share:
        from .tree import pack_tree

        return pack_tree(steps, batch_tokens)
    return pack_plain(steps, batch_tokens)


def pack_plain(steps: Sequence[Step], batch_tokens: int) -> list[Packed]:
    """A row for each step, rows of about the same length together.

    Args:
        steps: In canonical order.
        batch_tokens: Most tokens of a pack, padding included; a longer row is alone.
    """
    rows = []
    for step, first, offsets in trained_offsets(steps):
        before = len(step.prompt_ids) - 1  # the place that predicts the completion's first token
        ids = (*step.prompt_ids, *step.completion_ids[: offsets[-1]])  # the last predicts nothing
        rows.append((ids, before, first, offsets, step.completion_ids))
    rows.sort(key=lambda row: -len(row[0]))
    packs, start = [], 0
    while start < len(rows):
        count = max(1, batch_tokens // len(rows[start][0]))
        packs.append(_pack(rows[start : start + count]))
        start += count
    return packs


def _pack(rows: Sequence[tuple[tuple[int, ...], int, int, list[int], tuple[int, ...]]]) -> Packed:
    """Rows, the longest first, padded at their ends, where no token of theirs sees it."""
    width = len(rows[0][0])
    ids = torch.zeros(len(rows), width, dtype=torch.int64)
    sources, targets, order = [], [], []
    for i, (tokens, before, first, offsets, completion) in enumerate(rows):
        ids[i, : len(tokens)] = torch.tensor(tokens)
        sources += [i * width + before + offset for offset in offsets]
        targets += [completion[offset] for offset in offsets]
        order += [first + offset for offset in offsets]
    return Packed(
        ids, torch.arange(width).expand(len(rows), width), None,
        torch.tensor(sources), torch.tensor(targets), torch.tensor(order),
        sum(len(row[0]) for row in rows),
    )  # fmt: skip


class TokenScorer(nn.Module):  # type: ignore[misc]  # torch is not installed where types are checked
    """A causal language model as training asks it: trained tokens in, their log-probabilities out.

    A module, so that engines that shard or replicate models can wrap it.

    Args:
        model: Of transformers; its adapter, if any, within its layers.
        dtype: Forwards are in bfloat16 where this is; sums and weights stay as they are.
    """

    def __init__(self, model: Any, dtype: str = "float32") -> None:
        super().__init__()
        self.model, self._half = model, dtype == "bfloat16"
        vocabulary = model.get_output_embeddings().weight.shape[0]  # before an engine splits it
        self._rows = max(1, _LOGITS // vocabulary)
        self._windows = attention_windows(model.config)

    def forward(
        self, packed: Packed, temperature: float = 1.0, entropy: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Log-probabilities of the targets [n], float32 (float64 of a model in it).

        Args:
            packed: On the model's device.
            temperature: Logits are divided by it: the policy that draws at it.
            entropy: Whether to give the distributions' entropies [n] in nats too, without gradient.
        """
        with torch.autocast(packed.ids.device.type, torch.bfloat16, enabled=self._half):
            return self._scored(packed, temperature, entropy)

    def _scored(
        self, packed: Packed, temperature: float, entropy: bool
    ) -> tuple[Tensor, Tensor | None]:
        hidden = self._hidden(packed)
        hidden = hidden.flatten(0, 1)[packed.sources]
        head, size = self.model.get_output_embeddings(), self._rows
        again = torch.is_grad_enabled() and len(hidden) > size
        parts = []
        for rows, targets in zip(hidden.split(size), packed.targets.split(size), strict=True):
            given = (head, rows, targets, temperature, entropy)
            parts.append(checkpoint(_read, *given, use_reentrant=False) if again else _read(*given))
        logprobs = torch.cat([part[0] for part in parts])
        return logprobs, torch.cat([part[1] for part in parts]) if entropy else None

    def _hidden(self, packed: Packed) -> Tensor:
        """The last hidden states [rows, width, hidden]."""
        said: dict[str, Any] = {"input_ids": packed.ids, "use_cache": False}
        if packed.mask is not None:
            said |= {"attention_mask": self._masks(packed), "position_ids": packed.positions}
        hidden: Tensor = self.model.base_model(**said)[0]
        return hidden

    def _masks(self, packed: Packed) -> Any:
        """The mask as layers take it: one, or one by type of layer; a window counts positions."""
        mask, place = packed.mask, packed.positions
        back = place[:, None, :, None] - place[:, None, None, :]

        def narrowed(window: int | None) -> Any:
            return mask if window is None else mask & (back < window)

        if isinstance(self._windows, dict):
            return {kind: narrowed(window) for kind, window in self._windows.items()}
        return narrowed(self._windows)


def logprobs(model: Any, packed: Packed, temperature: float) -> Tensor:
    """Log-probabilities, log softmax(logits / temperature), of the targets [n], float32.

    Args:
        model: A causal language model of transformers.
        packed: On the model's device.
        temperature: Of the policy.
    """
    found: Tensor = TokenScorer(model)(packed, temperature)[0]
    return found


def check_understood(model: Any) -> None:
    """Try whether a model's forward is what `TokenScorer` takes it for.

    Not so where its logits are more than its output embedding of the last hidden states (capped or
    scaled, as Gemma 2's or Granite's), or where its attention ignores a mask of our own.

    Raises:
        UsageError: if it is not; in one line.
    """
    name = type(model).__name__
    attention = getattr(model.config, "_attn_implementation", None)
    if attention != "sdpa":
        raise UsageError(
            f"{name} cannot be trained here: its attention is {attention!r}, not torch's "
            "scaled_dot_product_attention (sdpa)"
        )
    if getattr(model.config, "final_logit_softcapping", None) is not None:
        raise UsageError(f"{name} cannot be trained here: its logits are capped")
    ids = torch.arange(_CHECKED, device=model.device)[None] % model.config.vocab_size
    causal = torch.ones(_CHECKED, _CHECKED, dtype=torch.bool, device=model.device).tril()
    apart = causal.clone()
    apart[_CHECKED // 2 :, : _CHECKED // 2] = False  # two halves that do not see each other
    places = torch.arange(_CHECKED, device=model.device)
    with torch.no_grad():
        own = model(input_ids=ids).logits.float().log_softmax(-1)
        half = model(input_ids=ids[:, _CHECKED // 2 :]).logits.float().log_softmax(-1)
        for mask, wanted in ((None, own[0]), (causal, own[0]), (apart, half[0])):
            sources = places[-len(wanted) :]
            positions = places if mask is not apart else places % (_CHECKED // 2)
            given = mask[None, None] if mask is not None else None
            for target in range(0, model.config.vocab_size, model.config.vocab_size // 4 + 1):
                packed = Packed(
                    ids, positions[None], given, sources, torch.full_like(sources, target),
                    sources, _CHECKED,
                )  # fmt: skip
                off = (logprobs(model, packed, 1.0) - wanted[:, target]).abs().max()
                if not off <= _tolerance(model, wanted):
                    raise UsageError(
                        f"{name} cannot be trained here: its logits are not its output embedding "
                        "of the last hidden states, or its attention takes no mask of ours"
                    )


def _tolerance(model: Any, logits: Tensor) -> float:
    """How far two ways to compute a log-probability may be apart, through many layers."""
    return max(1e-4, 8 * float(torch.finfo(model.dtype).eps)) * max(1.0, float(logits.abs().max()))


def _read(
    head: nn.Module, hidden: Tensor, targets: Tensor, temperature: float, entropy: bool
) -> tuple[Tensor, Tensor]:
    """Log-probabilities [n], and entropies [n] where they are wanted, of hidden states."""
    logits = head(hidden)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if temperature != 1.0:
        logits = logits / temperature
    all_ = logits.log_softmax(-1)
    spread = all_.new_empty(0)
    if entropy:
        with torch.no_grad():
            spread = -(all_.exp() * all_).sum(-1)
    return all_.gather(1, targets[:, None])[:, 0], spread
