"""Text that leaves a run: without secrets, and harmless to the terminal that shows it."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote

from ..redact import Redactor

_SECRET_NAME = re.compile(r"(_KEY|_TOKEN|_PASSWORD|_CREDENTIALS)$|SECRET", re.IGNORECASE)
_HEADERS_NAME = re.compile(r"^OTEL_EXPORTER_OTLP_(.*_)?HEADERS$")
# What moves a cursor, rings, recolours, or turns the direction of writing: C0, DEL, C1, bidi marks
# and the line separators that JSON leaves alone.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
_CONTROL_BUT_LINES = re.compile(_CONTROL.pattern.replace("\x00-\x1f", "\x00-\x09\x0b-\x1f"))


def escape(text: str, *, lines: bool = False) -> str:
    r"""Control characters as `\x1b`; what a model or an endpoint wrote must not steer a terminal.

    Args:
        text: Any text.
        lines: Whether line feeds stay, for text of several lines.
    """
    if text.isprintable():
        return text
    pattern = _CONTROL_BUT_LINES if lines else _CONTROL
    return pattern.sub(_escaped, text).encode(errors="backslashreplace").decode()


def message_of(record: logging.LogRecord) -> str:
    """The message of a log record, also of one whose arguments do not fit it."""
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - or whose arguments have no text: anything may be raised
        return record.msg if isinstance(record.msg, str) else type(record.msg).__name__


def say(line: str) -> None:
    """Write one line to standard error, in one piece; above the dashboard, where there is one."""
    with contextlib.suppress(OSError, ValueError):  # nobody reads it any more
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


def clip(text: str, limit: int) -> str:
    """A text of at most so many characters, and how much of it is left out."""
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text) - limit} more characters)"


class Cleaner:
    """Makes texts fit to be shown and kept: no secrets, no control characters, no endless ones.

    Secrets are the values of environment variables whose names look like keys (`*_KEY`,
    `*_TOKEN`, `*_PASSWORD`, `*_CREDENTIALS`, `*SECRET*`), and of the headers that
    `OTEL_EXPORTER_OTLP_HEADERS` holds, from 8 characters on.

    Args:
        names: Further variables that hold a secret.
        environment: Where the variables are; None: this process's.
    """

    def __init__(
        self, names: Iterable[str] = (), environment: Mapping[str, str] | None = None
    ) -> None:
        values = os.environ if environment is None else environment
        further = frozenset(names)
        secrets: set[str] = set()
        for name, value in values.items():
            if name in further or _SECRET_NAME.search(name):
                secrets |= {value, value.strip()}
            elif _HEADERS_NAME.match(name):
                secrets |= _header_values(value)
        self._redactor = Redactor(*filter(_is_text, secrets))

    def secretless(self, text: str) -> str:
        """The text without secrets."""
        return self._redactor.text(text)

    def value(self, value: Any, limit: int, depth: int = 8) -> Any:
        """A JSON value: no secrets, no control characters, texts clipped; the rest as text."""
        if value is None or isinstance(value, bool | int):
            return value
        if isinstance(value, float) and math.isfinite(value):  # JSON has no others
            return value
        if depth and isinstance(value, Mapping):
            return {
                str(self.value(str(key), limit)): self.value(item, limit, depth - 1)
                for key, item in value.items()
            }
        if depth and isinstance(value, list | tuple | set | frozenset):
            return [self.value(item, limit, depth - 1) for item in value]
        return self.line(str(value), limit)

    def line(self, text: str, limit: int) -> str:
        """A text without secrets and control characters, at most about so long."""
        # In this order: a clipped secret would not be found, and escaping 10 MB takes seconds.
        return escape(clip(self.secretless(text), limit))


def _escaped(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _is_text(value: str) -> bool:
    """Whether it is UTF-8; a variable may hold any bytes, and what is no text is in no text."""
    return value.isprintable() or value.encode(errors="ignore").decode() == value


def _header_values(headers: str) -> set[str]:
    """The values of `name=value,name=value`, as written, decoded, and without their scheme."""
    found: set[str] = set()
    for pair in headers.split(","):
        _, _, value = pair.partition("=")
        for form in (value.strip(), unquote(value).strip()):
            found |= {form, form.rpartition(" ")[2]}
    return found
