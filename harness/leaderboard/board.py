"""The leaderboard as numbers: a row is a memory with a model, a column an environment's score.

How it is worded is in `grids`; nothing here rounds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..analysis import MIN_COVERAGE, Alignment, CellFrame
from ..analysis.frame import names_with
from ..columns import FloatArray
from ..ledger import Role
from ..stats import Comparison, Estimate, estimate, macro_average, paired, paired_average
from ..tables import Mark
from .blocks import Entry, blocks_of
from .prices import Cost, Prices, cost_of
from .ranking import Compare, Contest, Verdict, judge, marks_of

AVERAGE = "average"
POINTS = 0.1  # the difference that power is told for: ten points of a share
# What a score depends on beside the episode: labels of the run, by column.
_JUDGED_BY = {"quality.j": ("judge",), "quality.mq": ("judge", "embedder")}
_SHORT = {"success": "SR", "progress": "PR", "quality.j": "J", "quality.mq": "MQ"}
_SUCCESS = {"hotpotqa": "EM"}  # where success has a name of its own


@dataclass(frozen=True, slots=True)
class Column:
    """A score of an environment."""

    env: str
    score: str  # the frames' column, e.g. `success`
    share: bool  # whether it is one of 0 to 1, shown in percent
    ranked: bool  # whether its cells may be ranked at all

    @property
    def id(self) -> str:
        """Names it among the columns of a table."""
        return f"{self.env}/{self.score}"

    @property
    def name(self) -> str:
        """Environment and metric, as above the column."""
        short = _SHORT.get(self.score, self.score.partition(".")[2] or self.score)
        if self.score == "success":
            short = _SUCCESS.get(self.env, short)
        return f"{self.env} {short}"


@dataclass(frozen=True, slots=True)
class Score:
    """A cell: its estimate, of how many of the planned episodes, and whether it may be ranked."""

    estimate: Estimate
    n_planned: int
    ranked: bool

    @property
    def coverage(self) -> float:
        """Episodes with this score, of those planned."""
        return self.estimate.n / self.n_planned


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of a role: means an episode, over the environments of the row."""

    calls: float
    prompt: float
    completion: float


@dataclass(slots=True)
class Line:
    """A row of the leaderboard."""

    entry: Entry
    scores: dict[str, Score]  # by column; one that was not scored is missing
    planned: dict[str, tuple[int, int]]  # episodes scored and planned, by environment
    average: Estimate | None  # only where all environments are there
    average_ranked: bool
    tokens: dict[str, Usage]  # by role
    estimated: bool  # whether some of them were
    tool_calls: dict[str, tuple[float, float]]  # calls and failed ones an episode, by tool
    cost: Cost | None  # None: no prices are given
    labels: dict[str, str]


@dataclass(slots=True)
class Block:
    """One table: what may be ranked together."""

    runs: list[str]
    columns: list[Column]
    quality: list[Column]  # of the memory
    lines: list[Line]
    verdicts: list[Verdict] = field(default_factory=list)
    marks: dict[tuple[int, str], Mark] = field(default_factory=dict)  # by line and column
    notes: list[str] = field(default_factory=list)

    @property
    def averaged(self) -> bool:
        """Whether there is an average to speak of."""
        return len(self.columns) > 1 and all(column.share for column in self.columns)


@dataclass(frozen=True, slots=True)
class Board:
    """All tables of a report."""

    blocks: list[Block]
    alpha: float
    min_coverage: float
    prices: Prices | None


def make_board(
    runs: Sequence[Sequence[CellFrame]],
    *,
    prices: Prices | None = None,
    allow_mixed: bool = False,
    min_coverage: float = MIN_COVERAGE,
    alpha: float = 0.05,
) -> Board:
    """The leaderboard of runs.

    Args:
        runs: The cells of each.
        prices: Of models' tokens.
        allow_mixed: Whether runs of different protocols get tables apart.
        min_coverage: Share of the planned episodes below which a cell is never ranked.
        alpha: The chance of one false mark or more in a table.

    Raises:
        UsageError: if runs cannot stand in one table.
    """
    blocks = [
        _block(entries, prices, min_coverage, alpha) for entries in blocks_of(runs, allow_mixed)
    ]
    return Board(blocks, alpha, min_coverage, prices)


