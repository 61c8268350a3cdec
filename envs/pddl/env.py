"""Planning problems as an environment of the harness: four PDDL domains, played in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ...harness.datasets import installed
from ...harness.errors import DataError, UsageError, unknown_name
from ...harness.types import EnvSpec, Observation, Scores, SplitSpec, StepResult, Task
from ..common import data_path, flag, number
from . import agentboard, generator
from .agentboard import AgentBoard
from .engine import Engine
from .games import GAMES, domain
from .instructions import INSTRUCTIONS
from .language import Problem
from .planner import Observer, Planner
from .world import World, plan

FEWEST_STEPS = 30  # no task has a lower cap
_DESCRIPTIONS = {
    "generated": "made by a seeded generator, for testing",
    "generated-train": "made by the same generator, for training; none is a test problem renamed",
}
_AGENTBOARD = "agentboard"
_FROM_START = "progress_from_start"


class PddlEnvironment:
    """One planning problem at a time.

    `success`: all literals of the goal hold now, which ends the episode. The reward is 1 at that
    step and 0 otherwise. `progress` is AgentBoard's: most literals of the goal that ever held at
    once, of all.
    """

    spec: ClassVar[EnvSpec] = EnvSpec(
        name="pddl",
        version="1",
        splits=(
            *(SplitSpec(name, n, _DESCRIPTIONS[name]) for name, n in generator.SIZES.items()),
            SplitSpec(
                _AGENTBOARD,
                sum(agentboard.SIZES.values()),
                "AgentBoard's problems, from the user's copy (--data)",
            ),
        ),
        default_split="generated",
        max_steps=FEWEST_STEPS,
        instructions=INSTRUCTIONS,
        experts=("oracle", "observer"),
        metrics={
            _FROM_START: "share of the goal's literals that the agent brought about: "
            "(most that ever held - held at the start) / (all - held at the start)"
        },
        headline=("progress",),
    )

    def __init__(
        self, data: str | None = None, allow_short: str = "false", renamed: str = "0"
    ) -> None:
        """Choose where AgentBoard's problems are, and under which names their objects go.

        Args:
            data: a copy of AgentBoard, or the folder with the folders of its four games; None
                for what `agemem-eval data get agentboard-pddl` brought.
            allow_short: `true` accepts fewer problems than AgentBoard has.
            renamed: 1 to 999: objects whose names differ in a number alone exchange them, another
                way for each number; 0: no names are exchanged.

        Raises:
            UsageError: a value that an option does not have.
        """
        short = flag("allow_short", allow_short)
        self._renamed = number("renamed", renamed, 999)
        place = data_path(data) if data else installed("agentboard-pddl")
        self._agentboard = AgentBoard(place, short) if place else None
        self._tasks: list[Task] | None = None  # of AgentBoard
        self._episode: _Episode | None = None

    def tasks(self, split: str) -> Sequence[Task]:
        """The tasks of a split in their fixed order; see `Environment.tasks`."""
        if split in generator.SIZES:
            return [
                Task(
                    id=generator.task_id(split, entry.index),
                    split=split,
                    type=generator.task_type(entry.index),
                    data={"index": entry.index, "draw": entry.draw},
                    max_steps=_cap(entry.steps),
                    oracle_steps=entry.steps,
                )
                for entry in generator.catalogue(split)
            ]
        board = self._board(split)
        if self._tasks is None:
            self._tasks = [_official_task(board, name) for name in board.problems]
        return self._tasks

    def data_hash(self, split: str) -> str:
        """The hash of a split's problems; see `Environment.data_hash`."""
        if split in generator.SIZES:
            return generator.split_hash(split)
        return self._board(split).hash()

    def reset(self, task: Task, seed: int) -> Observation:
        """Start a problem; the first observation tells the whole state.

        Raises:
            UsageError: an unknown split, or a task outside it.
            DataError: a problem that is not there or cannot be read.
        """
        del seed  # a problem begins the same way each time
        self._episode = None  # a problem that cannot be played leaves none behind
        self._episode = episode = _Episode(generator.renamed(self._problem(task), self._renamed))
        return Observation(episode.first, episode.goal, metrics=episode.metrics())

    def step(self, action: str) -> StepResult:
        """Carry out one action."""
        return self._playing().step(action)

    def valid_actions(self) -> list[str]:
        """The actions that are possible now, sorted."""
        return self._playing().engine.admissible()

    def expert_action(self, name: str = "oracle") -> str | None:
        """The next action of the `oracle` or the `observer`; None where they know none.

        Raises:
            UsageError: an unknown expert.
        """
        if name not in self.spec.experts:
            raise unknown_name("expert of pddl:", name, self.spec.experts)
        episode = self._playing()
        if episode.engine.won:
            return None
        return episode.oracle() if name == "oracle" else episode.observer()

    def close(self) -> None:
        """Forget the problem."""
        self._episode = None

    def _playing(self) -> _Episode:
        if self._episode is None:
            raise UsageError("no planning problem is being played: reset a task first")
        return self._episode

    def _board(self, split: str) -> AgentBoard:
        if split != _AGENTBOARD:
            raise unknown_name("split of pddl:", split, (s.name for s in self.spec.splits))
        if self._agentboard is None:
            raise DataError(f"the split {split} needs AgentBoard's problems: {agentboard.HOW}")
        return self._agentboard

    def _problem(self, task: Task) -> Problem:
        if task.split in generator.SIZES:
            index, draw = task.data.get("index"), task.data.get("draw")
            if type(index) is not int or type(draw) is not int:
                raise DataError(f"{task.id}: the task has no 'index' and 'draw'")
            return generator.generate(task.split, index, draw)
        name = task.data.get("problem")
        if not isinstance(name, str):
            raise DataError(f"{task.id}: the task has no 'problem'")
        return self._board(task.split).problem(name)


