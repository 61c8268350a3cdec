"""`mem0-lib`: what the library makes of a reply, and that whatever it loses is counted by name."""

from __future__ import annotations

import json

import pytest
from library_bench import Life, WorkModel

from agemem_eval.baselines.mem0_lib import Mem0Library
from agemem_eval.harness.models import ModelBase, estimate_usage
from agemem_eval.harness.types import Completion, Request

pytestmark = pytest.mark.libraries
KEY = "The key is red."
FACTS = json.dumps({"facts": [KEY]})
ADDED = json.dumps({"memory": [{"event": "ADD", "id": None, "text": KEY}]})


class Says(ModelBase):
    """Answers an extraction and a decision with two fixed texts."""

    info = WorkModel.info

    def __init__(self, extraction: str, decision: str) -> None:
        self.replies = {"extract_facts": extraction, "decide": decision}

    async def generate(self, request: Request) -> Completion:
        text = self.replies[(request.work or {})["do"]]
        return Completion(text, estimate_usage(request, text))


async def made_of(extraction: str, decision: str) -> tuple[list[str], list[str]]:
    """What is stored, and the faults that are booked."""
    life = await Life(Mem0Library, Says(extraction, decision)).begin()
    await life.tell(KEY)
    texts = life.texts()
    await life.memory.close()
    return texts, life.faults


# The library takes all from the first brace to the last: where that is no JSON, all is lost.
UNREADABLE = [
    "As {{JSON}}: {}",
    "{} and {{more}}",
    "{}\n{{}}",
    "<think>{{ {}",
    "5",
    "[]",
    "{{}}",
    "",
]
READABLE = ["{}", "```json\n{}\n```", "Here it is: {}", "<think>so</think>{}", "{} Done."]


@pytest.mark.parametrize("around", UNREADABLE)
async def test_what_only_a_more_patient_reader_could_read_is_lost_and_counted(around: str) -> None:
    assert await made_of(around.format(FACTS), ADDED) == ([], ["extract_facts"])
    assert await made_of(FACTS, around.format(ADDED)) == ([], ["decide"])


@pytest.mark.parametrize("around", READABLE)
async def test_what_the_library_reads_is_no_fault(around: str) -> None:
    assert await made_of(around.format(FACTS), around.format(ADDED)) == ([KEY], [])


async def test_a_raw_tab_in_a_text_is_no_fault_since_the_library_takes_it() -> None:
    tabbed = ADDED.replace("is red", "is\tred")
    assert await made_of(FACTS, tabbed) == (["The key is\tred."], [])


async def test_facts_that_the_library_drops_are_counted_one_by_one() -> None:
    some = json.dumps({"facts": [KEY, {"said": "x"}, "", {"text": "y"}]})
    assert await made_of(some, ADDED) == ([KEY], ["fact", "fact"])


async def test_the_id_of_an_addition_is_not_looked_at_whatever_it_is() -> None:
    assert await made_of(FACTS, ADDED.replace("null", "0")) == ([KEY], [])
