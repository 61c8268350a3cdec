"""Statistics: intervals, paired tests, power; arrays in, small records out.

What each function computes, which test is used when, and how the choices were measured:
docs/statistics.md. Nothing here imports scipy before it is called.
"""

from .intervals import Estimate, estimate, macro_average, mean, pass_at_k, pass_hat_k, rate
from .levels import Block, Levels, two_levels
from .paired import Comparison, pair, paired, paired_average
from .significance import holm

__all__ = [
    "Block",
    "Comparison",
    "Estimate",
    "Levels",
    "estimate",
    "holm",
    "macro_average",
    "mean",
    "pair",
    "paired",
    "paired_average",
    "pass_at_k",
    "pass_hat_k",
    "rate",
    "two_levels",
]
