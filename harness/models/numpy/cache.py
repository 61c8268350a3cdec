"""Keys and values by slot, so that rows of a batch may come and go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .network import Floats, Sizes


class SlotCache:
    """Keys and values of every layer: [layers, slots, key-value heads, capacity, head size].

    Args:
        sizes: Of the network.
    """

    def __init__(self, sizes: Sizes) -> None:
        self._sizes = sizes
        self.slots = self.capacity = 0
        self.keys, self.values = self._zeros(0, 0), self._zeros(0, 0)

    def resize(self, slots: int, capacity: int, keep: Sequence[int], length: int) -> None:
        """Make it anew; the first `length` positions of old slot `keep[i]` become slot i's."""
        before = (self.keys, self.values)
        self.keys, self.values = self._zeros(slots, capacity), self._zeros(slots, capacity)
        for new, old in zip((self.keys, self.values), before, strict=True):
            for i, slot in enumerate(keep):
                new[:, i, :, :length] = old[:, slot, :, :length]
        self.slots, self.capacity = slots, capacity

    def copy(self, source: int, target: int, length: int) -> None:
        """Copy the first positions of a slot to another."""
        for held in (self.keys, self.values):
            held[:, target, :, :length] = held[:, source, :, :length]

    def clear(self) -> None:
        """Give the memory back."""
        self.slots = self.capacity = 0
        self.keys, self.values = self._zeros(0, 0), self._zeros(0, 0)

    def _zeros(self, slots: int, capacity: int) -> Floats:
        sizes = self._sizes
        return np.zeros((sizes.layers, slots, sizes.kv_heads, capacity, sizes.head), np.float32)
