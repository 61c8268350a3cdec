"""`langmem-lib`: the library langmem behind the metered model, embedder and store."""

from __future__ import annotations

import asyncio
import json
import random
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from langmem_clerk import ManageClerk
from library_bench import Life, WorkModel, conversation

from agemem_eval.baselines.langmem import LangMem
from agemem_eval.baselines.langmem_lib import LangMemLibrary
from agemem_eval.harness.context import Context
from agemem_eval.harness.errors import ModelError
from agemem_eval.harness.ledger import Role, Usage
from agemem_eval.harness.models import ModelBase, estimate_usage
from agemem_eval.harness.models.openai import OpenAIModel
from agemem_eval.harness.testserver import ChatServer, Schedule, first, no_faults
from agemem_eval.harness.tools import ToolCall
from agemem_eval.harness.types import Completion, Model, Request
from agemem_eval.testing import MemoryConformance

pytestmark = pytest.mark.libraries
LANTERN = "The lantern of Zorla is amber."
TARGET = "agemem_eval.baselines.langmem_lib:LangMemLibrary"


class TestLangMemLibrary(MemoryConformance):
    target = TARGET


class TestLangMemLibraryWithAModelThatKeepsWhatItReads(MemoryConformance):
    target = TARGET
    options = {"schemas": "typed", "deletes": "true", "window": "3"}

    def model(self) -> Model:
        return WorkModel()


@asynccontextmanager
async def served(
    clerk: Callable[[Any], Any],
    faults: Schedule = no_faults,
    make: Any = LangMemLibrary,
    **options: str,
) -> AsyncIterator[tuple[Any, ChatServer]]:
    async with ChatServer(clerk, faults=faults) as server:
        model = OpenAIModel("m", base_url=server.url, max_retries=0)
        life = await Life(make, model, **options).begin()
        try:
            yield life, server
        finally:
            await life.memory.close()
            await model.close()


# --- what it does ---------------------------------------------------------------------------


async def test_the_manager_inserts_patches_and_removes_and_the_ledger_closes() -> None:
    async with served(ManageClerk(), deletes="true", query_limit="20") as (life, server):
        for pair in conversation(5, 25):
            assert await life.tell(*pair) == 1
        ops = {event["op"] for event in life.meter.trace.of("memory")}
        assert ops == {"add", "update", "delete"}
        assert not life.faults
        writes = life.meter.ledger.roles[Role.MEMORY_WRITE]
        assert writes.calls == server.served.calls == 25
        assert writes.prompt_tokens == server.served.prompt_tokens
        assert writes.completion_tokens == server.served.completion_tokens
        assert Role.MEMORY_READ not in life.meter.ledger.roles


async def test_requests_are_the_same_on_every_run() -> None:
    prompts = []
    for _ in range(2):
        clerk = ManageClerk()
        async with served(clerk) as (life, _):
            for pair in conversation(9, 6):
                await life.tell(*pair)
        prompts.append(clerk.prompts)
    assert prompts[0] == prompts[1]
    assert any("<instance" in prompt for prompt in prompts[0])


async def test_our_store_gives_the_library_what_its_own_would() -> None:
    results = []
    for own in (True, False):
        clerk = ManageClerk()
        async with served(clerk, deletes="true") as (life, _):
            store = _use_langgraph(life) if own else None
            for pair in conversation(11, 25):
                await life.tell(*pair)
            if store is None:
                texts = life.texts()
            else:
                items = await store.asearch(("memories",), limit=1000)
                texts = [item.value["content"]["content"] for item in items]
            results.append((sorted(texts), clerk.shown))
    assert results[0] == results[1]
    assert len(results[0][0]) > 5


def _use_langgraph(life: Any) -> Any:
    """Put the library's usual store in place of ours."""
    from langgraph.store.memory import InMemoryStore

    def embed(texts: list[str]) -> list[list[float]]:
        return [[float(x) for x in vector] for vector in life.embedder.embed(list(texts))]

    index = {"dims": life.embedder.dim, "embed": embed, "fields": ["content.content"]}
    store = InMemoryStore(index=index)
    life.memory._manager._store = store
    return store


@pytest.mark.parametrize("seed", range(3))
async def test_library_and_reimplementation_keep_the_same_where_both_see_everything(
    seed: int,
) -> None:
    # With at most five memories both show all of them, however they look for them.
    pairs = [
        pair
        for pair in conversation(seed, 200)
        if len(pair[0]) < 45 and re.search(r"(lantern|cellar) of (Zorla|Zbren) ", pair[0])
    ]
    pairs = [(said, "go on") for said, _ in pairs][:15]
    results = []
    for make in (LangMemLibrary, LangMem):
        async with served(ManageClerk(), make=make, window="1", deletes="true") as (life, _):
            calls = [await life.tell(*pair) for pair in pairs]
            results.append((sorted(life.texts()), calls, life.faults))
    assert results[0] == results[1]
    assert len(pairs) > 5
    assert results[0][1] == [1] * len(pairs)


