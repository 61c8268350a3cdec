"""Models in the one agent loop, with AgeMem's tools, in real (generated) ALFWorld games."""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter

import pytest

from agemem_eval.baselines.agemem import AgeMem
from agemem_eval.baselines.none import NoMemory
from agemem_eval.envs.alfworld.env import AlfworldEnvironment
from agemem_eval.envs.hotpotqa.env import HotpotqaEnvironment
from agemem_eval.harness.agent import run_episode
from agemem_eval.harness.config import AgentConfig, make_config
from agemem_eval.harness.ledger import Ledger, Role, Usage
from agemem_eval.harness.metering import Meter, MeteredEmbedder, MeteredModel
from agemem_eval.harness.models import make_model
from agemem_eval.harness.models.openai import OpenAIModel
from agemem_eval.harness.plan import make_embedder
from agemem_eval.harness.protocol import render_calls
from agemem_eval.harness.records import EpisodeKey
from agemem_eval.harness.store import RunStore
from agemem_eval.harness.testserver import ChatServer, at_random
from agemem_eval.harness.tools import ToolCall
from agemem_eval.harness.trace import Trace
from agemem_eval.harness.types import Completion, Services
from agemem_eval.harness.workers.pool import LocalEnv

TOOLS = (
    "Add_memory", "Update_memory", "Delete_memory", "Retrieve_memory", "Summary_context",
    "Filter_context",
)  # fmt: skip


@contextlib.asynccontextmanager
async def memory_for(model, meter, kind=AgeMem):
    embedder = MeteredEmbedder(make_embedder("hashing"), meter)
    services = Services(MeteredModel(model, meter, Role.MEMORY_WRITE), embedder, None)
    memory = kind(services)
    yield memory
    await memory.close()


async def play(model, n=6, *, transport="prompt", kind=AgeMem, environment=None, **limits):
    """Records and traces of the first tasks of the generated split."""
    environment = environment or AlfworldEnvironment()
    config = AgentConfig(transport=transport, **limits)
    played = []
    for task in environment.tasks("generated")[:n]:
        meter = Meter(Ledger(), Trace())
        async with memory_for(model, meter, kind) as memory:
            key = EpisodeKey(
                environment.spec.name, "1", "d", task.split, task.id, kind.label(model.info), "h",
                model.info.name, "h", "p", 0, 0,
            )  # fmt: skip
            episode = await run_episode(
                LocalEnv(environment),
                memory,
                model,
                task,
                key=key,
                config=config,
                meter=meter,
                scope_id=task.id,  # memory ids follow from it: the same whatever the model
            )
        played.append((episode, meter.trace))
    return played


@pytest.mark.parametrize("transport", ["prompt", "native"])
@pytest.mark.parametrize("expert", ["oracle", "explorer"])
async def test_scripted_wins_and_every_tool_call_succeeds(expert, transport):
    played = await play(make_model(f"scripted:{expert}"), transport=transport)
    assert all(episode.success for episode, _ in played)
    assert all(episode.key.memory == "agemem-norl" for episode, _ in played)
    assert not any(episode.malformed_outputs + episode.forfeits for episode, _ in played)
    statuses = Counter()
    for episode, _ in played:
        for tool, counts in episode.tool_calls.items():
            statuses.update({(tool, status): n for status, n in counts.items()})
    assert {status for _, status in statuses} == {"success"}
    used = {tool for tool, _ in statuses}
    assert used == set(TOOLS) if expert == "explorer" else used <= set(TOOLS)


@pytest.mark.parametrize("transport", ["prompt", "native"])
@pytest.mark.parametrize(
    ("options", "n_messages"), [({}, 6), ({"exposure": "each", "changes": "2"}, 17)]
)
async def test_scripted_keeps_what_it_is_told_and_asks_for_it(options, n_messages, transport):
    environment = HotpotqaEnvironment(form="three-stage", **options)
    model = make_model("scripted")
    played = await play(model, transport=transport, environment=environment)
    for task, (episode, trace) in zip(environment.tasks("generated"), played, strict=False):
        assert episode.success
        assert not episode.malformed_outputs + episode.forfeits
        assert all(counts.keys() == {"success"} for counts in episode.tool_calls.values())
        told = [environment.reset(task, 0).text]
        told += [environment.step("ok").observation for _ in range(n_messages - 1)]
        tools = trace.of("tool")
        notes = [e["arguments"]["content"] for e in tools if e["name"] == "Add_memory"]
        assert notes == told
        assert episode.memory_entries == n_messages
        queries = [e["arguments"]["query"] for e in tools if e["name"] == "Retrieve_memory"]
        assert queries[-1] == f"Your goal: answer the question: {environment.gold(task).question}"
        assert queries[0] == queries[-2] != queries[-1]


