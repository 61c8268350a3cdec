"""The tables of an experiment: who scored what, and what it took; as grids to be shown."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..reproduce.tables import QUESTION_TOKENS
from ..stats import Estimate
from ..tables import Grid
from .episodes import A_CALL, TOOLS, Data
from .experiment import SCORE, CellId, Experiment
from .verdicts import CHECK, cell_estimate

NOTES = (
    "Each value with its 95% interval. One checkpoint: as all tables of this harness (Wilson, or "
    "bootstrap by task). Several seeds of a training: the mean over them, bootstrap by task and by "
    "seed; so few seeds widen it, past what a task allows too. Avg: every task set weighs "
    "the same; it needs all of them."
)
IN_VAIN = "Calls of tools that a memory does not have are counted too: they are refused."


@dataclass(frozen=True, slots=True)
class Shown:
    """A measure as a table has it."""

    name: str
    title: str
    percent: bool = False
    digits: int = 2
    bounded: bool = False  # whether it is a share, whose interval ends at 0 and 1


SCORES = Shown(SCORE, "score", percent=True, digits=1, bounded=True)
MEASURES = (
    SCORES,
    Shown("quality.fact_f1", "memory quality: F1 of the facts stored", bounded=True),
    Shown("quality.fact_recall_in_context", "share of the facts in the last context", bounded=True),
    Shown(A_CALL, "prompt tokens of a call of the agent", digits=0),
    Shown("tokens.agent.prompt", "prompt tokens of an episode, agent", digits=0),
    Shown(QUESTION_TOKENS, "prompt tokens of a call once the question is put", digits=0),
    Shown("tokens.agent.completion", "reply tokens of an episode, agent", digits=0),
    Shown("memory_entries", "entries in the memory at the end", digits=1),
    Shown("steps", "steps", digits=1),
)


def of_table(experiment: Experiment, data: Data, name: str) -> Iterator[Grid]:
    """The grids of one table: scores, also in groups, then what else any of its cells has."""
    table = experiment.tables[name]
    for shown in MEASURES:
        tasks = [
            t for t in table.tasks if shown is SCORES or _has(experiment, data, name, t, shown)
        ]
        if tasks:
            yield _measured(experiment, data, name, tasks, shown)
        if shown is SCORES and any(experiment.tasks[t].groups for t in table.tasks):
            yield _of_groups(experiment, data, name)
    if any(
        _has(experiment, data, name, t, Shown(f"tool_calls.{TOOLS[0]}", "")) for t in table.tasks
    ):
        yield _tools(experiment, data, name)


def _has(experiment: Experiment, data: Data, name: str, task: str, shown: Shown) -> bool:
    """Whether any cell has a value that is not 0."""
    players = experiment.tables[name].players
    for cell in _cells(data, task, players):
        if any(v == v and v != 0 for v in data[cell].values(shown.name).tolist()):
            return True
    return False


def _cells(data: Data, task: str, players: Sequence[str]) -> Iterator[CellId]:
    return (cell for cell in data if cell.task == task and cell.player in players)


def _measured(
    experiment: Experiment, data: Data, name: str, tasks: Sequence[str], shown: Shown
) -> Grid:
    table = experiment.tables[name]
    average = len(tasks) > 1
    rows = []
    for player in table.players:
        cells = [_told(experiment, data, player, [task], shown) for task in tasks]
        if average:
            cells.append(_told(experiment, data, player, tasks, shown))
        rows.append((player, experiment.players[player].model, *cells))
    unit = ", percent" if shown.percent else ""
    names = ("player", "model", *tasks, *(["Avg"] if average else []))
    notes = list(_counted(experiment, data, tasks, table.players)) if shown is SCORES else []
    played = [data[c].about for t in tasks for c in _cells(data, t, table.players)]
    if "tokens" in shown.title and any(about.estimated for about in played):
        notes.append("Tokens are estimated where the model reports none.")
    return Grid(f"{table.title}: {shown.title}{unit}", names, rows, notes=notes)


def _of_groups(experiment: Experiment, data: Data, name: str) -> Grid:
    """Scores of groups of its tasks, by their types."""
    table = experiment.tables[name]
    names, notes, columns = ["player", "model"], [], []
    for task in table.tasks:
        for group, types in experiment.tasks[task].groups.items():
            own = {cell: data[cell].of_types(types) for cell in _cells(data, task, table.players)}
            columns.append([_told(experiment, own, p, [task], SCORES) for p in table.players])
            names.append(f"{task}, {group}")
            n = max((len(cell.ids) for cell in own.values()), default=0)
            notes.append(f"{task}, {group}: {n} episodes a cell; types {', '.join(types)}")
    rows = [
        (player, experiment.players[player].model, *cells)
        for player, *cells in zip(table.players, *columns, strict=True)
    ]
    title = f"{table.title}: {SCORES.title} in groups of the tasks, percent"
    return Grid(title, tuple(names), rows, notes=notes)


def _tools(experiment: Experiment, data: Data, name: str) -> Grid:
    """Calls an episode by tool, the mean over the table's task sets."""
    table = experiment.tables[name]
    rows = []
    for player in table.players:
        shown = [Shown(f"tool_calls.{tool}", "") for tool in TOOLS]
        cells = [_told(experiment, data, player, table.tasks, one) for one in shown]
        if set(cells) - {"–", "0.00 [0.00, 0.00]"}:
            rows.append((player, experiment.players[player].model, *cells))
    title = f"{table.title}: tool calls an episode, mean over its task sets"
    return Grid(title, ("player", "model", *TOOLS), rows, notes=[IN_VAIN])


