"""What a run will measure: its cells, and the key of every episode in them."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from . import registry
from .build import build, takes
from .config import Execution, RunConfig, split_model
from .errors import DataError, InfraError, UsageError, WorkerError, backend_errors
from .ledger import Ledger, Role
from .metering import Meter, MeteredEmbedder, MeteredModel, SharedEmbedder
from .prompts import PROMPT_VERSION
from .records import HARNESS_SCHEMA, EpisodeKey, stable_hash
from .trace import Trace
from .types import Json, Memory, Model, ModelInfo, Services, Task
from .workers.pool import EnvPool
from .workers.wire import EnvDescription

if TYPE_CHECKING:
    from .models.cache import ReplyCache

DESCRIBE_RETRIES = 2  # of a listing of tasks whose worker died

_SHORT_TERM = "agemem_eval.baselines.shortterm:WithShortTerm"
_CHECK_STORE = "agemem_eval.baselines.stores:check_store"


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
    order_seeds: tuple[int, ...] = ()  # see `RunConfig`
    lifelong: bool = False  # whether one memory is kept over a stream
    headline: tuple[str, ...] = ("success",)  # see `EnvSpec`
    others: dict[str, Task] = field(default_factory=dict)  # by id, the task after each; see below

    def streams(self) -> Iterator[tuple[str, list[Job]]]:
        """One ordered stream of episodes a repeat and order, with the name of its memory."""
        name = stable_hash([self.base.scope_id, self.memory_name], 12)
        for repeat in range(self.repeats):
            for seed in self.order_seeds or (None,):
                base = replace(self.base, repeat=repeat, order_seed=seed)
                tasks = list(self.tasks)
                if seed is not None:
                    Random(f"order {seed}").shuffle(tasks)
                jobs = [Job(replace(base, task=t.id), t, i) for i, t in enumerate(tasks)]
                yield f"{name}-{repeat}" + (f"-{seed}" if seed is not None else ""), jobs

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
            "order_seeds": list(self.order_seeds),
            "lifelong": self.lifelong,
            "headline": list(self.headline),
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
            orders, lifelong = tuple(value.get("order_seeds", ())), bool(value.get("lifelong"))
            return cls(
                value["memory"],
                base,
                tasks,
                value["repeats"],
                value.get("within_cap"),
                orders,
                lifelong,
                tuple(map(str, value.get("headline", ("success",)))) or ("success",),
            )
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


@dataclass(frozen=True, slots=True)
class Models:
    """What a run asks: the agent's model, its memory's, and the judge's; and the embedder."""

    agent: Model
    memory: Model  # the agent's own, or another
    judge: Model | None
    embedder: SharedEmbedder
    cache: ReplyCache | None = None  # of their replies; see `models.cache`
    untrained: Model | None = None  # plays instead of the agent where a memory wants that

    def of(self, memory: str) -> Models:
        """Those that play with a memory, by its registered name."""
        if self.untrained is None or not wants_untrained(memory):
            return self
        writer = self.untrained if self.memory is self.agent else self.memory
        return replace(self, agent=self.untrained, memory=writer)

    async def close(self) -> None:
        """Release all of them."""
        await self.agent.close()
        if self.untrained is not None:
            await self.untrained.close()
        if self.memory is not self.agent:
            await self.memory.close()
        if self.judge is not None:
            await self.judge.close()


def wants_untrained(memory: str) -> bool:
    """Whether a memory, by its registered name, is for a model without AgeMem training.

    A memory says so by `wants_untrained = True`.
    """
    return bool(getattr(registry.load("memories", memory), "wants_untrained", False))


def memory_label(config: RunConfig, name: str, info: ModelInfo) -> str:
    """What a memory's results are called: by what the model is, where the memory says so."""
    label = getattr(registry.load("memories", name), "label", None)
    called = str(label(info)) if label is not None else name
    return f"{called}+st" if adds_tools(config, name) else called


def adds_tools(config: RunConfig, name: str) -> bool:
    """Whether a memory is given the short-term tools: not those that lack all memory or have them.

    A memory says so by `takes_st_tools = False`.
    """
    return config.st_tools and getattr(registry.load("memories", name), "takes_st_tools", True)


