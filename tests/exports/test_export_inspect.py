"""Logs for Inspect AI, read by its own functions and served by its own viewer."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from agemem_fakes.episodes import episode, key
from export_runs import SCRIPT, SECRET, events_of, write_run

from agemem_eval.harness.exports.command import export_command
from agemem_eval.harness.exports.source import Source
from agemem_eval.harness.exports.summary import summaries
from agemem_eval.harness.store import RunStore

log_api = pytest.importorskip("inspect_ai.log")
pytestmark = pytest.mark.exports


def _logs(run: Path, out: Path) -> list[Any]:
    export_command([str(run)], "inspect", Path("runs"), out=out)
    found = log_api.list_eval_logs(str(out), descending=False)
    return [log_api.read_eval_log(one, resolve_attachments=True) for one in found]


@pytest.fixture(scope="module")
def logs(played: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The logs of the run that was played."""
    return _logs(played, tmp_path_factory.mktemp("logs") / "logs")


def test_a_cell_is_a_log_and_an_episode_a_sample(played: Path, logs: list[Any]) -> None:
    store = RunStore.open(played)
    records = {one.key.id: one for one in store.records()}
    assert [log.status for log in logs] == ["success"] * 2
    samples = [sample for log in logs for sample in log.samples]
    assert {sample.uuid for sample in samples} == set(records)
    for sample in samples:
        record = records[sample.uuid]
        assert sample.id == record.key.task
        assert sample.scores["success"].value == ("C" if record.success else "I")
        assert sample.scores["progress"].value == record.progress
        assert sample.role_usage["agent"].input_tokens == record.tokens["agent"].prompt_tokens
        assert sample.turn_count == record.turns
        assert sample.metadata["steps"] == record.steps
        assert sample.error is None


def test_every_model_call_has_the_context_that_it_was_made_with(
    played: Path, logs: list[Any]
) -> None:
    store = RunStore.open(played)
    for sample in (sample for log in logs for sample in log.samples):
        calls = [e for e in sample.events if e.event == "model" and e.role == "agent"]
        told = [e for e in store.read_trace(sample.uuid) if e["type"] == "completion"]
        assert [call.output.completion for call in calls] == [e["text"] for e in told]
        held: dict[str, int] = {}  # message -> tokens, as the harness counts them
        turns = iter(calls)
        for event in store.read_trace(sample.uuid):
            if event["type"] in ("message", "rewrite"):
                held[event["id"]] = event["tokens"] + 4
            elif event["type"] == "remove":
                for id_ in event["ids"]:
                    del held[id_]
            elif event["type"] == "completion":
                assert {m.id for m in next(turns).input} == set(held)
                assert sum(held.values()) == event["context_tokens"]


def test_tool_calls_are_answered_by_the_messages_that_they_led_to(logs: list[Any]) -> None:
    answered = 0
    for sample in (sample for log in logs for sample in log.samples):
        made = {
            call.id: call.function
            for message in sample.messages
            for call in getattr(message, "tool_calls", None) or []
        }
        events = {event.id: event for event in sample.events if event.event == "tool"}
        assert {id_: event.function for id_, event in events.items()} == made
        for message in sample.messages:
            if message.role == "tool":
                assert f"[{events[message.tool_call_id].function}:" in message.content
                answered += 1
    assert answered > 4


def test_the_results_are_those_that_inspect_and_the_statistics_compute(
    played: Path, logs: list[Any]
) -> None:
    expected = {summary.id: summary for summary in summaries(Source(played))}
    for log in logs:
        summary = expected[log.eval.task_id]
        score = next(score for score in log.results.scores if score.name == "success")
        assert score.metrics["mean"].value == summary.scores["success"].value
        values = [sample.scores["success"].value == "C" for sample in log.samples]
        assert score.metrics["mean"].value == pytest.approx(sum(values) / len(values))
        assert (log.results.total_samples, log.results.completed_samples) == (2, 2)


def test_failures_limits_and_damage_are_told_and_nothing_else(nasty: Path, tmp_path: Path) -> None:
    (log,) = _logs(nasty, tmp_path / "logs")
    samples = {sample.id: sample for sample in log.samples}
    assert log.status == "cancelled"  # an episode is owed
    assert samples["t2"].error.message == "ModelError: cannot read ~/x and …/qwen: ***"
    assert samples["t2"].scores == {}
    assert (samples["t1"].limit.type, samples["t1"].limit.reason) == ("custom", "step_limit")
    assert samples["t0"].scores["quality.mq"].value == 0.5
    assert "metrics.em" not in samples["t0"].scores
    assert samples["t3"].messages == samples["t4"].messages == []
    tools = [event for event in samples["t0"].events if event.event == "tool"]
    assert [event.error and event.error.type for event in tools] == [None, "parsing"]
    text = log.model_dump_json()
    assert SCRIPT in samples["t0"].messages[2].content  # text, which the viewer escapes
    assert SECRET not in text
    assert str(tmp_path) not in text


def test_repeats_and_orders_are_epochs_and_large_cells_several_logs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agemem_eval.harness.exports.inspect_log.SAMPLES", 2)
    run = write_run(tmp_path / "run", [episode(f"t{i}", turns=1) for i in range(5)])
    logs = _logs(run, tmp_path / "logs")
    assert sorted(len(log.samples) for log in logs) == [1, 2, 2]
    assert {log.results.total_samples for log in logs} == {5}
    assert sorted(log.eval.metadata["part"] for log in logs) == ["1 of 3", "2 of 3", "3 of 3"]
    assert {sample.epoch for log in logs for sample in log.samples} == {1}
    twice = [episode(key=key("t0", repeat=n), turns=1) for n in (0, 1)]
    (log,) = _logs(write_run(tmp_path / "twice", twice, repeats=2), tmp_path / "twice-logs")
    assert [sample.epoch for sample in log.samples] == [1, 2]


def test_the_viewer_serves_the_logs(nasty: Path, tmp_path: Path) -> None:
    out = tmp_path / "logs"
    _logs(nasty, out)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "inspect_ai", "view", "start", "--log-dir", str(out)]
    server = subprocess.Popen(
        [*command, "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        listed = json.loads(_get(port, "/api/logs"))
        (file,) = listed["files"]
        assert file["task"] == "count-none"
        name = urllib.parse.quote(file["name"], safe="")
        header = json.loads(_get(port, f"/api/logs/{name}?header-only=0"))
        assert header["eval"]["metadata"]["coverage"] == pytest.approx(4 / 6)
        assert b"<html" in _get(port, "/")
    finally:
        server.terminate()
        server.wait(20)


def _get(port: int, path: str) -> bytes:
    """What the server says, once it is there."""
    for _ in range(120):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as reply:
                content: bytes = reply.read()
                return content
        except ConnectionError:
            time.sleep(0.5)
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ConnectionError):
                raise
            time.sleep(0.5)
    raise AssertionError("the viewer's server did not start")


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [("tool", "latency_s", 1e300), ("action", "latency_s", float("nan")), ("message", "text", 1)],
)
def test_a_trace_that_tells_no_time_or_text_costs_the_events_alone(
    kind: str, field: str, value: Any, tmp_path: Path
) -> None:
    def events(one: Any) -> list[Any]:
        found = events_of(one)
        [e for e in found if e["type"] == kind][-1][field] = value
        return found

    (log,) = _logs(write_run(tmp_path / "r", [episode("t0", turns=2)], events), tmp_path / "out")
    assert [sample.messages for sample in log.samples] == [[]]
    assert log.samples[0].scores
