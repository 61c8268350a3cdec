"""Draws cells as points in two measures, with whiskers both ways and the front of the best."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..stats import Estimate
from . import style
from .sheets import PointPanel, PointSheet

PANEL_IN, HEIGHT_IN, COLUMNS = 4.6, 3.2, 2
_INSIDE = ("#10243e", "#ffffff", "#a9a9a9", "#f1d9a6", "#d99b7f")  # a model's filling of markers
LOG_FROM = 20.0  # ratio of the largest and smallest x, from which the axis is logarithmic


def draw_points(sheet: PointSheet) -> Figure:
    """Panels of points; the legend tells memories by marker and models by filling."""
    columns = min(len(sheet.panels), COLUMNS)
    rows = math.ceil(len(sheet.panels) / columns)
    width = max(6.0, columns * PANEL_IN)
    figure = style.page(width, rows * HEIGHT_IN, sheet.title, sheet.notes, legend=_handles(sheet))
    for i, panel in enumerate(sheet.panels):
        _panel(figure.add_subplot(rows, columns, i + 1), panel, sheet)
    return figure


def _marker(sheet: PointSheet, memory: str, model: str) -> dict[str, Any]:
    return {
        "marker": style.stroke(sheet.memories.index(memory)).marker,
        "markerfacecolor": _INSIDE[sheet.models.index(model) % len(_INSIDE)],
        "markeredgecolor": style.INK,
        "markeredgewidth": 0.9,
        "markersize": 7,
        "linestyle": "none",
    }


def _panel(axes: Axes, panel: PointPanel, sheet: PointSheet) -> None:
    for point in panel.points:
        x, y = point.x, point.y
        axes.errorbar(
            x.value, y.value, xerr=_bounds(x), yerr=_bounds(y), fmt="none", ecolor=style.FAINT,
            elinewidth=0.8, capsize=2, zorder=2,
        )  # fmt: skip
        axes.plot([x.value], [y.value], zorder=4, **_marker(sheet, point.memory, point.model))
        if point.flagged:
            axes.annotate("*", (x.value, y.value), (5, 3), textcoords="offset points")
    _draw_front(axes, panel)
    values = [point.x.value for point in panel.points]
    if min(values) > 0 and max(values) / min(values) > LOG_FROM:
        axes.set_xscale("log")
    axes.xaxis.set_major_formatter(style.thousands())
    style.set_title(axes, panel.title)
    axes.set_xlabel(panel.x_label + (f"\n{panel.n}" if panel.n else ""))
    axes.set_ylabel(panel.y_label)
    if panel.percent:
        axes.set_ylim(-0.04, 1.04)
        axes.yaxis.set_major_formatter(style.percents())


def _bounds(estimate: Estimate) -> list[list[float]] | None:
    if math.isnan(estimate.low):
        return None
    return [[estimate.value - estimate.low], [estimate.high - estimate.value]]


def _draw_front(axes: Axes, panel: PointPanel) -> None:
    """A staircase: what has been reached for no more tokens."""
    x = [point.x.value for point in panel.front]
    y = [point.y.value for point in panel.front]
    axes.plot(x, y, drawstyle="steps-post", linestyle="--", color=style.INK, linewidth=1, zorder=3)


def _handles(sheet: PointSheet) -> list[Artist]:
    used = [m for m in sheet.models if any(p.model == m for q in sheet.panels for p in q.points)]
    labels = style.short([*sheet.memories, *used], width=60, lines=1)
    found: list[Artist] = []
    for memory, label in zip(sheet.memories, labels, strict=False):
        # The shape alone: a filling would be that of a model.
        shape = _marker(sheet, memory, used[0]) | {"markerfacecolor": "#777777"}
        shape["markeredgewidth"] = 0
        found.append(Line2D([], [], label=label, **shape))
    for model, label in zip(used, labels[len(sheet.memories) :], strict=True):
        shape = _marker(sheet, sheet.memories[0], model) | {"marker": "8", "markersize": 10}
        found.append(Line2D([], [], label=f"model {label}", **shape))
    found.append(Line2D([], [], linestyle="--", color=style.INK, label="front"))
    return found
