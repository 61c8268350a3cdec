"""A text's tokens: estimated, for models whose tokenizer is not at hand; or a tokenizer's."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from .errors import DataError

ESTIMATOR = "pieces-1"  # part of a model's identity: token budgets are counted with it

# One match is one token. Byte-pair vocabularies of current models hold most common English words
# whole and break long or rare ones, write digits in groups of at most three, and join a blank to
# the word that follows; on English text one match per 7 letters agrees with them on average.
_PIECE = re.compile(
    r"[A-Za-z]{1,7}"  # a word, or a part of a long one
    r"|[0-9]{1,3}"
    r"|[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]"  # CJK: a token a character
    r"|[^\W\d_]{1,3}"  # letters of other scripts: vocabularies hold fewer of their words
    r"|[^\s]"  # a sign, or a rare digit
    r"|\n+"
    r"|[ \t]{2,}"  # indentation
)
_CACHED_LENGTH = 4000  # characters; longer texts are seldom counted twice and would fill memory


def estimate_tokens(text: str) -> int:
    """Tokens of a text, estimated.

    The tests hold it within 25% of a real WordPiece tokenizer on English observations, prompts
    and tool calls. Other languages, code and random strings may be further off.

    Args:
        text: Any text.

    Returns:
        A number of tokens; 0 for the empty text.
    """
    return _cached(text) if len(text) <= _CACHED_LENGTH else _count(text)


def _count(text: str) -> int:
    return len(_PIECE.findall(text))


@lru_cache(maxsize=4096)
def _cached(text: str) -> int:
    return _count(text)


def read_tokenizer(path: Path) -> Any:
    """A `tokenizer.json`, of the tokenizers library; it neither cuts nor pads.

    Raises:
        DataError: if it is missing or damaged.
    """
    from tokenizers import Tokenizer  # here: a run without weights does not wait for it

    if not path.is_file():
        raise DataError(f"{path.parent} holds no {path.name}")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception for any unusable file
        raise DataError(f"cannot read the tokenizer {path}: {error}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
