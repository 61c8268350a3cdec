"""What environments are and exchange with the harness; `types` has the rest and these too.

Worker processes import this module, so it stays light.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

Json = dict[str, Any]
Scores = dict[str, float | None]  # None: not scored, which is not 0


@dataclass(frozen=True, slots=True)
class Task:
    """One task of a split; `id` addresses it for ever, whatever the order on disk."""

    id: str
    split: str
    type: str = ""  # the benchmark's own class of tasks, e.g. `pick_heat_then_place_in_recep`
    data: Json = field(default_factory=dict)  # what reset needs: a seed, a relative path
    max_steps: int | None = None  # a step cap of this task's own; None: the environment's
    oracle_steps: int | None = None  # steps in which the oracle solves it; None: no such claim


@dataclass(frozen=True, slots=True)
class SplitSpec:
    """A split and how many tasks it must hold; None where the number is free."""

    name: str
    n_tasks: int | None
    description: str


@dataclass(frozen=True, slots=True)
class Instructions:
    """What the agent is told about an environment; `version` is part of a result's identity."""

    version: str
    text: str  # the situation and the action grammar
    example: str  # one worked example, shown with `--shots 1`; made up, never a test task


@dataclass(frozen=True, slots=True)
class EnvSpec:
    """The identity and the limits of an environment."""

    name: str
    version: str  # changes whenever an observation, a task or a score could
    splits: tuple[SplitSpec, ...]
    default_split: str
    max_steps: int  # the default step cap
    instructions: Instructions
    experts: tuple[str, ...] = ("oracle",)  # names `expert_action` knows
    max_live: int | None = None  # live instances a process may hold; None: any number
    has_valid_actions: bool = True
    valid_actions_exact: bool = True  # False: the list is known to hold some that are refused
    slowest_call_s: float = 0.0  # what a call may honestly take; no step timeout is shorter
    metrics: dict[str, str] = field(default_factory=dict)  # name of a further score: its meaning
    # What ranks memories here: the first that is scored; see `analysis.frame` for the names.
    headline: tuple[str, ...] = ("success",)


@dataclass(frozen=True, slots=True)
class Observation:
    """What reset shows: the first observation and the goal, which stays pinned."""

    text: str
    goal: str
    metrics: Scores = field(default_factory=dict)  # as they stand before the first step


@dataclass(slots=True)
class StepResult:
    """What one action did. Not frozen: one is made every step, and a frozen one takes 3 µs."""

    observation: str
    reward: float
    progress: float | None  # share of the task's subgoals reached, best so far; None: no notion
    success: bool | None  # whether the task is solved now; None: cannot be told yet
    terminated: bool  # the task is over, solved or failed
    truncated: bool = False  # the environment's own cap ended it
    valid: bool = True  # False: the action was not one the environment could carry out
    metrics: Scores = field(default_factory=dict)  # further scores as they stand; see `EnvSpec`
    goal: str | None = None  # a goal that takes the place of the one before
    new_context: bool = False  # the context begins anew with this observation; the memory stays
    answer: str | None = None  # the answer this step gave, where the task is a question


@dataclass(frozen=True, slots=True)
class Gold:
    """What a perfect memory of a task would hold. No agent is ever shown it.

    For scoring a memory, and for the controls that are told it.
    """

    question: str  # in the words of the goal that puts it
    answer: str
    facts: tuple[str, ...]  # what the answer rests on, each complete in itself
    stale: tuple[str, ...] = ()  # what was told first and corrected midway
    corrected: tuple[str, ...] = ()  # what was told in place of each; those of `facts` among them


class Environment(Protocol):
    """One task at a time, addressed by id. Runs in a worker process; nothing here is async.

    Built as `cls(**options)`; options are the strings of `-o env.key=value` and `data`.
    """

    spec: ClassVar[EnvSpec]

    def tasks(self, split: str) -> Sequence[Task]:
        """The tasks of a split in their fixed order.

        Raises:
            UsageError: for an unknown split.
            DataError: where data are missing, or fewer than the split must hold.
        """
        ...

    def data_hash(self, split: str) -> str:
        """A short hash of the split's content; results with different hashes never mix."""
        ...

    def reset(self, task: Task, seed: int) -> Observation:
        """Start a task."""
        ...

    def step(self, action: str) -> StepResult:
        """Carry out one action; any text is accepted, a senseless one is `valid=False`."""
        ...

    def valid_actions(self) -> list[str] | None:
        """The actions that would be valid now; None where they cannot be listed."""
        ...

    def expert_action(self, name: str = "oracle") -> str | None:
        """The named expert's next action from the present state; None when it has none."""
        ...

    def close(self) -> None:
        """Release everything."""
        ...


class KnowsGold(Protocol):
    """What an environment may offer beside: what a perfect memory of its tasks would hold."""

    def gold(self, task: Task) -> Gold | None:
        """The gold of a task; None where none is defined.

        May be asked at any time, and changes nothing.
        """
        ...


class EnvClient(Protocol):
    """The same environment as the agent loop sees it: awaitable, perhaps in another process."""

    spec: EnvSpec

    async def reset(self, task: Task, seed: int) -> Observation:
        """See `Environment.reset`; raises an `InfraError` where the worker fails."""
        ...

    async def step(self, action: str) -> StepResult:
        """See `Environment.step`."""
        ...

    async def valid_actions(self) -> list[str] | None:
        """See `Environment.valid_actions`."""
        ...

    async def expert_action(self, name: str = "oracle") -> str | None:
        """See `Environment.expert_action`."""
        ...

    async def gold(self, task: Task) -> Gold | None:
        """See `KnowsGold`; None where the environment knows none."""
        ...

    async def close(self) -> None:
        """Give the instance back."""
        ...
