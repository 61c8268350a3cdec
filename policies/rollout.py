"""Groups of rollouts, played by the harness's own agent loop with the policy as its model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TypeVar

from ..harness.agent import run_episode
from ..harness.config import Execution, RunConfig
from ..harness.errors import InfraError, ModelError, UsageError
from ..harness.ledger import Ledger, Role, RoleUsage
from ..harness.models.recording import Listening, Recording
from ..harness.plan import Models, close_memory, env_options, make_memory
from ..harness.records import Episode, EpisodeKey
from ..harness.services import make_models
from ..harness.trace import Trace
from ..harness.types import ChatMessage, Completion, Gold, Model, Task
from ..harness.workers.pool import EnvPool, make_pool
from .mixture import Pick
from .recipe import Recipe
from .rewards import Evidence, Rewarder
from .trajectory import Group, Stage, Step, Trajectory, stages_of

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Batch:
    """The groups of one round, and what of it was lost."""

    groups: tuple[Group, ...]
    lost: int  # groups dropped, since the infrastructure broke a rollout again and again
    judged: RoleUsage | None = None  # what the judge cost; None where none is asked


@dataclass(frozen=True, slots=True)
class Heard:
    """An episode as texts: what was asked and answered at each turn, and its stage."""

    episode: Episode
    turns: tuple[tuple[tuple[ChatMessage, ...], Completion], ...]
    stages: tuple[Stage, ...]


@dataclass(frozen=True, slots=True)
class _Played:
    """One finished episode with all that is known of it."""

    episode: Episode
    trace: Trace
    gold: Gold | None
    step_limit: int


class _Source:
    """What is played of one source of tasks, and how it is rewarded.

    Args:
        recipe: As it holds for the source.
        execution: How the harness plays it.
        models: Of the training.
    """

    def __init__(self, recipe: Recipe, execution: Execution, models: Models) -> None:
        self.recipe, self.env, self.hash = recipe, recipe.tasks.env, recipe.hash
        self.config: RunConfig = recipe.run_config(split=recipe.tasks.split, episodes=None)
        self.options = env_options(self.config, execution, self.env)
        self.rewarder = Rewarder(recipe.reward, models.embedder, models.judge)
        self.hashes: dict[str, tuple[str, str]] = {}  # environment's version and data, by split


class Player:
    """Plays the tasks of a recipe with the policy; memory is carried over the stages.

    The memory of an episode lives through its three stages and ends with it, so the rollouts of a
    group never see each other's. Small talk belongs to the task: all of a group hear the same.
    Several sources are played together: they share the model, what writes for the memory, the
    judge, the environments' processes and the places of episodes at once.

    Args:
        recipe: Says what is played, and how it is rewarded.
        model: The policy, or what else is to play; not closed here. One in this process (with
            `expect`) decodes only while all episodes in play wait for it, so that which of them
            are computed together, and so every last bit, depends on the draws alone.
        runs_dir: Where the judge's replies are kept, so that it is never asked twice.

    Attributes:
        watch: Told how many episodes of a round are left whenever one has ended.
    """

    def __init__(self, recipe: Recipe, model: Model, runs_dir: Path = Path("runs")) -> None:
        self.recipe = recipe
        execution, parts = recipe.execution(runs_dir), recipe.parts
        config = parts[0].run_config(split=parts[0].tasks.split, episodes=None)
        self._models = make_models(config, execution, model)
        self._sources = tuple(_Source(part, execution, self._models) for part in parts)
        self._pool: EnvPool = make_pool(execution)
        self._slots = asyncio.Semaphore(recipe.sampler.concurrency)
        self._expect: Callable[[int], None] = getattr(model, "expect", lambda _: None)
        self._left = 0  # episodes of this round that have not ended
        self._reward_s = 0.0
        self.watch: Callable[[int], None] = lambda _: None

    async def tasks(
        self, split: str, first: int, episodes: int | None, source: int = 0
    ) -> tuple[Task, ...]:
        """Tasks of a split, from the first one on.

        Raises:
            UsageError: if the split has fewer.
        """
        own = self._sources[source]
        found = await self._pool.describe(own.env, own.options, split)
        own.hashes[found.tasks[0].split] = found.spec.version, found.data_hash
        last = len(found.tasks) if episodes is None else first + episodes
        if last > len(found.tasks) or first >= last:
            raise UsageError(
                f"recipe: tasks {first} to {last} of split {split!r} of {own.env}, which has "
                f"{len(found.tasks)}"
            )
        return found.tasks[first:last]

    async def list_tasks(self) -> None:
        """List the tasks of all sources, so that records name the data that they are of."""
        for number, source in enumerate(self._sources):
            recipe = source.recipe
            for split in dict.fromkeys((recipe.tasks.split, recipe.evaluation.split)):
                await self.tasks(split, 0, None, number)

    async def groups(
        self, picks: Sequence[Pick], *, rollouts: int, temperature: float, round_: int
    ) -> Batch:
        """The rollouts of some tasks, as one group each.

        Args:
            picks: What to play.
            rollouts: Trajectories of each task.
            temperature: Of the draws.
            round_: Seeds the draws; no two rounds of a training share it.

        Raises:
            InfraError: if no group could be finished.
        """
        self._more(len(picks) * rollouts)
        before = self._judge_cost()
        playing = [
            asyncio.gather(
                *(
                    self._kept(pick.task, pick.source, i, temperature, round_ * rollouts + i)
                    for i in range(rollouts)
                )
            )
            for pick in picks
        ]
        groups, errors = [], []
        for pick, found in zip(picks, await asyncio.gather(*playing), strict=True):
            broken = [one for one in found if isinstance(one, InfraError)]
            errors += broken[:1]
            if not broken:
                whole = tuple(one for one in found if isinstance(one, Trajectory))
                groups.append(Group(pick.task.id, whole, pick.source))
        if errors and not groups:
            raise errors[0]
        return Batch(tuple(groups), len(errors), _since(before, self._judge_cost()))

    async def _rewarded(
        self,
        task: Task,
        source: _Source,
        rollout: int,
        played: _Played,
        completions: Sequence[Completion],
    ) -> Trajectory:
        """What training sees of an episode."""
        events, recipe = tuple(played.trace.events), source.recipe
        stages = stages_of(events, staged=recipe.staged)
        evidence = Evidence(
            played.episode, events, played.gold, stages,
            recipe.agent.context_tokens, played.step_limit,
        )  # fmt: skip
        masked = recipe.grpo is not None and recipe.grpo.mask_truncated
        steps = tuple(
            _step(completion, stage, masked=masked)
            for completion, stage in zip(completions, stages, strict=True)
        )
        clock = time.perf_counter()
        reward = await source.rewarder(evidence)
        self._reward_s += time.perf_counter() - clock
        return Trajectory(task.id, rollout, steps, played.episode, events, played.gold, reward)

    async def listen(self, task: Task, *, repeat: int, source: int = 0) -> Heard:
        """One rollout of a model that has no tokens, such as a teacher.

        Raises:
            InfraError: if the infrastructure broke it.
        """
        listening, own = Listening(self._models.agent), self._sources[source]
        async with self._slots:
            played = await self._episode(task, own, 0.0, repeat, listening)
        stages = stages_of(played.trace.events, staged=own.recipe.staged)
        return Heard(played.episode, tuple(listening.turns), tuple(stages))

    async def close(self) -> None:
        """Release the environments and what writes for the memory; not the policy."""
        await self._pool.close()
        await self._models.memory.close()
        if self._models.judge is not None:
            await self._models.judge.close()  # and its replies' file

    def take_reward_seconds(self) -> float:
        """Seconds that rewards, and their judge, have taken since this was asked last."""
        seconds, self._reward_s = self._reward_s, 0.0
        return seconds

    def _more(self, episodes: int) -> None:
        """Count episodes that are to be played, or, below 0, that have ended."""
        self._left += episodes
        self._expect(min(self._left, self.recipe.sampler.concurrency))
        self.watch(self._left)

    async def _kept(
        self, task: Task, source: int, rollout: int, temperature: float, repeat: int
    ) -> Trajectory | InfraError:
        """A rollout; what the infrastructure broke of it, playing or rewarding, is tried again."""
        own = self._sources[source]

        async def draw() -> tuple[_Played, list[Completion]]:
            recording = Recording(self._models.agent)
            async with self._slots:
                played = await self._episode(task, own, temperature, repeat, recording)
            return played, recording.completions

        try:
            drawn = await self._tried(draw)
        finally:
            self._more(-1)  # the decoder does not wait for it while a judge is asked
        if isinstance(drawn, InfraError):
            return drawn
        return await self._tried(lambda: self._rewarded(task, own, rollout, *drawn))

    async def _tried(self, work: Callable[[], Awaitable[T]]) -> T | InfraError:
        """What comes of some work, or of its last try."""
        for tries_left in range(self.recipe.sampler.retries, -1, -1):
            try:
                return await work()
            except InfraError as error:
                if not tries_left:
                    return error
        raise AssertionError("the last try returns")

    def _judge_cost(self) -> RoleUsage | None:
        """What the judge has cost so far; None where none is asked."""
        if self._models.judge is None:
            return None
        ledgers = [source.rewarder.ledger.roles for source in self._sources]
        return add_up([roles.get(Role.JUDGE.value, RoleUsage()) for roles in ledgers])

    async def _episode(
        self, task: Task, source: _Source, temperature: float, repeat: int, model: Model
    ) -> _Played:
        """Play one episode to its end; the model is of this episode alone.

        Raises:
            InfraError: if the infrastructure broke it.
        """
        recipe = source.recipe
        memory, meter = make_memory(source.config, recipe.tasks.memory, self._models)
        meter.point_to(Ledger(), Trace())
        agent = recipe.agent.model_copy(update={"temperature": temperature})
        try:
            env = await self._pool.acquire(source.env, source.options)
            try:
                gold = await env.gold(task)
                episode = await run_episode(
                    env, memory, model, task,
                    key=self._key(task, source, repeat), config=agent, meter=meter,
                )  # fmt: skip
                limit = agent.max_steps or task.max_steps or env.spec.max_steps
            finally:
                await env.close()
        finally:
            await close_memory(memory)
        if not episode.scored:
            raise ModelError(f"{task.id}: {episode.reason}", episode.fault or "server")
        return _Played(episode, meter.trace, gold, limit)

    def _key(self, task: Task, source: _Source, repeat: int) -> EpisodeKey:
        """Names the episode in records and seeds its draws; its environment's seed is the run's."""
        version, data_hash = source.hashes.get(task.split, ("", ""))
        info, tasks = self._models.agent.info, source.recipe.tasks
        return EpisodeKey(
            tasks.env, version, data_hash, task.split, task.id, tasks.memory, "", info.name,
            source.hash, "", self.recipe.seed, repeat,
        )  # fmt: skip


def add_up(costs: Sequence[RoleUsage]) -> RoleUsage | None:
    """The sum of costs; None of none."""
    sums = {field.name: sum(getattr(c, field.name) for c in costs) for field in fields(RoleUsage)}
    return RoleUsage(**sums) if costs else None


def _since(before: RoleUsage | None, after: RoleUsage | None) -> RoleUsage | None:
    """What was added to a sum."""
    if before is None or after is None:
        return None
    return add_up([after, RoleUsage(*(-number for number in astuple(before)))])


def _step(completion: Completion, stage: int, *, masked: bool) -> Step:
    """One model call as training sees it.

    `masked` leaves an output out of the loss that was cut at its limit.
    """
    ids, prompt = completion.token_ids or (), completion.prompt_ids or ()
    trained = not (masked and completion.finish == "length")
    return Step(prompt, ids, completion.logprobs, (trained,) * len(ids), stage)
