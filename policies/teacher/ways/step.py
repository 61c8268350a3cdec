"""What a way does next."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """The next step.

    Attributes:
        state: What is so, as far as it matters.
        why: What is done and for what.
        action: In the words of the environment; empty where the rules end.
    """

    state: str
    why: str
    action: str
