"""The worker as a Ray actor: the same host of environments, answering the same frames.

Imported on the node that Ray chose; it imports no Ray itself. Ray places and supervises. Frames go
over a connection that the actor makes to the parent, as fast as a pipe, and where no connection can
be made, as arguments and results of actor calls.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import socket
from collections.abc import Sequence

from .wire import Frames, pack
from .worker import Host, end_with_parent, reply_frame, serve

CONNECT_TIMEOUT_S = 5.0


class WorkerActor:
    """One worker; the parent makes one call of `serve`, or one of `exchange` a request."""

    def __init__(self) -> None:
        self._host, self._frames = Host(), Frames()
        self._wire: socket.socket | None = None

    def connect(self, addresses: Sequence[tuple[str, int]], greeting: str) -> dict[str, str]:
        """Connect to the parent; returns where this is, and as `problem` what went wrong if it did.

        Args:
            addresses: Where the parent listens, best first.
            greeting: A JSON object that the parent knows its worker by; sent first on each of two
                connections, for frames and for the lifeline, with its `line` set to either.
        """
        problem = self._connect(addresses, greeting)
        version = importlib.metadata.version("agemem-eval")
        return {"problem": problem, "version": version, "node": socket.gethostname()}

    def _connect(self, addresses: Sequence[tuple[str, int]], greeting: str) -> str:
        problem = "the runner does not listen"
        for host, port in addresses:
            try:
                # Both before a word is said: with one alone the parent could do nothing.
                frames, lifeline = (
                    socket.create_connection((host, port), CONNECT_TIMEOUT_S) for _ in range(2)
                )
                _greet(frames, greeting, "frames")
                _greet(lifeline, greeting, "lifeline")
            except OSError as error:
                problem = f"{host}:{port}: {error}"
                continue
            self._wire = frames
            with contextlib.suppress(OSError):  # as leader it and its children can be ended as one
                os.setpgid(0, 0)
            end_with_parent(lifeline.detach())
            return ""
        return problem

    def serve(self, beat_s: float) -> None:
        """Answer what comes over the connection, until the parent says `exit` or is gone."""
        assert self._wire is not None
        serve(self._wire.fileno(), self._wire.fileno(), beat_s)

    def exchange(self, frame: bytes) -> bytes:
        """Answer one request without a connection."""
        return b"".join(reply_frame(self._host, request) for request in self._frames.feed(frame))

    def close(self) -> None:
        """Close the environments of a worker without a connection."""
        self._host.close()


def _greet(made: socket.socket, greeting: str, line: str) -> None:
    made.settimeout(None)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # a parent that lost its power
    made.sendall(pack({**json.loads(greeting), "line": line}))
