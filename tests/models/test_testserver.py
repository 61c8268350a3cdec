"""The test server itself, by bare sockets: what else is tested against it stands on this."""

from __future__ import annotations

import asyncio
import json

import pytest

from agemem_eval.harness.ledger import Usage
from agemem_eval.harness.testserver import PLAY, ChatServer
from agemem_eval.harness.types import Completion

BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}]}).encode()


def asks(body=BODY, line=b"POST /v1/chat/completions HTTP/1.1", headers=b""):
    return line + b"\r\nHost: x\r\ncontent-length: %d\r\n" % len(body) + headers + b"\r\n" + body


async def read_reply(reader):
    """Status and JSON of one reply."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = int(head.lower().partition("content-length: ")[2].split("\r\n")[0])
    return int(head.split()[1]), json.loads(await reader.readexactly(length))


async def connect(server):
    address = server.url.removeprefix("http://").partition("/")[0].split(":")
    return await asyncio.open_connection(*address)


async def exchange(server, *pieces, replies=1):
    reader, writer = await connect(server)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.01)
    async with asyncio.timeout(10):
        got = [await read_reply(reader) for _ in range(replies)]
    writer.close()
    return got


async def test_requests_in_one_packet_are_answered_in_order():
    async with ChatServer(lambda body: body["messages"][0]["content"]) as server:
        bodies = [
            json.dumps({"messages": [{"content": text}]}).encode() for text in ("one", "two", "ü")
        ]
        got = await exchange(server, b"".join(map(asks, bodies)), replies=3)
    texts = [reply["choices"][0]["message"]["content"] for _, reply in got]
    assert texts == ["one", "two", "ü"]
    assert server.n_connections == 1


@pytest.mark.parametrize("at", [1, 20, 60, 90, 100])
async def test_a_request_in_pieces_is_put_together(at):
    request = asks()
    async with ChatServer() as server:
        ((status, reply),) = await exchange(server, request[:at], request[at:])
    assert status == 200
    assert reply["choices"][0]["message"]["content"] == PLAY
    assert reply["usage"]["prompt_tokens"] == server.served.prompt_tokens > 0


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (asks(b"not json"), 400),
        (b"\x16\x03\x01 hello", 400),
        (asks(line=b"GET /v1/models HTTP/1.1", body=b""), 200),
        (asks(line=b"GET /v1/chat/completions HTTP/1.1", body=b""), 404),
        (asks(line=b"POST /v2/chat/completions HTTP/1.1"), 404),
        (asks(b"", headers=b"Transfer-Encoding: chunked\r\n"), 411),
    ],
)
async def test_other_requests_are_answered_for_what_they_are(request_, status):
    async with ChatServer() as server:
        ((given, _),) = await exchange(server, request_)
    assert given == status
    assert server.served.calls == 0


async def test_a_policy_that_fails_is_a_500_and_the_server_goes_on():
    def reply(body):
        return body["no such key"]

    async with ChatServer(reply) as server:
        ((status, said),) = await exchange(server, asks())
        server.reply = lambda _: Completion("fine", Usage(7, 3))
        ((again, good),) = await exchange(server, asks())
    assert (status, again) == (500, 200)
    assert "no such key" in said["error"]["message"]
    assert good["usage"] == {"prompt_tokens": 7, "completion_tokens": 3}
    assert server.served.calls == 1


async def test_a_client_that_leaves_is_no_longer_in_flight():
    async with ChatServer(latency_s=60) as server:
        _, writer = await connect(server)
        writer.write(asks())
        async with asyncio.timeout(10):
            while server.in_flight != 1:
                await asyncio.sleep(0.001)
            writer.close()
            while server.in_flight:
                await asyncio.sleep(0.001)
        assert not server.connections
    assert server.served.calls == 0


async def test_latency_is_waited_for_and_jitter_comes_on_top():
    async with ChatServer(latency_s=0.02, jitter_s=0.05) as server:
        loop = asyncio.get_running_loop()
        start = loop.time()
        took = []
        for _ in range(8):
            await exchange(server, asks())
            took.append(loop.time() - start)
            start = loop.time()
    assert min(took) >= 0.02
    assert server.served.calls == 8
