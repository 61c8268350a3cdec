"""A server on loopback that speaks the chat-completions protocol, and fails on demand.

For tests of models, harnesses and plug-ins without a real endpoint, or by hand:
`python -m agemem_eval.harness.testserver --port 8000`. It counts the tokens it serves, so a test
can hold a token ledger against it. It is written on bare asyncio, so that a benchmark beside it
measures its client: HTTP/1.1, kept connections, bodies with a Content-Length.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import re
import ssl as tls
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

from .testfaults import BODY_FAULTS as BODY_FAULTS
from .testfaults import FAULTS as FAULTS
from .testfaults import USELESS, Schedule, broken, error, spoil, tool_call, whole
from .testfaults import WIRE_FAULTS as WIRE_FAULTS
from .testfaults import at_random as at_random
from .testfaults import first as first
from .testfaults import no_faults as no_faults
from .tokens import estimate_tokens
from .types import Completion

Json = dict[str, Any]
Reply = str | Completion | Json
Policy = Callable[[Json], Reply]

PLAY = "<think>I look around.</think><answer>look</answer>"
_LARGEST = 2**28  # bytes of a request
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,12})[ \t]*\r\n", re.IGNORECASE)
_CHARS_A_TOKEN = 4


@dataclass(slots=True)
class Served:
    """What the server gave out in replies it sent whole."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it arrived."""

    body: Json
    head: bytes = field(repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """Its headers, with their names as they were written."""
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        pairs = (line.partition(":") for line in lines if line)
        return {name: value.strip() for name, _, value in pairs}

    def header(self, name: str) -> str:
        """One header, whatever the case of its name; empty if there is none."""
        return next((v for k, v in self.headers.items() if k.lower() == name.lower()), "")


def every_call(_: Json) -> Reply:
    """The default policy: the action `look`, whatever was asked."""
    return PLAY


class ChatServer:
    """The server, as an async context manager; `in_thread` serves synchronous code.

    Args:
        reply: Makes the reply from a request's JSON: a text, a `Completion` (its tool calls and
            finish reason are sent; its usage is, unless estimated), or a whole reply as JSON.
        latency_s: Seconds before each reply.
        jitter_s: Up to so many seconds more, drawn for each.
        faults: The fault of the n-th request (from 0), or None: see `FAULTS`, `first`,
            `at_random`.
        takes: Requests beyond so many in flight are answered 429, at once.
        rate: Requests beyond so many in so many seconds are answered 429, at once; with a
            Retry-After of when there is room again.
        retry_after: The Retry-After header of all 429 and 503 replies.
        api_key: If given, requests without it are refused, in a message that repeats their key.
        huge_mb: Size of the reply of the fault `huge`.
        host: Where to listen.
        port: 0 takes a free one.
        ssl: Serve https with this context.
    """

    def __init__(
        self,
        reply: Policy = every_call,
        *,
        latency_s: float = 0.0,
        jitter_s: float = 0.0,
        faults: Schedule = no_faults,
        takes: int | None = None,
        rate: tuple[int, float] | None = None,
        retry_after: str | None = None,
        api_key: str | None = None,
        huge_mb: float = 8.0,
        host: str = "127.0.0.1",
        port: int = 0,
        ssl: tls.SSLContext | None = None,
    ) -> None:
        self.reply, self.faults = reply, faults
        self.latency_s, self.jitter_s = latency_s, jitter_s
        self.takes, self.rate = takes, rate
        self.retry_after, self.api_key, self.huge_mb = retry_after, api_key, huge_mb
        self.served = Served()
        self.requests: deque[Received] = deque(maxlen=1000)  # the newest
        self.n_requests = 0  # chat requests that arrived, failed ones too
        self.n_limited = 0  # of them, refused for `takes` or `rate`
        self.in_flight = self.most_in_flight = 0
        self.connections: set[_Connection] = set()
        self.n_connections = 0  # that were ever opened
        self._host, self._port, self._ssl = host, port, ssl
        self._draw = random.Random(0)
        self._recent: deque[float] = deque()  # when the requests within `rate` came
        self._listening: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """The base URL to give to a client."""
        return f"{'https' if self._ssl else 'http'}://{self._host}:{self._port}/v1"

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(
            lambda: _Connection(self), self._host, self._port, ssl=self._ssl, backlog=1024
        )
        self._port = self._listening.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._listening is not None:
            self._listening.close()
        for connection in list(self.connections):
            connection.transport.abort()
        await asyncio.sleep(0)

    @contextmanager
    def in_thread(self) -> Iterator[Self]:
        """Serve from a thread of its own while the context lasts."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="chat-server", daemon=True)
        thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self.__aenter__(), loop).result(10)
            yield self
        finally:
            asyncio.run_coroutine_threadsafe(self.__aexit__(), loop).result(10)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(10)
            loop.close()

    # --- answering --------------------------------------------------------------------------

    def handle(self, connection: _Connection, head: bytes, body: bytes) -> None:
        """Answer a request, now or later; called by a connection."""
        target = head.split(b" ", 2)[1] if head.count(b" ") > 1 else b""
        if target == b"/v1/models":
            models = {"object": "list", "data": [{"id": "test", "object": "model"}]}
            connection.send(whole(json.dumps(models).encode()))
        elif target != b"/v1/chat/completions" or not head.startswith(b"POST "):
            connection.send(error(404, "there is nothing here"))
        else:
            self._chat(connection, head, body)

    def _chat(self, connection: _Connection, head: bytes, raw: bytes) -> None:
        index, self.n_requests = self.n_requests, self.n_requests + 1
        limited = self._limited()
        if limited is not None:
            self.n_limited += 1
            connection.send(error(429, "too many requests", limited))
            return
        try:
            body = json.loads(raw)
        except ValueError:
            connection.send(error(400, "the request is not JSON"))
            return
        received = Received(body, head)
        self.requests.append(received)
        connection.open = True
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        wait = self.latency_s + (self._draw.uniform(0, self.jitter_s) if self.jitter_s else 0.0)
        arguments = connection, received, len(raw), self.faults(index)
        if wait:
            connection.timer = asyncio.get_running_loop().call_later(wait, self._answer, *arguments)
        else:
            self._answer(*arguments)

    def _limited(self) -> str | None:
        """The headers of a 429 if this request is one too many."""
        after = _retry_after(self.retry_after)
        if self.takes is not None and self.in_flight >= self.takes:
            return after
        if self.rate is None:
            return None
        now, (most, seconds) = asyncio.get_running_loop().time(), self.rate
        while self._recent and self._recent[0] <= now - seconds:
            self._recent.popleft()
        if len(self._recent) >= most:
            return after or _retry_after(str(math.ceil(self._recent[0] + seconds - now)))
        self._recent.append(now)
        return None

    def _answer(
        self, connection: _Connection, received: Received, size: int, fault: str | None
    ) -> None:
        if fault == "hang":
            return  # until the client gives up, or the server is closed
        try:
            reply, ends = self._reply(received, size, fault)
        except Exception as problem:  # noqa: BLE001 - a policy is a test's own code
            said = f"the reply failed: {type(problem).__name__}: {problem}"
            reply, ends = error(500, said), False
        connection.send(reply, ends=ends)

    def _reply(self, received: Received, size: int, fault: str | None) -> tuple[bytes, bool]:
        """The bytes of a reply, and whether the connection ends with it."""
        if self.api_key is not None:
            given = received.header("Authorization")
            if given != f"Bearer {self.api_key}":
                return error(401, f"wrong key in {given!r}"), False
        if fault is not None and fault.isdecimal():
            after = _retry_after(self.retry_after) if fault in ("429", "503") else ""
            return error(int(fault), f"injected {fault}", after), False
        if fault is not None and fault not in FAULTS:
            return error(500, f"there is no fault {fault!r} to inject"), False
        reply = self._completion(received.body, size)
        if fault in WIRE_FAULTS:
            return broken(json.dumps(reply).encode(), str(fault), self.huge_mb)
        told = reply.get("usage")
        usage = told if isinstance(told, dict) else {}
        prompt, answer = usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0)
        if fault is not None:
            spoil(reply, fault)
        if fault not in USELESS:
            self.served.calls += 1
            self.served.prompt_tokens += prompt
            self.served.completion_tokens += answer
        kind = "text/plain" if fault == "wrong_type" else "application/json"
        return whole(json.dumps(reply).encode(), kind=kind), False

    def _completion(self, body: Json, size: int) -> Json:
        made = self.reply(body)
        if isinstance(made, dict):
            return made
        completion = made if isinstance(made, Completion) else None
        text = completion.text if completion is not None else str(made)
        message: Json = {"role": "assistant", "content": text}
        if completion is not None and completion.tool_calls:
            message["tool_calls"] = [
                tool_call(call.id, call.name, json.dumps(call.arguments))
                for call in completion.tool_calls
            ]
        prompt, answer = 1 + size // _CHARS_A_TOKEN, estimate_tokens(text)
        if completion is not None and not completion.usage.estimated:
            prompt = completion.usage.prompt_tokens
            answer = completion.usage.completion_tokens
        finish = completion.finish if completion is not None else "stop"
        return {
            "id": f"chatcmpl-{self.n_requests}",
            "object": "chat.completion",
            "model": body.get("model"),
            "choices": [{"index": 0, "message": message, "finish_reason": finish}],
            "usage": {"prompt_tokens": prompt, "completion_tokens": answer},
        }


class _Connection(asyncio.Protocol):
    """One client's connection: finds the requests in its bytes, one after the other."""

    transport: asyncio.Transport

    def __init__(self, server: ChatServer) -> None:
        self._server = server
        self._buffer = bytearray()
        self._busy = False  # with a request that is not answered yet
        self.open = False  # that request counts as in flight
        self.timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has come."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._server.connections.add(self)
        self._server.n_connections += 1

    def connection_lost(self, _: Exception | None) -> None:
        """It has gone, perhaps before it got its reply."""
        self._server.connections.discard(self)
        self._busy = True
        self._settle()

    def data_received(self, data: bytes) -> None:
        """Part of a request, or several."""
        self._buffer += data
        if not self._busy:
            self._next()

    def send(self, reply: bytes, *, ends: bool = False) -> None:
        """Answer the request at hand."""
        self._settle()
        self.transport.write(reply)
        if ends:
            self.transport.close()
            return
        self._busy = False
        if self._buffer:
            self._next()

    def _settle(self) -> None:
        if self.open:
            self.open = False
            self._server.in_flight -= 1
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def _next(self) -> None:
        """Hand the next request over, if it is here whole."""
        if not self._buffer[:1].isalpha():
            self.send(error(400, "that is not HTTP"), ends=True)
            return
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > 2**16:
                self.transport.abort()
            return
        head = bytes(self._buffer[: end + 2])
        found = _LENGTH.search(head)
        size = int(found[1]) if found else 0
        if size > _LARGEST or b"\r\nTransfer-Encoding:" in head:
            self.send(error(411, "send a Content-Length, and less"), ends=True)
            return
        if len(self._buffer) < end + 4 + size:
            return
        body = bytes(self._buffer[end + 4 : end + 4 + size])
        del self._buffer[: end + 4 + size]
        self._busy = True
        self._server.handle(self, head, body)


def _retry_after(value: str | None) -> str:
    return f"Retry-After: {value}\r\n" if value is not None else ""


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m agemem_eval.harness.testserver")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--reply", default=PLAY, help="the text of every reply")
    parser.add_argument("--latency-s", type=float, default=0.0)
    parser.add_argument("--jitter-s", type=float, default=0.0)
    parser.add_argument("--takes", type=int, help="429 beyond so many in flight")
    parser.add_argument("--rps", type=int, help="429 beyond so many a second")
    parser.add_argument("--retry-after")
    parser.add_argument("--fault-rate", type=float, default=0.0)
    parser.add_argument("--faults", default="429,500,disconnect", help=f"of: {', '.join(FAULTS)}")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    server = ChatServer(
        lambda _: str(given.reply),
        latency_s=given.latency_s,
        jitter_s=given.jitter_s,
        takes=given.takes,
        rate=(given.rps, 1.0) if given.rps is not None else None,
        retry_after=given.retry_after,
        faults=at_random(given.fault_rate, given.faults.split(","), given.seed),
        host=given.host,
        port=given.port,
    )
    try:
        asyncio.run(_serve(server))
    except KeyboardInterrupt:
        print(f"\nserved {server.served}")


async def _serve(server: ChatServer) -> None:
    async with server:
        print(f"listening on {server.url}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    main()
