"""What all who call one endpoint share: its connections, its gate, and the key's secrecy.

An endpoint is a base URL and the variable that holds its key. The agent's, the memory's and the
judge's model of a run are one endpoint where they point to the same place, so its limits hold for
all of them together. There is one an event loop; the last of its users closes it.
"""

from __future__ import annotations

import asyncio
import logging
import os
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from .... import __version__
from ...errors import UsageError
from ...redact import Redactor
from .gate import Gate, GateLimits

log = logging.getLogger("agemem_eval.endpoint")

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Endpoint:
    """One endpoint, open in one event loop; made by `join`.

    The key is read from the environment here and is kept nowhere but in the header it is for, and
    in `redactor`, which takes it out of whatever comes back.
    """

    def __init__(self, url: str, key_variable: str) -> None:
        self.url = url
        self.gate = Gate(self._tell)
        self.users = 0
        key = read_key(key_variable)
        self.has_key = bool(key)
        self.proxy = _proxy(url)
        password = urlsplit(self.proxy).password if self.proxy is not None else None
        self.redactor = Redactor(key, password or "", unquote(password or ""))
        headers = {"Content-Type": "application/json", "User-Agent": f"agemem-eval/{__version__}"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        # Connections are not limited here: the gate is the limit, so that no call's timeout runs
        # while it waits. The environment is read for proxies alone (`trust_env` would also look
        # up .netrc for each call, and send what it finds there).
        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=headers,
        )

    def _tell(self, change: str, now: float, before: float) -> None:
        fields = {"event": "limit", "endpoint": self.url, "limit": now, "before": before}
        if change == "held":
            fields = {"event": "hold", "endpoint": self.url, "wait_s": round(now, 3)}
            log.warning(
                "%s: asks to wait %.3g s: no call starts before",
                self.url,
                now,
                extra={"fields": fields},
            )
        elif change == "recovered":
            log.info("%s: back at %d calls at once", self.url, now, extra={"fields": fields})
        else:
            log.warning(
                "%s: too many calls were refused or late: backed off to %d at once, from %d",
                self.url, now, before, extra={"fields": fields},
            )  # fmt: skip


_open: dict[asyncio.AbstractEventLoop, dict[tuple[str, str], Endpoint]] = {}


def join(url: str, key_variable: str, limits: GateLimits) -> Endpoint:
    """The endpoint, as one more of its users; of two users' bounds the stricter hold for both.

    Raises:
        UsageError: for a key that no header can carry.
    """
    for loop in list(_open):
        if loop.is_closed():  # with endpoints that nobody closed: they are of no use any more
            del _open[loop]
    here = _open.setdefault(asyncio.get_running_loop(), {})
    endpoint = here.get((url, key_variable))
    if endpoint is None or endpoint.session.closed:
        endpoint = here[url, key_variable] = Endpoint(url, key_variable)
    endpoint.users += 1
    endpoint.gate.restrict(limits)
    return endpoint


async def leave(endpoint: Endpoint) -> None:
    """End a use; the last one closes the connections."""
    endpoint.users -= 1
    if endpoint.users > 0:
        return
    for loop, here in list(_open.items()):
        for key, value in list(here.items()):
            if value is endpoint:
                del here[key]
        if not here:
            _open.pop(loop, None)
    await endpoint.session.close()


def read_key(variable: str) -> str:
    """The key in an environment variable; empty if there is none.

    Raises:
        UsageError: if it could not be sent in a header; the key itself is not shown.
    """
    key = os.environ.get(variable, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise UsageError(f"${variable} holds characters that no HTTP header may carry: set it anew")
    return key


def is_loopback(url: str) -> bool:
    """Whether a URL is this machine."""
    return urlsplit(url).hostname in LOOPBACK


def _proxy(url: str) -> str | None:
    """The proxy that the environment asks for; proxies are for other machines.

    As for other tools, `host:port` is an http:// one; https:// and SOCKS ones are not used.
    """
    parts = urlsplit(url)
    if is_loopback(url) or proxy_bypass(parts.netloc):
        return None
    proxy = getproxies().get(parts.scheme, "")
    scheme, found, rest = proxy.rpartition("://")
    return f"http://{rest}" if rest and (not found or scheme.lower() == "http") else None
