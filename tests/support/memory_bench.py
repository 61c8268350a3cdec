"""A bench to try AgeMem on: a fake model, a counting embedder, a context."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agemem_eval.baselines.agemem import AgeMem
from agemem_eval.harness.context import Context
from agemem_eval.harness.ledger import Ledger, Role, Usage
from agemem_eval.harness.metering import Meter, MeteredEmbedder, MeteredModel
from agemem_eval.harness.plan import make_embedder
from agemem_eval.harness.tools import ToolCall, ToolResult, ToolStatus
from agemem_eval.harness.trace import Trace
from agemem_eval.harness.types import Completion, EpisodeView, ModelInfo, Request, Scope, Services


class FakeModel:
    """Answers every request with one text, or fails."""

    def __init__(self, answer: str | Exception = "", *, writes: bool = True) -> None:
        self.info = ModelInfo("fake", writes=writes)
        self.answer = answer
        self.requests: list[Request] = []

    async def generate(self, request: Request) -> Completion:
        self.requests.append(request)
        await asyncio.sleep(0)
        if isinstance(self.answer, Exception):
            raise self.answer
        return Completion(self.answer, Usage(100, 10))

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def bind(self, episode: EpisodeView) -> FakeModel:
        return self

    async def close(self) -> None:
        pass


class CountingEmbedder:
    """The hashing embedder, and what it was asked to read."""

    def __init__(self) -> None:
        inner = make_embedder("hashing")
        self.name, self.identity, self.dim = inner.name, inner.identity, inner.dim
        self.theta_f, self.count_tokens = inner.theta_f, inner.count_tokens
        self.inner = inner
        self.read: list[str] = []

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        self.read += texts
        return self.inner.embed(texts)


class Bench:
    """A memory with everything around it, for one scope."""

    def __init__(
        self,
        model: FakeModel | None = None,
        directory: Path | None = None,
        seed: int = 0,
        **options: str,
    ) -> None:
        self.model = model or FakeModel(writes=False)
        self.trace, self.ledger = Trace(), Ledger()
        meter = Meter(self.ledger, self.trace)
        self.embedder = CountingEmbedder()
        self.services = Services(
            MeteredModel(self.model, meter, Role.AGENT),
            MeteredEmbedder(self.embedder, meter),
            directory,
            seed,
        )
        self.memory = AgeMem(self.services, **options)
        self.context = Context(4096, self.model.count_tokens, self.trace)

    async def begin(self, scope: str = "episode-1") -> Bench:
        await self.memory.begin(Scope(scope, "a goal", self.trace))
        return self

    async def call(self, tool: str, **arguments: Any) -> ToolResult:
        return await self.memory.call(ToolCall(tool, arguments, "c1"), self.context)

    async def add(self, content: str, **more: Any) -> str:
        result = await self.call("Add_memory", content=content, **more)
        assert result.status is ToolStatus.SUCCESS, result.content
        return str(result.data["ids"][0])

    def contents(self) -> list[str]:
        return [entry["content"] for entry in self.memory.entries()]

    def talk(self) -> None:
        """A context as the agent loop keeps it, with pinned head and tail."""
        c = self.context
        c.add("system", "system", "You are an agent in a house.", pinned=True)
        c.add("user", "goal", "Your task: put a clean mug on the desk.", pinned=True)
        c.add("assistant", "assistant", "<think>hm</think><answer>go to cabinet 1</answer>")
        c.add("user", "observation", "The cabinet 1 is closed.")
        c.add("assistant", "assistant", "<answer>open cabinet 1</answer>")
        c.add("user", "observation", "You open the cabinet 1. In it, you see a mug 2.")
        c.add("assistant", "assistant", "<answer>dance</answer>")
        c.add("user", "observation", "Nothing happens.")
        c.add("assistant", "assistant", "Now I tidy my context.", pinned=True)
        c.add("user", "observation", "You are facing the sink 1.", pinned=True)
