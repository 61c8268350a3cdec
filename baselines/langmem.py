"""LangMem: typed memories, kept by a manager in the background or by the agent's own tools.

After LangMem's documentation and source (langmem 0.0.30). Two modes, as in its guides:

- `background`: a memory manager (`create_memory_store_manager`) is given each exchange. The stored
  memories that resemble the conversation are looked up without a model (its default, no
  `query_model`), then one prompt over conversation and memories answers with insertions, patches
  and removals. Before each step the memories nearest to the observation are put into the context,
  as the prompt function of LangMem's guides does with `store.search`.
- `hot-path`: the agent keeps its memories itself, with `Manage_memory` and `Search_memory`
  (`create_manage_memory_tool`, `create_search_memory_tool`). Nothing is injected, and
  no model asked.

Where this differs from the library:
- Every memory has a kind, semantic, episodic or procedural (LangMem's concepts; its default schema
  has none). A patch gives the whole new text (the library: a JSON patch).
- Memories are looked up by the last 1, 2, 4, … exchanges, query_limit // 4 such queries but at
  least one. The library counts messages, so that its only query by default is the bare last
  message: here that would be an action, which says little about what is known.
- The library leaves the window to its caller. Here it is the newest exchange and the action before
  it, which memories are to be made of, and what `window` - 1 earlier exchanges say to explain them.
- A memory has at most 2,000 characters, or the manager would patch what it was shown in part. A
  longer one, from another mode's snapshot, is not patched.
- A bad reply gets one repair (the library: up to three attempts). A tool call with an id that is
  not there is told so (the library creates the memory, or says that it deleted it).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, TypeVar

from ..harness.context import Context
from ..harness.errors import UsageError
from ..harness.tools import ToolArguments, ToolFailure, ToolStatus
from ..harness.types import Json, Scope, Services
from .langmem_prompts import (
    INSTRUCTIONS,
    KINDS,
    MAX_MEMORY,
    PROMPT_VERSION,
    ManageArguments,
    ManageReply,
    SearchArguments,
    make_tools,
    manage_messages,
)
from .longterm import Answer, Exchange, Found, LongTermMemory
from .options import choice, switch, whole
from .quoting import cut, within
from .store import Entry, valid_unicode
from .structured import ask, fault

T = TypeVar("T")

MODES = ("background", "hot-path")
_DEFAULTS = {"query_limit": "5", "max_steps": "1", "window": "2", "top_k": "5"}
MAX_QUERY_LIMIT = 20
MAX_STEPS = 5
MAX_WINDOW = 20
MAX_INSERTS = 100  # new memories of one reply; more are dropped and counted
MAX_CHANGES = 64  # patches, and removals, that are read of one reply
MAX_SHOWN = 20_000  # characters of a message that the manager is shown; more is cut, and counted
_PER_QUERY = 10  # memories that a look-up finds; the default of `asearch`
_REPLY_TOKENS = 4096  # the hundred memories that one message may hold


class LangMem(LongTermMemory):
    """LangMem's design: 1 model call an exchange in the background, none a search.

    A memory is an entry: `content`, and `metadata` with its `kind` and `time`.

    Args:
        services: Metered model and embedder, and where to keep the store.
        mode: `background` or `hot-path`.
        deletes: Whether memories may be removed; empty: as LangMem has it, `false` in the
            background (`enable_deletes`), `true` in the hot path (`actions_permitted`).
        query_limit: Stored memories that the manager is shown; this and what follows is of the
            background alone.
        max_steps: Passes of the manager over one exchange; it ends early when one changes nothing.
        window: Exchanges that the manager is shown.
        top_k: Memories put into the context before each step.

    Raises:
        UsageError: for a value out of range, or an option that the mode does without.
    """

    name: ClassVar[str] = "langmem"

    def __init__(
        self,
        services: Services,
        *,
        mode: str = "background",
        deletes: str = "",
        query_limit: str = _DEFAULTS["query_limit"],
        max_steps: str = _DEFAULTS["max_steps"],
        window: str = _DEFAULTS["window"],
        top_k: str = _DEFAULTS["top_k"],
    ) -> None:
        self._background = choice("mode", mode, MODES) == "background"
        self._deletes = switch("deletes", deletes) if deletes else not self._background
        self._query_limit = whole("query_limit", query_limit, 1, MAX_QUERY_LIMIT)
        self._max_steps = whole("max_steps", max_steps, 1, MAX_STEPS)
        self._window = whole("window", window, 1, MAX_WINDOW)
        manager = {
            "query_limit": self._query_limit,
            "max_steps": self._max_steps,
            "window": self._window,
        }
        if not self._background:
            given = {"query_limit": query_limit, "max_steps": max_steps, "window": window}
            refuse_in_hot_path({**given, "top_k": top_k}, _DEFAULTS)
            manager, top_k = {}, "0"
        super().__init__(
            services,
            top_k=top_k,
            mode=mode,
            deletes=self._deletes,
            **manager,
            prompts=[PROMPT_VERSION],
        )
        if not self._background:
            self.tools, self.instructions = make_tools(self._deletes), INSTRUCTIONS
            self.uses_model = False  # in this mode; the class may
        self._recent: list[Exchange] = []

    async def begin(self, scope: Scope) -> None:
        """Open the scope's memories; the conversation begins anew.

        Raises:
            DataError: if the scope's memories were made with another embedder.
        """
        self._recent = []
        await super().begin(scope)

    # --- the background manager -------------------------------------------------------------

    async def remember(self, exchange: Exchange) -> None:
        """Bring the memories up to date with an exchange; the hot path leaves that to the agent."""
        if not self._background or not exchange.observation.strip():
            return
        excess = len(exchange.observation.strip()) - MAX_SHOWN
        if excess > 0:
            fault(self._trace, "manage", f"{excess} characters of a message were not shown")
        self._recent = [*self._recent, exchange][-MAX_WINDOW:]
        existing = await self._resembling()
        for number in range(1, self._max_steps + 1):
            reply = await self._asked(existing, number)
            if reply is None:
                return
            touched = await self._apply(reply, existing)
            if touched is None:
                return
            existing = touched

    async def _resembling(self) -> list[Entry]:
        """Stored memories like the conversation, best first, looked up in windows of it."""
        found: dict[str, tuple[Entry, float]] = {}
        for i in range(max(1, self._query_limit // 4)):
            if i and 2 ** (i - 1) >= len(self._recent):
                break  # the window before held them all
            query = "\n".join(m["content"] for e in self._recent[-(2**i) :] for m in _messages(e))
            if len(self._store) and query.strip():
                (vector,) = await self._embed([query])
                for entry, score in self._store.search(vector, _PER_QUERY):
                    if entry.id not in found or score > found[entry.id][1]:
                        found[entry.id] = entry, score
        best = sorted(found.values(), key=lambda hit: -hit[1])  # stable: ties as they were found
        return [entry for entry, _ in best[: self._query_limit]]

    async def _asked(self, existing: Sequence[Entry], number: int) -> ManageReply | None:
        *before, newest = self._recent[-self._window :]
        earlier = [message for exchange in before for message in _messages(exchange)]
        new = _messages(newest)
        if earlier and earlier[-1]["role"] == "assistant":
            new.insert(0, earlier.pop())  # the action that the newest message answers
        memories = [
            {
                "id": str(i),
                "kind": _kind(entry),
                "content": cut(entry.content, MAX_MEMORY),
            }
            for i, entry in enumerate(existing)
        ]
        return await ask(
            self._writer,
            manage_messages(
                earlier,
                new,
                memories,
                time=self._now(),
                deletes=self._deletes,
                round_=(number, self._max_steps),
            ),
            ManageReply,
            work={
                "do": "manage",
                "messages": new,
                "memories": memories,
                "deletes": self._deletes,
            },
            op="manage",
            trace=self._trace,
            max_tokens=_REPLY_TOKENS,
        )

    async def _apply(self, reply: ManageReply, existing: Sequence[Entry]) -> list[Entry] | None:
        """Carry out a reply.

        Returns:
            The memories of the next pass: those shown and those inserted; None if nothing changed.
        """
        known = {str(i): entry.id for i, entry in enumerate(existing)}
        cut_short = {entry.id for entry in existing if len(entry.content) > MAX_MEMORY}
        changed = False
        for patch in self._within(MAX_CHANGES, reply.patch, "patches"):
            id_ = self._known("patch", patch.id, known)
            if id_ is not None and not patch.content.strip():
                fault(self._trace, "manage", f"patch: an empty text for {patch.id[:40]!r}")
            elif id_ is not None and id_ in cut_short:
                fault(self._trace, "manage", f"patch of {patch.id[:40]!r}, which was shown in part")
            elif id_ is not None:
                changed |= await self._update(id_, self._kept(patch.content))
        for short in self._removals(reply):
            id_ = self._known("remove", short, known)
            if id_ is not None:
                self._delete(id_)
                changed = True
        added = await self._insert(reply)
        if not (changed or added):
            return None
        left = [self._store.get(id_) for id_ in (*known.values(), *added)]
        return [entry for entry in left if entry is not None]

    def _removals(self, reply: ManageReply) -> list[str]:
        removals = list(dict.fromkeys(reply.remove))
        if removals and not self._deletes:
            fault(self._trace, "manage", f"{len(removals)} removals, which are switched off")
            return []
        return self._within(MAX_CHANGES, removals, "removals")

    async def _insert(self, reply: ManageReply) -> list[str]:
        """Store what is new and right; returns the ids."""
        right: list[tuple[str, str]] = []
        for new in self._within(MAX_INSERTS, reply.insert, "new memories"):
            content, kind = new.content.strip(), new.kind.lower()
            if not content:
                fault(self._trace, "manage", "a new memory without content")
            elif kind not in KINDS:
                fault(self._trace, "manage", f"a new memory of the unknown kind {kind[:40]!r}")
            else:
                right.append((self._kept(content), kind))
        # In one call; adding finds the vectors.
        await self._embed([content for content, _ in right])
        return [
            await self._add(content, {"kind": kind, "time": self._now()}) for content, kind in right
        ]

    def _kept(self, text: str) -> str:
        """What is stored of a text: as much as the manager can be shown later."""
        text = text.strip()
        excess = len(text) - MAX_MEMORY
        if excess > 0:
            fault(self._trace, "manage", f"{excess} characters of a memory were not kept")
        return text[:MAX_MEMORY].rstrip()

    def _within(self, limit: int, items: Sequence[T], what: str) -> list[T]:
        return within(limit, items, what, op="manage", trace=self._trace)

    def _known(self, what: str, short: str, known: dict[str, str]) -> str | None:
        """The entry that a short id stands for; None, and counted, if there is none (any more)."""
        id_ = known.get(short)
        if id_ is None or self._store.get(id_) is None:
            fault(self._trace, "manage", f"{what}: no memory {short[:40]!r} was shown")
            return None
        return id_

    # --- the hot path -----------------------------------------------------------------------

    async def _run(self, args: ToolArguments, context: Context) -> Answer:
        match args:
            case ManageArguments():
                return await self._manage(args)
            case SearchArguments():
                return await self._search(args)
        return await super()._run(args, context)

    async def _manage(self, args: ManageArguments) -> Answer:
        if args.id is None:
            metadata = {"kind": args.kind or KINDS[0], "time": self._now()}
            id_ = await self._add(args.content or "", metadata)
            return f"Created memory {id_}.", {"ids": [id_], "changed": True}
        old = self._store.get(args.id)
        if old is None:
            message = f"There is no memory {args.id[:80]!r}; Search_memory shows the ids."
            raise ToolFailure(ToolStatus.NOT_FOUND, message)
        if args.action == "delete":
            self._delete(old.id)
            return f"Deleted memory {old.id}.", {"ids": [old.id], "changed": True}
        metadata = {**old.metadata, "kind": args.kind or _kind(old)}
        changed = await self._update(old.id, args.content or "", metadata)
        said = "Updated" if changed else "Nothing to change in"
        return f"{said} memory {old.id}.", {"ids": [old.id], "changed": changed}

    async def _search(self, args: SearchArguments) -> Answer:
        found: Found = await self.retrieve(args.query, args.limit)
        self._tell_found(args.query, found)
        data = {
            "ids": [entry.id for entry, _ in found],
            "scores": [round(score, 4) for _, score in found],
        }
        text = "\n".join(f"[{e.id}] ({_kind(e)}) {e.content}" for e, _ in found)
        return text or "No memories found.", data


def refuse_in_hot_path(given: Mapping[str, str], defaults: Mapping[str, str]) -> None:
    """Check that nothing is asked of the background where there is none.

    Raises:
        UsageError: for the first option that has not its default.
    """
    for key, value in given.items():
        if value != defaults[key]:
            raise UsageError(f"memory option {key}: the mode hot-path has no use for it")


def _kind(entry: Entry) -> str:
    return str(entry.metadata.get("kind", KINDS[0]))


def _messages(exchange: Exchange) -> list[Json]:
    """An exchange as the manager reads it."""
    said = (("user", exchange.observation), ("assistant", exchange.action or ""))
    return [
        {"role": role, "content": cut(valid_unicode(text).strip(), MAX_SHOWN)}
        for role, text in said
        if text.strip()
    ]
