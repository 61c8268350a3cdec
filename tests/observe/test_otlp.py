"""Spans sent to a collector over OTLP/HTTP: what arrives, and what a bad collector costs."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from agemem_fakes.episodes import episode

from agemem_eval.harness.config import Execution, make_config
from agemem_eval.harness.errors import MissingExtraError, UsageError
from agemem_eval.harness.observe import watchers_for
from agemem_eval.harness.observe.spans import sink
from agemem_eval.harness.observe.tracer import Tracer
from agemem_eval.harness.runner import run
from agemem_eval.harness.store import RunStore

from .feed import completion, key_of, plan, tool

SECRET = "planted-0123456789abcdef"
needs_sdk = pytest.mark.otlp

Answer = Callable[[int], int | None]  # of the n-th request: its status; None: drop the connection


class Collector:
    """A collector on loopback that keeps what it is sent."""

    def __init__(self) -> None:
        self.answer: Answer = lambda _: 200
        self.requests: list[tuple[str, Message, bytes]] = []
        self.hold = threading.Event()  # answers wait for it
        self.hold.set()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.requests.append((self.path, self.headers, body))
                status = collector.answer(len(collector.requests) - 1)
                collector.hold.wait(60)
                if status is None:
                    self.connection.close()
                    return
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def stop(self) -> None:
        self.hold.set()
        self.server.shutdown()
        self.server.server_close()

    def received(self) -> Iterator[tuple[Any, Any]]:
        """Resource and span of all that arrived, read with OpenTelemetry's own protocol."""
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
            ExportTraceServiceRequest,
        )

        for _, _, body in self.requests:
            for group in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in group.scope_spans:
                    for span in scope.spans:
                        yield group.resource, span


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    made = Collector()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", made.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"authorization=Bearer%20{SECRET}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    yield made
    made.stop()


def play(tracer: Tracer, episodes: int = 3) -> int:
    """Play some episodes; returns how many spans that makes."""
    for n in range(episodes):
        key = key_of(f"t{n}")
        tracer.begins(key, 1)
        tracer.event(key, completion())
        tracer.event(key, tool())
        tracer.event(key, {"type": "forfeit", "reason": "x", "step": 1, "turn": 1})
        failed = n == 0
        tracer.ends(
            episode(f"t{n}", status="infra_error", fault="timeout") if failed else episode(f"t{n}")
        )
    return 3 * episodes


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def values(attributes: Any) -> dict[str, Any]:
    found = {}
    for pair in attributes:
        which = pair.value.WhichOneof("value")
        value = getattr(pair.value, which)
        found[pair.key] = (
            [v.string_value for v in value.values] if which == "array_value" else value
        )
    return found


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


def dropped(caplog: pytest.LogCaptureFixture) -> list[int]:
    fields = [getattr(record, "fields", {}) for record in caplog.records]
    return [f["dropped"] for f in fields if f.get("event") == "spans_dropped"]


