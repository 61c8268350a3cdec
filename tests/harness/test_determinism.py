"""Equal results whatever the concurrency, with a model whose reply depends on the prompt alone."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from agemem_eval.harness.config import Execution, make_config
from agemem_eval.harness.runner import run
from agemem_eval.harness.store import RunStore
from agemem_eval.harness.testserver import ChatServer

TOOLS = [
    {"name": "Add_memory", "arguments": {"content": "There is a {} here."}},
    {"name": "Retrieve_memory", "arguments": {"query": "{}"}},
    {"name": "Filter_context", "arguments": {"criteria": "{}"}},
    {"name": "Summary_context", "arguments": {"span": "all"}},
]
THINGS = ["cabinet 1", "fridge 1", "drawer 2", "countertop 1", "sidetable 1"]
ACTIONS = ["look", "inventory", *(f"go to {thing}" for thing in THINGS)]
TIMES = {"wall_s", "started_at", "latency_s", "memory_wall_s"}


def policy(body: dict[str, Any]) -> str:
    """A reply drawn by the hash of all that was asked: an action, a tool call, or nonsense."""
    asked = json.dumps(body, sort_keys=True)
    rng = random.Random(hashlib.sha256(asked.encode()).hexdigest())
    if "memory" not in asked.lower() or rng.random() < 0.5:
        return f"<think>So be it.</think><answer>{rng.choice(ACTIONS)}</answer>"
    if rng.random() < 0.1:
        return "I do not know what to do."
    call = json.dumps([rng.choice(TOOLS)]).replace("{}", rng.choice(THINGS))
    return f"<think>Let me see.</think><tool_call>{call}</tool_call>"


class Jittery(ChatServer):
    """Answers out of order: each reply takes another time."""

    @property
    def latency_s(self) -> float:
        return random.uniform(0, 0.02)

    @latency_s.setter
    def latency_s(self, value: float) -> None:
        del value


def timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: timeless(v) for k, v in value.items() if k not in TIMES}
    return [timeless(item) for item in value] if isinstance(value, list | tuple) else value


def played(folder: Path, concurrency: int, values: dict[str, Any]) -> dict[str, Any]:
    """Records and traces by episode, but for times; and the table."""

    async def go() -> Any:
        async with Jittery(policy) as server:
            config = make_config({"model": "openai:m", **values})
            execution = Execution(
                runs_dir=folder, name=f"c{concurrency}", concurrency=concurrency,
                base_url=server.url, model_options={"backoff_s": "0.01"},
            )  # fmt: skip
            result = await run(config, execution)
            return result, server.most_in_flight

    result, in_flight = asyncio.run(go())
    assert result.complete
    assert (in_flight > 2) == (concurrency > 1), "the episodes must have been played at once"
    store = RunStore.open(result.directory)
    found = {
        key.id: [timeless(asdict(episode)), timeless(list(store.read_trace(key.id)))]
        for key, episode in store.episodes().items()
    }
    return {"rows": [timeless(row.to_json()) for row in result.rows], "episodes": found}


def cases() -> Iterator[Any]:
    memories = ["none", "rag", "agemem", "mem0", "amem", "langmem"]
    alone = {"envs": ["alfworld"], "memories": memories, "episodes": 3}
    agent = {"max_steps": 8, "context_tokens": 4096}
    yield pytest.param({**alone, "agent": agent, "st_tools": True}, id="prompt")
    native = {**agent, "transport": "native", "temperature": 0.7}
    yield pytest.param({**alone, "agent": native, "repeats": 2}, id="native, sampling")
    stream = {"memory_scope": "run", "order_seeds": [0, 1, 2], "memories": ["rag", "agemem"]}
    yield pytest.param({**alone, "agent": agent, **stream}, id="lifelong streams")


@pytest.mark.parametrize("values", list(cases()))
def test_one_episode_at_a_time_or_64_give_equal_records_but_for_times(
    tmp_path: Path, values: dict[str, Any]
) -> None:
    one, many = (played(tmp_path, n, values) for n in (1, 64))
    assert one["rows"] == many["rows"]
    assert one["episodes"].keys() == many["episodes"].keys()
    for id_, record in one["episodes"].items():
        assert record == many["episodes"][id_]
    tools = {
        e["name"] for _, trace in one["episodes"].values() for e in trace if e["type"] == "tool"
    }
    assert len(tools) > 1, "the policy must have used some tools"
