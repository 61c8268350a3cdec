"""The runs that a table needs: planned before anything is played, so that nothing surprises later.

One run a cell, named after its configuration: what two tables share is played once, and the same
command goes on with what it began.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from ..config import Execution, RunConfig
from ..errors import AgememError, MissingExtraError, UsageError
from ..plan import Cell, env_options, make_plan
from ..runner import default_name
from ..services import make_models
from ..store import RunStore
from ..store.header import check_same, keys_of
from ..types import ModelInfo
from ..workers.pool import EnvPool, make_pool
from ..workers.wire import EnvDescription
from .settings import Settings, Spec
from .tables import Play, Table


class NotInstalledError(AgememError):
    """Environments of a table lack what they need."""

    exit_code = 3


@dataclass(slots=True)
class Job:
    """A run of one cell.

    Attributes:
        config: What it measures.
        execution: How.
        cell: The plan of its one cell.
        info: What the model is.
        writer: The model that writes for the memory, where that has need of one.
        n_split: Tasks that the split holds, of which the cell plays some.
        steps: Environment steps that its episodes may take at most.
        problem: Why it could not be finished; None while nothing went wrong.
    """

    config: RunConfig
    execution: Execution
    cell: Cell
    info: ModelInfo
    writer: str
    n_split: int
    steps: int
    problem: str | None = None

    @property
    def name(self) -> str:
        """Of the run."""
        return default_name(self.config)

    @property
    def planned(self) -> int:
        """Episodes."""
        return len(self.cell.keys)

    def scored(self) -> int:
        """Episodes that have a score by now.

        Raises:
            ConfigMismatchError: if there is a run of that name that is another one, also if only
                its model's weights are others.
            DataError: if what is there is no run, or broken.
        """
        store = RunStore(self.execution.runs_dir / self.name)
        store.check(self.config)
        if not (store.directory / "config.json").exists():
            return 0
        was, now = ({"cells": keys_of(plan)} for plan in (store.plan(), [self.cell.to_json()]))
        check_same(self.name, was, now, "give another --runs-dir")
        return sum(map(store.scored, self.cell.keys))


@dataclass(slots=True)
class Jobs:
    """All runs of a table.

    Attributes:
        of: By the number of the model and the cell.
        missing: Environments that cannot be played here, and why.
    """

    of: dict[tuple[int, Play], Job] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def each(self) -> list[Job]:
        """Every run once, in the order in which they are played."""
        return list({job.name: job for job in self.of.values()}.values())


async def make_jobs(
    tables: Sequence[Table],
    models: Sequence[Spec],
    trained: Sequence[Mapping[str, Spec]],
    settings: Settings,
    *,
    skip_missing: bool = False,
) -> Jobs:
    """Plan the runs of a table, for each model those that it has the checkpoints for.

    Args:
        tables: What each model needs.
        models: The untrained models.
        trained: The checkpoints of each, by recipe.
        settings: The user's.
        skip_missing: Leave environments out that are not installed, instead of refusing.

    Raises:
        NotInstalledError: naming the extras of all environments that lack one.
        UsageError: for unknown names and options, more episodes than tasks, a trained model that
            is given as an untrained one, or the other way round.
        DataError: for missing data.
    """
    jobs, planner = Jobs(), Planner()
    try:
        for number, model in enumerate(models):
            for play in tables[number].plays():
                spec = trained[number].get(play.recipe) if play.recipe else model
                if spec is None or play.env in jobs.missing:
                    continue
                config, execution = settings.cell(play, spec)
                check = partial(_check_training, play, spec)
                try:
                    jobs.of[number, play] = await planner.job(config, execution, check)
                except MissingExtraError as error:
                    if error.extra != play.env:  # not the environment's: a memory's, an embedder's
                        raise
                    jobs.missing[play.env] = str(error)
    finally:
        await planner.close()
    if jobs.missing and not skip_missing:
        lines = "; ".join(jobs.missing.values())
        raise NotInstalledError(f"{lines}; or leave such columns out with --skip-missing")
    return jobs


class Planner:
    """Plans runs of one cell, one after the other; splits are listed once."""

    def __init__(self) -> None:
        self._pool: EnvPool | None = None
        self._splits: dict[str, EnvDescription] = {}
        self._known: dict[str, Job] = {}

    async def job(
        self, config: RunConfig, execution: Execution, check: Callable[[ModelInfo], None]
    ) -> Job:
        """Plan a run, unless the same one is planned already.

        Args:
            config: Of one environment and one memory.
            execution: How it is carried out.
            check: Refuses a model that is not what it should be.

        Raises:
            AgememError: as `make_jobs`, and whatever `check` raises.
        """
        name = default_name(config)
        if name not in self._known:
            self._known[name] = await self._planned(config, execution, check)
        return self._known[name]

    async def close(self) -> None:
        """End the workers that listed splits."""
        if self._pool is not None:
            await self._pool.close()

    async def _planned(
        self, config: RunConfig, execution: Execution, check: Callable[[ModelInfo], None]
    ) -> Job:
        if self._pool is None:  # a split is listed on this machine, wherever it is played
            here = {"backend": "local", "workers": 1 if execution.workers != 0 else 0}
            self._pool = make_pool(execution.model_copy(update=here))
        split = await self._split(config, execution, self._pool)
        models = make_models(config, execution)
        try:
            check(models.agent.info)
            (cell,) = await make_plan(config, execution, self._pool, models)
            info, writer = models.agent.info, models.memory.info.name
        finally:
            await models.close()
        own, given = split.spec.max_steps, config.agent.max_steps
        caps = sum(given or task.max_steps or own for task in cell.tasks)
        steps = caps * len(cell.keys) // len(cell.tasks)
        return Job(config, execution, cell, info, writer, len(split.tasks), steps)

    async def _split(
        self, config: RunConfig, execution: Execution, pool: EnvPool
    ) -> EnvDescription:
        (env,) = config.envs
        options = env_options(config, execution, env)
        key = json.dumps([env, config.split, sorted(options.items())])
        if key not in self._splits:
            self._splits[key] = await pool.describe(env, options, config.split or "")
        return self._splits[key]


def _check_training(play: Play, spec: Spec, info: ModelInfo) -> None:
    """A trained model never stands where an untrained one is meant, nor the other way round."""
    if play.recipe is None and info.training == "agemem":
        raise UsageError(
            f"--model {spec} is trained for AgeMem: give what it was trained from as --model, and "
            "it as --trained"
        )
    if play.recipe is not None and info.training != "agemem":
        raise UsageError(
            f"--trained {spec} is not known to be trained: its card must say "
            '{"training": "agemem"} (docs/serving.md)'
        )
