"""`mem0-lib`: the library mem0ai 1.0.11 itself, driven through the metered model and embedder.

The algorithm is the library's: extraction, search, decision, and what it makes of a reply. Its
model, its embedder and its vector store are plug-ins; here they are this harness's own, so that
every call is metered and booked, the store has ids and times that are the same on any day, and
snapshots and scopes work as for every other memory. mem0 1.0.11 is the last release that updates
and deletes; 2.x only adds.

What differs from an installation of the library alone: its telemetry is off, its files go to a
temporary folder, the date in its extraction prompt (the day of the import) is the episode's, and
its wish for an endpoint's JSON mode is not passed on (an endpoint's option `extra_body` can).
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np

from ..harness.errors import MissingExtraError, UsageError
from ..harness.metering import MeteredModel
from ..harness.types import ChatMessage, Json, Sampling, Scope, Services
from .bridge import Bridge, LibraryFailed
from .longterm import Exchange, Found, LongTermMemory
from .mem0_add import Add
from .options import choice
from .store import valid_unicode
from .structured import fault
from .vectors import Vector

VERSION = "1.0.11"
_PLUGIN = "agemem_eval"  # what our providers are called in the library's factories
_MAX_TOKENS = 2000  # of a reply; the library's own default
_USER = "agent"  # the library wants a session id; scopes are kept apart by the store
_DATE = re.compile(r"Today's date is \d{4}-\d{2}-\d{2}\.")


class Mem0Library(LongTermMemory):
    """mem0ai as a memory: each exchange is added as a user's and an assistant's message.

    Args:
        services: Metered model and embedder.
        top_k: Entries that are put into the context before each step.
        prompt: Which of the library's extraction prompts: `user` (its default: facts about the
            user, from the user's messages alone) or `agent` (from the assistant's).

    Raises:
        MissingExtraError: if mem0ai 1.0.11 is not installed.
        UsageError: for an option's bad value, or where mem0 was imported with telemetry on.
    """

    name: ClassVar[str] = "mem0-lib"

    def __init__(self, services: Services, *, top_k: str = "5", prompt: str = "user") -> None:
        library = _load()
        self._prompt = _extraction_prompt(choice("prompt", prompt, ("user", "agent")))
        super().__init__(services, top_k=top_k, prompt=prompt, library=f"mem0ai {VERSION}")
        self._library = library
        self._bridge = Bridge()
        self._mem0: Any = None
        self._add_in_progress: Add | None = None

    async def begin(self, scope: Scope) -> None:
        """Open the scope, with an instance of the library for it alone."""
        await super().begin(scope)
        self._release()
        self._mem0 = _instance(self._library, self)

    async def remember(self, exchange: Exchange) -> None:
        """Let the library add the exchange.

        Raises:
            ModelError: if the endpoint failed for good.
        """
        texts = {"user": exchange.observation, "assistant": exchange.action or ""}
        messages = [
            {"role": role, "content": valid_unicode(text)}
            for role, text in texts.items()
            if text.strip()
        ]
        if not messages:
            return
        dated = _DATE.sub(f"It is {self._now()}.", self._prompt)
        self._mem0.config.custom_fact_extraction_prompt = dated
        progress = self._add_in_progress = Add(messages, self._now())
        try:
            # copies: the library is free to change what it is given
            result = await self._bridge.run(
                lambda: self._mem0.add([dict(message) for message in messages], user_id=_USER)
            )
        except LibraryFailed as error:  # e.g. a fact that is a number
            fault(self._trace, "add", str(error))
            return
        finally:
            self._add_in_progress = None
        for op, problem in progress.faults(result["results"], self._content):
            fault(self._trace, op, problem)

    def _content(self, id_: str) -> str | None:
        entry = self._store.get(id_)
        return None if entry is None else entry.content

    async def retrieve(self, query: str, top_k: int) -> Found:
        """What the library's search finds."""
        if not query.strip() or not len(self._store):
            return []
        result = await self._bridge.run(
            lambda: self._mem0.search(valid_unicode(query), user_id=_USER, limit=top_k)
        )
        found = [(self._store.get(item["id"]), item["score"]) for item in result["results"]]
        return [(entry, float(score)) for entry, score in found if entry is not None]

    async def close(self) -> None:
        """Close the store and let the library's thread end."""
        self._release()
        self._bridge.close()
        await super().close()

    def _release(self) -> None:
        if self._mem0 is not None:
            self._mem0.close()
            self._mem0 = None

    # --- what the library asks for; all of it runs on the event loop ------------------------

    async def _generate(self, messages: Sequence[dict[str, str]]) -> str:
        model: MeteredModel = self._writer if self._add_in_progress else self._reader
        chat = [ChatMessage(_role(m["role"]), valid_unicode(m["content"])) for m in messages]
        work = self._add_in_progress.work() if self._add_in_progress else None
        completion = await model.generate(chat, Sampling(_MAX_TOKENS, temperature=0.0), work)
        if self._add_in_progress is not None:
            self._add_in_progress.answered(completion.text)
        return completion.text

    async def _embedding(self, text: str) -> list[float]:
        # Not cached: an embedding that the library asks for twice is one it pays for twice.
        (vector,) = await self._services.embedder.aembed([valid_unicode(text)])
        return [float(x) for x in vector]

    async def _search(self, query: str, vector: Sequence[float], limit: int) -> list[Any]:
        found = self._store.search(_vector(vector), limit)
        if self._add_in_progress is not None:
            shown = [(entry.id, entry.content) for entry, _ in found]
            self._add_in_progress.searched(query, shown)
        return [_item(entry.id, entry.content, score) for entry, score in found]

    async def _insert(self, texts: Sequence[str], vectors: Sequence[Sequence[float]]) -> None:
        for text, vector in zip(texts, vectors, strict=True):
            if not text.strip():
                fault(self._trace, "event", "a memory that says nothing")
                continue
            id_ = self._store.add(text, _vector(vector), {}, self._now())
            self._emit("add", [id_], changed=True, content=text)

    async def _replace(self, id_: str, text: str, vector: Sequence[float] | None) -> None:
        if not text.strip():
            fault(self._trace, "event", "a memory that says nothing")
            return
        old = self._store.get(id_)
        changed = old is None or text != old.content
        new = None if vector is None else _vector(vector)
        self._store.update(id_, text, new, {}, self._now())
        self._emit("update", [id_], changed=changed, content=text)

    async def _remove(self, id_: str) -> None:
        self._delete(id_)

    async def _get(self, id_: str) -> Any:
        entry = self._store.get(id_)
        return None if entry is None else _item(entry.id, entry.content, None)


