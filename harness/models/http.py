"""A small JSON-over-HTTP client: one pool of connections, timeouts, retries, limits.

Every failure ends as one `ModelError` line. A failure that may pass (429, 5xx, a lost connection,
a broken reply) is tried again with growing, jittered waits; what will not pass is told at once.

The key is read from the environment when the session opens, and is kept nowhere else. aiohttp's
exceptions may hold the request's headers, so no exception raised here keeps one as its context.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn, TypeVar
from urllib.parse import urlsplit

import aiohttp
from pydantic import BaseModel, ConfigDict, Field
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt

from ... import __version__
from ..errors import ModelError, UsageError

T = TypeVar("T")
Json = dict[str, Any]

PASSING = frozenset({408, 409, 425, 429})  # client errors that may pass; so may every 5xx
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_QUOTED = 300  # characters of an endpoint's own message that an error repeats


class HttpLimits(BaseModel):
    """How long to wait, how often to try again, how much to read."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    timeout_s: float = Field(120.0, gt=0)  # of one try, from connecting to the last byte
    connect_timeout_s: float = Field(10.0, gt=0)
    max_retries: int = Field(5, ge=0, le=100)  # further tries after the first
    backoff_s: float = Field(0.5, ge=0)  # wait before the first retry; it doubles from there
    max_wait_s: float = Field(60.0, ge=0)  # cap of one wait, also of what Retry-After asks for
    max_reply_mb: float = Field(32.0, gt=0)


class MalformedReply(Exception):
    """A reply that is JSON but not what was asked for; the call is tried again."""


class _PassingFailure(Exception):
    """A failure that a retry may mend."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class JsonClient:
    """POSTs JSON to paths below one base URL and reads JSON replies.

    Connections are pooled and reused. Their number is not limited here: the caller's concurrency
    is the limit, so no call spends its timeout waiting in a queue.

    Args:
        base_url: `http(s)://host[:port][/path]`.
        key_variable: Environment variable that holds the bearer token; unset sends none.
        limits: Timeouts, retries and sizes.
        sleep: Waits between tries.
        clock: Unix time in seconds, to read a Retry-After date against.

    Raises:
        UsageError: for a URL that cannot be one, or that carries a secret.
    """

    def __init__(
        self,
        base_url: str,
        key_variable: str,
        limits: HttpLimits,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.base_url = checked_url(base_url)
        self.limits = limits
        self._key_variable = key_variable
        self._sleep = sleep
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None

    async def post(self, path: str, body: Json, read: Callable[[Json], T]) -> T:
        """Send a request until a reply can be read.

        Args:
            path: Below the base URL, with its leading slash.
            body: The JSON to send.
            read: Makes the result of the reply's JSON object; may raise `MalformedReply`.

        Raises:
            ModelError: when the endpoint failed for good.
        """
        payload = json.dumps(body).encode()
        retrying = AsyncRetrying(
            sleep=self._sleep,
            stop=stop_after_attempt(self.limits.max_retries + 1),
            wait=self._wait,
            retry=retry_if_exception_type(_PassingFailure),
            reraise=True,
        )
        try:
            return await retrying(self._try, path, payload, read)
        except _PassingFailure as failure:
            problem = str(failure)
        tries = self.limits.max_retries + 1
        raise ModelError(f"{self.base_url}: {problem} (gave up after {tries} tries)")

    async def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    # --- one try ----------------------------------------------------------------------------

    async def _try(self, path: str, payload: bytes, read: Callable[[Json], T]) -> T:
        status, headers, body = await self._exchange(path, payload)
        reply = _parse(body)
        if status >= 300:
            self._refused(status, headers.get("Retry-After"), headers.get("Location"), reply, body)
        if not isinstance(reply, dict):
            kind = headers.get("Content-Type", "no content type")
            raise _PassingFailure(
                f"answered with {kind}, not a JSON object: {self._one_line(_text(body))!r}; "
                "does the base url end where /chat/completions begins, e.g. in /v1?"
            )
        if reply.get("error"):
            self._refused(_code(reply), headers.get("Retry-After"), None, reply, body)
        try:
            return read(reply)
        except MalformedReply as error:
            problem = f"malformed reply: {error}"
        raise _PassingFailure(self._one_line(problem))

    async def _exchange(self, path: str, payload: bytes) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body of one reply."""
        problem = fatal = ""
        try:
            async with self._open().post(
                self.base_url + path, data=payload, allow_redirects=False
            ) as response:
                body = await self._read_body(response)
            if body is not None:
                return response.status, response.headers, body
            fatal = f"the reply is larger than {self.limits.max_reply_mb:g} MB"
        except aiohttp.ConnectionTimeoutError:
            problem = f"no connection within {self.limits.connect_timeout_s:g} s"
        except TimeoutError:
            problem = f"no reply within {self.limits.timeout_s:g} s"
        except aiohttp.ClientConnectorCertificateError as error:
            fatal = f"the TLS certificate was refused: {error.certificate_error}"
        except aiohttp.ClientConnectorError as error:
            problem = f"cannot connect ({error.os_error or error}): is the server running there?"
        except (aiohttp.ClientError, OSError) as error:
            problem = f"the connection failed: {type(error).__name__}: {error}"
        # raised outside the handlers, so that no header travels in an exception's context
        if fatal:
            self._fail(fatal)
        raise _PassingFailure(self._one_line(problem))

    async def _read_body(self, response: aiohttp.ClientResponse) -> bytes | None:
        """The body, without the key should it be repeated there; None if it is too large."""
        most = int(self.limits.max_reply_mb * 2**20)
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > most:
                return None
        return self._without_key(bytes(body).decode("latin-1")).encode("latin-1")

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            headers = {"Content-Type": "application/json"}
            headers["User-Agent"] = f"agemem-eval/{__version__}"
            if key := read_key(self._key_variable):
                headers["Authorization"] = f"Bearer {key}"
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(
                    total=self.limits.timeout_s, sock_connect=self.limits.connect_timeout_s
                ),
                headers=headers,
                trust_env=not is_loopback(self.base_url),  # proxies are for other machines
            )
        return self._session

    # --- judging a failure ------------------------------------------------------------------

    def _refused(
        self, status: int, retry_after: str | None, location: str | None, reply: Any, body: bytes
    ) -> NoReturn:
        """Raise what an error reply means."""
        said = self._one_line(_said(reply, body))
        spent = status == 429 and "insufficient_quota" in _text(body)
        if (status in PASSING or status >= 500) and not spent:
            raise _PassingFailure(f"{status}: {said}", self._seconds(retry_after))
        if status in (401, 403):
            known = "check" if read_key(self._key_variable) else "there is none: set"
            self._fail(f"{status}: the key was refused; {known} ${self._key_variable}: {said}")
        if 300 <= status < 400:
            target = self._one_line(location or "another place")
            self._fail(f"{status}: it redirects to {target}: use that as the base url")
        hint = {
            404: "no such model or path: check the model's name and the base url (often …/v1)",
            413: "the request is too large: lower the context budget (--context-tokens)",
            429: "the account's quota is spent",
        }.get(status, "the request was refused")
        if "context length" in said or "context_length" in said:
            hint = "the prompt is too long for the model: lower --context-tokens"
        self._fail(f"{status}: {hint}: {said}")

    def _fail(self, problem: str) -> NoReturn:
        raise ModelError(f"{self.base_url}: {self._one_line(problem)}")

    def _seconds(self, retry_after: str | None) -> float | None:
        """A Retry-After header in seconds from now: a number of seconds or an HTTP date."""
        if retry_after is None:
            return None
        if re.fullmatch(r"\s*\d{1,9}(\.\d{1,9})?\s*", retry_after):
            return float(retry_after)
        try:
            when = parsedate_to_datetime(retry_after)
        except ValueError:
            return None
        if when.tzinfo is None:
            when = when.replace(tzinfo=UTC)
        return max(0.0, when.timestamp() - self._clock())

    def _wait(self, state: RetryCallState) -> float:
        """Seconds before the next try: what the endpoint asks for, or exponential backoff.

        Both are jittered, so that calls that failed together do not come back together.
        """
        limits = self.limits
        outcome = state.outcome.exception() if state.outcome is not None else None
        asked = outcome.retry_after if isinstance(outcome, _PassingFailure) else None
        if asked is not None:
            return min(asked, limits.max_wait_s) + random.uniform(0, limits.backoff_s / 2)
        backoff = min(limits.backoff_s * 2.0 ** (state.attempt_number - 1), limits.max_wait_s)
        return random.uniform(backoff / 2, backoff)

    def _one_line(self, text: str) -> str:
        """A text fit for an error: one line, short, without the key."""
        text = " ".join(self._without_key(text).split())
        return text if len(text) <= _QUOTED else text[:_QUOTED] + "…"

    def _without_key(self, text: str) -> str:
        key = read_key(self._key_variable)
        return text.replace(key, "***") if len(key) > 7 else text  # shorter: "EMPTY" and such


