"""One table, and how it is shown: on a terminal, as Markdown, as LaTeX; names never steer them.

What a cell holds may come from a model, a plug-in or a folder's name, so that every way of showing
it escapes it by itself.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .observe.text import escape

Mark = Literal["best", "second", "tied", "weak"]
Bar = tuple[float, float | None, float | None]
SIGNS: dict[str, str] = {"best": " ★", "second": " ☆", "tied": " ≈", "weak": " ?"}
STYLES = {"best": "bold", "second": "underline", "tied": "bold italic", "weak": "dim"}
TITLE_WIDTH, CELL_WIDTH = 18, 24  # of the narrow form


@dataclass(frozen=True, slots=True)
class Grid:
    """One table: a title, the names of its columns, and its rows."""

    title: str
    names: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    n_left: int = 2  # columns of names, set to the left
    notes: list[str] = field(default_factory=list)  # lines below it
    marks: Mapping[tuple[int, int], Mark] = field(default_factory=dict)  # of row and column
    sections: Mapping[int, str] = field(default_factory=dict)  # lines above a row, set apart
    # What can be drawn of a cell: a share and the bounds of its interval, where they are known.
    bars: Mapping[tuple[int, int], Bar] = field(default_factory=dict)

    @property
    def width(self) -> int:
        """Characters that it needs side by side."""
        columns = zip(self.names, *self.signed(), strict=True)
        return sum(max(cell_len(escape(cell)) for cell in column) + 2 for column in columns)

    def signed(self) -> list[tuple[str, ...]]:
        """The rows, marked cells with a sign, to be told without colours too."""
        columns = range(len(self.names))
        return [tuple(self.text(r, c) for c in columns) for r in range(len(self.rows))]

    def text(self, row: int, column: int) -> str:
        """A cell with the sign of its mark."""
        mark = self.marks.get((row, column))
        return self.rows[row][column] + (SIGNS[mark] if mark else "")


# --- on a terminal ----------------------------------------------------------------------------


def print_grid(grid: Grid, console: Console) -> None:
    """A table on a terminal; a narrow one gets a column a row."""
    if grid.title:
        console.print()
        console.print(Text(escape(grid.title), "bold"))
    starts = sorted({0, *grid.sections, len(grid.rows)})
    for first, end in pairwise(starts):
        if first in grid.sections:
            console.print(Text(escape(grid.sections[first]), "italic"))
        if grid.width <= console.width:
            console.print(_wide(grid, range(first, end)))
            continue
        beside = max(1, (console.width - TITLE_WIDTH) // CELL_WIDTH)
        for start in range(first, end, beside):
            console.print(_narrow(grid, range(start, min(end, start + beside))))
    for line in grid.notes:
        console.print(Text(escape(line)))


def _wide(grid: Grid, rows: range) -> Table:
    """A part of a table, whose columns are those of the whole."""
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1),
        show_header=rows.start not in grid.sections,
    )
    columns = zip(grid.names, zip(*grid.signed(), strict=True), strict=True)
    for index, (name, cells) in enumerate(columns):
        width = max(cell_len(escape(text)) for text in (name, *cells))
        justify: Literal["left", "right"] = "left" if index < grid.n_left else "right"
        head = Text(escape(name))
        table.add_column(head, justify=justify, overflow="fold", min_width=width)
    for row in rows:
        table.add_row(*(_cell(grid, row, column) for column in range(len(grid.names))))
    return table


def _narrow(grid: Grid, rows: range) -> Table:
    """Metrics downwards, rows side by side."""
    table = Table(box=box.SIMPLE, show_header=False, pad_edge=False, padding=(0, 1))
    table.add_column(style="bold", no_wrap=True)
    for _ in rows:
        table.add_column(justify="right", overflow="fold")
    for index, name in enumerate(grid.names):
        table.add_row(Text(escape(name)), *(_cell(grid, row, index) for row in rows))
    return table


def _cell(grid: Grid, row: int, column: int) -> Text:
    mark = grid.marks.get((row, column))
    return Text(escape(grid.text(row, column)), STYLES[mark] if mark else "")


# --- as Markdown ------------------------------------------------------------------------------


def markdown_grid(grid: Grid) -> str:
    """A table of GitHub's Markdown, with its title and notes."""
    lines = [f"### {markdown_text(grid.title)}", ""] if grid.title else []
    lines.append("| " + " | ".join(map(markdown_text, grid.names)) + " |")
    marks = ("---" if i < grid.n_left else "---:" for i in range(len(grid.names)))
    lines.append("|" + "|".join(marks) + "|")
    for row in range(len(grid.rows)):
        if row in grid.sections:
            lines.append(
                f"| *{markdown_text(grid.sections[row])}* |" + " |" * (len(grid.names) - 1)
            )
        cells = (_markdown_cell(grid, row, column) for column in range(len(grid.names)))
        lines.append("| " + " | ".join(cells) + " |")
    said = [f"- {markdown_text(line)}" for line in grid.notes]
    return "\n".join([*lines, *([""] if said else []), *said])