# --- plug-ins of the library: they hand everything to the event loop -------------------------


class MeteredLlm:
    """The library's language model."""

    def __init__(self, config: Any) -> None:
        self._memory: Mem0Library = config.model

    def generate_response(self, messages: Sequence[dict[str, str]], **_: Any) -> str:
        """The reply's text."""
        memory = self._memory
        return memory._bridge.ask(lambda: memory._generate(messages))


class MeteredEmbeddings:
    """The library's embedder."""

    def __init__(self, config: Any) -> None:
        self._memory: Mem0Library = config.model

    def embed(self, text: str, memory_action: str | None = None) -> list[float]:
        """A unit vector."""
        del memory_action  # one embedder serves for adding, searching and updating
        if not isinstance(text, str):  # a model's odd reply: the library's to deal with
            raise TypeError(f"not a text: {text!r:.80}")
        memory = self._memory
        return memory._bridge.ask(lambda: memory._embedding(text))


class ScopedVectors:
    """The library's vector store: the open scope of ours, so its filters have nothing to do."""

    def __init__(self, memory: Mem0Library) -> None:
        self._memory = memory

    def insert(self, vectors: list[Any], ids: list[str], payloads: list[Json]) -> None:
        """Add entries; their ids are the store's own, not the library's random ones."""
        del ids
        memory = self._memory
        texts = [payload["data"] for payload in payloads]
        memory._bridge.ask(lambda: memory._insert(texts, vectors))

    def search(self, query: str, vectors: list[float], limit: int, filters: Json) -> list[Any]:
        """The most similar entries, best first."""
        del filters
        memory = self._memory
        return memory._bridge.ask(lambda: memory._search(query, vectors, limit))

    def get(self, vector_id: str) -> Any:
        """One entry, or None."""
        memory = self._memory
        return memory._bridge.ask(lambda: memory._get(vector_id))

    def update(self, vector_id: str, vector: list[float] | None, payload: Json) -> None:
        """Replace an entry."""
        memory = self._memory
        memory._bridge.ask(lambda: memory._replace(vector_id, payload["data"], vector))

    def delete(self, vector_id: str) -> None:
        """Remove an entry."""
        memory = self._memory
        memory._bridge.ask(lambda: memory._remove(vector_id))


