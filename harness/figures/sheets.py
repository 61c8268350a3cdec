"""What a figure shows, as numbers: made by `gather`, drawn by `drawing`; one class a kind."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..stats import Estimate


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar with its whisker."""

    row: str
    series: str
    estimate: Estimate
    flagged: bool = False  # too little of it was scored


@dataclass(frozen=True, slots=True)
class Mark:
    """A value that others report: no bar, no whisker."""

    row: str
    series: str
    value: float


@dataclass(frozen=True, slots=True)
class BarPanel:
    """Bars by row, those of one row beside each other."""

    title: str
    label: str  # of the axis, with the unit
    bars: tuple[Bar, ...]
    marks: tuple[Mark, ...] = ()
    percent: bool = False
    n: str = ""  # of how many, where all bars have as many


@dataclass(frozen=True, slots=True)
class BarSheet:
    """Rows of panels; those of one row have their rows in common."""

    title: str
    grid: tuple[tuple[BarPanel, ...], ...]
    series: tuple[str, ...]  # all there are: the place decides how one is drawn
    notes: tuple[str, ...] = ()
    same_scale: bool = False  # whether the panels of a row have one scale
    order: tuple[str, ...] = ()  # of rows, where it is not that of the bars


@dataclass(frozen=True, slots=True)
class Stack:
    """One bar in parts that add up; `cumulated[i]` is the share of the parts up to i."""

    row: str
    shares: tuple[float, ...]
    cumulated: tuple[Estimate, ...]
    flagged: bool = False


@dataclass(frozen=True, slots=True)
class StackPanel:
    """Stacked bars, one below the other."""

    title: str
    about: str  # below the title
    label: str
    stacks: tuple[Stack, ...]
    n: str = ""


@dataclass(frozen=True, slots=True)
class StackSheet:
    """Panels of bars with the same parts."""

    title: str
    panels: tuple[StackPanel, ...]
    parts: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """A curve: a value with its interval at each x."""

    name: str
    style: int  # the same number is drawn the same
    x: tuple[float, ...]
    y: tuple[Estimate, ...]
    ticks: tuple[float, ...] = ()  # x at which something of it was cut off
    flagged: bool = False
    said: str = ""  # what the legend adds to the name


@dataclass(frozen=True, slots=True)
class LinePanel:
    """Curves over one axis."""

    title: str
    about: str  # below the title
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    percent: bool = False
    n: str = ""


@dataclass(frozen=True, slots=True)
class LineSheet:
    """Panels of curves."""

    title: str
    panels: tuple[LinePanel, ...]
    notes: tuple[str, ...] = ()
    steps: bool = False  # whether a value holds until the next
    columns: int = 2
    shared: bool = True  # whether one legend serves all panels: same name, same style


@dataclass(frozen=True, slots=True)
class Point:
    """A cell in two measures."""

    memory: str
    model: str
    x: Estimate
    y: Estimate
    flagged: bool = False


@dataclass(frozen=True, slots=True)
class PointPanel:
    """Points, and those that none beats in both measures, from left to right."""

    title: str
    x_label: str
    y_label: str
    points: tuple[Point, ...]
    front: tuple[Point, ...]
    percent: bool = True
    n: str = ""


@dataclass(frozen=True, slots=True)
class PointSheet:
    """Panels of points; a memory is told by the marker, a model by its filling."""

    title: str
    panels: tuple[PointPanel, ...]
    memories: tuple[str, ...]
    models: tuple[str, ...]
    notes: tuple[str, ...] = field(default=())


Sheet = BarSheet | StackSheet | LineSheet | PointSheet
