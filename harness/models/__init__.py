"""Model providers: endpoints, models in this process, and models without weights."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from ..build import build
from ..config import split_model
from ..context import MESSAGE_OVERHEAD
from ..errors import UsageError
from ..ledger import Role, Usage
from ..tokens import estimate_tokens
from ..tools import Tool, ToolCall
from ..types import ChatMessage, Completion, EpisodeView, Model, ModelInfo, Request


class ModelBase:
    """What most models share: estimated token counts, no binding, nothing to close.

    Attributes:
        cacheable: Whether the reply depends on the request alone, so that `--cache` may keep it.
            Not so where it also depends on the episode, or on what was asked before.
    """

    info: ModelInfo
    cacheable: bool = False

    async def generate(self, request: Request) -> Completion:
        """Answer one request; a model without weights must be bound to an episode first."""
        raise UsageError(
            f"{self.info.name} can only answer within an episode, not a lone "
            f"{request.role.value} request: bind it to one"
        )

    def count_tokens(self, text: str) -> int:
        """Tokens of a text, estimated."""
        return estimate_tokens(text)

    def untrained(self) -> Model | None:
        """Another model that plays where an untrained one is asked for; None: itself does."""
        return None

    def bind(self, episode: EpisodeView) -> Model:  # noqa: ARG002 - an endpoint sees no episode
        """The model to use for one episode: itself."""
        return self

    async def close(self) -> None:
        """Release nothing."""


def make_model(spec: str, options: Mapping[str, str] | None = None) -> Model:
    """Build a model from its name.

    Args:
        spec: `nano`, `openai:NAME`, `vllm:MODEL`, `hf:PATH`, `numpy:FOLDER`, `scripted`,
            `scripted:EXPERT`, `random`, `replay:RUN`, a name that a plug-in registers, or
            `package.module:Class` and perhaps `:NAME` after it.
        options: Strings of `-o model.key=value`; `-` in a key counts as `_`.

    Raises:
        UsageError: for an unknown model or option, naming the nearest one, or a bad value.
    """
    provider, name = split_model(spec)
    keywords = {key.replace("-", "_"): value for key, value in (options or {}).items()}
    model: Model = build("models", provider, keywords, name)
    return model


@lru_cache(maxsize=64)
def tool_schemas(tools: tuple[Tool, ...]) -> list[dict[str, Any]]:
    """The `tools=` list of a request; shared between calls, so not to be changed."""
    return [tool.schema() for tool in tools]


def prompt_tokens(request: Request, count: Callable[[str], int]) -> int:
    """Estimated tokens of a request's prompt, tool schemas included."""
    total = sum(count(m.content) + MESSAGE_OVERHEAD for m in request.messages)
    total += sum(_call_tokens(m.tool_calls, count) for m in request.messages if m.tool_calls)
    if request.tools:
        total += count(json.dumps(tool_schemas(request.tools)))
    return total


def estimate_usage(
    request: Request,
    text: str,
    calls: Sequence[ToolCall] = (),
    count: Callable[[str], int] = estimate_tokens,
) -> Usage:
    """The usage of a call whose model reports none, marked as estimated."""
    completion = count(text) + _call_tokens(calls, count)
    return Usage(prompt_tokens(request, count), completion, estimated=True)


def _call_tokens(calls: Sequence[ToolCall], count: Callable[[str], int]) -> int:
    return sum(count(call.name) + count(json.dumps(call.arguments)) for call in calls)


def in_hurry() -> bool:
    """Whether the calling task is being cancelled, as by SIGTERM: then nothing may take long."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def last_of(messages: Sequence[ChatMessage], role: str) -> str:
    """Content of the newest message of a role; empty if there is none."""
    return next((m.content for m in reversed(messages) if m.role == role), "")


def refuse_writing(info: ModelInfo, request: Request) -> None:
    """Raise where a model that only acts is asked for anything but an action."""
    if request.role is not Role.AGENT:
        raise UsageError(
            f"{info.name} cannot write texts for a memory ({request.role.value}): choose "
            "another memory, or --model openai:NAME, vllm:MODEL or hf:PATH"
        )


def require_no_name(provider: str, name: str) -> None:
    """Refuse `provider:NAME` where a name means nothing."""
    if name:
        raise UsageError(f"the model {provider!r} takes no name: write {provider!r}, not {name!r}")
