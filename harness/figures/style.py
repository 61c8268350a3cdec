"""How all figures look, and how they become bytes.

Nothing is told by colour alone: fills differ in lightness and hatching, lines in dashes and
markers. Names are data: no mathtext is read in them, and what is no printable character is shown
as such.
"""

from __future__ import annotations

import io
import math
import re
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

DPI = 150  # of PNG
SMALL = 7.5  # points, of what stands beside marks and of notes
INK, FAINT = "#1a1a1a", "#8a8a8a"
_SETTINGS: dict[str, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 8.5,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "legend.handlelength": 3.2,
    "hatch.linewidth": 0.5,
    "lines.linewidth": 1.4,
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "agemem-eval",
    "pdf.fonttype": 42,
    "figure.facecolor": "white",
}

# Fills fall in lightness from one to the next, and each has a hatching of its own. All are light
# enough for black whiskers to be seen on them.
_FILLS = ("#6f9fc8", "#f1d9a6", "#b5b5b5", "#ffffff", "#d99b7f")
_HATCHES = ("", "////", "....", "xxxx", "\\\\\\\\", "++", "oo")
_LINES = ("#10243e", "#b5561f", "#4d7f4a", "#7a5195", "#5f7a94", "#a08a2c", "#444444", "#c26a8a")
_DASHES = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 3)), (0, (8, 3)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "h", "d", "p")


@dataclass(frozen=True, slots=True)
class Fill:
    """How an area is drawn."""

    color: str
    hatch: str


@dataclass(frozen=True, slots=True)
class Stroke:
    """How a line is drawn."""

    color: str
    dashes: Any
    marker: str


def fill(i: int) -> Fill:
    """The i-th way to fill; no two of the first 35 are alike."""
    return Fill(_FILLS[i % len(_FILLS)], _HATCHES[i % len(_HATCHES)])


def stroke(i: int) -> Stroke:
    """The i-th way to draw a line; no two of the first 91 are alike without colour."""
    n, m = len(_DASHES), len(_MARKERS)
    return Stroke(_LINES[i % len(_LINES)], _DASHES[i % n], _MARKERS[i % m])


@contextmanager
def styled() -> Iterator[None]:
    """Draw in this project's style whatever the user's settings are, and leave those alone."""
    with mpl.rc_context(), warnings.catch_warnings():
        # A name may hold characters that the font lacks: PNG shows a box, SVG leaves it to the
        # browser; there is nothing to mend.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        yield


