"""Any environment in three stages: what a memory is to keep first, small talk, then the task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from ...harness import registry
from ...harness.build import build, takes
from ...harness.errors import DataError, UsageError, unknown_name
from ...harness.records import stable_hash
from ...harness.types import (
    Environment,
    EnvSpec,
    Gold,
    Json,
    Observation,
    StepResult,
    Task,
)
from ..common import flag, number
from ..hotpotqa import distractors as small_talk
from . import exposure
from .instructions import BARE, staged
from .messages import GOAL, OK, Script, Telling, data_seed
from .scenes import earlier

VERSION = "1"  # changes whenever the bytes of any message do
_NAME = "three-stage"
_EXPOSURES = ("description", "episode", "world")
_RULES = ("kept", "told")


class StagedEnvironment:
    """Another environment in three stages: something is told, then small talk, then its task.

    Stage 1 tells about the environment in messages, each answered with a word. Stage 2 begins with
    a new context and tells small talk. Stage 3 begins with the goal of the environment within and
    its first observation; from there on all is as in that environment: actions, rewards, scores,
    experts. Nothing says that there are stages. Reward and scores are those of the environment
    within; until its task begins, success is False and progress 0.
    """

    wraps: ClassVar[str] = "env"  # the option that names an environment whose options it takes too
    # What holds for any environment within; an instance has the whole.
    spec: ClassVar[EnvSpec] = EnvSpec(
        name=_NAME,
        version=VERSION,
        splits=(),
        default_split="",
        max_steps=50,
        instructions=BARE,
    )

    def __init__(
        self,
        env: str = "",
        exposure: str = "description",
        distractors: str = "5",
        rules: str = "kept",
        data: str | None = None,
        allow_short: str = "false",
        **options: str,
    ) -> None:
        """Choose what is played, and what is told before it.

        Args:
            env: the registered name of the environment within.
            exposure: what is told first. `description`: the instructions of the environment;
                `episode`: how another task of the split went that shares the place, or at least
                the type, with this one; `world`: what is to be seen in the task's own world, up to
                the first action that brings its goal nearer.
            distractors: how many messages of small talk there are.
            rules: `kept` leaves the instructions of the environment in the system prompt; `told`
                takes them out, so that they stand in the messages only. With
                `exposure=description`.
            data: where the files of the environment within are.
            allow_short: `true` accepts a split of it with fewer tasks than it has.
            options: those of the environment within.

        Raises:
            UsageError: no such environment, one that cannot be wrapped, or a value that an option
                does not have.
            MissingExtraError: where the environment within needs what is not installed.
        """
        for name, value, values in (
            ("exposure", exposure, _EXPOSURES), ("rules", rules, _RULES)
        ):  # fmt: skip
            if value not in values:
                raise unknown_name(f"value of {name}:", value, values)
        if rules == "told" and exposure != "description":
            raise UsageError("rules=told goes with exposure=description: nothing else tells them")
        self._n_distractors = number("distractors", distractors, small_talk.MAX_DISTRACTORS)
        self._exposure = exposure
        self._inner = _within(env, data, allow_short, options)
        self._n_told = self._count_told()
        self._n_messages = self._n_told + self._n_distractors
        vars(self)["spec"] = self._spec(told=rules == "told")
        self._telling: Telling | None = None
        self._first: Observation | None = None  # of the task, which is shown later

    # --- tasks ------------------------------------------------------------------------------

    def tasks(self, split: str) -> Sequence[Task]:
        """The tasks of the environment within, under their own ids; see `Environment.tasks`."""
        tasks = list(self._inner.tasks(split))
        before: Sequence[Task | None] = [None] * len(tasks)
        if self._exposure == "episode" and tasks:
            before = earlier(self._inner, tasks)
        return [self._staged(task, other) for task, other in zip(tasks, before, strict=True)]

    def data_hash(self, split: str) -> str:
        """The hash of the split within, and of what is told before its tasks."""
        inner = self._inner.spec
        return stable_hash(
            [VERSION, small_talk.VERSION, self._exposure, self._n_distractors, inner.name,
             inner.version, inner.instructions.version, self._inner.data_hash(split)]
        )  # fmt: skip

    def gold(self, task: Task) -> Gold | None:
        """The gold of the environment within; None where it knows none."""
        gold = getattr(self._inner, "gold", None)
        found: Gold | None = None if gold is None else gold(self._task_within(task))
        return found

    # --- playing ----------------------------------------------------------------------------

    def reset(self, task: Task, seed: int) -> Observation:
        """Start with the first message; the task is made ready, and shown when all are answered.

        Raises:
            UsageError: an unknown split.
            DataError: a task that is not there, or one of which too little can be said.
        """
        self._telling = self._first = None  # what cannot be played leaves none behind
        inner = self._task_within(task)
        told = self._tell(task, inner, seed)
        first = self._inner.reset(inner, seed)
        seed_ = data_seed(task)
        talk = small_talk.distractors(task.id, seed_, self._n_distractors, [first.goal])
        self._first = first
        self._telling = Telling(Script(told, tuple(talk)))
        return Observation(self._telling.first, GOAL, first.metrics)

    def step(self, action: str) -> StepResult:
        """Hear the next message, or carry out an action of the task."""
        telling, first = self._playing()
        if telling.over:
            return self._inner.step(action)
        heard = telling.answer(action)
        begins = heard.message is None
        return StepResult(
            observation=heard.note + (first.text if heard.message is None else heard.message),
            reward=0.0,
            progress=0.0,  # of a task that has not begun, not even what is true at its start
            success=False,
            terminated=False,
            valid=heard.valid,
            metrics=first.metrics,
            goal=first.goal if begins else None,
            new_context=heard.anew,
        )

    def valid_actions(self) -> list[str] | None:
        """`ok` to a message; else the actions that the environment within lists."""
        telling, _ = self._playing()
        if telling.over:
            return self._inner.valid_actions()
        return [OK] if self.spec.has_valid_actions else None

    def expert_action(self, name: str = "oracle") -> str | None:
        """`ok` to a message; else the next action of that expert of the environment within.

        Raises:
            UsageError: an unknown expert.
        """
        if name not in self.spec.experts:
            inner = self._inner.spec.name
            raise unknown_name(f"expert of {_NAME} ({inner}):", name, self.spec.experts)
        telling, _ = self._playing()
        return self._inner.expert_action(name) if telling.over else OK

    def close(self) -> None:
        """Release the environment within."""
        self._telling = self._first = None
        self._inner.close()

    # --- inside -----------------------------------------------------------------------------

    def _playing(self) -> tuple[Telling, Observation]:
        if self._telling is None or self._first is None:
            raise UsageError("nothing is being played: reset a task first")
        return self._telling, self._first

    def _count_told(self) -> int:
        """The messages of exposure, which are as many for every task."""
        inner = self._inner.spec
        if self._exposure == "description":
            return exposure.n_described(inner.instructions.text)
        if not inner.experts:
            raise UsageError(
                f"exposure={self._exposure} needs an expert that plays, and {inner.name} has "
                "none: choose exposure=description"
            )
        return exposure.N_MESSAGES

    def _spec(self, *, told: bool) -> EnvSpec:
        """The limits and scores of the environment within, under this one's name."""
        inner = self._inner.spec
        played = self._exposure != "description"
        return replace(
            inner,
            name=_NAME,
            version=f"{VERSION}+{inner.name}-{inner.version}",
            max_steps=inner.max_steps + self._n_messages,
            instructions=staged(inner, told=told),
            # A reset plays an episode before it starts one.
            slowest_call_s=inner.slowest_call_s * (2 if played else 1),
        )

    def _staged(self, task: Task, before: Task | None) -> Task:
        """A task of the environment within, with what is told before it and its messages."""
        data: Json = {"task": task.data}
        if before is not None:
            data["before"] = {"id": before.id, "type": before.type, "data": before.data}
        return _longer(replace(task, data=data), self._n_messages)

    def _task_within(self, task: Task) -> Task:
        """The task as the environment within lists it."""
        data = task.data.get("task")
        if not isinstance(data, dict):
            raise DataError(f"{task.id}: the task has no 'task' of the environment within")
        return _longer(replace(task, data=data), -self._n_messages)

    def _tell(self, task: Task, inner: Task, seed: int) -> tuple[str, ...]:
        """The messages of exposure."""
        if self._exposure == "description":
            return exposure.describe(self._inner.spec.instructions.text, task.id)
        whole = self._exposure == "episode"
        if whole:
            inner = _before(task)
        played = exposure.play(self._inner, inner, seed, whole=whole)
        return exposure.retell(played, task.id, whole=whole)


