"""Episodes of a recipe for an engine that asks for them one at a time, each with its own model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextvars import ContextVar
from pathlib import Path
from weakref import WeakKeyDictionary

from ...harness.errors import UsageError
from ...harness.files import write_whole
from ...harness.models import ModelBase
from ...harness.types import Completion, EpisodeView, Model, ModelInfo, Request, Task
from ..mixture import Pick
from ..recipe import Recipe, read_recipe
from ..rollout import Player
from ..trajectory import Trajectory

AGENT = "agemem"  # what the plug-ins are registered as

_players: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, str], Episodes]]
_players = WeakKeyDictionary()


class Episodes:
    """Plays the tasks of a recipe for an engine.

    Made once for all episodes of a process's event loop (`Episodes.of`), since environments,
    embedders and lists of tasks are dear; the model is given anew for each episode, since engines
    give each of their sessions its own.

    Args:
        recipe: What is played, and how it is rewarded. Of `grpo` only `mask_truncated` counts
            here, and of `sampler` only `retries`, `workers` and `concurrency`.
        engine: Its name, for results.

    Raises:
        UsageError: for a recipe with several sources of tasks.
    """

    def __init__(self, recipe: Recipe, engine: str) -> None:
        check_sources(recipe)
        self.recipe = recipe
        self._player = Player(recipe, _Relay(engine))
        self._tasks: dict[str, dict[str, Task]] = {}
        self._listing = asyncio.Lock()

    @classmethod
    def of(cls, recipe: str, engine: str) -> Episodes:
        """The episodes of a recipe's file, for the running event loop.

        Raises:
            DataError: if it cannot be read.
            UsageError: if something is wrong in it.
        """
        mine = _players.setdefault(asyncio.get_running_loop(), {})
        if (recipe, engine) not in mine:
            mine[recipe, engine] = cls(read_recipe(Path(recipe)), engine)
        return mine[recipe, engine]

    async def play(
        self, model: Model, split: str, task: str, *, repeat: int, temperature: float
    ) -> Trajectory:
        """One rollout of a task; tried again where the infrastructure broke it.

        Args:
            model: Draws the completions; must tell token ids and the prompt's.
            split: Of the environment.
            task: Its id there.
            repeat: Number of the rollout, which is part of its record.
            temperature: Of the draws.

        Raises:
            UsageError: if there is no such task.
            InfraError: if it was broken again and again: it is then no trajectory, rather than
                one without a reward.
        """
        found = await self._find(split, task)
        token = _Relay.now.set(model)
        try:
            batch = await self._player.groups(
                (Pick(found),), rollouts=1, temperature=temperature, round_=repeat
            )
        finally:
            _Relay.now.reset(token)
        return batch.groups[0].trajectories[0]

    async def _find(self, split: str, task: str) -> Task:
        async with self._listing:
            if split not in self._tasks:
                listed = await self._player.tasks(split, 0, None)
                self._tasks[split] = {one.id: one for one in listed}
        tasks = self._tasks[split]
        if task not in tasks:
            raise UsageError(
                f"there is no task {task!r} in split {split!r} of {self.recipe.tasks.env}: write "
                "the task set anew with python -m agemem_eval.policies.engines"
            )
        return tasks[task]

    async def close(self) -> None:
        """Release the environments."""
        await self._player.close()


class _Relay(ModelBase):
    """Stands for whichever model the episode is played with, until it is bound to one.

    Each asyncio task has its own, so episodes that are played at once do not get each other's.
    """

    now: ContextVar[Model] = ContextVar("now")

    def __init__(self, engine: str) -> None:
        self.info = ModelInfo(f"{engine}:policy", training="agemem")

    def bind(self, episode: EpisodeView) -> Model:
        """The model of this asyncio task."""
        return self.now.get().bind(episode)

    async def generate(self, request: Request) -> Completion:
        """See `Model.generate`."""
        return await self.now.get().generate(request)


def check_sources(recipe: Recipe) -> None:
    """Refuse a recipe with several sources of tasks: an engine's task set is of one.

    Raises:
        UsageError: if it has.
    """
    if recipe.tasks.sources:
        raise UsageError(
            "recipe: tasks.sources: other trainers take the tasks of one source: write a recipe "
            "and a task set for each"
        )


def check_lengths(recipe: Recipe, *, prompt: int | None, reply: int | None, engine: str) -> None:
    """Refuse an engine that would cut prompts or replies of the recipe's episodes.

    Args:
        recipe: Its `agent` says how long they may be.
        prompt: Most tokens of a prompt, as the engine is set; None: not set.
        reply: Likewise of a reply.
        engine: What the keys are called there: `key of the prompt, key of the reply`.

    Raises:
        UsageError: naming the key.
    """
    keys, agent = engine.split(", "), recipe.agent
    for key, given, asked, ours in (
        (keys[0], prompt, agent.context_tokens, "context_tokens"),
        (keys[1], reply, agent.max_tokens, "max_tokens"),
    ):
        if given is not None and given < asked:
            raise UsageError(
                f"{key} is {given}, less than agent.{ours} {asked} of the recipe: raise the one or "
                "lower the other"
            )


def write_tasks(recipe: Recipe, tasks: Sequence[Task], path: Path, recipe_file: Path) -> None:
    """Write tasks as JSON lines, as the task sets of both engines are read.

    Trinity takes each line as it is; verl reads `prompt`, `data_source`, `agent_name` and
    `extra_info` of it. The messages of the episode are made while it is played; the prompt here
    only stands for them.

    Args:
        recipe: Whose tasks they are.
        tasks: In order.
        path: Of the file, replaced if it is there.
        recipe_file: Where the recipe is on the machines that play.

    Raises:
        DataError: if it cannot be written.
    """
    rows = []
    for index, task in enumerate(tasks):
        named = {"recipe": str(recipe_file), "split": task.split, "task": task.id}
        row: dict[str, object] = {
            **named,
            "prompt": [{"role": "user", "content": f"{recipe.tasks.env} {task.id}"}],
            "data_source": recipe.tasks.env,
            "agent_name": AGENT,
            "extra_info": {"index": index, **named},
        }
        rows.append(json.dumps(row, ensure_ascii=False))
    write_whole(path, "".join(f"{row}\n" for row in rows).encode())
