"""LangMem in the background: what its manager is shown, and what it does, worked by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rule_bench import RuleBench, RuleModel

from agemem_eval.baselines.langmem import LangMem
from agemem_eval.harness.errors import UsageError

Json = dict[str, Any]
KEY, LAMP, GOATS = (
    "The spare key lies under the blue flowerpot.",
    "The lamp stands on desk 1.",
    "Paul keeps eleven goats behind the windmill.",
)


def reply(
    insert: list[Json] | None = None,
    patch: list[Json] | None = None,
    remove: list[str] | None = None,
) -> Json:
    return {"insert": insert or [], "patch": patch or [], "remove": remove or []}


def keep(work: Json) -> Json:
    """Every message of the user becomes a fact."""
    said = [m["content"] for m in work["messages"] if m["role"] == "user"]
    return reply([{"kind": "semantic", "content": text} for text in said])


def bench(manage: Any = keep, **options: Any) -> RuleBench:
    return RuleBench(LangMem, RuleModel(manage=manage), **options)


async def with_three_memories(**options: Any) -> RuleBench:
    b = await bench(**options).begin()
    await b.read(KEY, LAMP, GOATS)
    assert b.contents() == [KEY, LAMP, GOATS]
    return await b.begin()


def short_id(work: Json, content: str) -> str:
    return next(m["id"] for m in work["memories"] if m["content"] == content)


# --- what the manager does ----------------------------------------------------------------------


async def test_memories_of_three_kinds_are_inserted() -> None:
    new = [
        {"kind": "semantic", "content": "The mug is in cabinet 3."},
        {"kind": "Episodic", "content": "Opening the safe failed without a key."},
        {"kind": "procedural", "content": "Clean a thing at the sink before you put it down."},
    ]
    b = await bench(reply(new)).begin()
    await b.read("You open cabinet 3. In it, you see a mug.")
    assert [(e["content"], e["metadata"]["kind"]) for e in b.memory.entries()] == [
        ("The mug is in cabinet 3.", "semantic"),
        ("Opening the safe failed without a key.", "episodic"),
        ("Clean a thing at the sink before you put it down.", "procedural"),
    ]
    assert b.memory.entries()[0]["metadata"]["time"] == "step 0, turn 0"


async def test_a_patch_keeps_id_and_kind_and_is_found_by_the_new_text_at_once() -> None:
    b = await with_three_memories()
    old = b.memory.entries()
    new = "The spare key hangs in the pantry beside the vinegar."
    b.model.rules["manage"] = lambda work: reply(
        patch=[{"id": short_id(work, KEY), "content": new}]
    )
    await b.read("The spare key is no longer under the blue flowerpot.")
    entries = b.memory.entries()
    assert [e["id"] for e in entries] == [e["id"] for e in old]
    assert [e["content"] for e in entries] == [new, LAMP, GOATS]
    assert entries[0]["metadata"] == old[0]["metadata"]
    (top, score), *_ = await b.memory.retrieve(new, 3)
    assert (top.content, round(score, 4)) == (new, 1.0)


async def test_removals_are_off_unless_switched_on() -> None:
    def rule(work: Json) -> Json:
        return reply(remove=[short_id(work, GOATS)])

    kept = await with_three_memories()
    kept.model.rules["manage"] = rule
    await kept.read("Paul has sold the goats behind the windmill.")
    assert kept.contents() == [KEY, LAMP, GOATS]
    assert kept.faults() == [("manage", "1 removals, which are switched off")]
    assert kept.model.asked("manage")[-1]["deletes"] is False

    removed = await with_three_memories(deletes="true")
    removed.model.rules["manage"] = rule
    await removed.read("Paul has sold the goats behind the windmill.")
    assert removed.contents() == [KEY, LAMP]
    assert removed.faults() == []
    assert removed.model.asked("manage")[-1]["deletes"] is True
    tasks = [b.model.requests[-1].messages[0].content for b in (kept, removed)]
    assert ["always []" in task for task in tasks] == [True, False]


async def test_patch_remove_and_insert_in_one_reply() -> None:
    def rule(work: Json) -> Json:
        return reply(
            [{"kind": "episodic", "content": "Paul sold his goats."}],
            [{"id": short_id(work, KEY), "content": "The key is lost."}],
            [short_id(work, GOATS)],
        )

    b = await with_three_memories(deletes="true")
    b.model.rules["manage"] = rule
    await b.read("Paul sold the goats, and the spare key under the flowerpot is lost.")
    assert b.contents() == ["The key is lost.", LAMP, "Paul sold his goats."]


# --- what the manager is shown ------------------------------------------------------------------


async def test_an_exchange_takes_one_call_and_a_search_none() -> None:
    b = await with_three_memories()
    assert len(b.model.requests) == 3
    assert {r.role.value for r in b.model.requests} == {"memory_write"}
    assert KEY in await b.seen("Where is the spare key?")
    assert len(b.model.requests) == 3


async def test_every_call_and_token_is_in_the_ledger() -> None:
    b = await bench().begin()
    await b.read(KEY, LAMP, GOATS)
    asked = [m.content for r in b.model.requests for m in r.messages]
    usage = b.ledger.roles["memory_write"]
    assert usage.calls == len(b.model.requests) == 3
    assert usage.prompt_tokens == sum(map(b.model.count_tokens, asked))
    read = sum(b.embedder.count_tokens(text) for text in b.embedder.read)
    assert b.ledger.roles["embedding"].prompt_tokens == read
    assert set(b.ledger.roles) == {"memory_write", "embedding"}


async def test_the_manager_sees_the_memories_most_like_the_newest_exchange() -> None:
    b = await bench(query_limit="2").begin()
    await b.read("a red mug", "a blue goat", "an old bridge", "one blue goat more", action="")
    shown = [[m["content"] for m in w["memories"]] for w in b.model.asked("manage")]
    assert shown[0] == []
    assert shown[3][0] == "a blue goat"
    assert all(len(memories) <= 2 for memories in shown)
    assert [m["id"] for m in b.model.asked("manage")[3]["memories"]] == ["0", "1"]


async def test_a_larger_limit_also_looks_up_longer_windows_of_the_conversation() -> None:
    # As get_dialated_windows in langmem/utils.py: query_limit // 4 windows, each twice as long.
    for limit, windows in (("1", [1]), ("5", [1]), ("8", [1, 2]), ("12", [1, 2, 4])):
        b = await bench(query_limit=limit).begin()
        texts = ["one apple", "two birds", "three cats", "four dogs", "five eels"]
        await b.read(*texts, action="")
        queries = ["\n".join(texts[-n:]) for n in windows]
        longer = [text for text in b.embedder.read if text.endswith("five eels")]
        assert longer[: len(queries)] == queries, limit
        assert len(set(longer)) == len(queries)


async def test_what_two_windows_find_is_ranked_by_its_better_similarity() -> None:
    b = await bench(query_limit="8").begin()
    goat, hat, mug = "the blue goat behind the windmill", "a red hat", "a red mug"
    await b.read(mug, hat, goat, mug, action="")
    shown = [m["content"] for m in b.model.asked("manage")[3]["memories"]]
    assert shown == [mug, goat, hat]


async def test_earlier_exchanges_are_shown_as_such_and_memories_made_of_the_newest_only() -> None:
    b = await bench(window="2").begin()
    await b.read(KEY, LAMP, GOATS, action="go on")
    last = b.model.requests[-1].messages[-1].content
    earlier, new = (last.split(f"<{tag}>")[1].split(f"</{tag}>")[0] for tag in ("earlier", "new"))
    assert LAMP in earlier
    assert GOATS in new
    assert KEY not in earlier + new
    # The new part opens with the action that led to it, or nothing could be learnt of a failure.
    act = {"role": "assistant", "content": "go on"}
    assert [w["messages"] for w in b.model.asked("manage")] == [
        [{"role": "user", "content": KEY}, act],
        [act, {"role": "user", "content": LAMP}, act],
        [act, {"role": "user", "content": GOATS}],
    ]
    assert last.count('"go on"') == 1
    alone = await bench(window="1").begin()
    await alone.read(KEY, LAMP)
    assert all("<earlier>" not in r.messages[-1].content for r in alone.model.requests)


async def test_a_conversation_begins_anew_with_every_episode() -> None:
    b = await bench(window="5").begin("a")
    await b.read(KEY)
    await b.begin("b")
    await b.read(LAMP)
    assert KEY not in b.model.requests[-1].messages[-1].content
    assert b.contents() == [LAMP]


async def test_the_prompt_is_dated_by_the_episodes_own_clock() -> None:
    b = await bench().begin()
    await b.read(KEY, LAMP, GOATS)
    dates = [r.messages[1].content.split("\n")[0] for r in b.model.requests]
    # An exchange is complete once the agent has acted; the last message follows at the end.
    assert dates == ["Now: step 1, turn 1.", "Now: step 2, turn 2.", "Now: step 2, turn 2."]


# --- several passes -----------------------------------------------------------------------------


async def test_further_passes_see_what_the_first_did_and_end_when_nothing_changes() -> None:
    first = reply([{"kind": "semantic", "content": "The key is somewhere."}])
    second = reply(patch=[{"id": "0", "content": "The key is under the flowerpot."}])
    b = await bench([first, second, reply(), first], max_steps="4").begin()
    await b.read(KEY)
    assert b.contents() == ["The key is under the flowerpot."]
    shown = [[m["content"] for m in w["memories"]] for w in b.model.asked("manage")]
    assert shown == [
        [],
        ["The key is somewhere."],
        ["The key is under the flowerpot."],
    ]
    assert "pass 2 of 4" in b.model.requests[1].messages[1].content
    assert "pass" not in b.model.requests[0].messages[1].content


async def test_there_are_no_more_passes_than_max_steps() -> None:
    for steps in (1, 3):
        b = await bench(max_steps=str(steps)).begin()
        await b.read(KEY)
        assert len(b.model.requests) == steps


# --- reading and keeping ------------------------------------------------------------------------


async def test_what_fits_the_observation_is_put_into_the_context_before_each_step() -> None:
    b = await with_three_memories(top_k="1")
    assert await b.seen("Where is the spare key?") == (
        f"What your memory holds that may matter now:\n- {KEY}"
    )


async def test_a_snapshot_brings_kinds_and_times_back(tmp_path: Path) -> None:
    b = await with_three_memories(directory=tmp_path)
    snapshot, entries = b.memory.snapshot(), b.memory.entries()
    other = await bench().begin()
    other.memory.restore(snapshot)
    assert other.memory.entries() == entries
    await b.memory.close()
    again = await bench(directory=tmp_path).begin()
    assert again.memory.entries() == entries


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "hotpath"},
        {"deletes": "yes"},
        {"query_limit": "0"},
        {"max_steps": "0"},
        {"window": "many"},
        {"top_k": "21"},
    ],
)
def test_bad_options_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        bench(**options)


def test_options_and_prompts_are_part_of_the_identity() -> None:
    options: list[Json] = [
        {},
        {"mode": "hot-path"},
        {"deletes": "true"},
        {"query_limit": "6"},
        {"max_steps": "2"},
        {"window": "3"},
        {"top_k": "4"},
    ]
    identities = [str(bench(**some).memory.identity) for some in options]
    assert len(set(identities)) == len(options)
