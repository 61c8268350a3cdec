"""What can be wrong with an endpoint's reply, as bytes; for `testserver`.

Body faults are HTTP replies like any other, with something wrong in what they say. Wire faults are
no reply, or one that breaks the protocol or its own promises.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from typing import Any

Json = dict[str, Any]
Schedule = Callable[[int], str | None]

BODY_FAULTS = (
    "no_usage", "negative_usage", "empty_choices", "no_message", "null_content",
    "tool_call", "bad_arguments", "wrong_type",
)  # fmt: skip
WIRE_FAULTS = (
    "hang", "disconnect", "disconnect_mid_body", "chunk_cut", "truncated", "html", "not_json",
    "not_http", "error_body", "huge", "long_length", "short_length", "bad_gzip", "redirect",
    "stream", "stream_cut",
)  # fmt: skip
FAULTS = (*BODY_FAULTS, *WIRE_FAULTS)  # beside any HTTP status, e.g. "429" or "503"
USELESS = ("empty_choices", "no_message")  # body faults that leave no completion

_REASONS = {200: "OK", 301: "Moved Permanently", 429: "Too Many Requests"}
_OK = b"HTTP/1.1 200 OK\r\n"
_JSON = b"Content-Type: application/json\r\n"
_CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


def no_faults(_: int) -> str | None:
    """Every request is answered."""
    return None


def first(*faults: str | None) -> Schedule:
    """These faults for the first requests, in order; None lets one pass. Then no more."""
    return lambda index: faults[index] if index < len(faults) else None


def at_random(rate: float, faults: Sequence[str], seed: int = 0) -> Schedule:
    """A fault for each request with this probability; the same for a seed and request number."""
    if not rate:
        return no_faults

    def fault(index: int) -> str | None:
        draw = random.Random(f"{seed}:{index}")
        return draw.choice(faults) if draw.random() < rate else None

    return fault


def whole(
    body: bytes, status: int = 200, kind: str = "application/json", headers: str = ""
) -> bytes:
    """A well-formed HTTP reply; `headers` are further lines, each with its line end."""
    return (
        f"HTTP/1.1 {status} {_REASONS.get(status, 'Reply')}\r\nContent-Type: {kind}\r\n{headers}"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def error(status: int, message: str, headers: str = "") -> bytes:
    """An error reply in the form that OpenAI's API uses."""
    said = {"error": {"message": message, "type": "injected", "code": None}}
    return whole(json.dumps(said).encode(), status, headers=headers)


def spoil(reply: Json, fault: str) -> None:
    """Put a body fault into a reply's JSON."""
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
        message["tool_calls"] = [tool_call("call_1", "Retrieve_memory", arguments)]
        message["content"] = None


def tool_call(call_id: str, name: str, arguments: str) -> Json:
    """A native tool call; the arguments are JSON, if they are good."""
    function = {"name": name, "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


def broken(reply: bytes, fault: str, huge_mb: float) -> tuple[bytes, bool]:
    """The bytes of a wire fault, and whether the connection ends after them.

    Args:
        reply: The JSON of a good reply.
        fault: Of `WIRE_FAULTS`, but for `hang`.
        huge_mb: Size of the reply of the fault `huge`.
    """
    half = len(reply) // 2
    event = b"data: " + reply + b"\n\n"
    stream = _OK + b"Content-Type: text/event-stream\r\n"
    cut = {
        "disconnect": b"",
        "disconnect_mid_body": _OK + _JSON + _length(len(reply)) + reply[:half],
        "chunk_cut": _OK + _JSON + _CHUNKED + _chunk(reply[:half]) + b"ff\r\n" + reply[half:-1],
        "long_length": _OK + _JSON + _length(len(reply) + 1000) + reply,
        "short_length": _OK + _JSON + _length(half) + reply,
        "bad_gzip": _OK + _JSON + b"Content-Encoding: gzip\r\n" + _length(len(reply)) + reply,
        "not_http": b"220 mail.example ESMTP ready\r\n\r\n",
        "stream_cut": stream + _CHUNKED + _chunk(event) + _chunk(event[:half]),
    }
    if fault in cut:
        return cut[fault], True
    if fault == "stream":
        events = _chunk(event) * 3 + _chunk(b"data: [DONE]\n\n")
        return stream + _CHUNKED + events + b"0\r\n\r\n", False
    if fault == "huge":
        return whole(b'{"choices": "' + b"x" * round(huge_mb * 2**20) + b'"}'), False
    if fault == "redirect":
        return whole(b"", 301, headers="Location: http://127.0.0.1:9/elsewhere\r\n"), False
    texts = {
        "truncated": (reply[:half], "application/json"),
        "html": (b"<html><body><h1>Bad gateway</h1></body></html>", "text/html"),
        "not_json": (b"upstream request failed", "application/json"),
        "error_body": (b'{"error": {"message": "overloaded"}}', "application/json"),
    }
    body, kind = texts[fault]
    return whole(body, kind=kind), False


def _length(n: int) -> bytes:
    return f"Content-Length: {n}\r\n\r\n".encode()


def _chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"
