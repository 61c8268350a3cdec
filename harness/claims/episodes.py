"""The episodes of an experiment as data: one line each, small enough to keep, and read again.

`episodes.tsv.gz` has the episodes that count (`infra_error` is none), `cells.tsv` the cells with
what identifies them: also those that were not played, so that what is lacking is known. Numbers
have six digits; a score that there is not is empty, never 0. Nothing of it tells a time or a
place, so the same runs give the same bytes.
"""

from __future__ import annotations

import gzip
import io
import math
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np

from ..analysis import MIN_COVERAGE, CellFrame, load_frames
from ..columns import COUNTED, FloatArray
from ..errors import DataError
from ..files import disk_error, write_whole
from ..quality.score import MEANINGS
from ..reproduce.measure import question_tokens
from ..reproduce.tables import PAPER_TOOLS, QUESTION_TOKENS
from .cells import CellRun
from .experiment import CellId, Experiment

EPISODES, CELLS = "episodes.tsv.gz", "cells.tsv"
LARGEST = 256 * 2**20  # bytes of the episodes unpacked
_ROLES = ("agent", "memory_write", "memory_read", "judge")
TOOLS = tuple(PAPER_TOOLS.values())
NUMBERS = (
    "success", "progress", "reward", "steps", "turns", "invalid_actions", "malformed_outputs",
    "forfeits", "overflow_drops", "memory_entries", "memory_faults",
    *(f"quality.{name}" for name in MEANINGS),
    *(f"tokens.{role}.{kind}" for role in _ROLES for kind in ("calls", "prompt", "completion")),
    QUESTION_TOKENS,
    *(f"{group}.{tool}" for group in ("tool_calls", "tool_failed") for tool in TOOLS),
)  # fmt: skip
_NAMES = (
    "cell", "env", "split", "task", "memory", "model", "seed", "repeat", "task_type", "status",
)  # fmt: skip
A_CALL = "prompt_a_call"  # prompt tokens of a call of the agent, mean of an episode


@dataclass(frozen=True, slots=True)
class About:
    """What a cell is, and what it was played as; empty where it was not."""

    cell: str  # TASK/PLAYER/SEED of the experiment
    env: str
    memory: str
    model: str  # of the experiment
    spec: str  # the checkpoint
    run: str
    planned: int
    scored: int = 0
    split: str = ""
    named: str = ""  # the model as its results are labelled
    labels: str = ""  # embedder, and who wrote for the memory
    oracle: bool = False  # whether an expert acts: a check of the path, no measure
    estimated: bool = False  # whether tokens were estimated
    data_hash: str = ""
    memory_hash: str = ""
    model_hash: str = ""
    protocol_hash: str = ""
    env_version: str = ""

    @property
    def whole(self) -> bool:
        """Whether enough of it is scored to be compared."""
        return self.scored >= MIN_COVERAGE * self.planned

    @property
    def problem(self) -> str:
        """What keeps it from being compared; empty if nothing does."""
        if not self.scored:
            return f"not measured: {self.cell}"
        return "" if self.whole else f"{self.cell}: {self.scored} of {self.planned} episodes scored"


@dataclass(slots=True)
class CellData:
    """The scored episodes of a cell; row i of every list and column is the same one."""

    about: About
    ids: list[str] = field(default_factory=list)
    repeats: list[int] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
    statuses: list[str] = field(default_factory=list)
    columns: dict[str, FloatArray] = field(default_factory=dict)

    def values(self, measure: str) -> FloatArray:
        """A column, or `A_CALL`; NaN where there is none."""
        if measure == A_CALL:
            calls = self.values("tokens.agent.calls")
            with np.errstate(divide="ignore", invalid="ignore"):
                per_call = self.values("tokens.agent.prompt") / calls
            return np.asarray(np.where(calls > 0, per_call, np.nan))
        column = self.columns.get(measure)
        return np.full(len(self.ids), np.nan) if column is None else column

    def of_types(self, types: Sequence[str]) -> CellData:
        """Its episodes of some types of tasks."""
        at = [i for i, kind in enumerate(self.types) if kind in types]
        return CellData(
            self.about,
            [self.ids[i] for i in at],
            [self.repeats[i] for i in at],
            [self.types[i] for i in at],
            [self.statuses[i] for i in at],
            {name: values[at] for name, values in self.columns.items()},
        )

    def by_task(self, measure: str) -> dict[str, float]:
        """The mean over the repeats of each task that has a value."""
        found: dict[str, list[float]] = {}
        for task, value in zip(self.ids, self.values(measure).tolist(), strict=True):
            if not math.isnan(value):
                found.setdefault(task, []).append(value)
        return {task: math.fsum(values) / len(values) for task, values in found.items()}


