"""The central types: environments, memories, models, and the records they exchange.

Environments, memories and models are found by name through `registry` and built from options.
Everything here is small and typed; what crosses a process or lands in a file is JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from .environment import EnvClient as EnvClient
from .environment import Environment as Environment
from .environment import EnvSpec as EnvSpec
from .environment import Gold as Gold
from .environment import Instructions as Instructions
from .environment import Json as Json
from .environment import KnowsGold as KnowsGold
from .environment import Observation as Observation
from .environment import Scores as Scores
from .environment import SplitSpec as SplitSpec
from .environment import StepResult as StepResult
from .environment import Task as Task
from .ledger import Role

if TYPE_CHECKING:  # what a worker process need not import: pydantic and numpy start slowly
    from .context import Context
    from .ledger import Usage
    from .metering import MeteredEmbedder, MeteredModel
    from .records import EpisodeKey
    from .tools import Tool, ToolCall, ToolResult
    from .trace import Trace

Status = Literal["completed", "limit", "agent_error", "infra_error"]


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
    prompt_ids: tuple[int, ...] | None = None  # of the prompt, where token ids are asked for


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
    """What a model may look at that is more than an endpoint: endpoints never see it."""

    env: EnvClient
    key: EpisodeKey  # e.g. to find the episode to replay, or to seed draws
    task: Task
    tools: tuple[Tool, ...]
    native: bool  # tool calls go through `Completion.tool_calls`
    context_budget: int
    trace: Trace | None = None  # what happened so far, e.g. which actions were refused


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
    observation: str = ""  # the first one, bare
    position: int | None = None  # of the episode in a stream, from 1; None: it stands alone
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
