"""Draws bars lying on their side, so that long names can be read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from ...results.paper import SET_APART
from ..stats import Estimate
from . import style
from .sheets import Bar, BarPanel, BarSheet, Mark, StackPanel, StackSheet

BAR_IN, GAP_IN = 0.19, 0.14  # inches
PANEL_IN, NARROW_IN = 2.75, 1.6  # width of a panel, and where there are many
HEAD_IN = 0.75  # of a panel: title, ticks and label
LABEL_IN = 1.9  # names of rows
_PAPER_MARKS = ("D", "^", "v", "s")


def draw_bars(sheet: BarSheet) -> Figure:
    """Rows of panels; a legend tells the models."""
    used = [s for s in sheet.series if any(b.series == s for b in _bars(sheet))]
    used += sorted({b.series for b in _bars(sheet)} - set(used))
    paper = list(dict.fromkeys(m.series for r in sheet.grid for p in r for m in p.marks))
    columns = max(map(len, sheet.grid))
    width = LABEL_IN + columns * (PANEL_IN if columns < 4 else NARROW_IN)
    width = max(width, 6.0)
    room = (width - LABEL_IN) / columns - 0.15
    heights = [_height(row) for row in sheet.grid]
    handles = _handles(sheet, used, paper)
    figure = style.page(width, sum(heights), sheet.title, sheet.notes, legend=handles)
    grid = figure.add_gridspec(len(sheet.grid), columns, height_ratios=heights)
    for i, row in enumerate(sheet.grid):
        rows = _rows(row, sheet.order)
        top = max(_top(panel) for panel in row) if sheet.same_scale else None
        for j, panel in enumerate(row):
            axes = figure.add_subplot(grid[i, j])
            _panel(axes, panel, rows, sheet.series, paper)
            _scale(axes, panel, _top(panel) if top is None else top, room)
            _name_rows(axes, rows, shown=j == 0)
    return figure


def _bars(sheet: BarSheet) -> Iterable[Bar]:
    return (bar for row in sheet.grid for panel in row for bar in panel.bars)


def _rows(panels: Sequence[BarPanel], order: Sequence[str] = ()) -> list[str]:
    """The rows that these panels have in common: ours, then what is only reported."""
    ours = [bar.row for panel in panels for bar in panel.bars]
    found = list(dict.fromkeys([*ours, *(m.row for panel in panels for m in panel.marks)]))
    return [row for row in order if row in found] + [row for row in found if row not in order]


def _beside(panels: Iterable[BarPanel]) -> int:
    """How many bars a row has at most, and a place for what others report."""
    kept = list(panels)
    bars = len({bar.series for panel in kept for bar in panel.bars})
    return max(1, bars + any(panel.marks for panel in kept))


def _height(panels: Sequence[BarPanel]) -> float:
    rows = _rows(panels)
    lines = max(name.count("\n") + 1 for name in style.short(rows))
    a_row = max(_beside(panels) * BAR_IN + GAP_IN, lines * 0.16)
    heading = 0.15 * max(panel.title.count("\n") for panel in panels)
    return len(rows) * a_row + HEAD_IN + heading


def _panel(
    axes: Axes,
    panel: BarPanel,
    rows: Sequence[str],
    series: Sequence[str],
    paper: Sequence[str],
) -> None:
    """The bars of a panel with their whiskers and values, and the marks of the paper."""
    beside = [s for s in _all_series(series, panel) if any(b.series == s for b in panel.bars)]
    lanes = len(beside) + bool(panel.marks)  # what others report has a place of its own
    thick = 0.82 / max(1, lanes)
    by_place = {(bar.row, bar.series): bar for bar in panel.bars}
    for i, row in enumerate(rows):
        for j, name in enumerate(beside):
            y = i + (j - (lanes - 1) / 2) * thick
            bar = by_place.get((row, name))
            if bar is None:
                note_at(axes, 0, y, "–")
                continue
            fill = style.fill(_all_series(series, panel).index(name))
            axes.barh(
                y, bar.estimate.value, thick * 0.92, color=fill.color, hatch=fill.hatch,
                edgecolor=style.INK, linewidth=0.7,
            )  # fmt: skip
            whisker(axes, bar.estimate, y)
            note_at(axes, _end(bar.estimate), y, _told(bar, panel))
    _marks(axes, panel.marks, rows, paper, thick * (lanes - 1) / 2)
    axes.set_title(style.plain_lines(panel.title))
    axes.set_xlabel(panel.label + (f"\n{panel.n}" if panel.n else ""))
    axes.grid(visible=False, axis="y")


def _all_series(series: Sequence[str], panel: BarPanel) -> list[str]:
    return list(dict.fromkeys([*series, *(bar.series for bar in panel.bars)]))


def _marks(
    axes: Axes,
    marks: Sequence[Mark],
    rows: Sequence[str],
    paper: Sequence[str],
    below: float,
) -> None:
    for i, name in enumerate(paper):
        own = [mark for mark in marks if mark.series == name]
        if own:
            ys = [rows.index(m.row) + below + 0.1 * (i - (len(paper) - 1) / 2) for m in own]
            x = [mark.value for mark in own]
            axes.plot(x, ys, **_paper_style(i), zorder=6, clip_on=False)


def _paper_style(i: int) -> dict[str, Any]:
    return {
        "marker": _PAPER_MARKS[i % len(_PAPER_MARKS)],
        "markersize": 5.5,
        "markerfacecolor": "white",
        "markeredgecolor": style.INK,
        "markeredgewidth": 1.0,
        "linestyle": "none",
    }


def whisker(axes: Axes, estimate: Estimate, y: float, value: float | None = None) -> None:
    """The interval of an estimate, lying; nothing where it cannot be known."""
    if not math.isnan(estimate.low):
        at = estimate.value if value is None else value
        bounds = [[at - estimate.low], [estimate.high - at]]
        axes.errorbar(at, y, xerr=bounds, fmt="none", ecolor=style.INK, elinewidth=1, capsize=2.2)


def note_at(axes: Axes, x: float, y: float, text: str) -> None:
    """A word to the right of a place."""
    axes.annotate(
        text, (x, y), (4, 0), textcoords="offset points", va="center", ha="left",
        fontsize=style.SMALL - 0.5, color="#333333", annotation_clip=False,
    ).set_in_layout(False)  # fmt: skip


def _told(bar: Bar, panel: BarPanel) -> str:
    value = style.percent(bar.estimate.value) if panel.percent else style.number(bar.estimate.value)
    mark = "*" if bar.flagged else ""
    unknown = " (no interval)" if math.isnan(bar.estimate.low) else ""
    size = "" if panel.n else f" (n={bar.estimate.n})"
    return value + mark + size + unknown


def _end(estimate: Estimate) -> float:
    return estimate.value if math.isnan(estimate.high) else max(estimate.high, estimate.value, 0.0)


def _top(panel: BarPanel) -> float:
    ends = [_end(bar.estimate) for bar in panel.bars]
    return max([*ends, *(mark.value for mark in panel.marks)], default=0.0)


def _scale(axes: Axes, panel: BarPanel, top: float, room: float) -> None:
    """From zero to the longest whisker, with room behind it for its value."""
    top = top or 1.0
    longest = max((len(_told(bar, panel)) for bar in panel.bars), default=1)
    words = min(0.62 * room, 0.1 + longest * 0.062)
    bottom = 1.04 * min(0.0, *(_low(bar.estimate) for bar in panel.bars), 0.0)
    axes.set_xlim(bottom, bottom + (top - bottom) * room / (room - words))
    wanted = 4 if room > 1.6 else 2
    ticks = MaxNLocator(wanted, steps=[1, 2, 2.5, 5, 10]).tick_values(bottom, top)
    axes.set_xticks([t for t in ticks if bottom <= t <= top * 1.0001])
    axes.xaxis.set_major_formatter(style.percents() if panel.percent else style.thousands())


def _low(estimate: Estimate) -> float:
    return estimate.value if math.isnan(estimate.low) else estimate.low


def _name_rows(axes: Axes, rows: Sequence[str], *, shown: bool) -> None:
    axes.set_ylim(len(rows) - 0.45, -0.55)
    axes.set_yticks(range(len(rows)), style.short(rows) if shown else [""] * len(rows))
    axes.tick_params(axis="y", length=0)


def _handles(sheet: BarSheet, used: Sequence[str], paper: Sequence[str]) -> list[Artist]:
    names = style.short(used, width=60, lines=1)
    order = list(dict.fromkeys([*sheet.series, *used]))
    found: list[Artist] = []
    for name, label in zip(used, names, strict=True):
        fill = style.fill(order.index(name))
        found.append(
            Patch(facecolor=fill.color, hatch=fill.hatch, edgecolor=style.INK, label=label)
        )
    for i, name in enumerate(paper):
        label = f"{name}: {SET_APART}"
        found.append(Line2D([], [], label=label, **_paper_style(i)))
    return found


# --- stacked ----------------------------------------------------------------------------------


def draw_stacks(sheet: StackSheet) -> Figure:
    """Bars in parts, a whisker at the end of each part."""
    columns = min(len(sheet.panels), 2)
    lines = [sheet.panels[i : i + columns] for i in range(0, len(sheet.panels), columns)]
    heights = [max(len(p.stacks) for p in line) * 0.42 + HEAD_IN + 0.15 for line in lines]
    handles: list[Artist] = [
        Patch(
            facecolor=style.fill(i).color,
            hatch=style.fill(i).hatch,
            edgecolor=style.INK,
            label=name,
        )
        for i, name in enumerate(sheet.parts)
    ]
    width = max(6.5, columns * (LABEL_IN + PANEL_IN))
    figure = style.page(width, sum(heights), sheet.title, sheet.notes, legend=handles)
    grid = figure.add_gridspec(len(lines), columns, height_ratios=heights)
    for i, line in enumerate(lines):
        for j, panel in enumerate(line):
            _stacks(figure.add_subplot(grid[i, j]), panel)
    return figure


def _stacks(axes: Axes, panel: StackPanel) -> None:
    for y, stack in enumerate(panel.stacks):
        left, parts = 0.0, len(stack.shares)
        for i, share in enumerate(stack.shares):
            fill = style.fill(i)
            axes.barh(
                y, share, 0.72, left=left, color=fill.color, hatch=fill.hatch,
                edgecolor=style.INK, linewidth=0.7,
            )  # fmt: skip
            left += share
        for i, (share, until) in enumerate(zip(stack.shares, stack.cumulated, strict=True)):
            if share:  # each at its own height, so that they can be told apart
                whisker(axes, until, y + 0.6 * ((i + 1) / (parts + 1) - 0.5))
        end = max(estimate.high for estimate in stack.cumulated)
        size = "" if panel.n else f" (n={stack.cumulated[-1].n})"
        failed = style.percent(stack.cumulated[-1].value)
        note_at(axes, end, y, failed + ("*" if stack.flagged else "") + size)
    top = max(e.high for stack in panel.stacks for e in stack.cumulated)
    axes.set_xlim(0, top * 1.3)
    ticks = MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]).tick_values(0, top)
    axes.set_xticks([t for t in ticks if 0 <= t <= top * 1.0001])
    axes.xaxis.set_major_formatter(style.percents())
    style.set_title(axes, panel.title, panel.about, 3.0)
    axes.set_xlabel(panel.label + (f"\n{panel.n}" if panel.n else ""))
    axes.grid(visible=False, axis="y")
    _name_rows(axes, [stack.row for stack in panel.stacks], shown=True)
