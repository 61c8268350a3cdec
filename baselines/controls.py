"""Controls: rows that show whether memory matters at all (arXiv 2601.01885 has none of them).

`empty-store` has the tools and keeps nothing. The other three show the same number of entries
before each step, and differ only in what they hold: everything that was read, the facts the answer
rests on, or those of another task. The last two are told what no memory can know: they bound the
others, from above and from below.
"""

from __future__ import annotations

import re
from typing import ClassVar, Literal

from ..harness.errors import UsageError
from ..harness.types import Scope, Services
from . import agemem_tools as tools
from .agemem import AgeMem
from .entries import Entry
from .longterm import Answer, Exchange, LongTermMemory

_TOP_K = "5"
_BLANK_LINES = re.compile(r"\n\s*\n")


class EmptyStore(AgeMem):
    """The tools of AgeMem over a store that forgets at once: what the tools alone change.

    Takes the options of `agemem`.
    """

    name = "empty-store"

    @classmethod
    def label(cls, info: object) -> str:
        """What its results are called, whatever the model is."""
        del info
        return cls.name

    async def begin(self, scope: Scope) -> None:
        """See `LongTermMemory.begin`."""
        await super().begin(scope)
        self._given: dict[str, Entry] = {}  # entries that the agent believes to be there

    async def _add_memory(self, args: tools.AddArguments) -> Answer:
        """Answers as if it were stored: the agent must see no difference before it retrieves."""
        content, data = await super()._add_memory(args)
        (id_,) = data["ids"]
        self._given[id_] = self._known(id_)
        self._delete(id_)
        return content, {**data, "kept": False}

    async def _update_memory(self, args: tools.UpdateArguments) -> Answer:
        """Answers as if it were changed."""
        if args.memory_id not in self._given:
            return await super()._update_memory(args)
        return f"Memory {args.memory_id} updated.", {"ids": [args.memory_id], "kept": False}

    def _delete_memory(self, args: tools.DeleteArguments) -> Answer:
        """Answers as if it were deleted now."""
        if not args.confirmation or self._given.pop(args.memory_id, None) is None:
            return super()._delete_memory(args)
        return f"Memory {args.memory_id} deleted.", {"ids": [args.memory_id], "kept": False}


class StoreAll(LongTermMemory):
    """Keeps every paragraph that was read; a memory that chooses should need less to do as well.

    Args:
        services: Metered embedder, and where to keep the store.
        top_k: Entries that are put into the context before each step.
    """

    name = "store-all"
    uses_model = False

    def __init__(self, services: Services, *, top_k: str = _TOP_K) -> None:
        super().__init__(services, top_k=top_k, version=1)

    async def remember(self, exchange: Exchange) -> None:
        """Store the paragraphs that are not stored yet."""
        held = {entry.content for entry in self._store.entries()}
        paragraphs = (part.strip() for part in _BLANK_LINES.split(exchange.observation))
        for paragraph in dict.fromkeys(paragraphs):
            if paragraph and paragraph not in held:
                await self._add(paragraph, {"step": exchange.step})


class _Told(LongTermMemory):
    """A store that is filled anew when an episode begins, and learns nothing after.

    In a stream, too: what was told for an earlier task may be what the shuffled store must not
    hold for a later one.
    """

    uses_model = False

    def __init__(self, services: Services, *, top_k: str = _TOP_K) -> None:
        super().__init__(services, top_k=top_k, version=1)

    async def begin(self, scope: Scope) -> None:
        """Hold the facts that are told, and nothing else.

        Raises:
            UsageError: if the environment has no notion of such facts.
        """
        await super().begin(scope)
        if scope.goal and scope.gold is None:
            raise UsageError(f"{self.name} needs supporting facts, and this environment tells none")
        for entry in self._store.entries():
            self._delete(entry.id)
        for fact in dict.fromkeys(scope.gold.facts if scope.gold is not None else ()):
            await self._add(fact)


class GoldStore(_Told):
    """Holds the facts that the answer rests on, from the beginning: the bound from above.

    Args:
        services: Metered embedder, and where to keep the store.
        top_k: Entries that are put into the context before each step.
    """

    name = "gold-store"
    told: ClassVar[Literal["nothing", "own", "other"]] = "own"


class ShuffledStore(_Told):
    """Holds the facts of the next task of the split instead: as much memory, none of it of use.

    Args:
        services: Metered embedder, and where to keep the store.
        top_k: Entries that are put into the context before each step.
    """

    name = "shuffled-store"
    told: ClassVar[Literal["nothing", "own", "other"]] = "other"
