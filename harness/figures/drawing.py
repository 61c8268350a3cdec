"""From the numbers of a figure to the figure."""

from __future__ import annotations

from matplotlib.figure import Figure

from .draw_bars import draw_bars, draw_stacks
from .draw_lines import draw_lines
from .draw_points import draw_points
from .sheets import BarSheet, LineSheet, Sheet, StackSheet
from .style import styled


def drawn(sheet: Sheet) -> Figure:
    """The figure of a sheet, in this project's style."""
    with styled():
        figure = _figure(sheet)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # done once, and alike in every format
    return figure


def _figure(sheet: Sheet) -> Figure:
    if isinstance(sheet, BarSheet):
        return draw_bars(sheet)
    if isinstance(sheet, StackSheet):
        return draw_stacks(sheet)
    if isinstance(sheet, LineSheet):
        return draw_lines(sheet)
    return draw_points(sheet)
