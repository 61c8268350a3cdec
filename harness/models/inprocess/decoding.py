"""What is asked of a decoder, and what it gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .answers import Answers

GREEDY = 1e-5  # a lower temperature is greedy: divided by it, logits would overflow


@dataclass(frozen=True, slots=True)
class Prompt:
    """What to continue, and how."""

    tokens: tuple[int, ...]  # at least one
    max_tokens: int  # at least one
    temperature: float = 0.0  # below `GREEDY`: the likeliest token, always
    top_p: float = 1.0  # of the likeliest tokens that together have this probability
    seed: int = 0
    want_logprobs: bool = False
    answers: Answers | None = None  # what may stand between <answer> and </answer>; None: anything

    @property
    def total(self) -> int:
        """Positions it may take."""
        return len(self.tokens) + self.max_tokens


@dataclass(frozen=True, slots=True)
class Generated:
    """A continuation."""

    tokens: tuple[int, ...]  # with the stop token that ended it
    finish: Literal["stop", "length"]
    # Natural logarithms of the tokens' probabilities under the model itself: neither temperature
    # nor top_p is in them (as vLLM's `raw_logprobs`, its default), nor which answers may be given.
    logprobs: tuple[float, ...] | None = None