def _markdown_cell(grid: Grid, row: int, column: int) -> str:
    text, mark = markdown_text(grid.rows[row][column]), grid.marks.get((row, column))
    sign = SIGNS[mark] if mark else ""
    if mark == "second":
        return f"<u>{text}</u>{sign}"
    return {"best": f"**{text}**", "tied": f"***{text}***"}.get(mark or "", text) + sign


# Brackets make a link only before one of these, one tilde alone strikes nothing out, and a list, a
# heading or a quotation begins only a line.
_MARKDOWN = re.compile(
    r"[\\`*|&<$]|\](?=[(\[:])|~(?=.*~)|(?<=~)~|(?<![^\W_])_|_(?![^\W_])|^>|^[#+-]+(?=\s|$)"
)
_ENTITIES = {"&": "&amp;", "<": "&lt;", "$": "&#36;"}
# GitHub links these after it has read entities and backslashes; a comment keeps the parts apart.
_LINKED = re.compile(r"@|(?<!&)#(?=\d)|:(?=//)|www(?=\.)")


def markdown_text(text: str) -> str:
    """Text that Markdown shows as it is: no emphasis, link, tag, column, formula or mention."""

    def escaped(found: re.Match[str]) -> str:
        return _ENTITIES.get(found.group(), "\\" + found.group())

    return _LINKED.sub(r"\g<0><!-- -->", _MARKDOWN.sub(escaped, escape(text)))


# --- as LaTeX ---------------------------------------------------------------------------------


def latex_grid(grid: Grid, label: str) -> str:
    r"""A table for `\usepackage{booktabs}`, plain ASCII; notes stand below it."""
    spec = "l" * grid.n_left + "r" * (len(grid.names) - grid.n_left)
    lines = [r"\begin{table}[t]", r"\centering\small"]
    if grid.title:
        lines.append(rf"\caption{{{latex_text(grid.title)}}}")
    lines += [rf"\label{{tab:{label}}}", rf"\begin{{tabular}}{{@{{}}{spec}@{{}}}}", r"\toprule"]
    lines += [" & ".join(map(latex_text, grid.names)) + r" \\", r"\midrule"]
    for row in range(len(grid.rows)):
        if row in grid.sections:
            span = rf"\multicolumn{{{len(grid.names)}}}{{@{{}}l@{{}}}}"
            lines += [r"\midrule", rf"{span}{{\emph{{{latex_text(grid.sections[row])}}}}} \\"]
        cells = (_latex_cell(grid, row, column) for column in range(len(grid.names)))
        lines.append(" & ".join(cells) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    if grid.notes:
        notes = r"\\".join(rf"{latex_text(line)}" + "\n" for line in grid.notes)
        lines += ["", rf"\smallskip\parbox{{\linewidth}}{{\footnotesize {notes}}}"]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _latex_cell(grid: Grid, row: int, column: int) -> str:
    text = latex_text(grid.rows[row][column])
    shown = {
        "best": rf"\textbf{{{text}}}",
        "second": rf"\underline{{{text}}}",
        "tied": rf"\textbf{{{text}}}$^{{\approx}}$",
        "weak": rf"\textit{{{text}}}$^{{?}}$",
    }
    return shown.get(grid.marks.get((row, column)) or "", text)


_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "_": r"\_", "%": r"\%", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    '"': r"\char34{}", "'": r"\char39{}", "`": r"\char96{}", "-": "{-}",
    "[": "{[}", "]": "{]}", "*": "{*}", "!": "{!}", "?": "{?}", ",": "{,}",
    "–": "{--}", "—": "{---}", "±": r"$\pm$", "×": r"$\times$", "·": r"\textperiodcentered{}",
    "…": r"\ldots{}", "★": r"$\star$", "☆": r"$\circ$", "≈": r"$\approx$", "≤": r"$\leq$",
    "≥": r"$\geq$", "α": r"$\alpha$",
}  # fmt: skip
_ACCENTS = {
    "\u0300": r"\`", "\u0301": r"\'", "\u0302": r"\^", "\u0303": r"\~", "\u0308": r"\"",
    "\u030a": r"\r", "\u030c": r"\v", "\u0327": r"\c",
}  # fmt: skip


def latex_text(text: str) -> str:
    r"""Text that LaTeX sets as it is, in ASCII; what it has no letter for as `[U+1F600]`.

    Brackets and stars stand in braces, since after `\\` they would be its arguments; so do
    characters that fonts join with their neighbours.
    """
    return "".join(map(_latex_letter, escape(text)))


def _latex_letter(letter: str) -> str:
    known = _LATEX.get(letter)
    if known is not None:
        return known
    if letter.isascii():
        return letter
    parts = unicodedata.normalize("NFD", letter)
    base, accent = parts[:1], _ACCENTS.get(parts[1:])
    if accent is not None and base.isascii() and base.isalpha():
        return f"{accent}{{{base}}}"
    return f"{{[}}U+{ord(letter):04X}{{]}}"
