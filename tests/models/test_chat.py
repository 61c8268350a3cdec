"""Reading replies: whatever JSON an endpoint sends is a completion or a `MalformedReply`."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agemem_eval.harness.models.chat import read_reply, request_json, wire_message
from agemem_eval.harness.models.http import MalformedReply, _parse
from agemem_eval.harness.tools import ToolCall
from agemem_eval.harness.types import ChatMessage, Completion, Request, Sampling

from .fakes import request

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
WANTED = Request([ChatMessage("user", "x")], Sampling(), want_tokens=True)


def some_of(**fields):
    """Objects with these keys, each perhaps missing or perhaps anything at all."""
    return st.fixed_dictionaries({}, optional={k: v | JSON for k, v in fields.items()})


FUNCTION = some_of(name=st.just("Add_memory"), arguments=JSON.map(lambda v: json.dumps(v)))
MESSAGE = some_of(
    content=st.text(), tool_calls=st.lists(some_of(id=st.just("c1"), function=FUNCTION), max_size=3)
)
LOGPROBS = some_of(content=st.lists(some_of(token=st.just("token_id:4"), logprob=st.floats())))
CHOICE = some_of(
    message=MESSAGE,
    finish_reason=st.sampled_from(["stop", "length"]),
    logprobs=LOGPROBS,
    token_ids=st.lists(st.integers(), max_size=3),
)
REPLY = some_of(
    choices=st.lists(CHOICE, min_size=1, max_size=2),
    usage=some_of(prompt_tokens=st.integers(), completion_tokens=st.integers()),
)


@UNHURRIED
@given(REPLY)
def test_any_reply_is_a_completion_or_malformed(reply):
    try:
        completion = read_reply(reply, WANTED, len)
    except MalformedReply:
        return
    assert isinstance(completion, Completion)
    assert completion.usage.prompt_tokens > 0
    assert completion.usage.completion_tokens >= 0
    assert completion.finish in ("stop", "length", "tool_calls", "content_filter", "other")
    ids = [call.id for call in completion.tool_calls]
    assert all(ids)
    assert len(ids) == len(set(ids))
    if completion.token_ids is not None:
        assert len(completion.token_ids) == len(completion.logprobs)


@UNHURRIED
@given(st.binary(max_size=64) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_body_is_parsed_or_none(body):
    value = _parse(body)
    json.dumps(value, ensure_ascii=False).encode()  # what was read can be written to a file


@pytest.mark.parametrize("body", [b"[" * 200_000, b"9" * 10_000, b"", b"\xff\xfe", b"null"])
def test_evil_bodies_are_no_json_objects(body):
    assert not isinstance(_parse(body), dict)


def test_lone_surrogates_do_not_survive():
    assert _parse(rb'{"a": "x\ud800y"}') == {"a": "x?y"}
    assert _parse(rb'{"a": "\uD83D\uDE00"}') == {"a": "\U0001f600"}


@pytest.mark.parametrize(
    "body", ['{"a": "x"}'.encode("utf-16"), b'{"a": "\xed\xa0\x80"}', b'{"a": "\xff"}']
)
def test_json_in_another_encoding_is_none(body):
    """A key in it would not be found, and half a surrogate pair fits into no file."""
    assert _parse(body) is None
    assert _parse(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}


def reply(message=None, usage=None, **choice):
    return {"choices": [{"message": message or {"content": "hi"}, **choice}], "usage": usage}


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": "hi"}, "hi"),
        ({"content": None, "refusal": "no"}, "no"),
        ({"content": [{"type": "text", "text": "a"}, {"type": "image"}, "b"]}, "ab"),
        ({"content": "x", "reasoning_content": "secret thoughts"}, "x"),
        ({"content": 7}, ""),
        ({}, ""),
    ],
)
def test_text_of_a_message(message, text):
    given_reply = {"choices": [{"message": message}]}
    assert read_reply(given_reply, request(), len).text == text


@pytest.mark.parametrize(
    ("finish", "means"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("function_call", "tool_calls"),
        ("content_filter", "content_filter"),
        (None, "other"),
        ("made up", "other"),
        (["stop"], "other"),
    ],
)
def test_finish_reasons(finish, means):
    assert read_reply(reply(finish_reason=finish), request(), len).finish == means


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        {"prompt_tokens": 5},
        {"prompt_tokens": -1, "completion_tokens": 5},
        {"prompt_tokens": 0, "completion_tokens": 5},
        {"prompt_tokens": True, "completion_tokens": 5},
        {"prompt_tokens": 5.0, "completion_tokens": 5},
        {"prompt_tokens": "5", "completion_tokens": 5},
        {"prompt_tokens": 10**30, "completion_tokens": 5},
        [5, 5],
    ],
)
def test_usage_that_cannot_be_true_is_estimated(usage):
    assert read_reply(reply(usage=usage), request(), len).usage.estimated


def test_call_ids_stay_unique_in_a_conversation():
    calls = [{"id": "c0", "function": {"name": "Add_memory", "arguments": "{}"}}] * 2
    calls.append({"function": {"name": "Add_memory", "arguments": {"content": "x"}}})
    before = ChatMessage("assistant", "", (ToolCall("Add_memory", {}, "c0"),))
    asked = request(before)
    first = read_reply(reply({"tool_calls": calls}), asked, len)
    again = read_reply(reply({"tool_calls": calls}), asked, len)
    ids = [call.id for call in first.tool_calls]
    assert first == again
    assert len(set(ids)) == 3
    assert "c0" not in ids
    assert first.tool_calls[2].arguments == {"content": "x"}


def test_calls_that_cannot_be_read_are_named():
    calls = [
        {"id": "a", "function": {"name": "Add_memory", "arguments": "[1]"}},
        {"id": "b", "function": {"arguments": "{}"}},
        "what",
    ]
    completion = read_reply(reply({"tool_calls": calls}), request(), len)
    assert not completion.tool_calls
    assert len(completion.malformed) == 3


def test_vllm_token_names_are_ids():
    content = [{"token": "token_id:7", "logprob": -0.25}]
    completion = read_reply(reply(logprobs={"content": content}), WANTED, len)
    assert completion.token_ids == (7,)
    words = read_reply(reply(logprobs={"content": [{"token": "go", "logprob": 0}]}), WANTED, len)
    assert words.logprobs == (0.0,)
    assert words.token_ids is None


@pytest.mark.parametrize(
    "item",
    [
        {"token": "x", "logprob": float("nan")},
        {"token": "x", "logprob": -float("inf")},
        {"token": "x", "logprob": True},
        {"token": "x", "logprob": -(10**400)},
    ],
)
def test_log_probabilities_that_are_no_numbers_are_not_taken(item):
    assert read_reply(reply(logprobs={"content": [item]}), WANTED, len).logprobs is None


@pytest.mark.parametrize("name", ["token_id:" + "9" * 5000, "token_id:²", "token_id:-1"])
def test_names_that_are_no_token_ids_are_not_taken(name):
    content = [{"token": name, "logprob": -0.25}]
    completion = read_reply(reply(logprobs={"content": content}), WANTED, len)
    assert (completion.logprobs, completion.token_ids) == ((-0.25,), None)


@pytest.mark.parametrize(
    "said",
    [
        {"finish_reason": "abort"},
        {"finish_reason": "error"},
        {"finish_reason": "stop", "error": {"code": 502, "message": "the provider is gone"}},
    ],
)
def test_a_reply_that_the_server_broke_off_is_nobodys_answer(said):
    with pytest.raises(MalformedReply, match="broke it off"):
        read_reply(reply({"content": "go to"}, **said), request(), len)


def test_arguments_that_no_record_could_hold_are_malformed():
    nested = json.loads("[" * 200 + "]" * 200)
    for arguments in (
        '{"a": 1e999}',
        {"a": [float("nan")]},
        {"a": nested},
        json.dumps({"a": nested}),
    ):
        calls = [{"id": "a", "function": {"name": "Add_memory", "arguments": arguments}}]
        completion = read_reply(reply({"tool_calls": calls}), request(), len)
        assert not completion.tool_calls
        assert len(completion.malformed) == 1


def sent(asked, **options):
    return json.loads(request_json("m", asked, **options))


def test_token_fields_are_sent_only_when_wanted():
    assert "logprobs" not in sent(request(), token_ids=True)
    assert "return_token_ids" not in sent(WANTED)
    assert sent(WANTED, token_ids=True)["return_token_ids"] is True


MESSAGES = st.lists(
    st.builds(
        ChatMessage,
        st.sampled_from(["system", "user", "assistant", "tool"]),
        st.text() | st.text(min_size=4000, max_size=4100),
        st.lists(
            st.builds(ToolCall, st.text(), st.dictionaries(st.text(), st.integers()), st.text()),
            max_size=2,
        ).map(tuple),
        st.text(max_size=3),
    ),
    max_size=5,
)


@UNHURRIED
@given(MESSAGES, st.dictionaries(st.sampled_from(["temperature", "x", "seed"]), JSON, max_size=2))
def test_what_is_sent_is_what_was_asked_whether_or_not_it_was_sent_before(messages, extra):
    asked = Request(messages, Sampling(max_tokens=5, seed=1))
    raw = request_json("m", asked, extra=extra)
    assert raw == request_json("m", Request(list(messages), asked.sampling), extra=extra)
    body = json.loads(raw)
    expected = {"model": "m", "max_tokens": 5, "temperature": 0.0, "seed": 1, **extra}
    wire = [wire_message(message) for message in messages]
    expected["messages"] = json.loads(json.dumps(wire))
    assert json.dumps(body, sort_keys=True) == json.dumps(expected, sort_keys=True)


def test_calls_that_python_takes_for_equal_are_sent_as_they_are():
    """What is kept of one message is not sent for another: `1 == True == 1.0`, in any order."""
    for arguments in ({"n": 1, "m": 2}, {"n": True, "m": 2}, {"n": 1.0, "m": 2}, {"m": 2, "n": 1}):
        call = ToolCall("Retrieve_memory", arguments, "call_1")
        message = ChatMessage("assistant", "", (call,))
        sent = request_json("m", Request([message], Sampling()))
        assert json.dumps(wire_message(message)).encode() in sent
