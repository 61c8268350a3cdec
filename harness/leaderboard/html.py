"""The report as one page that needs nothing beside itself: sortable, and readable on a phone."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from importlib import resources
from itertools import pairwise
from typing import Any

from ..observe.text import escape
from ..tables import SIGNS, Bar, Grid

TITLE = "agemem-eval: memories compared"
ABOUT = "Memories of language-model agents by success, memory quality, tokens and tool use."
_NUMBER = re.compile(r"~?(-?[\d,]*\.?\d+)")


def page(grids: Sequence[Grid], details: Sequence[Grid], notes: Sequence[str]) -> str:
    """The page; what a name holds is text in it, whatever it looks like.

    Args:
        grids: Tables to show.
        details: Tables below, folded.
        notes: Lines at the end.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    texts = {suffix: _text(f"page.{suffix}") for suffix in ("css", "js", "html.jinja")}
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return environment.from_string(texts["html.jinja"]).render(
        title=TITLE,
        about=ABOUT,
        # Ours, word for word, as their hashes say to the browser, which runs nothing else.
        style=Markup(texts["css"]),  # noqa: S704
        script=Markup(texts["js"]),  # noqa: S704
        style_hash=_hash(texts["css"]),
        script_hash=_hash(texts["js"]),
        grids=[_grid(grid) for grid in grids],
        details=[_grid(grid) for grid in details],
        notes=[escape(note) for note in notes],
    )


def _text(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _grid(grid: Grid) -> dict[str, Any]:
    starts = [0, *sorted(set(grid.sections) - {0}), len(grid.rows)]
    return {
        "title": escape(grid.title),
        "names": [escape(name) for name in grid.names],
        "n_left": grid.n_left,
        "notes": [escape(note) for note in grid.notes],
        "parts": [
            {
                "title": escape(grid.sections.get(start, "")),
                "rows": [_row(grid, row) for row in range(start, end)],
            }
            for start, end in pairwise(starts)
        ],
    }


def _row(grid: Grid, row: int) -> list[dict[str, Any]]:
    cells = []
    for column, text in enumerate(grid.rows[row]):
        mark = grid.marks.get((row, column))
        named = column < grid.n_left
        number = None if named else _NUMBER.match(text)
        cells.append({
            "text": escape(text),
            "mark": mark,
            "sign": SIGNS[mark] if mark else "",
            "kind": "name" if named else "weak" if mark == "weak" else "number",
            "key": None if number is None else number[1].replace(",", ""),
            "bar": _bar(grid.bars.get((row, column))),
        })  # fmt: skip
    return cells


def _bar(values: Bar | None) -> tuple[Any, Any, Any] | None:
    """Length of the bar, and where the interval begins and how long it is; in percent."""
    if values is None:
        return None
    value, low, high = (None if v is None else min(1.0, max(0.0, v)) for v in values)
    if value is None:
        return None
    if low is None or high is None:
        return f"{100 * value:.2f}", None, None
    return f"{100 * value:.2f}", f"{100 * low:.2f}", f"{100 * (high - low):.2f}"
