"""Cells side by side, episode by episode."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

import numpy as np

from ..columns import FloatArray
from .frame import CellFrame

_EPISODE = attrgetter("task", "seed", "repeat", "order_seed")


class Alignment:
    """The scored episodes of several cells: the same task, seed, repeat and order is the same one.

    Args:
        frames: The cells.
    """

    def __init__(self, frames: Sequence[CellFrame]) -> None:
        self._frames = frames
        places: dict[tuple[str, int, int, int | None], int] = {}
        self._places = []
        for frame in frames:
            of_frame = [places.setdefault(_EPISODE(key), len(places)) for key in frame.keys]
            self._places.append(np.array(of_frame, dtype=np.int64)[frame.scored])
        self._tasks = np.array([task for task, *_ in places], dtype=object)

    def pair(self, base: int, new: int, column: str) -> tuple[FloatArray, FloatArray, list[str]]:
        """The scores of two of the cells on the episodes that have one in both; and their tasks.

        Args:
            base: Place of one among the cells.
            new: Of the other.
            column: Of the score.
        """
        old, now = (self._spread(index, column) for index in (base, new))
        both = ~(np.isnan(old) | np.isnan(now))
        return old[both], now[both], self._tasks[both].tolist()

    def _spread(self, index: int, column: str) -> FloatArray:
        values = np.full(len(self._tasks), np.nan)
        values[self._places[index]] = self._frames[index].values(column)
        return values
