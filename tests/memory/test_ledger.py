"""The ledger of every memory closes against what an endpoint served, to the token."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from agemem_eval.harness import registry
from agemem_eval.harness.config import Execution, make_config
from agemem_eval.harness.ledger import RoleUsage
from agemem_eval.harness.runner import RunResult, run
from agemem_eval.harness.store import RunStore
from agemem_eval.harness.testserver import ChatServer

COUNT = "agemem_fakes.envs:CountEnv"
REAL = ("mem0-lib", "langmem-lib")  # need their extras; tested by themselves
NEED_GOLD = ("gold-store", "shuffled-store")
MEMORIES = [
    plugin.name
    for plugin in registry.plugins("memories")
    if plugin.distribution == "agemem-eval" and plugin.name not in (*REAL, *NEED_GOLD)
]

# What any of the backends may ask for, in one object: each takes what it knows.
ANYTHING = json.dumps(
    {
        "facts": ["The number is three.", "The counter stands in the hall."],
        "memory": [{"event": "ADD", "id": None, "text": "The number is three."}],
        "operation": "ADD",
        "id": None,
        "text": "The number is three.",
        "entities": [{"name": "counter", "type": "thing"}, {"name": "hall", "type": "place"}],
        "relations": [{"source": "counter", "relation": "stands in", "target": "hall"}],
        "obsolete": [],
        "keywords": ["number"],
        "context": "A number is counted.",
        "tags": ["counting"],
        "links": ["0"],
        "updates": [{"id": "0", "context": "Counting goes on.", "tags": ["number"]}],
        "insert": [{"kind": "semantic", "content": "The number is three."}],
        "patch": [],
        "remove": [],
    }
)
PROSE = "I would say that it is a number, though I am not sure of it."
CALLS = [
    {"name": "Add_memory", "arguments": {"content": "The number is three."}},
    {"name": "Retrieve_memory", "arguments": {"query": "number"}},
    {"name": "Summary_context", "arguments": {"span": "all"}},
]


class Policy:
    """Plays the agent, and answers a memory's requests with one text."""

    def __init__(self, reply: str) -> None:
        self.reply, self.n = reply, 0

    def __call__(self, body: dict[str, Any]) -> str:
        if "You act in an environment" not in body["messages"][0]["content"]:
            return self.reply
        self.n += 1
        if self.n % 3 == 1 and "Summary_context" in body["messages"][0]["content"]:
            return f"<think>hm</think><tool_call>{json.dumps(CALLS)}</tool_call>"
        return "<think>hm</think><answer>inc</answer>"


def play(folder: Path, reply: str, **values: Any) -> tuple[RunResult, ChatServer]:
    async def go() -> tuple[RunResult, ChatServer]:
        async with ChatServer(Policy(reply)) as server:
            config = make_config({"envs": [COUNT], "episodes": 3, "model": "openai:m", **values})
            execution = Execution(runs_dir=folder, name="r", workers=0, base_url=server.url)
            return await run(config, execution), server

    return asyncio.run(go())


def closes(folder: Path, result: RunResult, server: ChatServer) -> dict[str, int]:
    """Hold the ledger against what was served; gives calls by role."""
    assert result.complete
    booked: dict[str, int] = {}
    calls = prompt = completion = 0
    for episode in RunStore.open(folder / "r").episodes().values():
        for role, usage in episode.tokens.items():
            booked[role] = booked.get(role, 0) + usage.calls
            if role != "embedding":
                calls += usage.calls
                prompt += usage.prompt_tokens
                completion += usage.completion_tokens
            assert usage.estimated_calls == 0 or role == "embedding"
    served = server.served
    assert (calls, prompt, completion) == (
        served.calls,
        served.prompt_tokens,
        served.completion_tokens,
    )
    return booked


@pytest.mark.parametrize("reply", [ANYTHING, PROSE], ids=["json", "prose"])
@pytest.mark.parametrize("memory", MEMORIES)
def test_what_a_memory_costs_is_what_the_endpoint_served(
    tmp_path: Path, memory: str, reply: str
) -> None:
    result, server = play(tmp_path, reply, memories=[memory])
    booked = closes(tmp_path, result, server)
    (row,) = result.rows
    assert (booked.get("memory_write", 0) > 0) == registry.load("memories", memory).uses_model
    if reply == PROSE and memory in ("mem0", "mem0g", "amem", "langmem"):
        assert sum(row.memory_faults.values()) > 0  # skipped, counted, shown
    costs_add_up(tmp_path)
    reads = row.memory_costs.get("read", {"calls": 0})["calls"] > 0
    assert reads == (booked.get("memory_read", 0) > 0)  # each operation has the role of its calls


def costs_add_up(folder: Path) -> None:
    """What the operations of a memory cost is what its roles were booked."""
    for episode in RunStore.open(folder / "r").episodes().values():
        costs, none = episode.memory_costs.values(), RoleUsage()
        roles = [episode.tokens.get(role, none) for role in ("memory_write", "memory_read")]
        embedding = episode.tokens.get("embedding", none)
        assert sum(c.calls for c in costs) == sum(r.calls for r in roles)
        assert sum(c.prompt_tokens for c in costs) == sum(r.prompt_tokens for r in roles)
        assert sum(c.completion_tokens for c in costs) == sum(r.completion_tokens for r in roles)
        assert sum(c.embedding_tokens for c in costs) == embedding.prompt_tokens


@pytest.mark.parametrize("memory", ["rag", "mem0", "amem"])
def test_it_closes_with_short_term_tools_too(tmp_path: Path, memory: str) -> None:
    result, server = play(tmp_path, ANYTHING, memories=[memory], st_tools=True)
    booked = closes(tmp_path, result, server)
    (row,) = result.rows
    assert row.memory == f"{memory}+st"
    statuses = row.tool_calls["Summary_context"]["statuses"]
    assert set(statuses) == {"success"}
    assert booked["memory_write"] >= 3  # summaries; one of nothing asks nobody


def test_no_memory_has_no_tools_to_be_added_to(tmp_path: Path) -> None:
    result, server = play(tmp_path, ANYTHING, memories=["none"], st_tools=True)
    assert set(closes(tmp_path, result, server)) == {"agent"}
    assert result.rows[0].memory == "none"


def test_a_memory_may_have_an_endpoint_of_its_own(tmp_path: Path) -> None:
    async def go() -> tuple[RunResult, ChatServer, ChatServer]:
        async with ChatServer(Policy("")) as agent, ChatServer(Policy(ANYTHING)) as memory:
            config = make_config(
                {
                    "envs": [COUNT],
                    "memories": ["mem0"],
                    "episodes": 2,
                    "model": "openai:m",
                    "memory_model": "openai:n",
                }
            )
            execution = Execution(
                runs_dir=tmp_path,
                name="r",
                workers=0,
                base_url=agent.url,
                memory_base_url=memory.url,
            )
            return await run(config, execution), agent, memory

    result, agent, memory = asyncio.run(go())
    (row,) = result.rows
    assert row.labels["memory_model"] == "openai:n"
    assert row.tokens["agent"]["calls"] * 2 == agent.served.calls
    assert row.tokens["memory_write"]["calls"] * 2 == memory.served.calls
    assert all(request.body["model"] == "n" for request in memory.requests)
