"""`mem0-lib`: the library mem0ai behind the metered model, embedder and store."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from library_bench import GARBLED, Clerk, Life, WorkModel, conversation

from agemem_eval.baselines.mem0_lib import Mem0Library, ScopedVectors
from agemem_eval.harness.context import Context
from agemem_eval.harness.errors import ModelError
from agemem_eval.harness.ledger import Role
from agemem_eval.harness.models import ModelBase, estimate_usage
from agemem_eval.harness.models.openai import OpenAIModel
from agemem_eval.harness.testserver import ChatServer, Schedule, first, no_faults
from agemem_eval.harness.types import Completion, Model, Request
from agemem_eval.testing import MemoryConformance

pytestmark = pytest.mark.libraries
LANTERN = "The lantern of Zorla is amber."


class TestMem0Library(MemoryConformance):
    target = "agemem_eval.baselines.mem0_lib:Mem0Library"


class TestMem0LibraryWithAModelThatKeepsWhatItReads(MemoryConformance):
    target = "agemem_eval.baselines.mem0_lib:Mem0Library"

    def model(self) -> Model:
        return WorkModel()


@asynccontextmanager
async def served(clerk: Clerk, faults: Schedule = no_faults) -> AsyncIterator[Any]:
    async with ChatServer(clerk, faults=faults) as server:
        model = OpenAIModel("m", base_url=server.url, max_retries=0)
        life = await Life(Mem0Library, model).begin()
        try:
            yield life, server
        finally:
            await life.memory.close()
            await model.close()


# --- what it costs --------------------------------------------------------------------------


async def test_the_ledger_holds_what_the_server_gave_out_to_the_token() -> None:
    async with served(Clerk()) as (life, server):
        for pair in conversation(7, 12):
            await life.tell(*pair)
        writes = life.meter.ledger.roles[Role.MEMORY_WRITE]
        assert writes.calls == server.served.calls > 12
        assert writes.prompt_tokens == server.served.prompt_tokens
        assert writes.completion_tokens == server.served.completion_tokens
        assert writes.estimated_calls == 0


async def test_a_search_asks_no_model_and_embeds_the_query_once() -> None:
    life = await Life(Mem0Library, WorkModel()).begin()
    await life.tell(LANTERN)
    calls, before = life.calls, life.meter.ledger.roles[Role.EMBEDDING].calls
    found = await life.memory.retrieve("the lantern", 3)
    assert [entry.content for entry, _ in found] == [LANTERN]
    assert life.calls == calls
    assert life.meter.ledger.roles[Role.EMBEDDING].calls == before + 1
    await life.memory.close()


async def test_entries_are_shown_before_a_step() -> None:
    life = await Life(Mem0Library, WorkModel()).begin()
    await life.tell(LANTERN)
    context = Context(8192, lambda text: len(text.split()), life.meter.trace)
    context.add("user", "observation", "Which lantern?", pinned=True)
    await life.memory.before_turn(context)
    shown = context.find("memory")
    assert shown is not None
    assert LANTERN in shown.content
    await life.memory.close()


# --- what goes wrong ------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", [("500",), (None, "500"), (None, "not_json")])
async def test_an_endpoint_that_fails_ends_the_add_as_a_model_error(schedule: Any) -> None:
    async with served(Clerk(), first(*schedule)) as (life, _):
        with pytest.raises(ModelError):
            await life.tell(LANTERN)
        assert not life.texts()
        assert not life.faults  # not the model's: the episode is owed again
        assert await life.tell(LANTERN) == 2
        assert life.texts() == [LANTERN]


async def test_an_embedder_that_fails_is_raised_as_it_is() -> None:
    life = await Life(Mem0Library, WorkModel()).begin()
    await life.tell(LANTERN)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(life.embedder), "read", _refuse)
        with pytest.raises(OSError, match="the disk is full"):
            await life.tell("The cellar of Zbren is hollow.")
        with pytest.raises(OSError, match="the disk is full"):
            await life.memory.retrieve("cellar", 3)
    await life.memory.close()


def _refuse(*_: Any) -> Any:
    raise OSError("the disk is full")


class Stuck(ModelBase):
    """A model that answers only the first request."""

    info = WorkModel.info

    def __init__(self) -> None:
        self.inner = WorkModel()
        self.asked = asyncio.Event()

    async def generate(self, request: Request) -> Completion:
        if request.work is not None and request.work["do"] == "decide":
            self.asked.set()
            await asyncio.Event().wait()
        return await self.inner.generate(request)


async def test_a_cancelled_add_is_over_and_leaves_no_thread_waiting() -> None:
    model = Stuck()
    life = await Life(Mem0Library, model).begin()
    task = asyncio.create_task(life.tell(LANTERN))
    await asyncio.wait_for(model.asked.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 10)
    assert not life.texts()
    assert await life.memory.retrieve("lantern", 3) == []
    await life.tell("")  # the thread is free
    await life.memory.close()
    await life.memory.close()


async def test_a_model_that_writes_prose_is_counted_and_stores_nothing() -> None:
    async with served(Clerk()) as (life, _):
        await life.tell(f"{GARBLED} {LANTERN}")
        await life.tell(LANTERN)
        assert life.faults == ["extract_facts"]
        assert life.texts() == [LANTERN]


class Junk(ModelBase):
    """Answers with JSON of the right outline and anything at all within it."""

    info = WorkModel.info
    scraps = (None, 5, True, [], {}, "", " ", "x", "\ud800", {"fact": 5}, {"text": "t"}, "0", 0)

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    async def generate(self, request: Request) -> Completion:
        rng, scrap = self.rng, lambda: self.rng.choice(self.scraps)
        assert request.work is not None
        if request.work["do"] == "extract_facts":
            answer: Any = {"facts": scrap() if rng.random() < 0.2 else [scrap(), "a fact"]}
        else:
            events = ("ADD", "UPDATE", "DELETE", "NONE", scrap())
            items = [
                {
                    "event": rng.choice(events),
                    "id": rng.choice(("0", scrap())),
                    "text": rng.choice(("a text", scrap())),
                }
                for _ in range(4)
            ]
            answer = {"memory": rng.choice((items, items, [*items, scrap()], scrap()))}
        text = json.dumps(answer)
        return Completion(text, estimate_usage(request, text))


async def test_whatever_the_model_answers_the_memory_stays_sound() -> None:
    faults = 0
    for seed in range(12):
        life = await Life(Mem0Library, Junk(seed)).begin()
        for n in range(8):
            await life.tell(f"Page {n}.")
        entries = life.memory.entries()
        assert all(entry["content"].strip() for entry in entries)
        life.memory.restore(life.memory.snapshot())
        assert life.memory.entries() == entries
        faults += len(life.faults)
        await life.memory.close()
    assert faults > 12


# --- many at once ---------------------------------------------------------------------------


async def test_sixteen_instances_at_once_are_as_one_after_the_other() -> None:
    async def one(seed: int) -> list[str]:
        async with served(Clerk()) as (life, _):
            for pair in conversation(seed, 8):
                await life.tell(*pair)
            return list(life.texts())

    together = await asyncio.gather(*(one(seed) for seed in range(16)))
    assert together == [await one(seed) for seed in range(16)]


# --- what it says to the model --------------------------------------------------------------


async def test_prompts_are_the_same_on_any_day_and_say_in_rules_what_they_ask() -> None:
    model = WorkModel()
    life = await Life(Mem0Library, model).begin()
    await life.tell(LANTERN, "look")
    await life.tell("The cellar of Zbren is hollow.", None)
    prompts = ["\n".join(m.content for m in r.messages) for r in model.requests]
    assert not any(re.search(r"\d{4}-\d\d-\d\d", prompt) for prompt in prompts)
    assert "It is step 0, turn 0." in prompts[0]
    assert "It is step 1, turn 0." in prompts[2]
    said = [
        {"role": "user", "content": LANTERN},
        {"role": "assistant", "content": "look"},
    ]
    extract = {"do": "extract_facts", "messages": said, "date": "step 0, turn 0"}
    assert model.requests[0].work == {**extract, "recent": [], "summary": ""}
    assert model.requests[1].work == {"do": "decide", "facts": [LANTERN], "memories": []}
    assert model.requests[3].work == {
        "do": "decide",
        "facts": ["The cellar of Zbren is hollow."],
        "memories": [{"id": "0", "text": LANTERN}],
    }
    assert {request.role for request in model.requests} == {Role.MEMORY_WRITE}
    await life.memory.close()


async def test_what_rules_are_told_to_decide_on_is_what_the_prompt_shows() -> None:
    clerk, seen = Clerk(), []

    class Both(ModelBase):
        info = WorkModel.info

        async def generate(self, request: Request) -> Completion:
            messages = [{"role": m.role, "content": m.content} for m in request.messages]
            text = clerk({"messages": messages})
            if request.work is not None and request.work["do"] == "decide":
                shown = [(m["id"], m["text"]) for m in request.work["memories"]]
                seen.append((request.work["facts"], shown))
            return Completion(text, estimate_usage(request, text))

    life = await Life(Mem0Library, Both()).begin()
    for pair in conversation(3, 20):
        await life.tell(*pair)
    assert seen == clerk.decisions
    assert any(len(shown) > 5 for _, shown in seen)
    await life.memory.close()


# --- the library's own store as a witness ---------------------------------------------------


async def test_our_store_gives_the_library_what_its_own_would() -> None:
    results = []
    for own in (True, False):
        clerk = Clerk()
        async with served(clerk) as (life, _):
            if own:
                _use_qdrant(life.memory, life.embedder.dim)
            for pair in conversation(11, 25):
                await life.tell(*pair)
            kept = life.memory._mem0.get_all(user_id="agent")["results"] if own else None
            texts = [item["memory"] for item in kept] if kept is not None else life.texts()
            results.append((sorted(texts), clerk.decisions))
    assert results[0] == results[1]
    assert len(results[0][0]) > 5


def _use_qdrant(memory: Mem0Library, dim: int) -> None:
    """Put the library's default store in place of ours."""
    from mem0.vector_stores.qdrant import Qdrant
    from qdrant_client import QdrantClient

    assert isinstance(memory._mem0.vector_store, ScopedVectors)
    with pytest.warns(UserWarning, match="Payload indexes"):
        memory._mem0.vector_store = Qdrant("mem0", dim, client=QdrantClient(":memory:"))
    memory._mem0.get_all = lambda user_id: {
        "results": [
            {"memory": item.payload["data"]}
            for item in memory._mem0.vector_store.list({"user_id": user_id}, limit=1000)[0]
        ]
    }


