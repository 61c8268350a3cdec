"""The definition of an experiment: what is played, and what is claimed of it beforehand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ...results import paper
from ..errors import UsageError, unknown_name
from ..yaml_files import read_yaml

SHIPPED = ("nano",)  # experiments of the package, by their folder in `results`
FILE = "experiment.yaml"
SCORE = "score"  # the measure that is each task's own


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Checkpoints(_Strict):
    """A model of the experiment: the checkpoints of one training, one a seed of it."""

    specs: tuple[str, ...] = Field(min_length=1)  # as `run --model` takes them, and options
    training: Literal["none", "agemem"] = "none"  # what their cards must say
    scheme: Literal["all-returns", "answer-only"] | None = None  # of their reward, likewise
    base: str | None = None  # a key of `models`: what they were trained from, all from the same
    says: str = ""


class TaskSet(_Strict):
    """Tasks to play, under settings of their own."""

    env: str
    split: str | None = None
    episodes: int = Field(ge=1)  # the first n tasks
    repeats: int = Field(1, ge=1)
    score: str = "success"  # a column of the episodes
    settings: dict[str, Any] = {}  # of `run`, over those of the experiment
    model_options: dict[str, str] = {}  # of whichever model plays, e.g. how it decodes
    groups: dict[str, tuple[str, ...]] = {}  # by name: types of tasks whose score is shown apart
    says: str = ""


class Player(_Strict):
    """Who plays: a memory and a model."""

    memory: str
    model: str  # a key of `models`
    says: str = ""


class Table(_Strict):
    """Cells that are played: each of its players on each of its tasks."""

    title: str
    tasks: tuple[str, ...] = Field(min_length=1)
    players: tuple[str, ...] = Field(min_length=1)


class Reported(_Strict):
    """The paper's numbers for a part: the mean over some values minus that over others."""

    table: str  # of `results.paper.TABLES`
    new: tuple[str, ...]  # ROW/COLUMN
    base: tuple[str, ...]
    scale: float = 1.0  # what the difference is multiplied with, e.g. 0.01 of percent


class Part(_Strict):
    """A difference that can be tested: new minus base, the mean over tasks of the same weight."""

    says: str
    measure: str = SCORE
    new: str
    base: tuple[str, ...] = Field(min_length=1)  # of several players their mean
    over: tuple[str, ...] = Field(min_length=1)
    direction: Literal["up", "down"] = "up"
    paper: Reported | None = None

    @property
    def players(self) -> tuple[str, ...]:
        """All that it compares."""
        return (self.new, *self.base)


class Claim(_Strict):
    """A claim: what it says is so if all its parts are."""

    says: str
    parts: tuple[Part, ...] = Field(min_length=1)
    beside: tuple[Part, ...] = ()  # shown with it, and no part of it
    limits: str = ""  # what the measures here do not tell of it


@dataclass(frozen=True, slots=True, order=True)
class CellId:
    """A task set, a player, and the seed of its training: one run."""

    task: str
    player: str
    seed: int


class Experiment(_Strict):
    """All of it; see `results/nano/experiment.yaml`."""

    name: str
    title: str
    settings: dict[str, Any] = {}  # of `run`, for every cell
    models: dict[str, Checkpoints]
    tasks: dict[str, TaskSet]
    players: dict[str, Player]
    tables: dict[str, Table]
    claims: dict[str, Claim]

    @model_validator(mode="after")
    def _all_known(self) -> Self:
        for base in (of.base for of in self.models.values() if of.base is not None):
            _known("model", base, self.models)
        for player in self.players.values():
            _known("model", player.model, self.models)
        for table in self.tables.values():
            for task in table.tasks:
                _known("task", task, self.tasks)
            for player_name in table.players:
                _known("player", player_name, self.players)
        played = {(cell.task, cell.player) for cell in self.cells()}
        for name, claim in self.claims.items():
            for part in (*claim.parts, *claim.beside):
                lacking = {(t, p) for t in part.over for p in part.players} - played
                if lacking:
                    task, who = min(lacking)
                    raise ValueError(f"claim {name}: no table has {who} on {task}")
                _check_paper(part.paper)
        return self

    def cells(
        self, tables: tuple[str, ...] = (), players: tuple[str, ...] = ()
    ) -> Iterator[CellId]:
        """Every cell once, table after table.

        Args:
            tables: Of these alone; none: of all.
            players: Likewise.

        Raises:
            UsageError: for an unknown table or player.
        """
        for name in tables:
            if name not in self.tables:
                raise unknown_name("table", name, self.tables)
        for name in players:
            if name not in self.players:
                raise unknown_name("player", name, self.players)
        found: dict[CellId, None] = {}
        for name, table in self.tables.items():
            if tables and name not in tables:
                continue
            for task in table.tasks:
                for player in table.players:
                    if players and player not in players:
                        continue
                    n = len(self.models[self.players[player].model].specs)
                    found |= {CellId(task, player, seed): None for seed in range(n)}
        yield from found

    def planned(self, task: str) -> int:
        """Episodes of a cell."""
        return self.tasks[task].episodes * self.tasks[task].repeats


