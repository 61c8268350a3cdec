"""A bench to try an automatic memory on: a model that answers by rules, and short episodes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from memory_bench import CountingEmbedder

from agemem_eval.harness.context import Context
from agemem_eval.harness.ledger import Ledger, Role, Usage
from agemem_eval.harness.metering import Meter, MeteredEmbedder, MeteredModel
from agemem_eval.harness.models import ModelBase
from agemem_eval.harness.tools import ToolCall, ToolResult
from agemem_eval.harness.trace import Trace
from agemem_eval.harness.types import (
    Completion,
    Memory,
    ModelInfo,
    Outcome,
    Request,
    Scope,
    Services,
    Turn,
)

Answer = str | dict[str, Any] | Exception
Rule = Callable[[dict[str, Any]], Answer]  # from the request's `work`


class RuleModel(ModelBase):
    """Answers each kind of request by a rule, or from a list of answers, the last one for ever."""

    info = ModelInfo("rules", identity={"provider": "test", "name": "rules"})

    def __init__(self, **rules: Rule | Sequence[Answer] | Answer) -> None:
        self.rules = rules
        self.requests: list[Request] = []

    def asked(self, do: str) -> list[dict[str, Any]]:
        """What was asked for under that name."""
        return [r.work for r in self.requests if r.work is not None and r.work["do"] == do]

    async def generate(self, request: Request) -> Completion:
        assert request.work is not None
        json.dumps(request.work, allow_nan=False)
        self.requests.append(request)
        rule = self.rules[request.work["do"]]
        if isinstance(rule, list):
            answer = rule.pop(0) if len(rule) > 1 else rule[0]
        else:
            answer = rule(request.work) if callable(rule) else rule
        if isinstance(answer, Exception):
            raise answer
        text = answer if isinstance(answer, str) else json.dumps(answer)
        prompt = sum(self.count_tokens(message.content) for message in request.messages)
        return Completion(text, Usage(prompt, self.count_tokens(text)))

    def count_tokens(self, text: str) -> int:
        return len(text.split())


class RuleBench:
    """One memory, its services, and an agent that reads texts and acts."""

    def __init__(
        self,
        make: Callable[..., Memory],
        model: RuleModel,
        directory: Path | None = None,
        **options: str,
    ) -> None:
        self.model = model
        self.trace, self.ledger = Trace(), Ledger()
        self.meter = Meter(self.ledger, self.trace)
        self.embedder = CountingEmbedder()
        self.services = Services(
            MeteredModel(model, self.meter, Role.AGENT),
            MeteredEmbedder(self.embedder, self.meter),
            directory,
        )
        self.memory: Any = make(self.services, **options)
        self.context = Context(1_000_000, model.count_tokens, self.trace)

    async def begin(self, scope: str = "episode-1") -> RuleBench:
        self.trace, self.ledger = Trace(), Ledger()
        self.meter.point_to(self.ledger, self.trace)
        self.context = Context(1_000_000, self.model.count_tokens, self.trace)
        await self.memory.begin(Scope(scope, "a goal", self.trace))
        return self

    async def read(self, *texts: str, action: str = "look") -> None:
        """A whole episode: each text is read and acted on, but the last, with which it ends."""
        self._show(texts[0])
        await self.memory.before_turn(self.context)
        for text in texts[1:]:
            self.trace.step, self.trace.turn = self.trace.step + 1, self.trace.turn + 1
            self._show(text)
            turn = Turn(self.trace.turn, self.trace.step, "", (), action, text)
            await self.memory.after_turn(turn)
            await self.memory.before_turn(self.context)
        await self.memory.end_episode(Outcome("completed", True, 1.0))

    async def seen(self, observation: str) -> str:
        """What the memory puts into the context for an observation."""
        self._show(observation)
        await self.memory.before_turn(self.context)
        message = self.context.find("memory")
        return message.content if message is not None else ""

    async def call(self, tool: str, **arguments: Any) -> ToolResult:
        return await self.memory.call(ToolCall(tool, arguments, "c1"), self.context)

    def contents(self) -> list[str]:
        return [entry["content"] for entry in self.memory.entries()]

    def faults(self) -> list[tuple[str, str]]:
        return [(event["op"], event["problem"]) for event in self.trace.of("memory_fault")]

    def _show(self, text: str) -> None:
        for message in self.context.messages:
            self.context.unpin(message.id)
        self.context.add("user", "observation", text, pinned=True)
