"""Which models a run asks: the agent's, its memory's, the judge's; and what that does to names."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agemem_eval.harness.config import Execution, RunConfig, make_config
from agemem_eval.harness.errors import UsageError
from agemem_eval.harness.options import resolve
from agemem_eval.harness.plan import Models, make_memory, memory_hash
from agemem_eval.harness.runner import RunResult, run
from agemem_eval.harness.services import make_models
from agemem_eval.harness.store import RunStore
from agemem_eval.harness.testserver import ChatServer

COUNT = "agemem_fakes.envs:CountEnv"


def config(**values: Any) -> RunConfig:
    return make_config({"envs": [COUNT], "memories": ["mem0"], "episodes": 2, **values})


def models(**values: Any) -> Models:
    execution = Execution(base_url="http://localhost:1/v1")
    return make_models(config(**values), execution)


def test_the_memory_s_model_is_the_agent_s_own_where_that_can_write() -> None:
    own = models(model="openai:m")
    assert own.memory is own.agent
    same = models(model="openai:m", memory_model="openai:m")
    assert same.memory is same.agent
    rules = models()
    assert rules.agent.info.name == "scripted (oracle)"
    assert rules.memory.info.name.startswith("heuristic")
    chosen = models(model="openai:m", memory_model="heuristic")
    assert chosen.memory.info.name.startswith("heuristic")


@pytest.mark.parametrize("name", ["scripted", "random"])
def test_a_model_that_cannot_write_is_refused_for_memories_and_judging(name: str) -> None:
    with pytest.raises(UsageError, match=f"--memory-model {name} cannot write texts: use openai"):
        models(memory_model=name)
    with pytest.raises(UsageError, match=f"--judge {name} cannot judge: use openai:NAME"):
        models(judge=name)


def test_an_address_that_nobody_is_asked_at_is_refused() -> None:
    url = "http://localhost:2/v1"
    with pytest.raises(UsageError, match="--judge-base-url without --judge"):
        make_models(config(), Execution(judge_base_url=url))
    with pytest.raises(UsageError, match="--memory-base-url: the model 'heuristic' is not served"):
        make_models(config(), Execution(memory_base_url=url))


def test_rules_are_no_judge_and_no_agent(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--judge heuristic cannot judge"):
        models(judge="heuristic")
    with pytest.raises(UsageError, match="heuristic"):
        asyncio.run(run(config(model="heuristic"), Execution(runs_dir=tmp_path, workers=0)))


def test_a_model_of_its_own_is_part_of_a_memory_s_identity() -> None:
    def hash_of(memory: str, **values: Any) -> str:
        chosen = models(**values)
        return memory_hash(
            make_memory(config(memories=[memory], **values), memory, chosen)[0], chosen
        )

    by_agent = hash_of("mem0", model="openai:m")
    assert by_agent == hash_of("mem0", model="openai:other")  # that is the model's identity
    by_rules = hash_of("mem0", model="openai:m", memory_model="heuristic")
    other = hash_of("mem0", model="openai:m", memory_model="openai:n")
    assert len({by_agent, by_rules, other}) == 3
    assert by_rules == hash_of("mem0")
    for unasked in ("none", "rag", "store-all"):  # they never ask it
        assert hash_of(unasked) == hash_of(unasked, memory_model="openai:n")


def test_options_reach_the_memory_s_model_and_the_judge() -> None:
    given = {"env": "alfworld", "memory": "mem0", "model": "scripted", "judge": "openai:j"}
    given["memory_model"] = "openai:n"
    resolved, execution = resolve({**given, "option": ["timeout_s=7", "profile=oss-1.0"]})
    assert execution.model_options == {"timeout_s": "7"}
    assert resolved.options == {"mem0": {"profile": "oss-1.0"}}
    assert resolved.model_names == ("scripted", "openai")


def play(folder: Path, name: str, **values: Any) -> RunResult:
    execution = Execution(runs_dir=folder, name=name, workers=0)
    return asyncio.run(run(config(**values), execution))


def test_a_run_with_several_memories_is_replayed_memory_by_memory(tmp_path: Path) -> None:
    async def record() -> None:
        async with ChatServer(lambda _: "<think>x</think><answer>inc</answer>") as server:
            execution = Execution(runs_dir=tmp_path, name="r", workers=0, base_url=server.url)
            what = config(memories=["rag", "mem0", "amem"], model="openai:m")
            assert (await run(what, execution)).complete

    asyncio.run(record())
    again = play(tmp_path, "again", memories=["rag", "mem0", "amem"], model="replay:r")
    assert again.complete, again.stopped
    first = RunStore.open(tmp_path / "r").episodes().values()
    second = RunStore.open(tmp_path / "again").episodes().values()
    roles = [sorted((e.key.memory, str(e.tokens)) for e in run_) for run_ in (first, second)]
    assert roles[0] == roles[1]


def test_a_stream_in_several_orders_is_replayed_order_by_order(tmp_path: Path) -> None:
    orders = {"memory_scope": "run", "order_seeds": (0, 1), "memories": ["rag"]}
    assert play(tmp_path, "r", **orders).complete
    again = play(tmp_path, "again", model="replay:r", **orders)
    assert again.complete, again.stopped


def test_what_rules_wrote_is_written_again_in_a_replay(tmp_path: Path) -> None:
    assert play(tmp_path, "r", memories=["rag", "mem0"]).complete
    again = play(tmp_path, "again", memories=["rag", "mem0"], model="replay:r")
    assert again.complete, again.stopped
    assert again.rows[1].tokens["memory_write"]["calls"] > 0
