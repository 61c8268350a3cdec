"""Answers limited to a list: which token may come next, so that each answer is one of it.

What counts is the text, not one way to cut it into tokens: any token may come that goes on with
one of the answers, whole or in part, also one that ends the answer and says more, or that opens
one and begins it. All is reckoned in bytes, since a token of a byte-level tokenizer may be a part
of a character. Outside of answers a reply is free.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...protocol import parse_text

_OPEN, _CLOSE = b"<answer>", b"</answer>"  # the former in any case, as replies are parsed


class Spelling:
    """What each token of a byte-level tokenizer adds to a text.

    Args:
        pieces: The bytes, by token id; empty for tokens that leave no trace in a text.

    Raises:
        ValueError: if an answer cannot be closed byte by byte: then one might not end.
    """

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.pieces = tuple(pieces)
        self.tokens: dict[bytes, list[int]] = {}
        for token, piece in enumerate(self.pieces):
            if piece:
                self.tokens.setdefault(piece, []).append(token)
        self.longest = max(map(len, self.tokens), default=0)
        self._single = {piece[0] for piece in self.tokens if len(piece) == 1}
        if not self.spells(_CLOSE):
            raise ValueError("it has no tokens for the letters of </answer>")
        # those that say more after a tag's end
        self.beyond = [t for t, piece in enumerate(self.pieces) if b">" in piece[:-1]]
        # of them those that open an answer, of whose tag so many bytes are there, and begin it
        self.opening = [list(self._opening(count)) for count in range(len(_OPEN))]

    def spells(self, text: bytes) -> bool:
        """Whether every byte of a text is a token, so that whatever begins it can be ended."""
        return self._single.issuperset(text)

    def piece(self, token: int) -> bytes:
        """What a token adds; nothing where a network has more tokens than its tokenizer."""
        return self.pieces[token] if token < len(self.pieces) else b""

    def _opening(self, count: int) -> Iterator[int]:
        for token in self.beyond:
            text = (_OPEN[:count] + self.pieces[token]).lower()
            at = text.find(_OPEN)
            if 0 <= at < len(text) - len(_OPEN):
                yield token


class _Place(NamedTuple):
    """Where a reply stands."""

    tail: bytes  # the last bytes outside of an answer, which may be the beginning of its tag
    typed: bytes | None  # of the answer that is open; None outside


class Answers:
    """The answers that a reply may hold. It is false where none of them can be given.

    Those are left out that no reply could hold: what the parser would read otherwise, such as
    text with tags in it, and what the tokenizer has no tokens for.

    Args:
        spelling: Of the model's tokenizer.
        answers: The list.
    """

    def __init__(self, spelling: Spelling, answers: Iterable[str]) -> None:
        self.spelling = spelling
        texts = {text for text in map(_held, answers) if text is not None}
        self._texts = {text for text in texts if spelling.spells(text)}
        self._whole = sorted(text + _CLOSE for text in self._texts)

    def __bool__(self) -> bool:
        return bool(self._whole)

    def read(self, place: _Place, piece: bytes) -> _Place | None:
        """Where a reply stands after more bytes; None where an answer is none of the list."""
        tail, typed = place
        while True:
            if typed is None:
                text = tail + piece
                at = text.lower().find(_OPEN)
                if at < 0:
                    return _Place(text[1 - len(_OPEN) :], None)
                typed, piece = b"", text[at + len(_OPEN) :]
            text = typed + piece
            end = text.find(_CLOSE)
            if end < 0:
                first = bisect_left(self._whole, text)
                begins = first < len(self._whole) and self._whole[first].startswith(text)
                return _Place(b"", text) if begins else None
            if text[:end] not in self._texts:
                return None
            tail, typed, piece = b"", None, text[end + len(_CLOSE) :]

    def following(self, typed: bytes) -> list[int]:
        """The tokens that may come where so much of an answer is there."""
        rest: list[bytes] = []
        for at in range(bisect_left(self._whole, typed), len(self._whole)):
            if not self._whole[at].startswith(typed):
                break
            rest.append(self._whole[at][len(typed) :])
        spelling = self.spelling
        heads = {text[: spelling.longest] for text in rest}
        pieces = {head[:count] for head in heads for count in range(1, len(head) + 1)}
        tokens = [token for piece in pieces for token in spelling.tokens.get(piece, ())]
        if min(map(len, rest)) < spelling.longest:
            place = _Place(b"", typed)
            tokens += [
                t for t in spelling.beyond if self.read(place, spelling.pieces[t]) is not None
            ]
        return tokens


class Reply:
    """Follows a reply token by token."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._place = _Place(b"", None)

    def add(self, token: int) -> None:
        """Take in the token that came, one of those allowed."""
        place = self._answers.read(self._place, self._answers.spelling.piece(token))
        assert place is not None, "a token that was barred"
        self._place = place

    def barred(self, size: int) -> NDArray[np.bool_] | None:
        """Which tokens may not come next, [size]; None where every one may."""
        answers, (tail, typed) = self._answers, self._place
        if typed is not None:
            barred = np.ones(size, np.bool_)
            barred[answers.following(typed)] = False
            return barred
        spelling = answers.spelling
        begun = tail.lower()
        count = next(n for n in range(len(_OPEN) - 1, -1, -1) if begun.endswith(_OPEN[:n]))
        bad = [
            t for t in spelling.opening[count]
            if answers.read(self._place, spelling.pieces[t]) is None
        ]  # fmt: skip
        if not bad:
            return None
        barred = np.zeros(size, np.bool_)
        barred[bad] = True
        return barred


@lru_cache(maxsize=2**16)
def _held(answer: str) -> bytes | None:
    """An answer in bytes; None where a reply that holds it is read as another."""
    try:
        text = answer.encode()
    except UnicodeEncodeError:  # half a surrogate pair
        return None
    return text if parse_text(f"<answer>{answer}</answer>").answer == answer else None