# --- what it leaves behind ------------------------------------------------------------------


async def test_it_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: Any) -> None:
        raise AssertionError("it connects to somewhere")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    life = await Life(Mem0Library, WorkModel()).begin()
    await life.tell(LANTERN)
    assert await life.memory.retrieve("lantern", 1)
    await life.memory.close()


def test_a_library_that_was_imported_with_telemetry_on_is_refused(tmp_path: Path) -> None:
    program = (
        "import mem0\n"
        "from agemem_eval.baselines.mem0_lib import Mem0Library\n"
        "try:\n"
        "    Mem0Library(None)\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MEM0")}
    environment |= {"MEM0_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.startswith("UsageError mem0 was imported with its telemetry on")


def test_it_leaves_no_file_in_the_home_and_no_telemetry_thread(tmp_path: Path) -> None:
    program = (
        "import asyncio, json, os, sys, threading\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from library_bench import Life, WorkModel\n"
        "from agemem_eval.baselines.mem0_lib import Mem0Library\n"
        "async def main():\n"
        "    life = await Life(Mem0Library, WorkModel()).begin()\n"
        "    await life.tell('The lantern of Zorla is amber.')\n"
        "    await life.memory.close()\n"
        "asyncio.run(main())\n"
        "from mem0.memory import telemetry\n"
        "print(json.dumps([telemetry.MEM0_TELEMETRY, [t.name for t in threading.enumerate()],\n"
        "    os.environ.get('MEM0_DIR'), os.environ.get('MEM0_TELEMETRY')]))\n"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MEM0")}
    environment |= {"HOME": str(tmp_path), "TMPDIR": str(tmp_path / "tmp")}
    (tmp_path / "tmp").mkdir()
    support = str(Path(__file__).resolve().parent.parent / "support")
    done = subprocess.run(
        [sys.executable, "-c", program, support],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    telemetry, threads, folder, setting = json.loads(done.stdout)
    assert telemetry is False
    assert not [name for name in threads if "osthog" in name or "Consumer" in name]
    assert folder is None
    assert setting is None
    assert [path.name for path in tmp_path.rglob("*")] == ["tmp"]
