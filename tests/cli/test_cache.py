"""`--cache` in whole runs: a finished one is replayed without its endpoint, record for record.

The server draws its replies at random and never says the same twice, so that nothing but the kept
replies can make two runs alike.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import run_records

from agemem_eval.harness import registry
from agemem_eval.harness.config import Execution, make_config
from agemem_eval.harness.ledger import Usage
from agemem_eval.harness.runner import RunResult, run
from agemem_eval.harness.testserver import ChatServer, Policy, Schedule, at_random, no_faults
from agemem_eval.harness.tools import ToolCall
from agemem_eval.harness.types import Completion

REAL = ("mem0-lib", "langmem-lib")  # need their extras
MEMORIES = [
    plugin.name
    for plugin in registry.plugins("memories")
    if plugin.distribution == "agemem-eval"
    and plugin.name not in REAL
    and "norl" not in plugin.name  # is what `agemem` is called with this model
]


class Drawn:
    """Replies drawn at random, of a form that whoever asks can use; each one is new."""

    def __init__(self, seed: int = 0) -> None:
        self.rng, self.n = random.Random(seed), 0

    def __call__(self, body: dict[str, Any]) -> str | Completion:
        self.n += 1
        first = str(body["messages"][0]["content"])
        if "You act in an environment" in first:
            return self._act(native="tools" in body, memory="Add_memory" in json.dumps(body))
        if body["model"] == "j":
            return f"{self.rng.random():.4f}"
        return self._write()

    def _act(self, *, native: bool, memory: bool) -> str | Completion:
        thought = f"<think>Thought {self.n}.</think>"
        if memory and self.rng.random() < 0.4:
            call = self.rng.choice(
                [
                    ("Add_memory", {"content": f"Note {self.n} on Nora Vell."}),
                    ("Retrieve_memory", {"query": f"Nora {self.rng.randrange(9)}"}),
                    ("Summary_context", {"span": "all"}),
                    ("Filter_context", {"criteria": "Nothing happens"}),
                ]
            )
            if native:
                calls = (ToolCall(*call, f"call_{self.n}"),)
                return Completion(thought, Usage(self.n, 3), calls, finish="tool_calls")
            said = json.dumps([{"name": call[0], "arguments": call[1]}])
            return f"{thought}<tool_call>{said}</tool_call>"
        action = self.rng.choice(["search[Nora Vell]", "lookup[mill]", f"finish[answer {self.n}]"])
        return f"{thought}<answer>{action}</answer>"

    def _write(self) -> str:
        fact = f"Fact {self.n} is that mill {self.rng.randrange(9)} is old."
        kind = self.rng.choice(["semantic", "episodic"])
        return json.dumps(
            {
                "facts": [fact, f"Town {self.n} is small."],
                "memory": [{"event": "ADD", "id": None, "text": fact}],
                "operation": self.rng.choice(["ADD", "NOOP"]),
                "id": None,
                "text": fact,
                "entities": [{"name": f"mill {self.n}", "type": "place"}, {"name": "Vell"}],
                "relations": [{"source": "Vell", "relation": "owns", "target": f"mill {self.n}"}],
                "obsolete": [],
                "keywords": ["mill"],
                "context": f"Of a mill, {self.n}.",
                "tags": ["old"],
                "links": ["0"],
                "updates": [{"id": "0", "context": f"Later, {self.n}.", "tags": ["mill"]}],
                "insert": [{"kind": kind, "content": fact}],
                "patch": [],
                "remove": [],
            }
        )


def configuration(**values: Any) -> dict[str, Any]:
    agent = {"max_steps": 4, "temperature": 0.7, **values.pop("agent", {})}
    usual = {"envs": ["hotpotqa"], "episodes": 2, "repeats": 2, "model": "openai:m"}
    return {**usual, **values, "agent": agent}


def play(
    folder: Path,
    name: str,
    values: dict[str, Any],
    *,
    reply: Policy | None = None,
    faults: Schedule = no_faults,
    **execution: Any,
) -> tuple[RunResult, ChatServer]:
    """A run against a server of its own; one without a `reply` refuses whatever it is asked."""

    async def go() -> tuple[RunResult, ChatServer]:
        refusing = faults if reply is not None else lambda _: "403"
        async with ChatServer(reply or Drawn(), faults=refusing) as server:
            quick = {"max_retries": "0", "backoff_s": "0.001"}
            given: dict[str, Any] = {"runs_dir": folder, "name": name, "workers": 0, "cache": True}
            given |= {"base_url": server.url, "model_options": quick, **execution}
            return await run(make_config(values), Execution(**given)), server

    return asyncio.run(go())


def records(folder: Path, name: str) -> dict[str, Any]:
    """Every record and every trace of a run, but for times."""
    return run_records.records(folder / name)


def calls_by_role(folder: Path, name: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for episode, _ in records(folder, name).values():
        for role, usage in episode["tokens"].items():
            found[role] = found.get(role, 0) + usage["calls"]
    return found


def replayed(folder: Path, values: dict[str, Any], first: int, then: int) -> dict[str, int]:
    """Play, play again without an endpoint, compare; gives the calls of each role."""
    played, server = play(folder, "first", values, reply=Drawn(), concurrency=first)
    assert played.complete
    again, refusing = play(folder, "again", values, concurrency=then)
    assert again.complete, again.stopped
    assert refusing.n_requests == 0
    assert records(folder, "first") == records(folder, "again")
    assert server.n_requests > 0
    return calls_by_role(folder, "first")


@pytest.mark.parametrize("transport", ["prompt", "native"])
@pytest.mark.parametrize(("first", "then"), [(1, 16), (16, 1)])
def test_a_run_with_every_memory_and_a_judge_is_replayed_without_its_endpoint(
    tmp_path: Path, transport: str, first: int, then: int
) -> None:
    values = configuration(memories=MEMORIES, judge="openai:j", agent={"transport": transport})
    roles = replayed(tmp_path, values, first, then)
    assert min(roles[role] for role in ("agent", "memory_write", "judge")) > 20
    of_memory: dict[str, set[str]] = {}
    for episode, trace in records(tmp_path, "first").values():
        written = {e["text"] for e in trace if e["type"] == "model_call" and e["role"] != "judge"}
        of_memory.setdefault(episode["key"]["memory"], set()).update(written)
    # Not those whose tools the agent did not happen to call; `label` is what a model makes them.
    assert {"mem0", "mem0g", "amem", "langmem"} <= {
        m for m, written in of_memory.items() if written
    }


def test_two_repeats_of_a_task_are_drawn_apart_and_stay_so(tmp_path: Path) -> None:
    replayed(tmp_path, configuration(memories=["none"], episodes=6), 16, 16)
    drawn: dict[str, set[str]] = {}
    for episode, trace in records(tmp_path, "again").values():
        texts = "|".join(event["text"] for event in trace if event["type"] == "completion")
        drawn.setdefault(episode["key"]["task"], set()).add(texts)
    assert {len(texts) for texts in drawn.values()} == {2}


@pytest.mark.parametrize("memory", ["mem0", "agemem", "langmem"])
def test_a_lifelong_memory_is_replayed_in_every_order(tmp_path: Path, memory: str) -> None:
    stream = {"memory_scope": "run", "order_seeds": [0, 1], "memory_model": "openai:n"}
    values = configuration(memories=[memory], episodes=3, **stream)
    replayed(tmp_path, values, 4, 1)


@pytest.mark.libraries
@pytest.mark.parametrize("memory", REAL)
def test_a_real_library_is_replayed_without_its_endpoint(tmp_path: Path, memory: str) -> None:
    assert replayed(tmp_path, configuration(memories=[memory]), 4, 1)["memory_write"] > 0


def steady(body: dict[str, Any]) -> str | Completion:
    """The same reply to the same request, on any day."""
    return Drawn(len(json.dumps(body)))(body)


def test_a_run_with_a_cache_has_the_records_of_one_without(tmp_path: Path) -> None:
    values = configuration(memories=["none", "mem0", "agemem"], judge="openai:j")
    playing = {"reply": steady, "concurrency": 16}
    play(tmp_path, "without", values, cache=False, cache_dir=tmp_path / "a", **playing)
    _, server = play(tmp_path, "with", values, cache_dir=tmp_path / "b", **playing)
    without, kept = records(tmp_path, "without"), records(tmp_path, "with")
    assert without.keys() == kept.keys()
    assert without == kept
    assert 0 < server.n_requests <= sum(calls_by_role(tmp_path, "with").values())


def test_tries_that_failed_leave_the_replay_as_it_would_be_without_them(tmp_path: Path) -> None:
    values = configuration(memories=["mem0", "agemem"], episodes=4)
    faults = at_random(0.05, ("500", "disconnect", "truncated"), seed=3)
    played, _ = play(
        tmp_path, "first", values, reply=Drawn(), faults=faults, retries=30, concurrency=8
    )
    assert played.complete
    again, refusing = play(tmp_path, "again", values, concurrency=3)
    assert (again.complete, refusing.n_requests) == (True, 0)
    first, then = records(tmp_path, "first"), records(tmp_path, "again")
    assert sum(episode["attempt"] > 1 for episode, _ in first.values()) > 2
    for found in (*first.values(), *then.values()):
        del found[0]["attempt"], found[0]["tokens_lost"]
    assert first == then


# --- processes ----------------------------------------------------------------------------------


def command(url: str, name: str, *extra: str) -> list[str]:
    return [
        sys.executable, "-m", "agemem_eval", "run", "--env", "hotpotqa", "--memory", "mem0,agemem",
        "--model", "openai:m", "--base-url", url, "--episodes", "12", "--repeats", "2",
        "--temperature", "0.7", "--max-steps", "4", "--workers", "0", "--concurrency", "4",
        "--cache", "--name", name, "-o", "max_retries=0", *extra,
    ]  # fmt: skip


def lines(folder: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("episodes/*.jsonl"))


def test_what_was_asked_before_a_kill_is_not_asked_again(tmp_path: Path) -> None:
    with ChatServer(Drawn(), latency_s=0.02).in_thread() as server:
        quiet = {"cwd": tmp_path, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(command(server.url, "killed"), **quiet)  # type: ignore[call-overload]
        deadline = time.monotonic() + 120
        while lines(tmp_path / "runs/killed") < 6 and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert process.poll() is None, "it was over before it was killed"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        # What was on its way at the kill was asked and not kept; four play at once.
        before = server.n_requests
        resumed = subprocess.run(command(server.url, "killed"), cwd=tmp_path, capture_output=True)
        assert resumed.returncode == 0, resumed.stderr
        runs, url = tmp_path / "runs", server.url
        total = sum(calls_by_role(runs, "killed").values())
        embeddings = calls_by_role(runs, "killed")["embedding"]
        assert before < server.n_requests <= total - embeddings + 4
    replay = subprocess.run(command(url, "again"), cwd=tmp_path, capture_output=True)
    assert replay.returncode == 0, replay.stderr
    assert records(runs, "killed") == records(runs, "again")


def test_two_processes_at_once_on_one_cache_play_the_same_run(tmp_path: Path) -> None:
    with ChatServer(Drawn(), latency_s=0.01).in_thread() as server:
        pipes = {"cwd": tmp_path, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        running = [subprocess.Popen(command(server.url, name), **pipes) for name in "ab"]  # type: ignore[call-overload]
        said = [process.communicate(timeout=300) for process in running]
        assert [process.returncode for process in running] == [0, 0], said
        url = server.url
    assert subprocess.run(command(url, "c"), cwd=tmp_path, capture_output=True).returncode == 0
    runs = tmp_path / "runs"
    assert records(runs, "a") == records(runs, "b") == records(runs, "c")


def test_a_damaged_cache_is_one_line_and_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/replies.sqlite").write_bytes(b"no database at all, but long enough. " * 300)
    done = subprocess.run(
        command("http://127.0.0.1:9/v1", "r", "--cache-dir", "kept"),
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "delete" in line
    assert "replies.sqlite" in line
