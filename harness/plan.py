"""What a run will measure: its cells, and the key of every episode in them."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

from . import registry
from .build import build, takes
from .config import Execution, RunConfig, split_model
from .errors import DataError, MemoryBackendError, UsageError, backend_errors
from .ledger import Ledger, Role
from .metering import Embedder, Meter, MeteredEmbedder, MeteredModel
from .prompts import PROMPT_VERSION
from .records import HARNESS_SCHEMA, EpisodeKey, stable_hash
from .trace import Trace
from .types import Json, Memory, Model, ModelInfo, Services, Task
from .wire import EnvDescription
from .workers import EnvPool


@dataclass(frozen=True, slots=True)
class Job:
    """One episode to play."""

    key: EpisodeKey
    task: Task
    order: int  # place in its stream


@dataclass(frozen=True, slots=True)
class Cell:
    """An environment's split × a memory × a model, with the tasks to play."""

    memory_name: str  # as registered; `base.memory` is the label, what the memory is
    base: EpisodeKey  # with an empty task and repeat 0
    tasks: tuple[Task, ...]
    repeats: int
    within_cap: dict[str, float] | None = None  # see the function of that name

    def streams(self) -> Iterator[tuple[str, list[Job]]]:
        """One ordered stream of episodes a repeat, with the name of its memory."""
        name = stable_hash([self.base.scope_id, self.memory_name], 12)
        for repeat in range(self.repeats):
            keys = [replace(self.base, task=task.id, repeat=repeat) for task in self.tasks]
            pairs = zip(keys, self.tasks, strict=True)
            yield f"{name}-{repeat}", [Job(k, t, i) for i, (k, t) in enumerate(pairs)]

    @property
    def keys(self) -> list[EpisodeKey]:
        """The keys of all its episodes, in order."""
        return [job.key for _, jobs in self.streams() for job in jobs]

    def to_json(self) -> Json:
        """The cell as JSON values."""
        tasks = [[task.id, task.type] for task in self.tasks]
        return {
            "memory": self.memory_name,
            "key": asdict(self.base),
            "repeats": self.repeats,
            "tasks": tasks,
            "within_cap": self.within_cap,
        }

    @classmethod
    def from_json(cls, value: Any) -> Cell:
        """The cell of `to_json`, without the tasks' data.

        Raises:
            DataError: if it is not one.
        """
        try:
            base = EpisodeKey(**value["key"])
            tasks = tuple(Task(id_, base.split, type_) for id_, type_ in value["tasks"])
            if not tasks or not isinstance(value["repeats"], int) or value["repeats"] < 1:
                raise ValueError("a cell without episodes")
            return cls(value["memory"], base, tasks, value["repeats"], value.get("within_cap"))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"the plan of the run is damaged: {error!r}") from error


def env_options(config: RunConfig, execution: Execution, env: str) -> dict[str, str]:
    """The options of an environment, with the place of its data on this machine."""
    options = config.options_of(env)
    if execution.data is not None and takes("envs", env, "data"):
        options["data"] = str(execution.data)
    if config.allow_short and takes("envs", env, "allow_short"):
        options["allow_short"] = "true"
    return options


def memory_label(name: str, info: ModelInfo) -> str:
    """What a memory's results are called: by what the model is, where the memory says so."""
    label = getattr(registry.load("memories", name), "label", None)
    return str(label(info)) if label is not None else name


def make_memory(
    config: RunConfig,
    name: str,
    model: Model,
    embedder: Embedder,
    directory: Any = None,
) -> tuple[Memory, Meter]:
    """A memory and the meter that its calls are booked on."""
    meter = Meter(Ledger(), Trace())
    services = Services(
        MeteredModel(model, meter, Role.MEMORY_WRITE),
        MeteredEmbedder(embedder, meter),
        directory,
        config.seed,
    )
    memory: Memory = build("memories", name, config.options_of(name), services)
    return memory, meter


