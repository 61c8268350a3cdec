"""Kept replies: what they are kept under, that they come back whole, and what becomes of damage."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agemem_eval.harness.errors import DataError, ModelError
from agemem_eval.harness.ledger import Ledger, Role, Usage
from agemem_eval.harness.metering import Meter, MeteredModel
from agemem_eval.harness.models import ModelBase, make_model
from agemem_eval.harness.models.cache import (
    FILE,
    CachedModel,
    ReplyCache,
    entry_key,
    request_digest,
)
from agemem_eval.harness.testserver import at_random, first
from agemem_eval.harness.tools import Tool, ToolArguments, ToolCall
from agemem_eval.harness.trace import Trace
from agemem_eval.harness.types import ChatMessage, Completion, ModelInfo, Request, Sampling

from .fakes import FakeEnv, endpoint, request, view


class Query(ToolArguments):
    query: str


class Other(ToolArguments):
    text: str


class Numbering(ModelBase):
    """Answers 1, 2, 3, …, so that a kept reply differs from a fresh one."""

    cacheable = True

    def __init__(self, name: str = "n", **identity: Any) -> None:
        self.info = ModelInfo(name, identity=identity)
        self.calls = 0

    async def generate(self, request: Request) -> Completion:
        self.calls += 1
        return Completion(str(self.calls), Usage(10, 1))


def sampling_policy() -> Callable[[Any], str]:
    """A server that never says the same twice."""
    numbers = iter(range(10**6))
    return lambda _: f"reply {next(numbers)}"


TOOL = Tool("Find", "finds", Query, "ltm")
ASKED = Request(
    messages=(
        ChatMessage("system", "You help."),
        ChatMessage("assistant", "x", (ToolCall("Find", {"query": "mug"}, "c1"),)),
        ChatMessage("tool", "a mug", tool_call_id="c1"),
        ChatMessage("user", "And now?"),
    ),
    sampling=Sampling(64, 0.7, 0.9, 3),
    tools=(TOOL,),
    work={"do": "note"},
)

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


# --- several at once ----------------------------------------------------------------------------


async def test_the_same_request_of_many_is_on_its_way_once(tmp_path: Path) -> None:
    async with endpoint(sampling_policy(), latency_s=0.05) as (server, model):
        cache = ReplyCache(tmp_path)
        cached = CachedModel(model, cache)
        said = await asyncio.gather(*(cached.anew().generate(request()) for _ in range(20)))
        assert len({completion.text for completion in said}) == server.n_requests == 1
        stats = cache.stats()
        assert (stats.hits, stats.shared, stats.misses) == (0, 19, 1)
        await cached.close()


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not reached():
            await asyncio.sleep(0.005)


async def test_who_asked_first_may_be_cancelled_and_the_others_get_the_reply(
    tmp_path: Path,
) -> None:
    async with endpoint(sampling_policy(), latency_s=0.2) as (server, model):
        cached = CachedModel(model, ReplyCache(tmp_path))
        asking = [asyncio.create_task(cached.anew().generate(request())) for _ in range(3)]
        await until(lambda: server.n_requests == 1)
        asking[0].cancel()
        said = await asyncio.gather(*asking, return_exceptions=True)
        assert isinstance(said[0], asyncio.CancelledError)
        assert said[1] == said[2]
        assert isinstance(said[1], Completion)
        assert server.n_requests == 1
        await cached.close()


async def test_a_request_that_nobody_waits_for_any_more_is_given_up(tmp_path: Path) -> None:
    gone = asyncio.Event()

    class Endless(Numbering):
        async def generate(self, request: Request) -> Completion:
            self.calls += 1
            try:
                await asyncio.Event().wait()
            finally:
                gone.set()
            raise AssertionError

    model = Endless()
    cached = CachedModel(model, ReplyCache(tmp_path))
    asking = [asyncio.create_task(cached.anew().generate(request())) for _ in range(2)]
    await until(lambda: model.calls == 1)
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    again = asyncio.create_task(cached.anew().generate(request()))  # is no part of what is gone
    await asyncio.wait_for(gone.wait(), 20)
    await until(lambda: model.calls == 2)
    again.cancel()
    await asyncio.gather(again, return_exceptions=True)
    await cached.close()


async def test_where_the_first_fails_each_of_the_others_asks_for_itself(tmp_path: Path) -> None:
    async with endpoint(sampling_policy(), latency_s=0.05, faults=first("400")) as (server, model):
        cached = CachedModel(model, ReplyCache(tmp_path))
        asking = (cached.anew().generate(request()) for _ in range(5))
        said = await asyncio.gather(*asking, return_exceptions=True)
        assert isinstance(said[0], ModelError)
        assert len({s.text for s in said[1:] if isinstance(s, Completion)}) == 1  # the first kept
        assert server.n_requests == 5
        await cached.close()


async def test_random_faults_and_cancellations_leave_every_answer_right(tmp_path: Path) -> None:
    def echo(body: dict[str, Any]) -> str:
        return str(body["messages"][0]["content"])

    faults = at_random(0.3, ("400",), seed=5)
    async with endpoint(echo, latency_s=0.01, faults=faults) as (_, model):
        cached = CachedModel(model, ReplyCache(tmp_path))
        asking = [
            asyncio.create_task(cached.anew().generate(request(ChatMessage("user", f"q{n % 7}"))))
            for n in range(140)
        ]
        await asyncio.sleep(0.02)
        for task in asking[::5]:
            task.cancel()
        said = await asyncio.gather(*asking, return_exceptions=True)
        for n, one in enumerate(said):
            right = isinstance(one, Completion) and one.text == f"q{n % 7}"
            assert right or isinstance(one, ModelError | asyncio.CancelledError), one
        assert sum(isinstance(one, Completion) for one in said) > 70
        assert not cached.cache._flights
        await cached.close()


ASK_IN_PROCESS = """
import asyncio, sys
from pathlib import Path
from agemem_eval.harness.models.cache import CachedModel, ReplyCache
from agemem_eval.harness.models.openai import OpenAIModel
from agemem_eval.harness.types import ChatMessage, Request, Sampling