def _within(env: str, data: str | None, allow_short: str, options: dict[str, str]) -> Environment:
    """The environment that is wrapped."""
    name = registry.canonical("envs", env)
    if not name:
        names = [p.name for p in registry.plugins("envs") if p.name not in (_NAME, "hotpotqa")]
        raise UsageError(
            f"{_NAME} wraps another environment: name it with -o {_NAME}.env=NAME "
            f"({', '.join(names)})"
        )
    found = getattr(registry.load("envs", name), "spec", None)
    wrapped = found.name if isinstance(found, EnvSpec) else name
    if wrapped == "hotpotqa":
        raise UsageError(
            "hotpotqa has three stages of its own: --env hotpotqa -o hotpotqa.form=three-stage"
        )
    if wrapped == _NAME:
        raise UsageError(f"{_NAME} cannot wrap itself: name another environment")
    given = dict(options)
    if data is not None and takes("envs", name, "data"):
        given["data"] = data
    if flag("allow_short", allow_short) and takes("envs", name, "allow_short"):
        given["allow_short"] = allow_short
    made: Environment = build("envs", name, given)
    return made


def _longer(task: Task, steps: int) -> Task:
    """A task with so many more steps, where it counts any."""
    most, oracle = task.max_steps, task.oracle_steps
    return replace(
        task,
        max_steps=None if most is None else most + steps,
        oracle_steps=None if oracle is None else oracle + steps,
    )


def _before(task: Task) -> Task:
    """The task that was played before."""
    told = task.data.get("before")
    if not isinstance(told, dict) or not {"id", "type", "data"} <= told.keys():
        raise DataError(f"{task.id}: no task is told before it; list tasks with the same exposure")
    return Task(told["id"], task.split, told["type"], told["data"])
