"""A tiny world and a tiny memory protocol to play the models in, without any environment."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from contextlib import asynccontextmanager

from agemem_eval.harness.models.openai import OpenAIModel
from agemem_eval.harness.records import EpisodeKey
from agemem_eval.harness.testserver import ChatServer
from agemem_eval.harness.tools import Tool, ToolArguments
from agemem_eval.harness.types import (
    ChatMessage,
    EnvSpec,
    EpisodeView,
    Instructions,
    Observation,
    Request,
    Sampling,
    SplitSpec,
    StepResult,
    Task,
)

ROUTE = ("go to shelf 1", "take book 1 from shelf 1", "go to desk 1", "move book 1 to desk 1")


class Anything(ToolArguments):
    """Arguments are not checked here."""


NAMES = ("Add", "Update", "Delete", "Retrieve", "Summary", "Filter")
MEMORY_TOOLS = tuple(
    Tool(
        f"{name}_{'context' if name in ('Summary', 'Filter') else 'memory'}", name, Anything, "ltm"
    )
    for name in NAMES
)


class FakeEnv:
    """A world that answers every action; its expert walks a fixed route."""

    def __init__(
        self, route: Sequence[str] = ROUTE, actions: list[str] | None = None, listed: bool = True
    ) -> None:
        self.spec = EnvSpec(
            "fake",
            "1",
            (SplitSpec("all", 1, "one task"),),
            "all",
            50,
            Instructions("1", "", ""),
            experts=("oracle", "explorer"),
            has_valid_actions=listed,
        )
        self.route = list(route)
        self.actions = actions
        self.asked: list[str] = []

    async def reset(self, task: Task, seed: int) -> Observation:
        return Observation("A room.", "put the book on the desk")

    async def step(self, action: str) -> StepResult:
        return StepResult(f"You see what {action!r} does.", 0.0, None, None, False)

    async def valid_actions(self) -> list[str] | None:
        return self.actions

    async def expert_action(self, name: str = "oracle") -> str | None:
        self.asked.append(name)
        return self.route.pop(0) if self.route else None

    async def close(self) -> None:
        pass


def view(
    env: FakeEnv,
    tools: tuple[Tool, ...] = (),
    *,
    native: bool = False,
    budget: int = 8192,
    task: str = "t1",
    seed: int = 0,
    repeat: int = 0,
    memory: str = "",
    order_seed: int | None = None,
) -> EpisodeView:
    names = env.spec.name, "1", "d", "all", task, memory, memory, "m", "x", "p"
    key = EpisodeKey(*names, seed, repeat, order_seed)
    return EpisodeView(env, key, Task(task, "all"), tools, native, budget)


def request(*messages: ChatMessage, tools: tuple[Tool, ...] = ()) -> Request:
    given = messages or (ChatMessage("user", "hello"),)
    return Request(list(given), Sampling(), tools=tools)


def new_id() -> str:
    return str(uuid.uuid4())


QUICK = {"backoff_s": 0.001, "timeout_s": 0.4, "max_reply_mb": 1, "max_retries": 3}


@asynccontextmanager
async def endpoint(reply=None, *, options=None, **server_options):
    """A test server and a model that talks to it and gives up soon."""
    server = ChatServer(reply, **server_options) if reply else ChatServer(**server_options)
    async with server:
        model = OpenAIModel("m", base_url=server.url, **{**QUICK, **(options or {})})
        try:
            yield server, model
        finally:
            await model.close()