async def test_scripted_answers_where_a_step_has_no_room_for_a_second_tool():
    environment = HotpotqaEnvironment(form="three-stage")
    limits = {"environment": environment, "max_turns_per_step": 2}
    for episode, _ in await play(make_model("scripted"), 2, **limits):
        assert episode.success
        assert episode.forfeits == 0
        assert episode.memory_entries == 6


def timeless(events):
    return [{k: v for k, v in event.items() if k != "latency_s"} for event in events]


async def test_a_finished_run_replays_to_the_same_records(tmp_path):
    config = make_config({"envs": ["alfworld"], "memories": ["agemem"], "model": "scripted"})
    first = await play(make_model("scripted:explorer"), 3)
    with RunStore(tmp_path / "base") as store:
        store.lock(config, [])
        for episode, trace in first:
            store.commit(episode, trace.events)
    again = await play(make_model("replay:base", {"runs_dir": str(tmp_path)}), 3)
    for (before, old), (after, new) in zip(first, again, strict=True):
        assert after.status == before.status == "completed", after.reason
        assert after.tokens == before.tokens
        assert after.tool_calls == before.tool_calls
        for type_ in ("action", "memory"):
            assert timeless(new.of(type_)) == timeless(old.of(type_))


async def test_replay_of_another_protocol_diverges_as_infrastructure(tmp_path):
    config = make_config({"envs": ["alfworld"], "memories": ["agemem"], "model": "scripted"})
    with RunStore(tmp_path / "base") as store:
        store.lock(config, [])
        for episode, trace in await play(make_model("scripted"), 1, max_steps=2):
            store.commit(episode, trace.events)
    (episode, _), *_ = await play(make_model("replay:base", {"runs_dir": str(tmp_path)}), 1)
    assert episode.status == "infra_error"
    assert episode.success is None
    assert "replay diverged at call" in episode.reason


@pytest.mark.parametrize("transport", ["prompt", "native"])
async def test_the_ledger_of_an_episode_is_what_the_endpoint_served(transport):
    """Agent turns and the summaries that the memory has written, with faults on the way."""
    turns = itertools.count(1)
    call = ToolCall("Summary_context", {"span": "all"}, "c")

    def reply(body):
        messages = body["messages"]
        if messages[0]["content"].startswith("You condense"):
            return Completion("The room was seen.", Usage(31, 5))
        if next(turns) % 3:
            return Completion("<think>Go.</think><answer>look</answer>", Usage(len(messages), 7))
        if "tools" in body:
            return Completion("", Usage(len(messages), 9), (call,), "tool_calls")
        return Completion(f"<think>Tidy.</think>{render_calls((call,))}", Usage(len(messages), 11))

    faults = at_random(0.3, ["429", "500", "disconnect", "truncated"])
    async with ChatServer(reply, faults=faults) as server:
        model = OpenAIModel("m", base_url=server.url, backoff_s=0.001, max_retries=20)
        played = await play(model, 4, transport=transport, max_steps=8)
        await model.close()
    roles = [(role, row) for episode, _ in played for role, row in episode.tokens.items()]
    chat = [row for role, row in roles if role != "embedding"]
    assert {role for role, _ in roles} == {"agent", "memory_write"}
    assert server.n_requests > server.served.calls > 0
    assert sum(row.calls for row in chat) == server.served.calls
    assert sum(row.prompt_tokens for row in chat) == server.served.prompt_tokens
    assert sum(row.completion_tokens for row in chat) == server.served.completion_tokens
    assert all(episode.status == "limit" for episode, _ in played)


async def test_an_endpoint_that_is_down_is_no_score(unused_tcp_port):
    url = f"http://127.0.0.1:{unused_tcp_port}/v1"
    model = OpenAIModel("m", base_url=url, max_retries=1, backoff_s=0.001)
    (episode, _), *_ = await play(model, 1, kind=NoMemory)
    await model.close()
    assert episode.status == "infra_error"
    assert episode.success is None
    assert "is the server running there?" in episode.reason
