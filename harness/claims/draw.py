"""The figures of an experiment: scores, tokens and tool calls of its tables; the claims."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..errors import MissingExtraError
from ..figures import svg
from ..figures.sheets import Bar, BarPanel, BarSheet
from .episodes import A_CALL, TOOLS, Data
from .experiment import SCORE, Experiment, Part
from .tables import IN_VAIN, SCORES, Shown, bounds, falls_short
from .verdicts import Judged, cell_estimate

COLUMNS = 3  # panels beside each other
SERIES = "mean, 95% interval"


def draw(experiment: Experiment, data: Data, judged: Sequence[Judged]) -> dict[str, bytes]:
    """Every figure that there are numbers for, as SVG, by file name.

    Raises:
        MissingExtraError: without matplotlib.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("matplotlib", "figures") from error
    from ..figures.drawing import drawn

    files: dict[str, bytes] = {}
    for name, sheet in _sheets(experiment, data, judged):
        if any(panel.bars for row in sheet.grid for panel in row):
            files[f"{name}.svg"] = svg(drawn(sheet)).encode()
    return files


def _sheets(
    experiment: Experiment, data: Data, judged: Sequence[Judged]
) -> Iterator[tuple[str, BarSheet]]:
    tokens = Shown(A_CALL, "prompt tokens of a call of the agent")
    for name, table in experiment.tables.items():
        for kind, shown in (("scores", SCORES), ("tokens", tokens)):
            panels = [_panel(experiment, data, name, task, (task,), shown) for task in table.tasks]
            yield f"{kind}-{name}", _sheet(experiment, f"{table.title}: {shown.title}", panels)
        tools = [Shown(f"tool_calls.{tool}", "calls an episode") for tool in TOOLS]
        panels = [
            _panel(experiment, data, name, tool, table.tasks, shown)
            for tool, shown in zip(TOOLS, tools, strict=True)
        ]
        used = [
            replace(p, bars=tuple(b for b in p.bars if b.row in _users(panels))) for p in panels
        ]
        title = f"{table.title}: use of the tools"
        yield f"tools-{name}", _sheet(experiment, title, used, IN_VAIN)
    yield "claims", _claims(judged)


def _panel(
    experiment: Experiment, data: Data, table: str, title: str, tasks: Sequence[str], shown: Shown
) -> BarPanel:
    bars = []
    for player in experiment.tables[table].players:
        found = cell_estimate(experiment, data, player, tasks, shown.name)
        if found is not None:
            low, high = bounds(found, bounded=shown.bounded)
            at = replace(found, low=low, high=high)
            bars.append(Bar(player, SERIES, at, flagged=falls_short(data, tasks, player)))
    return BarPanel(title, shown.title, tuple(bars), percent=shown.percent)


def _users(panels: Sequence[BarPanel]) -> set[str]:
    return {bar.row for panel in panels for bar in panel.bars if bar.estimate.value}


def _sheet(experiment: Experiment, title: str, panels: Sequence[BarPanel], *notes: str) -> BarSheet:
    kept = [panel for panel in panels if panel.bars]
    grid = tuple(tuple(kept[i : i + COLUMNS]) for i in range(0, len(kept), COLUMNS))
    models = {name: experiment.players[name].model for p in kept for name in _rows(p)}
    played = ", ".join(f"{who} {model}" for who, model in models.items())
    said = (f"Played by: {played}.", *notes) if played else ()
    return BarSheet(title, grid, (SERIES,), said)


def _rows(panel: BarPanel) -> list[str]:
    return [bar.row for bar in panel.bars]


def _claims(judged: Sequence[Judged]) -> BarSheet:
    """The difference of each part, a panel a measure, since these have different units."""
    panels: dict[str, list[Bar]] = {}
    for claim in judged:
        for found in claim.parts:
            if found.difference is not None:
                row = f"{found.id} {found.part.direction}: {found.verdict}"
                change = replace(found.difference, n=found.difference.n_tasks)
                panels.setdefault(_unit(found.part), []).append(Bar(row, SERIES, change))
    grid = tuple(
        (BarPanel("", label, tuple(bars), percent=label == "score"),)
        for label, bars in panels.items()
    )
    said = (
        "claims.md says what each part is. New minus base; up or down: what is claimed; n: tasks."
    )
    return BarSheet("Claims: the differences tested", grid, (SERIES,), (said,))


def _unit(part: Part) -> str:
    """What is on the axis; calls of all tools have one."""
    if part.measure == SCORE:
        return "score"
    return "calls an episode" if part.measure.startswith("tool_calls.") else part.measure
