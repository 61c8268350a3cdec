"""AgeMem: what each tool does, and that no call can do harm."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agemem_eval.baselines.agemem import AgeMem
from agemem_eval.baselines.embedders import make_embedder
from agemem_eval.baselines.none import NoMemory
from agemem_eval.harness.context import Context
from agemem_eval.harness.errors import DataError, ModelError, UsageError
from agemem_eval.harness.ledger import Ledger, Role, Usage
from agemem_eval.harness.metering import Meter, MeteredEmbedder, MeteredModel
from agemem_eval.harness.tools import ToolCall, ToolResult, ToolStatus
from agemem_eval.harness.trace import Trace
from agemem_eval.harness.types import Completion, EpisodeView, ModelInfo, Request, Scope, Services

S = ToolStatus


class FakeModel:
    """Answers every request with one text, or fails."""

    def __init__(self, answer: str | Exception = "", *, writes: bool = True) -> None:
        self.info = ModelInfo("fake", writes=writes)
        self.answer = answer
        self.requests: list[Request] = []

    async def generate(self, request: Request) -> Completion:
        self.requests.append(request)
        await asyncio.sleep(0)
        if isinstance(self.answer, Exception):
            raise self.answer
        return Completion(self.answer, Usage(100, 10))

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def bind(self, episode: EpisodeView) -> FakeModel:
        return self

    async def close(self) -> None:
        pass


class CountingEmbedder:
    """The hashing embedder, and what it was asked to read."""

    def __init__(self) -> None:
        inner = make_embedder("hashing")
        self.name, self.identity, self.dim = inner.name, inner.identity, inner.dim
        self.theta_f, self.count_tokens = inner.theta_f, inner.count_tokens
        self.inner = inner
        self.read: list[str] = []

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        self.read += texts
        return self.inner.embed(texts)


class Bench:
    """A memory with everything around it, for one scope."""

    def __init__(
        self,
        model: FakeModel | None = None,
        directory: Path | None = None,
        seed: int = 0,
        **options: str,
    ) -> None:
        self.model = model or FakeModel(writes=False)
        self.trace, self.ledger = Trace(), Ledger()
        meter = Meter(self.ledger, self.trace)
        self.embedder = CountingEmbedder()
        self.services = Services(
            MeteredModel(self.model, meter, Role.AGENT),
            MeteredEmbedder(self.embedder, meter),
            directory,
            seed,
        )
        self.memory = AgeMem(self.services, **options)
        self.context = Context(4096, self.model.count_tokens, self.trace)

    async def begin(self, scope: str = "episode-1") -> Bench:
        await self.memory.begin(Scope(scope, "a goal", self.trace))
        return self

    async def call(self, tool: str, **arguments: Any) -> ToolResult:
        return await self.memory.call(ToolCall(tool, arguments, "c1"), self.context)

    async def add(self, content: str, **more: Any) -> str:
        result = await self.call("Add_memory", content=content, **more)
        assert result.status is S.SUCCESS, result.content
        return str(result.data["ids"][0])

    def contents(self) -> list[str]:
        return [entry["content"] for entry in self.memory.entries()]

    def talk(self) -> None:
        """A context as the agent loop keeps it, with pinned head and tail."""
        c = self.context
        c.add("system", "system", "You are an agent in a house.", pinned=True)
        c.add("user", "goal", "Your task: put a clean mug on the desk.", pinned=True)
        c.add("assistant", "assistant", "<think>hm</think><answer>go to cabinet 1</answer>")
        c.add("user", "observation", "The cabinet 1 is closed.")
        c.add("assistant", "assistant", "<answer>open cabinet 1</answer>")
        c.add("user", "observation", "You open the cabinet 1. In it, you see a mug 2.")
        c.add("assistant", "assistant", "<answer>dance</answer>")
        c.add("user", "observation", "Nothing happens.")
        c.add("assistant", "assistant", "Now I tidy my context.", pinned=True)
        c.add("user", "observation", "You are facing the sink 1.", pinned=True)


@pytest.fixture
async def bench() -> Bench:
    return await Bench().begin()


# --- long-term memory ---------------------------------------------------------------------------


async def test_add_then_retrieve_brings_the_entry_with_its_id(bench: Bench) -> None:
    id_ = await bench.add("The mug is in cabinet 3.", metadata={"tags": ["mug"]})
    await bench.add("The desk holds a lamp.")
    result = await bench.call("Retrieve_memory", query="where is the mug", top_k=1)
    assert result.status is S.SUCCESS
    assert id_ in result.content
    assert "The mug is in cabinet 3." in result.content
    assert '"tags": ["mug"]' in result.content
    assert "lamp" not in result.content
    assert result.data["ids"] == [id_]
    assert 0 < result.data["scores"][0] <= 1
    assert result.call_id == "c1"


async def test_update_keeps_the_id_merges_metadata_and_finds_the_new_text(bench: Bench) -> None:
    id_ = await bench.add("The mug is in cabinet 3.", metadata={"room": "kitchen", "n": 1})
    bench.trace.step = 5
    result = await bench.call(
        "Update_memory", memory_id=id_, content="The mug is on the desk.", metadata={"n": 2}
    )
    assert result.ok
    [entry] = bench.memory.entries()
    assert entry["id"] == id_
    assert entry["content"] == "The mug is on the desk."
    assert entry["metadata"]["room"] == "kitchen"
    assert entry["metadata"]["n"] == 2
    assert (entry["created"], entry["updated"]) == ("step 0, turn 0", "step 5, turn 0")
    found = await bench.call("Retrieve_memory", query="The mug is on the desk.")
    assert found.data["scores"] == [1.0]


async def test_update_to_the_same_content_is_no_change(bench: Bench) -> None:
    id_ = await bench.add("a fact")
    before = bench.memory.entries()
    result = await bench.call("Update_memory", memory_id=id_, content=" a fact ")
    assert result.ok
    assert result.data["changed"] is False
    assert bench.memory.entries() == before
    assert [e["changed"] for e in bench.trace.of("memory")] == [True, False]


async def test_delete_needs_confirmation(bench: Bench) -> None:
    id_ = await bench.add("a fact")
    refused = await bench.call("Delete_memory", memory_id=id_, confirmation=False)
    assert refused.status is S.CANCELLED
    assert bench.contents() == ["a fact"]
    done = await bench.call("Delete_memory", memory_id=id_, confirmation=True)
    assert done.ok
    assert bench.contents() == []
    again = await bench.call("Delete_memory", memory_id=id_, confirmation=True)
    assert again.status is S.NOT_FOUND


async def test_metadata_filter_is_exact_on_every_key(bench: Bench) -> None:
    await bench.add("one", metadata={"room": "kitchen", "n": 1}, memory_type="place")
    await bench.add("two", metadata={"room": "kitchen", "n": True})
    await bench.add("three", metadata={"room": "bath"})

    async def found(**wanted: Any) -> set[str]:
        result = await bench.call("Retrieve_memory", query="x", metadata_filter=wanted)
        entries = {e["id"]: e["content"] for e in bench.memory.entries()}
        return {entries[i] for i in result.data["ids"]}

    assert await found(room="kitchen") == {"one", "two"}
    assert await found(room="kitchen", n=1) == {"one"}
    assert await found(memory_type="place") == {"one"}
    assert await found(room="Kitchen") == set()
    assert await found(absent=None) == set()


async def test_metadata_carry_defaults_that_the_agent_may_overrule(bench: Bench) -> None:
    bench.trace.step, bench.trace.turn = 3, 7
    await bench.add("plain")
    await bench.add("own", metadata={"source": "note", "timestamp": "noon"}, memory_type="plan")
    plain, own = (entry["metadata"] for entry in bench.memory.entries())
    assert plain == {
        "memory_type": "general",
        "source": "agent",
        "tags": [],
        "timestamp": "step 3, turn 7",
    }
    assert own["source"] == "note"
    assert own["timestamp"] == "noon"
    assert own["memory_type"] == "plan"


async def test_default_top_k_is_the_option(bench: Bench) -> None:
    other = await Bench(top_k="2").begin()
    for some in (bench, other):
        for i in range(5):
            await some.add(f"fact number {i}")
    assert len((await bench.call("Retrieve_memory", query="fact")).data["ids"]) == 3
    assert len((await other.call("Retrieve_memory", query="fact")).data["ids"]) == 2
    assert len((await other.call("Retrieve_memory", query="fact", top_k=5)).data["ids"]) == 5
    schema = next(t for t in other.memory.tools if t.name == "Retrieve_memory").schema()
    assert schema["function"]["parameters"]["properties"]["top_k"]["default"] == 2


# --- bad input ----------------------------------------------------------------------------------

BAD = [
    ("Add_memory", {}),
    ("Add_memory", {"content": ""}),
    ("Add_memory", {"content": " \n\t"}),
    ("Add_memory", {"content": 5}),
    ("Add_memory", {"content": None}),
    ("Add_memory", {"content": ["x"]}),
    ("Add_memory", {"content": "x", "metadata": "room"}),
    ("Add_memory", {"content": "x", "metadata": ["a"]}),
    ("Add_memory", {"content": "x", "metadata": {"n": float("nan")}}),
    ("Add_memory", {"content": "x", "memory_type": 3}),
    ("Add_memory", {"content": "x", "importance": 3}),
    ("Update_memory", {"content": "y"}),
    ("Update_memory", {"memory_id": "ID"}),
    ("Update_memory", {"memory_id": "ID", "content": ""}),
    ("Update_memory", {"memory_id": 7, "content": "y"}),
    ("Delete_memory", {"memory_id": "ID"}),
    ("Delete_memory", {"memory_id": "ID", "confirmation": "true"}),
    ("Delete_memory", {"memory_id": "ID", "confirmation": 1}),
    ("Delete_memory", {"confirmation": True}),
    ("Retrieve_memory", {}),
    ("Retrieve_memory", {"query": ""}),
    ("Retrieve_memory", {"query": "x", "top_k": 0}),
    ("Retrieve_memory", {"query": "x", "top_k": 21}),
    ("Retrieve_memory", {"query": "x", "top_k": "3"}),
    ("Retrieve_memory", {"query": "x", "top_k": 2.5}),
    ("Retrieve_memory", {"query": "x", "top_k": True}),
    ("Retrieve_memory", {"query": "x", "metadata_filter": "all"}),
    ("Summary_context", {}),
    ("Summary_context", {"span": 0}),
    ("Summary_context", {"span": -2}),
    ("Summary_context", {"span": "-2"}),
    ("Summary_context", {"span": "some"}),
    ("Summary_context", {"span": True}),
    ("Summary_context", {"span": 1.5}),
    ("Summary_context", {"span": None}),
    ("Summary_context", {"span": "9" * 5000}),
    ("Filter_context", {}),
    ("Filter_context", {"criteria": ""}),
    ("Filter_context", {"criteria": {"about": "x"}}),
]


@pytest.mark.parametrize(("tool", "arguments"), BAD)
async def test_bad_arguments_are_a_validation_error_and_change_nothing(
    bench: Bench, tool: str, arguments: dict[str, Any]
) -> None:
    id_ = await bench.add("kept")
    bench.talk()
    before = bench.memory.entries(), bench.context.messages, len(bench.trace.events)
    arguments = {k: id_ if v == "ID" else v for k, v in arguments.items()}
    result = await bench.call(tool, **arguments)
    assert result.status is S.VALIDATION_ERROR
    assert tool in result.content
    assert len(result.content) < 500
    assert (bench.memory.entries(), bench.context.messages, len(bench.trace.events)) == before


@pytest.mark.parametrize("arguments", [None, [], "x", 3, [{"content": "x"}]])
async def test_arguments_that_are_no_object(bench: Bench, arguments: Any) -> None:
    result = await bench.memory.call(ToolCall("Add_memory", arguments), bench.context)
    assert result.status is S.VALIDATION_ERROR


@pytest.mark.parametrize("levels", [17, 500, 100_000])
async def test_deep_nesting_is_refused(bench: Bench, levels: int) -> None:
    deep: Any = {}
    for _ in range(levels):
        deep = {"a": deep}
    result = await bench.call("Add_memory", content="x", metadata=deep)
    assert result.status is S.VALIDATION_ERROR
    assert bench.contents() == []


@pytest.mark.parametrize(
    ("name", "hint"),
    [("Add_memori", "Add_memory"), ("retrieve", "Retrieve_memory"), ("zzz", "there are:")],
)
async def test_unknown_tool_names_the_nearest(bench: Bench, name: str, hint: str) -> None:
    result = await bench.call(name, x=1)
    assert result.status is S.UNKNOWN_TOOL
    assert result.name == name
    assert hint in result.content


@pytest.mark.parametrize("name", ["add_memory", "ADD-MEMORY", " Add_memory "])
async def test_spelling_of_names_is_forgiven(bench: Bench, name: str) -> None:
    result = await bench.call(name, content="x")
    assert result.ok
    assert result.name == "Add_memory"


async def test_unknown_ids(bench: Bench) -> None:
    for tool, more in (("Update_memory", {"content": "x"}), ("Delete_memory", {})):
        extra = more or {"confirmation": True}
        result = await bench.call(tool, memory_id="nope", **extra)
        assert result.status is S.NOT_FOUND
        assert "nope" in result.content


async def test_a_failure_inside_is_not_the_agents(bench: Bench) -> None:
    await bench.memory.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed database"):
        await bench.call("Add_memory", content="x")


@pytest.mark.parametrize(
    "content",
    ["x" * 1_000_000, "word " * 200_000, "\ud800 lone", "nul \0 byte", "🦜 e\u0301 \u202e", "中文"],
    ids=["1MB-word", "1MB-text", "surrogate", "nul", "marks", "chinese"],
)
async def test_huge_and_odd_content(tmp_path: Path, content: str) -> None:
    bench = await Bench(directory=tmp_path).begin()
    id_ = await bench.add(content, metadata={"k": content[:10]})
    expected = content.strip().replace("\ud800", "\ufffd")
    assert bench.contents() == [expected]
    found = await bench.call("Retrieve_memory", query=content)
    assert found.data["ids"] == [id_]
    assert found.data["scores"][0] == pytest.approx(1, abs=1e-4)
    snapshot = bench.memory.snapshot()
    await bench.memory.close()
    again = await Bench(directory=tmp_path).begin()
    assert again.contents() == [expected]
    again.memory.restore(snapshot)
    assert again.contents() == [expected]


# --- the context --------------------------------------------------------------------------------


async def test_filter_removes_what_matches_and_nothing_pinned(bench: Bench) -> None:
    bench.talk()
    pinned = [m for m in bench.context.messages if m.pinned]
    result = await bench.call("Clear_context", criteria="nothing happens")
    assert result.name == "Filter_context"
    assert result.data["changed"] is True
    left = [m.content for m in bench.context.messages]
    assert "Nothing happens." not in left
    assert "You open the cabinet 1. In it, you see a mug 2." in left
    assert [m for m in bench.context.messages if m.pinned] == pinned
    assert bench.trace.of("remove")[0]["reason"] == "filter"
    assert bench.trace.of("remove")[0]["ids"] == result.data["removed"]


async def test_filter_at_threshold_zero_still_spares_the_pinned() -> None:
    bench = await Bench(theta_f="0").begin()
    bench.talk()
    bench.context.add("user", "observation", "mug")
    before = bench.context.messages
    for pinned in [m for m in before if m.pinned]:
        await bench.call("Filter_context", criteria=pinned.content)
    assert [m for m in bench.context.messages if m.pinned] == [m for m in before if m.pinned]


async def test_identical_text_is_at_the_threshold_of_one() -> None:
    bench = await Bench(theta_f="1").begin()
    bench.context.add("user", "observation", "You see a mug 2 and a plate 1.")
    bench.context.add("user", "observation", "You see a mug 2 and a plate 2.")
    result = await bench.call("Filter_context", criteria="You see a mug 2 and a plate 1.")
    assert len(result.data["removed"]) == 1


async def test_summary_by_the_model_replaces_at_the_earliest_place() -> None:
    model = FakeModel("<think>short</think>Went to cabinet 1, found mug 2.")
    bench = await Bench(model).begin()
    bench.talk()
    pinned = [m for m in bench.context.messages if m.pinned]
    result = await bench.call("Summary_context", span="all")
    assert result.data["writer"] == "model"
    kinds = [m.kind for m in bench.context.messages]
    assert kinds == ["system", "goal", "summary", "assistant", "observation"]
    summary = bench.context.messages[2]
    assert summary.content.endswith("\nWent to cabinet 1, found mug 2.")
    assert summary.id == result.data["summary"]
    assert [m for m in bench.context.messages if m.pinned] == pinned
    assert "cabinet 1 is closed" in model.requests[0].messages[1].content
    assert "clean mug" not in model.requests[0].messages[1].content
    assert bench.ledger.roles["memory_write"].calls == 1
    assert bench.trace.of("memory")[0]["op"] == "summary"


@pytest.mark.parametrize("span", [2, "2", " 2 "])
async def test_summary_of_the_last_messages(span: Any) -> None:
    bench = await Bench(FakeModel("Danced.")).begin()
    bench.talk()
    result = await bench.call("Summary_context", span=span)
    assert len(result.data["replaced"]) == 2
    texts = [m.content for m in bench.context.messages]
    assert "The cabinet 1 is closed." in texts
    assert "Nothing happens." not in texts


@pytest.mark.parametrize(
    "answer", ["", "<think>never ends", '<tool_call>[{"name": 1}]', "x " * 999]
)
async def test_a_useless_summary_falls_back_to_extraction(answer: str) -> None:
    bench = await Bench(FakeModel(answer)).begin()
    bench.talk()
    result = await bench.call("Summary_context", span="all")
    assert result.data["writer"] == "extractive"
    summary = bench.context.find("summary")
    assert summary is not None
    assert "In it, you see a mug 2." in summary.content
    assert bench.ledger.roles["memory_write"].calls == 1


async def test_a_model_that_cannot_write_is_not_asked(bench: Bench) -> None:
    bench.talk()
    result = await bench.call("Summary_context", span="ALL")
    assert result.data["writer"] == "extractive"
    assert bench.model.requests == []


async def test_a_dead_endpoint_is_not_the_agents_failure() -> None:
    bench = await Bench(FakeModel(ModelError("gone"))).begin()
    bench.talk()
    before = bench.context.messages
    with pytest.raises(ModelError):
        await bench.call("Summary_context", span="all")
    assert bench.context.messages == before


async def test_nothing_to_summarise(bench: Bench) -> None:
    bench.context.add("system", "system", "s", pinned=True)
    result = await bench.call("Summary_context", span="all")
    assert result.ok
    assert result.data == {"replaced": [], "changed": False}


async def test_a_native_call_is_summarised_with_its_results(bench: Bench) -> None:
    call = ToolCall("Retrieve_memory", {"query": "x"}, "call-9")
    bench.context.add("user", "observation", "first")
    bench.context.add("assistant", "assistant", "asking", tool_calls=(call,))
    bench.context.add("tool", "tool_result", "found a spoon", tool_call_id="call-9")
    result = await bench.call("Summary_context", span=1)
    assert len(result.data["replaced"]) == 2
    assert [m.kind for m in bench.context.messages] == ["observation", "summary"]


# --- scopes, snapshots, persistence --------------------------------------------------------------


async def test_scopes_are_apart_and_a_known_scope_keeps_its_entries(bench: Bench) -> None:
    await bench.add("of one")
    await bench.begin("episode-2")
    assert bench.contents() == []
    found = await bench.call("Retrieve_memory", query="of one")
    assert found.data["ids"] == []
    await bench.add("of two")
    await bench.begin("episode-1")
    assert bench.contents() == ["of one"]


async def test_a_directory_persists_over_processes(tmp_path: Path) -> None:
    first = await Bench(directory=tmp_path).begin("stream")
    id_ = await first.add("kept")
    await first.memory.close()
    second = await Bench(directory=tmp_path).begin("stream")
    assert [e["id"] for e in second.memory.entries()] == [id_]
    assert await second.add("kept") != id_


async def test_snapshot_round_trip_and_continued_ids(bench: Bench) -> None:
    first = await bench.add("one", metadata={"deep": [{"a": None}]})
    await bench.add("two")
    await bench.call("Delete_memory", memory_id=first, confirmation=True)
    snapshot, before = bench.memory.snapshot(), bench.memory.entries()
    after_a = await bench.add("three")
    bench.memory.restore(snapshot)
    assert bench.memory.entries() == before
    assert await bench.add("three") == after_a
    bench.memory.restore(b"")
    assert bench.memory.entries() == []
    with pytest.raises(DataError):
        bench.memory.restore(b"garbage")


async def test_same_seed_same_ids_another_seed_others() -> None:
    benches = [await Bench(seed=seed).begin() for seed in (1, 1, 2)]
    ids = [[await bench.add(f"fact {i}") for i in range(3)] for bench in benches]
    assert ids[0] == ids[1]
    assert not set(ids[0]) & set(ids[2])


async def test_sixteen_scopes_at_once(tmp_path: Path) -> None:
    async def one(i: int) -> list[str]:
        bench = await Bench(FakeModel("Noted."), tmp_path).begin(f"scope-{i}")
        for k in range(10):
            await bench.add(f"fact {k} of scope {i}")
            await asyncio.sleep(0)
            bench.talk()
            assert (await bench.call("Summary_context", span="all")).ok
        contents = bench.contents()
        found = await bench.call("Retrieve_memory", query="fact of scope", top_k=20)
        assert len(found.data["ids"]) == 10
        await bench.memory.close()
        return contents

    results = await asyncio.gather(*(one(i) for i in range(16)))
    for i, contents in enumerate(results):
        assert contents == [f"fact {k} of scope {i}" for k in range(10)]


# --- books and identity --------------------------------------------------------------------------


async def test_every_embedding_is_booked_once(bench: Bench) -> None:
    await bench.add("the mug is here")
    await bench.call("Retrieve_memory", query="the mug is here")
    bench.talk()
    await bench.call("Filter_context", criteria="a mug")
    await bench.call("Filter_context", criteria="a mug")
    read = bench.embedder.read
    assert len(read) == len(set(read))
    booked = bench.ledger.roles["embedding"].prompt_tokens
    assert booked == sum(map(bench.embedder.count_tokens, read))
    await bench.begin("another")
    await bench.add("the mug is here")
    assert bench.embedder.read.count("the mug is here") == 2


async def test_memory_events_tell_what_changed(bench: Bench) -> None:
    id_ = await bench.add("a fact")
    await bench.call("Retrieve_memory", query="fact")
    await bench.call("Update_memory", memory_id=id_, content="another")
    await bench.call("Delete_memory", memory_id=id_, confirmation=True)
    events = bench.trace.of("memory")
    assert [(e["op"], e["ids"], e["changed"]) for e in events] == [
        ("add", [id_], True),
        ("retrieve", [id_], False),
        ("update", [id_], True),
        ("delete", [id_], True),
    ]
    assert events[1]["query"] == "fact"
    assert events[2]["content"] == "another"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_k": "0"}, "a whole number from 1 to 20, not '0'"),
        ({"top_k": "three"}, "not 'three'"),
        ({"theta_f": "1.5"}, "a number from 0 to 1"),
        ({"theta_f": "nan"}, "not 'nan'"),
        ({"st_tools": "yes"}, "true or false"),
        ({"st_tools": "false", "lt_tools": "false"}, "--memory none"),
    ],
)
def test_bad_options(options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=r"^[^\n]*$") as caught:
        Bench(**options)
    assert message in str(caught.value)


def test_options_are_identity_and_choose_the_tools() -> None:
    full, long_only = Bench(), Bench(st_tools="false", theta_f="0.5")
    assert [t.name for t in full.memory.tools] == [
        "Add_memory",
        "Update_memory",
        "Delete_memory",
        "Retrieve_memory",
        "Summary_context",
        "Filter_context",
    ]
    assert len(long_only.memory.tools) == 3
    assert "summarise" not in long_only.memory.instructions
    assert full.memory.identity != long_only.memory.identity
    assert full.memory.identity["options"]["theta_f"] == full.embedder.theta_f
    assert full.memory.identity["embedder"] == full.embedder.identity


def test_schemas_show_the_agent_nothing_that_was_written_for_programmers() -> None:
    for tool in Bench().memory.tools:
        schema = tool.schema()["function"]
        assert schema["parameters"].keys() == {
            "type",
            "properties",
            "required",
            "additionalProperties",
        }
        assert all(p["description"] for p in schema["parameters"]["properties"].values())


async def test_a_tool_switched_off_is_unknown() -> None:
    bench = await Bench(st_tools="false").begin()
    assert (await bench.call("Retrieve_memory", query="x")).status is S.UNKNOWN_TOOL


def test_results_are_named_by_what_the_model_is() -> None:
    assert AgeMem.label(ModelInfo("m")) == "agemem-norl"
    assert AgeMem.label(ModelInfo("m", training="agemem")) == "agemem"


async def test_no_memory_offers_and_keeps_nothing(bench: Bench) -> None:
    none = NoMemory(bench.services)
    await none.begin(Scope("s", "g", bench.trace))
    result = await none.call(ToolCall("Add_memory", {"content": "x"}), bench.context)
    assert result.status is S.UNKNOWN_TOOL
    assert (none.tools, none.entries(), none.snapshot(), none.instructions) == ((), [], b"", "")
    with pytest.raises(UsageError):
        NoMemory(bench.services, top_k="3")


# --- anything at all ----------------------------------------------------------------------------

_texts = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=30),
    st.sampled_from(["mug", "all", "2", "Nothing happens.", "You are facing the sink 1.", "ID"]),
)
_json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), _texts),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=6,
)
_names = (
    "content metadata memory_type memory_id confirmation query top_k metadata_filter span criteria "
    "other"
)
_tools = (
    "Add_memory Update_memory Delete_memory Retrieve_memory Summary_context Filter_context "
    "Clear_context Nothing"
)
_any_call = st.tuples(
    st.sampled_from(_tools.split()),
    st.dictionaries(st.sampled_from(_names.split()), _json | _texts, max_size=4),
)


def _call(tool: str, **arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.tuples(st.just(tool), st.fixed_dictionaries(arguments))


_ids = st.sampled_from(["ID", "no such id"])
_labels = st.dictionaries(st.sampled_from(["a", "b"]), _json, max_size=2)
_calls = st.one_of(
    _any_call,
    _call("Add_memory", content=_texts, metadata=_labels),
    _call("Update_memory", memory_id=_ids, content=_texts, metadata=_labels),
    _call("Delete_memory", memory_id=_ids, confirmation=st.booleans()),
    _call("Retrieve_memory", query=_texts, metadata_filter=_labels),
    _call("Summary_context", span=st.sampled_from(["all", 1, "2", 99])),
    _call("Filter_context", criteria=_texts),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(_calls, max_size=12))
async def test_no_call_raises_harms_the_pinned_or_changes_on_failure(
    calls: list[tuple[str, dict[str, Any]]],
) -> None:
    bench = await Bench().begin()
    bench.talk()
    id_ = await bench.add("The mug is in cabinet 3.")
    pinned = [m for m in bench.context.messages if m.pinned]
    for tool, arguments in calls:
        if arguments.get("memory_id") == "ID":
            arguments = {**arguments, "memory_id": id_}
        before = bench.memory.entries(), bench.context.messages
        result = await bench.call(tool, **arguments)
        assert result.status is not S.ERROR, result.content
        assert result.content
        assert (result.status is S.UNKNOWN_TOOL) == (tool == "Nothing")
        if not result.ok:
            assert (bench.memory.entries(), bench.context.messages) == before
        assert [m for m in bench.context.messages if m.pinned] == pinned
    snapshot, entries = bench.memory.snapshot(), bench.memory.entries()
    bench.memory.restore(snapshot)
    assert bench.memory.entries() == entries
    await bench.memory.close()
