"""ALFWorld as an environment of the harness: official and generated household games in text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from importlib.util import find_spec
from typing import ClassVar

from ...harness.errors import DataError, MissingExtraError, UsageError, unknown_name
from ...harness.types import EnvSpec, Observation, SplitSpec, StepResult, Task
from ..common import flag
from . import generator, official
from .engine import Engine
from .experts import Oracle
from .explorer import Explorer
from .gamefile import GameText, read_game
from .instructions import INSTRUCTIONS
from .progress import Progress
from .reference import ReferenceEngine

_DESCRIPTIONS = {
    "generated": "made by a seeded generator, for testing",
    "generated-train": "made by the same generator in other rooms, for training",
    "train": "official training games",
    "valid_train": "official, left over from training; not for reporting",
    "valid_seen": "official validation games in rooms of the training games",
    "valid_unseen": "official validation games in rooms never trained on",
}
_DETOUR = 3  # the oracle plans for itself: its way may be so much longer than the walkthrough
_OLD_PUT = re.compile(r"put (.+) (?:in/on|in|on) (.+)")


class AlfworldEnvironment:
    """One ALFWorld game at a time.

    An action counts only in ALFWorld's exact wording. `success` is ALFWorld's `won`; the reward is
    1 at the step that wins and 0 otherwise; `progress` counts our own subgoals (see `progress`).
    """

    spec: ClassVar[EnvSpec] = EnvSpec(
        name="alfworld",
        version="1",
        splits=tuple(
            SplitSpec(name, n_tasks, _DESCRIPTIONS[name])
            for name, n_tasks in {**generator.SIZES, **official.SIZES}.items()
        ),
        default_split="generated",
        max_steps=50,
        instructions=INSTRUCTIONS,
        experts=("oracle", "explorer"),
    )

    def __init__(
        self,
        data: str | None = None,
        engine: str = "native",
        allow_short: str = "false",
        normalise: str = "false",
        ignore_grammar: str = "false",
    ) -> None:
        """Choose how games are found and played.

        Args:
            data: the folder of the official games; None for $ALFWORLD_DATA.
            engine: `native`, or `textworld` for the reference engine (extra `reference`). Facts
                for progress and experts come from the native engine, which plays along.
            allow_short: `true` accepts an official split with fewer games than it has.
            normalise: `true` takes `put X in/on Y`, the wording of ALFWorld's older games, for
                `move X to Y`. The reference does not.
            ignore_grammar: `true` plays game files of another revision by the known rules.

        Raises:
            UsageError: a value that an option does not have.
            MissingExtraError: `textworld` without the extra `reference`.
        """
        if engine not in ("native", "textworld"):
            raise unknown_name("value of engine:", engine, ("native", "textworld"))
        self._data = data
        self._on_reference = engine == "textworld"
        self._allow_short = flag("allow_short", allow_short)
        self._normalise = flag("normalise", normalise)
        self._ignore_grammar = flag("ignore_grammar", ignore_grammar)
        if self._on_reference:
            _require_reference()
            # One game a process; the class cannot know that this instance is so limited.
            vars(self)["spec"] = replace(type(self).spec, max_live=1)
        self._splits: dict[str, official.OfficialSplit] = {}
        self._hashes: dict[str, str] = {}
        self._episode: _Episode | None = None

    def tasks(self, split: str) -> Sequence[Task]:
        """The tasks of a split in their fixed order; see `Environment.tasks`."""
        if split in generator.SIZES:
            return [
                Task(
                    id=generator.task_id(split, index),
                    split=split,
                    type=generator.setting(index)[0],
                    data={"index": index},
                    oracle_steps=length + _DETOUR,
                )
                for index, length in enumerate(generator.walkthrough_lengths(split))
            ]
        return [
            Task(id=path, split=split, type=official.task_type(path), data={"path": path})
            for path in self._official(split).games
        ]

    def data_hash(self, split: str) -> str:
        """The hash of a split's games; see `Environment.data_hash`."""
        if split not in self._hashes:
            generated = split in generator.SIZES
            self._hashes[split] = (
                generator.split_hash(split) if generated else self._official(split).hash()
            )
        return self._hashes[split]

    def reset(self, task: Task, seed: int) -> Observation:
        """Start a game; the room is what the player sees, the task sentence is the goal.

        Raises:
            UsageError: an unknown split.
            DataError: a game that is not there or cannot be played.
        """
        del seed  # a game begins the same way each time
        text = self._read(task)
        self._episode = None  # a game that cannot be played leaves none behind
        self._episode = _Episode(text, on_reference=self._on_reference)
        return Observation(text=self._episode.view, goal=text.task)

    def scene(self, task: Task) -> str:
        """The room that a game is set in: tasks of a room share its receptacles."""
        if task.split in generator.SIZES:
            return generator.scene(task.split, task.data["index"])
        return official.scene(task.data["path"])

    def step(self, action: str) -> StepResult:
        """Carry out one action."""
        old = _OLD_PUT.fullmatch(action.strip()) if self._normalise else None
        return self._playing().step(f"move {old[1]} to {old[2]}" if old else action)

    def valid_actions(self) -> list[str]:
        """ALFWorld's admissible commands, sorted."""
        return self._playing().player.admissible()

    def expert_action(self, name: str = "oracle") -> str | None:
        """The next action of the `oracle` or the `explorer`; None when the game is won.

        Raises:
            UsageError: an unknown expert.
        """
        if name not in self.spec.experts:
            raise unknown_name("expert of alfworld:", name, self.spec.experts)
        episode = self._playing()
        if episode.player.won:
            return None
        expert = episode.oracle if name == "oracle" else episode.explorer()
        return expert.next_action()

    def close(self) -> None:
        """Forget the game."""
        self._episode = None

    def _playing(self) -> _Episode:
        if self._episode is None:
            raise UsageError("no ALFWorld game is being played: reset a task first")
        return self._episode

    def _official(self, split: str) -> official.OfficialSplit:
        if split not in official.SIZES:
            raise unknown_name("split of alfworld:", split, (s.name for s in self.spec.splits))
        if split not in self._splits:
            self._splits[split] = official.open_split(
                self._data, split, allow_short=self._allow_short
            )
        return self._splits[split]

    def _read(self, task: Task) -> GameText:
        if task.split in generator.SIZES:
            index = task.data.get("index")
            if not isinstance(index, int):
                raise DataError(f"{task.id}: the task has no 'index'")
            game = generator.generate(task.split, index)
            return GameText(game.id, game.problem, game.task, game.walkthrough)
        path = task.data.get("path")
        if not isinstance(path, str):
            raise DataError(f"{task.id}: the task has no 'path'")
        file = self._official(task.split).game_path(path)
        return read_game(file, ignore_grammar=self._ignore_grammar)


