"""The values of a table from the records of its runs, and the paper's number for each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..analysis import CellFrame, load_frames
from ..columns import FloatArray
from ..stats import Estimate, estimate, macro_average, mean
from ..store import RunStore
from ..trace import Event
from .jobs import Job, Jobs
from .tables import (
    ALL_TOKENS,
    MQ,
    PAPER_TOOLS,
    QUESTION_TOKENS,
    RECIPES,
    TOOL_CALLS,
    Average,
    J,
    Play,
    Table,
    Value,
    paper_values,
)


@dataclass(frozen=True, slots=True)
class Paper:
    """What the authors report in the place of a value."""

    model: str  # theirs
    value: float
    same_model: bool  # whether ours is called like theirs


@dataclass(frozen=True, slots=True)
class Entry:
    """One value of a table, in the paper's units.

    Attributes:
        row: Of the table.
        column: Likewise.
        ours: None where there is none.
        why: Why there is none, or what is lacking; empty if nothing is.
        paper: What the authors report there; empty where they report nothing.
        run: The run it is from; None of an average.
        played_by: The model that played it; None of an average.
        n_planned: Episodes of which a score was wanted; 0 where nothing was played.
        estimated: Whether these are tokens that the model did not report, but the harness guessed.
    """

    row: str
    column: str
    ours: Estimate | None
    why: str = ""
    paper: tuple[Paper, ...] = ()
    run: str | None = None
    played_by: str | None = None
    n_planned: int = 0
    estimated: bool = False

    @property
    def coverage(self) -> float | None:
        """Scored of planned; None where nothing was planned."""
        if not self.n_planned:
            return None
        return (self.ours.n if self.ours is not None else 0) / self.n_planned


def read_entries(table: Table, jobs: Jobs, number: int, model: str) -> dict[tuple[str, str], Entry]:
    """All values of a table for one model, by row and column.

    Args:
        table: What was to be measured.
        jobs: The runs, played as far as they got.
        number: Of the model.
        model: Its name, for the paper's numbers of the same one.

    Raises:
        DataError: for a run that is broken.
    """
    reader = _Reader(jobs, number)
    reported = _reported(table.name, model)
    found: dict[tuple[str, str], Entry] = {}
    for row in table.rows:
        for column in table.columns:
            value = table.values.get((row, column.name))
            if isinstance(value, Value):
                entry = reader.entry(row, column.name, value, column.scale)
                paper = tuple(reported.get((row, column.name), ()))
                found[row, column.name] = replace(entry, paper=paper)
        for column in table.columns:
            value = table.values.get((row, column.name))
            if isinstance(value, Average):
                parts = [found[row, name] for name in value.columns]
                paper = tuple(reported.get((row, column.name), ()))
                found[row, column.name] = replace(_average(row, column.name, parts), paper=paper)
    return found


def is_named(model: str, paper_model: str) -> bool:
    """Whether a model is called like one of the paper's, as `Qwen2.5-7B-Instruct` is."""
    return _plain(paper_model) in _plain(model)


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower()))


def _reported(table: str, model: str) -> dict[tuple[str, str], list[Paper]]:
    """The paper's numbers: of the model that ours is called like, else of all it has."""
    numbers = paper_values(table)
    models = list(dict.fromkeys(of for of, _, _ in numbers))
    same = [of for of in models if is_named(model, of)]
    found: dict[tuple[str, str], list[Paper]] = {}
    for (of, row, column), value in numbers.items():
        if of in (same or models):
            found.setdefault((row, column), []).append(Paper(of, value, bool(same)))
    return found


def _average(row: str, column: str, parts: list[Entry]) -> Entry:
    lacking = [part.column for part in parts if part.ours is None]
    if lacking:
        return Entry(row, column, None, f"an average needs all of it: {', '.join(lacking)} lacks")
    ours = macro_average([part.ours for part in parts if part.ours is not None])
    return Entry(row, column, ours, n_planned=sum(part.n_planned for part in parts))


