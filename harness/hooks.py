"""A memory as the agent loop calls it: failures are named, and each operation's cost is kept."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from typing import TypeVar

from .context import Context
from .errors import backend_errors
from .ledger import Cost, Ledger, Role
from .tools import ToolCall, ToolResult
from .types import Json, Memory, Outcome, Scope, Turn

T = TypeVar("T")

WRITE, READ = "write", "read"  # what a memory does by itself; what an agent calls has its own name


class Hooks:
    """One memory for one episode.

    Args:
        memory: What is called.
        ledger: The episode's; what a call adds to it is that call's cost.
    """

    def __init__(self, memory: Memory, ledger: Ledger) -> None:
        self._memory = memory
        self._ledger = ledger
        self.costs: dict[str, Cost] = {}

    async def begin(self, scope: Scope) -> None:
        """See `Memory.begin`."""
        with backend_errors("begin"):
            await self._memory.begin(scope)

    async def before_turn(self, context: Context) -> None:
        """See `Memory.before_turn`; this is where a memory reads by itself."""
        await self._costed(READ, self._memory.before_turn(context), "before_turn")

    async def after_turn(self, turn: Turn) -> None:
        """See `Memory.after_turn`; this is where a memory writes by itself."""
        await self._costed(WRITE, self._memory.after_turn(turn), "after_turn")

    async def end_episode(self, outcome: Outcome) -> None:
        """See `Memory.end_episode`."""
        await self._costed(WRITE, self._memory.end_episode(outcome), "end_episode")

    async def call(self, name: str, call: ToolCall, context: Context) -> ToolResult:
        """See `Memory.call`; `name` is the tool's own."""
        return await self._costed(name, self._memory.call(call, context), f"the tool {name}")

    def entries(self) -> list[Json]:
        """See `Memory.entries`."""
        with backend_errors("entries"):
            return self._memory.entries()

    async def _costed(self, operation: str, work: Awaitable[T], what: str) -> T:
        before, clock = self._spent(), time.perf_counter()
        with backend_errors(what):
            result = await work
        after = self._spent()
        cost = self.costs.setdefault(operation, Cost())
        cost.n += 1
        cost.calls += after[0] - before[0]
        cost.prompt_tokens += after[1] - before[1]
        cost.completion_tokens += after[2] - before[2]
        cost.embedding_tokens += after[3] - before[3]
        cost.wall_s += time.perf_counter() - clock
        return result

    def _spent(self) -> tuple[int, int, int, int]:
        """Model calls, their tokens, and embedded tokens so far, of the memory alone."""
        roles = self._ledger.roles
        models = [roles[r] for r in (Role.MEMORY_WRITE, Role.MEMORY_READ) if r in roles]
        embedding = roles.get(Role.EMBEDDING)
        return (
            sum(usage.calls for usage in models),
            sum(usage.prompt_tokens for usage in models),
            sum(usage.completion_tokens for usage in models),
            embedding.prompt_tokens if embedding is not None else 0,
        )
