"""A small JSON-over-HTTP client: classified failures, retries, timeouts, sizes.

Every failure ends as one `ModelError` line with its kind. What may pass is tried again, each try
through the endpoint's gate, after growing and jittered waits; what will not is told at once:

| what happens | kind | tried again |
|---|---|---|
| 429 | rate_limit | yes, after Retry-After; not if the quota is spent (refused) |
| 500, 502, 503, 409, 425, 529, other 5xx, a 200 that holds an error | server | yes |
| no connection or no reply in time, 408, 504 | timeout | yes |
| nobody listens, no such host, connection lost, body cut short | connection | yes |
| a proxy that does not let it through | connection | if the proxy answers 5xx |
| certificate refused, no TLS spoken there | tls | no |
| TLS cut during the handshake | tls or connection | yes |
| not HTTP, HTML, not JSON, JSON of another form, a bad encoding | malformed | yes |
| larger than `max_reply_mb` | malformed | no |
| 400, 401, 403, 404, 413, other 4xx, a redirect | refused | no |

Usage that cannot be true and a wrong content type are no failure: the former is estimated, the
latter ignored. aiohttp's exceptions may hold the request's headers, so no exception raised here
keeps one as its context.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp
from aiohttp.http_exceptions import ContentEncodingError, HttpProcessingError
from pydantic import BaseModel, ConfigDict, Field

from ...errors import ModelError, UsageError
from .endpoint import Endpoint, join, leave, log
from .gate import Call, GateLimits

T = TypeVar("T")
Json = dict[str, Any]

PASSING = frozenset({408, 409, 425, 429})  # client errors that may pass; so may every 5xx
OVERLOAD = frozenset({429, 503, 529})  # one call too many
KINDS = {408: "timeout", 429: "rate_limit", 504: "timeout"}  # else server or refused
CHARS_A_TOKEN = 4  # of a request's JSON, to book its prompt before its usage is known
_QUOTED = 300  # characters of an endpoint's own message that an error repeats
_NO_LIMITS = GateLimits()


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


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why a try failed."""

    kind: str
    problem: str
    passing: bool = True  # a retry may mend it
    overload: bool = False
    retry_after: float | None = None  # seconds


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes


