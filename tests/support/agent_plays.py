"""One episode of the agent loop with an environment, a memory and a model that a test prepares."""

from __future__ import annotations

from typing import Any, ClassVar

from agemem_eval.harness.agent import run_episode
from agemem_eval.harness.config import AgentConfig
from agemem_eval.harness.context import Context
from agemem_eval.harness.errors import WorkerError
from agemem_eval.harness.ledger import Ledger, Usage
from agemem_eval.harness.metering import Meter
from agemem_eval.harness.records import Episode, EpisodeKey
from agemem_eval.harness.tools import Tool, ToolArguments, ToolCall, ToolResult, ToolStatus
from agemem_eval.harness.trace import Trace
from agemem_eval.harness.types import (
    Completion,
    EnvSpec,
    EpisodeView,
    Instructions,
    ModelInfo,
    Observation,
    Outcome,
    Request,
    Scope,
    StepResult,
    Task,
    Turn,
)

KEY = EpisodeKey("fake", "1", "d", "test", "t", "none", "m", "fake", "f", "p", 0, 0)
SPEC = EnvSpec(
    "fake", "1", (), "test", max_steps=5, instructions=Instructions("1", "Say win.", "EXAMPLE")
)


class CountdownEnv:
    """Won by the action `win`; `crash` breaks the worker."""

    spec = SPEC

    def __init__(self) -> None:
        self.actions: list[str] = []

    async def reset(self, task: Task, seed: int) -> Observation:
        return Observation("You stand in a test.", "say win")

    async def step(self, action: str) -> StepResult:
        self.actions.append(action)
        if action == "crash":
            raise WorkerError("worker 1 died")
        won = action == "win"
        observation = f"observation {len(self.actions)}"
        return StepResult(observation, float(won), float(won), won, won, valid=action != "")

    async def valid_actions(self) -> list[str]:
        return ["win", "wait"]

    async def expert_action(self, name: str = "oracle") -> str:
        return "win"

    async def close(self) -> None:
        pass


class NoteArguments(ToolArguments):
    text: str


class NoteMemory:
    """One tool, `Note`; records what the loop tells it."""

    name = "note"
    identity: ClassVar[dict[str, Any]] = {}
    instructions = "Take notes."
    tools = (Tool("Note", "Take a note.", NoteArguments, kind="ltm"),)

    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self.outcome: Outcome | None = None
        self.raise_in: str | None = None

    async def begin(self, scope: Scope) -> None:
        self.scope = scope

    async def before_turn(self, context: Context) -> None:
        if self.raise_in == "before_turn":
            raise ValueError("broken backend")

    async def call(self, call: ToolCall, context: Context) -> ToolResult:
        if self.raise_in == "call":
            raise KeyError("broken tool")
        return ToolResult("Note", ToolStatus.SUCCESS, f"noted {call.arguments}")

    async def after_turn(self, turn: Turn) -> None:
        self.turns.append(turn)

    async def end_episode(self, outcome: Outcome) -> None:
        self.outcome = outcome

    def entries(self) -> list[dict[str, Any]]:
        return [{"id": "1", "content": "a fact"}]

    def snapshot(self) -> bytes:
        return b""

    def restore(self, snapshot: bytes) -> None:
        pass

    async def close(self) -> None:
        pass


class ListModel:
    """Gives prepared completions and keeps the requests."""

    info = ModelInfo("list")

    def __init__(self, *outputs: str | Completion | Exception) -> None:
        self.outputs = list(outputs)
        self.requests: list[Request] = []

    def bind(self, episode: EpisodeView) -> ListModel:
        return self

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    async def generate(self, request: Request) -> Completion:
        self.requests.append(request)
        output = self.outputs.pop(0) if len(self.outputs) > 1 else self.outputs[0]
        if isinstance(output, Exception):
            raise output
        return output if isinstance(output, Completion) else Completion(output, Usage(10, 2))

    async def close(self) -> None:
        pass

    def prompt(self, index: int = -1) -> str:
        return "\n".join(m.content for m in self.requests[index].messages)


async def play(
    model: ListModel,
    *,
    memory: NoteMemory | None = None,
    env: CountdownEnv | None = None,
    **config: Any,
) -> tuple[Episode, Trace]:
    trace = Trace()
    episode = await run_episode(
        env or CountdownEnv(),
        memory or NoteMemory(),
        model,
        Task("t", "test", "kind"),
        key=KEY,
        config=AgentConfig(**config),
        meter=Meter(Ledger(), trace),
    )
    return episode, trace


WIN = "<think>t</think><answer>win</answer>"
WAIT = "<think>t</think><answer>wait</answer>"
NOTE = '<think>t</think><tool_call>[{"name": "Note", "arguments": {"text": "a"}}]</tool_call>'
