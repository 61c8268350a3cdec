"""Tables as CSV that a spreadsheet can open: what a model wrote is text there, never a formula.

A missing value is an empty field. Every text is in quotation marks, so an empty text, `""`, can be
told from it. Truth values are `true` and `false`, moments ISO 8601 in UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from ..observe.text import escape
from .columns import Column, Row

# What a spreadsheet takes for a formula, also in full width (OWASP, "CSV Injection").
_FORMULA = tuple("=+-@＝＋－＠\t\r")


def write_csv(path: Path, rows: Iterable[Row], columns: Sequence[Column]) -> int:
    """Write a table.

    Returns:
        How many rows there were.

    Raises:
        OSError: if the disk refuses.
    """
    n = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(field(column.name) for column in columns) + "\r\n")
        for row in rows:
            file.write(",".join(field(column.of(row)) for column in columns) + "\r\n")
            n += 1
    return n


def field(value: Any) -> str:
    """A value as one field of a line."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.isoformat()
    if not isinstance(value, str):
        return repr(value)
    doubled = text(value).replace('"', '""')
    return f'"{doubled}"'


def text(value: str) -> str:
    """A text as a cell: an apostrophe before what looks like a formula, no control characters."""
    formula = value.lstrip(" \n").startswith(_FORMULA)
    return ("'" if formula else "") + escape(value, lines=True)