def _known(what: str, name: str, known: dict[str, Any]) -> None:
    if name not in known:
        raise ValueError(str(unknown_name(what, name, known)))


def _check_paper(reported: Reported | None) -> None:
    if reported is not None:
        reported_values(reported)


def reported_values(reported: Reported) -> dict[str, float]:
    """The paper's difference, by its model.

    Raises:
        ValueError: for a table or a value that the paper does not have.
    """
    from ..reproduce.tables import paper_values

    _known("table of the paper", reported.table, paper.TABLES)
    values = paper_values(reported.table)
    found = {}
    for model in dict.fromkeys(model for model, _, _ in values):
        own = {f"{row}/{column}": v for (of, row, column), v in values.items() if of == model}
        for place in (*reported.new, *reported.base):
            _known(f"value of {reported.table}", place, own)
        new, base = (
            sum(own[place] for place in places) / len(places)
            for places in (reported.new, reported.base)
        )
        found[model] = reported.scale * (new - base)
    return found


def read_experiment(what: str, models: list[str], episodes: int | None = None) -> Experiment:
    """An experiment by its name or file.

    Args:
        what: One of `SHIPPED`, or a YAML.
        models: NAME=SPEC: checkpoints in the place of the experiment's; those of one name are the
            seeds of its training.
        episodes: Of each task set at most.

    Raises:
        DataError: for a file that cannot be read.
        UsageError: for anything wrong in it, in one line.
    """
    path = Path(what)
    if what in SHIPPED:
        path = Path(str(resources.files("agemem_eval.results") / what / FILE))
    values = read_yaml(path, "the experiment")
    if not isinstance(values, dict):
        raise UsageError(f"the experiment {path} must be a mapping of keys to values")
    experiment = _checked(values, path)
    given: dict[str, list[str]] = {}
    for text in models:
        name, equals, spec = text.partition("=")
        if not equals or name not in experiment.models:
            known = ", ".join(experiment.models)
            raise UsageError(f"--model {text!r} is not of the form NAME=SPEC; names: {known}")
        given.setdefault(name, []).append(spec)
    of_models = {
        name: of.model_copy(update={"specs": tuple(given.get(name, of.specs))})
        for name, of in experiment.models.items()
    }
    _check_once(of_models)
    of_tasks = {
        name: task.model_copy(update={"episodes": min(task.episodes, episodes or task.episodes)})
        for name, task in experiment.tasks.items()
    }
    return experiment.model_copy(update={"models": of_models, "tasks": of_tasks})


def _checked(values: dict[str, Any], path: Path) -> Experiment:
    try:
        return Experiment.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        said = str(first["msg"]).removeprefix("Value error, ")
        raise UsageError(f"{path}: {f'{where}: ' if where else ''}{said}") from error


def _check_once(models: dict[str, Checkpoints]) -> None:
    """A checkpoint stands for one seed of one training; else it would be compared to itself."""
    owner: dict[str, str] = {}
    for name, of_model in models.items():
        for spec in of_model.specs:
            if owner.setdefault(spec, name) != name or of_model.specs.count(spec) > 1:
                raise UsageError(f"the model {spec} is given twice: for {owner[spec]} and {name}")
