"""`replay:RUN` gives back what was recorded, and notices when it does not fit."""

import pytest

from agemem_eval.harness.config import make_config
from agemem_eval.harness.errors import DataError, ModelError, UsageError
from agemem_eval.harness.ledger import Role, RoleUsage, Usage
from agemem_eval.harness.models import make_model
from agemem_eval.harness.records import Episode, EpisodeKey
from agemem_eval.harness.store import RunStore
from agemem_eval.harness.tools import ToolCall
from agemem_eval.harness.trace import Trace
from agemem_eval.harness.types import ChatMessage, Completion, Request, Sampling

from .fakes import FakeEnv, request, view


def record(store, task="t1", memory="agemem-norl", prompt="rules", status="completed", **key):
    """Commit an episode of three calls: the agent's, a summary's, the agent's."""
    trace = Trace()
    trace.emit("message", id="m1", role="system", kind="system", text=prompt, tokens=1, pinned=True)
    used = {"prompt_tokens": 10, "completion_tokens": 2, "estimated": True}
    calls = [["Summary_context", {"span": "all"}, "c1"]]
    trace.emit("completion", text=f"{memory} 1", tool_calls=calls, finish="tool_calls", **used)
    trace.emit("model_call", role="memory_write", text="sum", prompt_tokens=5, completion_tokens=1)
    trace.emit("message", id="m2", role="tool", kind="tool_result", text="done", tokens=1)
    trace.emit("message", id="m3", role="user", kind="summary", text="sum", tokens=1)
    trace.emit("message", id="m4", role="user", kind="message", text="gone", tokens=1)
    trace.emit("remove", ids=["m4"], reason="filter")
    trace.emit("completion", text=f"{memory} 2", tool_calls=[], finish="stop", **used)
    fields = {"env": "fake", "split": "all", "seed": 0, "repeat": 0, "model": "openai:m", **key}
    full = EpisodeKey(
        env_version="1", data_hash="d", task=task, memory=memory, memory_hash=memory,
        model_hash="x", protocol_hash="p", **fields,
    )  # fmt: skip
    tokens = {"agent": RoleUsage(2, 20, 4, 2), "memory_write": RoleUsage(1, 5, 1)}
    episode = Episode(
        full, "", status, True, 1.0, 1.0, 1, 2, 0, 0, 0, 0, {}, tokens, 0, 0.1, "2030-01-01",
        labels={"memory_model": "openai:m"},
    )  # fmt: skip
    store.commit(episode, trace.events)


@pytest.fixture
def run(tmp_path):
    """A run directory open for recording, as `runs/base`."""
    config = make_config({"envs": ["fake"], "memories": ["none"], "model": "openai:m"})
    with RunStore(tmp_path / "runs" / "base") as store:
        store.lock(config, [])
        yield store


def replay(run, **episode):
    model = make_model("replay:base", {"runs_dir": str(run.directory.parent)})
    return model, model.bind(view(FakeEnv(), **episode))


RULES = ChatMessage("system", "rules")
DONE = ChatMessage("tool", "done")


def write_request():
    return Request([ChatMessage("user", "sum up")], Sampling(), Role.MEMORY_WRITE)


async def test_gives_back_every_call_in_order(run):
    record(run)
    model, bound = replay(run)
    call = ToolCall("Summary_context", {"span": "all"}, "c1")
    used = Usage(10, 2, estimated=True)
    assert await bound.generate(request(RULES)) == Completion(
        "agemem-norl 1", used, (call,), "tool_calls"
    )
    assert await bound.generate(write_request()) == Completion("sum", Usage(5, 1))
    assert await bound.generate(request(RULES, DONE)) == Completion("agemem-norl 2", used)
    with pytest.raises(ModelError, match=r"diverged at call 4 of task t1.*recording ended"):
        await bound.generate(request())
    assert model.info.name == "replay of openai:m"
    assert model.info.writes
    assert not model.info.oracle
    assert model.info.training == "none"


async def test_another_order_of_roles_is_a_divergence(run):
    record(run)
    _, bound = replay(run)
    with pytest.raises(ModelError, match=r"diverged at call 1.*memory_write call is asked for"):
        await bound.generate(write_request())


async def test_another_prompt_is_a_divergence(run):
    record(run)
    _, bound = replay(run)
    await bound.generate(request(RULES))
    await bound.generate(write_request())
    with pytest.raises(ModelError, match=r"diverged at call 3.*prompt ends with another message"):
        await bound.generate(request(RULES, ChatMessage("tool", "There is no such memory")))


async def test_episodes_are_told_apart_by_task_seed_and_repeat(run):
    record(run)
    record(run, seed=1, memory="other")
    record(run, task="t2", status="infra_error")
    assert (await replay(run, seed=1)[1].generate(request(RULES))).text == "other 1"
    for missing in ({"task": "t2"}, {"task": "t3"}, {"repeat": 1}, {"seed": 2}):
        with pytest.raises(ModelError, match="holds 0 recordings"):
            await replay(run, **missing)[1].generate(request())


async def test_memories_of_one_run_are_told_apart_by_their_prompt(run):
    record(run, memory="none", prompt="plain rules")
    record(run, memory="agemem", prompt="rules with tools")
    model, _ = replay(run)
    assert model.info.training == "agemem"
    for prompt, text in (("plain rules", "none 1"), ("rules with tools", "agemem 1")):
        asked = request(ChatMessage("system", prompt))
        assert (await replay(run)[1].generate(asked)).text == text
    with pytest.raises(ModelError, match=r"0 recordings.*memories: agemem, none"):
        await replay(run)[1].generate(request())


def test_a_run_is_named_by_its_directory_too(run):
    record(run)
    assert make_model(f"replay:{run.directory}").info.name == "replay of openai:m"


def test_runs_that_cannot_be_replayed(tmp_path, run):
    runs = {"runs_dir": str(run.directory.parent)}
    with pytest.raises(UsageError, match="replay:NAME"):
        make_model("replay", runs)
    with pytest.raises(UsageError, match="there is no run at"):
        make_model("replay:nothing", runs)
    (tmp_path / "runs" / "foreign").mkdir()
    with pytest.raises(DataError, match="not a run"):
        make_model("replay:foreign", runs)
    config = make_config({"envs": ["fake"], "memories": ["none"], "model": "replay:base"})
    with RunStore(tmp_path / "runs" / "again") as store:
        store.lock(config, [])
    with pytest.raises(UsageError, match="is a replay itself: use --model replay:base"):
        make_model("replay:again", runs)


async def test_a_damaged_recording_is_named(run):
    record(run)
    next((run.directory / "turns").iterdir()).write_bytes(b"zeros")
    with pytest.raises(DataError, match="is damaged"):
        await replay(run)[1].generate(request())
