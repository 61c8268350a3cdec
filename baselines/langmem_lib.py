"""`langmem-lib`: the library langmem 0.0.30 itself, driven through the metered model and embedder.

Two modes, as in its guides. `background`: its memory store manager is given each exchange, and what
its search finds for the present observation is put into the context. `hot-path`: the agent is
given the library's own two tools, with the library's own descriptions.

The library's chat model and store are plug-ins; here they are this harness's own (`langmem_chat`).
What differs from an installation of the library alone:
- A request cannot force a tool call (`tool_choice`): a model that calls none changes nothing.
- What is embedded is a memory's text; langgraph's default is the JSON of the stored value.
- The random id in the tag around the conversation is made from the conversation, so that requests
  are the same on every run; the keys of new memories are the store's ids. Tracing is off.
- `max_steps` is the library's default, 1: further steps show random ids to the model.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import logging
import re
import warnings
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, Field, model_validator

from ..harness.context import Context
from ..harness.errors import MissingExtraError
from ..harness.tools import Tool, ToolArguments, ToolCall, ToolFailure, ToolStatus
from ..harness.types import ChatMessage, Completion, Json, Sampling, Scope, Services
from .bridge import Interrupted, LibraryFailed
from .langmem import MODES, refuse_in_hot_path
from .langmem_pass import Pass
from .langmem_prompts import INSTRUCTIONS
from .longterm import Answer, Exchange, Found, LongTermMemory
from .options import choice, switch, whole
from .store import valid_unicode
from .structured import fault

T = TypeVar("T")

VERSION = "0.0.30"
_DEFAULTS = {
    "schemas": "default",
    "deletes": "false",
    "query_limit": "5",
    "window": "1",
    "top_k": "5",
}
_REPLY_TOKENS = 2048
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Semantic(BaseModel):
    """A fact about people, things, places or events that still holds."""

    content: str = Field(description="The fact, complete in itself.")


class Episodic(BaseModel):
    """What was tried in which situation, and how it ended."""

    content: str = Field(description="The episode, complete in itself.")


class Procedural(BaseModel):
    """How to do something, or a rule by which the world works."""

    content: str = Field(description="The way or the rule, complete in itself.")


class ManageMemory(ToolArguments):
    """Arguments of the library's `manage_memory`."""

    content: str | None = None
    action: Literal["create", "update", "delete"] = "create"
    id: str | None = None

    @model_validator(mode="after")
    def _says_something(self) -> ManageMemory:
        if self.action != "delete" and not self.content:
            raise ValueError(f"give the content to {self.action}")  # the library stores nothing
        return self


class SearchMemory(ToolArguments):
    """Arguments of the library's `search_memory`."""

    query: str = Field(min_length=1)
    limit: int = Field(10, strict=True, ge=1, le=100)
    offset: int = Field(0, strict=True, ge=0, le=10_000)
    filter: dict[str, Any] | None = None


