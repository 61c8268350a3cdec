"""From the cells of an experiment to runs: one a cell, named after its configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from .. import registry
from ..config import Execution, RunConfig, split_model
from ..errors import MissingExtraError, UsageError
from ..options import resolve
from ..reproduce.jobs import Job, NotInstalledError, Planner
from ..reproduce.settings import merged_options, read_spec
from ..runner import default_name
from ..types import ModelInfo
from .experiment import CellId, Checkpoints, Experiment

# What a task set decides itself, or a cell is.
_OWN = ("env", "envs", "memory", "memories", "model", "split", "episodes", "repeats", "name")


@dataclass(frozen=True, slots=True)
class CellRun:
    """A cell, and the run that plays it."""

    id: CellId
    config: RunConfig
    execution: Execution

    @property
    def name(self) -> str:
        """Of the run."""
        return default_name(self.config)


def cell_runs(
    experiment: Experiment, cells: Sequence[CellId], given: Mapping[str, Any]
) -> list[CellRun]:
    """The run of each cell; nothing is loaded for it.

    Args:
        experiment: What they are cells of.
        cells: Some of it.
        given: Settings of how runs are carried out, from the command line.

    Raises:
        UsageError: for unknown names, settings and options.
    """
    return [_run(experiment, cell, given) for cell in cells]


def _run(experiment: Experiment, cell: CellId, given: Mapping[str, Any]) -> CellRun:
    task, player = experiment.tasks[cell.task], experiment.players[cell.player]
    spec = read_spec(experiment.models[player.model].specs[cell.seed])
    values = {**experiment.settings, **task.settings}
    for key in _OWN:
        if key in values:
            raise UsageError(f"settings of {cell.task}: {key} is no setting: leave it out")
    provider = split_model(spec.name)[0]
    names = {task.env, player.memory, provider, split_model(values.get("memory_model", ""))[0]}
    own = task.settings.get("options") or {}
    if lacking := sorted(set(own) - names):
        raise UsageError(
            f"{cell.task} sets options of {', '.join(lacking)}, and {spec.name} with "
            f"{player.memory} plays it: leave its table out with --table"
        )
    options = merged_options(experiment.settings.get("options"), own)
    values["options"] = {owner: of for owner, of in options.items() if owner in names}
    wanted = {
        "env": task.env, "memory": player.memory, "model": spec.name, "split": task.split,
        "episodes": task.episodes, "repeats": task.repeats, "base_url": spec.base_url,
        "option": [
            f"{provider}.{key}={value}"
            for key, value in {**dict(spec.options), **task.model_options}.items()
        ],
        **given,
    }  # fmt: skip
    config, execution = resolve({k: v for k, v in wanted.items() if v is not None}, values)
    return CellRun(cell, config, execution)


async def plan(
    experiment: Experiment, runs: Sequence[CellRun], *, skip_missing: bool = False
) -> tuple[list[Job], dict[str, str]]:
    """The runs as jobs, each once, in their order; and the task sets left out, and why.

    Args:
        experiment: What they are of.
        runs: Of its cells.
        skip_missing: Leave task sets out whose environment is not installed, instead of refusing.

    Raises:
        NotInstalledError: naming the extras of all environments that lack one.
        AgememError: for missing data and extras, more episodes than a split has, a checkpoint
            whose card says that it is trained where it must not be, or the other way round, and a
            run that was begun with other weights, before anything is played with these.
    """
    planner, jobs, missing = Planner(), dict[str, Job](), dict[str, str]()
    environments = {plugin.name for plugin in registry.plugins("envs")}
    try:
        for run in runs:
            model = experiment.models[experiment.players[run.id.player].model]
            check = partial(_check_training, model, model.specs[run.id.seed])
            if run.id.task in missing:
                continue
            try:
                jobs[run.name] = await planner.job(run.config, run.execution, check)
            except MissingExtraError as error:
                if error.extra not in environments:  # a memory's, an embedder's
                    raise
                missing[run.id.task] = str(error)
    finally:
        await planner.close()
    if missing and not skip_missing:
        lines = "; ".join(dict.fromkeys(missing.values()))
        raise NotInstalledError(f"{lines}; or leave such tasks out with --skip-missing")
    for job in jobs.values():
        job.scored()
    return list(jobs.values()), missing


def _check_training(model: Checkpoints, spec: str, info: ModelInfo) -> None:
    """A trained model never stands where an untrained one is meant; an oracle is a check alone."""
    if info.training != model.training and not info.oracle:
        raise UsageError(
            f"the model {spec} has the training {info.training!r}, and {model.training!r} is meant "
            "here: its card.json says which (docs/serving.md)"
        )
