"""A memory with everything it needs around it, and an agent's life in short."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..context import Context
from ..ledger import Ledger, Role
from ..metering import Embedder, Meter, MeteredEmbedder, MeteredModel
from ..models import ModelBase, estimate_usage
from ..tokens import estimate_tokens
from ..tools import Tool, ToolCall, ToolResult, find_tool
from ..trace import Trace
from ..types import (
    Completion,
    EpisodeView,
    Gold,
    Json,
    Memory,
    Model,
    ModelInfo,
    Outcome,
    Request,
    Scope,
    Services,
    Turn,
)

BUDGET = 8192  # tokens of the context


class Scribe(ModelBase):
    """A model that answers every request with the same note."""

    info = ModelInfo("scribe", identity={"provider": "conformance", "name": "scribe"})

    async def generate(self, request: Request) -> Completion:
        """The note."""
        text = "A short note."
        return Completion(text, estimate_usage(request, text))


@dataclass(slots=True)
class Served:
    """What a model truly answered."""

    calls: int = 0
    tokens: int = 0


class _Counted(ModelBase):
    """Passes requests on and counts them, beside whatever is booked."""

    def __init__(self, model: Model, served: Served) -> None:
        self.info, self._model, self._served = model.info, model, served

    async def generate(self, request: Request) -> Completion:
        completion = await self._model.generate(request)
        self._served.calls += 1
        usage = completion.usage
        self._served.tokens += usage.prompt_tokens + usage.completion_tokens
        return completion

    def count_tokens(self, text: str) -> int:
        return self._model.count_tokens(text)

    def bind(self, episode: EpisodeView) -> Model:
        return _Counted(self._model.bind(episode), self._served)


class _CountedEmbedder:
    """Passes texts on and counts their tokens."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self.name, self.identity = embedder.name, embedder.identity
        self.dim, self.theta_f = embedder.dim, embedder.theta_f
        self.tokens = 0

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.tokens += sum(map(self.count_tokens, texts))
        return self._embedder.embed(texts)

    def count_tokens(self, text: str) -> int:
        return self._embedder.count_tokens(text)


class Bench:
    """One memory, its services, and the context of the agent that uses it."""

    def __init__(
        self,
        make: Callable[[Services], Memory],
        model: Model,
        embedder: Embedder,
        directory: Path | None = None,
    ) -> None:
        self.meter = Meter(Ledger(), Trace())
        self.served = Served()
        self.embedder = _CountedEmbedder(embedder)
        counted = _Counted(model, self.served)
        services = Services(
            MeteredModel(counted, self.meter, Role.MEMORY_WRITE),
            MeteredEmbedder(self.embedder, self.meter),
            directory,
        )
        self.memory = make(services)
        self.results: list[str] = []  # what the tools answered, in order
        self.leaked = ""  # what was seen of the secrets that are watched for
        self._secrets: Sequence[str] = ()
        self._step = 0
        self.context = Context(BUDGET, estimate_tokens, self.meter.trace)

    def watch(self, secrets: Sequence[str]) -> None:
        """Texts that this memory must never show."""
        self._secrets = secrets

    async def start(self, scope: str) -> None:
        """Begin an episode."""
        self.meter.trace = Trace()
        self.context = Context(BUDGET, estimate_tokens, self.meter.trace)
        told = getattr(self.memory, "told", "nothing") != "nothing"
        gold = Gold("What matters?", "nothing", ()) if told else None
        await self.memory.begin(Scope(scope, "find out what matters", self.meter.trace, gold=gold))
        self.context.add("system", "system", "You act in an environment.", pinned=True)
        self.context.add("user", "goal", "Your goal: find out what matters.", pinned=True)

    async def add(self, text: str) -> None:
        """One step of the agent, in which it reads a text and stores it if it has a tool to."""
        trace = self.meter.trace
        await self.memory.before_turn(self.context)
        for message in self.context.messages:
            if message.kind == "observation":
                self.context.unpin(message.id)
        self.context.add("user", "observation", text, pinned=True)
        if find_tool(self.memory.tools, "Add_memory") is not None:
            await self.call("Add_memory", content=text)
        trace.step, trace.turn = trace.step + 1, trace.turn + 1
        answer = "<think>I go on.</think><answer>go on</answer>"
        self.context.add("assistant", "assistant", answer)
        await self.memory.after_turn(Turn(trace.turn, trace.step, answer, (), "go on", text))
        self._look(self._texts())

    async def end(self) -> None:
        """End the episode as solved."""
        await self.memory.end_episode(Outcome("completed", True, 1.0))
        self._look(self._texts())

    async def episode(self, scope: str, texts: Sequence[str]) -> None:
        """A whole episode in which these texts are read."""
        await self.start(scope)
        for text in texts:
            await self.add(text)
        await self.end()

    async def call(self, name: str, /, **arguments: Any) -> ToolResult:
        """One tool call."""
        result = await self.memory.call(ToolCall(name, arguments, "call_1"), self.context)
        self.results.append(str(getattr(result, "content", result)))
        self._look(self.results[-1])
        return result

    async def must(self, name: str, /, **arguments: Any) -> ToolResult:
        """A tool call that has to succeed.

        Raises:
            AssertionError: if it does not.
        """
        result = await self.call(name, **arguments)
        if not result.ok:
            raise AssertionError(f"{name}: {result.status.value}: {result.content[:200]}")
        return result

    async def look_up(self, query: str) -> str:
        """What a search gives, and what the memory brings into the context by itself."""
        found = ""
        tool = find_tool(self.memory.tools, "Retrieve_memory")
        if tool is not None:
            few = {"top_k": 1} if "top_k" in tool.arguments.model_fields else {}
            found = (await self.must("Retrieve_memory", query=query, **few)).content
        before = {message.id for message in self.context.messages}
        self.context.add("user", "observation", query)
        await self.memory.before_turn(self.context)
        new = [m.content for m in self.context.messages if m.id not in before]
        return "\n".join([found, *(text for text in new if text != query)])

    async def use_every_tool(self) -> None:
        """One good call of each tool."""
        for tool in self.memory.tools:
            await self.call(tool.name, **self._arguments(tool))

    def _arguments(self, tool: Tool) -> Json:
        entries = self.memory.entries()
        known = str(entries[0]["id"]) if entries else "none"
        values: Json = {"memory_id": known, "confirmation": True, "span": "all"}
        fields = tool.arguments.model_fields
        names = [name for name in fields if fields[name].is_required()]
        return {name: values.get(name, "the blue flowerpot") for name in names}

    def _texts(self) -> str:
        held = [str(entry["content"]) for entry in self.memory.entries()]
        return "\n".join([*held, *(message.content for message in self.context.messages)])

    def _look(self, text: str) -> None:
        self.leaked = self.leaked or next((s for s in self._secrets if s in text), "")
