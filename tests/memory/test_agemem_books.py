"""AgeMem's bookkeeping and identity, and that no call can do harm."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_bench import Bench

from agemem_eval.baselines.agemem import AgeMem
from agemem_eval.baselines.none import NoMemory
from agemem_eval.harness.errors import UsageError
from agemem_eval.harness.tools import ToolCall, ToolStatus
from agemem_eval.harness.types import ModelInfo, Scope

S = ToolStatus

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