@cache
def make_embedder(name: str) -> Embedder:
    """The embedder of a name; made once a process, since weights are large and never change.

    Args:
        name: A registered name, `st:MODEL`, or a hub's name of a model, which has a slash.

    Raises:
        UsageError: for an unknown name, or a model that cannot be loaded.
        MissingExtraError: where its packages or weights are not installed.
    """
    provider, model = split_model(name)
    if "/" in name and provider not in {plugin.name for plugin in registry.plugins("embedders")}:
        provider, model = "st", name
    factory = registry.load("embedders", provider)
    takes_model = bool(inspect.signature(factory).parameters)
    if takes_model and not model.strip("/ "):
        raise UsageError(f"embedder {name!r} needs a model name, e.g. st:BAAI/bge-small-en-v1.5")
    if model and not takes_model:
        raise UsageError(f"the embedder {provider!r} takes no model: write {provider!r}")
    embedder: Embedder = factory(model) if takes_model else factory()
    return embedder


async def close_memory(memory: Memory) -> None:
    """Close a memory; one that fails at that takes nothing with it: its episodes are committed."""
    with contextlib.suppress(MemoryBackendError), backend_errors("close"):
        await memory.close()


async def make_plan(
    config: RunConfig, execution: Execution, pool: EnvPool, model: Model, embedder: Embedder
) -> list[Cell]:
    """The cells of a run, environments outermost.

    Raises:
        UsageError: for unknown names, splits and options, or more episodes than there are tasks.
        DataError: for missing data.
        MissingExtraError: for a missing prerequisite.
    """
    memories: dict[str, str] = {}
    for name in config.memories:
        memory, _ = make_memory(config, name, model, embedder)
        memories[name] = stable_hash(memory.identity)
        await close_memory(memory)
    cells: list[Cell] = []
    for env in config.envs:
        options = env_options(config, execution, env)
        found = await pool.describe(env, options, config.split or "")
        tasks = _tasks(config, env, found)
        for name, memory_hash in memories.items():
            base = EpisodeKey(
                env=env,
                env_version=found.spec.version,
                data_hash=found.data_hash,
                split=tasks[0].split,
                task="",
                memory=memory_label(name, model.info),
                memory_hash=memory_hash,
                model=model.info.name,
                model_hash=stable_hash([model.info.training, model.info.identity]),
                protocol_hash=_protocol_hash(config, env, found),
                seed=config.seed,
                repeat=0,
            )
            if any(cell.base == base for cell in cells):
                raise UsageError(f"--memory names {memory_label(name, model.info)} twice")
            cells.append(Cell(name, base, tasks, config.repeats, within_cap(tasks, config, found)))
    return cells


def _tasks(config: RunConfig, env: str, found: EnvDescription) -> tuple[Task, ...]:
    split = config.split or found.spec.default_split
    if not found.tasks:
        raise DataError(f"{env}: the split {split} holds no task")
    n = config.episodes if config.episodes is not None else len(found.tasks)
    if n > len(found.tasks):
        raise UsageError(
            f"{env}: --episodes {n}, but the split {split} holds {len(found.tasks)} tasks; "
            "--repeats plays them more than once"
        )
    tasks = found.tasks[:n]
    if len({task.id for task in tasks}) < n:
        raise DataError(f"{env}: the split {split} gives two tasks the same id")
    return tasks


def within_cap(
    tasks: tuple[Task, ...], config: RunConfig, found: EnvDescription
) -> dict[str, float] | None:
    """Of the tasks that the oracle claims, the share it solves under the cap; None: of none."""
    given, own = config.agent.max_steps, found.spec.max_steps
    fits = [
        task.oracle_steps <= (given or task.max_steps or own)
        for task in tasks
        if task.oracle_steps is not None
    ]
    return {"mean": sum(fits) / len(fits), "n": len(fits)} if fits else None


def _protocol_hash(config: RunConfig, env: str, found: EnvDescription) -> str:
    """What the agent is told and allowed; the cap is the one that applies, given or not."""
    agent = config.agent.model_dump(mode="json")
    given, own = config.agent.max_steps, found.spec.max_steps
    agent["max_steps"] = given or own
    if given is None and any(task.max_steps is not None for task in found.tasks):
        # Of the whole split, so that a longer run of it goes on with what a shorter one has.
        agent["max_steps"] = [task.max_steps or own for task in found.tasks]
    return stable_hash(
        {
            "schema": HARNESS_SCHEMA,
            "prompts": PROMPT_VERSION,
            "instructions": found.spec.instructions.version,
            "agent": agent,
            "memory_scope": config.memory_scope,
            "env_options": config.options_of(env),
        }
    )
