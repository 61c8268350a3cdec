"""What several environments share: reading an action, and reading an option."""

from __future__ import annotations

import re
from pathlib import Path

from ..harness.errors import DataError, UsageError, unknown_name

MAX_ACTION = 1000  # characters; longer ones are no action anywhere
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def readable(action: str, max_chars: int = MAX_ACTION) -> str | None:
    """The action with its blanks folded; None for one that is empty, huge or holds control codes.

    Tabs and line breaks of any system count as blanks. What is None never reaches a simulator: it
    is answered with an observation and `valid=False`.
    """
    if len(action) > max_chars or _CONTROL.search(action):
        return None
    return " ".join(action.split()) or None


def flag(option: str, value: str) -> bool:
    """The value of an option that is `true` or `false`.

    Raises:
        UsageError: for any other value.
    """
    values = {"true": True, "false": False}
    if value not in values:
        raise unknown_name(f"value of {option}:", value, values)
    return values[value]


def number(option: str, value: str, most: int) -> int:
    """The value of an option that is a whole number, 0 to `most`.

    Raises:
        UsageError: for any other value.
    """
    if not (value.isascii() and value.isdecimal() and len(value) < 4):
        raise UsageError(f"{option} must be a number, not {value[:40]!r}")
    if int(value) > most:
        raise UsageError(f"{option} must be at most {most}, not {value}")
    return int(value)


def data_path(data: str) -> Path:
    """Where an option `data` points to, with `~` resolved.

    Raises:
        DataError: `~name` of a user there is not.
    """
    try:
        return Path(data).expanduser()
    except RuntimeError as error:
        raise DataError(f"{data}: there is no such home folder") from error
