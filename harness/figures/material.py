"""What figures are drawn from: cells by panel, their names, and their values with intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..analysis import MIN_COVERAGE, CellFrame, protocol_differences
from ..columns import FloatArray
from ..errors import UsageError
from ..stats import Estimate, estimate
from .training import TrainingLog


@dataclass(frozen=True, slots=True)
class Panel:
    """The cells of one environment that were played under one protocol."""

    env: str
    title: str  # the environment and its split; with a letter where it has several protocols
    frames: tuple[CellFrame, ...]
    names: tuple[str, ...]  # of the memory of each; with the run's where two cells share it


@dataclass(frozen=True, slots=True)
class Material:
    """Everything that is given to draw from; see `figures.draw`."""

    frames: tuple[CellFrame, ...]
    logs: tuple[TrainingLog, ...] = ()
    reference: bool = False
    trained: Mapping[str, str] = field(default_factory=dict)
    allow_mixed: bool = False

    @property
    def models(self) -> tuple[str, ...]:
        """The models of all cells, in order: what decides how each is drawn, in every figure."""
        return tuple(dict.fromkeys(frame.base.model for frame in self.frames))

    def panels(self, keep: Callable[[CellFrame], bool] = lambda _: True) -> list[Panel]:
        """The cells that are kept and have a score, by environment and protocol.

        Raises:
            UsageError: where one environment was played under several protocols, unless allowed.
        """
        by_env: dict[str, dict[str, list[CellFrame]]] = {}
        for frame in self.frames:
            if frame.n_scored and keep(frame):
                blocks = by_env.setdefault(frame.base.env, {})
                blocks.setdefault(frame.protocol.id, []).append(frame)
        panels: list[Panel] = []
        for env, blocks in by_env.items():
            groups = list(blocks.values())
            if len(groups) > 1 and not self.allow_mixed:
                raise _mixed(env, groups[0][0], groups[1][0])
            for i, frames in enumerate(groups):
                mark = f", protocol {_letter(i)}" if len(groups) > 1 else ""
                title = f"{env} ({frames[0].base.split}){mark}"
                panels.append(Panel(env, title, tuple(frames), _names(frames)))
        return panels

    def notes(self, panels: Sequence[Panel]) -> list[str]:
        """What must be known to read these panels right; how their protocols differ."""
        lines = notes(frame for panel in panels for frame in panel.frames)
        for env in dict.fromkeys(panel.env for panel in panels):
            own = [panel for panel in panels if panel.env == env]
            for i, other in enumerate(own[1:], 1):
                pair = own[0].frames[0].protocol, other.frames[0].protocol
                differ = "; ".join(protocol_differences(*pair))
                lines.append(f"{env}, protocols A and {_letter(i)} are not comparable: {differ}")
        return lines


def _letter(i: int) -> str:
    return chr(ord("A") + i) if i < 26 else str(i + 1)


def _mixed(env: str, one: CellFrame, other: CellFrame) -> UsageError:
    differ = "; ".join(protocol_differences(one.protocol, other.protocol))
    runs = "" if one.run == other.run else f" in {one.run} and {other.run}"
    return UsageError(
        f"{env} was played under different protocols{runs} ({differ}): "
        "--allow-mixed draws them in panels of their own"
    )


def _names(frames: Sequence[CellFrame]) -> tuple[str, ...]:
    """One name a memory; cells of the same memory and model are told apart by their run."""
    shared = Counter((frame.base.memory, frame.base.model) for frame in frames)
    runs = {(frame.base.memory, frame.base.model, frame.run): frame for frame in frames}
    found = []
    for frame in frames:
        key = (frame.base.memory, frame.base.model)
        if shared[key] == 1:
            found.append(frame.base.memory)
            continue
        alone = sum(k[:2] == key for k in runs) == shared[key]
        found.append(f"{frame.base.memory} ({frame.run if alone else frame.directory})")
    return tuple(found)


# --- values -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Measure:
    """Something that every episode has a number of."""

    label: str  # on the axis, with the unit
    values: Callable[[CellFrame], FloatArray]  # of the scored episodes, NaN where there is none
    percent: bool = False


def column(name: str, label: str, *, percent: bool = False) -> Measure:
    """A column of the frames as it stands."""
    return Measure(label, lambda frame: frame.values(name), percent)


def of_cell(frame: CellFrame, measure: Measure) -> Estimate | None:
    """The mean over a cell's scored episodes with its interval; None where nothing is scored."""
    return estimate(measure.values(frame), frame.tasks())


def roles(kind: str, names: Sequence[str]) -> Callable[[CellFrame], FloatArray]:
    """Tokens of some roles together, an episode.

    Args:
        kind: `prompt` or `completion`.
        names: The roles.
    """

    def values(frame: CellFrame) -> FloatArray:
        total = frame.values("success") * 0  # shape alone
        total[:] = 0
        for name in names:
            if f"tokens.{name}.{kind}" in frame.columns:
                total = total + frame.values(f"tokens.{name}.{kind}")
        return total

    return values


def n_told(estimates: Iterable[Estimate | None]) -> str:
    """Of how many episodes and tasks, where all have as many; else nothing, each says its own."""
    sizes = {(e.n, e.n_tasks) for e in estimates if e is not None}
    if len(sizes) != 1:
        return ""
    ((n, tasks),) = sizes
    return f"n = {n}" if n == tasks else f"n = {n} ({tasks} tasks)"


# --- what a reader must know ------------------------------------------------------------------


def notes(frames: Iterable[CellFrame]) -> list[str]:
    """What must be known to read these cells right; as the notes of the tables."""
    cells, lines = list(frames), []
    if any("scripted" in frame.base.model for frame in cells):
        lines.append("scripted: an environment's expert plays; a check, not a measure of memory.")
    if any(f.labels.get("memory_model", "").startswith("heuristic") for f in cells):
        lines.append("heuristic: fixed rules write for the memory; a check, not a measure.")
    for frame in cells:
        if frame.coverage < MIN_COVERAGE:
            of = f"{frame.n_scored} of {frame.n_planned}"
            lines.append(
                f"* {frame.base.env}, {frame.base.memory}, {frame.base.model}: {of} planned "
                "episodes scored; not to be ranked."
            )
    return list(dict.fromkeys(lines))


def flagged(frame: CellFrame) -> bool:
    """Whether so little of a cell was scored that it is not to be ranked."""
    return frame.coverage < MIN_COVERAGE
