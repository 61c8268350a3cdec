"""`vllm:MODEL` with the real vLLM: what it answers, its adapters, and that nothing is left."""

from __future__ import annotations

import json
import math
import os
import time

import pytest
import pytest_asyncio
from tiny_model import CHAT_TEMPLATE, make_adapter, make_model

from agemem_eval.harness.errors import ModelError, UsageError
from agemem_eval.harness.models.openai import OpenAIModel
from agemem_eval.harness.models.vllm import VllmModel
from agemem_eval.harness.tools import Tool, ToolArguments, ToolCall
from agemem_eval.harness.types import ChatMessage, Request, Sampling

from .processes import alive, needs_vllm, shared_memory

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.asyncio(loop_scope="module"),
    needs_vllm,
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
    before = shared_memory()
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
    assert shared_memory() <= before


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


async def test_an_adapter_that_is_loaded_already_is_no_failure(model):
    model._server._loaded = None  # as where the call that loaded it was cancelled meanwhile
    assert (await model.generate(ask())).usage.completion_tokens > 0


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
