"""AgeMem: long-term and short-term memory as six tools the agent itself calls.

After the paper (arXiv 2601.01885, section 3 and its tool appendix): `Add_memory`, `Update_memory`
and `Delete_memory` keep the long-term store, `Retrieve_memory`, `Summary_context` and
`Filter_context` shape the context. Every call is answered with a status and a message the agent
can act on; pinned messages are removed by none of them.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..harness.context import Context, Message
from ..harness.errors import UsageError
from ..harness.ledger import Role
from ..harness.tools import (
    Tool,
    ToolArguments,
    ToolCall,
    ToolFailure,
    ToolResult,
    ToolStatus,
    find_tool,
)
from ..harness.trace import Trace
from ..harness.types import Json, ModelInfo, Outcome, Scope, Services, Turn
from . import agemem_tools as tools
from .store import Entry, MemoryStore, valid_unicode
from .summary import PROMPT_VERSION as SUMMARY_VERSION
from .summary import summarise
from .vectors import ROUNDING, Vector

_Reply = tuple[str, Json]  # what the agent reads, and the data for the trace
_DEFAULTS = {"tags": [], "source": "agent", "memory_type": "general"}


@dataclass(frozen=True, slots=True)
class AgeMemOptions:
    """The options, read and checked; see `AgeMem`."""

    top_k: int
    theta_f: float
    lt_tools: bool
    st_tools: bool
    summary_tokens: int


def _switch(key: str, text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise UsageError(f"memory option {key}: true or false, not {text!r}")
    return text.lower() == "true"


def _number(key: str, text: str, kind: type[int] | type[float], low: float, high: float) -> float:
    try:
        value = kind(text)
    except ValueError:
        value = kind(high) + 1
    if not low <= value <= high:
        what = "a whole number" if kind is int else "a number"
        raise UsageError(f"memory option {key}: {what} from {low} to {high}, not {text!r}")
    return value


class AgeMem:
    """The six tools of AgeMem (arXiv 2601.01885); `agemem-norl` with a model untrained for them.

    Args:
        services: Metered model and embedder, and where to keep the store.
        top_k: Entries that Retrieve_memory gives unless asked for another number.
        theta_f: Similarity from which Filter_context removes a message; empty: the embedder's.
        lt_tools: `false` takes Add, Update and Delete away.
        st_tools: `false` takes Retrieve, Summary and Filter away.
        summary_tokens: Length a summary may have.

    Raises:
        UsageError: for a value out of range.
    """

    name = "agemem"

    def __init__(
        self,
        services: Services,
        *,
        top_k: str = "3",
        theta_f: str = "",
        lt_tools: str = "true",
        st_tools: str = "true",
        summary_tokens: str = "300",
    ) -> None:
        self._services = services
        self._options = AgeMemOptions(
            top_k=int(_number("top_k", top_k, int, 1, tools.MAX_TOP_K)),
            theta_f=_number("theta_f", theta_f, float, 0, 1)
            if theta_f
            else services.embedder.theta_f,
            lt_tools=_switch("lt_tools", lt_tools),
            st_tools=_switch("st_tools", st_tools),
            summary_tokens=int(_number("summary_tokens", summary_tokens, int, 16, 4096)),
        )
        if not (self._options.lt_tools or self._options.st_tools):
            raise UsageError("agemem without lt_tools and st_tools is --memory none")
        self.tools = tools.make_tools(
            self._options.top_k, self._options.lt_tools, self._options.st_tools
        )
        self.instructions = tools.make_instructions(self._options.lt_tools, self._options.st_tools)
        self.identity: Json = {
            "name": self.name,
            "prompts": [tools.PROMPT_VERSION, SUMMARY_VERSION],
            "options": asdict(self._options),
            "embedder": services.embedder.identity,
        }
        path = services.directory / "memory.sqlite" if services.directory is not None else None
        self._store = MemoryStore(
            path,
            embedder=services.embedder.identity,
            dim=services.embedder.dim,
            seed=services.seed,
        )
        self._trace = Trace()
        self._vectors: dict[str, Vector] = {}

    @classmethod
    def label(cls, info: ModelInfo) -> str:
        """`agemem` for a model trained to use these tools, `agemem-norl` for any other.

        A result is named by what the model is, whatever memory was asked for.
        """
        return cls.name if info.training == "agemem" else f"{cls.name}-norl"

    async def begin(self, scope: Scope) -> None:
        """Open the scope's memories: none for a new id, the kept ones for an id seen before.

        Raises:
            DataError: if the scope's memories were made with another embedder.
        """
        self._trace = scope.trace
        self._vectors.clear()  # so that an episode's ledger does not depend on earlier ones
        self._store.open(scope.id)

    async def before_turn(self, context: Context) -> None:
        """Does nothing: the agent alone decides."""

    async def after_turn(self, turn: Turn) -> None:
        """Does nothing: the agent alone decides."""

    async def end_episode(self, outcome: Outcome) -> None:
        """Does nothing: every change is already committed."""

    async def call(self, call: ToolCall, context: Context) -> ToolResult:
        """Answer a tool call; whatever is wrong with it is a status and a message.

        What is not the call's fault is raised, so that the episode is owed again and not scored:
        an endpoint that fails for good in a summary, a full disk, a bug.
        """
        tool = find_tool(self.tools, call.name)
        name = tool.name if tool is not None else call.name
        try:
            if tool is None:
                raise ToolFailure(ToolStatus.UNKNOWN_TOOL, self._no_such_tool(call.name))
            content, data = await self._run(_checked(tool, call.arguments), context)
        except ToolFailure as failure:
            return ToolResult(name, failure.status, str(failure), call.id)
        return ToolResult(name, ToolStatus.SUCCESS, content, call.id, data)

    def entries(self) -> list[Json]:
        """All memories of the open scope, oldest first."""
        return [asdict(entry) for entry in self._store.entries()]

    def snapshot(self) -> bytes:
        """The open scope's memories; the format is `MemoryStore.snapshot`'s."""
        return self._store.snapshot()

    def restore(self, snapshot: bytes) -> None:
        """Set the open scope to a snapshot; empty bytes empty it.

        Raises:
            DataError: if it is no snapshot, or one made with another embedder.
        """
        self._store.restore(snapshot)

    async def close(self) -> None:
        """Close the store."""
        self._store.close()

    async def _run(self, args: ToolArguments, context: Context) -> _Reply:
        match args:
            case tools.AddArguments():
                return self._add(args)
            case tools.UpdateArguments():
                return self._update(args)
            case tools.DeleteArguments():
                return self._delete(args)
            case tools.RetrieveArguments():
                return self._retrieve(args)
            case tools.SummaryArguments():
                return await self._summary(args, context)
            case tools.FilterArguments():
                return self._filter(args, context)
        raise TypeError(f"no tool takes {type(args).__name__}")

    # --- long-term memory -------------------------------------------------------------------

    def _add(self, args: tools.AddArguments) -> _Reply:
        metadata = {**_DEFAULTS, "timestamp": self._now(), **args.metadata}
        if "memory_type" not in args.metadata:
            metadata["memory_type"] = args.memory_type
        id_ = self._store.add(args.content, self._embed([args.content])[0], metadata, self._now())
        self._emit("add", [id_], changed=True, content=args.content)
        return f"Stored as memory {id_}.", {"ids": [id_], "changed": True}

    def _update(self, args: tools.UpdateArguments) -> _Reply:
        old = self._known(args.memory_id)
        metadata = {**old.metadata, **args.metadata}
        changed = args.content != old.content or metadata != old.metadata
        if changed:
            vector = self._embed([args.content])[0] if args.content != old.content else None
            self._store.update(old.id, args.content, vector, metadata, self._now())
        self._emit("update", [old.id], changed=changed, content=args.content)
        content = f"Memory {old.id} " + ("updated." if changed else "already says exactly this.")
        return content, {"ids": [old.id], "changed": changed}

    def _delete(self, args: tools.DeleteArguments) -> _Reply:
        old = self._known(args.memory_id)
        if not args.confirmation:
            message = f"Nothing deleted: memory {old.id} stays until confirmation is true."
            raise ToolFailure(ToolStatus.CANCELLED, message)
        self._store.delete(old.id)
        self._emit("delete", [old.id], changed=True, content=old.content)
        return f"Memory {old.id} deleted.", {"ids": [old.id], "changed": True}

    def _known(self, id_: str) -> Entry:
        entry = self._store.get(id_)
        if entry is None:
            message = f"There is no memory {id_[:80]!r}; Retrieve_memory shows the ids."
            raise ToolFailure(ToolStatus.NOT_FOUND, message)
        return entry

    # --- short-term memory ------------------------------------------------------------------

    def _retrieve(self, args: tools.RetrieveArguments) -> _Reply:
        found: list[tuple[Entry, float]] = []
        if len(self._store):
            query = self._embed([args.query])[0]
            found = self._store.search(query, args.top_k, args.metadata_filter)
        ids = [entry.id for entry, _ in found]
        contents = [entry.content for entry, _ in found]
        self._emit("retrieve", ids, changed=False, query=args.query, contents=contents)
        content = "\n".join(_shown(entry) for entry, _ in found)
        if not found:
            content = "No memories found" + (" that pass the filter." if len(self._store) else ".")
        return content, {"ids": ids, "scores": [round(score, 4) for _, score in found]}

    async def _summary(self, args: tools.SummaryArguments, context: Context) -> _Reply:
        chosen = _chosen(_removable(context), args.last)
        if not chosen:
            return "There is nothing to summarise yet.", {"replaced": [], "changed": False}
        model = self._services.model.as_role(Role.MEMORY_WRITE)
        before = context.tokens
        text, writer = await summarise(chosen, model, self._options.summary_tokens)
        ids = [message.id for message in chosen]
        summary = context.summarise(ids, f"Summary of {len(ids)} earlier messages:\n{text}")
        data = {
            "replaced": ids,
            "summary": summary.id if summary is not None else None,
            "writer": writer,
            "tokens_saved": before - context.tokens,
            "changed": summary is not None,
        }
        self._emit("summary", ids, changed=summary is not None, content=text, writer=writer)
        return f"Replaced {len(ids)} messages by one summary.", data

    def _filter(self, args: tools.FilterArguments, context: Context) -> _Reply:
        candidates = _removable(context)
        criteria, *vectors = self._embed([args.criteria, *(m.content for m in candidates)])
        threshold = self._options.theta_f - ROUNDING  # "at or above", in float32
        similar = [
            message.id
            for message, vector in zip(candidates, vectors, strict=True)
            if float(vector @ criteria) >= threshold
        ]
        removed = context.remove(similar, "filter")
        data = {"removed": [message.id for message in removed], "changed": bool(removed)}
        return f"Removed {len(removed)} of {len(candidates)} messages.", data

    # --- shared -----------------------------------------------------------------------------

    def _embed(self, texts: Sequence[str]) -> list[Vector]:
        """Vectors of texts; each text is embedded, and booked, once an episode."""
        missing = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        for text, vector in zip(missing, self._services.embedder.embed(missing), strict=True):
            self._vectors[text] = np.array(vector)
        return [self._vectors[text] for text in texts]

    def _now(self) -> str:
        """Logical time: the same episode gives the same memories on any day."""
        return f"step {self._trace.step}, turn {self._trace.turn}"

    def _emit(self, op: str, ids: list[str], *, changed: bool, **fields: Any) -> None:
        self._trace.emit("memory", op=op, ids=ids, changed=changed, **fields)

    def _no_such_tool(self, name: str) -> str:
        known = {alias.lower(): t.name for t in self.tools for alias in (t.name, *t.aliases)}
        near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.4)
        hint = f"did you mean {known[near[0]]}?" if near else f"there are: {', '.join(known)}"
        return f"There is no tool {name[:80]!r}; {hint}"


def _checked(tool: Tool, arguments: Json) -> ToolArguments:
    try:
        return tool.check(valid_unicode(arguments))
    except RecursionError as error:
        message = f"{tool.name}: arguments nested too deeply"
        raise ToolFailure(ToolStatus.VALIDATION_ERROR, message) from error


def _removable(context: Context) -> list[Message]:
    return [m for m in context.messages if not m.pinned and m.role != "system"]


def _chosen(candidates: list[Message], last: int | None) -> list[Message]:
    """The last so many, None for all; a native call and its results are never torn apart."""
    if last is None:
        return candidates
    tail = candidates[-last:]
    calls = {call.id for message in tail for call in message.tool_calls if call.id}
    calls |= {message.tool_call_id for message in tail if message.tool_call_id}
    kept = {message.id for message in tail}
    return [
        m
        for m in candidates
        if m.id in kept or m.tool_call_id in calls or any(c.id in calls for c in m.tool_calls)
    ]


def _shown(entry: Entry) -> str:
    """An entry as the agent reads it: id, what it says, and the metadata the agent gave it."""
    given = {
        key: value
        for key, value in entry.metadata.items()
        if key != "timestamp" and _DEFAULTS.get(key) != value
    }
    extra = f" {json.dumps(given, ensure_ascii=False)}" if given else ""
    return f"[{entry.id}] {entry.content}{extra}"
