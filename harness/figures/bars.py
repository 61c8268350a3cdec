"""Figures of means by memory and model: scores, quality, tokens, ablation, tools."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..analysis import CellFrame
from ..analysis.frame import names_with
from ..columns import FloatArray
from . import TITLES, NothingToDrawError, reference
from .material import (
    Material,
    Measure,
    Panel,
    column,
    flagged,
    n_told,
    of_cell,
    roles,
)
from .sheets import Bar, BarPanel, BarSheet, Mark

HEADLINES = {
    "success": column("success", "success rate", percent=True),
    "progress": column("progress", "progress rate", percent=True),
    "quality.j": column("quality.j", "J, the judge's score of the answer (0 to 1)"),
}
# What tells of the quality of a memory, best first; the paper's Figure 2 has the first.
QUALITY = (
    column("quality.mq", "MQ, the judge's score of the memory (0 to 1)"),
    column("quality.fact_f1", "F1 of the facts stored (0 to 1)"),
    column("quality.fact_recall", "share of the gold facts stored", percent=True),
)
# The paper's steps of the ablation, by memory; `agemem-norl` is not among them and stands between.
ABLATION = {
    "none": "Base",
    "agemem-norl-rag": "+LT",
    "agemem-norl": "+LT/ST",
    "agemem-rag": "+LT/RL",
    "agemem": "+LT/ST/RL",
}
TRAINED = ("agemem", "agemem-rag")  # labels that only a trained model gets
COLUMNS = 3  # panels beside each other


def headline(frames: Sequence[CellFrame]) -> Measure:
    """What ranks the memories of an environment: the best that all have, else that any has."""
    names = frames[0].cell.headline
    given = [[n for n in names if not np.isnan(frame.values(n)).all()] for frame in frames]
    common = [name for name in names if all(name in own for own in given)]
    name = (common or [frame.headline for frame in frames])[0]
    return HEADLINES.get(name) or column(name, name.removeprefix("metrics."))


def scores(material: Material) -> BarSheet:
    """The headline score by environment, memory and model."""
    panels, shown = [], material.panels()
    for panel in shown:
        measure = headline(panel.frames)
        marks = reference.scores(panel.env, measure) if material.reference else ()
        panels.append(_panel(panel, panel.title, measure, marks))
    return _sheet(material, "scores", panels, shown, "no episode was scored")


def memory_quality(material: Material) -> BarSheet:
    """MQ; where no judge gave it, how many of the facts are stored."""
    panels, measures = [], []
    rated = material.panels(lambda f: any(_has(f, m) for m in QUALITY) and f.base.memory != "none")
    for panel in rated:
        measure = next(m for m in QUALITY if any(_has(f, m) for f in panel.frames))
        measures.append(measure)
        with_mq = material.reference and measure is QUALITY[0]
        marks = reference.memory_quality(panel.env) if with_mq else ()
        panels.append(_panel(panel, panel.title, measure, marks))
    why = (
        "no judge gave MQ and no environment told facts: run hotpotqa, with --judge openai:NAME "
        "for MQ"
    )
    sheet = _sheet(material, "memory-quality", panels, rated, why)
    if QUALITY[0] in measures:
        return sheet
    said = "No judge gave MQ: shown is how many of the gold facts the memory holds."
    return replace(sheet, notes=(said, *sheet.notes))


def prompt_tokens(material: Material) -> BarSheet:
    """Prompt tokens of a call of the agent, and of an episode: the agent's and the memory's."""
    measures = (
        Measure("prompt tokens a call (agent)", _a_call),
        Measure("prompt tokens an episode (agent)", roles("prompt", ("agent",))),
        Measure(
            "prompt tokens an episode (memory)", roles("prompt", ("memory_write", "memory_read"))
        ),
    )
    grid = []
    kept = material.panels(lambda f: bool(np.any(f.values("tokens.agent.prompt") > 0)))
    for panel in kept:
        of_memory = any(np.any(measures[2].values(frame) > 0) for frame in panel.frames)
        row = []
        for i, measure in enumerate(measures[: 3 if of_memory else 2]):
            marks = reference.prompt_tokens(panel.env) if material.reference and not i else ()
            row.append(_panel(panel, panel.title if not i else "", measure, marks))
        grid.append(tuple(row))
    sheet = _grid(material, "prompt-tokens", grid, kept, "no tokens were counted")
    if any(frame.estimated for panel in kept for frame in panel.frames):
        said = "Tokens are estimated where the model reports none."
        return replace(sheet, notes=(*sheet.notes, said))
    return sheet


def ablation(material: Material) -> BarSheet:
    """The headline score by component: no memory, long-term, short-term, training."""
    base_of, unpaired = _pairs(material)
    panels, shown = [], []
    for panel in material.panels(lambda f: f.base.memory in ABLATION):
        measure = headline(panel.frames)
        bars = []
        for memory, step in ABLATION.items():
            for frame in panel.frames:
                played_by_trained = frame.base.model in base_of and memory not in TRAINED
                if frame.base.memory != memory or played_by_trained:
                    continue
                series = base_of.get(frame.base.model, frame.base.model)
                bars += _bar(f"{step} ({memory})", series, frame, measure)
        if len({bar.row for bar in bars}) > 1:
            marks = reference.ablation(panel.env, measure) if material.reference else ()
            panels.append(_made(panel.title, measure, bars, marks))
            shown.append(panel)
    why = f"it needs results of at least two of {', '.join(ABLATION)}"
    sheet = _sheet(material, "ablation", panels, shown, why)
    said = [f"{base}: the steps with RL are played by {t}." for t, base in base_of.items()]
    if unpaired:
        said.append(
            "Trained models stand alone: --trained BASE=TRAINED tells what they were made from."
        )
    order = tuple(f"{step} ({memory})" for memory, step in ABLATION.items())
    return replace(sheet, notes=(*said, *sheet.notes), order=order)


def tool_usage(material: Material) -> BarSheet:
    """Calls an episode by tool, and how many failed, of those memories that have tools."""
    grid, shown = [], material.panels(lambda f: bool(names_with([f], "tool_calls.")))
    for panel in shown:
        tools = names_with(panel.frames, "tool_calls.")
        row = []
        for i, name in enumerate(tools):
            tool = name.removeprefix("tool_calls.")
            marks = reference.tool_usage(panel.env, tool) if material.reference else ()
            heading = f"{panel.title}\n" if not i else "\n"
            row.append(_panel(panel, heading + tool, column(name, "calls an episode"), marks))
        failed = Measure("calls an episode", _failed)
        if any(np.any(_failed(frame) > 0) for frame in panel.frames):
            row.append(_panel(panel, "\nfailed, of any tool", failed, ()))
        grid.append(tuple(row))
    return _grid(material, "tool-usage", grid, shown, "no memory here has tools", same_scale=True)


# --- parts ------------------------------------------------------------------------------------


def _a_call(frame: CellFrame) -> FloatArray:
    """Mean over the calls of an episode; NaN where the agent's model was never asked."""
    calls = frame.values("tokens.agent.calls")
    calls = np.where(calls > 0, calls, np.nan)
    return np.asarray(frame.values("tokens.agent.prompt") / calls)


