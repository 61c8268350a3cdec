"""Short-term memory as tools: Retrieve, Summary and Filter (AgeMem, arXiv 2601.01885, section 3).

They work on the context alone, so any long-term memory can be given them (`WithShortTerm`: the
paper's "+ST"). Pinned messages are removed by none of them.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence

from ..harness.context import Context, Message
from ..harness.ledger import Role
from ..harness.tools import ToolArguments, ToolCall, ToolFailure, ToolResult, ToolStatus, find_tool
from ..harness.trace import Trace
from ..harness.types import Json, Memory, Outcome, Scope, Services, Turn
from . import agemem_tools as tools
from .longterm import MAX_TOP_K, Answer, Found, checked, no_such_tool
from .store import Entry
from .summary import PROMPT_VERSION as SUMMARY_VERSION
from .summary import summarise
from .vectors import ROUNDING, EpisodeVectors, Vector, passes

LookUp = Callable[[str, int, Json], Awaitable[Found]]  # query, top_k, metadata filter
Embed = Callable[[Sequence[str]], Awaitable[list[Vector]]]
VERSIONS = [tools.PROMPT_VERSION, SUMMARY_VERSION]
SUMMARY_TOKENS = 300
_HIDDEN = {"tags": [], "source": "agent", "memory_type": "general"}  # labels that say nothing


class ShortTerm:
    """The three tools.

    It does not hold the memory that it serves, which would be a cycle: what an episode leaves, its
    trace first of all, would then stay until Python looks for cycles.

    Args:
        services: For the model that writes summaries, and the embedder's threshold.
        theta_f: Similarity from which Filter_context removes a message; None: the embedder's.
        summary_tokens: Length a summary may have.
    """

    def __init__(
        self,
        services: Services,
        *,
        theta_f: float | None = None,
        summary_tokens: int = SUMMARY_TOKENS,
    ) -> None:
        self._writer = services.model.as_role(Role.MEMORY_WRITE)
        self._theta_f = services.embedder.theta_f if theta_f is None else theta_f
        self._summary_tokens = summary_tokens
        self.identity: Json = {"theta_f": self._theta_f, "summary_tokens": summary_tokens}

    async def run(
        self, args: ToolArguments, context: Context, trace: Trace, look_up: LookUp, embed: Embed
    ) -> Answer | None:
        """Carry out a call; None if it is of another tool.

        Args:
            args: Of the call.
            context: What Summary_context and Filter_context change.
            trace: Is told of a summary.
            look_up: Finds entries for Retrieve_memory, and writes that to the trace.
            embed: Gives vectors of texts for Filter_context.
        """
        match args:
            case tools.RetrieveArguments():
                return await self._retrieve(args, look_up)
            case tools.SummaryArguments():
                return await self._summary(args, context, trace)
            case tools.FilterArguments():
                return await self._filter(args, context, embed)
        return None

    async def _retrieve(self, args: tools.RetrieveArguments, look_up: LookUp) -> Answer:
        found = await look_up(args.query, args.top_k, args.metadata_filter)
        content = "\n".join(shown(entry) for entry, _ in found)
        if not found:
            content = "No memories found" + (" that pass the filter." * bool(args.metadata_filter))
        scores = [round(score, 4) for _, score in found]
        return content, {"ids": [entry.id for entry, _ in found], "scores": scores}

    async def _summary(
        self, args: tools.SummaryArguments, context: Context, trace: Trace
    ) -> Answer:
        chosen = _chosen(_removable(context), args.last)
        if not chosen:
            return "There is nothing to summarise yet.", {"replaced": [], "changed": False}
        before = context.tokens
        text, writer = await summarise(chosen, self._writer, self._summary_tokens)
        ids = [message.id for message in chosen]
        summary = context.summarise(ids, f"Summary of {len(ids)} earlier messages:\n{text}")
        changed = summary is not None
        data = {
            "replaced": ids,
            "summary": summary.id if summary is not None else None,
            "writer": writer,
            "tokens_saved": before - context.tokens,
            "changed": changed,
        }
        trace.emit("memory", op="summary", ids=ids, changed=changed, content=text, writer=writer)
        return f"Replaced {len(ids)} messages by one summary.", data

    async def _filter(self, args: tools.FilterArguments, context: Context, embed: Embed) -> Answer:
        candidates = _removable(context)
        texts = [args.criteria, *(m.content for m in candidates)]
        criteria, *vectors = await embed(texts)
        threshold = self._theta_f - ROUNDING  # "at or above", in float32
        similar = [
            message.id
            for message, vector in zip(candidates, vectors, strict=True)
            if float(vector @ criteria) >= threshold
        ]
        removed = context.remove(similar, "filter")
        data = {"removed": [message.id for message in removed], "changed": bool(removed)}
        return f"Removed {len(removed)} of {len(candidates)} messages.", data


class WithShortTerm:
    """Any memory, with the three tools beside its own: the paper's "+ST".

    Args:
        memory: What the tools are added to. Retrieve_memory asks its `retrieve`, if it has one,
            and ranks its entries by similarity otherwise.
        services: For summaries and vectors.
    """

    def __init__(self, memory: Memory, services: Services) -> None:
        self._memory, self._services = memory, services
        self.name = f"{memory.name}+st"
        self._own = tools.make_tools(3, lt_tools=False, st_tools=True)
        taken = {tool.name for tool in memory.tools}
        self._own = tuple(tool for tool in self._own if tool.name not in taken)
        self.tools = memory.tools + self._own
        help_ = tools.make_instructions(lt_tools=False, st_tools=True)
        self.instructions = "\n".join(part for part in (memory.instructions, help_) if part)
        self._vectors = EpisodeVectors(services.embedder.aembed)
        self._short = ShortTerm(services)
        self.identity: Json = {"of": memory.identity, "st": [*VERSIONS, self._short.identity]}
        self.uses_model = True
        self.told = getattr(memory, "told", "nothing")
        self._trace = Trace()

    async def begin(self, scope: Scope) -> None:
        """See `Memory.begin`."""
        self._trace = scope.trace
        self._vectors.clear()
        await self._memory.begin(scope)

    async def before_turn(self, context: Context) -> None:
        """See `Memory.before_turn`."""
        await self._memory.before_turn(context)

    async def after_turn(self, turn: Turn) -> None:
        """See `Memory.after_turn`."""
        await self._memory.after_turn(turn)

    async def end_episode(self, outcome: Outcome) -> None:
        """See `Memory.end_episode`."""
        await self._memory.end_episode(outcome)

    async def call(self, call: ToolCall, context: Context) -> ToolResult:
        """A call of one of the three tools, or of the memory's own."""
        tool = find_tool(self._own, call.name)
        if tool is None:
            if find_tool(self._memory.tools, call.name) is None:
                problem = no_such_tool(self.tools, call.name)
                return ToolResult(call.name, ToolStatus.UNKNOWN_TOOL, problem, call.id)
            return await self._memory.call(call, context)
        try:
            args = checked(tool, call.arguments)
            look_up, embed = self._look_up, self._vectors.of
            answer = await self._short.run(args, context, self._trace, look_up, embed)
        except ToolFailure as failure:
            return ToolResult(tool.name, failure.status, str(failure), call.id)
        if answer is None:
            raise TypeError(f"{tool.name} is not carried out")
        return ToolResult(tool.name, ToolStatus.SUCCESS, answer[0], call.id, answer[1])

    def entries(self) -> list[Json]:
        """See `Memory.entries`."""
        return self._memory.entries()

    def snapshot(self) -> bytes:
        """See `Memory.snapshot`."""
        return self._memory.snapshot()

    def restore(self, snapshot: bytes) -> None:
        """See `Memory.restore`."""
        self._memory.restore(snapshot)

    async def close(self) -> None:
        """See `Memory.close`."""
        await self._memory.close()

    async def _look_up(self, query: str, top_k: int, wanted: Json) -> Found:
        retrieve = getattr(self._memory, "retrieve", None)
        many = max(MAX_TOP_K, len(self._memory.entries())) if wanted else top_k
        found = await (retrieve if retrieve is not None else self._ranked)(query, many)
        found = [pair for pair in found if passes(pair[0].metadata, wanted)][:top_k]
        self._trace.emit(
            "memory",
            op="retrieve",
            ids=[entry.id for entry, _ in found],
            changed=False,
            query=query,
            contents=[entry.content for entry, _ in found],
        )
        return found

    async def _ranked(self, query: str, top_k: int) -> Found:
        entries = [
            Entry(str(e["id"]), str(e["content"]), dict(e.get("metadata") or {}), "", "")
            for e in self._memory.entries()
        ]
        if not entries:
            return []
        texts = [query, *(entry.content for entry in entries)]
        wanted, *vectors = await self._vectors.of(texts)
        scores = [float(vector @ wanted) for vector in vectors]
        best = sorted(range(len(entries)), key=lambda i: (-scores[i], i))[:top_k]
        return [(entries[i], scores[i]) for i in best]


def shown(entry: Entry) -> str:
    """An entry as the agent reads it: id, what it says, and the labels that say something."""
    given = {
        key: value
        for key, value in entry.metadata.items()
        if key != "timestamp" and _HIDDEN.get(key) != value
    }
    extra = f" {json.dumps(given, ensure_ascii=False)}" if given else ""
    return f"[{entry.id}] {entry.content}{extra}"


def _removable(context: Context) -> list[Message]:
    """What Summary and Filter may take: what a memory shows by itself is no part of the history."""
    return [
        m for m in context.messages if not m.pinned and m.role != "system" and m.kind != "memory"
    ]


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
