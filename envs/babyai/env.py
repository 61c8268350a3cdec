"""BabyAI as an environment of the harness: minigrid's instructed grid worlds, in text."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from importlib.util import find_spec
from typing import ClassVar

from ...harness.errors import DataError, MissingExtraError, UsageError, unknown_name
from ...harness.types import EnvSpec, Observation, SplitSpec, StepResult, Task
from ..common import readable
from . import levels
from .bot import Bot, Demonstrator
from .commands import WORDS
from .explorer import Explorer
from .game import Game
from .instructions import INSTRUCTIONS
from .oracle import guide

_DESCRIPTIONS = {
    "agentboard": "AgentBoard's 28 levels, 4 seeds each; 3 of the games cannot be won",
    "generated": "89 levels of minigrid, 3 seeds each, for testing",
    "generated-train": "the same levels with other seeds, for training",
}


class BabyaiEnvironment:
    """One BabyAI game at a time.

    The agent sees minigrid's partial view in words and acts by native actions or by macros over
    what it sees. `success` and the reward are minigrid's own; its limit of native actions ends a
    game as `truncated`; `progress` counts our own subgoals (see `progress`). AgentBoard's progress
    is not computed: it needs labels that cannot be shipped.

    The experts: `oracle` knows the building, `bot` is minigrid's own, which explores by native
    actions that are told in macros here (see `bot`), `explorer` only reads the texts.
    """

    spec: ClassVar[EnvSpec] = EnvSpec(
        name="babyai",
        version="1",
        splits=tuple(
            SplitSpec(name, n_tasks, _DESCRIPTIONS[name]) for name, n_tasks in levels.SIZES.items()
        ),
        default_split="agentboard",
        max_steps=levels.DEFAULT_CAP,
        instructions=INSTRUCTIONS,
        experts=("oracle", "bot", "explorer"),
    )

    def __init__(self) -> None:
        """Make sure that the games can be played.

        Raises:
            MissingExtraError: without the extra `babyai`.
        """
        if find_spec("minigrid") is None or find_spec("gymnasium") is None:
            raise MissingExtraError("BabyAI (module minigrid)", "babyai")
        self._episode: _Episode | None = None
        self._bot = Bot()

    def tasks(self, split: str) -> Sequence[Task]:
        """The tasks of a split in their fixed order; see `Environment.tasks`."""
        return levels.tasks(split)

    def data_hash(self, split: str) -> str:
        """The hash of a split's games; see `Environment.data_hash`."""
        return levels.split_hash(split)

    def reset(self, task: Task, seed: int) -> Observation:
        """Start a game; a task is a level and a seed, so that the harness's seed changes nothing.

        Raises:
            UsageError: an unknown split.
            DataError: a task of no level, or a game that this minigrid makes otherwise.
        """
        del seed
        self._episode = None  # a game that cannot be played leaves none behind
        level, number = _address(task)
        game = Game(levels.level_id(level), number)
        fact = levels.facts().get((level, number))
        if fact is not None and game.fingerprint() != fact.fingerprint:
            raise DataError(
                f"{task.id}: this minigrid makes another game of it: pip install minigrid==3.2.0"
            )
        self._episode = _Episode(game, level, number, self._bot)
        return Observation(text=game.view.text, goal=game.mission)

    def step(self, action: str) -> StepResult:
        """Carry out one action: a native one, or a macro up to its end or the game's."""
        return self._playing().step(action)

    def valid_actions(self) -> list[str]:
        """The native actions and macros that are possible now, sorted."""
        return self._playing().game.possible()

    def expert_action(self, name: str = "oracle") -> str | None:
        """The next action of an expert; None when the game is over, or the bot has no plan left.

        Raises:
            UsageError: an unknown expert.
            EpisodeTimeout: the `bot` took too long; the game can be played on.
            WorkerError: the `bot` failed or needed too much memory; the game can be played on.
        """
        if name not in self.spec.experts:
            raise unknown_name("expert of babyai:", name, self.spec.experts)
        episode = self._playing()
        if episode.game.over:
            return None
        return episode.expert_action(name)

    def close(self) -> None:
        """Forget the game, and end the bot's process."""
        self._episode = None
        self._bot.close()

    def _playing(self) -> _Episode:
        if self._episode is None:
            raise UsageError("no BabyAI game is being played: reset a task first")
        return self._episode


class _Episode:
    """A game being played, and the experts, who have read everything so far once they are asked."""

    def __init__(self, game: Game, level: str, seed: int, bot: Bot) -> None:
        self.game = game
        self._level, self._seed = level, seed
        self._first_view = game.view.text
        self._history: list[tuple[str, str]] = []
        self._read: dict[str, int] = {}  # how much of it each expert has read
        self._demonstrator = Demonstrator(bot, level, seed)

    @cached_property
    def _oracle(self) -> Explorer:
        return guide(levels.level_id(self._level), self._seed)

    @cached_property
    def _explorer(self) -> Explorer:
        return Explorer(self.game.mission, self._first_view)

    def expert_action(self, name: str) -> str | None:
        """The next action of an expert, who knows everything so far."""
        if name == "bot":
            return self._demonstrator.next_action(self.game.primitives)
        expert = self._oracle if name == "oracle" else self._explorer
        for action, observation in self._history[self._read.get(name, 0) :]:
            expert.observe(action, observation)
        self._read[name] = len(self._history)
        return expert.next_action()

    def step(self, action: str) -> StepResult:
        game = self.game
        over_before = game.over
        words = action if action in WORDS else readable(action) or ""
        outcome = game.step(words)
        self._history.append((words, outcome.text))
        return StepResult(
            observation=outcome.text,
            reward=0.0 if over_before else game.reward,
            progress=game.progress,
            success=game.success,
            terminated=game.terminated,
            truncated=game.truncated,
            valid=outcome.valid,
        )


def _address(task: Task) -> tuple[str, int]:
    """The level and the seed of a task."""
    if task.split not in levels.LAYOUTS:
        raise unknown_name("split of babyai:", task.split, levels.LAYOUTS)
    level, seed = task.data.get("level"), task.data.get("seed")
    if level not in levels.LAYOUTS[task.split].levels:
        raise DataError(f"{task.id}: the task has no 'level' of the split {task.split}")
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise DataError(f"{task.id}: the task has no 'seed'")
    return level, seed