def plain(text: str) -> str:
    """A name as it can be drawn: without line breaks and what XML does not allow."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def plain_lines(text: str) -> str:
    """As `plain`, of a text whose line breaks are meant."""
    return "\n".join(map(plain, text.split("\n")))


def short(names: Sequence[str], width: int = 24, lines: int = 3) -> list[str]:
    """Names broken into lines, the middle of the longest left out, unless two become the same."""
    clean = [plain(name) for name in names]
    most = width * lines
    half = most // 2 - 1
    cut = [n if len(n) <= most else f"{n[:half]}…{n[-half:]}" for n in clean]
    if len(set(cut)) < len(set(clean)):
        cut = clean
    if lines == 1:
        return cut
    return ["\n".join(textwrap.wrap(name, width) or [name]) for name in cut]


def wrapped(lines: Sequence[str], inches: float, size: float = SMALL) -> str:
    """Lines of text broken to a width."""
    width = max(30, int(inches * 72 / (size * 0.56)))
    return "\n".join("\n".join(textwrap.wrap(plain(line), width)) for line in lines)


def page(
    width: float,
    height: float,
    title: str,
    notes: Sequence[str],
    legend: Sequence[Artist] = (),
) -> Figure:
    """An empty figure with its title and legend above and its notes below.

    Args:
        width: In inches.
        height: Of the panels, in inches; the rest comes on top of it.
        title: Above all.
        notes: Lines of small print below.
        legend: What is explained, each with its label.
    """
    small = wrapped(notes, width - 0.3)
    columns = _columns([len(str(handle.get_label())) for handle in legend], width)
    head = 0.36 + 0.205 * math.ceil(len(legend) / columns)
    foot = 0.155 * (small.count("\n") + 1) + 0.12 if small else 0.04
    total = head + height + foot
    figure = Figure(figsize=(width, total))
    FigureCanvasAgg(figure)
    # The panels share what title, legend and notes leave; those stand at fixed places, since the
    # layout engine would put the legend over the title.
    rect = (0, foot / total, 1, height / total)
    figure.set_layout_engine("constrained", rect=rect, h_pad=0.06, w_pad=0.06)
    figure.suptitle(
        plain(title), x=0.1 / width, y=1 - 0.1 / total, ha="left", va="top", fontsize=11,
        fontweight="bold",
    ).set_in_layout(False)  # fmt: skip
    if legend:
        figure.legend(
            handles=list(legend), loc="upper left", ncols=columns, borderaxespad=0, borderpad=0,
            bbox_to_anchor=(0.1 / width, 1 - 0.36 / total),
        ).set_in_layout(False)  # fmt: skip
    if small:
        figure.text(
            0.1 / width, 0.08 / total, small, ha="left", va="bottom", fontsize=SMALL,
            color="#333333",
        ).set_in_layout(False)  # fmt: skip
    return figure


def _columns(lengths: Sequence[int], width: float) -> int:
    """How many columns a legend may have, given the lengths of its labels and inches."""
    for columns in range(len(lengths), 1, -1):
        parts = np.array_split(np.array(lengths), columns)  # as the legend does
        if sum(0.62 + 0.074 * int(part.max()) for part in parts) <= width:
            return columns
    return 1


def set_title(axes: Axes, title: str, about: str = "", inches: float = 3.7) -> None:
    """A panel's title and, below it in thin letters, what is said about it."""
    most = int(inches * 72 / 5.2)
    (head,) = short([title], most, lines=1)
    if not about:
        axes.set_title(head)
        return
    (below,) = short([about], most, lines=1)
    axes.set_title(head, pad=17)
    axes.annotate(
        below, (0, 1), (0, 5), xycoords="axes fraction", textcoords="offset points", va="bottom",
        fontsize=8,
    )  # fmt: skip


def number(value: float) -> str:
    """A number to be read beside a mark: three digits that count, thousands set apart."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def percent(value: float) -> str:
    """A share as percent."""
    return f"{100 * value:.1f}%"


def thousands() -> FuncFormatter:
    """Ticks as whole numbers where they are, thousands set apart."""
    return FuncFormatter(lambda x, _: f"{x:,.0f}" if x == int(x) else f"{x:,.6g}")


def percents() -> FuncFormatter:
    """Ticks as percent."""
    return FuncFormatter(lambda x, _: f"{100 * x:.6g}%")


# --- bytes ------------------------------------------------------------------------------------

_NO_DATE: dict[str, dict[str, Any]] = {
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


def as_bytes(figure: Figure, format_: str) -> bytes:
    """A figure in a format, without what differs from one time to the next.

    Args:
        figure: One of this package.
        format_: `svg`, `png` or `pdf`.
    """
    if format_ == "svg":
        head = '<?xml version="1.0" encoding="utf-8" standalone="no"?>\n'
        return (head + as_svg(figure)).encode()
    return _saved(figure, format_)


def as_svg(figure: Figure) -> str:
    """A figure as an `<svg>` element with a label for those who do not see it."""
    text = _saved(figure, "svg").decode()
    text = text[text.index("<svg") :]
    # Nothing refers to the ids of groups, and several figures may stand in one page.
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    label = figure.get_suptitle().replace("\n", " ")
    return text.replace("<svg ", f'<svg role="img" aria-label="{escape(label)}" ', 1)


def _saved(figure: Figure, format_: str) -> bytes:
    buffer = io.BytesIO()
    with styled():
        figure.savefig(buffer, format=format_, dpi=DPI, metadata=_NO_DATE[format_])
    return buffer.getvalue()
