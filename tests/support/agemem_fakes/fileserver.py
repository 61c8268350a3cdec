"""A file server on loopback that breaks off, fails and changes its mind when told to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Server:
    """Serves files by name; `cut` ends a reply early that many times, `fail` answers 503."""

    files: dict[str, bytes] = field(default_factory=dict)
    cut: int = 0
    fail: int = 0
    ranges: bool = True
    chunked: bool = False  # no Content-Length, so that an end shows only in the last chunk
    etag: str = ""
    asked: list[str] = field(default_factory=list)
    url: str = ""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: Server

    def do_GET(self) -> None:
        state, asked = self.state, self.headers.get("Range", "")
        state.asked.append(asked)
        name = self.path.rpartition("/")[2]
        if state.fail > 0:
            state.fail -= 1
            self.send_error(503)
        elif name not in state.files:
            self.send_error(404)
        else:
            unchanged = self.headers.get("If-Range") in (None, state.etag)
            self.give(state.files[name], asked if unchanged and state.ranges else "")

    def give(self, content: bytes, asked: str) -> None:
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if asked and start >= len(content):
            self.send_error(416)
            return
        state, body = self.state, content[start:]
        self.send_response(206 if asked else 200)
        if state.etag:
            self.send_header("ETag", state.etag)
        if state.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        cut = self.close_connection = state.cut > 0
        state.cut -= cut
        body = body[: len(body) // 3] if cut else body
        if state.chunked:
            body = b"%x\r\n%b\r\n" % (len(body), body) + b"0\r\n\r\n" * (not cut)
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[Server]:
    """A server while the block runs; what it does can be changed meanwhile."""
    state = Server()
    handler = type("Handler", (_Handler,), {"state": state})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        state.url = f"http://127.0.0.1:{http.server_address[1]}"
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield state
        http.shutdown()
