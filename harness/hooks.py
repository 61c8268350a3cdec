"""A memory as the agent loop calls it: failures are named, and each operation's cost is kept."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from typing import TypeVar

from .context import Context
from .errors import backend_errors
from .ledger import Cost, Ledger, Role
from .tools import ToolCall, ToolResult
from .trace import Trace
from .types import Json, Memory, Outcome, Scope, Turn

T = TypeVar("T")

WRITE, READ = "write", "read"  # what a memory does by itself; what an agent calls has its own name


class Hooks:
    """One memory for one episode.

    Args:
        memory: What is called.
        ledger: The episode's; what a call adds to it is that call's cost.
        trace: The episode's; a call that neither spends nor tells anything was no operation.
    """

    def __init__(self, memory: Memory, ledger: Ledger, trace: Trace) -> None:
        self._memory = memory
        self._ledger, self._trace = ledger, trace
        self.costs: dict[str, Cost] = {}

    async def begin(self, scope: Scope) -> None:
        """See `Memory.begin`; what a memory is told then, it writes."""
        await self._costed(WRITE, self._memory.begin(scope), "begin")

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
        """See `Memory.entries`.

        Raises:
            MemoryBackendError: also for an entry without an id and a content that are texts.
        """
        with backend_errors("entries"):
            entries = self._memory.entries()
            for entry in entries:
                if not (isinstance(entry.get("id"), str) and isinstance(entry.get("content"), str)):
                    raise TypeError("an entry needs an `id` and a `content`, both texts")
            return entries

    async def _costed(self, operation: str, work: Awaitable[T], what: str) -> T:
        before, told, clock = self._spent(), len(self._trace.events), time.perf_counter()
        with backend_errors(what):
            result = await work
        after = self._spent()
        if operation in (WRITE, READ) and after == before and not self._told(told):
            return result  # it was asked, and had nothing to do
        cost = self.costs.setdefault(operation, Cost())
        cost.n += 1
        cost.calls += after[0] - before[0]
        cost.prompt_tokens += after[1] - before[1]
        cost.completion_tokens += after[2] - before[2]
        cost.embedding_tokens += after[3] - before[3]
        cost.wall_s += time.perf_counter() - clock
        return result

    def _told(self, since: int) -> bool:
        kinds = ("memory", "memory_fault")
        return any(event["type"] in kinds for event in self._trace.events[since:])

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
