"""The run store: a run directory, written so that a crash at any moment loses no finished episode.

    runs/<name>/config.json              the resolved configuration and its hash
    runs/<name>/plan.json                the cells: what was to be measured, on which tasks
    runs/<name>/episodes/<writer>.jsonl  one line an episode; see `store_index`
    runs/<name>/turns/<id>.jsonl.zst     the events of an episode
    runs/<name>/memory/<stream>/         snapshots of a memory that outlives episodes

The episode line is the commit: events and snapshot are on disk before it is written. Each writing
process starts a file of its own, so a line torn by a crash is never appended to; as the last line
of its file it is ignored, and its episode is owed again. A store holds no episodes, only where
they are.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import zstandard
from pydantic import ValidationError

from ... import __version__
from ..config import RunConfig
from ..errors import DataError, UsageError
from ..files import (
    disk_error,
    make_folder,
    read_json,
    remove,
    sync_folder,
    take_lock,
    write_all,
    write_json,
    write_whole,
)
from ..ledger import RoleUsage
from ..records import HARNESS_SCHEMA, Episode, EpisodeKey, stable_hash
from ..trace import Event
from .header import check_same, keys_of, leftovers_only, read_header
from .index import Index, json_line, next_path, record_body, sealed

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=-]{0,149}")


def check_name(name: str) -> str:
    """The name, if it can safely name a run directory.

    Raises:
        UsageError: for path separators, `..`, and whatever else is not a plain name.
    """
    if not _NAME.fullmatch(name) or ".." in name:
        raise UsageError(
            f"{name!r} cannot name a run: use letters, digits and . _ + = -, no path separators"
        )
    return name


@dataclass(eq=False, slots=True)
class _Waiting:
    """An episode whose events are on disk, and whose line is to be written."""

    episode: Episode
    body: bytes  # of its line
    stream: str | None  # of which a snapshot was written too
    written: list[Path] = field(default_factory=list)  # its files
    done: bool = False
    error: Exception | None = None


class RunStore:
    """One run directory, for reading; within `writing` also for committing episodes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._lock: int | None = None
        self._file: int | None = None
        self._number = 0  # of that file in the index
        self._known: Index | None = None
        self._newest: dict[str, str] = {}  # the episode of a stream's last snapshot
        self._queue: deque[_Waiting] = deque()
        self._writing = Lock()  # held by the thread that writes lines, for all that wait

    # --- opening ----------------------------------------------------------------------------

    @classmethod
    def open(cls, directory: Path) -> RunStore:
        """A run that exists, for reading.

        Raises:
            UsageError: if there is no such directory.
            DataError: if it is empty, foreign, broken, or of a newer version.
        """
        if not directory.is_dir():
            raise UsageError(f"there is no run at {directory}")
        store = cls(directory)
        read_header(directory)
        return store

    def exists(self) -> bool:
        """Whether there is something already: a run, or what is none."""
        return not leftovers_only(self.directory)

    def check(self, config: RunConfig) -> None:
        """See that this configuration can be run or resumed here; changes nothing.

        Raises:
            ConfigMismatchError: with every field that differs.
            DataError: if the directory is something else than a run.
        """
        if leftovers_only(self.directory):
            return
        check_same(
            self.directory.name,
            read_header(self.directory)["config"],
            config.model_dump(mode="json"),
        )

    def lock(self, config: RunConfig, plan: list[dict[str, Any]]) -> None:
        """Become the run's only writer and write, or compare, its configuration and plan.

        Args:
            config: The resolved configuration.
            plan: One dict a cell, as `Cell.to_json` gives it.

        Raises:
            ConfigMismatchError: if either differs from what the run was started with.
            UsageError: if another process is writing this run.
            DataError: if the directory is something else than a run, is broken, or cannot be
                written.
        """
        self.check(config)
        try:
            make_folder(self.directory)
            self._lock = take_lock(
                self.directory, f"run {self.directory.name}", ", or choose another --name"
            )
            self.check(config)  # again, now that nobody else can write it
            if (self.directory / "config.json").exists():
                check_same(
                    self.directory.name, {"cells": keys_of(self.plan())}, {"cells": keys_of(plan)}
                )
            else:  # written last, so that its existence means that the plan is there too
                header = {"schema": HARNESS_SCHEMA, "version": __version__, "hash": config.hash}
                write_json(self.directory / "plan.json", plan)
                header["plan_hash"] = stable_hash(plan)
                values = {**header, "config": config.model_dump(mode="json")}
                write_json(self.directory / "config.json", values)
            self._known = self._index(afresh=True)
        except OSError as error:
            self.close()
            raise self._refused(error) from error
        except BaseException:  # the lock must not outlive a failure
            self.close()
            raise

    def close(self) -> None:
        """Stop writing, once what is being committed is; another process may go on from here."""
        with self._writing:
            for descriptor in (self._file, self._lock):
                if descriptor is not None:
                    os.close(descriptor)
            self._file = self._lock = None

    def __enter__(self) -> RunStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- reading ----------------------------------------------------------------------------

    def config(self) -> RunConfig:
        """The resolved configuration of the run."""
        try:
            return RunConfig.model_validate(read_header(self.directory)["config"])
        except ValidationError as error:
            raise DataError(f"{self.directory / 'config.json'} holds no configuration") from error

    def plan(self) -> list[dict[str, Any]]:
        """The cells the run was started with; see `Cell.from_json`."""
        plan = read_json(self.directory / "plan.json")
        if not isinstance(plan, list):
            raise DataError(f"{self.directory / 'plan.json'} holds no plan")
        return plan

    def scored(self, key: EpisodeKey) -> bool:
        """Whether the episode is committed with a score; any thread may ask."""
        return self._index().scored(key)

    def spent(self, key: EpisodeKey) -> dict[str, RoleUsage]:
        """Tokens by role that an episode has cost so far and has no score to show for."""
        return self._index().spent(key)

    def records(self, keys: Iterable[EpisodeKey] | None = None) -> Iterator[Episode]:
        """Committed episodes one at a time: the first scored record of a key, else its last one.

        Args:
            keys: Which ones, in this order, those that are there; None: all, in the order written.

        Raises:
            DataError: naming file and line of a record that is broken and not the last.
        """
        return self._index().episodes(keys)

    def episodes(self) -> dict[EpisodeKey, Episode]:
        """All of `records` at once, for runs that fit into memory."""
        return {episode.key: episode for episode in self.records()}

    def counts(self) -> tuple[int, int]:
        """How many episodes have a score, and how many have none but were tried."""
        index = self._index()
        return index.n_scored, len(index) - index.n_scored

    def files(self) -> list[Path]:
        """The files of records, in the order of their writers."""
        found = (self.directory / "episodes").glob("*.jsonl")
        return sorted(found, key=lambda p: (not p.stem.isdigit(), len(p.stem), p.stem))

    def read_trace(self, episode_id: str) -> Iterator[Event]:
        """The events of an episode, in order.

        Raises:
            DataError: if they are missing or the file is damaged.
        """
        path = self._turns(episode_id)
        try:
            for line in zstandard.decompress(path.read_bytes()).split(b"\n")[:-1]:
                yield json.loads(line)
        except FileNotFoundError as error:
            raise DataError(f"{path} is missing: the episode has no trace") from error
        except (OSError, ValueError, MemoryError, zstandard.ZstdError) as error:
            raise DataError(f"{path} is damaged: {error}") from error

    def read_snapshot(self, stream: str, episode_id: str) -> bytes:
        """The memory of a stream as it was at the end of an episode."""
        try:
            content = zstandard.decompress(self._snapshot(stream, episode_id).read_bytes())
        except (OSError, MemoryError, zstandard.ZstdError) as error:
            raise DataError(f"cannot resume the stream {stream}: {error}") from error
        self._newest.setdefault(stream, episode_id)  # the one to keep when the next is there
        return content

    # --- writing ----------------------------------------------------------------------------

    def memory_dir(self, stream: str) -> Path:
        """Where the snapshots of a stream lie."""
        return self.directory / "memory" / check_name(stream)

    def live_dir(self, stream: str) -> Path:
        """The folder where a stream's memory keeps files of its own; made if need be.

        Raises:
            DataError: if the disk refuses.
        """
        folder = self.memory_dir(stream) / "live"
        try:
            make_folder(folder)
        except OSError as error:
            raise self._refused(error) from error
        return folder

    def commit(
        self, episode: Episode, events: Iterable[Event], snapshot: tuple[str, bytes] | None = None
    ) -> None:
        """Write an episode for good; one that was scored before stays as it was.

        Several threads may commit at once: their lines go to the disk together.

        Args:
            episode: The record.
            events: Its trace.
            snapshot: Stream and content of a memory that outlives the episode.

        Raises:
            DataError: if the disk refuses; nothing of the episode counts then.
        """
        if self._lock is None:
            raise DataError(f"the run {self.directory} is not open for writing")
        if self.scored(episode.key):
            return
        stream = None if snapshot is None else snapshot[0]
        waiting = _Waiting(episode, record_body(episode), stream)
        try:
            self._write(waiting, self._turns(episode.key.id), b"".join(map(json_line, events)))
            if snapshot is not None:
                stream, content = snapshot
                self._write(waiting, self._snapshot(stream, episode.key.id), content)
            self._queue.append(waiting)
            with self._writing:
                if not waiting.done:
                    self._write_lines()
            if waiting.error is not None:
                raise waiting.error
        except OSError as error:
            if episode.key not in self._index():  # else they are those of an earlier try
                remove(*waiting.written)
            raise self._refused(error) from error
        if waiting.stream is not None:
            self._drop_old_snapshots(waiting.stream, episode.key.id)

    # --- inside -----------------------------------------------------------------------------

    def _index(self, *, afresh: bool = False) -> Index:
        if self._known is None or afresh:
            paths = self.files()
            try:
                self._known = Index(paths)
            except DataError:
                if all(path.exists() for path in paths):
                    raise
                self._known = Index(self.files())  # it was compacted just then
        return self._known

    def _turns(self, episode_id: str) -> Path:
        return self.directory / "turns" / f"{check_name(episode_id)}.jsonl.zst"

    def _snapshot(self, stream: str, episode_id: str) -> Path:
        return self.memory_dir(stream) / f"{check_name(episode_id)}.snapshot"

    def _drop_old_snapshots(self, stream: str, newest: str) -> None:
        """Keep two: the newest, and the one before in case a commit is lost with its disk."""
        keep = {newest, self._newest.get(stream, newest)}
        with contextlib.suppress(OSError):  # the episode is committed, whatever is left lying
            paths = list(self.memory_dir(stream).glob("*.snapshot"))
            remove(*(path for path in paths if path.stem not in keep))
        self._newest[stream] = newest

    @staticmethod
    def _write(waiting: _Waiting, path: Path, content: bytes) -> None:
        waiting.written.append(path)
        compress = zstandard.ZstdCompressor(write_checksum=True).compress
        write_whole(path, compress(content), sync=False)

    def _write_lines(self) -> None:
        """Commit all that wait; the names of their files first."""
        group: list[_Waiting] = []
        while self._queue:
            group.append(self._queue.popleft())
        try:
            for folder in {path.parent for waiting in group for path in waiting.written}:
                sync_folder(folder)
            fresh: dict[str, _Waiting] = {}
            for waiting in group:
                if not self.scored(waiting.episode.key):
                    fresh.setdefault(waiting.episode.key.id, waiting)
            self._append(list(fresh.values()))
        except Exception as error:  # noqa: BLE001  whatever it is, all that wait must be told
            for waiting in group:
                waiting.error = error
        for waiting in group:
            waiting.done = True

    def _append(self, group: list[_Waiting]) -> None:
        """Lines by one write, so that no other process sees half of one for long."""
        if self._lock is None:
            raise OSError("it was closed meanwhile")
        if self._file is None:
            path = next_path(self.directory / "episodes", self.files())
            self._file = _new_writer(path)
            self._number = self._index().file(path)
        offset = end = os.lseek(self._file, 0, os.SEEK_END)
        lines = [sealed(waiting.body, place) for place, waiting in enumerate(group)]
        try:
            write_all(self._file, b"".join(lines))
            os.fsync(self._file)
        except BaseException:  # a write cut short by anything leaves a torn line
            descriptor, self._file = self._file, None  # what it holds is not known any more
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, end)
            os.close(descriptor)
            raise
        for line, waiting in zip(lines, group, strict=True):
            self._index().add(self._number, offset, waiting.episode)
            offset += len(line)

    def _refused(self, error: OSError) -> DataError:
        return disk_error(f"the run {self.directory}", error)


def _new_writer(path: Path) -> int:
    make_folder(path.parent)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
    try:
        sync_folder(path.parent)
    except OSError:
        os.close(descriptor)
        remove(path)
        raise
    return descriptor