def _failed(frame: CellFrame) -> FloatArray:
    total = np.zeros(frame.n_scored)
    for name in names_with([frame], "tool_failed."):
        total += frame.values(name)
    return total


def _has(frame: CellFrame, measure: Measure) -> bool:
    return not bool(np.isnan(measure.values(frame)).all())


def _pairs(material: Material) -> tuple[dict[str, str], bool]:
    """By trained model the one it was made from; and whether one is left without.

    What is not told is taken for granted only where nothing else can be meant: one model of each.
    """
    used = [frame for frame in material.frames if frame.base.memory in ABLATION]
    trained = dict.fromkeys(f.base.model for f in used if f.base.memory in TRAINED)
    bases = dict.fromkeys(f.base.model for f in used if f.base.model not in trained)
    told = {model: material.trained[model] for model in trained if model in material.trained}
    if not told and len(trained) == len(bases) == 1:
        told = {next(iter(trained)): next(iter(bases))}
    return told, bool(bases) and any(model not in told for model in trained)


def _bar(row: str, series: str, frame: CellFrame, measure: Measure) -> list[Bar]:
    found = of_cell(frame, measure)
    return [] if found is None else [Bar(row, series, found, flagged(frame))]


def _panel(panel: Panel, title: str, measure: Measure, marks: Sequence[Mark]) -> BarPanel:
    bars: list[Bar] = []
    for name, frame in zip(panel.names, panel.frames, strict=True):
        bars += _bar(name, frame.base.model, frame, measure)
    return _made(title, measure, bars, marks)


def _made(title: str, measure: Measure, bars: Sequence[Bar], marks: Sequence[Mark]) -> BarPanel:
    n = n_told(bar.estimate for bar in bars)
    return BarPanel(title, measure.label, tuple(bars), tuple(marks), measure.percent, n)


def _sheet(
    material: Material,
    name: str,
    panels: Sequence[BarPanel],
    shown: Sequence[Panel],
    why: str,
) -> BarSheet:
    """Panels in rows; environments with as many memories look best beside each other."""
    kept = [panel for panel in panels if panel.bars]
    grid = [tuple(kept[i : i + COLUMNS]) for i in range(0, len(kept), COLUMNS)]
    return _grid(material, name, grid, shown, why)


def _grid(
    material: Material,
    name: str,
    grid: Sequence[tuple[BarPanel, ...]],
    shown: Sequence[Panel],
    why: str,
    *,
    same_scale: bool = False,
) -> BarSheet:
    if not any(panel.bars for row in grid for panel in row):
        raise NothingToDrawError(f"{name}: {why}")
    said = tuple(material.notes(shown))
    return BarSheet(TITLES[name], tuple(grid), material.models, said, same_scale)
