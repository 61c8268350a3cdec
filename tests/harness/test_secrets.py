"""A planted key is nowhere in what a run writes: run directory, streams, logs, caches, traces.

Real runs in processes of their own, against endpoints that give the key back in every way: in
replies, error messages, redirects and headers; as it is, and as base64, URLs and JSON write it.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
import zstandard

from agemem_eval.harness.redact import Redactor
from agemem_eval.harness.testserver import ChatServer

KEY = 'sk-plant+ed/0123456789abcdefXYZ"abc=def&ghi%'  # written differently by every encoding
SECRET = KEY.encode()
ECHO = " ".join(
    (
        KEY,
        f"Bearer {KEY}",
        quote(KEY, safe=""),
        quote(KEY),
        quote_plus(KEY),
        json.dumps(KEY),
        json.dumps(KEY).replace("/", "\\/"),
        base64.b64encode(SECRET).decode(),
        base64.urlsafe_b64encode(SECRET).decode(),
        base64.b64encode(b"u:" + SECRET).decode(),
        base64.b64encode(b"user:" + SECRET + b"@host").decode(),
        base64.b64encode(b"Bearer " + SECRET).decode(),
    )
)
# Enough of each form to recognise it by, away from the edges that base64 shares with its neighbours
FORMS = {
    "the key": SECRET,
    "most of it": b"0123456789abcdefXYZ",
    "url": quote(KEY, safe="").encode(),
    "base64": base64.b64encode(SECRET)[3:-4],
    "url-safe base64": base64.urlsafe_b64encode(SECRET)[3:-4],
    "base64, moved by one": base64.b64encode(b"x" + SECRET)[4:-4],
    "base64, moved by two": base64.b64encode(b"xx" + SECRET)[4:-4],
}
RUN = ("--env", "alfworld", "--memory", "agemem", "--episodes", "1", "--model", "openai:m")
RUN = (*RUN, "--judge", "openai:m", "--max-steps", "2", "--workers", "0")
LOUD = ("--log-level", "debug", "--trace", "jsonl", "--cache")
HASTE = (
    "-o",
    "max_retries=1",
    "-o",
    "backoff_s=0.001",
    "-o",
    "timeout_s=5",
    "-o",
    "max_wait_s=0.1",
)


def run(cwd: Path, url: str, *arguments: str, script: str | None = None, **environment: str):
    """A run, and all that it wrote, by where it was written."""
    entry = ("-c", script) if script is not None else ("-m", "agemem_eval")
    command = [sys.executable, *entry, "run", *RUN, *HASTE, "--base-url", url, *arguments]
    home = {"HOME": str(cwd), "XDG_CACHE_HOME": str(cwd / "cache"), "OPENAI_API_KEY": KEY}
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **home, **environment},
        capture_output=True,
        timeout=180,
        check=False,
    )
    written = {"stdout": done.stdout, "stderr": done.stderr}
    for path in cwd.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            if path.suffix == ".zst":
                data = (
                    zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read()
                )
            written[str(path.relative_to(cwd))] = data
            written[f"the name of {path.name}"] = str(path).encode()
    return done, written


def leaks(written):
    return [
        f"{name} in {where}"
        for where, data in written.items()
        for name, form in FORMS.items()
        if form in data
    ]


@contextmanager
def echoing(status, headers=(), body=ECHO):
    """An endpoint whose every reply holds the key, in the given places."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            asked.append(self.headers["Authorization"])
            data = body.encode()
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
    assert set(asked) == {f"Bearer {KEY}"}


def test_the_forms_are_what_is_echoed():
    assert all(form in ECHO.encode() or "moved" in name for name, form in FORMS.items())
    assert len(leaks({"x": ECHO.encode()})) >= 5


def test_a_run_whose_model_repeats_the_key_in_its_replies(tmp_path):
    def reply(_):
        return f"<think>{ECHO}</think><tool_call>[{{}}]</tool_call><answer>look {KEY}</answer>"

    with ChatServer(reply, api_key=KEY).in_thread() as server:
        loud = {"PYTHONASYNCIODEBUG": "1", "PYTHONDEVMODE": "1"}
        done, written = run(tmp_path, server.url, *LOUD, **loud)
    assert done.returncode == 0, done.stderr
    assert server.served.calls > 0
    assert any(b"***" in data for data in written.values())
    assert leaks(written) == []


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (401, (), ECHO),
        (400, (), json.dumps({"error": {"message": ECHO}})),
        (200, (), json.dumps({"error": {"message": ECHO}})),
        (200, (), json.dumps({"detail": "".join(f"\\u{ord(c):04x}" for c in KEY)})),
        (200, (("Content-Type", f"text/{quote(KEY)}"),), f"<html>{ECHO}</html>"),
        (302, (("Location", f"https://u:{quote(KEY)}@127.0.0.1:1/v1?key={KEY}"),), ECHO),
        (429, (("Retry-After", KEY), ("X-Echo", ECHO)), ECHO),
    ],
    ids=["401", "400", "error in 200", "escaped", "html", "redirect", "429"],
)
def test_a_run_whose_endpoint_fails_and_repeats_the_key(tmp_path, status, headers, body):
    body = body.replace("\\\\u", "\\u")
    with echoing(status, headers, body) as url:
        done, written = run(tmp_path, url, *LOUD, PYTHONASYNCIODEBUG="1")
    assert done.returncode == 1
    assert b"ModelError" in b"".join(written.values())
    assert leaks(written) == []


def test_a_run_whose_endpoint_is_down(tmp_path):
    done, written = run(tmp_path, "http://127.0.0.1:9/v1", *LOUD)
    assert done.returncode == 1
    assert leaks(written) == []


CRASH = """
import sys
from agemem_eval.harness.models import http

def crash(*_, **__):
    if "{where}" == "in the transport":
        raise SystemError("a bug")
    raise RuntimeError("a bug")

if "{where}" == "in the transport":
    import aiohttp
    aiohttp.ClientSession.post = crash
else:
    http._parse = crash
from agemem_eval.harness.cli import main
sys.argv[0] = "agemem-eval"
main()
"""


@pytest.mark.parametrize("where", ["in the transport", "in a reply"])
def test_a_crash_with_a_traceback(tmp_path, where):
    with ChatServer(api_key=KEY).in_thread() as server:
        done, written = run(
            tmp_path,
            server.url,
            *LOUD,
            script=CRASH.format(where=where),
            PYTHONDEVMODE="1",
            FORCE_COLOR="1",
        )
    assert done.returncode != 0
    assert b"a bug" in b"".join(written.values())
    assert leaks(written) == []


def test_a_key_in_the_wrong_place_is_not_repeated(tmp_path):
    for arguments in (
        ("-o", f"openai.api_key_env={KEY}"),
        ("--base-url", f"http://user:{quote(KEY, safe='')}@127.0.0.1:9/v1"),
        ("--base-url", f"http://127.0.0.1:9/v1?key={quote(KEY, safe='')}"),
    ):
        done, written = run(tmp_path, "http://127.0.0.1:9/v1", *arguments)
        assert done.returncode == 2
        assert leaks(written) == []


def test_a_redactor_takes_out_every_form_and_nothing_else():
    redactor = Redactor(KEY, "short", "")
    assert leaks({"text": redactor.text(ECHO).encode(), "body": redactor.body(ECHO.encode())}) == []
    plain = "short texts, and sk-plant, stay as they are"
    assert redactor.text(plain) == plain
    assert redactor.body(plain.encode()) == plain.encode()
    assert KEY not in repr(redactor)
