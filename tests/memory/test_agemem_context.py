"""AgeMem on the context, its scopes and its snapshots."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from memory_bench import Bench, FakeModel

from agemem_eval.harness.errors import DataError, ModelError
from agemem_eval.harness.tools import ToolCall, ToolStatus

S = ToolStatus

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