def make_memory(
    config: RunConfig, name: str, models: Models, directory: Path | None = None
) -> tuple[Memory, Meter]:
    """A memory and the meter that its calls are booked on."""
    meter = Meter(Ledger(), Trace())
    services = Services(
        MeteredModel(models.memory, meter, Role.MEMORY_WRITE),
        MeteredEmbedder(models.embedder, meter),
        directory,
        config.seed,
        config.store,
    )
    memory: Memory = build("memories", name, config.options_of(name), services)
    if adds_tools(config, name):
        memory = registry.load("memories", _SHORT_TERM)(memory, services)
    return memory, meter


def memory_hash(memory: Memory, models: Models) -> str:
    """Identifies what a memory does; its model counts where it is not the agent's own.

    A model of the agent's own is part of the result's identity already.
    """
    agent, writer = models.agent.info, models.memory.info
    own = (agent.name, agent.identity) == (writer.name, writer.identity)
    own = own or not getattr(memory, "uses_model", True)
    return stable_hash(memory.identity if own else [memory.identity, models.memory.info.identity])


@cache
def make_embedder(name: str) -> SharedEmbedder:
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
    return SharedEmbedder(factory(model) if takes_model else factory())


async def close_memory(memory: Memory) -> None:
    """Close a memory; one that fails at that takes nothing with it: its episodes are committed."""
    with contextlib.suppress(InfraError), backend_errors("close"):
        await memory.close()


async def make_plan(
    config: RunConfig, execution: Execution, pool: EnvPool, models: Models
) -> list[Cell]:
    """The cells of a run, environments outermost.

    Raises:
        UsageError: for unknown names, splits and options, or more episodes than there are tasks.
        DataError: for missing data.
        MissingExtraError: for a missing prerequisite.
    """
    registry.load("memories", _CHECK_STORE)(config.store)  # also where no memory here opens one
    memories: dict[str, str] = {}
    for name in config.memories:
        own = models.of(name)
        memory, _ = make_memory(config, name, own)
        memories[name] = memory_hash(memory, own)
        await close_memory(memory)
    cells: list[Cell] = []
    for env in config.envs:
        options = env_options(config, execution, env)
        found = await _described(pool, env, options, config.split or "")
        tasks = _tasks(config, env, found)
        _check_told(config, env, found)
        after = (*found.tasks[1 : len(tasks) + 1], found.tasks[0])
        others = {task.id: other for task, other in zip(tasks, after, strict=False)}
        for name, hash_ in memories.items():
            base = _base(config, env, found, name, hash_, models.of(name).agent.info)
            if any(cell.base == base for cell in cells):
                raise UsageError(f"--memory names {base.memory} twice")
            cells.append(
                Cell(
                    name,
                    base,
                    tasks,
                    config.repeats,
                    within_cap(tasks, config, found),
                    config.order_seeds,
                    config.memory_scope == "run",
                    found.spec.headline,
                    others,
                )
            )
    return cells


def _base(
    config: RunConfig, env: str, found: EnvDescription, memory: str, hash_: str, info: ModelInfo
) -> EpisodeKey:
    """What the keys of a cell's episodes have in common."""
    return EpisodeKey(
        env=env,
        env_version=found.spec.version,
        data_hash=found.data_hash,
        split=found.tasks[0].split,
        task="",
        memory=memory_label(config, memory, info),
        memory_hash=hash_,
        model=info.name,
        model_hash=stable_hash([info.training, info.identity]),
        protocol_hash=_protocol_hash(config, env, found),
        seed=config.seed,
        repeat=0,
    )


async def _described(
    pool: EnvPool, env: str, options: dict[str, str], split: str
) -> EnvDescription:
    """The tasks of a split; a worker that dies of it is replaced, as in an episode."""
    for _ in range(DESCRIBE_RETRIES):
        with contextlib.suppress(WorkerError):
            return await pool.describe(env, options, split)
    return await pool.describe(env, options, split)


def _check_told(config: RunConfig, env: str, found: EnvDescription) -> None:
    """Refuse a control before anything is played that it could not be told."""
    for name in config.memories:
        told = getattr(registry.load("memories", name), "told", "nothing")
        if told != "nothing" and not found.has_gold:
            raise UsageError(f"{name} needs supporting facts, and {env} tells none: use hotpotqa")
        if told == "other" and len(found.tasks) < 2:
            raise UsageError(f"{name} needs another task, and the split of {env} has one")


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
