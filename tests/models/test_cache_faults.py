"""Kept replies of several at once, and what becomes of damage."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agemem_eval.harness.errors import DataError, ModelError
from agemem_eval.harness.models.cache import (
    FILE,
    CachedModel,
    ReplyCache,
    entry_key,
    request_digest,
)
from agemem_eval.harness.testserver import at_random, first
from agemem_eval.harness.types import ChatMessage, Completion, Request

from .cache_fakes import ASKED, Numbering, sampling_policy, until
from .fakes import endpoint, request

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


def test_nobody_is_told_to_delete_a_cache_that_is_only_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agemem_eval.harness.models.cache.LOCK_TIMEOUT_S", 0.05)
    other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(DataError, match="locked") as caught:
        ReplyCache(tmp_path)
    assert f"delete {tmp_path}" not in str(caught.value)
    other.close()


def test_a_folder_that_cannot_be_made_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="cannot keep files in"):
        ReplyCache(tmp_path / "file")
