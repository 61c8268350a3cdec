"""AgeMem: long-term and short-term memory as six tools the agent itself calls.

After the paper (arXiv 2601.01885, section 3 and its tool appendix): `Add_memory`, `Update_memory`
and `Delete_memory` keep the long-term store, `Retrieve_memory`, `Summary_context` and
`Filter_context` shape the context. Every call is answered with a status and a message the agent
can act on; pinned messages are removed by none of them.
"""

from __future__ import annotations

from typing import ClassVar

from ..harness.context import Context
from ..harness.errors import UsageError
from ..harness.tools import ToolArguments, ToolFailure, ToolStatus
from ..harness.types import Json, ModelInfo, Services
from . import agemem_tools as tools
from .longterm import Answer, Found, LongTermMemory
from .options import number, switch, whole
from .shortterm import SUMMARY_TOKENS, VERSIONS, ShortTerm
from .store import Entry

_DEFAULTS = {"tags": [], "source": "agent", "memory_type": "general"}
_RAG_TOP_K = "3"  # paper, RAG variant: the three best memories for the current message


class _AgeMemTools(LongTermMemory):
    """What AgeMem and its RAG variant share: the tools, and what each does."""

    wants_untrained: ClassVar[bool] = False  # see `harness.plan.wants_untrained`
    takes_st_tools: ClassVar[bool] = False  # has them, or is the variant without
    _shows_ids: ClassVar[bool] = True  # so that the agent can update and delete them

    def __init__(
        self,
        services: Services,
        *,
        injected: str,
        top_k: int,
        lt_tools: bool,
        st_tools: bool,
        theta_f: float | None,
        summary_tokens: int,
    ) -> None:
        self._short = ShortTerm(services, theta_f=theta_f, summary_tokens=summary_tokens)
        options = {"top_k": top_k, "lt_tools": lt_tools, "st_tools": st_tools}
        super().__init__(
            services,
            top_k=injected,
            prompts=VERSIONS,
            options={**options, **self._short.identity},
        )
        self.tools = tools.make_tools(top_k, lt_tools, st_tools)
        self.instructions = tools.make_instructions(lt_tools, st_tools)

    @classmethod
    def label(cls, info: ModelInfo) -> str:
        """What a result is called: by what the model is, whatever memory was asked for."""
        if info.training == "agemem":
            return cls.name
        head, dash, rest = cls.name.partition("-")
        return f"{head}-norl{dash}{rest}"

    async def _run(self, args: ToolArguments, context: Context) -> Answer:
        match args:
            case tools.AddArguments():
                return await self._add_memory(args)
            case tools.UpdateArguments():
                return await self._update_memory(args)
            case tools.DeleteArguments():
                return self._delete_memory(args)
        answer = await self._short.run(args, context, self._trace, self._find, self._embed)
        return answer if answer is not None else await super()._run(args, context)

    async def _add_memory(self, args: tools.AddArguments) -> Answer:
        metadata = {**_DEFAULTS, "timestamp": self._now(), **args.metadata}
        if "memory_type" not in args.metadata:
            metadata["memory_type"] = args.memory_type
        id_ = await self._add(args.content, metadata)
        return f"Stored as memory {id_}.", {"ids": [id_], "changed": True}

    async def _update_memory(self, args: tools.UpdateArguments) -> Answer:
        old = self._known(args.memory_id)
        metadata = {**old.metadata, **args.metadata}
        changed = await self._update(old.id, args.content, metadata)
        content = f"Memory {old.id} " + ("updated." if changed else "already says exactly this.")
        return content, {"ids": [old.id], "changed": changed}

    def _delete_memory(self, args: tools.DeleteArguments) -> Answer:
        old = self._known(args.memory_id)
        if not args.confirmation:
            message = f"Nothing deleted: memory {old.id} stays until confirmation is true."
            raise ToolFailure(ToolStatus.CANCELLED, message)
        self._delete(old.id)
        return f"Memory {old.id} deleted.", {"ids": [old.id], "changed": True}

    def _known(self, id_: str) -> Entry:
        entry = self._store.get(id_)
        if entry is None:
            message = f"There is no memory {id_[:80]!r}; Retrieve_memory shows the ids."
            raise ToolFailure(ToolStatus.NOT_FOUND, message)
        return entry

    async def _find(self, query: str, top_k: int, wanted: Json) -> Found:
        """What Retrieve_memory finds; the filter is the store's own."""
        found: Found = []
        if len(self._store):
            found = self._store.search((await self._embed([query]))[0], top_k, wanted)
        ids, contents = [e.id for e, _ in found], [e.content for e, _ in found]
        self._emit("retrieve", ids, changed=False, query=query, contents=contents)
        return found


class AgeMem(_AgeMemTools):
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
        summary_tokens: str = str(SUMMARY_TOKENS),
    ) -> None:
        lt, st = switch("lt_tools", lt_tools), switch("st_tools", st_tools)
        if not (lt or st):
            raise UsageError("agemem without lt_tools and st_tools is --memory none")
        super().__init__(
            services,
            injected="0",
            top_k=whole("top_k", top_k, 1, tools.MAX_TOP_K),
            lt_tools=lt,
            st_tools=st,
            theta_f=number("theta_f", theta_f, 0, 1) if theta_f else None,
            summary_tokens=whole("summary_tokens", summary_tokens, 16, 4096),
        )


class AgeMemRag(_AgeMemTools):
    """AgeMem's long-term tools; the short-term ones are replaced by retrieval before each step.

    The paper's RAG variant (arXiv 2601.01885, section 4): "+LT" in its ablation.

    Args:
        services: Metered model and embedder, and where to keep the store.
        top_k: Entries that are put into the context before each step.

    Raises:
        UsageError: for a value out of range.
    """

    name = "agemem-rag"
    uses_model = False  # it has no summaries

    def __init__(self, services: Services, *, top_k: str = _RAG_TOP_K) -> None:
        super().__init__(
            services,
            injected=str(whole("top_k", top_k, 1, tools.MAX_TOP_K)),
            top_k=3,
            lt_tools=True,
            st_tools=False,
            theta_f=None,
            summary_tokens=SUMMARY_TOKENS,
        )


def _untrained(memory: type[_AgeMemTools], info: ModelInfo) -> str:
    """The label of an untrained model's results; a trained model is no such thing."""
    if info.training == "agemem":
        raise UsageError(f"{info.name} is trained for AgeMem: use --memory {memory.name}")
    return memory.label(info)


class AgeMemNoRL(AgeMem):
    """AgeMem with a model that is not trained for it; a trained one is refused.

    A packaged checkpoint gives way to what it was trained from.
    """

    wants_untrained = True

    @classmethod
    def label(cls, info: ModelInfo) -> str:
        """See `_AgeMemTools.label`; refuses a trained model."""
        return _untrained(AgeMem, info)


class AgeMemNoRLRag(AgeMemRag):
    """The RAG variant with a model that is not trained for AgeMem; a trained one is refused."""

    wants_untrained = True

    @classmethod
    def label(cls, info: ModelInfo) -> str:
        """See `_AgeMemTools.label`; refuses a trained model."""
        return _untrained(AgeMemRag, info)