def _told(
    experiment: Experiment, data: Data, player: str, tasks: Sequence[str], shown: Shown
) -> str:
    found = cell_estimate(experiment, data, player, tasks, shown.name)
    if found is None:
        return "–"
    return told(found, shown) + ("*" if falls_short(data, tasks, player) else "")


def falls_short(data: Data, tasks: Sequence[str], player: str) -> bool:
    """Whether too little of any of a player's cells is scored."""
    return any(not data[c].about.whole for t in tasks for c in _cells(data, t, [player]))


def told(found: Estimate, shown: Shown) -> str:
    """A value with its interval."""
    scale = 100.0 if shown.percent else 1.0
    low, high = bounds(found, bounded=shown.bounded)
    value, low, high = (scale * number for number in (found.value, low, high))
    text = f"{value:,.{shown.digits}f}"
    if math.isnan(low) or math.isnan(high):
        return text
    return f"{text} [{low:,.{shown.digits}f}, {high:,.{shown.digits}f}]"


def bounds(found: Estimate, *, bounded: bool) -> tuple[float, float]:
    """The interval; of a share within 0 and 1, of a count not below 0."""
    if math.isnan(found.low) or (bounded and not 0 <= found.value <= 1):  # a score may be more
        return min(found.low, found.value), max(found.high, found.value)
    if not bounded:
        return max(0.0, min(found.low, found.value)), max(found.high, found.value)
    return max(0.0, found.low), min(1.0, found.high)


def _counted(
    experiment: Experiment, data: Data, tasks: Sequence[str], players: Sequence[str]
) -> Iterator[str]:
    """What each column is, and of how many episodes."""
    for task in tasks:
        of, cells = experiment.tasks[task], list(_cells(data, task, players))
        split = next((data[c].about.split for c in cells if data[c].about.split), of.split or "")
        sizes = sorted({data[c].about.scored for c in cells if data[c].about.scored})
        n = " to ".join(map(str, dict.fromkeys((sizes[0], sizes[-1])))) if sizes else "no"
        said = f"; {of.says}" if of.says else ""
        yield (
            f"{task}: {of.env}, split {split or 'of its own'}, {of.score}; {n} of "
            f"{experiment.planned(task)} episodes a cell{said}"
        )
    cells = [c for t in tasks for c in _cells(data, t, players)]
    if any(data[c].about.oracle for c in cells):
        yield f"scripted: {CHECK}."
    if any("heuristic" in data[c].about.labels for c in cells):
        yield "Fixed rules (heuristic) write for the memories that need a model for that."
    if any(not data[c].about.whole and data[c].about.scored for c in cells):
        yield "* fewer than 95% of the planned episodes are scored."