class _Episode:
    """A problem being played, with those who know how."""

    def __init__(self, problem: Problem) -> None:
        self.engine = Engine(GAMES[problem.domain], problem)
        self.goal = self.engine.goal()
        self.first = self.engine.introduction()
        self._planner = Planner(self.engine.game, problem.objects, problem.goal)
        self._observer: Observer | None = None
        self._unread: list[str] = []

    def step(self, action: str) -> StepResult:
        engine = self.engine
        over = engine.won
        observation = engine.step(action)
        self._unread.append(observation)
        won = engine.won
        return StepResult(
            observation=observation,
            reward=1.0 if won and not over else 0.0,
            progress=engine.best / engine.n_goals,
            success=won,
            terminated=won,
            valid=engine.valid,
            metrics=self.metrics(),
        )

    def metrics(self) -> Scores:
        """The further scores as they stand."""
        engine = self.engine
        reached = engine.best - engine.at_start
        return {_FROM_START: reached / (engine.n_goals - engine.at_start)}

    def oracle(self) -> str | None:
        """The oracle's next action."""
        return self._planner.next_action(self.engine.core.true_facts(self.engine.state))

    def observer(self) -> str | None:
        """The observer's next action, after it has read everything so far."""
        if self._observer is None:
            self._observer = Observer(self.goal, self.first)
        for text in self._unread:
            self._observer.observe(text)
        self._unread.clear()
        return self._observer.next_action()


def _cap(steps: int) -> int:
    """Twice what the oracle needs: AgentBoard's 30 steps are too few for some problems."""
    return max(FEWEST_STEPS, 2 * steps)


def _official_task(board: AgentBoard, name: str) -> Task:
    """The task; without a claim of how long it is where the expert finds no way."""
    problem = board.problems[name]
    world = World(domain(problem.domain), problem.objects, problem.init, problem.goal)
    steps = plan(world, GAMES[problem.domain].solve)
    hard = board.difficulty.get(name)
    return Task(
        id=f"{_AGENTBOARD}/{name}",
        split=_AGENTBOARD,
        type=f"{problem.domain}-{hard}" if hard else problem.domain,
        data={"problem": name},
        max_steps=_cap(len(steps)) if steps else FEWEST_STEPS,
        oracle_steps=len(steps) if steps else None,
    )