Data = dict[CellId, CellData]


def name_of(cell: CellId) -> str:
    """A cell as `cells.tsv` names it."""
    return f"{cell.task}/{cell.player}/{cell.seed}"


# --- from runs --------------------------------------------------------------------------------


def gather(experiment: Experiment, runs: Iterable[CellRun]) -> Data:
    """The episodes of every cell, as far as it was played.

    Raises:
        DataError: for a run that is broken.
    """
    return {run.id: _of_run(experiment, run) for run in runs}


def _meant(experiment: Experiment, cell: CellId, run: str = "") -> About:
    """What a cell is by the definition."""
    task, player = experiment.tasks[cell.task], experiment.players[cell.player]
    spec = experiment.models[player.model].specs[cell.seed]
    planned = experiment.planned(cell.task)
    return About(name_of(cell), task.env, player.memory, player.model, spec, run, planned)


def _of_run(experiment: Experiment, run: CellRun) -> CellData:
    about = _meant(experiment, run.id, run.name)
    directory = run.execution.runs_dir / run.name
    if not (directory / "config.json").exists():
        return CellData(about)
    (frame,) = load_frames(directory)
    return _of_frame(about, frame)


def _of_frame(about: About, frame: CellFrame) -> CellData:
    base, kept = frame.base, frame.scored
    known = {f.name: getattr(about, f.name) for f in fields(About)}
    told = ", ".join(f"{key} {value}" for key, value in sorted(frame.labels.items()))
    known |= {
        "scored": frame.n_scored, "split": base.split, "named": base.model, "labels": told,
        "oracle": base.model.startswith("scripted"), "estimated": frame.estimated,
        "data_hash": base.data_hash, "memory_hash": base.memory_hash,
        "model_hash": base.model_hash, "protocol_hash": base.protocol_hash,
        "env_version": base.env_version,
    }  # fmt: skip
    own = [name for name in sorted(frame.columns) if name.startswith("metrics.")]
    columns = {}
    for name in (*NUMBERS, *own):
        values = question_tokens(frame) if name == QUESTION_TOKENS else frame.values(name)
        columns[name] = np.nan_to_num(values) if name.startswith(COUNTED) else values
    order = sorted(np.flatnonzero(kept).tolist(), key=lambda i: _place(frame, i))
    position = np.cumsum(kept) - 1  # of an episode among the scored ones
    at = position[order] if order else np.zeros(0, dtype=np.int64)
    return CellData(
        About(**known),
        [frame.keys[i].task for i in order],
        [frame.keys[i].repeat for i in order],
        [frame.task_types[i] for i in order],
        [frame.statuses[i] for i in order],
        {name: _rounded(values[at]) for name, values in columns.items()},
    )


def _place(frame: CellFrame, i: int) -> tuple[str, int]:
    return frame.keys[i].task, frame.keys[i].repeat


def _rounded(values: FloatArray) -> FloatArray:
    """As the file has them, so that both ways to read an experiment give the same."""
    return np.array([float(_number(value) or "nan") for value in values.tolist()])


def _number(value: float) -> str:
    if math.isnan(value):
        return ""
    return str(int(value)) if value == int(value) else f"{value:.6g}"


# --- files ------------------------------------------------------------------------------------


def write_data(data: Data, folder: Path) -> None:
    """Write both files.

    Raises:
        DataError: for a disk that refuses.
    """
    own = {name for cell in data.values() for name in cell.columns} - set(NUMBERS)
    numbers = (*NUMBERS, *sorted(own))
    text = _tsv((*_NAMES, *numbers), _episode_lines(data, numbers))
    names = [f.name for f in fields(About)]
    of_cells = ([_shown(getattr(cell.about, n)) for n in names] for cell in data.values())
    try:
        write_whole(folder / EPISODES, gzip.compress(text.encode(), 9, mtime=0))
        write_whole(folder / CELLS, _tsv(names, of_cells).encode())
    except OSError as error:
        raise disk_error(f"the data in {folder}", error) from error


