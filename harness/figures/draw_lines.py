"""Draws curves with their intervals: a band where there are few, whiskers where there are many."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from . import style
from .sheets import Line, LinePanel, LineSheet

PANEL_IN, HEIGHT_IN = 4.6, 2.9
MOST_BANDS = 2  # more of them cover each other
WHISKERS = 24  # a panel has about so many, and a curve no more than 6


def draw_lines(sheet: LineSheet) -> Figure:
    """Panels of curves, one legend for all or one each."""
    columns = min(len(sheet.panels), sheet.columns)
    rows = math.ceil(len(sheet.panels) / columns)
    handles: list[Artist] = []
    if sheet.shared:
        names = {line.name: line.style for panel in sheet.panels for line in panel.lines}
        handles = [_handle(name, number) for name, number in names.items()]
    below = 0.0 if sheet.shared else 0.19 * max(len(panel.lines) for panel in sheet.panels)
    width = max(6.0, columns * PANEL_IN)
    figure = style.page(width, rows * (HEIGHT_IN + below), sheet.title, sheet.notes, legend=handles)
    for i, panel in enumerate(sheet.panels):
        axes = figure.add_subplot(rows, columns, i + 1)
        _panel(axes, panel, steps=sheet.steps)
        if not sheet.shared:
            own = [_handle(line.name, line.style, line.said) for line in panel.lines]
            axes.legend(
                handles=own, loc="upper left", bbox_to_anchor=(0, -0.22), borderaxespad=0,
                fontsize=style.SMALL,
            )  # fmt: skip
    return figure


def _handle(name: str, number: int, said: str = "") -> Line2D:
    stroke = style.stroke(number)
    (label,) = style.short([name], width=60, lines=1)
    return Line2D(
        [], [], color=stroke.color, linestyle=stroke.dashes, marker=stroke.marker, markersize=5,
        markerfacecolor="white", label=f"{label}  {said}" if said else label,
    )  # fmt: skip


def _panel(axes: Axes, panel: LinePanel, *, steps: bool) -> None:
    bands = len(panel.lines) <= MOST_BANDS
    for place, line in enumerate(panel.lines):
        _curve(axes, line, steps=steps)
        if bands:
            _band(axes, line, steps=steps)
        _marks(axes, line, place, panel, whiskers=not bands)
        _ticks(axes, line)
    style.set_title(axes, panel.title, panel.about)
    axes.set_xlabel(panel.x_label + (f", {panel.n}" if panel.n else ""))
    axes.set_ylabel(panel.y_label)
    axes.xaxis.set_major_formatter(style.thousands())
    axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    if panel.percent:
        axes.set_ylim(-0.04, 1.04)
        axes.yaxis.set_major_formatter(style.percents())


def _curve(axes: Axes, line: Line, *, steps: bool) -> None:
    stroke = style.stroke(line.style)
    x, y = np.array(line.x), np.array([e.value for e in line.y])
    drawn = "steps-post" if steps else "default"
    exact = x <= min(line.ticks, default=math.inf)
    look = {"color": stroke.color, "linestyle": stroke.dashes, "drawstyle": drawn}
    axes.plot(x[exact], y[exact], **look)
    after = ~exact
    after[max(int(exact.sum()) - 1, 0)] = True  # joined to what is exact
    if not exact.all():
        axes.plot(x[after], y[after], **{**look, "linewidth": 0.7})


def _band(axes: Axes, line: Line, *, steps: bool) -> None:
    stroke = style.stroke(line.style)
    low, high = [e.low for e in line.y], [e.high for e in line.y]
    axes.fill_between(
        line.x, low, high, step="post" if steps else None, facecolor=stroke.color, alpha=0.13,
        linewidth=0,
    )  # fmt: skip
    axes.fill_between(
        line.x, low, high, step="post" if steps else None, facecolor="none", linewidth=0,
        edgecolor=stroke.color, hatch=("////", "\\\\\\\\")[line.style % 2], alpha=0.35,
    )  # fmt: skip


def _marks(axes: Axes, line: Line, place: int, panel: LinePanel, *, whiskers: bool) -> None:
    """Markers along the curve, those of each curve at places of its own."""
    stroke, n = style.stroke(line.style), len(line.x)
    phase = (place + 0.5) / len(panel.lines)
    most = min(n, max(3, min(6, WHISKERS // len(panel.lines))))
    at = sorted({min(n - 1, int((i + phase) * n / most)) for i in range(most)})
    # Beside each other where curves of few places would have theirs at the same.
    x = np.array([line.x[i] for i in at]) + (phase - 0.5) * 0.03 * (line.x[-1] - line.x[0])
    y = np.array([line.y[i].value for i in at])
    axes.plot(
        x, y, linestyle="none", marker=stroke.marker, color=stroke.color, markersize=5,
        markerfacecolor="white", zorder=4,
    )  # fmt: skip
    if whiskers:
        low = np.array([line.y[i].low for i in at])
        high = np.array([line.y[i].high for i in at])
        known = ~np.isnan(low)
        if panel.percent:  # of few streams it may reach beyond what a share can be
            low, high = np.maximum(low, 0), np.minimum(high, 1)
        bounds = np.array([y - low, high - y])[:, known]
        axes.errorbar(
            x[known], y[known], yerr=bounds, fmt="none", ecolor=stroke.color, elinewidth=0.8,
            capsize=2,
        )  # fmt: skip
    if line.flagged:
        axes.annotate(
            "*", (line.x[-1], line.y[-1].value), (4, -3), textcoords="offset points",
            annotation_clip=False,
        )  # fmt: skip


def _ticks(axes: Axes, line: Line) -> None:
    """Where episodes were cut off, as in a curve of survival."""
    values = [e.value for e in line.y]
    for at in line.ticks:
        i = max(j for j, x in enumerate(line.x) if x <= at)
        axes.plot(
            [at], [values[i]], marker="|", markersize=9, color=style.stroke(line.style).color,
            linestyle="none",
        )  # fmt: skip
