"""Runs for tests of exports: any records, and one with all that a model or a disk can do wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from agemem_fakes.episodes import episode, key

from agemem_eval.harness.config import RunConfig
from agemem_eval.harness.ledger import RoleUsage
from agemem_eval.harness.plan import Cell
from agemem_eval.harness.records import Episode
from agemem_eval.harness.store import RunStore
from agemem_eval.harness.trace import Event
from agemem_eval.harness.types import Task

SECRET = "sk-live-0123456789abcdef"  # the value of EXPORT_TEST_KEY
FORMULA = '=HYPERLINK("http://evil.example","x")'
SCRIPT = "<script>alert(1)</script>"
MADE_UP = "=cmd|' /C calc'!A0"  # a tool that a model made up
CONFIG = RunConfig(envs=("count",), memories=("none",), options={"count": {"data": "/srv/x/data"}})


def turn(n: int, text: str, **fields: Any) -> Event:
    """The event of an output."""
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "estimated": False}
    made = {"type": "completion", "step": n - 1, "turn": n, "text": text, "tool_calls": []}
    return {**made, **usage, "context_tokens": 100, "malformed": [], "finish": "stop", **fields}


def events_of(one: Episode, text: str = "go on") -> list[Event]:
    """A trace with messages, a tool call, a memory operation and an action in every turn."""
    at0 = {"step": 0, "turn": 0}
    found: list[Event] = [
        _message("m1", "system", "system", "Rules.", **at0),
        _message("m2", "user", "goal", f"Goal of {one.key.task}", **at0),
    ]
    for n in range(1, one.turns + 1):
        at = {"step": n - 1, "turn": n}
        found += [
            turn(n, text, latency_s=0.25),
            _message(f"a{n}", "assistant", "assistant", text, **at),
            {"type": "memory", **at, "op": "add", "ids": [f"e{n}"], "content": text, "changed": 1},
            {"type": "tool", **at, "name": "Add_memory", "arguments": {"content": text},
             "status": "success" if n % 2 else "validation_error", "content": "stored",
             "data": {}, "latency_s": 0.5},
            _message(f"r{n}", "tool", "tool_result", "stored", **at),
            {"type": "action", "step": n, "turn": n, "action": text, "valid": n != 2,
             "reward": 0.5, "progress": None if n == 1 else n / one.turns, "metrics": {},
             "success": False, "done": n == one.turns, "observation": f"saw {text}",
             "answer": "42" if n == one.turns else None, "latency_s": 0.25},
        ]  # fmt: skip
    return found


def _message(id_: str, role: str, kind: str, text: str, **at: int) -> Event:
    about = {"id": id_, "role": role, "kind": kind, "tokens": 3, "pinned": False}
    return {"type": "message", **at, **about, "text": text}


def write_run(
    directory: Path,
    episodes: Iterable[Episode],
    events: Callable[[Episode], list[Event]] = events_of,
    tasks: Iterable[str] = (),
    config: RunConfig = CONFIG,
    repeats: int = 1,
) -> Path:
    """Write a run of these records; one cell for each memory among them.

    Args:
        directory: Where.
        episodes: The records.
        events: The trace of one.
        tasks: Further tasks of the plan, that nothing was played of.
        config: Of the run.
        repeats: Of each task.
    """
    episodes = list(episodes)
    names = tuple(dict.fromkeys([*(one.key.task for one in episodes), *tasks]))
    planned = tuple(Task(name, "test", "even") for name in names)
    bases = dict.fromkeys(replace(one.key, task="", repeat=0) for one in episodes)
    cells = [Cell(base.memory, base, planned, repeats) for base in bases or [key("")]]
    with RunStore(directory) as store:
        store.lock(config, [cell.to_json() for cell in cells])
        for one in episodes:
            store.commit(one, events(one))
    return directory


def nasty_run(directory: Path, home: Path) -> Path:
    """Five episodes of six: planted texts, one broken, one without and one with half a trace."""
    texts = {
        "t0": f"{FORMULA}\n{SCRIPT} my key is {SECRET}, kept in {home}/notes.txt",
        "t1": "half a pair \ud83d, a bell \x07, a tab\t, 'quotes', \"more\" and a comma",
    }
    fails = {"success": None, "progress": None, "reward": None, "memory_entries": None}
    made_up = {"Add_memory": {"success": 6}, MADE_UP: {"unknown_tool": 2}, "x": {"unknown_tool": 1}}
    episodes = [
        episode("t0", turns=2, tool_calls=made_up, loss="never_stored", quality={"mq": 0.5},
                metrics={"em": None, "f1": 0.25}),
        episode("t1", turns=2, status="limit", reason="step_limit", memory_entries=0,
                labels={"embedder": "hashing"}),
        episode("t2", turns=2, status="infra_error", fault="endpoint", **fails,
                reason=f"ModelError: cannot read {home}/x and /srv/models/qwen: {SECRET}",
                tokens_lost={"agent": RoleUsage(1, 7, 3, 0)}),
        episode("t3", turns=2),
        episode("t4", turns=2),
    ]  # fmt: skip
    write_run(
        directory, episodes, lambda one: events_of(one, texts.get(one.key.task, "ok")), ["t5"]
    )
    (directory / "turns" / f"{episodes[3].key.id}.jsonl.zst").unlink()
    damaged = directory / "turns" / f"{episodes[4].key.id}.jsonl.zst"
    damaged.write_bytes(damaged.read_bytes()[:-9])
    return directory
