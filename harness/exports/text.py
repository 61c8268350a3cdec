"""Names and numbers in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..observe.text import escape
from ..tables import markdown_text


def code(text: str) -> str:
    """A name in a code span of a table's cell."""
    return "`" + escape(text).replace("`", "'").replace("|", r"\|") + "`"


def markdown_table(
    names: Sequence[str], rows: Iterable[Sequence[str]], *, escaped: bool = False
) -> list[str]:
    """The lines of a table.

    Args:
        names: Of its columns.
        rows: Their cells.
        escaped: Whether these are Markdown already.
    """
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for row in rows:
        cells = row if escaped else [markdown_text(cell) for cell in row]
        lines.append("| " + " | ".join(cells) + " |")
    return lines
