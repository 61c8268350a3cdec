"""Invented names, each used once: none of a test question occurs in a training question."""

from __future__ import annotations

from collections.abc import Iterator
from math import gcd, prod
from random import Random

_PARTS = (
    ("B", "Br", "C", "D", "Dr", "F", "Fl", "G", "H", "J", "K", "L", "M", "N", "P", "Qu", "R", "S",
     "T", "Tr", "V", "W", "Y", "Z"),
    ("a", "e", "i", "o", "u"),
    ("ld", "lm", "lv", "nd", "ndr", "ng", "rg", "rk", "rn", "rv", "sk", "st", "th", "v", "z"),
    ("a", "e", "i", "o", "u"),
    ("b", "d", "g", "l", "m", "n", "p", "r", "rr", "s", "t", "v", "x"),
    ("a", "ek", "en", "eth", "in", "is", "o", "un", "ur"),
)  # fmt: skip
N_WORDS = prod(map(len, _PARTS))
_STRIDE = 307_081  # neighbouring numbers give names that do not look alike
assert gcd(_STRIDE, N_WORDS) == 1  # so no two numbers give the same word

_FIRST_NAMES = {
    "f": ("Adira", "Belka", "Corvina", "Delphe", "Elisen", "Fenna", "Ilse", "Jorun", "Kaleth",
          "Liora", "Maren", "Nerida", "Orsola", "Petra", "Runa", "Sunniva", "Tamsin", "Ulla",
          "Veska", "Yelena"),
    "m": ("Alaric", "Borin", "Caspian", "Dorrel", "Emeric", "Falk", "Gavril", "Halden", "Ivo",
          "Joss", "Kester", "Lucan", "Matthis", "Nels", "Orrin", "Piers", "Radek", "Stellan",
          "Torben", "Viggo"),
}  # fmt: skip
_TESTED = frozenset(name for names in _FIRST_NAMES.values() for name in names[::2])
_INVENTED = 0.5  # share of the first names in training
_ENDS = ("a", "an", "el", "en", "ia", "in", "is", "o", "or", "us")
# Words that the parts happen to make and that are names of something; `word` still counts them.
_REAL = frozenset((
    "bendigo", "candaba", "condado", "dangila", "favara", "hengelo", "kuskovo", "mastitis",
    "nevada", "rangiro", "rivera", "silvana", "tongeren",
))  # fmt: skip
PER_QUESTION = 64  # words kept for each question


def word(number: int) -> str:
    """The invented word with this number; different for each below 1,053,000."""
    rest, parts = number * _STRIDE % N_WORDS, []
    for choices in _PARTS:
        rest, at = divmod(rest, len(choices))
        parts.append(choices[at])
    return "".join(parts)


class Names:
    """Names for the things of one question.

    Args:
        number: of the question, over all splits: no word of it is used for another number.
        training: half of the first names are for training, half for testing. In training half of
            the people have an invented one instead: who learned from twenty first names alone
            would know them by heart, and misspell all others.
        rng: draws what need not be unique.
    """

    def __init__(self, number: int, *, training: bool, rng: Random) -> None:
        own = map(word, range(number * PER_QUESTION, (number + 1) * PER_QUESTION))
        self._words: Iterator[str] = (made for made in own if made.lower() not in _REAL)
        self._training = training
        self._rng = rng

    def word(self) -> str:
        """A word not used before."""
        return next(self._words)

    def person(self, gender: str) -> str:
        """A first name and a family name."""
        first = self._rng.choice(_FIRST_NAMES[gender][self._training :: 2])
        if self._training and self._rng.random() < _INVENTED:
            first = self._invented()
        return f"{first} {self.word()}"

    def _invented(self) -> str:
        """A first name that nobody has in a test."""
        while True:
            parts = "".join(map(self._rng.choice, _PARTS[: self._rng.choice((3, 4))]))
            name = parts + self._rng.choice(_ENDS)
            if name not in _TESTED:
                return name
