"""What the long-term memories share: a store of entries, and when they read and write.

An exchange is a message to the agent and what the agent did about it. It is given to `remember`
once the agent has acted, so a memory learns pairs, as in a dialogue; the last message, to which
nothing was answered, follows at the end. Before each step, what `retrieve` finds for the present
observation is put into the context, in the place of what was put there before.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ..harness.context import Context
from ..harness.ledger import Role
from ..harness.metering import MeteredModel
from ..harness.prompts import MEMORY_HEADING
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
from .entries import as_json
from .options import whole
from .store import Entry, valid_unicode
from .stores import open_store
from .vectors import EpisodeVectors, Vector

Found = list[tuple[Entry, float]]  # entries with their similarity, best first
Answer = tuple[str, Json]  # what the agent reads of a tool, and the data for the trace
MAX_TOP_K = 20
SHOWN_SHARE = 4  # a fourth of the context budget is the most that a memory puts there by itself


@dataclass(frozen=True, slots=True)
class Exchange:
    """A message to the agent and what it did about it."""

    observation: str
    action: str | None  # None: the episode ended with the message
    step: int  # environment steps before the action


class LongTermMemory:
    """Base of the backends; one that only overrides `remember` is an automatic memory.

    Args:
        services: Metered model and embedder, and where to keep the store.
        top_k: Entries that are put into the context before each step; 0 puts none there.
        identity: What else changes the behaviour: prompts, options.

    Attributes:
        uses_model: Whether it asks a model; then the model is part of a result's identity.
        told: Whose gold facts it is told, if any: those of the episode's task (`own`) or of
            another (`other`); for controls.
    """

    name: ClassVar[str] = ""
    uses_model: bool = True
    told: ClassVar[Literal["nothing", "own", "other"]] = "nothing"
    tools: tuple[Tool, ...] = ()
    instructions: str = ""
    _shows_ids: ClassVar[bool] = False  # of the entries put into the context

    def __init__(self, services: Services, *, top_k: str, **identity: Any) -> None:
        self._services = services
        self._top_k = whole("top_k", top_k, 0, MAX_TOP_K)
        self._writer: MeteredModel = services.model.as_role(Role.MEMORY_WRITE)
        self._reader: MeteredModel = services.model.as_role(Role.MEMORY_READ)
        self.identity: Json = {
            "name": self.name,
            "top_k": self._top_k,
            **identity,
            "embedder": services.embedder.identity,
            "store": services.store.partition(":")[0],  # which kind, wherever it is
        }
        self._store = open_store(
            services.store,
            services.directory,
            embedder=services.embedder.identity,
            dim=services.embedder.dim,
            seed=services.seed,
        )
        self._trace = Trace()
        self._goal = ""
        self._position: int | None = None  # of the episode in its stream
        self._vectors = EpisodeVectors(services.embedder.aembed)
        self._unanswered: str | None = None  # the message that the agent has not acted on yet
        self._shown: tuple[str, str] | None = None  # ids of the observation and of our message

    @classmethod
    def label(cls, info: ModelInfo) -> str:
        """What its results are called, whatever the model is."""
        del info
        return cls.name

    # --- what a backend overrides -----------------------------------------------------------

    async def remember(self, exchange: Exchange) -> None:
        """Learn from an exchange."""

    async def retrieve(self, query: str, top_k: int) -> Found:
        """The entries that fit a query best."""
        if not query.strip() or not len(self._store):
            return []
        return self._store.search((await self._embed([query]))[0], top_k)

    async def _run(self, args: ToolArguments, context: Context) -> Answer:
        """Carry out a tool call whose arguments are right.

        Raises:
            ToolFailure: to end the call with a status and a message.
        """
        del context
        raise TypeError(f"no tool takes {type(args).__name__}")

    # --- the life of an episode -------------------------------------------------------------

    async def begin(self, scope: Scope) -> None:
        """Open the scope's memories: none for a new id, the kept ones for an id seen before.

        Raises:
            DataError: if the scope's memories were made with another embedder.
        """
        self._trace, self._goal, self._position = scope.trace, scope.goal, scope.position
        self._vectors.clear()  # so that an episode's ledger does not depend on earlier ones
        self._unanswered, self._shown = scope.observation or None, None
        self._store.open(scope.id)

    async def before_turn(self, context: Context) -> None:
        """Before the first turn of a step: show what fits the present observation."""
        observation = context.find("observation")
        if observation is None:
            return
        if self._unanswered is None:
            self._unanswered = observation.content
        if not self._top_k or (self._shown is not None and self._shown[0] == observation.id):
            return
        if self._shown is not None:
            context.remove([self._shown[1]], "memory")
        found = await self.retrieve(self._unanswered, self._top_k)
        lines, cut = self._fitting(context, found)
        self._tell_found(self._unanswered, found[: len(lines)], cut=lines[0] if cut else "")
        text = "\n".join([MEMORY_HEADING, *lines])
        message = context.add("user", "memory", text).id if lines else ""
        self._shown = observation.id, message

    async def after_turn(self, turn: Turn) -> None:
        """After the last turn of a step: remember the message and what was done about it."""
        if turn.observation is None:
            return
        if self._unanswered is not None:
            exchange = Exchange(self._unanswered, turn.action, turn.step - 1)
            self._unanswered = None
            await self.remember(exchange)
        self._unanswered = turn.observation

    async def end_episode(self, outcome: Outcome) -> None:
        """Remember the last message."""
        del outcome
        last, self._unanswered = self._unanswered, None
        if last is not None:
            await self.remember(Exchange(last, None, self._trace.step))

    async def call(self, call: ToolCall, context: Context) -> ToolResult:
        """Answer a tool call; whatever is wrong with it is a status and a message.

        What is not the call's fault is raised, so that the episode is owed again and not scored:
        an endpoint that fails for good in a summary, a full disk, a bug.
        """
        tool = find_tool(self.tools, call.name)
        name = tool.name if tool is not None else call.name
        try:
            if tool is None:
                raise ToolFailure(ToolStatus.UNKNOWN_TOOL, no_such_tool(self.tools, call.name))
            content, data = await self._run(checked(tool, call.arguments), context)
        except ToolFailure as failure:
            return ToolResult(name, failure.status, str(failure), call.id)
        return ToolResult(name, ToolStatus.SUCCESS, content, call.id, data)

    def entries(self) -> list[Json]:
        """All memories of the open scope, oldest first."""
        return list(map(as_json, self._store.entries()))

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

    # --- for the backends -------------------------------------------------------------------

    def _tell_found(self, query: str, found: Found, *, cut: str = "") -> None:
        """Write to the trace what was found; `cut` is what was shown of a first entry too long."""
        contents = [entry.content for entry, _ in found]
        contents[:1] = [cut or content for content in contents[:1]]
        ids = [entry.id for entry, _ in found]
        self._emit("retrieve", ids, changed=False, query=query, contents=contents)

    def _fitting(self, context: Context, found: Found) -> tuple[list[str], bool]:
        """The best entries as the agent reads them, as many as have room; whether one was cut.

        What a memory shows must not push the history out of the context. The first one is cut
        where it has no room alone.
        """
        room, lines, cut = context.budget // SHOWN_SHARE, list[str](), False
        for pair in found:
            # Further lines are set in, so that no entry can look like another one or a message.
            line = self._line(pair).replace("\n", "\n  ")
            cost = context.count(line)
            if cost > room and lines:
                break
            if cost > room:
                line, cut = context.clip(line, room), True
            lines.append(line)
            room -= cost
        return lines, cut

    def _line(self, found: tuple[Entry, float]) -> str:
        """An entry as the agent reads it."""
        entry = found[0]
        return f"- [{entry.id}] {entry.content}" if self._shows_ids else f"- {entry.content}"

    async def _add(self, content: str, metadata: Json | None = None, *, embed: str = "") -> str:
        """Add an entry; returns its id.

        Args:
            content: What it says.
            metadata: Labels.
            embed: The text it is found by, if not its content.
        """
        vector = (await self._embed([embed or content]))[0]
        id_ = self._store.add(content, vector, metadata or {}, self._now())
        labels = {"metadata": metadata} if metadata else {}
        self._emit("add", [id_], changed=True, content=content, **labels)
        return id_

    async def _update(
        self, id_: str, content: str, metadata: Json | None = None, *, embed: str = ""
    ) -> bool:
        """Replace what an entry says, and its labels unless None; returns whether it changed.

        Raises:
            KeyError: if there is no such entry.
        """
        old = self._store.get(id_)
        if old is None:
            raise KeyError(id_)
        labels = old.metadata if metadata is None else metadata
        changed = content != old.content or labels != old.metadata
        if changed:
            moved = bool(embed) or content != old.content
            vector = (await self._embed([embed or content]))[0] if moved else None
            self._store.update(id_, content, vector, labels, self._now())
        told = {"metadata": labels} if changed and labels != old.metadata else {}
        self._emit("update", [id_], changed=changed, content=content, **told)
        return changed

    def _delete(self, id_: str) -> None:
        """Remove an entry.

        Raises:
            KeyError: if there is no such entry.
        """
        old = self._store.get(id_)
        if old is None:
            raise KeyError(id_)
        self._store.delete(id_)
        self._emit("delete", [id_], changed=True, content=old.content)

    async def _embed(self, texts: Sequence[str]) -> list[Vector]:
        """Vectors of texts; each text is embedded, and booked, once an episode."""
        return await self._vectors.of(texts)

    def _now(self) -> str:
        """Logical time: the same episode gives the same memories on any day."""
        now = f"step {self._trace.step}, turn {self._trace.turn}"
        return now if self._position is None else f"task {self._position}, {now}"

    def _emit(self, op: str, ids: list[str], *, changed: bool, **fields: Any) -> None:
        self._trace.emit("memory", op=op, ids=ids, changed=changed, **fields)


def checked(tool: Tool, arguments: Json) -> ToolArguments:
    """The typed arguments of a call.

    Raises:
        ToolFailure: if they are not what the tool takes.
    """
    try:
        return tool.check(valid_unicode(arguments))
    except RecursionError as error:
        message = f"{tool.name}: arguments nested too deeply"
        raise ToolFailure(ToolStatus.VALIDATION_ERROR, message) from error


def no_such_tool(tools: Sequence[Tool], name: str) -> str:
    """What an agent is told that calls a tool that is not there."""
    known = {alias.lower(): t.name for t in tools for alias in (t.name, *t.aliases)}
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.4)
    names = ", ".join(t.name for t in tools) or "none"
    hint = f"did you mean {known[near[0]]}?" if near else f"there are: {names}"
    return f"There is no tool {name[:80]!r}; {hint}"
