"""`langmem-lib` in the hot path: the agent is given the library's own two tools."""

from __future__ import annotations

import json
from typing import Any

import pytest
from library_bench import Life, WorkModel

from agemem_eval.baselines.langmem_lib import LangMemLibrary
from agemem_eval.harness.context import Context
from agemem_eval.harness.errors import UsageError
from agemem_eval.harness.tools import ToolCall, ToolStatus
from agemem_eval.testing import MemoryConformance

pytestmark = pytest.mark.libraries
LANTERN = "The lantern of Zorla is amber."


class TestLangMemLibraryInTheHotPath(MemoryConformance):
    target = "agemem_eval.baselines.langmem_lib:LangMemLibrary"
    options = {"mode": "hot-path"}


async def test_the_agent_keeps_its_memories_with_the_librarys_tools() -> None:
    life = await Life(LangMemLibrary, WorkModel(), mode="hot-path").begin()
    memory, context = life.memory, Context(8192, len, life.meter.trace)

    async def call(name: str, **given: Any) -> Any:
        return await memory.call(ToolCall(name, given), context)

    created = await call("manage_memory", content=LANTERN)
    id_ = memory.entries()[0]["id"]
    assert (created.status, created.content) == (ToolStatus.SUCCESS, f"created memory {id_}")
    assert created.data == {"ids": [id_], "changed": True}
    found = await call("search_memory", query="lantern")
    [item] = json.loads(found.content)
    assert (item["key"], item["value"]) == (id_, {"content": LANTERN})
    assert found.data["ids"] == [id_]
    updated = await call("manage_memory", content="It is gone.", action="update", id=id_)
    assert updated.content == f"updated memory {id_}"
    assert life.texts() == ["It is gone."]
    refused = await call("manage_memory", content="x", action="create", id=id_)
    assert refused.status is ToolStatus.VALIDATION_ERROR
    assert "omitting the id" in refused.content
    assert (await call("manage_memory", action="delete", id="no uuid")).ok is False
    assert (await call("manage_memory", action="delete", id=id_)).ok
    assert not life.texts()
    assert life.calls == 0
    await life.memory.close()


async def test_a_filtered_search_tells_the_trace_what_it_shows() -> None:
    life = await Life(LangMemLibrary, WorkModel(), mode="hot-path").begin()
    memory, context = life.memory, Context(8192, len, life.meter.trace)
    for text in (LANTERN, "The cellar of Zbren is hollow."):
        await memory.call(ToolCall("manage_memory", {"content": text}), context)
    given = {"query": "lantern", "filter": {"content": "The cellar of Zbren is hollow."}}
    found = await memory.call(ToolCall("search_memory", given), context)
    [shown] = json.loads(found.content)
    assert found.data["ids"] == [shown["key"]] == [memory.entries()[1]["id"]]
    event = life.meter.trace.of("memory")[-1]
    assert (event["op"], event["contents"]) == ("retrieve", ["The cellar of Zbren is hollow."])
    await memory.close()


async def test_what_fails_in_a_tool_is_no_answer_to_the_agent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: Any) -> Any:
        raise OSError("the disk is full")

    life = await Life(LangMemLibrary, WorkModel(), mode="hot-path").begin()
    memory, context = life.memory, Context(8192, len, life.meter.trace)
    await memory.call(ToolCall("manage_memory", {"content": LANTERN}), context)
    monkeypatch.setattr(type(life.embedder), "read", refuse)
    for name, given in (("manage_memory", {"content": "x"}), ("search_memory", {"query": "x"})):
        with pytest.raises(OSError, match="the disk is full"):
            await memory.call(ToolCall(name, given), context)
    await memory.close()


async def test_the_tools_are_described_in_the_librarys_words() -> None:
    from langmem import create_manage_memory_tool

    life = await Life(LangMemLibrary, WorkModel(), mode="hot-path").begin()
    manage = life.memory.tools[0]
    assert manage.description == create_manage_memory_tool(("memories",)).description
    parameters = manage.schema()["function"]["parameters"]["properties"]
    assert set(parameters) == {"content", "action", "id"}
    await life.memory.close()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("schemas", "typed"),
        ("deletes", "true"),
        ("query_limit", "9"),
        ("window", "2"),
        ("top_k", "9"),
    ],
)
def test_options_of_the_background_are_refused(key: str, value: str) -> None:
    with pytest.raises(UsageError, match=f"memory option {key}: the mode hot-path") as refusal:
        Life(LangMemLibrary, WorkModel(), mode="hot-path", **{key: value})
    assert "\n" not in str(refusal.value)


async def test_the_identity_holds_nothing_of_the_background() -> None:
    life = Life(LangMemLibrary, WorkModel(), mode="hot-path")
    assert not {"schemas", "deletes", "query_limit", "window"} & set(life.memory.identity)
    assert life.memory.identity["top_k"] == 0
    await life.memory.close()