@needs_sdk
def test_a_collector_gets_every_span_as_the_protocol_says(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    tracer = Tracer(sink("otlp"), Execution())
    tracer.planned(plan())
    count = play(tracer)
    tracer.close()
    tracer.close()
    arrived = list(collector.received())
    assert len(arrived) == count
    path, headers, _ = collector.requests[0]
    assert path == "/v1/traces"
    assert headers["Authorization"] == f"Bearer {SECRET}"
    resource = values(arrived[0][0].attributes)
    assert (resource["service.name"], resource["agemem.run"]) == ("agemem-eval", "a-run")
    spans = [span for _, span in arrived]
    roots = {span.span_id: span for span in spans if not span.parent_span_id}
    assert len(roots) == 3
    assert len({root.trace_id for root in roots.values()}) == 3
    for span in spans:
        root = roots[span.parent_span_id or span.span_id]
        assert span.trace_id == root.trace_id
        assert len(span.trace_id) == 16
        assert len(span.span_id) == 8
        assert root.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
    chat = next(span for span in spans if span.name == "chat scripted (oracle)")
    assert chat.kind == chat.SPAN_KIND_CLIENT
    about = values(chat.attributes)
    assert about["gen_ai.operation.name"] == "chat"
    assert about["gen_ai.usage.input_tokens"] == 100
    assert about["gen_ai.response.finish_reasons"] == ["stop"]
    broken = next(r for r in roots.values() if values(r.attributes)["agemem.task"] == "t0")
    assert broken.status.code == broken.status.STATUS_CODE_ERROR
    assert values(broken.attributes)["error.type"] == "timeout"
    assert [event.name for event in broken.events] == ["forfeit"]
    assert warnings(caplog) == []
    assert dropped(caplog) == []


@needs_sdk
def test_a_real_run_tells_a_collector_the_tokens_of_its_ledger(
    collector: Collector, tmp_path: Path
) -> None:
    env = "agemem_fakes.envs:CountEnv"
    config = make_config({"envs": [env], "memories": ["agemem"], "episodes": 3})
    how = Execution(runs_dir=tmp_path, name="r", trace="otlp")
    asyncio.run(run(config, how, watchers_for(how, quiet=True, config=config)))
    spans = [values(span.attributes) for _, span in collector.received()]
    told = [
        sum(span.get(f"gen_ai.usage.{way}", 0) for span in spans)
        for way in ("input_tokens", "output_tokens")
    ]
    episodes = RunStore.open(tmp_path / "r").episodes().values()
    spent = [usage for e in episodes for role, usage in e.tokens.items() if role != "embedding"]
    assert told == [sum(u.prompt_tokens for u in spent), sum(u.completion_tokens for u in spent)]
    assert told[0] > 0
    assert sum(span.get("gen_ai.operation.name") == "invoke_agent" for span in spans) == 3


@needs_sdk
def test_the_service_may_be_named_by_the_environment(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "team=memory")
    tracer = Tracer(sink("otlp"), Execution())
    tracer.planned(plan())
    play(tracer, 1)
    tracer.close()
    resource = values(next(collector.received())[0].attributes)
    assert (resource["service.name"], resource["team"]) == ("mine", "memory")


@needs_sdk
@pytest.mark.parametrize("how", ["refuses", "500", "401", "503", "hangs", "drops", "no address"])
def test_a_bad_collector_costs_one_warning_and_counted_spans(
    how: str,
    collector: Collector,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.INFO)
    if how == "refuses":
        collector.stop()
    elif how == "no address":
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "nonsense")
    elif how == "hangs":
        collector.hold.clear()
    elif how == "drops":
        collector.answer = lambda _: None
    else:
        collector.answer = lambda _: int(how)
    tracer = Tracer(sink("otlp"), Execution())
    tracer.planned(plan())
    count = play(tracer, 20)
    tracer.close()
    (warning,) = warnings(caplog)
    assert warning.startswith("spans do not reach ")
    assert warning.endswith("the run goes on without them")
    why = {"refuses": "Connection refused", "500": "500", "401": "401", "503": "Unavailable"}
    assert why.get(how, "") in warning
    assert len(warning) < 300
    assert dropped(caplog) == [count]
    assert SECRET not in caplog.text


@needs_sdk
def test_a_collector_that_dies_in_between_loses_what_comes_after(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    tracer = Tracer(sink("otlp"), Execution())
    tracer.planned(plan())
    before = play(tracer)
    until(lambda: len(list(collector.received())) == before)
    collector.stop()
    after = play(tracer)
    tracer.close()
    assert len(warnings(caplog)) == 1
    assert dropped(caplog) == [after]


@needs_sdk
def test_a_collector_that_comes_back_gets_what_comes_then(
    collector: Collector, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "60000")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "9")  # the first batch, and no other
    caplog.set_level(logging.INFO)
    collector.answer = lambda n: 500 if n == 0 else 200
    tracer = Tracer(sink("otlp"), Execution())
    tracer.planned(plan())
    lost = play(tracer)
    until(lambda: bool(warnings(caplog)))
    play(tracer)
    tracer.close()
    assert dropped(caplog) == [lost]


@needs_sdk
def test_the_sdks_logging_is_left_as_it_was(collector: Collector) -> None:
    logger = logging.getLogger("opentelemetry")
    before = list(logger.handlers), logger.propagate
    tracer = Tracer(sink("otlp"), Execution())
    tracer.planned(plan())
    tracer.close()
    assert (list(logger.handlers), logger.propagate) == before


@needs_sdk
def test_an_address_with_a_password_is_shown_without_it(
    collector: Collector, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = collector.url.removeprefix("http://")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://me:hunter22@{host}/?key=hunter22")
    collector.answer = lambda _: 400
    tracer = Tracer(sink("otlp"), Execution())
    tracer.planned(plan())
    play(tracer, 1)
    tracer.close()
    assert host in caplog.text
    assert "hunter22" not in caplog.text


@pytest.mark.parametrize("name", ["PROTOCOL", "TRACES_PROTOCOL"])
def test_a_protocol_that_is_not_spoken_is_refused(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{name}", "grpc")
    with pytest.raises(UsageError, match=r"=grpc is not spoken here: unset it"):
        sink("otlp")


def test_without_the_sdk_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.sdk.trace.export", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'agemem-eval\[otlp\]'"):
        sink("otlp")
