"""Plays the same episodes at an endpoint that fails and at one that does not, for comparison.

The model's reply is a function of the request alone, so whatever a failed call changed in a prompt
would change all that follows: the records and traces of both runs are equal or something leaked.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agemem_eval.harness.config import Execution, make_config
from agemem_eval.harness.runner import run
from agemem_eval.harness.store import RunStore
from agemem_eval.harness.testserver import ChatServer, Schedule, no_faults

TIMES = {"wall_s", "started_at", "latency_s", "memory_wall_s"}
TRIES = {"attempt", "tokens_lost"}  # what failures may change in a record, and only they
THINGS = ["cabinet 1", "fridge 1", "drawer 2", "countertop 1", "sidetable 1"]
ACTIONS = ["look", "inventory", *(f"go to {thing}" for thing in THINGS)]
TOOLS = [
    {"name": "Add_memory", "arguments": {"content": "There is a {} here."}},
    {"name": "Retrieve_memory", "arguments": {"query": "{}"}},
    {"name": "Filter_context", "arguments": {"criteria": "{}"}},
    {"name": "Summary_context", "arguments": {"span": "all"}},
]


def policy(body: dict[str, Any]) -> str:
    """A reply drawn by the hash of all that was asked: an action, a tool call, or nonsense.

    Whoever writes for a memory is asked without the agent's system prompt; the summary it gets
    holds the hash, too.
    """
    hash_ = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    system = str(body["messages"][0].get("content"))
    if not system.startswith("You act in an environment"):
        return f"They went about; the drawer was {hash_[:8]}."
    rng = random.Random(hash_)
    if "Summary_context" not in json.dumps(body) or rng.random() < 0.5:
        return f"<think>So be it.</think><answer>{rng.choice(ACTIONS)}</answer>"
    if rng.random() < 0.1:
        return "I do not know what to do."
    call = json.dumps([rng.choice(TOOLS)]).replace("{}", rng.choice(THINGS))
    return f"<think>Let me see.</think><tool_call>{call}</tool_call>"


@dataclass(slots=True)
class Played:
    """What one run left behind, and what its endpoint knows of it."""

    complete: bool
    rows: list[Any]  # of the table
    records: dict[str, Any]  # by the episode's id
    traces: dict[str, Any]
    booked: int  # tokens of all roles in the records, lost ones included
    served: int  # tokens of the endpoint's whole replies
    requests: int
    failed: int  # of the requests
    replayed: int  # episodes that took more than one try
    wall_s: float


def timeless(value: Any, without: frozenset[str] | set[str] = TIMES) -> Any:
    """A JSON value without the fields that no two runs share."""
    if isinstance(value, dict):
        return {k: timeless(v, without) for k, v in value.items() if k not in without}
    return [timeless(item, without) for item in value] if isinstance(value, list | tuple) else value


def play(
    folder: Path,
    faults: Schedule = no_faults,
    *,
    limits: dict[str, str],
    retries: int = 2,
    retry_after: str | None = None,
    concurrency: int = 16,
    workers: int | None = 0,
    **values: Any,
) -> Played:
    """A run at an endpoint with these faults.

    Args:
        folder: Where the run is kept.
        faults: See `ChatServer`.
        limits: Options of the model that decide how it waits and how often it tries.
        retries: Of an episode.
        retry_after: See `ChatServer`.
        concurrency: Episodes at once.
        workers: See `Execution`.
        values: Of the configuration, beside the model.
    """
    failed = [0]

    def counting(index: int) -> str | None:
        fault = faults(index)
        failed[0] += fault is not None
        return fault

    with ChatServer(policy, faults=counting, retry_after=retry_after).in_thread() as server:
        execution = Execution(
            runs_dir=folder,
            name="r",
            base_url=server.url,
            concurrency=concurrency,
            workers=workers,
            retries=retries,
            model_options=limits,
        )
        clock = time.perf_counter()
        result = asyncio.run(run(make_config({"model": "openai:m", **values}), execution))
        wall = time.perf_counter() - clock
        served = server.served.prompt_tokens + server.served.completion_tokens
        requests = server.n_requests
    store = RunStore.open(result.directory)
    episodes = store.episodes()
    usages = [u for e in episodes.values() for us in (e.tokens, e.tokens_lost) for u in us.items()]
    return Played(
        complete=result.complete,
        rows=[timeless(row.to_json(), TIMES | TRIES) for row in result.rows],
        records={key.id: timeless(asdict(e), TIMES | TRIES) for key, e in episodes.items()},
        traces={key.id: timeless(list(store.read_trace(key.id))) for key in episodes},
        booked=sum(u.prompt_tokens + u.completion_tokens for r, u in usages if r != "embedding"),
        served=served,
        requests=requests,
        failed=failed[0],
        replayed=sum(e.attempt > 1 for e in episodes.values()),
        wall_s=wall,
    )
