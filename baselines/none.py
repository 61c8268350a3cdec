"""No memory: the row that every other backend is compared with."""

from __future__ import annotations

from ..harness.context import Context
from ..harness.errors import UsageError
from ..harness.tools import Tool, ToolCall, ToolResult, ToolStatus
from ..harness.types import Json, ModelInfo, Outcome, Scope, Services, Turn


class NoMemory:
    """Keeps nothing and offers no tools; the agent has its context alone."""

    name = "none"
    uses_model = False
    takes_st_tools = False  # there is nothing to add them to
    instructions = ""

    def __init__(self, services: Services, **options: str) -> None:
        del services  # part of every backend's signature; there is nothing to serve here
        if options:
            raise UsageError(f"memory 'none' takes no options (given: {', '.join(options)})")
        self.identity: Json = {"name": self.name}
        self.tools: tuple[Tool, ...] = ()

    @classmethod
    def label(cls, info: ModelInfo) -> str:
        """What a result is called, whatever the model is."""
        del info
        return cls.name

    async def begin(self, scope: Scope) -> None:
        """Nothing to start."""

    async def before_turn(self, context: Context) -> None:
        """Leaves the context as it is."""

    async def call(self, call: ToolCall, context: Context) -> ToolResult:
        """Every tool is unknown here."""
        del context
        message = f"there is no tool {call.name!r}: this agent has no memory tools"
        return ToolResult(call.name, ToolStatus.UNKNOWN_TOOL, message, call.id)

    async def after_turn(self, turn: Turn) -> None:
        """Learns nothing."""

    async def end_episode(self, outcome: Outcome) -> None:
        """Learns nothing."""

    def entries(self) -> list[Json]:
        """Always empty."""
        return []

    def snapshot(self) -> bytes:
        """Always empty."""
        return b""

    def restore(self, snapshot: bytes) -> None:
        """Nothing to set."""

    async def close(self) -> None:
        """Nothing to release."""
