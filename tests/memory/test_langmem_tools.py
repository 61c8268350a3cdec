"""LangMem's hot path: the agent keeps its memories by two tools, and no model is asked."""

from __future__ import annotations

from typing import Any

import pytest
from rule_bench import RuleBench, RuleModel

from agemem_eval.baselines.langmem import LangMem
from agemem_eval.harness.errors import UsageError
from agemem_eval.harness.tools import ToolStatus

S = ToolStatus


async def bench(**options: str) -> RuleBench:
    return await RuleBench(LangMem, RuleModel(), mode="hot-path", **options).begin()


async def create(b: RuleBench, content: str, **more: Any) -> str:
    result = await b.call("Manage_memory", content=content, **more)
    assert result.status is S.SUCCESS, result.content
    return str(result.data["ids"][0])


async def test_a_memory_is_created_found_updated_and_deleted() -> None:
    b = await bench()
    id_ = await create(b, "The mug is in cabinet 3.")
    await create(b, "Open a drawer before you look into it.", kind="procedural")
    found = await b.call("Search_memory", query="Where is the mug?")
    assert found.content.split("\n")[0] == f"[{id_}] (semantic) The mug is in cabinet 3."
    assert "(procedural) Open a drawer" in found.content
    assert found.data["ids"][0] == id_

    done = await b.call("Manage_memory", action="update", id=id_, content="The mug is on desk 1.")
    assert (done.status, done.data) == (S.SUCCESS, {"ids": [id_], "changed": True})
    entry = b.memory.entries()[0]
    assert (entry["id"], entry["content"]) == (id_, "The mug is on desk 1.")
    assert entry["metadata"] == {"kind": "semantic", "time": "step 0, turn 0"}
    again = await b.call("Search_memory", query="The mug is on desk 1.", limit=1)
    assert again.data == {"ids": [id_], "scores": [1.0]}

    await b.call("Manage_memory", action="update", id=id_, content="The mug fell.", kind="episodic")
    assert b.memory.entries()[0]["metadata"]["kind"] == "episodic"
    await b.call("Manage_memory", action="update", id=id_, content="The mug broke.")
    assert b.memory.entries()[0]["metadata"]["kind"] == "episodic", "not said: it stays"

    gone = await b.call("Manage_memory", action="delete", id=id_)
    assert gone.status is S.SUCCESS
    assert b.contents() == ["Open a drawer before you look into it."]


async def test_every_change_is_in_the_trace() -> None:
    b = await bench()
    id_ = await create(b, "one")
    await b.call("Manage_memory", action="update", id=id_, content="two")
    await b.call("Manage_memory", action="update", id=id_, content=" two ")
    await b.call("Search_memory", query="two")
    await b.call("Manage_memory", action="delete", id=id_)
    events = [(e["op"], e["ids"], e["changed"]) for e in b.trace.of("memory")]
    assert events == [
        ("add", [id_], True),
        ("update", [id_], True),
        ("update", [id_], False),
        ("retrieve", [id_], False),
        ("delete", [id_], True),
    ]


async def test_nothing_happens_by_itself_and_no_model_is_asked() -> None:
    b = await bench()
    await create(b, "The mug is in cabinet 3.")
    await b.read("A mug is on desk 1.", "The lamp is off.")
    assert await b.seen("Where is the mug?") == ""
    assert b.contents() == ["The mug is in cabinet 3."]
    assert b.model.requests == []
    assert set(b.ledger.roles) == {"embedding"}


async def test_a_search_gives_ten_unless_told_otherwise() -> None:
    b = await bench()
    for n in range(12):
        await create(b, f"fact number {n}")
    assert len((await b.call("Search_memory", query="fact")).data["ids"]) == 10
    assert len((await b.call("Search_memory", query="fact", limit=3)).data["ids"]) == 3
    empty = await bench()
    assert (await empty.call("Search_memory", query="fact")).content == "No memories found."


