"""An embedder without weights: words, word pairs and character n-grams, hashed with signs.

It finds wording, not meaning: a paraphrase that shares no word with a text is not near it. It is
the default of the light install and is named in every result; findings want MiniLM or better.
"""

from __future__ import annotations

import math
import re
from array import array
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..harness.types import Json

VERSION = 1
DIM = 1024
MAX_CHARS = 16_384  # of a text; what lies beyond is not read
_MAX_WORD = 40  # characters of a word that become n-grams
_PAIR_WEIGHT = 0.5
_GRAMS_WEIGHT = 0.9  # all n-grams of a word together; the word weighs 1, so they cannot cancel it
_STOP_WEIGHT = 0.2
_NUMBER_WEIGHT = 0.3  # `cabinet 1` and `drawer 1` have little in common
_WORD = re.compile(r"\w+")
_STOP = frozenset(
    _WORD.findall(
        """a about all an and any are as at be been but by can did do does down for from had has
        have he her here his how i if in into is it its me my no not of on or our out she so some
        than that the their then there these they this those to up was we were what when where
        which who will with you your"""
    )
)
Features = tuple[bytes, float, float]  # see `_hashed`; weights of the first and of each other


class HashingEmbedder:
    """Signed feature hashing (Weinberger et al., 2009) with sublinear term frequency.

    A word is the sum of itself and of its character 3- to 5-grams, boundaries marked, so that
    inflections and misspellings stay near; pairs of neighbouring words add some order.

    `theta_f` is calibrated by `calibrate`, not the paper's: on its labelled pairs 0.33 finds 65%
    of the messages a criterion means and takes none that it does not; 0.6 would find 18%.
    """

    name = "hashing"
    dim = DIM
    theta_f = 0.33

    def __init__(self) -> None:
        self.identity: Json = {"name": self.name, "version": VERSION, "dim": DIM}

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors of shape (len(texts), 1024); the zero vector for a text without features."""
        vectors = np.zeros((len(texts), DIM), dtype=np.float32)
        for row, text in zip(vectors, texts, strict=True):
            row += _vector(text)
        return vectors

    def count_tokens(self, text: str) -> int:
        """Words read of a text."""
        return len(_words(text))


def _vector(text: str) -> NDArray[np.float32]:
    words = _words(text)
    if not words:
        return np.zeros(DIM, dtype=np.float32)
    terms = [(_word_features(word), count) for word, count in Counter(words).items()]
    terms += [(_pair_features(*pair), count) for pair, count in Counter(pairwise(words)).items()]
    codes = np.frombuffer(b"".join([packed for (packed, _, _), _ in terms]), dtype=np.int16)
    weights = np.array(
        [[weight, each] for (_, weight, each), _ in terms], dtype=np.float32
    )  # of a term itself, and of each of its n-grams
    weights *= np.array([[1.0 + math.log(count)] for _, count in terms], dtype=np.float32)
    grams = [len(packed) // 2 - 1 for (packed, _, _), _ in terms]
    each = np.repeat(weights.ravel(), [n for more in grams for n in (1, more)])
    vector = np.bincount(np.abs(codes) - 1, np.copysign(each, codes), DIM)
    norm = math.sqrt(float(vector @ vector))
    return (vector / norm if norm else vector).astype(np.float32)


def _words(text: str) -> list[str]:
    """Words of a text in lower case; its other symbols where it has no words."""
    text = text[:MAX_CHARS].casefold()
    return _WORD.findall(text) or text.split()


@lru_cache(maxsize=16_384)
def _word_features(word: str) -> Features:
    marked = f"<{word[:_MAX_WORD]}>"
    grams = sorted({marked[i : i + n] for n in (3, 4, 5) for i in range(len(marked) - n + 1)})
    weight = _weight(word)
    each = weight * _GRAMS_WEIGHT / math.sqrt(len(grams)) if grams else 0.0
    return _hashed([f"w {word}", *(f"c {gram}" for gram in grams)]), weight, each


@lru_cache(maxsize=8_192)
def _pair_features(first: str, second: str) -> Features:
    stop = first in _STOP or second in _STOP
    weight = _PAIR_WEIGHT * (_STOP_WEIGHT if stop else 1.0)
    return _hashed([f"p {first} {second}"]), weight, 0.0


def _weight(word: str) -> float:
    if word in _STOP:
        return _STOP_WEIGHT
    return _NUMBER_WEIGHT if word.isdigit() else 1.0


def _hashed(names: list[str]) -> bytes:
    """Places, counted from 1, and signs, by a hash that is the same in every process.

    As bytes, since thousands of them are kept and an array is many times as large.
    """
    codes = array("h")
    for name in names:
        digest = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        code = int.from_bytes(digest, "little")
        place = code % DIM + 1
        codes.append(place if code >> 63 else -place)
    return codes.tobytes()