class LangMemLibrary(LongTermMemory):
    """LangMem as a memory.

    Args:
        services: Metered model and embedder.
        mode: `background` or `hot-path`.
        schemas: `default`, the library's one schema, or `typed`: semantic, episodic, procedural.
            This and what follows is of the background alone.
        deletes: Whether the manager may remove memories (`enable_deletes`); the agent's tool may.
        query_limit: Memories shown to the manager. Also, a quarter of it is the number of searches
            for them: with the last message, the last two, the last four, … as the query.
        window: Exchanges shown to the manager, the newest included.
        top_k: Memories put into the context before each step.

    Raises:
        MissingExtraError: if langmem 0.0.30 is not installed.
        UsageError: for an option's bad value, or one that the mode does without.
    """

    name: ClassVar[str] = "langmem-lib"

    def __init__(
        self,
        services: Services,
        *,
        mode: str = "background",
        schemas: str = _DEFAULTS["schemas"],
        deletes: str = _DEFAULTS["deletes"],
        query_limit: str = _DEFAULTS["query_limit"],
        window: str = _DEFAULTS["window"],
        top_k: str = _DEFAULTS["top_k"],
    ) -> None:
        self._plugs = _load()
        self._background = choice("mode", mode, MODES) == "background"
        self._typed = choice("schemas", schemas, ("default", "typed")) == "typed"
        self._deletes = switch("deletes", deletes)
        self._query_limit = whole("query_limit", query_limit, 4, 20)
        self._window = whole("window", window, 1, 20)
        manager: Json = {
            "schemas": schemas,
            "deletes": self._deletes,
            "query_limit": self._query_limit,
            "window": self._window,
        }
        if not self._background:
            given = {"schemas": schemas, "deletes": deletes, "query_limit": query_limit}
            refuse_in_hot_path({**given, "window": window, "top_k": top_k}, _DEFAULTS)
            manager, top_k = {}, "0"
        super().__init__(
            services,
            top_k=top_k,
            library=[f"langmem {VERSION}", f"trustcall {importlib.metadata.version('trustcall')}"],
            mode=mode,
            **manager,
        )
        self._recent: list[Exchange] = []
        self._failure: BaseException | None = None
        self._pass = Pass()
        self._keys: dict[str, str] = {}  # entries' ids, by the random keys the library gave them
        library_store = self._plugs.ScopedStore(self)
        if self._background:
            self._manager = self._make_manager(library_store)
        else:
            self._agent_tools = self._make_tools(library_store)
            self.instructions = INSTRUCTIONS

    def _make_manager(self, store: Any) -> Any:
        from langmem import create_memory_store_manager

        return create_memory_store_manager(
            self._plugs.MeteredChat(self._asked),
            schemas=[Semantic, Episodic, Procedural] if self._typed else None,
            enable_deletes=self._deletes,
            query_limit=self._query_limit,
            namespace=self._plugs.NAMESPACE,
            store=store,
        )

    def _make_tools(self, store: Any) -> dict[str, Any]:
        """The library's tools by name; the agent is told of them as the library describes them."""
        from langmem import create_manage_memory_tool, create_search_memory_tool

        manage = create_manage_memory_tool(self._plugs.NAMESPACE, store=store)
        search = create_search_memory_tool(self._plugs.NAMESPACE, store=store)
        self.tools = (
            self._plugs.library_tool(manage, ManageMemory),
            self._plugs.library_tool(search, SearchMemory),
        )
        return {"manage_memory": manage, "search_memory": search}

    async def begin(self, scope: Scope) -> None:
        """Open the scope's memories; the conversation begins anew."""
        self._recent, self._keys = [], {}
        await super().begin(scope)

    # --- the background manager -------------------------------------------------------------

    async def remember(self, exchange: Exchange) -> None:
        """Let the manager learn from the exchange.

        Raises:
            ModelError: if the endpoint failed for good.
        """
        if not self._background or not exchange.observation.strip():
            return
        self._recent = [*self._recent, exchange][-self._window :]
        messages = [message for recent in self._recent for message in _messages(recent)]
        self._pass = Pass(messages, self._query_limit, self._deletes, self._typed)
        try:
            await self._driven(self._manager.ainvoke({"messages": [dict(m) for m in messages]}))
        except LibraryFailed as error:  # e.g. a patch that names no memory, again and again
            fault(self._trace, "manage", str(error))
        for problem in self._pass.problems():
            fault(self._trace, "manage", problem)

    async def retrieve(self, query: str, top_k: int) -> Found:
        """What the manager's search finds."""
        if not self._background or not query.strip() or not len(self._store):
            return await super().retrieve(query, top_k)
        items = await self._driven(self._manager.asearch(query=query, limit=top_k))
        found = [(self._store.get(item.key), item.score) for item in items]
        return [(entry, float(score)) for entry, score in found if entry is not None]

    async def _driven(self, work: Awaitable[T]) -> T:
        """What the library makes of it.

        Raises:
            BaseException: what failed in our hands, whatever the library made of it.
            LibraryFailed: if the library raised of its own accord.
        """
        from langsmith import tracing_context

        self._failure = None
        try:
            with tracing_context(enabled=False):
                result = await work
        except (Exception, Interrupted) as error:
            if self._failure is not None:
                raise self._failure from None
            raise LibraryFailed(f"{type(error).__name__}: {error}") from error
        if self._failure is not None:
            raise self._failure
        return result

    @contextmanager
    def _ours(self) -> Iterator[None]:
        """Do something of ours for the library, which must not mistake its failure for its own."""
        if self._failure is not None:
            raise Interrupted
        try:
            yield
        except Exception as error:  # the library would swallow it
            self._failure = error
            raise Interrupted from error

    async def _asked(self, messages: list[ChatMessage], tools: tuple[Tool, ...]) -> Completion:
        """Answer a request of the manager; a model without tool calls may answer in JSON."""
        if self._failure is not None:  # the library has caught it, and asks again
            raise Interrupted
        repair = any(tool.name == "PatchFunctionErrors" for tool in tools)
        work = None if repair else self._pass.work(self._plugs.shown_id)
        sampling = Sampling(_REPLY_TOKENS, temperature=0.0)
        try:
            completion = await self._writer.generate(messages, sampling, work, tools)
        except Exception as error:  # the library would swallow it
            self._failure = error
            raise Interrupted from error
        calls = tuple(replace(call, id=call.id or f"call_{n}") for n, call in _numbered(completion))
        if not repair:
            calls = calls or self._pass.calls(completion.text)
            self._pass.asked = calls
            self._pass.malformed = completion.malformed
        arguments = [valid_unicode(call.arguments) for call in calls]
        sound = tuple(replace(c, arguments=a) for c, a in zip(calls, arguments, strict=True))
        return replace(completion, tool_calls=sound)

    # --- the hot path -----------------------------------------------------------------------

    async def _run(self, args: ToolArguments, context: Context) -> Answer:
        """Let the library's tool answer."""
        del context
        name = "search_memory" if isinstance(args, SearchMemory) else "manage_memory"
        self._pass = Pass()
        try:
            given = args.model_dump(exclude_none=True)
            said = str(await self._driven(self._agent_tools[name].ainvoke(given)))
        except LibraryFailed as error:
            raise ToolFailure(ToolStatus.VALIDATION_ERROR, f"{name}: {error}") from error
        text = _UUID.sub(lambda m: self._keys.get(m.group(0), m.group(0)), said)
        if not isinstance(args, SearchMemory):
            ids = [id_ for ids in self._pass.done.values() for id_ in ids]
            return text, {"ids": ids, "changed": bool(ids)}
        shown = [(item["key"], item["score"]) for item in json.loads(said)]
        contents = {entry.id: entry.content for entry, _ in self._pass.found}
        ids = [id_ for id_, _ in shown]
        texts = [contents[id_] for id_ in ids]
        self._emit("retrieve", ids, changed=False, query=args.query, contents=texts)
        return text, {"ids": ids, "scores": [round(score, 4) for _, score in shown]}

    # --- what the library's store asks for --------------------------------------------------

    async def find(self, query: str, limit: int | None) -> Found:
        """Entries most similar to a query, best first; None: all."""
        found: Found = []
        with self._ours():
            if query.strip() and len(self._store):
                # Not cached: an embedding that the library asks for twice it pays for twice.
                (vector,) = await self._services.embedder.aembed([valid_unicode(query)])
                found = self._store.search(vector, limit or len(self._store))
        self._pass.searched(found)
        return found

    async def put(self, key: str, text: str, metadata: Json) -> None:
        """Add an entry, or replace the one that was put under this key."""
        with self._ours():
            await self._put(key, text, metadata)

    async def drop(self, key: str) -> None:
        """Remove the entry under this key, if there is one."""
        id_ = self._keys.get(key, key)
        with self._ours():
            if self._store.get(id_) is None:
                return
            self._delete(id_)
        self._pass.done["removed"].append(id_)

    async def _put(self, key: str, text: str, metadata: Json) -> None:
        text = valid_unicode(text)
        if not text.strip():
            return  # counted with what was asked for and not stored
        (vector,) = await self._services.embedder.aembed([text])
        id_ = self._keys.get(key, key)
        old = self._store.get(id_)
        if old is None:
            id_ = self._keys[key] = self._store.add(text, vector, metadata, self._now())
            self._emit("add", [id_], changed=True, content=text, metadata=metadata)
            self._pass.done["added"].append(id_)
            return
        self._store.update(id_, text, vector, metadata, self._now())
        changed = text != old.content
        self._emit("update", [id_], changed=changed, content=text, metadata=metadata)
        self._pass.done["updated"].append(id_)


def _numbered(completion: Completion) -> list[tuple[int, ToolCall]]:
    return list(enumerate(completion.tool_calls))


def _messages(exchange: Exchange) -> list[Json]:
    said = (("user", exchange.observation), ("assistant", exchange.action or ""))
    return [{"role": role, "content": valid_unicode(text)} for role, text in said if text.strip()]


def _load() -> Any:
    """Our plug-ins for the library, which import it."""
    try:
        version = importlib.metadata.version("langmem")
        if version != VERSION:
            raise MissingExtraError(f"langmem {VERSION} (there is {version})", "langmem-lib")
        with warnings.catch_warnings():  # the library's own use of what langgraph deprecates
            warnings.simplefilter("ignore")
            importlib.import_module("langmem")
            from . import langmem_chat
    except ImportError as error:
        raise MissingExtraError(f"langmem {VERSION}", "langmem-lib") from error
    for name in ("extraction", "langmem"):  # trustcall's, and its own; what is lost is counted here
        logging.getLogger(name).addHandler(logging.NullHandler())
    return langmem_chat
