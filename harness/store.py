"""The run store: a run directory, written so that a crash at any moment loses no finished episode.

    runs/<name>/config.json              the resolved configuration and its hash
    runs/<name>/plan.json                the cells: what was to be measured, on which tasks
    runs/<name>/episodes/<writer>.jsonl  one line an episode, one write, then fsync
    runs/<name>/turns/<id>.jsonl.zst     the events of an episode
    runs/<name>/memory/<stream>/         snapshots of a memory that outlives episodes

The episode line is the commit: events and snapshot are on disk before it is written. Each writing
process starts a file of its own, so a line torn by a crash is never appended to; as the last line
of its file it is ignored, and its episode is owed again.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import zstandard
from pydantic import TypeAdapter, ValidationError

from .. import __version__
from .config import RunConfig
from .errors import ConfigMismatchError, DataError, UsageError
from .files import read_json, sync_folder, take_lock, write_json, write_whole
from .records import HARNESS_SCHEMA, Episode, EpisodeKey
from .trace import Event

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=-]{0,149}")
_EPISODES = TypeAdapter(Episode)
_COMPRESS = zstandard.ZstdCompressor(write_checksum=True)


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


class RunStore:
    """One run directory, for reading; within `writing` also for committing episodes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._lock: int | None = None
        self._file: int | None = None
        self._known: dict[EpisodeKey, Episode] | None = None
        self._newest: dict[str, str] = {}  # the episode of a stream's last snapshot

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
        store._header()
        return store

    def check(self, config: RunConfig) -> None:
        """See that this configuration can be run or resumed here; changes nothing.

        Raises:
            ConfigMismatchError: with every field that differs.
            DataError: if the directory is something else than a run.
        """
        if _leftovers_only(self.directory):
            return
        self._same(self._header()["config"], config.model_dump(mode="json"))

    def lock(self, config: RunConfig, plan: list[dict[str, Any]]) -> None:
        """Become the run's only writer and write, or compare, its configuration and plan.

        Args:
            config: The resolved configuration.
            plan: One dict a cell, as `Cell.to_json` gives it.

        Raises:
            ConfigMismatchError: if either differs from what the run was started with.
            UsageError: if another process is writing this run.
            DataError: if the directory is something else than a run, or cannot be written.
        """
        self.check(config)
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._lock = take_lock(
                self.directory, f"run {self.directory.name}", ", or choose another --name"
            )
            self.check(config)  # again, now that nobody else can write it
            if (self.directory / "config.json").exists():
                self._same({"cells": _keys_of(self.plan())}, {"cells": _keys_of(plan)})
            else:  # written last, so that its existence means that the plan is there too
                header = {"schema": HARNESS_SCHEMA, "version": __version__, "hash": config.hash}
                write_json(self.directory / "plan.json", plan)
                values = {**header, "config": config.model_dump(mode="json")}
                write_json(self.directory / "config.json", values)
        except OSError as error:
            self.close()
            raise DataError(f"cannot write the run {self.directory}: {error}") from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Stop writing; another process may go on from here."""
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
            return RunConfig.model_validate(self._header()["config"])
        except ValidationError as error:
            raise DataError(f"{self.directory / 'config.json'} holds no configuration") from error

    def plan(self) -> list[dict[str, Any]]:
        """The cells the run was started with; see `Cell.from_json`."""
        plan = read_json(self.directory / "plan.json")
        if not isinstance(plan, list):
            raise DataError(f"{self.directory / 'plan.json'} holds no plan")
        return plan

    def episodes(self) -> dict[EpisodeKey, Episode]:
        """Every committed episode once: the first scored record of a key, else its last one.

        Raises:
            DataError: naming file and line of a record that is broken and not the last.
        """
        if self._known is not None:
            return self._known
        known: dict[EpisodeKey, Episode] = {}
        for path in sorted((self.directory / "episodes").glob("*.jsonl")):
            for episode in _read_episodes(path):
                before = known.get(episode.key)
                if before is None or not before.scored:
                    known[episode.key] = episode
        if self._lock is not None:  # nobody else adds to it
            self._known = known
        return known

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
            return self._snapshot(stream, episode_id).read_bytes()
        except OSError as error:
            raise DataError(f"cannot resume the stream {stream}: {error}") from error

    # --- writing ----------------------------------------------------------------------------

    def memory_dir(self, stream: str) -> Path:
        """Where the snapshots of a stream lie; a memory keeps its own files in `live/` there."""
        return self.directory / "memory" / check_name(stream)

    def commit(
        self, episode: Episode, events: Iterable[Event], snapshot: tuple[str, bytes] | None = None
    ) -> None:
        """Write an episode for good; one that was scored before stays as it was.

        Args:
            episode: The record.
            events: Its trace.
            snapshot: Stream and content of a memory that outlives the episode.

        Raises:
            DataError: if the disk refuses; nothing of the episode counts then.
        """
        if self._lock is None:
            raise DataError(f"the run {self.directory} is not open for writing")
        before = self.episodes().get(episode.key)
        if before is not None and before.scored:
            return
        lines = b"".join(_line(event) for event in events)
        try:
            write_whole(self._turns(episode.key.id), _COMPRESS.compress(lines))
            if snapshot is not None:
                stream, content = snapshot
                write_whole(self._snapshot(stream, episode.key.id), content)
            self._append(_line(asdict(episode)))
            if snapshot is not None:
                self._drop_old_snapshots(stream, episode.key.id)
        except OSError as error:
            raise DataError(f"cannot write the run {self.directory}: {error}") from error
        self.episodes()[episode.key] = episode

    # --- inside -----------------------------------------------------------------------------

    def _turns(self, episode_id: str) -> Path:
        return self.directory / "turns" / f"{check_name(episode_id)}.jsonl.zst"

    def _snapshot(self, stream: str, episode_id: str) -> Path:
        return self.memory_dir(stream) / f"{check_name(episode_id)}.snapshot"

    def _drop_old_snapshots(self, stream: str, newest: str) -> None:
        """Keep two: the newest, and the one before in case a commit is lost with its disk."""
        keep = {newest, self._newest.get(stream, newest)}
        for path in self.memory_dir(stream).glob("*.snapshot"):
            if path.stem not in keep:
                path.unlink()
        self._newest[stream] = newest

    def _append(self, line: bytes) -> None:
        if self._file is None:
            self._file = _new_writer(self.directory / "episodes")
        end = os.lseek(self._file, 0, os.SEEK_END)
        try:
            if os.write(self._file, line) != len(line):
                raise OSError("the disk took only part of a record")
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, end)
            raise

    def _header(self) -> dict[str, Any]:
        path = self.directory / "config.json"
        if not path.exists():
            what = "is empty" if _leftovers_only(self.directory) else "holds no config.json"
            raise DataError(f"{self.directory} {what}, so it is not a run")
        header = read_json(path)
        if not isinstance(header, dict) or not isinstance(header.get("schema"), int):
            raise DataError(f"{path} is not the configuration of a run")
        if header["schema"] != HARNESS_SCHEMA:
            newer = header["schema"] > HARNESS_SCHEMA
            raise DataError(
                f"{self.directory} was written by agemem-eval {header.get('version')} (schema "
                f"{header['schema']}, this version knows {HARNESS_SCHEMA}): "
                + ("upgrade agemem-eval" if newer else "read it with that version")
            )
        if not isinstance(header.get("config"), dict):
            raise DataError(f"{path} is not the configuration of a run")
        return header

    def _same(self, stored: Any, given: Any) -> None:
        lines = list(differences(stored, given))
        if lines:
            shown = "; ".join(lines[:8]) + (f"; and {len(lines) - 8} more" if lines[8:] else "")
            raise ConfigMismatchError(
                f"the run {self.directory.name} was made with another configuration: {shown}; "
                "choose another --name"
            )


def differences(stored: Any, given: Any, where: str = "") -> Iterator[str]:
    """Lines like `agent.max_steps: 50 in the run, 30 now`, one for each field that differs."""
    if isinstance(stored, list) and isinstance(given, list) and len(stored) == len(given):
        stored, given = dict(enumerate(stored)), dict(enumerate(given))
    if isinstance(stored, dict) and isinstance(given, dict):
        for key in dict.fromkeys((*stored, *given)):
            inner = f"{where}.{key}" if where else str(key)
            yield from differences(stored.get(key), given.get(key), inner)
    elif stored != given:
        yield f"{where}: {_short(stored)} in the run, {_short(given)} now"


def _keys_of(plan: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What decides a plan's episodes; what the oracle is thought to manage is told, not decided."""
    return [{key: cell[key] for key in cell if key != "within_cap"} for cell in plan]


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _line(value: Mapping[str, Any]) -> bytes:
    """One line of JSON; what no UTF-8 file can hold (half a surrogate pair) becomes `?`."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode(errors="replace") + b"\n"


def _read_episodes(path: Path) -> Iterator[Episode]:
    lines = path.read_bytes().split(b"\n")
    torn = lines.pop()  # empty unless the last write was cut short
    for number, line in enumerate(lines, 1):
        try:
            yield _EPISODES.validate_json(line)
        except ValidationError as error:
            if number == len(lines) and not torn:
                return  # the last line: owed again, like one without its end
            problem = error.errors()[0]["msg"]
            raise DataError(f"{path}, line {number}: not an episode: {problem}") from error


def _new_writer(folder: Path) -> int:
    """A new file for this process; numbered, so that the order of writers is the order of names."""
    folder.mkdir(exist_ok=True)
    number = 1 + max((int(p.stem) for p in folder.glob("*.jsonl") if p.stem.isdigit()), default=0)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
    descriptor = os.open(folder / f"{number:04}.jsonl", flags, 0o644)
    sync_folder(folder)
    return descriptor


def _leftovers_only(directory: Path) -> bool:
    """Whether nothing is there yet but what a start that was killed may have left."""
    if not directory.is_dir():
        return True
    harmless = {"lock", "plan.json", "plan.json.tmp", "config.json.tmp"}
    return all(path.name in harmless for path in directory.iterdir())
