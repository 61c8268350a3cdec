"""`--cache`: replies of models, kept under everything that decides them.

A reply is kept under a hash of the model's name and identity, the messages, the tools, how it is
to be drawn, and how often the same was asked before in this try of an episode: a model that
samples may answer the same prompt differently twice, and a later run gets both answers in the same
order, whatever its concurrency. Not under the role that asked, and not under the address: as
everywhere in this project, the same name is the same model, which the user vouches for.

A kept reply counts as what it cost when it was given, so a run's records are the same whether its
replies are kept or fresh. Failures are never kept; a reply that ran into its token limit is.

The file is SQLite with a write-ahead log, which several processes of one machine may use at once
(not a network file system). A process that is killed loses nothing it was told is kept; a power
failure may lose the newest replies, which are asked for again.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import logging
import sqlite3
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import zstandard

from ..errors import DataError
from ..files import writable
from ..ledger import Usage
from ..tools import Tool, ToolCall
from ..types import Completion, EpisodeView, Model, Request
from . import ModelBase, tool_schemas

FILE = "replies.sqlite"
SCHEMA = 1  # of key and value; changes whenever one of them does, so that old entries are not found
LOCK_TIMEOUT_S = 5.0  # how long a write waits for another process's
_TABLE = """
CREATE TABLE IF NOT EXISTS replies (
    key BLOB PRIMARY KEY,
    digest BLOB NOT NULL,  -- of key and value
    value BLOB NOT NULL    -- a completion: JSON, compressed
)
"""
_BROKEN = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_log = logging.getLogger("agemem_eval.cache")

T = TypeVar("T")


@dataclass(slots=True)
class CacheStats:
    """What became of the requests to models that are cached."""

    hits: int = 0  # answered by a kept reply
    shared: int = 0  # answered by the reply to the same request, which was on its way already
    misses: int = 0  # asked
    damaged: int = 0  # kept replies that could not be read, and were asked for again

    def __str__(self) -> str:
        """One line for the end of a run."""
        more = f", {self.shared} shared with one of them" if self.shared else ""
        more += f", {self.damaged} damaged and replaced" if self.damaged else ""
        return f"cache: {self.hits} replies kept before, {self.misses} asked{more}"


class CachedModel(ModelBase):
    """A model whose replies are kept; one that was kept is not asked for again.

    Only for models whose reply depends on the request alone, which say so by `cacheable = True`.

    Args:
        inner: The model.
        cache: Where its replies are kept; several models may share it.
    """

    def __init__(self, inner: Model, cache: ReplyCache) -> None:
        self.inner, self.cache = inner, cache
        self.info = inner.info
        self._asked: Counter[bytes] = Counter()  # how often each request, since the try began

    async def generate(self, request: Request) -> Completion:
        """The kept reply, or a fresh one, which is kept then.

        Raises:
            ModelError: when the endpoint failed for good.
            DataError: if the file of the cache is damaged.
        """
        what = request_digest(self.inner, request)
        times = self._asked[what]
        self._asked[what] += 1
        try:
            return await self.cache.reply(entry_key(what, times), self.inner, request)
        except BaseException:  # cancelled, too
            self._asked[what] -= 1  # it was not answered: the next one is the first again
            raise

    def bind(self, episode: EpisodeView) -> Model:
        """The same for one try of an episode: requests are counted anew."""
        return CachedModel(self.inner.bind(episode), self.cache)

    def anew(self) -> CachedModel:
        """As `bind`, where a model is asked that is not the agent's."""
        return CachedModel(self.inner, self.cache)

    def count_tokens(self, text: str) -> int:
        """Tokens of a text by the model's own count."""
        return self.inner.count_tokens(text)

    async def close(self) -> None:
        """Close the model and the cache, which opens again when it is used again."""
        await self.inner.close()
        await self.cache.close()


def cached(model: Model, cache: ReplyCache | None) -> Model:
    """The model with its replies kept, where there is a cache and they may be."""
    if cache is None or not getattr(model, "cacheable", False):
        return model
    return CachedModel(model, cache)


def request_digest(model: Model, request: Request) -> bytes:
    """SHA-256 over what decides the reply to a request, but for how often it was asked."""
    info, sampling = model.info, request.sampling
    said = [
        SCHEMA,
        [info.name, info.training, info.identity],
        [
            [m.role, m.content, m.tool_call_id, [[c.name, c.arguments, c.id] for c in m.tool_calls]]
            for m in request.messages
        ],
        _offered(request.tools),
        [sampling.max_tokens, sampling.temperature, sampling.top_p, sampling.seed],
        request.want_tokens,
        request.work,
    ]
    return hashlib.sha256(_bytes(said)).digest()


def entry_key(what: bytes, times: int) -> bytes:
    """The key of the reply to a request that was asked some times before."""
    return hashlib.sha256(what + times.to_bytes(8, "big")).digest()


@lru_cache(maxsize=64)
def _offered(tools: tuple[Tool, ...]) -> str:
    return _bytes(tool_schemas(tools)).decode()


def _bytes(value: Any) -> bytes:
    """JSON in ASCII, which half a surrogate pair has a form in; the order of keys counts."""
    return json.dumps(value, separators=(",", ":")).encode()


@dataclass(slots=True)
class _Flight:
    """A request that is on its way, and how many wait for its reply."""

    task: asyncio.Task[tuple[Completion, bool]]
    waiting: int = 0


