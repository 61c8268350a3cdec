"""A span, and where finished spans go."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from ..files import LineFile
from ..watch import Planned

FILE = "spans.jsonl"

log = logging.getLogger("agemem_eval.trace")

Value = str | bool | int | float | list[str]


@dataclass(frozen=True, slots=True)
class Instant:
    """Something that happened within a span at one moment."""

    name: str
    time_ns: int
    attributes: dict[str, Value]


@dataclass(slots=True)
class Span:
    """One finished piece of work."""

    name: str
    kind: Literal["internal", "client"]
    trace_id: str  # 32 hex digits
    span_id: str  # 16 hex digits
    parent_id: str | None
    start_ns: int  # Unix time
    end_ns: int
    attributes: dict[str, Value]
    error: str | None = None  # what went wrong, in one line; None: nothing did
    events: list[Instant] = field(default_factory=list)
    dropped_events: int = 0

    def to_json(self) -> dict[str, Any]:
        """The span as a line of `spans.jsonl`."""
        return {
            "trace_id": self.trace_id,
            "span_id": self.span_id,
            "parent_id": self.parent_id,
            "name": self.name,
            "kind": self.kind,
            "start_ns": self.start_ns,
            "end_ns": self.end_ns,
            "duration_s": round((self.end_ns - self.start_ns) / 1e9, 6),
            "status": "unset" if self.error is None else "error",
            "error": self.error,
            "attributes": self.attributes,
            "events": [
                {"name": e.name, "time_ns": e.time_ns, "attributes": e.attributes}
                for e in self.events
            ],
            "dropped_events": self.dropped_events,
        }


class Sink(Protocol):
    """Where finished spans go; it may lose them, and never raises."""

    def open(self, plan: Planned) -> None:
        """Begin; `put` is not called before."""
        ...

    def put(self, span: Span) -> None:
        """Take a span, at once."""
        ...

    def close(self) -> None:
        """Send what is left, within seconds."""
        ...


def sink(kind: Literal["jsonl", "otlp"]) -> Sink:
    """A sink by its name on the command line.

    Raises:
        MissingExtraError: for `otlp` without the OpenTelemetry SDK.
        UsageError: for a protocol in the environment that is not spoken here.
    """
    if kind == "jsonl":
        return JsonLines()
    from .spans_otlp import Collector

    return Collector()


class JsonLines:
    """Appends spans to `spans.jsonl` in the run's folder, one line each."""

    def __init__(self) -> None:
        self._file: LineFile | None = None
        self._path = Path()

    def open(self, plan: Planned) -> None:
        """See `Sink`."""
        self._path = plan.directory / FILE
        try:
            self._file = LineFile(self._path)
        except OSError as error:
            self._stop(error)

    def put(self, span: Span) -> None:
        """See `Sink`."""
        if self._file is None:
            return
        line = json.dumps(span.to_json(), ensure_ascii=False, separators=(",", ":"))
        try:
            self._file.write(line.encode(errors="replace") + b"\n")
        except OSError as error:
            self._stop(error)

    def close(self) -> None:
        """See `Sink`."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _stop(self, error: OSError) -> None:
        self.close()
        message = f"cannot write {self._path} ({error.strerror}): no more spans, the run goes on"
        log.warning(message, extra={"fields": {"event": "spans_stopped"}})
