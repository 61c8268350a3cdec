"""Spans: one tree a try of an episode, whose tokens are those of the ledger and of the endpoint."""

from __future__ import annotations

import asyncio
import json
import resource
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from agemem_fakes.episodes import episode

from agemem_eval.harness.config import Execution, RunConfig, make_config
from agemem_eval.harness.ledger import Usage
from agemem_eval.harness.observe import watchers_for
from agemem_eval.harness.observe.spans import JsonLines, Sink, Span
from agemem_eval.harness.observe.text import Cleaner
from agemem_eval.harness.observe.tracer import Tracer
from agemem_eval.harness.runner import run
from agemem_eval.harness.store import RunStore
from agemem_eval.harness.testserver import ChatServer, first
from agemem_eval.harness.tools import ToolCall
from agemem_eval.harness.types import Completion
from agemem_eval.harness.watch import Planned

from .feed import completion, key_of, plan, tool

COUNT = "agemem_fakes.envs:CountEnv"


class Kept(Sink):
    """Keeps spans."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.closed = 0

    def open(self, plan: Planned) -> None:
        self.run = plan.run

    def put(self, span: Span) -> None:
        self.spans.append(span)

    def close(self) -> None:
        self.closed += 1


def tracer(sink: Sink, config: RunConfig | None = None, **options: Any) -> Tracer:
    made = Tracer(sink, Execution(), config, **options)
    made.planned(plan())
    return made


def play(directory: Path, values: dict[str, Any], **execution: Any) -> list[dict[str, Any]]:
    """The spans of a run that was really carried out."""
    config = make_config({"envs": [COUNT], "episodes": 3, **values})
    how = Execution(runs_dir=directory, name="r", trace="jsonl", **execution)
    asyncio.run(run(config, how, watchers_for(how, quiet=True, config=config)))
    return read(directory / "r")


def read(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / "spans.jsonl").read_text().splitlines()]


def used(spans: list[dict[str, Any]]) -> dict[str, list[int]]:
    """Calls and tokens by role."""
    found: dict[str, list[int]] = {}
    for span in spans:
        if (about := span["attributes"]).get("gen_ai.usage.input_tokens") is not None:
            row = found.setdefault(about["agemem.role"], [0, 0, 0])
            row[0] += 1
            row[1] += about["gen_ai.usage.input_tokens"]
            row[2] += about["gen_ai.usage.output_tokens"]
    return found


def test_the_spans_of_a_run_are_one_tree_an_episode_with_the_tokens_of_the_ledger(
    tmp_path: Path,
) -> None:
    spans = play(tmp_path, {"memories": ["agemem", "mem0"]})
    episodes = RunStore.open(tmp_path / "r").episodes()
    roots = {span["span_id"]: span for span in spans if span["parent_id"] is None}
    assert len(roots) == len(list(episodes)) == 6
    assert len({span["span_id"] for span in spans}) == len(spans)
    for span in spans:
        root = roots[span["parent_id"] or span["span_id"]]
        assert span["trace_id"] == root["trace_id"]
        assert root["start_ns"] <= span["start_ns"] <= span["end_ns"] <= root["end_ns"]
    memories = set()
    for played in RunStore.open(tmp_path / "r").episodes().values():
        mine = [
            span for span in spans if span["attributes"]["gen_ai.conversation.id"] == played.key.id
        ]
        spent = {r: u for r, u in played.tokens.items() if r != "embedding"}
        assert used(mine) == {
            r: [u.calls, u.prompt_tokens, u.completion_tokens] for r, u in spent.items()
        }
        steps = [span for span in mine if span["name"].startswith("step ")]
        assert len(steps) == played.steps
        assert all(step["end_ns"] > step["start_ns"] for step in steps)
        tools = Counter(
            (span["attributes"]["gen_ai.tool.name"], span["attributes"]["agemem.tool.status"])
            for span in mine
            if span["name"].startswith("execute_tool")
        )
        told = {(n, s): c for n, by in played.tool_calls.items() for s, c in by.items()}
        assert tools == told
        memories.add(played.key.memory)
    assert any(used(spans).keys() - {"agent"}), "a memory that writes with a model was played"
    for span in spans:
        if (role := span["attributes"].get("agemem.role")) is not None:
            model = "scripted (oracle)" if role == "agent" else "heuristic (rules)"
            assert span["name"] == f"chat {model}"
    assert {root["attributes"]["agemem.memory"] for root in roots.values()} == memories


def test_the_endpoint_served_the_tokens_that_the_spans_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted-0123456789abcdef")
    reply = Completion("<answer>inc</answer>", Usage(123, 7))
    with ChatServer(lambda _: reply, faults=first("429", None, "500")).in_thread() as server:
        spans = play(
            tmp_path,
            {"memories": ["rag"], "model": "openai:test"},
            base_url=server.url,
            model_options={"backoff_s": "0"},
        )
    chats = [span for span in spans if span["name"] == "chat test"]
    served = server.served
    assert used(spans) == {"agent": [served.calls, served.prompt_tokens, served.completion_tokens]}
    about = chats[0]["attributes"]
    assert chats[0]["kind"] == "client"
    assert about["gen_ai.provider.name"] == "openai"
    assert about["server.address"] == "127.0.0.1"
    assert f":{about['server.port']}/" in server.url
    sent = server.requests[0].body
    assert about["gen_ai.request.seed"] == sent["seed"]
    assert about["gen_ai.request.max_tokens"] == sent["max_tokens"]
    assert about["gen_ai.request.temperature"] == sent["temperature"]
    text = (tmp_path / "r" / "spans.jsonl").read_text()
    assert "sk-planted" not in text
    assert "<answer>" not in text, "texts are told only when asked for"


def test_calls_that_failed_and_the_try_they_broke_are_errors(tmp_path: Path) -> None:
    values = {"memories": ["none"], "episodes": 1, "model": "agemem_fakes.models:Inc:x"}
    spans = play(tmp_path, values, model_options={"fail": "1"})
    failed, broken, *_, whole = spans
    assert failed["name"].startswith("chat ")
    for span in (failed, broken):
        assert (span["status"], span["attributes"]["error.type"]) == ("error", "endpoint")
        assert "the endpoint is down" in span["error"]
    assert (broken["attributes"]["agemem.attempt"], whole["attributes"]["agemem.attempt"]) == (1, 2)
    assert broken["trace_id"] != whole["trace_id"]
    assert "agemem.success" not in broken["attributes"], "what was not scored has no success"
    assert whole["status"] == "unset"


def test_a_resumed_run_appends_its_spans(tmp_path: Path) -> None:
    values = {"memories": ["none"], "model": "agemem_fakes.models:Inc:x"}
    before = play(tmp_path, values, model_options={"fail": "1"}, retries=0, concurrency=1)
    after = play(tmp_path, values)
    assert after[: len(before)] == before
    tries = [span["attributes"] for span in after if span["parent_id"] is None]
    assert len(tries) == 4
    assert len({about["agemem.episode.id"] for about in tries}) == 3


def test_a_tool_call_has_the_id_that_the_model_gave_it() -> None:
    kept = Kept()
    made = tracer(kept)
    made.begins(key_of(), 1)
    calls = [["Add_memory", {"content": "x"}, "call_1"], ["Add_memory", {"content": "y"}, "call_2"]]
    made.event(key_of(), completion(tool_calls=calls))
    for content in ("y", "x"):
        made.event(key_of(), tool(arguments={"content": content}))
    made.event(key_of(), tool(status="validation_error"))
    _, second, first_, bad = kept.spans
    assert second.attributes["gen_ai.tool.call.id"] == "call_2"
    assert first_.attributes["gen_ai.tool.call.id"] == "call_1"
    assert "gen_ai.tool.call.id" not in bad.attributes
    assert (bad.error, bad.attributes["error.type"]) == ("validation_error", "validation_error")
    assert (second.name, second.kind) == ("execute_tool Add_memory", "internal")


def test_a_tool_that_a_model_makes_up_names_no_span() -> None:
    kept = Kept()
    made = tracer(kept)
    made.begins(key_of(), 1)
    made.event(key_of(), tool("rm -rf\x1b[2J" + "x" * 10_000, status="unknown_tool"))
    (span,) = kept.spans
    assert span.name == "execute_tool"
    name = span.attributes["gen_ai.tool.name"]
    assert isinstance(name, str)
    assert name.startswith("rm -rf\\x1b[2J")
    assert len(name) < 200


def test_a_span_began_its_latency_before_it_ended_and_never_before_its_episode() -> None:
    kept, now = Kept(), [10**18]
    made = tracer(kept, clock=lambda: now[0])
    made.begins(key_of(), 1)
    now[0] += 2 * 10**9
    made.event(key_of(), completion(latency_s=0.5))
    made.event(key_of(), completion(latency_s=100.0))
    made.ends(episode())
    short, long, root = kept.spans
    assert short.end_ns - short.start_ns == 5 * 10**8
    assert long.start_ns == root.start_ns
    assert root.end_ns - root.start_ns == 2 * 10**9


def test_what_has_no_duration_is_an_event_of_the_episode() -> None:
    kept = Kept()
    made = tracer(kept)
    made.begins(key_of(), 1)
    at = {"step": 2, "turn": 3}
    memory = {"type": "memory", "op": "retrieve", "ids": ["a", "b"], "query": "a secret wish"}
    made.event(key_of(), {**memory, **at, "changed": False})
    made.event(key_of(), {"type": "forfeit", "reason": "no answer", **at})
    made.event(key_of(), {"type": "message", "text": "a long one", **at})
    made.ends(episode())
    (root,) = kept.spans
    found, forfeit = root.events
    assert found.attributes["gen_ai.operation.name"] == "search_memory"
    assert found.attributes["gen_ai.memory.record.count"] == 2
    assert forfeit.name == "forfeit"
    assert "wish" not in json.dumps(root.to_json())


def test_an_endless_episode_keeps_no_endless_events() -> None:
    kept = Kept()
    made = tracer(kept)
    made.begins(key_of(), 1)
    for n in range(1500):
        made.event(key_of(), {"type": "forfeit", "reason": "x", "step": n, "turn": n})
    made.ends(episode())
    (root,) = kept.spans
    assert (len(root.events), root.dropped_events) == (1000, 500)


def test_texts_are_told_when_asked_for_without_secrets() -> None:
    kept = Kept()
    cleaner = Cleaner(environment={"A_KEY": "correct-horse"})
    made = tracer(kept, content=True, clean=cleaner)
    made.begins(key_of(), 1)
    calls = [["Add_memory", {"content": "correct-horse"}, "id"]]
    made.event(key_of(), completion(text="I say correct-horse\x1b", tool_calls=calls))
    made.event(key_of(), tool(arguments=calls[0][1], content="stored correct-horse"))
    action = {"type": "action", "action": "inc", "observation": "1 correct-horse", "valid": True}
    made.event(key_of(), {**action, "step": 1, "turn": 1})
    chat, call, step = kept.spans
    (message,) = json.loads(str(chat.attributes["gen_ai.output.messages"]))
    assert message["role"] == "assistant"
    assert message["finish_reason"] == "stop"
    assert message["parts"][0] == {"type": "text", "content": "I say ***\\x1b"}
    assert message["parts"][1]["type"] == "tool_call"
    assert call.attributes["gen_ai.tool.call.result"] == "stored ***"
    assert step.attributes["agemem.action.observation"] == "1 ***"
    assert "correct-horse" not in json.dumps([span.to_json() for span in kept.spans])


def test_a_run_that_is_stopped_ends_what_is_open() -> None:
    kept = Kept()
    made = tracer(kept)
    made.begins(key_of("t1"), 1)
    made.begins(key_of("t2"), 1)
    made.ends(episode("t1"))
    made.event(key_of("t1"), completion())  # too late, it has ended
    made.close()
    one, two = kept.spans
    assert (one.error, two.attributes["error.type"]) == (None, "cancelled")
    assert kept.closed == 1


def test_an_episode_that_the_agent_broke_is_an_error_and_one_at_its_limit_is_none() -> None:
    kept = Kept()
    made = tracer(kept)
    for task, status in (("t1", "agent_error"), ("t2", "limit"), ("t3", "completed")):
        made.begins(key_of(task), 1)
        made.ends(episode(task, status=status, reason=f"why {status}"))
    errors = [(span.error, span.attributes.get("error.type")) for span in kept.spans]
    assert errors == [("why agent_error", "agent_error"), (None, None), (None, None)]


def test_a_full_disk_costs_spans_and_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "spans.jsonl").symlink_to("/dev/full")
    lines = JsonLines()
    lines.open(plan(tmp_path))
    made = Tracer(lines, Execution())
    for n in range(3):
        made.begins(key_of(f"t{n}"), 1)
        made.ends(episode(f"t{n}"))
    made.close()
    assert [record.message for record in caplog.records if "No space left" in record.message]
    assert len(caplog.records) == 1


def test_a_span_that_a_full_disk_cuts_short_is_taken_back(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    made = Tracer(JsonLines(), Execution())
    made.planned(plan(tmp_path))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
    try:
        for n in range(20):
            made.begins(key_of(f"t{n}"), 1)
            made.ends(episode(f"t{n}"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    made.close()
    lines = (tmp_path / "spans.jsonl").read_text().splitlines()
    assert 0 < len(list(map(json.loads, lines))) < 20


def test_a_planted_secret_in_a_failure_is_in_no_span() -> None:
    kept = Kept()
    made = tracer(kept, clean=Cleaner(environment={"MY_TOKEN": "correct-horse"}))
    made.begins(key_of(), 1)
    problem = "401: wrong key correct-horse"
    failed = {"type": "call_failed", "role": "judge", "model": "openai:x", "kind": "refused"}
    made.event(key_of(), {**failed, "problem": problem, "step": 0, "turn": 0, "latency_s": 0.1})
    made.ends(episode(status="infra_error", reason=problem, fault="refused"))
    assert "correct-horse" not in json.dumps([span.to_json() for span in kept.spans])
    assert all(span.error == "401: wrong key ***" for span in kept.spans)


def test_an_address_with_a_password_is_told_by_host_and_port_alone() -> None:
    kept = Kept()
    where = Execution(base_url="https://me:hunter22@example.com/v1?key=hunter22")
    made = Tracer(kept, where)
    made.begins(key_of(), 1)
    made.event(key_of(), completion())
    about = kept.spans[0].attributes
    assert (about["server.address"], about["server.port"]) == ("example.com", 443)
    assert "hunter22" not in json.dumps(about)


@pytest.mark.parametrize("url", ["http://localhost:99999/v1", "http://[::1/v1"])
def test_an_address_that_is_none_is_left_to_the_model_to_refuse(url: str) -> None:
    kept = Kept()
    made = Tracer(kept, Execution(base_url=url, judge_base_url="http://judge"))
    made.begins(key_of(), 1)
    made.event(key_of(), completion())
    assert "server.address" not in kept.spans[0].attributes


def test_a_run_is_seen_by_what_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")

    def seen(quiet: bool = False, **execution: Any) -> list[str]:
        watchers = watchers_for(Execution(**execution), quiet)
        for watcher in watchers:
            watcher.close()
        return [type(watcher).__name__ for watcher in watchers]

    assert seen() == ["PlainLines", "LogFile"]
    assert seen(quiet=True) == ["LogFile"]
    assert seen(trace="jsonl") == ["Tracer", "PlainLines", "LogFile"]


def test_calls_of_the_memory_and_the_judge_name_their_own_models() -> None:
    config = make_config({"envs": ["count"], "memories": ["none"], "model": "openai:a"})
    kept, key = Kept(), key_of(model="openai:a")
    made = tracer(kept, config)
    made.begins(key, 1)
    call = completion(type="model_call")
    made.event(key, completion())
    made.event(key, {**call, "role": "memory_write", "model": "heuristic (rules)"})
    made.event(key, {**call, "role": "judge", "model": "vllm:c:d"})
    assert [span.name for span in kept.spans] == ["chat a", "chat heuristic (rules)", "chat c:d"]
    providers = [span.attributes["gen_ai.provider.name"] for span in kept.spans]
    assert providers == ["openai", "heuristic", "vllm"]
    asked = ["gen_ai.request.max_tokens" in span.attributes for span in kept.spans]
    assert asked == [True, False, False], "how the others ask is not known"


def test_tool_calls_of_a_real_native_run_keep_their_ids(tmp_path: Path) -> None:
    def reply(body: dict[str, Any]) -> Completion | str:
        if any(message["role"] == "tool" for message in body["messages"]):
            return "<answer>inc</answer>"
        call = ToolCall("Add_memory", {"content": "a number", "memory_type": "fact"}, "call_abc")
        return Completion("", Usage(10, 1), tool_calls=(call,), finish="tool_calls")

    agent = {"transport": "native"}
    with ChatServer(reply).in_thread() as server:
        values = {"memories": ["agemem"], "model": "openai:test", "agent": agent, "episodes": 1}
        spans = play(tmp_path, values, base_url=server.url)
    (call, *_) = [span for span in spans if span["name"].startswith("execute_tool")]
    assert call["attributes"]["gen_ai.tool.call.id"] == "call_abc"
