"""Options of memories: strings of `-o key=value`, read and checked."""

from __future__ import annotations

from collections.abc import Sequence

from ..harness.errors import UsageError, unknown_name


def switch(key: str, text: str) -> bool:
    """The value of an option that is `true` or `false`.

    Raises:
        UsageError: for anything else.
    """
    if text.lower() not in ("true", "false"):
        raise UsageError(f"memory option {key}: true or false, not {text!r}")
    return text.lower() == "true"


def whole(key: str, text: str, low: int, high: int) -> int:
    """The value of an option that is a whole number within these bounds.

    Raises:
        UsageError: for anything else.
    """
    digits = text.strip()
    value = int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 10 else -1
    if not low <= value <= high:
        raise UsageError(f"memory option {key}: a whole number from {low} to {high}, not {text!r}")
    return value


def number(key: str, text: str, low: float, high: float) -> float:
    """The value of an option that is a number within these bounds.

    Raises:
        UsageError: for anything else.
    """
    try:
        value = float(text)
    except ValueError:
        value = high + 1
    if not low <= value <= high:
        raise UsageError(f"memory option {key}: a number from {low} to {high}, not {text!r}")
    return value


def choice(key: str, text: str, known: Sequence[str]) -> str:
    """The value of an option that is one of a few words.

    Raises:
        UsageError: for anything else, naming the nearest.
    """
    if text not in known:
        raise unknown_name(f"value of memory option {key}:", text, known)
    return text
