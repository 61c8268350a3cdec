"""TLS as it fails: certificates that are refused, no TLS where it is expected, handshakes cut."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import ssl
import subprocess
import sys

import pytest

from agemem_eval.harness.errors import ModelError
from agemem_eval.harness.models.openai import OpenAIModel
from agemem_eval.harness.testserver import PLAY, ChatServer

from .fakes import QUICK, request

OPENSSL = shutil.which("openssl")
pytestmark = pytest.mark.skipif(OPENSSL is None, reason="the openssl program makes certificates")

# Trust is read when aiohttp is imported, so a certificate of one's own is tried in a new process.
ASK = """
import asyncio, json, sys
from agemem_eval.harness.errors import ModelError
from agemem_eval.harness.models.openai import OpenAIModel
from agemem_eval.harness.types import ChatMessage, Request, Sampling

async def main():
    model = OpenAIModel("m", base_url=sys.argv[1], max_retries=1, backoff_s=0.001, timeout_s=10)
    try:
        said = (await model.generate(Request([ChatMessage("user", "x")], Sampling()))).text, None
    except ModelError as error:
        said = str(error), error.kind
    await model.close()
    print(json.dumps(said))

asyncio.run(main())
"""


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


AUTHORITY = """
[ca]
default_ca = here
[here]
database = index.txt
new_certs_dir = .
serial = serial
default_md = sha256
policy = any
x509_extensions = made
[any]
commonName = supplied
[made]
subjectAltName = {address}
basicConstraints = CA:TRUE
"""


def certificate(directory, *, address="IP:127.0.0.1", years=("20200101", "20990101")):
    """A self-signed certificate and its key, in files, valid between two days."""
    (directory / "ca.cnf").write_text(AUTHORITY.format(address=address))
    (directory / "index.txt").write_text("")
    (directory / "serial").write_text("01")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    dates = ("-startdate", f"{years[0]}000000Z", "-enddate", f"{years[1]}000000Z")
    files = ("-in", "csr.pem", "-keyfile", "key.pem", "-out", "cert.pem")
    for command in (
        ("req", "-new", *curve, "-keyout", "key.pem", "-out", "csr.pem", "-subj", "/CN=test"),
        ("ca", "-selfsign", "-batch", "-notext", "-config", "ca.cnf", *files, *dates),
    ):
        subprocess.run([OPENSSL, *command], cwd=directory, capture_output=True, check=True)
    return directory / "cert.pem", directory / "key.pem"


def context(pem, key):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(pem, key)
    return made


async def fails(url, **options):
    model = OpenAIModel("m", base_url=url, **{**QUICK, "timeout_s": 5, **options})
    try:
        with pytest.raises(ModelError) as caught:
            await model.generate(request())
    finally:
        await model.close()
    assert "\n" not in str(caught.value)
    return caught.value


async def asked_by_another_process(url, trusted):
    environment = {**os.environ, "SSL_CERT_FILE": str(trusted)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ASK, url, env=environment, stdout=subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return json.loads(out)


async def test_a_trusted_certificate_is_served_over(tmp_path):
    pem, key = certificate(tmp_path)
    async with ChatServer(ssl=context(pem, key)) as server:
        assert await asked_by_another_process(server.url, pem) == [PLAY, None]


async def test_a_self_signed_certificate_is_refused_at_once(tmp_path):
    async with ChatServer(ssl=context(*certificate(tmp_path))) as server:
        error = await fails(server.url)
    assert error.kind == "tls"
    assert "the TLS certificate was refused" in str(error)
    assert "gave up" not in str(error)
    assert server.n_requests == 0


async def test_an_expired_certificate_is_refused_though_it_was_trusted(tmp_path):
    pem, key = certificate(tmp_path, years=("20200101", "20210101"))
    async with ChatServer(ssl=context(pem, key)) as server:
        said, kind = await asked_by_another_process(server.url, pem)
    assert kind == "tls"
    assert "expired" in said
    assert server.n_requests == 0


async def test_a_certificate_for_another_host_is_refused(tmp_path):
    pem, key = certificate(tmp_path, address="DNS:elsewhere.example")
    async with ChatServer(ssl=context(pem, key)) as server:
        said, kind = await asked_by_another_process(server.url, pem)
    assert kind == "tls"
    assert "certificate" in said


async def test_https_to_a_port_that_speaks_plain_http():
    async with ChatServer() as server:
        error = await fails(server.url.replace("http://", "https://"))
    assert error.kind == "tls"
    assert "is it an http:// address?" in str(error)
    assert "gave up" not in str(error)


async def test_plain_http_to_a_port_that_speaks_tls(tmp_path):
    async with ChatServer(ssl=context(*certificate(tmp_path))) as server:
        error = await fails(server.url.replace("https://", "http://"), max_retries=1)
    assert error.kind in ("connection", "malformed")  # an alert in bytes that are no HTTP, or none


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03"])
async def test_a_handshake_that_is_cut_is_tried_again(sent):
    n = 0

    async def cut(reader, writer):
        nonlocal n
        n += 1
        with contextlib.suppress(OSError):
            await reader.read(64)
            writer.write(sent)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(cut, "127.0.0.1", 0)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    error = await fails(url, max_retries=2)
    server.close()
    assert error.kind in ("tls", "connection")
    assert "gave up after 3 tries" in str(error)
    assert n == 3


async def test_a_handshake_that_never_ends_is_a_timeout():
    async def silent(reader, writer):
        with contextlib.suppress(OSError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    error = await fails(url, max_retries=1, timeout_s=0.3)
    server.close()
    assert error.kind == "timeout"
