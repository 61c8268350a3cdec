"""ScienceWorld as an environment of the harness: 30 kinds of science tasks in a simulated house."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from ...harness.errors import DataError, UsageError, WorkerError, unknown_name
from ...harness.types import EnvSpec, Observation, Scores, SplitSpec, StepResult, Task
from ..common import readable
from . import facts, simulator
from .explorer import Explorer
from .instructions import INSTRUCTIONS
from .oracle import Oracle, room_of
from .simulator import Simulator, Step

SIMPLIFICATIONS = (
    "noElectricalAction",
    "openContainers",
    "openDoors",
    "selfWateringFlowerPots",
    "teleportAction",
)
_NO_ELECTRICAL = "noElectricalAction"
_ELECTRICAL = re.compile("power-component|conductivity")  # the library's own test
_MEGABYTES = range(128, 65537)
# What the simulator says when it knows the words but does not do it.
_REFUSAL = re.compile(
    r"It'?s not clear how to |I'm not sure how to |That can't be moved|That container is empty"
    r"|You can't |[Tt]he .*? (?:is not (?:moveable|movable|openable|closeable|edible|open\.|"
    r"a container|something that can be)|is already |isn't open|does not contain|can't be )"
)


class ScienceworldEnvironment:
    """One ScienceWorld task at a time, played by the original simulator in a Java process.

    The score is ScienceWorld's, 0 to 100; a wrong `focus on` makes it −100, counted as 0, and
    ends the task. `progress` is the best score so far and the metric `score` the one that stands,
    both as shares; the reward is the change of the latter, so rewards add up to the final score
    less the one that some tasks begin with; `success` is a score of 100.
    """

    spec: ClassVar[EnvSpec] = EnvSpec(
        name="scienceworld",
        version="1",
        splits=tuple(
            SplitSpec(name, size, facts.DESCRIPTIONS[name]) for name, size in facts.SIZES.items()
        ),
        default_split="test",
        max_steps=100,
        instructions=INSTRUCTIONS,
        experts=("oracle", "explorer"),
        max_live=1,
        valid_actions_exact=False,  # the library's own list
        # The search for a gold path takes up to 23 s, and longer beside other Java processes.
        slowest_call_s=simulator.ANSWER_TIMEOUT_S + 30,
        metrics={"score": "ScienceWorld's score as it stands, 0 to 1; 0 after a wrong focus"},
    )

    def __init__(
        self, data: str | None = None, simplifications: str = "easy", jvm_mb: str = "512"
    ) -> None:
        """Choose how tasks are played; Java starts at the first reset.

        Args:
            data: not used; the tasks are in the library.
            simplifications: `easy`, which is all but openContainers; `none`; or some of the
                library's, separated by commas. noElectricalAction is left out of the four tasks
                that are about electricity: the library refuses it there.
            jvm_mb: the heap of the Java process in MiB.

        Raises:
            UsageError: a value that an option does not have.
            MissingExtraError: without the library or Java.
        """
        if data is not None:
            raise UsageError("scienceworld takes no data folder: its tasks are in the library")
        self._simplifications = _simplifications(simplifications)
        if not jvm_mb.isascii() or not jvm_mb.isdigit() or int(jvm_mb) not in _MEGABYTES:
            raise UsageError(
                f"jvm_mb={jvm_mb[:40]}: not a number of MiB from {_MEGABYTES[0]} to "
                f"{_MEGABYTES[-1]}"
            )
        simulator.require()
        self._megabytes = int(jvm_mb)
        self._simulator: Simulator | None = None
        self._episode: _Episode | None = None

    def tasks(self, split: str) -> Sequence[Task]:
        """The tasks of a split in their fixed order; see `Environment.tasks`."""
        if split not in facts.SIZES:
            raise unknown_name("split of scienceworld:", split, facts.SIZES)
        easy = self._simplifications == "easy"
        steps = facts.oracle_steps() if easy else {}
        return [
            Task(
                id=f"{name}/{variation}",
                split=split,
                type=name,
                data={"variation": variation},
                oracle_steps=steps.get((name, variation)),
            )
            for name, variation in facts.members(split)
        ]

    def data_hash(self, split: str) -> str:
        """The hash of a split's tasks and of the simulator; see `Environment.data_hash`."""
        if split not in facts.SIZES:
            raise unknown_name("split of scienceworld:", split, facts.SIZES)
        return facts.split_hash(split)

    def reset(self, task: Task, seed: int) -> Observation:
        """Start a task: the first observation is what a look around shows.

        Raises:
            DataError: a task that ScienceWorld does not have.
            WorkerError: if Java or the simulator fails.
        """
        del seed  # a task begins the same way each time
        variation = task.data.get("variation")
        known = {t.name: t for t in facts.all_tasks()}
        if task.type not in known or not isinstance(variation, int):
            raise DataError(f"{task.id}: not a task of ScienceWorld with its 'variation'")
        if not 0 <= variation < known[task.type].test.stop:
            raise DataError(f"{task.id}: {task.type} has {known[task.type].test.stop} variations")
        self._episode = None  # a task that cannot be played leaves none behind
        if self._simulator is None or not self._simulator.alive:
            self._simulator = Simulator(self._megabytes)
        simplifications = for_task(self._simplifications, task.type)
        self._episode = _Episode(self._simulator, task.type, variation, simplifications)
        return self._episode.first

    def step(self, action: str) -> StepResult:
        """Carry out one action."""
        return self._playing().step(action)

    def valid_actions(self) -> list[str]:
        """What the library calls valid, about a thousand; sorted, each once.

        It lists what is plausible for things of their kind. Nearly a fifth, mostly about things
        hidden in others, it does not understand itself, or refuses.
        """
        return sorted(set(self._playing().simulator.valid_actions()))

    def expert_action(self, name: str = "oracle") -> str | None:
        """The next action of the `oracle` or the `explorer`; None when it has none.

        The first call for the oracle takes longer: the simulator searches for its gold path.

        Raises:
            UsageError: an unknown expert.
        """
        if name not in self.spec.experts:
            raise unknown_name("expert of scienceworld:", name, self.spec.experts)
        episode = self._playing()
        if episode.last.done:
            return None
        return episode.oracle_action() if name == "oracle" else episode.explorer_action()

    def close(self) -> None:
        """End the Java process and wait for it."""
        self._episode = None
        if self._simulator is not None:
            self._simulator.close()
            self._simulator = None

    def _playing(self) -> _Episode:
        if self._episode is None:
            raise UsageError("no ScienceWorld task is being played: reset a task first")
        return self._episode