class JsonClient:
    """POSTs JSON to paths below one base URL and reads JSON replies.

    Args:
        base_url: `http(s)://host[:port][/path]`.
        key_variable: Environment variable that holds the bearer token; unset sends none.
        limits: Timeouts, retries and sizes.
        bounds: For the gate that all clients of the endpoint share.
        clock: Unix time in seconds, to read a Retry-After date against.

    Raises:
        UsageError: for a URL that cannot be one, or that carries a secret.
    """

    def __init__(
        self,
        base_url: str,
        key_variable: str,
        limits: HttpLimits,
        bounds: GateLimits = _NO_LIMITS,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.base_url = checked_url(base_url)
        self.limits = limits
        self._bounds = bounds
        self._key_variable = key_variable
        self._clock = clock
        self._timeout = aiohttp.ClientTimeout(
            total=limits.timeout_s, sock_connect=limits.connect_timeout_s
        )
        self._joined: Endpoint | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def post(self, path: str, payload: bytes, read: Callable[[Json], T]) -> T:
        """Send a request until a reply can be read.

        Args:
            path: Below the base URL, with its leading slash.
            payload: The JSON to send.
            read: Makes the result of the reply's JSON object; may raise `MalformedReply`.

        Raises:
            ModelError: when the endpoint failed for good.
        """
        endpoint, last = self._endpoint(), self.limits.max_retries + 1
        attempt = 1
        while True:
            result = await self._try(endpoint, path, payload, read)
            if not isinstance(result, _Failure):
                return result
            problem = f"{self.base_url}: {result.problem}"
            if not result.passing:
                raise ModelError(problem, result.kind)
            if attempt == last:
                raise ModelError(f"{problem} (gave up after {last} tries)", result.kind)
            await self._pause(result, attempt)
            attempt += 1

    async def close(self) -> None:
        """Leave the endpoint; a later call joins it anew."""
        endpoint, self._joined = self._joined, None
        if endpoint is not None:
            await leave(endpoint)

    def _endpoint(self) -> Endpoint:
        loop = asyncio.get_running_loop()
        if self._joined is None or self._loop is not loop:
            self._joined = join(self.base_url, self._key_variable, self._bounds)
            self._loop = loop
        return self._joined

    async def _pause(self, failure: _Failure, attempt: int) -> None:
        """Wait before the next try; at the gate for Retry-After, which may ask for no wait: 0."""
        wait = 0.0 if failure.retry_after else self._backoff(attempt)
        log.info(
            "%s: %s; try %d of %d follows", self.base_url, failure.problem, attempt + 1,
            self.limits.max_retries + 1,
            extra={
                "fields": {
                    "event": "retry", "endpoint": self.base_url, "kind": failure.kind,
                    "problem": failure.problem, "attempt": attempt,
                    "wait_s": round(failure.retry_after or wait, 3),
                }
            },
        )  # fmt: skip
        await asyncio.sleep(wait)

    def _backoff(self, attempt: int) -> float:
        """Seconds before the next try: exponential.

        Jittered, so that calls that failed together do not come back together.
        """
        full = min(self.limits.backoff_s * 2.0 ** (attempt - 1), self.limits.max_wait_s)
        return random.uniform(full / 2, full)

    # --- one try ----------------------------------------------------------------------------

    async def _try(
        self, endpoint: Endpoint, path: str, payload: bytes, read: Callable[[Json], T]
    ) -> T | _Failure:
        gate = endpoint.gate
        estimate = len(payload) / CHARS_A_TOKEN if gate.counts_tokens else 0.0
        with await gate.enter(estimate) as call:
            reply = await self._exchange(endpoint, path, payload)
            if isinstance(reply, _Failure):
                _blame(call, reply)
                return reply
            value = _parse(reply.body, endpoint)
            if reply.status >= 300 or not isinstance(value, dict) or value.get("error"):
                failure = self._refused(endpoint, reply, value)
                _blame(call, failure)
                return failure
            alike = id(self), len(payload).bit_length(), len(reply.body).bit_length()
            call.served(alike, _used(value) if gate.counts_tokens else None)
            try:
                return read(value)
            except MalformedReply as error:
                return _Failure("malformed", _line(endpoint, f"malformed reply: {error}"))

    async def _exchange(self, endpoint: Endpoint, path: str, payload: bytes) -> _Reply | _Failure:
        """One request and its reply, or what was in their way."""
        most = int(self.limits.max_reply_mb * 2**20)
        try:
            async with endpoint.session.post(
                self.base_url + path,
                data=payload,
                allow_redirects=False,
                timeout=self._timeout,
                proxy=endpoint.proxy,
            ) as response:
                body = bytearray()
                async for chunk in response.content.iter_any():
                    body += chunk
                    if len(body) > most:
                        large = f"the reply is larger than {self.limits.max_reply_mb:g} MB"
                        return _Failure("malformed", large, passing=False)
        except (aiohttp.ClientError, HttpProcessingError, OSError, ValueError, EOFError) as error:
            failure = _lost(error, self.limits)
        else:
            return _Reply(response.status, response.headers, endpoint.redactor.body(bytes(body)))
        return _Failure(failure.kind, _line(endpoint, failure.problem), failure.passing)

    def _refused(self, endpoint: Endpoint, reply: _Reply, value: Any) -> _Failure:
        """What a reply means that is no completion."""
        headers, status = reply.headers, reply.status
        retry_after = self._seconds(headers.get("Retry-After"))
        said = _line(endpoint, _said(value, reply.body))
        if status < 300 and not isinstance(value, dict):
            kind = headers.get("Content-Type", "no content type")
            problem = (
                f"answered with {kind}, not a JSON object: {said!r}; does the base url end where "
                "/chat/completions begins, e.g. in /v1?"
            )
            return _Failure("malformed", _line(endpoint, problem, 2 * _QUOTED))
        status = status if status >= 300 else _code(value)
        spent = status == 429 and b"insufficient_quota" in reply.body[:4000]
        if (status in PASSING or status >= 500) and not spent:
            kind = KINDS.get(status, "server")
            return _Failure(kind, f"{status}: {said}", True, status in OVERLOAD, retry_after)
        if 300 <= status < 400:
            target = _line(endpoint, headers.get("Location", "another place"))
            hint = f"it redirects to {target}: use that as the base url"
            return _Failure("refused", f"{status}: {hint}", passing=False)
        known = "check" if endpoint.has_key else "there is none: set"
        refused = f"the key was refused; {known} ${self._key_variable}"
        hint = {
            401: refused,
            403: refused,
            404: "no such model or path: check the model's name and the base url (often …/v1)",
            413: "the request is too large: lower the context budget (--context-tokens)",
            429: "the account's quota is spent",
        }.get(status, "the request was refused")
        if status not in (401, 403) and ("context length" in said or "context_length" in said):
            hint = "the prompt is too long for the model: lower --context-tokens"
        return _Failure("refused", f"{status}: {hint}: {said}", passing=False)

    def _seconds(self, retry_after: str | None) -> float | None:
        """A Retry-After header in seconds from now, capped: a number of seconds or an HTTP date."""
        if retry_after is None:
            return None
        if re.fullmatch(r"\s*\d{1,20}(\.\d{1,9})?\s*", retry_after, re.ASCII):
            return min(float(retry_after), self.limits.max_wait_s)
        try:
            when = parsedate_to_datetime(retry_after)
            seconds = when.replace(tzinfo=when.tzinfo or UTC).timestamp() - self._clock()
        except (ValueError, OverflowError):
            return None
        return min(max(0.0, seconds), self.limits.max_wait_s)


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
        shown = "" if "@" in text else f" {url!r}"  # there may be a password before it
        raise UsageError(f"the base url{shown} is not of the form http(s)://host[:port]/v1")
    if parts.username is not None or parts.query or parts.fragment:
        raise UsageError(
            "the base url must hold no user, password, query or fragment: put the key into the "
            "environment variable that -o api_key_env names"
        )
    if parts.path.rstrip("/").endswith("/chat/completions"):
        raise UsageError("the base url must end before /chat/completions")
    return text.rstrip("/")


def _lost(error: Exception, limits: HttpLimits) -> _Failure:
    """What an exception of the transport means."""
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return _Failure("timeout", f"no connection within {limits.connect_timeout_s:g} s")
    if isinstance(error, TimeoutError):
        return _Failure("timeout", f"no reply within {limits.timeout_s:g} s")
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        problem = f"the TLS certificate was refused: {error.certificate_error}"
        return _Failure("tls", problem, passing=False)
    if isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
        if isinstance(cause, ssl.SSLError):
            cut = isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError | ssl.SSLSyscallError)
            hint = "" if cut else ": is it an http:// address?"
            return _Failure("tls", f"no TLS connection ({cause}){hint}", passing=cut)
        return _Failure("connection", f"cannot connect ({cause}): is the server running there?")
    if isinstance(error, aiohttp.ClientHttpProxyError):
        problem = f"the proxy answered {error.status} {error.message}: check $https_proxy"
        return _Failure("connection", problem, passing=error.status >= 500)
    name = f"{type(error).__name__}: {error}"
    if isinstance(error, aiohttp.ClientResponseError | HttpProcessingError | ValueError):
        return _Failure("malformed", f"the reply is not HTTP: {name}")
    if isinstance(error.__cause__, ContentEncodingError):
        return _Failure("malformed", f"the reply cannot be decoded: {name}")
    return _Failure("connection", f"the connection failed: {name}")


