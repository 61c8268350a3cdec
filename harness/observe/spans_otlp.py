"""Sends spans to an OTLP/HTTP collector with the OpenTelemetry SDK, in the background.

The standard variables say where: `OTEL_EXPORTER_OTLP_ENDPOINT`, `…_HEADERS`, `…_TIMEOUT`, their
`OTEL_EXPORTER_OTLP_TRACES_*` forms, `OTEL_BSP_*` for the batches, `OTEL_RESOURCE_ATTRIBUTES` and
`OTEL_SERVICE_NAME`. A collector that is away, slow or wrong costs spans, which are counted, and
one warning; it never holds up the run.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ... import __version__
from ..errors import MissingExtraError, UsageError
from ..watch import Planned
from .spans import Span

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

CLOSE_S = 3.0  # for what is left at the end of a run; SIGTERM leaves 10 s for everything

_QUEUE = 16_384  # spans that wait; OTEL_BSP_MAX_QUEUE_SIZE says otherwise
_DEFAULT = "http://localhost:4318"
_SPOKEN = "http/protobuf"
_LIBRARY = "opentelemetry"
_SYSTEM = re.compile(r"\[Errno -?\d+\] ([^)\"']+)")  # its own words, at the heart of a long text

log = logging.getLogger("agemem_eval.trace")


class Collector:
    """A `Sink` that exports batches from a thread of the SDK's.

    Raises:
        MissingExtraError: without the SDK and its exporter.
        UsageError: if the environment asks for a protocol other than http/protobuf.
    """

    def __init__(self) -> None:
        for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
            protocol = os.environ.get(name, _SPOKEN)
            if protocol != _SPOKEN:
                raise UsageError(f"{name}={protocol} is not spoken here: unset it, or {_SPOKEN}")
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as error:
            raise MissingExtraError(
                "the OpenTelemetry SDK with its OTLP exporter", "otlp"
            ) from error
        self._taken = 0
        self._reasons = _Reasons()  # before the exporter, which may have something to say
        self._exporter = _Counting(OTLPSpanExporter(session=_session(self._reasons)), self._reasons)
        queue = None if "OTEL_BSP_MAX_QUEUE_SIZE" in os.environ else _QUEUE
        self._processor = BatchSpanProcessor(self._exporter, max_queue_size=queue)
        self._resource: Any = None
        self._scope: Any = None
        self._closed = False

    def open(self, plan: Planned) -> None:
        """See `Sink`."""
        from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        about: dict[str, str] = {SERVICE_VERSION: __version__, "agemem.run": plan.run}
        resource = Resource.create(about)
        if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
            resource = resource.merge(Resource({SERVICE_NAME: "agemem-eval"}))
        self._resource = resource
        self._scope = InstrumentationScope("agemem_eval", __version__)

    def put(self, span: Span) -> None:
        """See `Sink`."""
        self._taken += 1
        self._processor.on_end(self._readable(span))

    def close(self) -> None:
        """See `Sink`."""
        if self._closed:
            return
        self._closed = True
        last = threading.Thread(target=self._processor.shutdown, name="spans", daemon=True)
        last.start()
        last.join(CLOSE_S)
        if last.is_alive():  # it hangs; the thread ends with this process
            self._reasons.add(f"the collector did not answer within {CLOSE_S:g} s")
            self._exporter.shutdown()
        lost = self._taken - self._exporter.delivered
        if lost:
            self._exporter.warn()
            fields = {"event": "spans_dropped", "dropped": lost, "spans": self._taken}
            log.info(f"{lost} of {self._taken} spans were dropped", extra={"fields": fields})
        self._reasons.detach()

    def _readable(self, span: Span) -> ReadableSpan:
        from opentelemetry.sdk.trace import Event, ReadableSpan
        from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

        def context(span_id: str) -> SpanContext:
            ids = int(span.trace_id, 16), int(span_id, 16)
            return SpanContext(*ids, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))

        status = Status() if span.error is None else Status(StatusCode.ERROR, span.error)
        return ReadableSpan(
            name=span.name,
            context=context(span.span_id),
            parent=None if span.parent_id is None else context(span.parent_id),
            resource=self._resource,
            attributes=span.attributes,
            events=[Event(e.name, e.attributes, e.time_ns) for e in span.events],
            kind=SpanKind.CLIENT if span.kind == "client" else SpanKind.INTERNAL,
            instrumentation_scope=self._scope,
            status=status,
            start_time=span.start_ns,
            end_time=span.end_ns,
        )


class _Reasons(logging.Handler):
    """Keeps what the SDK complains of first, so that one warning says it and nothing else does."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.first = ""
        self._logger = logging.getLogger(_LIBRARY)
        self._before = self._logger.propagate
        self._logger.propagate = False
        self._logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a complaint."""
        self.add(record.getMessage())

    def add(self, reason: str) -> None:
        """Keep a reason."""
        if not self.first:
            found = _SYSTEM.search(reason)
            self.first = found.group(1) if found else " ".join(reason.split())

    def detach(self) -> None:
        """Leave the SDK's logger as it was."""
        self._logger.removeHandler(self)
        self._logger.propagate = self._before


def _session(reasons: _Reasons) -> Any:
    """HTTP as the exporter speaks it; what goes wrong is kept, since the SDK says it not always."""
    import requests

    class Session(requests.Session):  # type: ignore[misc]
        def send(self, request: Any, **options: Any) -> Any:
            try:
                response = super().send(request, **options)
            except requests.RequestException as error:
                reasons.add(str(error))
                raise
            if not response.ok:
                reasons.add(f"it answers {response.status_code} {response.reason}")
            return response

    return Session()


class _Counting:
    """An exporter that counts what arrives, and warns of the first batch that does not.

    Args:
        exporter: The SDK's.
        reasons: Why it failed.
    """

    def __init__(self, exporter: Any, reasons: _Reasons) -> None:
        self._exporter, self._reasons = exporter, reasons
        self._warned = False
        self.delivered = 0

    def export(self, spans: Sequence[ReadableSpan]) -> Any:
        """Send a batch; called by the SDK's thread."""
        from opentelemetry.sdk.trace.export import SpanExportResult

        try:
            result = self._exporter.export(spans)
        except Exception as error:  # noqa: BLE001 - an address that is none raises anything
            self._reasons.add(f"{type(error).__name__}: {error}")
            result = SpanExportResult.FAILURE
        if result is SpanExportResult.SUCCESS:
            self.delivered += len(spans)
        else:
            self.warn()
        return result

    def warn(self) -> None:
        """Say once that spans are lost, and why."""
        if self._warned:
            return
        self._warned = True
        message = f"spans do not reach {_address()}: {self._reasons.first or 'unknown reason'}"
        fields = {"event": "spans_lost"}
        log.warning(f"{message}; the run goes on without them", extra={"fields": fields})

    def shutdown(self) -> None:
        """Give up retrying."""
        self._exporter.shutdown()


def _address() -> str:
    """Where spans go, without what an address may hold of secrets."""
    names = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    url = next((os.environ[name] for name in names if os.environ.get(name)), _DEFAULT)
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}" if host else "OTEL_EXPORTER_OTLP_ENDPOINT"
