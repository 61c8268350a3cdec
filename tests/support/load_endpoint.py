"""An endpoint that costs next to nothing: a fixed latency, a fixed conversation, exact books.

The benchmarks run it in a process of its own (`python load_endpoint.py`), beside the harness that
they measure, so it does no more than it must: HTTP/1.1 with Content-Length over kept connections.
Every conversation is the same: all replies but the last call one tool, the last one answers.
`GET /times` tells when each call arrived and left since `POST /reset`, in seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from typing import Any

THOUGHT = "I look at what can be done here before I decide; the list of what is possible helps. "


def replies(turns: int, tool: str) -> tuple[bytes, bytes]:
    """The reply that calls the tool, and the one that answers, whole as they are sent."""
    function = {"name": tool, "arguments": "{}"}
    calls = [{"id": "call_@@@@@@@@", "type": "function", "function": function}]
    calling = _whole({"content": THOUGHT * 2, "tool_calls": calls}, "tool_calls")
    answer = f"<think>{THOUGHT * 2}</think>\n<answer>done</answer>"
    return calling, _whole({"content": answer}, "stop")


def _whole(message: dict[str, Any], finish: str) -> bytes:
    reply = {
        "id": "chatcmpl-0",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "load",
        "choices": [
            {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
        ],
        "usage": {"prompt_tokens": 900, "completion_tokens": 60, "total_tokens": 960},
    }
    return _ok(json.dumps(reply).encode())


def _ok(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


class Endpoint:
    """What all connections share: the replies and the books."""

    def __init__(self, latency_s: float, turns: int, tool: str) -> None:
        self.latency_s, self.turns = latency_s, turns
        self.calling, self.answer = replies(turns, tool)
        self.calls = 0
        self.reset()

    def reset(self) -> None:
        """Begin the books anew."""
        self.arrived: list[float] = []
        self.left: list[float] = []
        self.cpu = time.process_time()

    def times(self) -> bytes:
        """The books as an HTTP reply."""
        cpu_s = time.process_time() - self.cpu
        return _ok(json.dumps([self.arrived, self.left, cpu_s]).encode())

    def reply(self, body: bytes) -> bytes:
        """The reply to a chat request: by how often the assistant has spoken in it."""
        spoken = body.count(b'"role":"assistant"') + body.count(b'"role": "assistant"')
        if spoken >= self.turns - 1:
            return self.answer
        self.calls += 1
        return self.calling.replace(b"@@@@@@@@", b"%08d" % self.calls)


class Connection(asyncio.Protocol):
    """One kept connection: a request, its reply after the latency, the next request."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.buffer = b""
        self.waiting: asyncio.TimerHandle | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody connected."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Somebody left, perhaps before the reply: the call ends here all the same."""
        self.transport = None
        if self.waiting is not None:
            self.waiting.cancel()
            self.waiting = None
            self.endpoint.left.append(time.monotonic())

    def data_received(self, data: bytes) -> None:
        """Answer once a request is whole."""
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self.buffer[:end].lower()
        at = head.find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self.buffer) < end + 4 + length:
            return
        body, self.buffer = self.buffer[end + 4 : end + 4 + length], b""
        assert self.transport is not None
        if b"/chat/completions" in head[:200]:
            self.endpoint.arrived.append(time.monotonic())
            loop = asyncio.get_running_loop()
            whole = self.endpoint.reply(body)
            self.waiting = loop.call_later(self.endpoint.latency_s, self._send, whole)
        elif head.startswith(b"post /reset"):
            self.endpoint.reset()
            self.transport.write(_ok(b"{}"))
        else:
            self.transport.write(self.endpoint.times())

    def _send(self, whole: bytes) -> None:
        self.waiting = None
        assert self.transport is not None
        self.endpoint.left.append(time.monotonic())
        self.transport.write(whole)


async def serve(endpoint: Endpoint, port: int) -> None:
    """Serve on loopback until ended; the port is printed."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(endpoint), "127.0.0.1", port, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    """Serve until ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency-s", type=float, default=0.5)
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument("--tool", default="Valid_actions")
    given = parser.parse_args()
    asyncio.run(serve(Endpoint(given.latency_s, given.turns, given.tool), given.port))


if __name__ == "__main__":
    main()
