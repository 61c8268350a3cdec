"""What the tests of kept replies ask, and who answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from agemem_eval.harness.ledger import Usage
from agemem_eval.harness.models import ModelBase
from agemem_eval.harness.tools import Tool, ToolArguments, ToolCall
from agemem_eval.harness.types import ChatMessage, Completion, ModelInfo, Request, Sampling


class Query(ToolArguments):
    query: str


class Other(ToolArguments):
    text: str


class Numbering(ModelBase):
    """Answers 1, 2, 3, …, so that a kept reply differs from a fresh one."""

    cacheable = True

    def __init__(self, name: str = "n", **identity: Any) -> None:
        self.info = ModelInfo(name, identity=identity)
        self.calls = 0

    async def generate(self, request: Request) -> Completion:
        self.calls += 1
        return Completion(str(self.calls), Usage(10, 1))


def sampling_policy() -> Callable[[Any], str]:
    """A server that never says the same twice."""
    numbers = iter(range(10**6))
    return lambda _: f"reply {next(numbers)}"


TOOL = Tool("Find", "finds", Query, "ltm")
ASKED = Request(
    messages=(
        ChatMessage("system", "You help."),
        ChatMessage("assistant", "x", (ToolCall("Find", {"query": "mug"}, "c1"),)),
        ChatMessage("tool", "a mug", tool_call_id="c1"),
        ChatMessage("user", "And now?"),
    ),
    sampling=Sampling(64, 0.7, 0.9, 3),
    tools=(TOOL,),
    work={"do": "note"},
)


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not reached():
            await asyncio.sleep(0.005)