def _block(
    entries: Sequence[Entry], prices: Prices | None, min_coverage: float, alpha: float
) -> Block:
    notes: list[str] = []
    columns, quality = [], []
    for env in dict.fromkeys(env for entry in entries for env in entry.frames):
        frames = [entry.frames[env] for entry in entries if env in entry.frames]
        columns.append(_headline(env, frames, notes))
        if names_with(frames, "quality.mq"):
            one = _same_judge(frames, "quality.mq")
            quality.append(Column(env, "quality.mq", True, one))
            if not one:
                notes.append(f"{env} MQ is not ranked: {_judges(frames, 'quality.mq')}")
    lines = [_line(entry, columns, quality, prices, min_coverage) for entry in entries]
    runs = list(dict.fromkeys(run for entry in entries for run in entry.runs))
    block = Block(runs, columns, quality, lines, notes=notes)
    if not block.averaged:
        for line in lines:
            line.average, line.average_ranked = None, False
    only = columns[0].id if len(columns) == 1 else None
    lines.sort(key=lambda line: _leading(line, only), reverse=True)
    block.verdicts = judge(_contests(block), alpha)
    block.marks = marks_of(block.verdicts)
    return block


def _leading(line: Line, only: str | None) -> tuple[bool, float]:
    """What lines are sorted by: the average, or the only score; what is not ranked leads nobody."""
    ranked, found = line.average_ranked, line.average
    if only is not None and only in line.scores:
        ranked, found = line.scores[only].ranked, line.scores[only].estimate
    return ranked, -math.inf if found is None else found.value


def _headline(env: str, frames: Sequence[CellFrame], notes: list[str]) -> Column:
    """The score that ranks: the first of the environment's that all cells have alike."""
    wanted = frames[0].cell.headline
    played = [frame for frame in frames if frame.n_scored]
    for name in wanted:
        there = played and all(name in frame.columns for frame in played)
        if there and _same_judge(played, name):
            break
    else:
        name = wanted[-1]
    column = Column(env, name, not name.startswith("metrics."), True)
    for better in wanted[: wanted.index(name)]:
        some = [frame for frame in played if better in frame.columns]
        why = "no run has it" if not some else "not every cell has it"
        if some and len(some) == len(played):
            why = _judges(some, better)
        short = Column(env, better, True, True).name.removeprefix(f"{env} ")
        notes.append(f"{env} shows {column.name.removeprefix(f'{env} ')}, not {short}: {why}")
    return column


def _same_judge(frames: Sequence[CellFrame], score: str) -> bool:
    """Whether what a score depends on beside the episode is the same in all cells that have it."""
    with_it = [frame for frame in frames if score in frame.columns]
    needed = _JUDGED_BY.get(score, ("embedder",) if score.startswith("quality.") else ())
    found = {tuple(frame.labels.get(label) for label in needed) for frame in with_it}
    return len(found) <= 1 and all("mixed" not in given for given in found)


def _judges(frames: Sequence[CellFrame], score: str) -> str:
    labels = _JUDGED_BY.get(score, ("embedder",))
    found = {
        label: dict.fromkeys(str(f.labels.get(label)) for f in frames if score in f.columns)
        for label in labels
    }
    different = [
        f"{label}s {' and '.join(values)}"
        for label, values in found.items()
        if len(values) > 1 or "mixed" in values
    ]
    return f"its scores are of the {'; '.join(different)}"


# --- rows -------------------------------------------------------------------------------------


