"""AgeMem's long-term tools: what each does, and what bad input gets."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from memory_bench import Bench

from agemem_eval.harness.tools import ToolCall, ToolStatus

S = ToolStatus

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