def _episode_lines(data: Data, numbers: Sequence[str]) -> Iterator[list[str]]:
    for id_, cell in data.items():
        columns = [cell.values(name).tolist() for name in numbers]
        about = cell.about
        head = [about.cell, about.env, about.split]
        for i, task in enumerate(cell.ids):
            of_model = [about.memory, about.model, str(id_.seed), str(cell.repeats[i])]
            values = [_number(column[i]) for column in columns]
            yield [*head, task, *of_model, cell.types[i], cell.statuses[i], *values]


def _shown(value: str | int | bool) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def _tsv(names: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    out = io.StringIO()
    for line in (names, *lines):
        out.write("\t".join(" ".join(cell.split()) if cell else "" for cell in line) + "\n")
    return out.getvalue()


def kept_cells(folder: Path) -> dict[str, About]:
    """The cells of which episodes are kept in a folder, by name; none where there is no data.

    Raises:
        DataError: for a file that is not what it should be.
    """
    if not (folder / CELLS).exists():
        return {}
    try:
        return _abouts(folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"cannot read the data of {folder}: {error!r}") from error


def read_data(folder: Path, experiment: Experiment, cells: Iterable[CellId] = ()) -> Data:
    """What `write_data` wrote of an experiment; a cell that is not in it was not measured.

    Args:
        folder: Where.
        experiment: Of which.
        cells: Of these alone; none: of all.

    Raises:
        DataError: if a file is missing, or is not what it should be, or has a cell as another one
            than the experiment.
    """
    try:
        known = _abouts(folder)
        with gzip.open(folder / EPISODES) as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise DataError(f"{folder / EPISODES} holds more than {LARGEST} bytes")
        by_cell: dict[str, list[dict[str, str]]] = {}
        for line in _lines(content):
            by_cell.setdefault(line["cell"], []).append(line)
        names = {id_: name_of(id_) for id_ in (tuple(cells) or experiment.cells())}
        data = {id_: _cell(known[name], by_cell.get(name, [])) for id_, name in names.items()
                if name in known}  # fmt: skip
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError) as error:
        raise DataError(f"cannot read the data of {folder}: {error!r}") from error
    for id_, cell in data.items():
        _check_meant(experiment, id_, cell.about, folder)
    return data


def _abouts(folder: Path) -> dict[str, About]:
    abouts = [_about(line) for line in _lines((folder / CELLS).read_bytes())]
    return {about.cell: about for about in abouts}


def _check_meant(experiment: Experiment, id_: CellId, kept: About, folder: Path) -> None:
    """Refuse episodes that the definition now means to be of something else."""
    meant = _meant(experiment, id_)
    for name in ("env", "memory", "model", "spec", "planned"):
        was, now = getattr(kept, name), getattr(meant, name)
        if was != now:
            raise DataError(
                f"{folder / CELLS}: {kept.cell} was played with {name} {was}, and the experiment "
                f"says {now}: give the options it was written with, or write it from its runs"
            )


def _lines(content: bytes) -> Iterator[dict[str, str]]:
    head, *rest = content.decode().splitlines()
    names = head.split("\t")
    for line in rest:
        yield dict(zip(names, line.split("\t"), strict=True))


def _about(line: dict[str, str]) -> About:
    values: dict[str, str | int | bool] = {}
    for f in fields(About):
        text = line[f.name]
        kind = f.type
        values[f.name] = int(text) if kind == "int" else text == "1" if kind == "bool" else text
    return About(**values)  # type: ignore[arg-type]


def _cell(about: About, lines: Sequence[dict[str, str]]) -> CellData:
    names = [name for name in lines[0] if name not in _NAMES] if lines else []
    columns = {n: np.array([float(line[n] or "nan") for line in lines]) for n in names}
    if len(lines) != about.scored:
        raise ValueError(f"{about.cell} has {len(lines)} episodes, not {about.scored}")
    return CellData(
        about,
        [line["task"] for line in lines],
        [int(line["repeat"]) for line in lines],
        [line["task_type"] for line in lines],
        [line["status"] for line in lines],
        columns,
    )
