"""Kept replies: what they are kept under, that they come back whole, and of which models."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agemem_eval.harness.errors import ModelError
from agemem_eval.harness.ledger import Ledger, Role, Usage
from agemem_eval.harness.metering import Meter, MeteredModel
from agemem_eval.harness.models import ModelBase, make_model
from agemem_eval.harness.models.cache import (
    CachedModel,
    ReplyCache,
    entry_key,
    request_digest,
)
from agemem_eval.harness.testserver import first
from agemem_eval.harness.tools import Tool, ToolCall
from agemem_eval.harness.trace import Trace
from agemem_eval.harness.types import ChatMessage, Completion, Request, Sampling

from .cache_fakes import ASKED, TOOL, Numbering, Other, sampling_policy
from .fakes import FakeEnv, endpoint, request, view

# --- the key ------------------------------------------------------------------------------------


def changed(value: Any, field: str, new: Any) -> Any:
    assert getattr(value, field) != new
    return dataclasses.replace(value, **{field: new})


# What each field may be changed to; a field that is new must be given a line here, or in `FREE`.
CHANGES: dict[type, dict[str, list[Any]]] = {
    Request: {
        "messages": [ASKED.messages[:3], ASKED.messages[::-1], ()],
        "sampling": [Sampling()],
        "tools": [(), (TOOL, TOOL), (dataclasses.replace(TOOL, name="Seek"),)],
        "want_tokens": [True],
        "work": [None, {"do": "decide"}],
    },
    Sampling: {
        "max_tokens": [65],
        "temperature": [None, 0.0, 0.70001],
        "top_p": [None, 1.0],
        "seed": [None, 4],
    },
    ChatMessage: {
        "role": ["user"],
        "content": ["y", "x ", "", "\ud800"],
        "tool_calls": [()],
        "tool_call_id": ["c2"],
    },
    ToolCall: {"name": ["Seek"], "arguments": [{}, {"query": "cup"}], "id": [""]},
    Tool: {"name": ["Seek"], "description": ["seeks"], "arguments": [Other]},
}
FREE = {Request: {"role"}, Tool: {"kind", "aliases"}}  # these never reach a model


def with_change(kind: type, field: str, new: Any) -> Request:
    message = ASKED.messages[1]
    if kind is Request:
        return changed(ASKED, field, new)
    if kind is Sampling:
        return changed(ASKED, "sampling", changed(ASKED.sampling, field, new))
    if kind is Tool:
        return changed(ASKED, "tools", (changed(TOOL, field, new),))
    if kind is ToolCall:
        message = changed(message, "tool_calls", (changed(message.tool_calls[0], field, new),))
    else:
        message = changed(message, field, new)
    return changed(ASKED, "messages", (ASKED.messages[0], message, *ASKED.messages[2:]))


@pytest.mark.parametrize("kind", CHANGES)
def test_every_field_of_a_request_is_decided_about(kind: type) -> None:
    fields = {field.name for field in dataclasses.fields(kind)}
    assert fields == CHANGES[kind].keys() | FREE.get(kind, set())


@pytest.mark.parametrize(
    ("kind", "field", "new"),
    [
        (kind, field, new)
        for kind, fields in CHANGES.items()
        for field, values in fields.items()
        for new in values
    ],
)
def test_a_change_of_any_field_changes_the_key(kind: type, field: str, new: Any) -> None:
    model = Numbering()
    assert request_digest(model, with_change(kind, field, new)) != request_digest(model, ASKED)


texts = st.text(st.characters(), max_size=8)
calls = st.builds(ToolCall, texts, st.dictionaries(texts, texts | st.integers(), max_size=2), texts)
messages = st.builds(
    ChatMessage,
    st.sampled_from(["system", "user", "assistant", "tool"]),
    texts,
    st.lists(calls, max_size=2).map(tuple),
    texts,
)
samplings = st.builds(
    Sampling,
    st.integers(1, 4),
    st.none() | st.sampled_from([0.0, 0.5]),
    st.none() | st.just(0.5),
    st.none() | st.integers(0, 2),
)
requests = st.builds(
    Request,
    st.lists(messages, max_size=3).map(tuple),
    samplings,
    st.sampled_from(Role),
    st.sampled_from([(), (TOOL,), (dataclasses.replace(TOOL, arguments=Other),)]),
    st.booleans(),
    st.none() | st.dictionaries(texts, texts, max_size=1),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(requests, requests)
def test_two_requests_have_one_key_if_and_only_if_they_are_equal_but_for_who_asks(
    one: Request, other: Request
) -> None:
    model = Numbering()
    said = [repr(dataclasses.replace(asked, role=Role.AGENT)) for asked in (one, other)]
    same = said[0] == said[1]  # by their texts, since the order of arguments reaches a model
    assert (request_digest(model, one) == request_digest(model, other)) == same
    assert request_digest(model, one) == request_digest(model, dataclasses.replace(one))


@pytest.mark.parametrize("other", [Numbering("m"), Numbering("n", decoding={"seed": 1})])
def test_another_model_and_another_decoding_have_keys_of_their_own(other: Numbering) -> None:
    assert request_digest(other, ASKED) != request_digest(Numbering(), ASKED)


def test_the_card_and_the_decoding_of_an_endpoint_change_the_key_and_its_address_does_not(
    tmp_path: Path,
) -> None:
    card = tmp_path / "card.json"
    card.write_text(json.dumps({"training": "agemem"}))
    made = [
        make_model("openai:m", {"base_url": url, **more})
        for url, more in [
            ("http://a:1/v1", {}), ("http://b:2/v1", {"timeout_s": "7"}),
            ("http://a:1/v1", {"card": str(card)}), ("http://a:1/v1", {"seed": "1"}),
            ("http://a:1/v1", {"extra_body": '{"min_p": 0.1}'}),
        ]
    ]  # fmt: skip
    keys = [request_digest(model, ASKED) for model in made]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 4


def test_how_often_it_was_asked_is_part_of_the_key() -> None:
    what = request_digest(Numbering(), ASKED)
    assert len({entry_key(what, times) for times in range(50)}) == 50


# --- replies ------------------------------------------------------------------------------------

numbers = st.floats(allow_nan=False)
completions = st.builds(
    Completion,
    texts,
    st.builds(Usage, st.integers(0, 10**9), st.integers(0, 10**9), st.booleans()),
    st.lists(calls, max_size=2).map(tuple),
    st.sampled_from(["stop", "length", "tool_calls", "content_filter", "other"]),
    st.lists(texts, max_size=2).map(tuple),
    st.none() | st.lists(st.integers(0, 10**6), max_size=3).map(tuple),
    st.none() | st.lists(numbers, max_size=3).map(tuple),
)


class Saying(Numbering):
    """Answers with one completion."""

    def __init__(self, said: Completion) -> None:
        super().__init__()
        self.said = said

    async def generate(self, request: Request) -> Completion:
        self.calls += 1
        return self.said


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(completions)
def test_every_field_of_a_reply_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, said: Completion
) -> None:
    folder = tmp_path_factory.mktemp("cache")

    async def ask() -> tuple[Completion, int]:
        model = CachedModel(Saying(said), ReplyCache(folder))
        try:
            return await model.generate(ASKED), model.inner.calls
        finally:
            await model.close()

    assert asyncio.run(ask()) == (said, 1)
    assert asyncio.run(ask()) == (said, 0)


async def test_the_same_prompt_may_be_answered_differently_and_is_again_in_the_same_order(
    tmp_path: Path,
) -> None:
    async with endpoint(sampling_policy()) as (server, model):
        cached = CachedModel(model, ReplyCache(tmp_path))
        played = [
            [(await bound.generate(request())).text for _ in range(3)]
            for bound in (cached.bind(view(FakeEnv())) for _ in range(2))
        ]
        assert server.n_requests == 3
        await cached.close()
    assert len(set(played[0])) == 3
    assert played[0] == played[1]


async def test_a_request_that_failed_is_no_earlier_one_and_nothing_of_it_is_kept(
    tmp_path: Path,
) -> None:
    async with endpoint(sampling_policy(), faults=first("400", None, "400")) as (server, model):
        cached = CachedModel(model, ReplyCache(tmp_path))
        with pytest.raises(ModelError):
            await cached.generate(request())
        said = await cached.generate(request())
        assert (await cached.anew().generate(request())) == said  # the first of another try
        with pytest.raises(ModelError):
            await cached.generate(request())  # the second of this one
        assert server.n_requests == 3
        await cached.close()


async def test_a_reply_that_ran_into_its_limit_is_kept(tmp_path: Path) -> None:
    cut = Completion("and the", Usage(5, 2), finish="length")
    async with endpoint(lambda _: cut) as (server, model):
        cached = CachedModel(model, ReplyCache(tmp_path))
        for _ in range(2):
            assert (await cached.anew().generate(request())).finish == "length"
        assert server.n_requests == 1
        await cached.close()


async def test_a_memory_s_own_model_counts_its_requests_anew_in_each_try(tmp_path: Path) -> None:
    inner = Numbering()
    cached = CachedModel(inner, ReplyCache(tmp_path))
    meter = Meter(Ledger(), Trace())
    model = MeteredModel(cached, meter, Role.MEMORY_WRITE)
    played = []
    for _ in range(2):
        meter.point_to(Ledger(), Trace())
        played.append([(await model.generate(ASKED.messages, Sampling())).text for _ in range(2)])
        assert meter.ledger.roles["memory_write"].prompt_tokens == 20  # kept ones, too
    assert played == [["1", "2"], ["1", "2"]]
    assert cached.cache.stats().hits == cached.cache.stats().misses == inner.calls == 2
    await cached.close()


# --- which models -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["scripted", "random", "heuristic"])
def test_a_model_that_depends_on_more_than_the_request_says_so(name: str) -> None:
    assert not getattr(make_model(name), "cacheable", False)


def test_a_new_model_s_replies_are_not_kept_unless_it_says_that_they_may() -> None:
    assert not ModelBase.cacheable