async def test_a_search_asks_no_model_and_embeds_the_query_once() -> None:
    life = await Life(LangMemLibrary, WorkModel()).begin()
    await life.tell(LANTERN)
    calls, before = life.calls, life.meter.ledger.roles[Role.EMBEDDING].calls
    context = Context(8192, lambda text: len(text.split()), life.meter.trace)
    context.add("user", "observation", "Which lantern?", pinned=True)
    await life.memory.before_turn(context)
    shown = context.find("memory")
    assert shown is not None
    assert LANTERN in shown.content
    assert life.calls == calls
    assert life.meter.ledger.roles[Role.EMBEDDING].calls == before + 1
    await life.memory.close()


# --- models without tool calls --------------------------------------------------------------


class Manager(ModelBase):
    """Answers with the next of some replies; keeps the requests."""

    info = WorkModel.info

    def __init__(self, *replies: Any) -> None:
        self.replies, self.requests = list(replies), []

    async def generate(self, request: Request) -> Completion:
        self.requests.append(request)
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(reply, Exception):
            raise reply
        if isinstance(reply, tuple):
            return Completion("", Usage(10, 1), reply, "tool_calls")
        text = reply if isinstance(reply, str) else json.dumps(reply)
        return Completion(text, estimate_usage(request, text))


async def test_a_reply_in_json_is_carried_out_as_tool_calls() -> None:
    model = Manager(
        {"insert": [{"kind": "episodic", "content": "I fell."}, {"content": LANTERN}]},
        {"patch": [{"id": "0", "content": "I fell twice."}], "remove": ["1"]},
    )
    life = await Life(LangMemLibrary, model, schemas="typed", deletes="true").begin()
    await life.tell("Ouch.", "I fell.")
    entries = life.memory.entries()
    kinds = [(entry["content"], entry["metadata"]) for entry in entries]
    assert kinds == [("I fell.", {"kind": "Episodic"}), (LANTERN, {"kind": "Semantic"})]
    await life.tell("Ouch again.", "I fell.")
    work = model.requests[1].work
    assert work is not None
    assert work["memories"] == [
        {"id": "0", "kind": "episodic", "content": "I fell."},
        {"id": "1", "kind": "semantic", "content": LANTERN},
    ]
    assert work["messages"][0] == {"role": "user", "content": "Ouch again."}
    assert work["deletes"] is True
    assert {"PatchDoc", "RemoveDoc", "Semantic"} <= {t.name for t in model.requests[1].tools}
    assert life.texts() == ["I fell twice."]
    assert life.memory.entries()[0]["id"] == entries[0]["id"]
    assert not life.faults
    await life.memory.close()


# --- what goes wrong ------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["500", "not_json"])
async def test_an_endpoint_that_fails_is_asked_once_and_raised_as_a_model_error(fault: str) -> None:
    async with served(ManageClerk(), first(None, fault)) as (life, server):
        await life.tell(LANTERN)
        with pytest.raises(ModelError):
            await life.tell("The cellar of Zbren is hollow.")
        assert server.n_requests == 2  # the library would go on asking
        assert not life.faults
        await life.tell("The cellar of Zbren is hollow.")
        assert life.texts() == [LANTERN, "The cellar of Zbren is hollow."]


async def test_an_embedder_that_fails_is_raised_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise OSError("the disk is full")

    life = await Life(LangMemLibrary, WorkModel()).begin()
    monkeypatch.setattr(type(life.embedder), "read", refuse)
    with pytest.raises(OSError, match="the disk is full"):
        await life.tell(LANTERN)
    await life.memory.close()


NO_ID = ToolCall("PatchDoc", {"planned_edits": "", "patches": []}, "c1")
WRONG_ID = ToolCall("PatchDoc", {"json_doc_id": "nobody", "planned_edits": "", "patches": []}, "c")
NO_CONTENT = ToolCall("Memory", {"text": 5}, "c1")
NO_TOOL = ToolCall("Frobnicate", {"x": 1}, "c1")
REMOVE = ToolCall("RemoveDoc", {"json_doc_id": "nobody"}, "c1")
BLANK = ToolCall("Memory", {"content": "  "}, "c1")
PATH = {"op": "replace", "path": "/nowhere/1", "value": "x"}


