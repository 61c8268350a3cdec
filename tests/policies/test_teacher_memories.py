"""The teacher with other memories: it reads what they show, and calls no tool that is not there."""

from __future__ import annotations

import asyncio
import re

import pytest
from lessons import lessons

from agemem_eval.harness.prompts import MEMORY_HEADING
from agemem_eval.harness.protocol import parse_text
from agemem_eval.policies.demonstrations import demonstrations_of
from agemem_eval.policies.recipe import Recipe, make_recipe
from agemem_eval.policies.teacher import Teacher
from agemem_eval.policies.teacher.lesson import END
from agemem_eval.policies.teacher.reading import labelled

STAGED = {"form": "three-stage", "exposure": "each", "distractors": "2", "paragraphs": "2"}
PIPELINES = ("rag", "mem0", "mem0g", "amem", "langmem")
HOUSE = {"three-stage": {"env": "alfworld", "exposure": "world"}}


def recipe(memory: str, **tasks: object) -> Recipe:
    return make_recipe({
        "name": "lesson",
        "model": {"fresh": {"positions": 16384}},
        "sft": {},
        "agent": {"shots": 0, "context_tokens": 8192, "max_tokens": 512},
        "tasks": {"memory": memory, "options": {"hotpotqa": STAGED}, **tasks},
        "reward": {"task_score": "progress" if tasks else "f1"},
    })  # fmt: skip


@pytest.mark.parametrize("memory", PIPELINES)
def test_questions_are_answered_of_what_a_memory_shows_and_of_nothing_else(memory: str) -> None:
    heard = lessons(recipe(memory), Teacher("reader"), 16)
    solved = [h for h in heard if h.episode.success]
    assert len(solved) >= (4 if memory == "langmem" else 8), "what it shows is often enough"
    for h in heard:
        assert not h.episode.tool_calls
        assert not h.episode.malformed_outputs
        messages, completion = h.turns[-1]
        shown = " ".join(m.content for m in messages)
        thought = parse_text(completion.text).think or ""
        said = re.sub(r" \((?:-|[^()]*: [^()]*)\)", "", thought)  # without the labels
        read = [s for s in END.split(said) if labelled(s)]
        assert read or not h.episode.success
        assert all(sentence in shown for sentence in read), "what it says it has read stands there"
    with_block = [h for h in solved if MEMORY_HEADING in h.turns[-1][0][-1].content]
    assert len(with_block) == len(solved)


def test_without_retrieval_as_a_tool_it_notes_and_reads_its_notes_where_they_are_shown() -> None:
    heard = lessons(recipe("agemem-norl-rag"), Teacher("reader"), 8)
    assert sum(bool(h.episode.success) for h in heard) >= 7
    for h in heard:
        assert set(h.episode.tool_calls) == {"Add_memory"}
        assert set(h.episode.tool_calls["Add_memory"]) == {"success"}


def test_a_chain_is_thought_through_in_one_turn_where_nothing_is_to_be_retrieved() -> None:
    heard = [h for h in lessons(recipe("rag"), Teacher("reader"), 8) if h.episode.success]
    thoughts = [parse_text(h.turns[-1][1].text).think or "" for h in heard]
    chains = [thought for thought in thoughts if ", then " in thought.partition(". ")[0]]
    assert chains
    for thought in chains:
        first, second = thought.removeprefix("Want ").partition(". ")[0].split(", then ")
        assert thought.index(f"So {first}: ") < thought.index(f"Want {second}. ")
        assert thought.index(f"Want {second}. ") < thought.index(f"So {second}: ")


def test_what_was_told_of_a_room_and_is_shown_at_the_start_of_the_task_is_used() -> None:
    """Where a thing lies is told beforehand: with a memory that shows it, less is searched."""
    tasks = {"env": "three-stage", "options": HOUSE}
    turns = {}
    for memory in ("none", "rag"):
        heard = lessons(recipe(memory, **tasks), Teacher("explorer"), 12)
        assert all(h.episode.success for h in heard)
        assert not any(h.episode.malformed_outputs for h in heard)
        turns[memory] = sum(h.stages.count(3) for h in heard)
    assert turns["rag"] < turns["none"]


def test_a_source_of_demonstrations_names_its_memory(tmp_path) -> None:
    of_rag = {"memory": "rag", "episodes": 4}
    made = make_recipe({
        "name": "two", "model": {"fresh": {"positions": 16384}},
        "agent": {"shots": 0, "context_tokens": 8192, "max_tokens": 512},
        "tasks": {"options": {"hotpotqa": STAGED}},
        "sft": {"demonstrations": [{"episodes": 4}, of_rag]},
    })  # fmt: skip
    found = asyncio.run(demonstrations_of(made, tmp_path))
    blocks = {one.episode[0] for one in found if MEMORY_HEADING in one.messages[-1].content}
    calls = {one.episode[0] for one in found if parse_text(one.text).calls}
    assert (blocks, calls) == ({"2"}, {"1"})
