"""Random walks through generated problems, in a form that any implementation can hash."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from random import Random

# Every domain and size twice.
INDICES = range(24)
STEPS = 12


def trace(
    index: int,
    applicable: Callable[[], Iterable[tuple[str, ...]]],
    facts: Callable[[], Iterable[tuple[str, ...]]],
    apply: Callable[[tuple[str, ...]], None],
) -> str:
    """A hash of all that is true and possible in each state of a walk from the initial state."""
    rng, total = Random(index), hashlib.sha256()
    for step in range(STEPS + 1):
        possible, true = sorted(applicable()), sorted(facts())
        total.update(repr((step, possible, true)).encode())
        if not possible:
            break
        apply(rng.choice(possible))
    return total.hexdigest()[:32]
