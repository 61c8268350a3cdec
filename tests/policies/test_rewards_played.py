"""Real episodes, whose components are counted again in another way: from what tools answered."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from reward_traces import play, recipe

from agemem_eval.harness.models import ModelBase, estimate_usage
from agemem_eval.harness.plan import make_embedder
from agemem_eval.harness.quality.evidence import context_at_the_end
from agemem_eval.harness.quality.matching import Matcher
from agemem_eval.harness.types import Completion, ModelInfo, Request
from agemem_eval.policies.rewards import Evidence, Rewarder
from agemem_eval.policies.trajectory import Reward

_ID = re.compile(r"Stored as memory (\S+)\.|\[([0-9a-f-]{8,})\]")


class Player(ModelBase):
    """Says outputs in turn; `$ID` is the newest memory id in the prompt, `$SAID` the message."""

    info = ModelInfo("script", writes=False)

    def __init__(self, *outputs: str) -> None:
        self._outputs = list(outputs)

    async def generate(self, request: Request) -> Completion:
        shown = [message.content for message in request.messages if message.role != "system"]
        text = self._outputs.pop(0) if self._outputs else "<answer>ok</answer>"
        ids = ["".join(found) for content in shown for found in _ID.findall(content)]
        said = next(m.content for m in reversed(request.messages) if m.role == "user")
        text = text.replace("$ID", ids[-1] if ids else "none")
        text = text.replace("$SAID", json.dumps(said)[1:-1])
        return Completion(text, estimate_usage(request, text))


def tool(name: str, **arguments: Any) -> str:
    calls = json.dumps([{"name": name, "arguments": arguments}])
    return f"<think>I use {name}.</think><tool_call>{calls}</tool_call>"


OK = "<answer>ok</answer>"
ADD, ADD_JUNK = tool("Add_memory", content="$SAID"), tool("Add_memory", content="Tea is nice.")
SEEK = tool("Retrieve_memory", query="who wrote what", top_k=5)
SCRIPTS: dict[str, tuple[str, ...]] = {
    "silent": (OK,) * 7,
    "stores": (ADD, OK, *(OK,) * 5, SEEK, "<answer>nobody</answer>"),
    "hoards": (ADD, ADD, ADD_JUNK, OK, *(OK,) * 5, SEEK, SEEK, "<answer>nobody</answer>"),
    "fiddles": (
        ADD_JUNK, OK, SEEK, tool("Update_memory", memory_id="$ID", content="Tea is nice."), OK,
        tool("Update_memory", memory_id="$ID", content="Coffee is nice."), OK,
        tool("Delete_memory", memory_id="$ID", confirmation=True), OK, OK, OK, "<answer>x</answer>",
    ),
    "tidies": (
        ADD, OK, OK, tool("Filter_context", criteria="ok"), tool("Summary_context", span="all"),
        OK, OK, OK, OK, SEEK, tool("Summary_context", span=1), "<answer>x</answer>",
    ),
    "talks": ("<think>Add_memory, Update_memory, Filter_context!</think>" + OK,) * 7,
    "loses": ("hm", "hm", "hm", "hm") * 9,
    "breaks off": (OK,) * 6 + ("<think>hm</think>",) * 9,
}  # fmt: skip
BASE: dict[str, Any] = {
    "agent": {"shots": 0, "context_tokens": 5000, "max_tokens": 512, "max_turns_per_step": 4},
    "tasks": {"options": {"hotpotqa": {"form": "three-stage"}}, "split": "generated"},
}
SMALL = {**BASE, "agent": {**BASE["agent"], "context_tokens": 3200}}
EACH = {**BASE, "tasks": {"options": {"hotpotqa": {"form": "three-stage", "exposure": "each"}}}}


async def rewarded(evidence: Evidence, **values: Any) -> Reward:
    chosen = recipe(reward=values)
    return await Rewarder(chosen.reward, make_embedder("hashing"), None)(evidence)


def tools_of(evidence: Evidence, *names: str) -> list[tuple[int, dict[str, Any]]]:
    """Successful calls of some tools, with the number of model calls before each."""
    found, n = [], 0
    for event in evidence.events:
        n += event["type"] == "completion"
        if event["type"] == "tool" and event["name"] in names and event["status"] == "success":
            found.append((n, event))
    return found


def counted_again(evidence: Evidence) -> dict[str, float]:
    """Components from tool results, the record and the end of the context."""
    assert evidence.gold is not None
    matcher, gold = Matcher(make_embedder("hashing")), evidence.gold
    calls = [e for e in evidence.events if e["type"] == "completion"]
    episode = evidence.episode
    building = [
        e["arguments"]["content"]
        for n, e in tools_of(evidence, "Add_memory")
        if evidence.stages[n - 1] == 1
    ]
    known: set[str] = set()
    high = 0
    for content in building:
        said = {fact for fact in gold.facts if matcher.says(content, fact)}
        high += bool(said - known)
        known |= said
    stored = {
        e["data"]["ids"][0]: e["arguments"]["content"]
        for _, e in tools_of(evidence, "Add_memory", "Update_memory")
        if e["data"]["changed"]
    }
    got = [
        stored[id_]
        for n, e in tools_of(evidence, "Retrieve_memory")
        if evidence.stages[n - 1] == 3
        for id_ in e["data"]["ids"]
    ]
    answer = "<answer>" in calls[-1]["text"] and episode.status == "completed"
    return {
        "task": (episode.metrics["f1"] or 0.0) if answer else -1.0,
        "context.compression": max(0.0, 1 - calls[-1]["context_tokens"] / evidence.budget),
        "context.preventive": float(preventive(evidence)),
        "memory.storage": high / max(1, len(building)),
        "memory.recall": len(known) / len(gold.facts),
        "memory.relevance": relevance(gold.question, got),
        "penalty.overflow": -0.5 * (episode.overflow_drops > 0),
        "penalty.rounds": -1.0 * (episode.forfeits > 0 or episode.status == "limit"),
    }


def preventive(evidence: Evidence) -> bool:
    """Whether a tool says that it made room before the first message was dropped."""
    for event in evidence.events:
        if event["type"] == "remove" and event["reason"] == "overflow":
            return False
        if event["type"] == "tool" and event["status"] == "success":
            data = event["data"] or {}
            if data.get("removed") or data.get("tokens_saved", 0) > 0:
                return True
    return False


def relevance(question: str, contents: Sequence[str]) -> float:
    if not contents:
        return 0.0
    asked, *found = make_embedder("hashing").embed([question, *dict.fromkeys(contents)])
    return float(np.mean([max(0.0, float(vector @ asked)) for vector in found]))


@pytest.mark.parametrize("settings", [BASE, SMALL, EACH], ids=["whole", "small", "each"])
@pytest.mark.parametrize("script", sorted(SCRIPTS))
async def test_components_of_real_episodes_are_those_counted_in_another_way(
    script: str, settings: dict[str, Any]
) -> None:
    chosen = recipe(**settings)
    evidence = await play(chosen, Player(*SCRIPTS[script]), number=3)
    components = (await rewarded(evidence)).components
    expected = counted_again(evidence)
    assert {name: components[name] for name in expected} == pytest.approx(expected, abs=1e-6)


async def test_each_script_shows_the_hacks_that_it_was_written_for() -> None:
    signs = {}
    for script in ("silent", "hoards", "fiddles", "talks"):
        evidence = await play(recipe(**BASE), Player(*SCRIPTS[script]), number=3)
        signs[script] = (await rewarded(evidence)).hacks
    assert not any(signs["silent"].values())
    assert signs["hoards"]["stored_everything"] == 1
    assert signs["hoards"]["repeated_additions"] > 0
    assert signs["fiddles"]["needless_maintenance"] == pytest.approx(1 / 3)
    assert signs["fiddles"]["add_then_delete"] == 1
    assert signs["talks"]["named_not_called"] == 1


async def test_maintenance_of_real_episodes_is_earned_by_what_changed_alone() -> None:
    for script, expected in (("fiddles", 1), ("stores", 0), ("talks", 0)):
        evidence = await play(recipe(**BASE), Player(*SCRIPTS[script]), number=3)
        components = (await rewarded(evidence)).components
        assert components["memory.maintenance"] == expected
        better = (await rewarded(evidence, maintenance="better")).components
        assert better["memory.maintenance"] == 0, "nothing of it helped the question"


@pytest.mark.parametrize("expert", ["oracle", "reader"])
async def test_an_expert_that_keeps_what_it_is_told_earns_nearly_everything(expert: str) -> None:
    evidence = await play(recipe(**BASE), f"scripted:{expert}", number=3)
    reward = await rewarded(evidence)
    assert reward.components["task"] == 1
    assert reward.components["memory.recall"] == 1
    assert reward.components["penalty"] == 0
    assert reward.hacks["stored_everything"] == 1, "that is how it does so"


async def test_the_question_itself_is_no_key_phrase_that_the_context_keeps() -> None:
    """Of a real episode: what was retrieved is condensed into a summary, or dropped."""
    evidence = await play(recipe(**BASE), Player(*SCRIPTS["tidies"]), number=3)
    preserved = (await rewarded(evidence)).components["context.preservation"]
    assert evidence.gold is not None
    names = re.findall(r"[A-Z][a-z]+(?: [A-Z][a-z]+)+", evidence.gold.question)
    end = context_at_the_end(evidence.events)
    assert names
    assert end is not None
    beside = [text for text in end if evidence.gold.question not in text]
    removed = {
        id_
        for e in evidence.events
        if e["type"] == "remove" and e["reason"] in ("filter", "summary", "overflow")
        for id_ in e["ids"]
    }
    gone = [
        e["text"]
        for e in evidence.events
        if e["type"] == "message" and e["id"] in removed and e["kind"] == "tool_result"
    ]
    lost = [
        name
        for name in names
        if any(name in text for text in gone) and not any(name in text for text in beside)
    ]
    assert preserved == float(not lost)
