"""Tools a memory offers to the agent: schema, arguments check, call and result.

A tool's arguments are one pydantic model. The JSON schema that both transports show to the model
and the check of what comes back are both made from it, so they cannot drift apart.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError


class ToolStatus(StrEnum):
    """How a tool call ended; everything but `SUCCESS` changed nothing."""

    SUCCESS = "success"
    VALIDATION_ERROR = "validation_error"  # arguments missing, ill-typed or empty
    UNKNOWN_TOOL = "unknown_tool"
    NOT_FOUND = "not_found"  # a memory id that does not exist
    CANCELLED = "cancelled"  # not confirmed, or beyond the limit on calls a turn
    ERROR = "error"  # the backend could not do this call, though nothing is wrong with it


class ToolArguments(BaseModel):
    """Base of every tool's arguments: unknown keys are refused, types are not coerced blindly."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool: its name and aliases, what it does (shown to the model), and its arguments."""

    name: str
    description: str
    arguments: type[ToolArguments]
    kind: Literal["ltm", "stm", "env"]  # long-term memory, context (STM), or the environment
    aliases: tuple[str, ...] = ()

    def schema(self) -> dict[str, Any]:
        """The function schema in the OpenAI `tools=` form (the prompt transport prints it too)."""
        schema: dict[str, Any] = json.loads(_schema_json(self))
        return schema

    def check(self, arguments: dict[str, Any]) -> ToolArguments:
        """The typed arguments.

        Raises:
            ToolFailure: with `VALIDATION_ERROR` and a message the model can act on.
        """
        try:
            return self.arguments.model_validate(arguments)
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(map(str, e['loc'])) or 'arguments'}: {e['msg']}" for e in error.errors()
            )
            message = f"{self.name}: {problems}"
            raise ToolFailure(ToolStatus.VALIDATION_ERROR, message) from error


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call as parsed from the model's output; nobody changes its arguments."""

    name: str
    arguments: dict[str, Any]
    id: str = ""  # the provider's call id in the native transport

    def __hash__(self) -> int:
        return hash((self.name, self.id))  # calls that are equal in all have these equal


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a call did; `content` is what the agent reads."""

    name: str  # canonical tool name, or the name as called if there is no such tool
    status: ToolStatus
    content: str
    call_id: str = ""
    data: dict[str, Any] = field(default_factory=dict)  # ids and scores, for the trace

    @property
    def ok(self) -> bool:
        """Whether the call did what it says."""
        return self.status is ToolStatus.SUCCESS


class ToolFailure(Exception):
    """Raised inside a tool to end the call with a status and a message for the agent."""

    def __init__(self, status: ToolStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


def find_tool(tools: tuple[Tool, ...], name: str) -> Tool | None:
    """The tool of that name or alias; case and `-`/`_` do not matter, since models vary them."""
    wanted = name.strip().lower().replace("-", "_")
    for tool in tools:
        if wanted in (tool.name.lower(), *(alias.lower() for alias in tool.aliases)):
            return tool
    return None


@lru_cache(maxsize=256)
def _schema_json(tool: Tool) -> str:
    """The schema as JSON: making one takes a millisecond, and each episode asks for all."""
    parameters = _without_titles(tool.arguments.model_json_schema())
    parameters.pop("description", None)  # the class's docstring, written for programmers
    function = {"name": tool.name, "description": tool.description, "parameters": parameters}
    return json.dumps({"type": "function", "function": function}, ensure_ascii=False)


def _without_titles(schema: Any) -> Any:
    """Drop pydantic's `title` keys: they cost prompt tokens and say nothing."""
    if isinstance(schema, dict):
        return {
            key: _without_titles(value)
            for key, value in schema.items()
            if not (key == "title" and isinstance(value, str))
        }
    if isinstance(schema, list):
        return [_without_titles(item) for item in schema]
    return schema
