"""A-Mem: analysis, links, evolution and retrieval, on examples worked by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rule_bench import RuleBench, RuleModel

from agemem_eval.baselines.amem import AMem
from agemem_eval.harness.errors import UsageError

Json = dict[str, Any]
KEY, LAMP, GOATS = (
    "The spare key lies under the blue flowerpot.",
    "The lamp stands on desk 1.",
    "Paul keeps eleven goats behind the windmill.",
)


def note(work: Json) -> Json:
    """An analysis that can be told from others: the last word is the keyword."""
    word = work["content"].split()[-1].strip(".")
    return {"keywords": [word], "context": f"About the {word}.", "tags": ["thing"]}


def evolution(links: list[str] = [], tags: list[str] = [], updates: list[Json] = []) -> Json:  # noqa: B006
    return {"links": links, "tags": tags, "updates": updates}


def id_of(work: Json, content: str) -> str:
    """The short id under which a neighbour was shown."""
    return next(n["id"] for n in work["neighbours"] if n["content"].startswith(content))


def link_to(content: str) -> Any:
    """Links the new note to the neighbour with that content, if it is shown."""

    def rule(work: Json) -> Json:
        ids = [n["id"] for n in work["neighbours"] if n["content"].startswith(content)]
        return evolution(links=ids)

    return rule


async def bench(evolve: Any = None, note_rule: Any = note, **options: Any) -> RuleBench:
    model = RuleModel(note=note_rule, evolve=evolve or evolution())
    return await RuleBench(AMem, model, **options).begin()


def by_content(b: RuleBench) -> dict[str, Json]:
    return {e["content"].split("\n")[0]: e for e in b.memory.entries()}


# --- writing ------------------------------------------------------------------------------------


async def test_a_note_holds_what_was_read_and_its_analysis() -> None:
    b = await bench()
    await b.read(KEY, LAMP, action="go to desk 1")
    first, last = b.memory.entries()
    assert first["content"] == f"{KEY}\nAction taken then: go to desk 1"
    assert first["metadata"] == {
        "time": "step 1, turn 1",
        "keywords": ["1"],
        "context": "About the 1.",
        "tags": ["thing"],
        "links": [],
    }
    assert last["content"] == LAMP
    assert last["metadata"]["context"] == "About the 1."


async def test_the_first_note_takes_one_call_and_each_further_one_two_and_a_search_none() -> None:
    b = await bench()
    await b.read(KEY, LAMP, GOATS)
    assert [r.work["do"] for r in b.model.requests if r.work] == [
        "note", "note", "evolve", "note", "evolve",
    ]  # fmt: skip
    assert {r.role.value for r in b.model.requests} == {"memory_write"}
    await b.seen("where is the key")
    assert len(b.model.requests) == 5


async def test_every_call_and_token_is_in_the_ledger() -> None:
    b = await bench()
    await b.read(KEY, LAMP, GOATS)
    usage = b.ledger.roles["memory_write"]
    asked = [m.content for r in b.model.requests for m in r.messages]
    assert usage.calls == len(b.model.requests)
    assert usage.prompt_tokens == sum(map(b.model.count_tokens, asked))
    assert set(b.ledger.roles) == {"memory_write", "embedding"}
    read = sum(b.embedder.count_tokens(text) for text in b.embedder.read)
    assert b.ledger.roles["embedding"].prompt_tokens == read


async def test_the_k_nearest_notes_are_the_neighbours() -> None:
    b = await bench(k="2")
    await b.read("a red mug", "a green goat", "a red mug again", "the red mug once more", "end")
    shown = [
        [n["content"].split("\n")[0] for n in w["neighbours"]] for w in b.model.asked("evolve")
    ]
    assert shown[0] == ["a red mug"]
    assert set(shown[2]) == {"a red mug", "a red mug again"}
    assert all(len(neighbours) <= 2 for neighbours in shown)
    assert [n["id"] for n in b.model.asked("evolve")[2]["neighbours"]] == ["0", "1"]


async def test_neighbours_are_found_by_the_whole_note_and_not_by_its_content_alone() -> None:
    words = {"bridge": "zebra zebra zebra zebra", "stick": "plum plum", "candle": "zebra " * 6}

    def analyse(work: Json) -> Json:
        about = next(text for word, text in words.items() if word in work["content"])
        return {"keywords": [], "context": about, "tags": []}

    b = await bench(note_rule=analyse, k="1")
    await b.read("an old bridge", "a wax stick", "a wax candle", action="")
    assert b.model.asked("evolve")[1]["neighbours"][0]["content"] == "an old bridge"


async def test_a_note_is_found_by_what_its_analysis_adds() -> None:
    analysis = {"keywords": ["photosynthesis"], "context": "", "tags": ["botany"]}
    b = await bench(note_rule=[note({"content": "x"}), analysis])
    await b.read("Leaves turn sunlight into sugar.", "They need water for that.", action="")
    for query in ("photosynthesis", "botany"):
        found = await b.memory.retrieve(query, 1)
        assert found[0][0].content == "They need water for that."


async def test_links_are_kept_as_ids_of_notes() -> None:
    b = await bench(link_to(KEY))
    await b.read(KEY, LAMP, "The key opens the shed.")
    entries = by_content(b)
    assert entries[KEY]["metadata"]["links"] == []
    assert entries[LAMP]["metadata"]["links"] == [entries[KEY]["id"]]
    assert entries["The key opens the shed."]["metadata"]["links"] == [entries[KEY]["id"]]


async def test_an_id_means_the_note_that_was_shown_under_it_and_not_its_place_in_the_store() -> (
    None
):
    # The authors' code takes the rank of a search for a place in its list of all notes.
    def rule(work: Json) -> Json:
        if not work["note"]["content"].startswith("The key"):
            return evolution()
        update = {"id": id_of(work, KEY), "context": "The key of the shed.", "tags": ["shed"]}
        return evolution(links=[id_of(work, KEY)], updates=[update])

    b = await bench(rule)
    await b.read(GOATS, LAMP, KEY, "The key opens the shed.")
    entries = by_content(b)
    assert entries["The key opens the shed."]["metadata"]["links"] == [entries[KEY]["id"]]
    assert entries[KEY]["metadata"]["context"] == "The key of the shed."
    assert entries[KEY]["metadata"]["tags"] == ["shed"]
    for other in (GOATS, LAMP):
        assert entries[other]["metadata"]["tags"] == ["thing"]
        assert entries[other]["updated"] == entries[other]["created"]


async def test_evolution_may_give_the_new_note_other_tags() -> None:
    b = await bench([evolution(tags=["light", "desk"]), evolution()])
    await b.read(KEY, LAMP, GOATS)
    entries = by_content(b)
    assert entries[LAMP]["metadata"]["tags"] == ["light", "desk"]
    assert entries[GOATS]["metadata"]["tags"] == ["thing"], "none given: they stay"
    found = await b.memory.retrieve("light, desk", 1)
    assert found[0][0].content.startswith(LAMP)


async def test_a_changed_neighbour_is_found_by_its_new_context_at_once() -> None:
    def rule(work: Json) -> Json:
        if not work["note"]["content"].startswith("Workers"):
            return evolution()
        context = "Veterinarian quarantine regulations xylophone."
        return evolution(updates=[{"id": id_of(work, GOATS), "context": context, "tags": []}])

    b = await bench(rule)
    query = "veterinarian quarantine regulations xylophone"
    await b.read(GOATS, KEY)
    before = {e.content: s for e, s in await b.memory.retrieve(query, 5)}
    await b.begin()
    await b.read("Workers were seen near the windmill.")
    (top, score), *_ = await b.memory.retrieve(query, 5)
    assert top.content.startswith(GOATS)
    assert score > before[top.content] + 0.2
    assert by_content(b)[GOATS]["metadata"]["tags"] == ["thing"]
    updates = [e for e in b.trace.of("memory") if e["op"] == "update"]
    assert [(e["ids"], e["changed"]) for e in updates] == [([top.id], True)]


async def test_an_update_that_changes_nothing_embeds_nothing_and_writes_nothing() -> None:
    def rule(work: Json) -> Json:
        same = [{k: n[k] for k in ("id", "context", "tags")} for n in work["neighbours"]]
        return evolution(updates=[*same, {"id": "0"}])

    b = await bench(rule)
    await b.read(KEY, LAMP)
    assert [e["op"] for e in b.trace.of("memory") if e["changed"]] == ["add", "add"]
    assert all(e["updated"] == e["created"] for e in b.memory.entries())


async def test_two_updates_of_one_neighbour_build_on_each_other() -> None:
    updates = [{"id": "0", "context": "New."}, {"id": "0", "tags": ["late"]}]
    b = await bench([evolution(updates=updates)])
    await b.read(KEY, LAMP)
    metadata = by_content(b)[KEY]["metadata"]
    assert (metadata["context"], metadata["tags"]) == ("New.", ["late"])


async def test_nothing_is_stored_of_an_empty_message() -> None:
    b = await bench()
    await b.read(" \n", KEY, "")
    assert len(b.memory.entries()) == 1
    assert len(b.model.requests) == 1


# --- reading ------------------------------------------------------------------------------------


async def test_a_hit_brings_the_notes_it_is_linked_to() -> None:
    b = await bench(link_to(GOATS))
    await b.read(GOATS, KEY)
    found = await b.memory.retrieve("spare key under the flowerpot", 1)
    assert [entry.content.split("\n")[0] for entry, _ in found] == [KEY, GOATS]
    assert found[0][1] == found[1][1], "a linked note has the similarity of its hit"
    only = await b.memory.retrieve("goats behind the windmill", 1)
    assert [entry.content.split("\n")[0] for entry, _ in only] == [GOATS], "not the other way"


async def test_linked_notes_come_once_and_are_at_most_as_many_as_the_hits() -> None:
    def rule(work: Json) -> Json:
        return evolution(links=[n["id"] for n in work["neighbours"]])

    b = await bench(rule)
    await b.read(*(f"fact number {n} of many" for n in range(9)))
    for top_k in (1, 2, 3, 9):
        found = [entry.id for entry, _ in await b.memory.retrieve("fact number 8 of many", top_k)]
        assert len(found) == len(set(found))
        assert len(found) == min(2 * top_k, 9)


async def test_a_note_that_two_hits_are_linked_to_comes_once() -> None:
    b = await bench(link_to(GOATS))
    await b.read(GOATS, KEY, "The spare key is made of brass.")
    found = await b.memory.retrieve("spare key", 2)
    assert [entry.content.split("\n")[0] for entry, _ in found][2:] == [GOATS]


async def test_links_outlive_changes_of_other_notes_and_a_link_to_a_lost_note_leads_nowhere() -> (
    None
):
    b = await bench(link_to(GOATS))
    await b.read(GOATS, LAMP, KEY)
    entries = by_content(b)
    goats, lamp, key = (entries[text]["id"] for text in (GOATS, LAMP, KEY))
    b.memory._delete(lamp)
    assert [e.id for e, _ in await b.memory.retrieve("spare key flowerpot", 1)] == [key, goats]
    b.memory._delete(goats)
    assert [e.id for e, _ in await b.memory.retrieve("spare key flowerpot", 1)] == [key]
    b.model.rules["evolve"] = evolution(updates=[{"id": "0", "context": "Changed."}])
    await b.begin()
    await b.read("The spare key is under the flowerpot still.")
    assert by_content(b)[KEY]["metadata"]["links"] == [], "the dangling link is dropped"
    assert by_content(b)[KEY]["metadata"]["context"] == "Changed."


async def test_the_agent_reads_contents_with_their_analysis() -> None:
    b = await bench()
    await b.read(KEY)
    assert await b.seen("Where is the spare key?") == (
        "What your memory holds that may matter now:\n"
        f"- {KEY}\n  (step 0, turn 0; About the flowerpot.; keywords: flowerpot; tags: thing)"
    )


async def test_a_snapshot_brings_links_and_tags_back() -> None:
    b = await bench(link_to(GOATS))
    await b.read(GOATS, KEY)
    snapshot, entries = b.memory.snapshot(), b.memory.entries()
    found = await b.memory.retrieve("spare key", 1)
    other = await bench()
    other.memory.restore(snapshot)
    assert other.memory.entries() == entries
    assert await other.memory.retrieve("spare key", 1) == found
    assert len(found) == 2


async def test_notes_are_kept_in_a_folder(tmp_path: Path) -> None:
    b = await bench(link_to(GOATS), directory=tmp_path)
    await b.read(GOATS, KEY)
    entries = b.memory.entries()
    await b.memory.close()
    again = await bench(directory=tmp_path)
    assert again.memory.entries() == entries


# --- options ------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"k": "0"}, {"k": "x"}, {"top_k": "-1"}, {"k": "21"}])
def test_bad_options_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="a whole number from"):
        RuleBench(AMem, RuleModel(), **options)


def test_options_and_prompts_are_part_of_the_identity() -> None:
    identities = [
        RuleBench(AMem, RuleModel(), **o).memory.identity for o in ({}, {"k": "4"}, {"top_k": "4"})
    ]
    assert identities[0] not in identities[1:]
    assert identities[0]["prompts"] == [1]