class _Episode:
    """A game being played: by the native engine, and on it the reference where that is wanted."""

    def __init__(self, text: GameText, *, on_reference: bool) -> None:
        self.engine = Engine(text.compile())
        self.player = ReferenceEngine(text) if on_reference else self.engine
        # Between the banner and the task stands what the player sees.
        self.view = self.player.reset().partition("\n\n")[2].rpartition("\n\n")[0]
        self.progress = Progress(self.engine)
        self.progress.update()
        self._task = text.task
        self._history: list[tuple[str, str]] = []
        self._explorer: Explorer | None = None

    @cached_property
    def oracle(self) -> Oracle:
        return Oracle(self.engine)

    def explorer(self) -> Explorer:
        """The explorer, having read everything so far."""
        if self._explorer is None:
            self._explorer = Explorer(self._task, self.view)
        for action, observation in self._history:
            self._explorer.observe(action, observation)
        self._history.clear()
        return self._explorer

    def step(self, action: str) -> StepResult:
        player = self.player
        won_before = player.won
        observation = player.step(action)
        if player is not self.engine:
            self.engine.step(action)
        self._history.append((action, observation))
        return StepResult(
            observation=observation,
            reward=float(player.won and not won_before),
            progress=self.progress.update(),
            success=player.won,
            terminated=player.won,
            valid=player.valid,
        )


def _require_reference() -> None:
    """Fail before anything is planned, not at the first reset."""
    for module in ("textworld", "alfworld", "fast_downward"):
        if find_spec(module) is None:
            raise MissingExtraError(f"the reference engine (module {module})", "reference")