class _StoreConfig:
    """What the library's factory reads of a vector store's configuration."""

    collection_name = _PLUGIN

    def __init__(self, memory: Mem0Library) -> None:
        self._memory = memory

    def model_dump(self) -> Json:
        return {"memory": self._memory}


def _item(id_: str, text: str, score: float | None) -> Any:
    payload = {"data": text, "user_id": _USER}
    return SimpleNamespace(id=id_, payload=payload, score=score)


def _vector(values: Sequence[float]) -> Vector:
    return np.asarray(values, dtype=np.float32)


def _role(name: str) -> Any:
    return name if name in ("system", "assistant") else "user"


# --- loading the library ---------------------------------------------------------------------


def _load() -> Any:
    """The library's package, imported without telemetry and without a folder in the user's home."""
    try:
        version = importlib.metadata.version("mem0ai")
        if version != VERSION:
            raise MissingExtraError(f"mem0ai {VERSION} (there is {version})", "mem0-lib")
        with _quiet():
            import mem0.memory.main
            import mem0.utils.factory as factory
            from mem0.memory import telemetry
    except ImportError as error:
        raise MissingExtraError(f"mem0ai {VERSION}", "mem0-lib") from error
    if telemetry.MEM0_TELEMETRY or mem0.memory.main.MEM0_TELEMETRY:
        raise UsageError("mem0 was imported with its telemetry on: set MEM0_TELEMETRY=False")
    logging.getLogger("mem0").addHandler(logging.NullHandler())  # what it skips is counted here
    here = f"{__name__}."
    factory.LlmFactory.register_provider(_PLUGIN, f"{here}MeteredLlm")
    factory.EmbedderFactory.provider_to_class[_PLUGIN] = f"{here}MeteredEmbeddings"
    factory.VectorStoreFactory.provider_to_class[_PLUGIN] = f"{here}ScopedVectors"
    return mem0


@contextmanager
def _quiet() -> Iterator[None]:
    """The environment in which the library sends nothing and keeps nothing."""
    names = ("MEM0_TELEMETRY", "MEM0_DIR")
    before = {name: os.environ.get(name) for name in names}
    with tempfile.TemporaryDirectory() as folder:  # it writes a config there, at import alone
        os.environ.update(MEM0_TELEMETRY="False", MEM0_DIR=folder)
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value


def _extraction_prompt(name: str) -> str:
    import mem0.configs.prompts as prompts

    text: str = getattr(prompts, f"{name.upper()}_MEMORY_EXTRACTION_PROMPT")
    return text


def _instance(library: Any, memory: Mem0Library) -> Any:
    """An instance of the library over our plug-ins.

    Its configuration admits only its own providers by name, though its factories take others: so
    these parts are made unchecked.
    """
    from mem0.configs.base import EmbedderConfig, LlmConfig, MemoryConfig, VectorStoreConfig

    config = MemoryConfig(history_db_path=":memory:")
    config.llm = LlmConfig.model_construct(provider=_PLUGIN, config={"model": memory})
    config.embedder = EmbedderConfig.model_construct(provider=_PLUGIN, config={"model": memory})
    config.vector_store = VectorStoreConfig.model_construct(
        provider=_PLUGIN, config=_StoreConfig(memory)
    )
    return library.Memory(config)
