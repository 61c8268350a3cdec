"""A server on loopback that speaks the chat-completions protocol, and fails on demand.

For tests of models, harnesses and plug-ins without a real endpoint, or by hand:
`python -m agemem_eval.harness.testserver --port 8000`. It counts the tokens it serves, so a test
can hold a token ledger against it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

from .tokens import estimate_tokens
from .types import Completion

Json = dict[str, Any]
Reply = str | Completion | Json
Policy = Callable[[Json], Reply]
Schedule = Callable[[int], str | None]

PLAY = "<think>I look around.</think><answer>look</answer>"
BODY_FAULTS = (  # an HTTP reply like any other, with something wrong in what it says
    "no_usage", "negative_usage", "empty_choices", "no_message", "null_content",
    "tool_call", "bad_arguments", "wrong_type",
)  # fmt: skip
WIRE_FAULTS = (  # no reply, or one that breaks the protocol
    "hang", "disconnect", "disconnect_mid_body", "truncated", "html", "not_json", "not_http",
    "error_body", "huge", "long_length", "short_length", "bad_gzip", "redirect",
)  # fmt: skip
FAULTS = (*BODY_FAULTS, *WIRE_FAULTS)  # beside any HTTP status, e.g. "429" or "503"


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
    headers: dict[str, str] = field(repr=False)


def every_call(_: Json) -> Reply:
    """The default policy: the action `look`, whatever was asked."""
    return PLAY


def no_faults(_: int) -> str | None:
    """Every request is answered."""
    return None


def first(*faults: str | None) -> Schedule:
    """These faults for the first requests, in order; None lets one pass. Then no more."""
    return lambda index: faults[index] if index < len(faults) else None


def at_random(rate: float, faults: Sequence[str], seed: int = 0) -> Schedule:
    """A fault for each request with this probability; the same for a seed and request number."""

    def fault(index: int) -> str | None:
        draw = random.Random(f"{seed}:{index}")
        return draw.choice(faults) if draw.random() < rate else None

    return fault


class ChatServer:
    """The server, as an async context manager; `in_thread` serves synchronous code.

    Args:
        reply: Makes the reply from a request's JSON: a text, a `Completion` (its tool calls and
            finish reason are sent; its usage is, unless estimated), or a whole reply as JSON.
        latency_s: Seconds before each reply.
        faults: The fault of the n-th request (from 0), or None: see `FAULTS`, `first`,
            `at_random`.
        retry_after: The Retry-After header of 429 and 503 replies.
        api_key: If given, requests without it are refused, in a message that repeats their key.
        huge_mb: Size of the reply of the fault `huge`.
        host: Where to listen.
        port: 0 takes a free one.
    """

    def __init__(
        self,
        reply: Policy = every_call,
        *,
        latency_s: float = 0.0,
        faults: Schedule = no_faults,
        retry_after: str | None = None,
        api_key: str | None = None,
        huge_mb: float = 8.0,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.reply, self.latency_s, self.faults = reply, latency_s, faults
        self.retry_after, self.api_key, self.huge_mb = retry_after, api_key, huge_mb
        self.served = Served()
        self.requests: deque[Received] = deque(maxlen=1000)  # the newest
        self.n_requests = 0  # chat requests that arrived, failed ones too
        self.in_flight = self.most_in_flight = 0
        self._host, self._port = host, port
        self._runner: web.AppRunner | None = None
        self._closing = asyncio.Event()

    @property
    def url(self) -> str:
        """The base URL to give to a client."""
        return f"http://{self._host}:{self._port}/v1"

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=2**28)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_get("/v1/models", self._models)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing.set()
        if self._runner is not None:
            await self._runner.cleanup()

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

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "test", "object": "model"}]})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        index, self.n_requests = self.n_requests, self.n_requests + 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            body = await request.json()
            self.requests.append(Received(body, dict(request.headers)))
            if self.latency_s:
                await asyncio.sleep(self.latency_s)
            return await self._answer(request, body, self.faults(index))
        except ValueError:
            return _error(400, "the request is not JSON")
        finally:
            self.in_flight -= 1

    async def _answer(
        self, request: web.Request, body: Json, fault: str | None
    ) -> web.StreamResponse:
        given = request.headers.get("Authorization", "")
        if self.api_key is not None and given != f"Bearer {self.api_key}":
            return _error(401, f"wrong key in {given!r}")
        if fault is not None and fault.isdecimal():
            hint = {"Retry-After": self.retry_after} if self.retry_after else {}
            return _error(int(fault), f"injected {fault}", hint if fault in ("429", "503") else {})
        if fault in WIRE_FAULTS:
            return await self._break(request, self._reply(body), fault)
        if fault is not None and fault not in BODY_FAULTS:
            return _error(500, f"there is no fault {fault!r} to inject")
        reply = self._reply(body)
        usage = dict(reply.get("usage") or {})
        if fault is not None:
            _spoil(reply, fault)
        if fault not in ("empty_choices", "no_message"):  # those are no use to anybody
            self.served.calls += 1
            self.served.prompt_tokens += usage.get("prompt_tokens", 0)
            self.served.completion_tokens += usage.get("completion_tokens", 0)
        kind = "text/plain" if fault == "wrong_type" else "application/json"
        return web.Response(text=json.dumps(reply), content_type=kind)

    def _reply(self, body: Json) -> Json:
        made = self.reply(body)
        if isinstance(made, dict):
            return made
        completion = made if isinstance(made, Completion) else None
        text = completion.text if completion is not None else str(made)
        message: Json = {"role": "assistant", "content": text}
        if completion is not None and completion.tool_calls:
            message["tool_calls"] = [
                _tool_call(call.id, call.name, json.dumps(call.arguments))
                for call in completion.tool_calls
            ]
        prompt, answer = estimate_tokens(json.dumps(body.get("messages"))), estimate_tokens(text)
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

    async def _break(self, request: web.Request, reply: Json, fault: str) -> web.StreamResponse:
        """Fail below the level of a well-formed reply."""
        whole = json.dumps(reply).encode()
        ok = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        raw = {
            "disconnect": b"",
            "disconnect_mid_body": ok + _length(len(whole)) + whole[: len(whole) // 2],
            "long_length": ok + _length(len(whole) + 1000) + whole,
            "short_length": ok + _length(len(whole) // 2) + whole,
            "bad_gzip": ok + b"Content-Encoding: gzip\r\n" + _length(len(whole)) + whole,
            "not_http": b"220 mail.example ESMTP ready\r\n\r\n",
        }
        if fault in raw:
            assert request.transport is not None
            request.transport.write(raw[fault])
            request.transport.close()
            return web.Response()  # goes nowhere: the connection is closed
        if fault == "hang":
            await self._closing.wait()
        if fault == "huge":
            return await self._flood(request)
        if fault == "redirect":
            return web.Response(status=301, headers={"Location": "http://127.0.0.1:9/elsewhere"})
        texts = {
            "truncated": (whole[: len(whole) // 2].decode(), "application/json"),
            "html": ("<html><body><h1>Bad gateway</h1></body></html>", "text/html"),
            "not_json": ("upstream request failed", "application/json"),
            "error_body": (json.dumps({"error": {"message": "overloaded"}}), "application/json"),
        }
        text, kind = texts.get(fault, ("", "text/plain"))
        return web.Response(text=text, content_type=kind)

    async def _flood(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        await response.write(b'{"choices": "')
        for _ in range(round(self.huge_mb * 16)):
            await response.write(b"x" * 2**16)
        await response.write(b'"}')
        return response


def _spoil(reply: Json, fault: str) -> None:
    """Put a body fault into a reply."""
    message = reply["choices"][0]["message"]
    if fault == "no_usage":
        del reply["usage"]
    elif fault == "negative_usage":
        reply["usage"] = {"prompt_tokens": -5, "completion_tokens": -1}
    elif fault == "empty_choices":
        reply["choices"] = []
    elif fault == "no_message":
        del reply["choices"][0]["message"]
    elif fault == "null_content":
        message["content"] = None
    elif fault in ("tool_call", "bad_arguments"):
        arguments = '{"query": "apple"}' if fault == "tool_call" else '{"query": "app'
        message["tool_calls"] = [_tool_call("call_1", "Retrieve_memory", arguments)]
        message["content"] = None


def _tool_call(call_id: str, name: str, arguments: str) -> Json:
    function = {"name": name, "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


def _length(n: int) -> bytes:
    return f"Content-Length: {n}\r\n\r\n".encode()


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    body = {"error": {"message": message, "type": "injected", "code": None}}
    return web.Response(
        status=status, headers=headers, text=json.dumps(body), content_type="application/json"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m agemem_eval.harness.testserver")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--reply", default=PLAY, help="the text of every reply")
    parser.add_argument("--latency-s", type=float, default=0.0)
    parser.add_argument("--fault-rate", type=float, default=0.0)
    parser.add_argument("--faults", default="429,500,disconnect", help=f"of: {', '.join(FAULTS)}")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    server = ChatServer(
        lambda _: str(given.reply),
        latency_s=given.latency_s,
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