class ReplyCache:
    """The file of kept replies, and the requests that are on their way.

    Files are read and written in one thread, so that a slow disk or another process that writes
    never holds up the event loop.

    Args:
        directory: Made if there is none.

    Raises:
        DataError: if it cannot be written, or its file is damaged.
    """

    def __init__(self, directory: Path) -> None:
        writable(directory)
        self.path = directory / FILE
        self._stats = CacheStats()
        self._flights: dict[bytes, _Flight] = {}
        self._keeps = True  # until the disk refuses a reply
        self._thread: ThreadPoolExecutor | None = None
        self._db: sqlite3.Connection | None = self._open()  # now, so that its faults are told now

    def stats(self) -> CacheStats:
        """What became of the requests so far."""
        return self._stats

    async def reply(self, key: bytes, model: Model, request: Request) -> Completion:
        """The reply kept under a key; a fresh one, kept from now on, where there is none.

        The same request of several callers is on its way once. It goes on when the one who began
        it is cancelled and others wait; where it fails, each of these asks for itself.
        """
        flight = self._flights.get(key)
        if leads := flight is None:
            task = asyncio.create_task(self._fly(key, model, request))
            flight = self._flights[key] = _Flight(task)
        flight.waiting += 1
        try:
            completion, kept = await asyncio.shield(flight.task)
        except Exception:  # whatever it was, it was the answer to the first caller alone
            if leads:
                raise
        else:
            self._stats.hits += kept
            self._stats.shared += not kept and not leads
            return completion
        finally:
            flight.waiting -= 1
            if not flight.waiting:  # it has arrived, or nobody waits for it any more
                flight.task.cancel()
                if self._flights.get(key) is flight:
                    del self._flights[key]
        return await self._ask(key, model, request)

    async def close(self) -> None:
        """Write what is to be written and close the file; a later use opens it again."""
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.to_thread(thread.shutdown)
        db, self._db = self._db, None
        if db is not None:
            db.close()

    async def _fly(self, key: bytes, model: Model, request: Request) -> tuple[Completion, bool]:
        """A reply, and whether it was there."""
        kept = await self._in_thread(lambda: self._read(key))
        if kept is not None:
            return kept, True
        return await self._ask(key, model, request), False

    async def _ask(self, key: bytes, model: Model, request: Request) -> Completion:
        self._stats.misses += 1
        completion = await model.generate(request)
        return await self._in_thread(lambda: self._keep(key, completion))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="reply-cache")
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    # --- the file; in its thread ------------------------------------------------------------

    def _open(self) -> sqlite3.Connection:
        with (self.path.parent / f"{FILE}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two that make it at once would find it locked
            db = sqlite3.connect(
                self.path, timeout=LOCK_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            try:
                db.execute("PRAGMA journal_mode=WAL")
                db.execute("PRAGMA synchronous=NORMAL")  # no wait for the disk at each reply
                db.execute(_TABLE)
                db.execute("SELECT key, digest, value FROM replies LIMIT 1").fetchone()
            except sqlite3.Error as error:
                db.close()
                raise self._unusable(error) from error
            return db

    def _execute(self, sql: str, values: tuple[bytes, ...]) -> sqlite3.Cursor:
        if self._db is None:
            self._db = self._open()
        return self._db.execute(sql, values)

    def _read(self, key: bytes) -> Completion | None:
        """The reply under a key; None where there is none, or a damaged one, which goes."""
        try:
            found = self._execute("SELECT digest, value FROM replies WHERE key = ?", (key,))
            row = found.fetchone()
            if row is None:
                return None
            completion = _unpack(key, *row)
            if completion is None:
                self._stats.damaged += 1
                self._execute("DELETE FROM replies WHERE key = ? AND digest IS ?", (key, row[0]))
            return completion
        except sqlite3.Error as error:
            self._refused(error)
            return None

    def _keep(self, key: bytes, completion: Completion) -> Completion:
        """Keep a reply; returns the one that is kept: another process may have been faster.

        So each of two runs at once has the replies that a later one will find.
        """
        if not self._keeps:
            return completion
        value = _pack(completion)
        try:
            put = "INSERT INTO replies VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
            if self._execute(put, (key, _digest(key, value), value)).rowcount:
                return completion
        except sqlite3.Error as error:
            self._refused(error)
            return completion
        return self._read(key) or completion

    def _refused(self, error: sqlite3.Error) -> None:
        """A damaged file ends the run; a full disk or one that fails only ends the keeping."""
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _BROKEN:
            raise self._unusable(error) from error
        if self._keeps:
            self._keeps = False
            _log.warning(
                "%s: replies are no longer kept: %s",
                self.path,
                error,
                extra={"fields": {"event": "cache_refused", "problem": str(error)}},
            )

    def _unusable(self, error: sqlite3.Error) -> DataError:
        problem = f"the cache of replies {self.path} cannot be used ({error})"
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _BROKEN or code == sqlite3.SQLITE_ERROR:  # as of a table that is not ours
            files = f"{self.path}, {FILE}-wal and {FILE}-shm"
            return DataError(f"{problem}: delete {files}, or name another --cache-dir")
        return DataError(f"{problem}: see to that, or name another --cache-dir")  # a full disk, …


def _pack(completion: Completion) -> bytes:
    return zstandard.compress(_bytes(asdict(completion)))


def _unpack(key: bytes, digest: Any, value: Any) -> Completion | None:
    """The completion of a row; None if it is damaged."""
    if not isinstance(value, bytes) or digest != _digest(key, value):
        return None
    try:
        said = json.loads(zstandard.decompress(value))
        said["usage"] = Usage(**said["usage"])
        said["tool_calls"] = [ToolCall(**call) for call in said["tool_calls"]]
        for name in ("tool_calls", "malformed", "token_ids", "logprobs", "prompt_ids"):
            said[name] = None if said.get(name) is None else tuple(said[name])
        return Completion(**said)
    except (zstandard.ZstdError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _digest(key: bytes, value: bytes) -> bytes:
    return hashlib.blake2b(key + value, digest_size=16).digest()
