"""LangMem's language model and store, as plug-ins over this harness's own.

Imported only where langmem is installed: the model is a subclass of langchain's.
"""

from __future__ import annotations

import datetime
import json
import re
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatResult
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.store.base import SearchItem
from pydantic import PrivateAttr

from ..harness.tools import Tool, ToolArguments, ToolCall
from ..harness.types import ChatMessage, Completion, Json
from .store import Entry, valid_unicode

NAMESPACE = ("memories",)
# Around the conversation the library puts a tag with a random id, against texts that close it.
_SESSION = re.compile(r"session_[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_NO_TIME = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)  # items must have one

Asked = Callable[[list[ChatMessage], tuple[Tool, ...]], Awaitable[Completion]]


@dataclass(frozen=True, slots=True)
class LibraryTool(Tool):
    """A tool whose schema is the library's own."""

    definition: str = "{}"  # JSON, since tools must be hashable

    def schema(self) -> Json:
        """The function schema as the library made it."""
        schema: Json = json.loads(self.definition)
        return schema


def library_tool(tool: Any, arguments: type[ToolArguments] = ToolArguments) -> LibraryTool:
    """A tool of the library, as this harness's models are told of it."""
    definition = convert_to_openai_tool(tool)
    function = definition["function"]
    description = function.get("description", "")
    text = json.dumps(definition)
    return LibraryTool(function["name"], description, arguments, "ltm", definition=text)


class MeteredChat(BaseChatModel):  # type: ignore[misc, unused-ignore]
    """A chat model of langchain's kind that hands every request to `asked`."""

    _asked: Asked = PrivateAttr()

    def __init__(self, asked: Asked) -> None:
        super().__init__()
        self._asked = asked

    @property
    def _llm_type(self) -> str:
        return "agemem-eval"

    def bind_tools(self, tools: Sequence[Any], *, tool_choice: Any = None, **_: Any) -> Any:
        """The model with tools; which of them it calls, and whether, is left to it."""
        del tool_choice
        return self.bind(tools=tools)

    def _generate(self, *_: Any, **__: Any) -> ChatResult:
        raise NotImplementedError("this model answers on the event loop alone")

    async def ainvoke(
        self, input: Any, config: Any = None, *, stop: Any = None, **given: Any
    ) -> AIMessage:
        """The answer to some messages.

        In place of langchain's own method, which mistakes an `Interrupted` for an answer.
        """
        del config, stop
        messages = [_chat(message) for message in self._convert_input(input).to_messages()]
        tools = tuple(library_tool(tool) for tool in given.get("tools", ()))
        completion = await self._asked(messages, tools)
        calls = [
            {"name": call.name, "args": call.arguments, "id": call.id, "type": "tool_call"}
            for call in completion.tool_calls
        ]
        return AIMessage(content=completion.text, tool_calls=calls)


def _chat(message: BaseMessage) -> ChatMessage:
    """A message in this harness's form, the same on every run."""
    content = message.content
    text = valid_unicode(content if isinstance(content, str) else json.dumps(content))
    found = _SESSION.search(text)
    if found is not None:
        told = text.replace(found.group(0), "session")
        text = text.replace(found.group(0), f"session_{uuid.uuid5(uuid.NAMESPACE_OID, told)}")
    if isinstance(message, ToolMessage):
        return ChatMessage("tool", text, tool_call_id=message.tool_call_id)
    if isinstance(message, AIMessage):
        calls = tuple(ToolCall(c["name"], c["args"], c["id"] or "") for c in message.tool_calls)
        return ChatMessage("assistant", text, calls)
    return ChatMessage("system" if message.type == "system" else "user", text)


def shown_id(key: str) -> str:
    """The id under which the library's manager shows an entry to its model."""
    return uuid.uuid5(uuid.NAMESPACE_DNS, str((*NAMESPACE, key))).hex


class ScopedStore:
    """A store as langgraph's are used by the library, over entries that the scope keeps apart.

    Args:
        entries: What keeps them.
    """

    def __init__(self, entries: Entries) -> None:
        self._entries = entries

    async def asearch(
        self,
        namespace: tuple[str, ...],
        /,
        *,
        query: str | None = None,
        filter: Json | None = None,
        limit: int = 10,
        offset: int = 0,
        **_: Any,
    ) -> list[Any]:
        """Items most similar to the query first."""
        del namespace
        found = await self._entries.find(query or "", None if filter else limit + offset)
        fits = [
            (entry, score)
            for entry, score in found
            if all(value_of(entry).get(key) == value for key, value in (filter or {}).items())
        ]
        return [
            SearchItem(NAMESPACE, entry.id, value_of(entry), _NO_TIME, _NO_TIME, score)
            for entry, score in fits[offset : offset + limit]
        ]

    async def aput(self, namespace: tuple[str, ...], key: str, value: Json, **_: Any) -> None:
        """Store an item under a key, or replace it."""
        del namespace
        await self._entries.put(key, *text_of(value))

    async def adelete(self, namespace: tuple[str, ...], key: str) -> None:
        """Remove an item; there need not be one."""
        del namespace
        await self._entries.drop(key)


class Entries(Protocol):
    """What a `ScopedStore` needs."""

    async def find(self, query: str, limit: int | None) -> list[tuple[Entry, float]]:
        """Entries most similar to a query, best first; None: all."""
        ...

    async def put(self, key: str, text: str, metadata: Json) -> None:
        """Add an entry, or replace the one that was put under this key."""
        ...

    async def drop(self, key: str) -> None:
        """Remove the entry under this key, if there is one."""
        ...


def value_of(entry: Entry) -> Json:
    """What the library keeps of a memory: a schema's name and fields, or a text alone."""
    kind = entry.metadata.get("kind")
    if kind is None:
        return {"content": entry.content}
    return {"kind": kind, "content": {"content": entry.content}}


def text_of(value: Json) -> tuple[str, Json]:
    """The text of a memory as the library puts it, and the metadata that say the rest."""
    content = value["content"]
    if isinstance(content, dict):
        return str(content["content"]), {"kind": value["kind"]}
    return str(content), {}
