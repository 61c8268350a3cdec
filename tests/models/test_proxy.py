"""Proxies that the environment names: used for other machines, with their password kept secret."""

from __future__ import annotations

import asyncio
import base64
import contextlib

import pytest

from agemem_eval.harness.errors import ModelError
from agemem_eval.harness.models.openai import OpenAIModel
from agemem_eval.harness.testserver import PLAY, ChatServer

from .fakes import QUICK, request

PASSWORD = "proxy-password-0123456789"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@contextlib.asynccontextmanager
async def proxy(answer):
    """A proxy that keeps the heads of its requests."""
    heads = []

    async def serve(reader, writer):
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            heads.append(head.decode())
            writer.write(answer)
            await writer.drain()
            await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", heads
    finally:
        server.close()


async def ask(url):
    model = OpenAIModel("m", base_url=url, **{**QUICK, "max_retries": 0, "timeout_s": 5})
    try:
        return await model.generate(request())
    finally:
        await model.close()


GOOD = b'{"choices": [{"message": {"content": "by proxy"}}]}'
REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(GOOD), GOOD)


async def test_another_machine_is_reached_by_the_proxy_with_its_password(monkeypatch):
    async with proxy(REPLY) as (address, heads):
        monkeypatch.setenv("http_proxy", f"http://user:{PASSWORD}@{address}")
        assert (await ask("http://no-such-host.invalid/v1")).text == "by proxy"
    assert heads[0].startswith("POST http://no-such-host.invalid/v1/chat/completions ")
    expected = base64.b64encode(f"user:{PASSWORD}".encode()).decode()
    assert f"Proxy-Authorization: Basic {expected}" in heads[0]


@pytest.mark.parametrize("scheme", ["", "HTTP://"])
async def test_a_proxy_may_be_named_as_other_tools_take_it(monkeypatch, scheme):
    async with proxy(REPLY) as (address, _):
        monkeypatch.setenv("http_proxy", f"{scheme}{address}")
        assert (await ask("http://no-such-host.invalid/v1")).text == "by proxy"


async def test_a_password_that_urls_write_otherwise_is_kept_secret_as_it_is(monkeypatch):
    echo = b'HTTP/1.1 400 No\r\nContent-Length: 37\r\n\r\n{"message": "not by p@ss/word+0123!"}'
    async with proxy(echo) as (address, _):
        monkeypatch.setenv("http_proxy", f"http://user:p%40ss%2Fword%2B0123!@{address}")
        with pytest.raises(ModelError, match=r"not by \*\*\*"):
            await ask("http://no-such-host.invalid/v1")


@pytest.mark.parametrize(("scheme", "kind"), [("http", "refused"), ("https", "connection")])
async def test_a_proxy_that_refuses_is_a_failure_without_its_password(monkeypatch, scheme, kind):
    refusal = f"HTTP/1.1 407 Give {PASSWORD}\r\nContent-Length: 0\r\n\r\n".encode()
    async with proxy(refusal) as (address, heads):
        monkeypatch.setenv(f"{scheme}_proxy", f"http://user:{PASSWORD}@{address}")
        with pytest.raises(ModelError) as caught:
            await ask(f"{scheme}://no-such-host.invalid/v1")
    assert len(heads) == 1
    assert caught.value.kind == kind
    assert "407" in str(caught.value)
    assert "gave up" not in str(caught.value)
    assert PASSWORD not in str(caught.value)


async def test_a_proxy_that_is_down(monkeypatch, unused_tcp_port):
    monkeypatch.setenv("http_proxy", f"http://user:{PASSWORD}@127.0.0.1:{unused_tcp_port}")
    with pytest.raises(ModelError, match="cannot connect") as caught:
        await ask("http://no-such-host.invalid/v1")
    assert caught.value.kind == "connection"
    assert PASSWORD not in str(caught.value)


async def test_this_machine_and_excepted_hosts_are_reached_without(monkeypatch, unused_tcp_port):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{unused_tcp_port}")
    async with ChatServer() as server:
        assert (await ask(server.url)).text == PLAY
    for excepted in ("no-such-host.invalid", "no-such-host.invalid:8000"):
        monkeypatch.setenv("no_proxy", excepted)
        with pytest.raises(ModelError, match="cannot connect") as caught:
            await ask("http://no-such-host.invalid:8000/v1")
        assert "127.0.0.1" not in str(caught.value)