@pytest.mark.parametrize("call", [NO_ID, WRONG_ID, NO_CONTENT, NO_TOOL, REMOVE, BLANK])
@pytest.mark.parametrize("deletes", ["true", "false"])
async def test_a_senseless_tool_call_is_counted_and_changes_nothing(
    call: ToolCall, deletes: str
) -> None:
    start = (ToolCall("Memory", {"content": LANTERN}, "c0"),)
    life = await Life(LangMemLibrary, Manager(start, (call,)), deletes=deletes).begin()
    await life.tell(LANTERN)
    await life.tell("And then?")
    assert life.texts() == [LANTERN]
    assert life.faults
    assert set(life.faults) == {"manage"}
    await life.memory.close()


class Junk(ModelBase):
    """Calls the tools that it is offered, and others, with anything at all."""

    info = WorkModel.info
    scraps = (None, 5, [], {}, "", " ", "x", "\ud800", [PATH], [{}], "nobody")

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    async def generate(self, request: Request) -> Completion:
        rng = self.rng
        shown = re.findall(r"instance id=(\w+)", str(request.messages[0].content))
        names = [tool.name for tool in request.tools]
        calls = []
        for n in range(rng.randrange(4)):
            given = {
                "content": rng.choice((f"A memory {n}.", rng.choice(self.scraps))),
                "json_doc_id": rng.choice((*shown, rng.choice(self.scraps))),
                "patches": rng.choice(self.scraps),
            }
            name = rng.choice((*names, "Memory", "RemoveDoc", "Frobnicate"))
            kept = {key: value for key, value in given.items() if rng.random() < 0.9}
            calls.append(ToolCall(name, kept, rng.choice(("", f"c{n}"))))
        return Completion("", Usage(10, 1), tuple(calls), "tool_calls" if calls else "stop")


@pytest.mark.parametrize("deletes", ["true", "false"])
async def test_whatever_the_model_calls_the_memory_stays_sound(deletes: str) -> None:
    faults = 0
    for seed in range(6):
        life = await Life(LangMemLibrary, Junk(seed), deletes=deletes).begin()
        for n in range(5):
            await life.tell(f"Page {n}.")
        entries = life.memory.entries()
        assert all(entry["content"].strip() for entry in entries)
        life.memory.restore(life.memory.snapshot())
        assert life.memory.entries() == entries
        faults += len(life.faults)
        await life.memory.close()
    assert faults > 6


async def test_a_bad_tool_call_that_the_model_repairs_is_carried_out() -> None:
    bad = (ToolCall("Memory", {"text": LANTERN}, "c1"),)
    edit = {"op": "add", "path": "/content", "value": LANTERN}
    given = {"json_doc_id": "c1", "planned_edits": "give the content", "patches": [edit]}
    model = Manager(bad, (ToolCall("PatchFunctionErrors", given, "c2"),))
    life = await Life(LangMemLibrary, model).begin()
    assert await life.tell(LANTERN) == 2
    assert life.texts() == [LANTERN]
    assert not life.faults
    first_request, repair = model.requests
    assert first_request.work is not None
    assert repair.work is None  # rules make no such mistake
    assert repair.messages[-1].role == "tool"
    await life.memory.close()


async def test_prose_is_no_fault_and_stores_nothing() -> None:
    life = await Life(LangMemLibrary, Manager("Nothing worth remembering.")).begin()
    assert await life.tell(LANTERN) == 1
    assert not life.texts()
    assert not life.faults
    await life.memory.close()


async def test_a_cancelled_exchange_leaves_the_memory_usable() -> None:
    asked = asyncio.Event()

    class Stuck(Manager):
        async def generate(self, request: Request) -> Completion:
            asked.set()
            await asyncio.sleep(60)
            raise AssertionError

    life = await Life(LangMemLibrary, Stuck({})).begin()
    task = asyncio.create_task(life.tell(LANTERN))
    await asyncio.wait_for(asked.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 10)
    assert not life.texts()
    assert await life.memory.retrieve("lantern", 3) == []
    await life.memory.close()


async def test_sixteen_instances_at_once_are_as_one_after_the_other() -> None:
    async def one(seed: int) -> list[str]:
        async with served(ManageClerk()) as (life, _):
            for pair in conversation(seed, 4):
                await life.tell(*pair)
            return list(life.texts())

    together = await asyncio.gather(*(one(seed) for seed in range(16)))
    assert together == [await one(seed) for seed in range(16)]


async def test_it_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: Any) -> None:
        raise AssertionError("it connects to somewhere")

    monkeypatch.setenv("LANGSMITH_TRACING", "true")  # what a user may have set
    monkeypatch.setenv("LANGSMITH_API_KEY", "x")
    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    life = await Life(LangMemLibrary, WorkModel()).begin()
    await life.tell(LANTERN)
    assert await life.memory.retrieve("lantern", 1)
    await life.memory.close()
