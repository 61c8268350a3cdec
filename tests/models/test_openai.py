"""`openai:NAME` against the real HTTP stack: every fault class, retries, ledger, secrets."""

from __future__ import annotations

import asyncio
import re

import pytest

from agemem_eval.harness.errors import ModelError
from agemem_eval.harness.ledger import Ledger, Role, Usage
from agemem_eval.harness.models.openai import OpenAIModel
from agemem_eval.harness.testserver import (
    BODY_FAULTS,
    FAULTS,
    PLAY,
    ChatServer,
    at_random,
    first,
)
from agemem_eval.harness.tools import ToolCall
from agemem_eval.harness.types import ChatMessage, Completion, Request, Sampling

from .fakes import MEMORY_TOOLS, QUICK, endpoint, request

NEVER_PASS = {"redirect", "huge"}
NO_FAILURE = set(BODY_FAULTS) - {"empty_choices", "no_message"}  # a completion all the same
MAY_PASS = sorted(set(FAULTS) - NEVER_PASS - NO_FAILURE - {"short_length"})  # test_bad_replies.py


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


async def test_a_plain_call():
    async with endpoint() as (server, model):
        sampling = Sampling(max_tokens=7, temperature=0.0, seed=3)
        completion = await model.generate(Request([ChatMessage("user", "hi")], sampling))
    assert completion.text == PLAY
    assert completion.finish == "stop"
    assert completion.usage == Usage(server.served.prompt_tokens, server.served.completion_tokens)
    body = server.requests[0].body
    assert body == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 7,
        "temperature": 0.0,
        "seed": 3,
    }
    assert "Authorization" not in server.requests[0].headers


@pytest.mark.parametrize("fault", [*MAY_PASS, "429", "500", "503"])
async def test_what_may_pass_is_tried_again(fault):
    options = {"timeout_s": 0.2 if fault == "hang" else 10}
    async with endpoint(faults=first(fault, fault), options=options) as (server, model):
        completion = await model.generate(request())
    assert completion.text == PLAY
    assert server.n_requests == 3
    assert server.served.calls == 1  # the ledger of the one that arrived is all there is


@pytest.mark.parametrize("fault", [*MAY_PASS, "408", "429", "500"])
async def test_what_never_passes_ends_in_one_line(fault):
    options = {"max_retries": 1, "timeout_s": 0.2}
    async with endpoint(faults=lambda _: fault, options=options) as (server, model):
        with pytest.raises(ModelError) as caught:
            await model.generate(request())
    message = str(caught.value)
    assert server.url in message
    assert "gave up after 2 tries" in message
    assert "\n" not in message
    assert server.n_requests == 2


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("400", "the request was refused: injected 400"),
        ("401", "there is none: set $OPENAI_API_KEY"),
        ("403", "set $OPENAI_API_KEY"),
        ("404", "check the model's name and the base url"),
        ("413", "--context-tokens"),
        ("422", "the request was refused"),
        ("redirect", "use that as the base url"),
        ("huge", "larger than 1 MB"),
    ],
)
async def test_what_cannot_pass_is_told_at_once(fault, says):
    async with endpoint(faults=lambda _: fault) as (server, model):
        with pytest.raises(ModelError, match=re.escape(says)):
            await model.generate(request())
    assert server.n_requests == 1


async def test_spent_quota_and_long_prompts_are_not_retried():
    said = {"error": {"message": "This model's maximum context length is 10", "code": 400}}
    async with endpoint(lambda _: said) as (server, model):
        with pytest.raises(ModelError, match="lower --context-tokens"):
            await model.generate(request())
        assert server.n_requests == 1
    spent = {"error": {"message": "You exceeded your quota", "code": 401}}
    async with endpoint(lambda _: spent) as (server, model):
        with pytest.raises(ModelError, match="the key was refused"):
            await model.generate(request())
        assert server.n_requests == 1


