"""Whatever an endpoint does over a real socket: classified, retried where sense is in it, no crash.

The table in `harness/models/http/__init__.py` is what these tests hold the client to.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import logging
import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agemem_eval.harness.errors import ModelError
from agemem_eval.harness.models.openai import OpenAIModel
from agemem_eval.harness.testserver import PLAY, ChatServer, first

from .fakes import QUICK, endpoint, request

GOOD = json.dumps(
    {
        "choices": [{"message": {"content": "fine"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 1},
    }
).encode()

RETRIED = {
    "hang": "timeout",
    "408": "timeout",
    "504": "timeout",
    "429": "rate_limit",
    "409": "server",
    "425": "server",
    "500": "server",
    "502": "server",
    "503": "server",
    "529": "server",
    "error_body": "server",
    "disconnect": "connection",
    "disconnect_mid_body": "connection",
    "chunk_cut": "connection",
    "stream_cut": "connection",
    "long_length": "connection",
    "truncated": "malformed",
    "html": "malformed",
    "not_json": "malformed",
    "not_http": "malformed",
    "bad_gzip": "malformed",
    "stream": "malformed",
    "empty_choices": "malformed",
    "no_message": "malformed",
}
FATAL = {
    "400": "refused",
    "401": "refused",
    "403": "refused",
    "404": "refused",
    "413": "refused",
    "418": "refused",
    "422": "refused",
    "redirect": "refused",
    "huge": "malformed",
}


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@contextlib.asynccontextmanager
async def raw_server(answer):
    """A server that sends what `answer` makes of the n-th connection, and hangs up."""
    count = 0

    async def serve(reader, writer):
        nonlocal count
        count += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
            writer.write(answer(count))
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        server.close()


async def ask(url, **options):
    model = OpenAIModel("m", base_url=url, **{**QUICK, **options})
    try:
        return await model.generate(request())
    finally:
        await model.close()


def whole(body, *headers):
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@pytest.mark.parametrize(("fault", "kind"), RETRIED.items())
async def test_a_fault_that_may_pass_has_a_kind_and_is_retried(fault, kind, caplog):
    caplog.set_level(logging.INFO, "agemem_eval.endpoint")
    options = {"max_retries": 2, "timeout_s": 0.2 if fault == "hang" else 10}
    async with endpoint(faults=first(fault, fault), options=options) as (server, model):
        assert (await model.generate(request())).text == PLAY
    assert server.n_requests == 3
    fields = [r.fields for r in caplog.records if r.fields["event"] == "retry"]
    assert [(f["kind"], f["attempt"]) for f in fields] == [(kind, 1), (kind, 2)]
    assert all("\n" not in record.getMessage() for record in caplog.records)
    async with endpoint(faults=lambda _: fault, options=options) as (server, model):
        with pytest.raises(ModelError, match="gave up after 3 tries") as caught:
            await model.generate(request())
    assert caught.value.kind == kind
    assert server.n_requests == 3


async def test_a_content_length_below_the_truth_is_malformed_and_passes():
    """What is left of the reply may be taken for the next one's, if it is on the wire by then."""
    faults = first("short_length", "short_length")
    async with endpoint(faults=faults, options={"max_retries": 5, "timeout_s": 10}) as (_, model):
        assert (await model.generate(request())).text == PLAY
    options = {"max_retries": 2, "timeout_s": 10}
    async with endpoint(faults=lambda _: "short_length", options=options) as (server, model):
        with pytest.raises(ModelError, match="gave up after 3 tries") as caught:
            await model.generate(request())
    assert caught.value.kind == "malformed"
    assert 2 <= server.n_requests <= 3


@pytest.mark.parametrize(("fault", "kind"), FATAL.items())
async def test_a_fault_that_will_not_pass_has_a_kind_and_is_told_at_once(fault, kind):
    async with endpoint(faults=lambda _: fault) as (server, model):
        with pytest.raises(ModelError) as caught:
            await model.generate(request())
    assert caught.value.kind == kind
    assert server.n_requests == 1


async def test_a_spent_quota_is_refused_not_a_rate_limit():
    spent = {"error": {"message": "no money", "code": 429, "type": "insufficient_quota"}}
    async with endpoint(lambda _: spent) as (server, model):
        with pytest.raises(ModelError, match="quota is spent") as caught:
            await model.generate(request())
    assert caught.value.kind == "refused"
    assert server.n_requests == 1


async def test_nobody_listens_and_no_such_host(unused_tcp_port):
    for host in (f"127.0.0.1:{unused_tcp_port}", "no-such-host.invalid"):
        with pytest.raises(ModelError, match="cannot connect") as caught:
            await ask(f"http://{host}/v1", max_retries=1)
        assert caught.value.kind == "connection"


