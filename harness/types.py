"""The central types: environments, memories, models, and the records they exchange.

Environments, memories and models are found by name through `registry` and built from options.
Everything here is small and typed; what crosses a process or lands in a file is JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from .ledger import Role

if TYPE_CHECKING:  # what a worker process need not import: pydantic and numpy start slowly
    from .context import Context
    from .ledger import Usage
    from .metering import MeteredEmbedder, MeteredModel
    from .tools import Tool, ToolCall, ToolResult
    from .trace import Trace

Json = dict[str, Any]
Scores = dict[str, float | None]  # None: not scored, which is not 0
Status = Literal["completed", "limit", "agent_error", "infra_error"]


# --- environments ---------------------------------------------------------------------------


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

    question: str
    answer: str
    facts: tuple[str, ...]  # what the answer rests on, each complete in itself
    stale: tuple[str, ...] = ()  # what was told first and corrected midway


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

    def gold(self, task: Task) -> Gold | None:
        """What a perfect memory of a task would hold; None where that is not defined.

        May be asked at any time, and changes nothing. An environment may lack this method.
        """
        ...

    def close(self) -> None:
        """Release everything."""
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
        """See `Environment.gold`."""
        ...

    async def close(self) -> None:
        """Give the instance back."""
        ...


# --- models ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sampling:
    """How completions are drawn; None leaves it to the endpoint."""

    max_tokens: int = 1024
    temperature: float | None = 0.0
    top_p: float | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message as sent to a model."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """One model call."""

    messages: Sequence[ChatMessage]
    sampling: Sampling
    role: Role = Role.AGENT
    tools: tuple[Tool, ...] = ()  # empty in the prompt transport
    want_tokens: bool = False  # ask for token ids and log-probabilities (training)
    # What is asked for in machine-readable form; for models that work by rules, never sent.
    work: Json | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """What the model answered."""

    text: str
    usage: Usage
    tool_calls: tuple[ToolCall, ...] = ()  # native transport
    finish: Literal["stop", "length", "tool_calls", "content_filter", "other"] = "stop"
    malformed: tuple[str, ...] = ()  # what of a native tool call could not be read
    token_ids: tuple[int, ...] | None = None
    logprobs: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a model *is*; results are labelled by it."""

    name: str  # as shown in tables: `openai:gpt-4o-mini`, `scripted (oracle)`
    training: Literal["none", "agemem"] = "none"  # whether it carries AgeMem training
    oracle: bool = False  # its actions come from privileged or expert knowledge
    writes: bool = True  # it can follow free instructions, e.g. write a summary
    identity: Json = field(default_factory=dict)  # hashed: weights, revision, decoding


@dataclass(frozen=True, slots=True)
class EpisodeView:
    """What a model without weights may look at; endpoints never see it."""

    env: EnvClient
    env_name: str  # as registered, or `module:Class`
    task: Task
    seed: int
    repeat: int
    key_id: str  # of the episode, e.g. to find the one to replay
    tools: tuple[Tool, ...]
    native: bool  # tool calls go through `Completion.tool_calls`
    context_budget: int
    memory: str = ""  # what the memory's results are called


class Model(Protocol):
    """A language model, or something that answers like one.

    Built as `cls(name, **options)`: `openai:gpt-4o-mini` gives name `gpt-4o-mini`.
    """

    info: ModelInfo

    async def generate(self, request: Request) -> Completion:
        """Answer one request.

        Raises:
            ModelError: when the endpoint failed for good.
        """
        ...

    def count_tokens(self, text: str) -> int:
        """Tokens of a text by the model's tokenizer, or an estimate."""
        ...

    def bind(self, episode: EpisodeView) -> Model:
        """The model to use for one episode; an endpoint returns itself."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


# --- memories -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a memory works: memories of different scopes never see each other."""

    id: str  # the episode's key id, or the run's stream
    goal: str
    trace: Trace
    gold: Gold | None = None  # what a control is told that asks for it (`told`)


@dataclass(frozen=True, slots=True)
class Turn:
    """One model call of the agent and what came of it."""

    index: int
    step: int
    completion: str
    results: tuple[ToolResult, ...] = ()
    action: str | None = None
    observation: str | None = None  # of the action; None where the turn only called tools


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an episode ended, as told to the memory."""

    status: Status
    success: bool | None
    progress: float | None


class Scorer(Protocol):
    """Rates what a memory holds when an episode has ended."""

    async def __call__(
        self,
        before: Mapping[str, str],
        entries: Sequence[Json],
        trace: Trace,
        success: bool | None,
        answer: str | None,
    ) -> tuple[Scores, str | None]:
        """The scores, and where a failed question's facts were lost.

        Args:
            before: Content of the entries when the episode began, by id.
            entries: What the memory holds now.
            trace: The episode's events.
            success: Whether the task was solved.
            answer: The answer given, where the task is a question.
        """
        ...


@dataclass(frozen=True, slots=True)
class Services:
    """What a memory is handed: metered, role-tagged access to models, and where to keep things."""

    model: MeteredModel
    embedder: MeteredEmbedder
    directory: Path | None  # for persistent stores; None keeps everything in memory
    seed: int = 0
    store: str = "sqlite"  # which kind of store to keep entries in; see `baselines.stores`


class Memory(Protocol):
    """A memory backend; may live longer than an episode.

    Built as `cls(services, **options)`; options are the strings of `-o memory.key=value`.
    """

    name: str
    identity: Json  # everything that changes its behaviour; hashed into a result's identity
    tools: tuple[Tool, ...]  # empty for automatic backends
    instructions: str  # told to the agent beside the tools; empty for automatic backends

    async def begin(self, scope: Scope) -> None:
        """Start an episode in this scope."""
        ...

    async def before_turn(self, context: Context) -> None:
        """May inject memories into the context or compact it."""
        ...

    async def call(self, call: ToolCall, context: Context) -> ToolResult:
        """Answer a tool call; a bad call is a result with a status, never an exception."""
        ...

    async def after_turn(self, turn: Turn) -> None:
        """Learn from what happened."""
        ...

    async def end_episode(self, outcome: Outcome) -> None:
        """Learn from how it ended."""
        ...

    def entries(self) -> list[Json]:
        """What the long-term memory holds now: `id`, `content`, `metadata` of each entry."""
        ...

    def snapshot(self) -> bytes:
        """The long-term memory as bytes."""
        ...

    def restore(self, snapshot: bytes) -> None:
        """Set the long-term memory to a snapshot."""
        ...

    async def close(self) -> None:
        """Release files."""
        ...