def read_key(variable: str) -> str:
    """The key in an environment variable; empty if there is none.

    Raises:
        UsageError: if it could not be sent in a header; the key itself is not shown.
    """
    key = os.environ.get(variable, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise UsageError(f"${variable} holds characters that no HTTP header may carry: set it anew")
    return key


def checked_url(url: str) -> str:
    """A base URL without its trailing slash.

    Raises:
        UsageError: if it is not `http(s)://host[:port][/path]`.
    """
    text = url.strip()
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(f"the base url {url!r} is not of the form http(s)://host[:port]/v1")
    if parts.username is not None or parts.query or parts.fragment:
        raise UsageError(
            "the base url must hold no user, password, query or fragment: put the key into the "
            "environment variable that -o api_key_env names"
        )
    if parts.path.rstrip("/").endswith("/chat/completions"):
        raise UsageError("the base url must end before /chat/completions")
    return text.rstrip("/")


def is_loopback(url: str) -> bool:
    """Whether a URL is this machine."""
    return urlsplit(url).hostname in LOOPBACK


def _parse(body: bytes) -> Any:
    """The JSON of a body; None if it is none. Lone surrogates, which no file can hold, go."""
    try:
        value = json.loads(body)
        if rb"\ud" in body.lower():
            value = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return value


def _text(body: bytes) -> str:
    return body[:4000].decode("utf-8", "replace")


def _said(reply: Any, body: bytes) -> str:
    """What an error reply says, in the forms that servers use."""
    if isinstance(reply, dict):
        error = reply.get("error")
        inner = error.get("message") if isinstance(error, dict) else error
        for text in (inner, reply.get("message"), reply.get("detail")):
            if text:
                return str(text)
    return _text(body) or "no message"


def _code(reply: Json) -> int:
    """The status that an error inside a 200 reply names; 500, which may pass, if it names none."""
    error = reply["error"]
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, int) and 400 <= code < 600 else 500