async def test_nobody_listening(unused_tcp_port):
    model = OpenAIModel("m", base_url=f"http://127.0.0.1:{unused_tcp_port}/v1", **QUICK)
    with pytest.raises(ModelError, match=r"is the server running there\? \(gave up after 4 tries"):
        await model.generate(request())
    await model.close()


async def test_an_address_that_serves_pages_is_named_as_the_cause():
    async with endpoint(faults=lambda _: "html", options={"max_retries": 0}) as (_, model):
        with pytest.raises(ModelError, match=r"text/html.*base url end where"):
            await model.generate(request())


# --- what comes back ------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["no_usage", "negative_usage"])
async def test_usage_that_is_none_is_estimated_and_marked(fault):
    async with endpoint(faults=first(fault)) as (_, model):
        estimated = (await model.generate(request())).usage
        reported = (await model.generate(request())).usage
    assert estimated.estimated
    assert not reported.estimated
    assert estimated.prompt_tokens > 0
    assert estimated.completion_tokens == model.count_tokens(PLAY)


async def test_native_tool_calls_good_and_bad():
    async with endpoint(faults=first("tool_call", "bad_arguments", "null_content")) as (_, model):
        good = await model.generate(request(tools=MEMORY_TOOLS))
        bad = await model.generate(request(tools=MEMORY_TOOLS))
        empty = await model.generate(request())
    assert [(c.name, c.arguments) for c in good.tool_calls] == [
        ("Retrieve_memory", {"query": "apple"})
    ]
    assert good.text == ""
    assert not good.malformed
    assert not bad.tool_calls
    assert "Retrieve_memory are not JSON" in bad.malformed[0]
    assert empty.text == ""