async def test_a_server_that_accepts_and_never_answers():
    """A listening socket whose process never accepts: the kernel alone completes the handshake."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        with pytest.raises(ModelError, match=r"no reply within 0\.2 s") as caught:
            await ask(url, max_retries=1, timeout_s=0.2)
    assert caught.value.kind == "timeout"


async def test_a_connection_that_died_while_it_was_idle_is_no_failure_of_the_episode():
    async with endpoint() as (server, model):
        await model.generate(request())
        for connection in list(server.connections):
            connection.transport.abort()
        assert (await model.generate(request())).text == PLAY


async def test_a_reply_of_10_mb_is_read():
    text = "x" * (10 * 2**20)
    async with endpoint(lambda _: text, options={"max_reply_mb": 32, "timeout_s": 30}) as (_, m):
        assert (await m.generate(request())).text == text
    async with endpoint(lambda _: text, options={"max_reply_mb": 9, "timeout_s": 30}) as (_, m):
        with pytest.raises(ModelError, match="larger than 9 MB"):
            await m.generate(request())


async def test_a_small_body_that_unpacks_to_a_large_one_is_refused():
    bomb = whole(gzip.compress(b"x" * 2**25), "Content-Encoding: gzip")
    async with raw_server(lambda _: bomb) as url:
        with pytest.raises(ModelError, match="larger than 1 MB") as caught:
            await ask(url, timeout_s=30)
    assert caught.value.kind == "malformed"


@pytest.mark.parametrize(
    "kind", ["text/html", "text/event-stream", "nonsense", "", "a/b; charset=q"]
)
async def test_a_wrong_content_type_on_good_json_does_no_harm(kind):
    async with raw_server(lambda _: whole(GOOD, f"Content-Type: {kind}")) as url:
        assert (await ask(url)).text == "fine"


@pytest.mark.parametrize(
    ("usage", "estimated"),
    [
        ({"prompt_tokens": -5, "completion_tokens": 1}, True),
        ({"prompt_tokens": 5, "completion_tokens": -1}, True),
        ({"prompt_tokens": 5, "completion_tokens": 1}, False),
        ("many", True),
    ],
)
async def test_usage_that_cannot_be_true_is_estimated_and_harms_no_token_limit(usage, estimated):
    reply = {"choices": [{"message": {"content": "a b c"}}], "usage": usage}
    async with endpoint(lambda _: reply, options={"tpm": "1000000"}) as (_, model):
        for _ in range(3):
            completion = await model.generate(request())
    assert completion.usage.estimated is estimated
    assert completion.usage.prompt_tokens > 0
    assert completion.usage.completion_tokens > 0


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: zstd\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 301 Moved\r\nLocation: http://[::1\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 307 Moved\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 429 \xff\xfe\r\nRetry-After: \xff\r\nContent-Length: 0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x00" * 1000,
    ],
)
async def test_no_head_of_a_reply_crashes_the_client(head):
    async with raw_server(lambda _: head) as url:
        with pytest.raises(ModelError) as caught:
            await ask(url, max_retries=1, max_wait_s=0.01)
    assert caught.value.kind != "endpoint"
    assert "\n" not in str(caught.value)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=200), st.booleans())
def test_no_bytes_crash_the_client(data, after_a_good_head):
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" if after_a_good_head else b""

    async def main():
        async with raw_server(lambda _: head + data) as url:
            with contextlib.suppress(ModelError):
                await ask(url, max_retries=0)

    asyncio.run(main())


# --- storms ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header", ["-1", "1e9", "Thu, 01 Jan 1970 00:00:00 GMT", "soon", "1000000000"]
)
async def test_retry_after_that_is_nonsense_holds_nobody_for_long(header):
    options = {"max_wait_s": 0.05}
    async with endpoint(faults=first("429"), retry_after=header, options=options) as (server, m):
        async with asyncio.timeout(10):
            assert (await m.generate(request())).text == PLAY
    assert server.n_requests == 2


async def test_a_storm_of_429_ends_in_all_calls_served_and_none_lost(caplog):
    caplog.set_level(logging.INFO, "agemem_eval.endpoint")
    options = {"max_retries": 50, "backoff_s": 0.02, "max_wait_s": 0.2, "timeout_s": 20}
    async with endpoint(takes=8, latency_s=0.02, options=options) as (server, model):
        replies = await asyncio.gather(*(model.generate(request()) for _ in range(300)))
        gate = model._client._joined.gate
        assert gate.waiting == 0
    assert len(replies) == server.served.calls == 300
    assert server.n_limited > 0
    assert server.most_in_flight == 8
    assert server.n_limited < 300  # the limit was found, not run into each time
    lines = [r for r in caplog.records if r.fields["event"] == "limit"]
    assert 0 < len(lines) < 20
    assert "backed off to" in lines[0].getMessage()
    assert lines[0].levelno == logging.WARNING


async def test_a_rate_limit_of_the_server_is_kept_by_rpm():
    options = {"max_retries": 0, "rpm": "1800", "timeout_s": 20}  # 30 a second
    async with endpoint(rate=(40, 1.0), options=options) as (server, model):
        await asyncio.gather(*(model.generate(request()) for _ in range(70)))
    assert server.n_limited == 0
    assert server.served.calls == 70


async def test_waiting_at_the_gate_is_no_part_of_the_timeout():
    options = {"max_in_flight": 1, "timeout_s": 2, "max_retries": 0}
    async with endpoint(latency_s=0.3, options=options) as (server, model):
        await asyncio.gather(*(model.generate(request()) for _ in range(12)))  # 3.6 s in all
    assert server.served.calls == 12


async def test_no_slot_is_lost_to_calls_that_are_cancelled():
    options = {"max_in_flight": 4, "timeout_s": 20}
    async with endpoint(latency_s=0.05, options=options) as (server, model):
        tasks = [asyncio.create_task(model.generate(request())) for _ in range(40)]
        while server.n_requests < 6:
            await asyncio.sleep(0.005)
        for task in tasks[::2]:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert sum(isinstance(end, asyncio.CancelledError) for end in ends) >= 15
        async with asyncio.timeout(20):
            await asyncio.gather(*(model.generate(request()) for _ in range(8)))
        assert model._client._joined.gate.in_flight == 0


async def test_the_server_refuses_beyond_what_it_takes_and_beyond_its_rate():
    async with ChatServer(rate=(2, 60.0)) as server:
        for _ in range(2):
            await ask(server.url, max_retries=0)
        with pytest.raises(ModelError, match="429: too many requests") as caught:
            await ask(server.url, max_retries=0)
    assert caught.value.kind == "rate_limit"
    assert server.n_limited == 1
