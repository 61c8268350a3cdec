"""How memories quote texts to their model, and keep its answers within limits."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator

from ..harness.trace import Trace
from ..harness.types import Json
from .structured import fault

T = TypeVar("T")


def _as_id(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


ShortId = Annotated[str, BeforeValidator(_as_id)]
"""An id as shown in a prompt; models write the id 0 as often as "0"."""


def cut(text: str, limit: int) -> str:
    """The text, cut with a visible mark if it has more characters than that."""
    return text if len(text) <= limit else f"{text[:limit]} [… {len(text) - limit} characters cut]"


def json_lines(items: Sequence[Json]) -> str:
    """One JSON object a line, so that no text can pretend to be the end of its quotation."""
    return "\n".join(json.dumps(item, ensure_ascii=False) for item in items) or "(none)"


def distinct(texts: Iterable[str]) -> list[str]:
    """The texts that say something, each once, in their order; case does not tell them apart."""
    kept: dict[str, str] = {}
    for text in texts:
        plain = " ".join(text.split())
        if plain:
            kept.setdefault(plain.casefold(), plain)
    return list(kept.values())


def within(limit: int, items: Sequence[T], what: str, *, op: str, trace: Trace) -> list[T]:
    """The first so many items of an answer; that others were dropped is booked as one fault."""
    if len(items) > limit:
        fault(trace, op, f"{len(items) - limit} {what} beyond the limit of {limit}")
    return list(items[:limit])