class _Reader:
    """Reads each run of a table once."""

    def __init__(self, jobs: Jobs, number: int) -> None:
        self._jobs, self._number = jobs, number
        self._frames: dict[str, CellFrame | None] = {}
        self._tokens: dict[str, FloatArray] = {}

    def entry(self, row: str, column: str, value: Value, scale: float) -> Entry:
        """A value without the paper's."""
        job = self._jobs.of.get((self._number, value.play))
        if job is None:
            return Entry(row, column, None, _not_played(value.play, self._jobs.missing))
        frame = self._frame(job)
        about = Entry(
            row, column, None, job.problem or "", (), job.name, job.info.name, job.planned
        )
        if frame is None or not frame.n_scored:
            return replace(about, why=about.why or "no episode is scored yet")
        values = self._values(job, frame, value.score)
        # Counts that happen to be 0 and 1 are no rate.
        interval = mean if value.score.startswith(TOOL_CALLS) else estimate
        found = interval(values, frame.tasks())
        if found is None:
            return replace(about, why=_not_scored(job, value.score))
        guessed = frame.estimated and value.score in (QUESTION_TOKENS, ALL_TOKENS)
        return replace(about, ours=_scaled(found, scale), estimated=guessed)

    def _frame(self, job: Job) -> CellFrame | None:
        if job.name not in self._frames:
            directory = job.execution.runs_dir / job.name
            there = (directory / "config.json").exists()
            self._frames[job.name] = load_frames(directory)[0] if there else None
        return self._frames[job.name]

    def _values(self, job: Job, frame: CellFrame, score: str) -> FloatArray:
        """A score of every scored episode. A tool that was never called was called 0 times."""
        if score == QUESTION_TOKENS:
            if job.name not in self._tokens:
                self._tokens[job.name] = question_tokens(frame)
            return self._tokens[job.name]
        if score == TOOL_CALLS:
            tools = (f"tool_calls.{tool}" for tool in PAPER_TOOLS.values())
            return np.asarray(sum(np.nan_to_num(frame.values(tool)) for tool in tools))
        values = frame.values(score)
        return np.nan_to_num(values) if score.startswith("tool_calls.") else values


def question_tokens(frame: CellFrame) -> FloatArray:
    """Prompt tokens of a call of the agent once the question is put, mean of each episode.

    Of the scored episodes, in their order: AgeMem's mean over the calls of stage 3 of a question.
    NaN where the question was never put, or nothing was asked of the model after it.
    """
    store = RunStore.open(frame.directory)
    ids = [key.id for key, counts in zip(frame.keys, frame.scored, strict=True) if counts]
    return np.array([_question_tokens(store.read_trace(id_)) for id_ in ids], dtype=np.float64)


def _question_tokens(events: Iterator[Event]) -> float:
    goals = 0
    tokens: list[int] = []
    for event in events:
        if event["type"] == "message" and event["kind"] == "goal":
            goals += 1  # the first one says to listen, the second one is the question
            tokens = []
        elif event["type"] == "completion":
            tokens.append(event["prompt_tokens"])
    return sum(tokens) / len(tokens) if goals > 1 and tokens else math.nan


def _scaled(found: Estimate, scale: float) -> Estimate:
    se = None if found.se is None else scale * found.se
    value, low, high = scale * found.value, scale * found.low, scale * found.high
    return replace(found, value=value, low=low, high=high, se=se)


def _not_played(play: Play, missing: Mapping[str, str]) -> str:
    if play.env in missing:
        return f"not played: {missing[play.env]}"
    if play.recipe is not None:
        flag = "SPEC" if play.recipe == "agemem" else f"{play.recipe}=SPEC"
        return f"needs a trained checkpoint ({RECIPES[play.recipe]}): --trained {flag}"
    return "not played"


def _not_scored(job: Job, score: str) -> str:
    if score in (J, MQ):
        return "the judge gave no score" if job.config.judge else "needs a judge: --judge MODEL"
    return "no episode has this score"