class _Episode:
    """A task being played."""

    def __init__(
        self, simulator: Simulator, task: str, variation: int, simplifications: str
    ) -> None:
        self.simulator = simulator
        self._where = (task, variation, simplifications)
        self._goal = simulator.load(*self._where)
        self.last = simulator.step("look around")  # as the library's reset does
        self.best = self._score
        self.first = Observation(self.last.observation, self._goal, self._metrics())
        self._history: list[tuple[str, Step]] = []
        self._oracle: Oracle | None = None
        self._explorer: Explorer | None = None
        self._told = {"oracle": 0, "explorer": 0}  # how much of the history an expert has seen

    def step(self, action: str) -> StepResult:
        """Carry out an action, unless the task is over or the text is none."""
        before = self._points
        clean = readable(action)
        if self.last.done:
            return self._result("The task is over.", 0.0, valid=False)
        if clean is None:
            return self._result(simulator.NO_ACTION, 0.0, valid=False)
        self.last = self.simulator.step(clean)
        self._history.append((clean, self.last))
        self.best = max(self.best, self._score)
        text = self.last.observation
        valid = self.last.understood and not _REFUSAL.match(text)
        return self._result(text, (self._points - before) / 100, valid=valid)

    def oracle_action(self) -> str | None:
        if self._oracle is None:
            # The search for a gold path starts the task anew. The simulator is deterministic, so
            # what was played is played again.
            path = self.simulator.load_with_gold(*self._where)
            self._oracle = Oracle(path, room_of(self.first.text))
            for action, before in [("look around", None), *self._history]:
                again = self.simulator.step(action)
                if before is not None and again != before:
                    self.simulator.close()
                    raise WorkerError(
                        f"ScienceWorld answered {action!r} otherwise the second time: its Java "
                        "does not honour the options that make it deterministic"
                    )
        for action, step in self._news("oracle"):
            self._oracle.observe(action, step.understood)
        return self._oracle.next_action(self.simulator.look(), self.last.observation)

    def explorer_action(self) -> str | None:
        if self._explorer is None:
            self._explorer = Explorer(self._goal, self.first.text)
        for action, step in self._news("explorer"):
            self._explorer.observe(action, step.observation)
        return self._explorer.next_action()

    @property
    def _points(self) -> int:
        return max(0, self.last.score)

    @property
    def _score(self) -> float:
        return self._points / 100

    def _metrics(self) -> Scores:
        return {"score": self._score}

    def _news(self, expert: str) -> list[tuple[str, Step]]:
        news = self._history[self._told[expert] :]
        self._told[expert] = len(self._history)
        return news

    def _result(self, text: str, reward: float, *, valid: bool) -> StepResult:
        return StepResult(
            observation=text,
            reward=reward,
            progress=self.best,
            success=self.last.score == 100,
            terminated=self.last.done,
            valid=valid,
            metrics=self._metrics(),
        )


def for_task(simplifications: str, task: str) -> str:
    """The simplifications of a task: all of them that the library takes for it."""
    if not _ELECTRICAL.search(task):
        return simplifications
    return ",".join(name for name in simplifications.split(",") if name != _NO_ELECTRICAL)


def _simplifications(value: str) -> str:
    """The library's string for a value of the option, the same for any order of names."""
    if value == "easy":
        return value
    if value == "none":
        return ""
    names = {name.strip() for name in value.split(",")}
    for name in sorted(names):
        if name in ("easy", "none"):
            raise UsageError(f"simplifications={value[:80]}: {name!r} stands alone")
        if name not in SIMPLIFICATIONS:
            raise unknown_name("simplification:", name[:40], (*SIMPLIFICATIONS, "easy", "none"))
    return ",".join(sorted(names))
