"""A key-value cache of slots, so that rows of a batch may come and go.

A row of the batch owns a slot, and a token's place in its slot is its position, from 0. So nothing
is padded, rows of any length are read together, a row joins or leaves without moving another, and
what a slot holds can be taken up, or copied, by a prompt that begins alike.

Memory is a rectangle, slots times capacity, for each layer: [slots, heads, capacity, head size].
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from ...errors import UsageError

ATTENTION = frozenset({"full_attention", "sliding_attention"})  # types of layers that are known


class SlotCache(Cache):  # type: ignore[misc]  # transformers is not installed where types are checked
    """What a model's layers write their keys and values to, and read them from.

    Args:
        device: Of the model.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__(layers=[])
        self.slots = 0
        self.capacity = 0  # tokens of a slot
        self._device = device
        self._held: list[tuple[Tensor, Tensor]] = []  # keys and values by layer
        # Where the next forward writes, entry by entry: slot and position, from row and column.
        self._to: tuple[Tensor, Tensor] = (torch.empty(0), torch.empty(0))
        self._from: tuple[Tensor, Tensor] = (torch.empty(0), torch.empty(0))
        self._read: Tensor | slice = slice(0, 0)  # the slots of the rows
        self._length = 0  # positions that are read

    def resize(self, slots: int, capacity: int, keep: Sequence[int], length: int) -> None:
        """Make the rectangle anew; the first positions of old slot `keep[i]` become slot i's."""
        kept = list(keep)
        for layer, pair in enumerate(self._held):
            new = [self._zeros(old, slots, capacity) for old in pair]
            for fresh, old in zip(new, pair, strict=True):
                fresh[: len(kept), :, :length] = old[kept, :, :length]
            self._held[layer] = (new[0], new[1])
        self.slots, self.capacity = slots, capacity

    def clear(self) -> None:
        """Give the memory back."""
        self._held.clear()
        self.slots = self.capacity = 0

    def copy(self, source: int, target: int, length: int) -> None:
        """Copy the first positions of a slot to another."""
        for pair in self._held:
            for held in pair:
                held[target, :, :length] = held[source, :, :length]

    def aim(self, slots: Sequence[int], starts: Sequence[int], counts: Sequence[int]) -> Tensor:
        """Say where the next forward writes and reads.

        The rows' new tokens stand in its last columns: `counts[i]` of them for row i.

        Args:
            slots: Of each row.
            starts: Position of each row's first new token.
            counts: Each row's number of new tokens.

        Returns:
            The position of every row and column, [rows, columns]; in columns that a row does not
            use the position of its first new token, so that they see what a token may see.
        """
        width = max(counts)
        column = torch.arange(width)
        first = width - torch.tensor(counts)[:, None]  # each row's first column
        positions = torch.tensor(starts)[:, None] + (column - first).clamp(min=0)
        rows, columns = (column >= first).nonzero(as_tuple=True)
        of_rows = torch.tensor(slots)
        self._from = (rows.to(self._device), columns.to(self._device))
        self._to = (of_rows[rows].to(self._device), positions[rows, columns].to(self._device))
        self._length = max(start + count for start, count in zip(starts, counts, strict=True))
        if list(slots) == list(range(slots[0], slots[0] + len(slots))):
            self._read = slice(slots[0], slots[0] + len(slots))  # a view; else it is a copy
        else:
            self._read = of_rows.to(self._device)
        return positions.to(self._device)

    @property
    def length(self) -> int:
        """Positions that the next forward reads."""
        return self._length

    # --- called by the model ----------------------------------------------------------------

    def update(
        self,
        key_states: Tensor,
        value_states: Tensor,
        layer_idx: int,
        *_: Any,
        **__: Any,
    ) -> tuple[Tensor, Tensor]:
        """Write a layer's new keys and values [rows, heads, columns, size]; returns all of them."""
        if layer_idx == len(self._held):  # the first forward: now the sizes are known
            self._held.append(
                (
                    self._zeros(key_states, self.slots, self.capacity),
                    self._zeros(value_states, self.slots, self.capacity),
                )
            )
        for held, new in zip(self._held[layer_idx], (key_states, value_states), strict=True):
            held[self._to[0], :, self._to[1]] = new[self._from[0], :, self._from[1]]
        keys, values = self._held[layer_idx]
        return keys[self._read, :, : self._length], values[self._read, :, : self._length]

    def get_seq_length(self, _layer_idx: int = 0) -> int:
        """Positions before the new tokens; rows differ, and positions are given with the call."""
        return 0

    @staticmethod
    def _zeros(like: Tensor, slots: int, capacity: int) -> Tensor:
        """Not uninitialised: a masked value counts 0 times, and 0 times NaN is NaN."""
        return like.new_zeros((slots, like.shape[1], capacity, like.shape[3]))


def call_keywords(model: Any, cache: SlotCache) -> dict[str, Any]:
    """How a model takes its cache, and gives only the last logits.

    Raises:
        UsageError: for a model whose cache is not one of keys and values by position.
    """
    takes = inspect.signature(model.forward).parameters
    name = next((key for key in ("cache", "past_key_values") if key in takes), None)
    kinds = set(getattr(model.config, "layer_types", None) or ())
    if name is None or "position_ids" not in takes or kinds - ATTENTION:
        raise UsageError(
            f"{type(model).__name__} is no model of plain or sliding attention by positions, "
            "which `hf:` needs: serve it with vLLM (vllm:MODEL)"
        )
    keywords = {name: cache, "use_cache": True}
    return {**keywords, "logits_to_keep": 1} if "logits_to_keep" in takes else keywords


def attention_windows(config: Any) -> int | dict[str, int | None] | None:
    """How many positions back a layer sees; None: all; by type of layer where there are two."""
    window: int | None = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    if kinds is None:
        return window if getattr(config, "use_sliding_window", True) else None
    if "sliding_attention" not in kinds:
        return None
    return {"full_attention": None, "sliding_attention": window}