async def test_both_transports_on_the_wire():
    call = ToolCall("Add_memory", {"content": "ü"}, "c1")
    messages = [
        ChatMessage("system", "rules"),
        ChatMessage("assistant", "", (call,)),
        ChatMessage("tool", "Stored.", tool_call_id="c1"),
        ChatMessage("assistant", "<tool_call>[]</tool_call>"),
        ChatMessage("tool", "Nothing."),
    ]
    async with endpoint() as (server, model):
        await model.generate(Request(messages, Sampling(), tools=MEMORY_TOOLS[:1]))
    body = server.requests[0].body
    assert body["messages"] == [
        {"role": "system", "content": "rules"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "Add_memory", "arguments": '{"content": "ü"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "Stored."},
        {"role": "assistant", "content": "<tool_call>[]</tool_call>"},
        {"role": "user", "content": "<tool_response>\nNothing.\n</tool_response>"},
    ]
    assert body["tools"] == [MEMORY_TOOLS[0].schema()]


async def test_token_ids_and_logprobs_where_asked_for():
    def reply(body):
        assert body["logprobs"] is True
        assert body["return_token_ids"] is True
        content = [{"token": "go", "logprob": -0.5}, {"token": "!", "logprob": -1}]
        return {
            "choices": [
                {
                    "message": {"content": "go!"},
                    "finish_reason": "length",
                    "logprobs": {"content": content},
                    "token_ids": [11, 12],
                }
            ],
            "usage": {"prompt_tokens": 3, "completion_tokens": 2},
        }

    async with endpoint(reply, options={"token_ids": "true"}) as (_, model):
        wanted = Request([ChatMessage("user", "x")], Sampling(), want_tokens=True)
        completion = await model.generate(wanted)
    assert completion.token_ids == (11, 12)
    assert completion.logprobs == (-0.5, -1.0)
    assert completion.finish == "length"


async def test_decoding_options_reach_the_endpoint():
    options = {
        "seed": "5",
        "max_tokens_field": "max_completion_tokens",
        "extra_body": '{"chat_template_kwargs": {"enable_thinking": false}}',
    }
    async with endpoint(options=options) as (server, model):
        own = Request([ChatMessage("user", "x")], Sampling(temperature=None, seed=9))
        await model.generate(request())
        await model.generate(own)
    bodies = [received.body for received in server.requests]
    assert [body["seed"] for body in bodies] == [5, 9]
    assert all(body["max_completion_tokens"] == 1024 for body in bodies)
    assert bodies[0]["chat_template_kwargs"] == {"enable_thinking": False}
    assert "temperature" not in bodies[1]


# --- many at once, and the ledger -----------------------------------------------------------


async def test_many_calls_overlap():
    async with endpoint(latency_s=0.2, options={"timeout_s": 20}) as (server, model):
        loop = asyncio.get_running_loop()
        start = loop.time()
        await asyncio.gather(*(model.generate(request()) for _ in range(192)))
        assert loop.time() - start < 10  # one after the other: 38 s
    assert server.most_in_flight > 64  # it began with 32


async def test_no_more_calls_than_allowed_are_in_flight():
    options = {"timeout_s": 20, "max_in_flight": "5"}
    async with endpoint(latency_s=0.01, options=options) as (server, model):
        await asyncio.gather(*(model.generate(request()) for _ in range(50)))
    assert server.most_in_flight == 5
    assert server.served.calls == 50


async def test_the_ledger_closes_under_faults():
    def reply(body):
        n = int(body["messages"][0]["content"])
        return Completion("x " * (n % 7), Usage(10 + n, n % 7))

    faults = at_random(0.4, ["429", "500", "503", "disconnect", "truncated", "html", "error_body"])
    ledger = Ledger()
    roles = [Role.AGENT, Role.MEMORY_WRITE, Role.JUDGE]
    options = {"max_retries": 30, "max_wait_s": 0.01, "timeout_s": 20}
    async with endpoint(reply, faults=faults, options=options) as (server, model):

        async def call(n):
            completion = await model.generate(request(ChatMessage("user", str(n))))
            ledger.add(roles[n % 3], completion.usage)

        await asyncio.gather(*(call(n) for n in range(200)))
    rows = ledger.roles.values()
    assert server.n_requests > 250
    assert sum(row.calls for row in rows) == server.served.calls == 200
    assert sum(row.prompt_tokens for row in rows) == server.served.prompt_tokens
    assert sum(row.completion_tokens for row in rows) == server.served.completion_tokens
    assert sum(row.estimated_calls for row in rows) == 0


async def test_connections_are_reused_and_reopened_after_close():
    async with endpoint() as (_, model):
        await model.generate(request())
        opened = model._client._joined
        await model.generate(request())
        assert model._client._joined is opened
        await model.close()
        assert opened.session.closed
        await model.generate(request())


async def test_models_at_one_address_share_its_connections_and_its_gate(monkeypatch):
    async with endpoint() as (server, one):
        other = OpenAIModel("another", base_url=server.url + "/", max_in_flight="7")
        monkeypatch.setenv("OTHER_KEY", "k")
        elsewhere = OpenAIModel("m", base_url=server.url, api_key_env="OTHER_KEY")
        for model in (one, other, elsewhere):
            await model.generate(request())
        shared = one._client._joined
        assert other._client._joined is shared
        assert elsewhere._client._joined is not shared
        assert shared.gate.limit == 7  # the stricter bound holds for both
        await one.close()
        assert not shared.session.closed
        await other.generate(request())
        await other.close()
        assert shared.session.closed
        await elsewhere.close()


def test_a_model_can_be_used_in_one_loop_after_another():
    with ChatServer().in_thread() as server:
        model = OpenAIModel("m", base_url=server.url)

        async def ask():
            return (await model.generate(request())).text

        async def ask_and_close():
            text = await ask()
            await model.close()
            return text

        assert [asyncio.run(ask_and_close()) for _ in range(2)] == [PLAY, PLAY]


def test_serves_synchronous_code_from_a_thread():
    with ChatServer(lambda body: body["messages"][-1]["content"]).in_thread() as server:

        async def ask():
            model = OpenAIModel("m", base_url=server.url)
            try:
                return await model.generate(request(ChatMessage("user", "echo")))
            finally:
                await model.close()

        assert asyncio.run(ask()).text == "echo"
    assert server.served.calls == 1