BAD = [
    ("Manage_memory", {}),
    ("Manage_memory", {"content": ""}),
    ("Manage_memory", {"content": " \n"}),
    ("Manage_memory", {"content": "\x1f"}),
    ("Manage_memory", {"content": 5}),
    ("Manage_memory", {"content": ["x"]}),
    ("Manage_memory", {"content": "x", "id": "ID"}),
    ("Manage_memory", {"content": "x", "action": "create", "id": "ID"}),
    ("Manage_memory", {"content": "x", "action": "update"}),
    ("Manage_memory", {"content": "x", "action": "merge", "id": "ID"}),
    ("Manage_memory", {"content": "x", "kind": "gossip"}),
    ("Manage_memory", {"content": "x", "importance": 3}),
    ("Manage_memory", {"action": "update", "id": "ID"}),
    ("Manage_memory", {"action": "update", "id": "ID", "content": ""}),
    ("Manage_memory", {"action": "update", "id": 7, "content": "x"}),
    ("Manage_memory", {"action": "delete"}),
    ("Manage_memory", {"action": "delete", "id": ""}),
    ("Manage_memory", {"action": ["delete"], "id": "ID"}),
    ("Search_memory", {}),
    ("Search_memory", {"query": ""}),
    ("Search_memory", {"query": "x", "limit": 0}),
    ("Search_memory", {"query": "x", "limit": 51}),
    ("Search_memory", {"query": "x", "limit": "3"}),
    ("Search_memory", {"query": "x", "limit": True}),
    ("Search_memory", {"query": None}),
]


@pytest.mark.parametrize(("tool", "arguments"), BAD)
async def test_bad_arguments_are_a_validation_error_and_change_nothing(
    tool: str, arguments: dict[str, Any]
) -> None:
    b = await bench()
    id_ = await create(b, "kept")
    before = b.memory.entries(), len(b.trace.events)
    arguments = {k: id_ if v == "ID" else v for k, v in arguments.items()}
    result = await b.call(tool, **arguments)
    assert result.status is S.VALIDATION_ERROR
    assert tool in result.content
    assert len(result.content) < 500
    assert (b.memory.entries(), len(b.trace.events)) == before


async def test_unknown_ids_are_told_so() -> None:
    b = await bench()
    id_ = await create(b, "a fact")
    await b.call("Manage_memory", action="delete", id=id_)
    for more in ({"action": "update", "content": "x"}, {"action": "delete"}):
        result = await b.call("Manage_memory", id=id_, **more)
        assert result.status is S.NOT_FOUND
        assert id_ in result.content
    assert b.contents() == []


async def test_deleting_can_be_switched_off() -> None:
    b = await bench(deletes="false")
    id_ = await create(b, "a fact")
    result = await b.call("Manage_memory", action="delete", id=id_)
    assert result.status is S.VALIDATION_ERROR
    assert b.contents() == ["a fact"]
    schema = str(b.memory.tools[0].schema())
    assert "delete" not in schema
    assert "delete" in str((await bench()).memory.tools[0].schema())


async def test_the_background_has_no_tools() -> None:
    b = RuleBench(LangMem, RuleModel())
    assert b.memory.tools == ()
    assert b.memory.instructions == ""
    await b.begin()
    result = await b.call("Manage_memory", content="x")
    assert result.status is S.UNKNOWN_TOOL


@pytest.mark.parametrize("key", ["query_limit", "max_steps", "window", "top_k"])
async def test_options_of_the_background_are_refused_and_not_in_the_identity(key: str) -> None:
    with pytest.raises(UsageError, match=f"^memory option {key}: the mode hot-path") as refusal:
        await bench(**{key: "3"})
    assert "\n" not in str(refusal.value)
    identity = (await bench()).memory.identity
    assert identity.get(key, 0) == 0, "nothing is put into the context, and nothing else asked"
    assert key in RuleBench(LangMem, RuleModel()).memory.identity


async def test_whether_the_agent_may_delete_is_part_of_the_identity() -> None:
    free, bound = [(await bench(deletes=word)).memory.identity for word in ("true", "false")]
    assert (free["deletes"], bound["deletes"]) == (True, False)