def _line(
    entry: Entry,
    columns: Sequence[Column],
    quality: Sequence[Column],
    prices: Prices | None,
    min_coverage: float,
) -> Line:
    scores: dict[str, Score] = {}
    for column in (*columns, *quality):
        frame = entry.frames.get(column.env)
        found = None if frame is None else estimate(frame.values(column.score), frame.tasks())
        if frame is not None and found is not None:
            enough = found.n >= min_coverage * frame.n_planned
            scores[column.id] = Score(found, frame.n_planned, column.ranked and enough)
    headline = [scores[column.id] for column in columns if column.id in scores]
    whole = len(headline) == len(columns)
    frames = [frame for frame in entry.frames.values() if frame.n_scored]
    labels: dict[str, str] = {}
    for frame in frames:
        for label, value in frame.labels.items():
            labels[label] = value if labels.setdefault(label, value) == value else "mixed"
    return Line(
        entry,
        scores,
        {env: (frame.n_scored, frame.n_planned) for env, frame in entry.frames.items()},
        macro_average(score.estimate for score in headline) if whole else None,
        whole and all(score.ranked for score in headline),
        _tokens(frames),
        any(frame.estimated for frame in frames),
        _tools(frames),
        None if prices is None else cost_of(frames, prices),
        labels,
    )


def _tokens(frames: Sequence[CellFrame]) -> dict[str, Usage]:
    found = {}
    for role in Role:
        if names_with(frames, f"tokens.{role}."):
            calls, prompt, completion = (
                _over_environments(frames, f"tokens.{role}.{kind}")
                for kind in ("calls", "prompt", "completion")
            )
            found[role.value] = Usage(calls, prompt, completion)
    return found


def _tools(frames: Sequence[CellFrame]) -> dict[str, tuple[float, float]]:
    return {
        tool: (
            _over_environments(frames, f"tool_calls.{tool}"),
            _over_environments(frames, f"tool_failed.{tool}"),
        )
        for tool in (name.partition(".")[2] for name in names_with(frames, "tool_calls."))
    }


def _over_environments(frames: Sequence[CellFrame], column: str) -> float:
    """The mean an episode, each environment of the same weight; what nobody counted is 0."""
    means = [float(f.values(column).mean()) if column in f.columns else 0.0 for f in frames]
    return math.fsum(means) / len(means)


# --- ranking ----------------------------------------------------------------------------------


def _contests(block: Block) -> list[Contest]:
    found, align = [], _Aligned(block)
    for column in (*block.columns, *block.quality):
        scores = {
            i: line.scores[column.id].estimate.value
            for i, line in enumerate(block.lines)
            if column.id in line.scores and line.scores[column.id].ranked
        }
        found.append(Contest(column.id, _highest_first(scores), _in_column(align, column)))
    if block.averaged:
        averages = {
            i: line.average.value
            for i, line in enumerate(block.lines)
            if line.average is not None and line.average_ranked
        }
        found.append(Contest(AVERAGE, _highest_first(averages), _in_average(align, block.columns)))
    return found


def _highest_first(values: dict[int, float]) -> tuple[int, ...]:
    return tuple(sorted(values, key=lambda line: -values[line]))


def _in_column(align: _Aligned, column: Column) -> Compare:
    effect = POINTS if column.share else None

    def compare(base: int, new: int, alpha: float) -> Comparison:
        return paired(*align.pair(base, new, column), alpha=alpha, effect=effect)

    return compare


def _in_average(align: _Aligned, columns: Sequence[Column]) -> Compare:
    def compare(base: int, new: int, alpha: float) -> Comparison:
        parts = [align.pair(base, new, column) for column in columns]
        return paired_average(parts, alpha=alpha, effect=POINTS)

    return compare


class _Aligned:
    """The lines of a block, episode by episode, in each environment."""

    def __init__(self, block: Block) -> None:
        self._places: dict[str, dict[int, int]] = {}  # of a line among those of an environment
        self._alignments: dict[str, Alignment] = {}
        for column in block.columns:
            there = [i for i, ln in enumerate(block.lines) if column.env in ln.entry.frames]
            self._places[column.env] = {line: place for place, line in enumerate(there)}
            frames = [block.lines[line].entry.frames[column.env] for line in there]
            self._alignments[column.env] = Alignment(frames)

    def pair(self, base: int, new: int, column: Column) -> tuple[FloatArray, FloatArray, list[str]]:
        """Scores of two lines over the episodes that both scored, and their tasks."""
        places = self._places[column.env]
        return self._alignments[column.env].pair(places[base], places[new], column.score)
