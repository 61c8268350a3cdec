"""Where actors connect to this process.

Whoever connects has to say first which worker it is and prove it by the token that the actor got
through Ray; anything else is cut off. Like Ray's own traffic the connections are not encrypted.
"""

from __future__ import annotations

import asyncio
import hmac
from typing import Any, Protocol

from .wire import Frames

GREETING_S = 10.0  # for saying who it is
MAX_GREETING = 1024  # bytes


class Expected(Protocol):
    """A worker whose actor will connect."""

    number: int
    token: str

    def attach(self, line: str, transport: asyncio.Transport) -> None:
        """Take one of its connections: `frames` or `lifeline`."""
        ...


class Listener:
    """A server that hands each connection to the worker it is for."""

    def __init__(self) -> None:
        self.addresses: list[tuple[str, int]] = []
        self._server: asyncio.Server | None = None
        self._expected: dict[tuple[int, str], Expected] = {}
        self.opened = False

    async def open(self, bind: str | None) -> None:
        """Listen on an address of this machine; None, or one that cannot be had: do not listen."""
        if self.opened:
            return
        self.opened = True
        if bind is not None:
            loop = asyncio.get_running_loop()
            try:
                self._server = await loop.create_server(lambda: _Greeting(self), bind, 0)
            except OSError:  # e.g. an address that Ray was told and this machine does not have
                return
            self.addresses = [s.getsockname()[:2] for s in self._server.sockets]

    def expect(self, worker: Expected) -> None:
        """Let this worker's actor connect, once each for its frames and its lifeline."""
        for line in ("frames", "lifeline"):
            self._expected[worker.number, line] = worker

    def greet(self, message: Any, transport: asyncio.Transport) -> bool:
        """Whether a greeting is good; if so the connection is its worker's now."""
        if not isinstance(message, dict):
            return False
        number, line, token = (message.get(name) for name in ("worker", "line", "token"))
        if not (isinstance(number, int) and isinstance(line, str) and isinstance(token, str)):
            return False
        worker = self._expected.get((number, line))
        if worker is None:
            return False
        if not hmac.compare_digest(worker.token.encode(), token.encode(errors="replace")):
            return False
        del self._expected[number, line]
        worker.attach(line, transport)
        return True

    def forget(self, worker: Expected) -> None:
        """A worker that was ended: whatever still connects for it is cut off."""
        for line in ("frames", "lifeline"):
            self._expected.pop((worker.number, line), None)

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()


class _Greeting(asyncio.Protocol):
    """A connection that has not said yet whose it is; a lifeline stays one for good."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._frames, self._received = Frames(), 0
        self._known = False
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._timer = asyncio.get_running_loop().call_later(GREETING_S, transport.abort)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        assert self._timer is not None
        self._received += len(data)
        try:
            messages = list(self._frames.feed(data)) if self._received <= MAX_GREETING else [None]
        except ValueError:
            messages = [None]
        for message in messages:
            if self._known or not self._listener.greet(message, self._transport):
                self._transport.abort()
                return
            self._known = True
            self._timer.cancel()
