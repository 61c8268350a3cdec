"""Training in several processes, as `accelerate launch` starts them.

Each process plays its share of a step's tasks, whole groups, and computes the gradient of them;
`distributed` adds these up, with normalisers that are sums over all processes, so that an update is
the one that a single process would make. What is decided, is decided by all from the same numbers;
only the first process writes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import zip_longest
from typing import Any, TypeVar

from ..harness.errors import MissingExtraError

T = TypeVar("T")
_NOTHING = object()
# What `accelerate launch` sets where weights shall be split.
_SPLITS = {"ACCELERATE_USE_FSDP": "fsdp", "ACCELERATE_USE_DEEPSPEED": "deepspeed"}


def leads() -> bool:
    """Whether this process is the first of those launched together, or the only one."""
    return _launched() == 1 or int(os.environ.get("RANK", "0")) == 0


def _launched() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def launched_team() -> Team:
    """The processes that were launched together with this one, which now meet.

    What the launcher was told of FSDP and DeepSpeed is for this package's engines: accelerate and
    transformers, which would otherwise load weights in parts of their own, are not told.

    Raises:
        MissingExtraError: without accelerate, where there are several.
    """
    if _launched() == 1:
        return Team()
    try:
        from accelerate import Accelerator
    except ImportError as error:
        raise MissingExtraError("accelerate", "train") from error
    from accelerate.utils import InitProcessGroupKwargs

    asked = [name for flag, name in _SPLITS.items() if _true(os.environ.pop(flag, ""))]
    # The others wait for as long as the first one evaluates, writes, or makes demonstrations.
    waits = InitProcessGroupKwargs(timeout=timedelta(days=7))
    accelerator = Accelerator(kwargs_handlers=[waits])
    kind = str(accelerator.distributed_type.value)
    return Team(accelerator, asked[0] if asked else "copies" if kind.startswith("MULTI_") else kind)


def _true(said: str) -> bool:
    return said.lower() in ("true", "1")


class Team:
    """The processes that train one model together, and this one's place among them.

    Args:
        accelerator: Of `accelerate`; None: this process is the whole team.
        weights: How they share a model's weights.

    Attributes:
        weights: `copies`: each has them all; `fsdp` or `deepspeed`: each has a part; or what else
            accelerate calls it.
    """

    def __init__(self, accelerator: Any = None, weights: str = "copies") -> None:
        self._accelerator, self.weights = accelerator, weights

    @property
    def accelerator(self) -> Any:
        """Of `accelerate`; None where this process is the whole team."""
        return self._accelerator

    @property
    def size(self) -> int:
        """How many processes there are."""
        return 1 if self._accelerator is None else int(self._accelerator.num_processes)

    @property
    def rank(self) -> int:
        """This one's number, from 0."""
        return 0 if self._accelerator is None else int(self._accelerator.process_index)

    @property
    def first(self) -> bool:
        """Whether this one writes."""
        return self.rank == 0

    def share(self, items: Sequence[T], cost: Callable[[T], float] | None = None) -> list[T]:
        """This one's part of what there is to do: every `size`th, since neighbours are alike.

        Args:
            items: All that there is to do.
            cost: Of an item: the dearest is given first, each to whom has least. None: all alike.
        """
        if cost is None:
            return list(items[self.rank :: self.size])
        spent, mine = [0.0] * self.size, []
        for item in sorted(items, key=cost, reverse=True):
            least = spent.index(min(spent))
            spent[least] += cost(item)
            if least == self.rank:
                mine.append(item)
        return mine

    def gather(self, items: Sequence[T]) -> list[T]:
        """What all have of their shares, in the order of the whole; each of them calls this."""
        if self._accelerator is None:
            return list(items)
        from accelerate.utils import gather_object

        parts = gather_object([list(items)])
        rows = zip_longest(*parts, fillvalue=_NOTHING)
        return [item for row in rows for item in row if item is not _NOTHING]

    def any(self, here: bool) -> bool:
        """Whether it is so in any of them, as of a signal that only one has heard."""
        return any(self.gather([here]))

    def wait(self) -> None:
        """Until all have come to this place, as after the first has written something."""
        if self._accelerator is not None:
            self._accelerator.wait_for_everyone()

    def tell(self, name: str, *args: Any, **kwargs: Any) -> None:
        """The first one says what all do next; see `follow`."""
        if self._accelerator is not None:
            self._broadcast([(name, args, kwargs)])

    def hear(self) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
        """What the first one says, as the others wait for it."""
        return self._broadcast([None])[0]  # type: ignore[no-any-return]

    def _broadcast(self, values: list[Any]) -> list[Any]:
        from accelerate.utils import broadcast_object_list

        return list(broadcast_object_list(values, from_process=0))