async def main():
    cached = CachedModel(OpenAIModel("m", base_url=sys.argv[2]), ReplyCache(Path(sys.argv[1])))
    asked = [Request([ChatMessage("user", f"q{n}")], Sampling()) for n in range(150)]
    for one in asked:
        print((await cached.generate(one)).text)
    await cached.close()

asyncio.run(main())
"""


async def test_three_processes_at_once_all_have_the_replies_that_a_later_one_finds(
    tmp_path: Path,
) -> None:
    async with endpoint(sampling_policy()) as (server, _):
        command = (sys.executable, "-c", ASK_IN_PROCESS, str(tmp_path), server.url)
        pipe = subprocess.PIPE
        running = [
            await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
            for _ in range(3)
        ]
        outputs = await asyncio.gather(*(process.communicate() for process in running))
        asked = server.n_requests
        later = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
        final, problem = await later.communicate()
        assert server.n_requests == asked >= 150
    assert [problem for _, problem in outputs] == [b"", b"", b""]
    assert problem == b""
    assert len(set(final.split(b"\n"))) == 151
    assert {said for said, _ in outputs} == {final}


async def test_another_process_that_writes_holds_up_the_reply_and_not_the_event_loop(
    tmp_path: Path,
) -> None:
    async with endpoint(sampling_policy()) as (server, model):
        cached = CachedModel(model, ReplyCache(tmp_path))
        other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        asking = asyncio.create_task(cached.generate(request()))
        await until(lambda: server.served.calls == 1)  # the server lives on this very loop
        for _ in range(20):
            await asyncio.sleep(0.005)
        assert not asking.done()
        other.execute("COMMIT")
        other.close()
        assert (await asyncio.wait_for(asking, 20)).text == "reply 0"
        await cached.close()


# --- damage -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spoil",
    [
        "UPDATE replies SET value = substr(value, 1, length(value) - 1)",
        "UPDATE replies SET value = zeroblob(length(value))",
        "UPDATE replies SET value = ''",
        "UPDATE replies SET value = 'text'",
        "UPDATE replies SET digest = zeroblob(16)",
        "UPDATE replies SET digest = 7",
    ],
)
async def test_a_damaged_reply_is_asked_for_again_and_replaced(tmp_path: Path, spoil: str) -> None:
    inner = Numbering()

    async def ask() -> str:
        cached = CachedModel(inner, ReplyCache(tmp_path))
        try:
            return (await cached.generate(ASKED)).text
        finally:
            await cached.close()

    assert await ask() == "1"
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute(spoil)
    db.close()
    assert [await ask(), await ask()] == ["2", "2"]


async def test_a_reply_put_under_another_key_is_not_taken(tmp_path: Path) -> None:
    cached = CachedModel(Numbering(), ReplyCache(tmp_path))
    other = dataclasses.replace(ASKED, want_tokens=True)
    await cached.generate(ASKED)
    await cached.close()
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute(
            "UPDATE replies SET key = ?", (entry_key(request_digest(cached.inner, other), 0),)
        )
    db.close()
    assert (await cached.generate(other)).text == "2"
    assert cached.cache.stats().damaged == 1
    await cached.close()


async def filled(folder: Path, n: int = 300) -> CachedModel:
    cached = CachedModel(Numbering(), ReplyCache(folder))
    for number in range(n):
        await cached.generate(request(ChatMessage("user", f"q{number} " * 50)))
    await cached.close()
    return cached


def zeros(content: bytes) -> bytes:
    """All pages but the first are gone."""
    return content[:4096] + bytes(len(content) - 4096)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: b"this is no database, just a long enough text " * 200,
        lambda content: content[:100] + b"\xff" * 4000 + content[4100:],
        lambda content: content[: len(content) // 2],
        zeros,
    ],
    ids=["another file", "first page", "cut in half", "zeros"],
)
async def test_a_damaged_file_is_one_line_that_says_what_to_delete(
    tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    await filled(tmp_path)
    path = tmp_path / FILE
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(DataError) as caught:
        await filled(tmp_path)
    assert "\n" not in str(caught.value)
    assert f"delete {path}" in str(caught.value)
    for each in tmp_path.iterdir():
        each.unlink()
    assert (await filled(tmp_path)).inner.calls == 300


async def test_a_disk_that_is_full_ends_the_keeping_and_not_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cached = CachedModel(Numbering(), ReplyCache(tmp_path))
    db = cached.cache._db
    assert db is not None
    db.execute("PRAGMA max_page_count = 12")  # the real error of SQLite for a full disk
    with caplog.at_level(logging.WARNING, "agemem_eval.cache"):
        said = [
            (await cached.generate(request(ChatMessage("user", f"{n}")))).text for n in range(300)
        ]
    assert said == [str(n + 1) for n in range(300)]
    (record,) = caplog.records
    assert "no longer kept" in record.message
    assert (await cached.anew().generate(request(ChatMessage("user", "0")))).text == "1"
    await cached.close()


def test_a_folder_that_cannot_be_made_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="cannot keep files in"):
        ReplyCache(tmp_path / "file")


# --- which models -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["scripted", "random", "heuristic"])
def test_a_model_that_depends_on_more_than_the_request_says_so(name: str) -> None:
    assert not getattr(make_model(name), "cacheable", False)


def test_a_new_model_s_replies_are_not_kept_unless_it_says_that_they_may() -> None:
    assert not ModelBase.cacheable
