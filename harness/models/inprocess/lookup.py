"""What a text may go on with, by what followed the same words before.

Agents say much that stands in their prompt already: names, lists, the thought before with a change.
So the tokens that followed the last ones where they stood before are a guess that costs nothing
(prompt lookup decoding: Saxena 2023, github.com/apoorvumang/prompt-lookup-decoding). One forward
computes a guess beside the token that is due, and tells how much of it is right.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_LONGEST = 8  # tokens that are compared; more of them tell little more


def lookup(held: NDArray[np.int64], most: int) -> list[int]:
    """Guess the next tokens of a sequence.

    The longest ending of it, of at most 8 tokens and at least two, that stands somewhere before is
    sought; where it stands more than once, the last place counts. Of n tokens alike, twice n - 1
    tokens are guessed: the longer they are alike, the longer they stay so.

    Args:
        held: All tokens so far, [tokens].
        most: Tokens to guess at most.

    Returns:
        The guess; empty where nothing is alike.
    """
    end = len(held) - 1
    if most < 1 or end < 2:
        return []
    places = np.flatnonzero(held[:end] == held[end])
    alike = 0
    while len(places) and alike < _LONGEST:
        last, alike = int(places[-1]), alike + 1
        places = places[places >= alike]
        places = places[held[places - alike] == held[end - alike]]
    length = min(2 * (alike - 1), most)
    return held[last + 1 : last + 1 + length].tolist() if length > 0 else []
