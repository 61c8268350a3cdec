"""Figures over steps, tasks and training; where facts were lost; scores against tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..analysis import CellFrame
from ..columns import FloatArray
from ..report import LOSSES
from ..stats import Estimate, mean, rate
from . import TITLES, NothingToDrawError
from .bars import headline
from .material import Material, Measure, Panel, flagged, n_told, of_cell, roles
from .sheets import (
    Line,
    LinePanel,
    LineSheet,
    Point,
    PointPanel,
    PointSheet,
    Stack,
    StackPanel,
    StackSheet,
)
from .training import TrainingLog

MOST_X = 60  # places at which a curve is computed
SPENDING = ("agent", "memory_write", "memory_read")  # what playing costs; a judge is no part of it


def success_steps(material: Material) -> LineSheet:
    """The share of episodes solved within n steps.

    An episode that its cap ended is not solved within the cap; whether it would have been later
    nobody knows. Up to the first such cut the share is exact, from there on it is a lower bound:
    the curve goes on thinner, with a tick at each step at which episodes were cut.
    """
    order = list(dict.fromkeys(frame.base.memory for frame in material.frames))
    panels, shown = [], material.panels(_was_scored)
    for panel in shown:
        for model in dict.fromkeys(frame.base.model for frame in panel.frames):
            own = [
                (name, frame)
                for name, frame in zip(panel.names, panel.frames, strict=True)
                if frame.base.model == model
            ]
            last = max(int(_times(frame)[0].max()) for _, frame in own)
            lines = [_solved(name, order.index(f.base.memory), f, last) for name, f in own]
            panels.append(_line_panel(panel.title, model, lines))
    if not panels:
        raise NothingToDrawError("success-steps: no episode has a success")
    cut = any(line.ticks for panel in panels for line in panel.lines)
    ticks = (
        "Ticks: episodes ended by their cap. From the first on (thin line) the share is a lower "
        "bound: an episode that was cut off may have been solved later."
    )
    said = [*([ticks] if cut else []), *material.notes(shown)]
    return LineSheet(TITLES["success-steps"], tuple(panels), tuple(said), steps=True)


def _was_scored(frame: CellFrame) -> bool:
    return not bool(np.isnan(frame.values("success")).all())


def _times(frame: CellFrame) -> tuple[FloatArray, FloatArray, list[str], list[str]]:
    """Steps, success, task and status of each episode that has a success."""
    success = frame.values("success")
    there = ~np.isnan(success)
    statuses = [s for s, counts in zip(frame.statuses, frame.scored, strict=True) if counts]
    tasks = [t for t, counts in zip(frame.tasks(), there, strict=True) if counts]
    statuses = [s for s, counts in zip(statuses, there, strict=True) if counts]
    return frame.values("steps")[there], success[there], tasks, statuses


def _solved(name: str, style: int, frame: CellFrame, last: int) -> Line:
    steps, success, tasks, statuses = _times(frame)
    cut = np.array([status == "limit" for status in statuses], dtype=bool) & (success == 0)
    n = min(last, MOST_X)
    grid = [0, *sorted({round(last * (i + 1) / n) for i in range(n)})] if n else [0]
    found: list[Estimate] = []
    for at in grid:
        within = rate((success == 1) & (steps <= at), tasks)
        assert within is not None  # there are episodes
        found.append(within)
    ticks = tuple(float(s) for s in np.unique(steps[cut]))
    return Line(name, style, tuple(map(float, grid)), tuple(found), ticks, flagged(frame))


def _line_panel(title: str, about: str, lines: Sequence[Line]) -> LinePanel:
    n = n_told(y for line in lines for y in line.y)
    label = "environment steps"
    return LinePanel(title, about, label, "solved within n steps", tuple(lines), True, n)


# --- a stream of tasks ------------------------------------------------------------------------


def lifelong_gain(material: Material) -> LineSheet:
    """Success over the place in the stream, mean over the orders of a memory kept over it."""
    order = list(dict.fromkeys(frame.base.memory for frame in material.frames))
    panels, one_order = [], False
    shown = material.panels(lambda f: f.cell.lifelong and bool(_streams(f)))
    for panel in shown:
        for model in dict.fromkeys(frame.base.model for frame in panel.frames):
            lines, window = [], 1
            for name, frame in zip(panel.names, panel.frames, strict=True):
                if frame.base.model == model:
                    window = max(1, round(len(frame.cell.tasks) / 5))
                    lines.append(_stream(name, order.index(frame.base.memory), frame, window))
                    one_order |= len(_streams(frame)) == 1
            label = f"task of the stream, of {panel.frames[0].protocol.n_tasks}"
            of = "mean of the last " + ("task" if window == 1 else f"{window} tasks")
            panels.append(
                LinePanel(panel.title, model, label, f"success, {of}", tuple(lines), True)
            )
    if not panels:
        why = "no stream was played whole: --memory-scope run --order-seeds 0,1,2"
        raise NothingToDrawError(f"lifelong-gain: {why}")
    said = ["In the legend: success of the second half minus that of the first, in points."]
    if one_order:
        said.append("Where one order was played, intervals are over its tasks, not over orders.")
    said += material.notes(shown)
    return LineSheet(TITLES["lifelong-gain"], tuple(panels), tuple(said), shared=False)


def _streams(frame: CellFrame) -> dict[tuple[int, int | None], FloatArray]:
    """By repeat and order the successes in the order played, of streams scored to their end."""
    places: dict[tuple[int, int | None], dict[int, float]] = {}
    success = frame.columns.get("success")
    if success is None:
        return {}
    for key, place, value, counts in zip(
        frame.keys, frame.orders, success, frame.scored, strict=True
    ):
        if counts and not np.isnan(value):
            places.setdefault((key.repeat, key.order_seed), {})[place] = float(value)
    n = len(frame.cell.tasks)
    whole = {stream: found for stream, found in places.items() if len(found) == n > 1}
    return {stream: np.array([v for _, v in sorted(whole[stream].items())]) for stream in whole}


def _stream(name: str, style: int, frame: CellFrame, window: int) -> Line:
    streams = _streams(frame)
    played = np.array(list(streams.values()))
    orders = [str(order) for _, order in streams]
    clusters = orders if len(set(orders)) > 1 else None  # repeats of one order are alike
    n = played.shape[1]
    grid = sorted({round(window + (n - window) * i / MOST_X) for i in range(MOST_X + 1)})
    found: list[Estimate] = []
    for at in grid:
        recent = played[:, at - window : at]
        value = rate(recent[0]) if len(played) == 1 else mean(recent.mean(axis=1), clusters)
        assert value is not None  # a window holds a task
        found.append(value)
    halves = played[:, -(n // 2) :].mean(axis=1) - played[:, : n // 2].mean(axis=1)
    gain = mean(halves, clusters)
    assert gain is not None
    count = len(played)
    said = _points_of(gain.value)
    alike = gain.low == gain.high  # so few that agree say nothing of how far others would differ
    if not np.isnan(gain.low) and not alike:
        said += f" [{_points_of(gain.low)}, {_points_of(gain.high)}]"
    said += f" ({count} {'order' if count == 1 else 'streams'}{', all alike' if alike else ''})"
    places = tuple(map(float, grid))
    return Line(name, style, places, tuple(found), flagged=flagged(frame), said=said)


def _points_of(share: float) -> str:
    return f"{round(100 * share, 1) + 0.0:+.1f}"  # no -0.0


# --- training ---------------------------------------------------------------------------------


def reward_curves(material: Material) -> LineSheet:
    """Reward over training steps, and its components: mean over seeds."""
    series: dict[str, list[TrainingLog]] = {}
    for log in material.logs:
        series.setdefault(log.series, []).append(log)
    if not series:
        raise NothingToDrawError(
            "reward-curves: no metrics.jsonl in these directories: give that of a training run"
        )
    parts = dict.fromkeys(
        part for log in material.logs for step in log.steps for part in step.components
    )
    panels = []
    for part in (None, *parts):
        lines = []
        for i, (name, logs) in enumerate(series.items()):
            line = _reward(name, i, logs, part)
            if line is not None:
                lines.append(line)
        label = "reward" if part is None else f"reward, component {part}"
        panels.append(LinePanel(label, "", "training step", "mean of a step", tuple(lines)))
    said = [_seeds(name, logs) for name, logs in series.items()]
    return LineSheet(TITLES["reward-curves"], tuple(panels), tuple(said))


def _reward(name: str, style: int, logs: Sequence[TrainingLog], part: str | None) -> Line | None:
    """A curve over the steps that every seed has."""
    by_seed: list[dict[int, float]] = []
    for log in logs:
        steps = [s for s in log.steps if part is None or part in s.components]
        by_seed.append({s.step: s.reward if part is None else s.components[part] for s in steps})
    common = sorted(set.intersection(*(set(values) for values in by_seed)))
    if not common:
        return None
    width = -(-len(common) // MOST_X)
    bins = [np.array(common[i : i + width]) for i in range(0, len(common), width)]
    groups = {s.step: s.group_rewards for s in logs[0].steps} if len(logs) == 1 else {}
    xs, ys = [], []
    for steps_of_bin in bins:
        seeds = [float(np.mean([values[int(s)] for s in steps_of_bin])) for values in by_seed]
        found = mean(seeds)
        own = [g for s in steps_of_bin for g in groups.get(int(s), ())] if part is None else []
        if len(logs) == 1 and own:
            of_groups = mean(own)
            assert of_groups is not None
            found = of_groups
        assert found is not None
        xs.append(float(np.mean(steps_of_bin)))
        ys.append(found)
    return Line(name, style, tuple(xs), tuple(ys))


def _seeds(name: str, logs: Sequence[TrainingLog]) -> str:
    width = -(-max(len(log.steps) for log in logs) // MOST_X)
    binned = f", each point the mean of up to {width} steps" if width > 1 else ""
    if len(logs) > 1:
        return f"{name}: interval over {len(logs)} seeds{binned}."
    has_groups = any(step.group_rewards for step in logs[0].steps)
    over = "interval of the reward over the groups of a step" if has_groups else "no interval"
    return f"{name}: one seed, {over}{binned}."


# --- losses -----------------------------------------------------------------------------------


def losses(material: Material) -> StackSheet:
    """Shares of all scored questions that failed, by where their facts were lost."""
    panels, shown = [], []
    for panel in material.panels(lambda f: _was_scored(f) and _told_facts(f)):
        if not any(any(frame.losses) for frame in panel.frames):
            continue
        shown.append(panel)
        for model in dict.fromkeys(frame.base.model for frame in panel.frames):
            stacks = [
                _stack(name, frame)
                for name, frame in zip(panel.names, panel.frames, strict=True)
                if frame.base.model == model
            ]
            n = n_told(stack.cumulated[-1] for stack in stacks)
            label = "failed questions, of all scored"
            panels.append(StackPanel(panel.title, model, label, tuple(stacks), n))
    if not panels:
        why = "no failed question whose facts are known: hotpotqa tells them"
        raise NothingToDrawError(f"losses: {why}")
    parts = (*(loss.replace("_", " ") for loss in LOSSES), "failed otherwise")
    said = [
        "A whisker is the interval of all parts up to it; the number is the share that failed.",
        *material.notes(shown),
    ]
    return StackSheet(TITLES["losses"], tuple(panels), parts, tuple(said))


def _told_facts(frame: CellFrame) -> bool:
    return any(frame.losses) or any(name.startswith("quality.fact_") for name in frame.columns)


def _stack(row: str, frame: CellFrame) -> Stack:
    success = frame.values("success")
    there = ~np.isnan(success)
    lost = [loss for loss, counts in zip(frame.losses, frame.scored, strict=True) if counts]
    tasks = [task for task, counts in zip(frame.tasks(), there, strict=True) if counts]
    failed = success[there] == 0
    where = np.array([loss or "" for loss in lost], dtype=np.str_)[there]
    masks = [failed & (where == name) for name in LOSSES]
    masks.append(failed & ~np.isin(where, LOSSES))
    until = np.zeros(len(failed), dtype=bool)
    shares, cumulated = [], []
    for mask in masks:
        until = until | mask
        found = rate(until, tasks)
        assert found is not None  # some episode has a success
        shares.append(float(mask.mean()))
        cumulated.append(found)
    return Stack(row, tuple(shares), tuple(cumulated), flagged(frame))


# --- scores against tokens --------------------------------------------------------------------


def success_tokens(material: Material) -> PointSheet:
    """The headline score against the tokens of an episode, and which cells none beats in both."""
    spent = Measure(
        "tokens an episode, agent and memory, prompt and output",
        lambda frame: roles("prompt", SPENDING)(frame) + roles("completion", SPENDING)(frame),
    )
    panels: list[PointPanel] = []
    shown = material.panels(lambda f: bool(np.any(f.values("tokens.agent.prompt") > 0)))
    for panel in shown:
        points = _points(panel, spent)
        if points:
            measure = headline(panel.frames)
            n = n_told(e for point in points for e in (point.x, point.y))
            percent, front = measure.percent, _front(points)
            panels.append(
                PointPanel(
                    panel.title, spent.label, measure.label, tuple(points), front, percent, n
                )
            )
    if not panels:
        raise NothingToDrawError("success-tokens: no scored episode has its tokens counted")
    memories = dict.fromkeys(point.memory for panel in panels for point in panel.points)
    said = [
        "Dashed: the front of those that none beats in both measures, by their means alone.",
        *(["Tokens are estimated where the model reports none."] if _estimated(shown) else []),
        *material.notes(shown),
    ]
    title = TITLES["success-tokens"]
    return PointSheet(title, tuple(panels), tuple(memories), material.models, tuple(said))


def _estimated(panels: Sequence[Panel]) -> bool:
    return any(frame.estimated for panel in panels for frame in panel.frames)


def _points(panel: Panel, spent: Measure) -> list[Point]:
    points = []
    for name, frame in zip(panel.names, panel.frames, strict=True):
        x, y = of_cell(frame, spent), of_cell(frame, headline(panel.frames))
        if x is not None and y is not None:
            points.append(Point(name, frame.base.model, x, y, flagged(frame)))
    return points


def _front(points: Sequence[Point]) -> tuple[Point, ...]:
    """Left to right, each better than all that cost less; cells of low coverage stand aside."""
    front: list[Point] = []
    for point in sorted(points, key=lambda p: (p.x.value, -p.y.value)):
        if not point.flagged and (not front or point.y.value > front[-1].y.value):
            front.append(point)
    return tuple(front)