def _blame(call: Call, failure: _Failure) -> None:
    """Tell the gate what a failure says of the endpoint's load."""
    if failure.overload:
        call.rejected(failure.retry_after)
    elif failure.kind == "timeout":
        call.late(failure.retry_after)
    else:
        call.failed(failure.retry_after)


def _used(reply: Json) -> float | None:
    """Tokens that a reply's usage counts; None where it does not, or not credibly."""
    usage = reply.get("usage")
    total = 0
    for part in ("prompt_tokens", "completion_tokens"):
        value = usage.get(part) if isinstance(usage, dict) else None
        if type(value) is not int or not 0 <= value <= 10**9:
            return None
        total += value
    return float(total)


def _line(endpoint: Endpoint, text: str, most: int = _QUOTED) -> str:
    """A text fit for an error: one line, short, without the key."""
    text = " ".join(endpoint.redactor.text(text).split())
    return text if len(text) <= most else text[:most] + "…"


def _parse(body: bytes, endpoint: Endpoint | None = None) -> Any:
    """The JSON of a body; None if it is none.

    What escapes may hide goes: a key, and lone surrogates, which no file can hold.
    """
    try:
        value = json.loads(body.decode("utf-8-sig"))  # of bytes, `loads` takes other encodings too
        if b"\\u" in body:
            plain = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
            value = json.loads(endpoint.redactor.body(plain) if endpoint is not None else plain)
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
