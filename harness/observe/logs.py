"""`log.jsonl` of a run: one JSON object a record, and warnings as a line on standard error.

Fields of a line: `time` (ISO 8601, UTC), `level`, `logger`, `event` (a word to filter by, or
null), `message` (one line), `fields` (what the record carries beside), `exception` (a traceback,
only where there is one).
"""

from __future__ import annotations

import json
import logging
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..files import LineFile
from ..records import Episode
from ..watch import Planned, Watcher
from .text import Cleaner, clip, escape, message_of
from .text import say as write

OURS = "agemem_eval"
FILE = "log.jsonl"

_LONGEST_MESSAGE = 8192  # characters; an endpoint's reply may be 10 MB
_LONGEST_LINE = 500  # characters on the terminal
_KEPT = 1000  # records kept until the run's folder is known
# A warning of one kind is shown again after 5 s, then 10, 20, …; the file has all of them.
_AGAIN_S, _LATEST_AGAIN_S = 5.0, 600.0
_TRACEBACKS = logging.Formatter()

log = logging.getLogger("agemem_eval.run")


class LogFile(Watcher):
    """Keeps the log of a run, and shows warnings.

    Args:
        level: From which level on records of this project go to the file: `debug`, `info`,
            `warning` or `error`. Those of other libraries go there from `warning` on.
        quiet: Show errors only.
        clean: Takes out secrets; None: those in this process's environment.
        say: Shows one line; None: on standard error.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        level: str = "info",
        *,
        quiet: bool = False,
        clean: Cleaner | None = None,
        say: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        lowest = logging.getLevelNamesMapping()[level.upper()]
        clean = clean or Cleaner()
        self._shown = _Shown(clean, say or write, clock)
        self._shown.setLevel(logging.ERROR if quiet else logging.WARNING)
        self._file = _Lines(clean, lowest, self._shown.tell)
        self._ours, self._root = logging.getLogger(OURS), logging.getLogger()
        self._level_before = self._ours.level
        self._ours.setLevel(min(lowest, logging.INFO))  # what the dashboard reads
        self._open = True
        logging.captureWarnings(True)  # a library's warning would tear the dashboard
        for handler in (self._file, self._shown):
            self._root.addHandler(handler)

    def planned(self, plan: Planned) -> None:
        """The folder is there: what was kept until now is written."""
        self._file.open(plan.directory / FILE)
        message = f"{plan.run}: {plan.done} of {plan.planned} episodes are done"
        fields = {"event": "planned", "planned": plan.planned, "done": plan.done}
        log.info(message, extra={"fields": {**fields, "cells": len(plan.cells)}})

    def ends(self, episode: Episode) -> None:
        """A try that the infrastructure broke."""
        if not episode.scored:
            self._tell("attempt_failed", episode)

    def committed(self, episode: Episode) -> None:
        """An episode is on disk."""
        self._tell("episode", episode)

    def close(self) -> None:
        """Write no more, and leave logging as it was."""
        if not self._open:
            return
        self._open = False
        logging.captureWarnings(False)
        for handler in (self._file, self._shown):
            self._root.removeHandler(handler)
            handler.close()
        self._ours.setLevel(self._level_before)

    def _tell(self, event: str, episode: Episode) -> None:
        key = episode.key
        outcome = episode.status if episode.fault is None else f"{episode.status} ({episode.fault})"
        fields = {
            "event": event,
            "env": key.env,
            "split": key.split,
            "task": key.task,
            "memory": key.memory,
            "episode": key.id,
            "attempt": episode.attempt,
            "status": episode.status,
            "fault": episode.fault,
            "success": episode.success,
            "reason": episode.reason,
            "steps": episode.steps,
            "turns": episode.turns,
            "tokens": sum(u.prompt_tokens + u.completion_tokens for u in episode.tokens.values()),
            "wall_s": round(episode.wall_s, 3),
        }
        message = f"{key.env} {key.task} with {key.memory}: {outcome}, {episode.reason}"
        log.info("%s", message, extra={"fields": fields})


class _Lines(logging.Handler):
    """Writes records to the file; a disk that refuses ends that, never the run."""

    def __init__(self, clean: Cleaner, ours: int, tell: Callable[[str], None]) -> None:
        super().__init__()
        self._clean, self._lowest, self._tell = clean, ours, tell
        self._kept: deque[bytes] = deque(maxlen=_KEPT)
        self._path: Path | None = None
        self._file: LineFile | None = None

    def open(self, path: Path) -> None:
        """Write to this file from now on."""
        self.acquire()
        try:
            self._path = path
            self._file = LineFile(path)
            while self._kept:
                self._file.write(self._kept.popleft())
        except OSError as error:
            self._stop(error)
        finally:
            self.release()

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record, or keep it until the file is open."""
        own = record.name == OURS or record.name.startswith(f"{OURS}.")
        if record.levelno < (self._lowest if own else max(self._lowest, logging.WARNING)):
            return
        try:
            line = self._line(record)
        except Exception as error:  # noqa: BLE001 - a library may log what has no text; never a crash
            line = (
                json.dumps({"event": "unreadable", "message": type(error).__name__}).encode()
                + b"\n"
            )
        if self._path is None:
            self._kept.append(line)
        elif self._file is not None:
            try:
                self._file.write(line)
            except OSError as error:
                self._stop(error)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
        super().close()

    def _stop(self, error: OSError) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        self._tell(
            f"cannot write {self._path} ({error.strerror}): no more is logged, the run goes on"
        )

    def _line(self, record: logging.LogRecord) -> bytes:
        fields = dict(_fields(record))
        when = datetime.fromtimestamp(record.created, UTC)
        value: dict[str, Any] = {
            "time": when.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": fields.pop("event", None),
            "message": message_of(record),
            "fields": fields,
        }
        value = self._clean.value(value, _LONGEST_MESSAGE)
        if record.exc_info and record.exc_info[0] is not None:
            traceback = self._clean.secretless(_TRACEBACKS.formatException(record.exc_info))
            value["exception"] = escape(clip(traceback, _LONGEST_MESSAGE), lines=True)
        return json.dumps(value, ensure_ascii=False).encode(errors="replace") + b"\n"


class _Shown(logging.Handler):
    """Shows warnings and errors, one line each."""

    def __init__(
        self, clean: Cleaner, say: Callable[[str], None], clock: Callable[[], float]
    ) -> None:
        super().__init__()
        self._clean, self._say, self._clock = clean, say, clock
        self._kinds: dict[tuple[str, str], tuple[float, float, int]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Show one record, unless one of its kind was shown just now."""
        if record.name == "py.warnings":  # for those who develop; it is in the file
            return
        event = _fields(record).get("event", record.msg)
        kind = record.name, event if isinstance(event, str) else type(event).__name__
        now = self._clock()
        again, wait, unseen = self._kinds.get(kind, (now, _AGAIN_S, 0))
        if now < again:
            self._kinds[kind] = again, wait, unseen + 1
            return
        if len(self._kinds) > _KEPT:
            self._kinds.clear()
        self._kinds[kind] = now + wait, min(2 * wait, _LATEST_AGAIN_S), 0
        more = f" ({unseen} more like it before)" if unseen else ""
        self.tell(message_of(record) + more, record.levelname.lower())

    def tell(self, message: str, level: str = "warning") -> None:
        """Show a line, past logging."""
        line = self._clean.line(" ".join(message.split()), _LONGEST_LINE)
        self._say(f"agemem-eval: {level}: {line}")


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields = getattr(record, "fields", None)
    return fields if isinstance(fields, dict) else {}
