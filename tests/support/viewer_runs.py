"""Runs whose every text is an attack on a page, and runs of any size, made without playing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import zstandard
from agemem_fakes.episodes import episode, key

from agemem_eval.harness.config import RunConfig
from agemem_eval.harness.ledger import RoleUsage
from agemem_eval.harness.plan import Cell
from agemem_eval.harness.records import EpisodeKey
from agemem_eval.harness.store import RunStore
from agemem_eval.harness.store.index import json_line, record_line
from agemem_eval.harness.trace import Event
from agemem_eval.harness.types import Task

FLAG = "hit"  # what a script that runs would set on the window
SCRIPT = f"<script>window.{FLAG}=1</script>"
ATTACKS = (
    SCRIPT,
    f"</script><script>window.{FLAG}=1</script>",
    f"<img src=x onerror=window.{FLAG}=1>",
    f"<svg/onload=window.{FLAG}=1>",
    f"javascript:window.{FLAG}=1",
    f"\" onmouseover=\"window.{FLAG}=1\" ' onfocus='window.{FLAG}=1'",
    f"${{window.{FLAG}=1}} `${{window.{FLAG}=1}}` {{{{constructor.constructor('{FLAG}=1')()}}}}",
    f"<iframe srcdoc='<script>parent.{FLAG}=1</script>'></iframe>",
    f"\u2028\u2029*/ --> ]]> window.{FLAG}=1 <!-- <style>*{{display:none}}</style>",
    "__proto__", "constructor", "\x00\x07 \x1b[31m", "\u202e right to left",
)  # fmt: skip
EVIL = " ".join((*ATTACKS, "\ud800 half a pair"))  # as a model may write it; no name can have it


def write(directory: Path, cells: Sequence[Cell], traces: dict[EpisodeKey, list[Event]]) -> Path:
    """A run of these cells, of which the keys of `traces` are played."""
    config = RunConfig(envs=("count",), memories=("none",))
    with RunStore(directory) as store:
        store.lock(config, [cell.to_json() for cell in cells])
    jobs = [job for cell in cells for _, jobs in cell.streams() for job in jobs]
    lines, packed = list[bytes](), dict[int, bytes]()
    for folder in ("episodes", "turns"):
        (directory / folder).mkdir()
    for job in jobs:  # as the store writes them, but not each safely on the disk before the next
        if (trace := traces.get(job.key)) is None:
            continue
        lines.append(record_line(_record(job.key, job.task.type, job.order)))
        if id(trace) not in packed:
            packed[id(trace)] = zstandard.compress(b"".join(map(json_line, trace)))
        (directory / "turns" / f"{job.key.id}.jsonl.zst").write_bytes(packed[id(trace)])
    (directory / "episodes" / "0001.jsonl").write_bytes(b"".join(lines))
    return directory


def planted(directory: Path) -> Path:
    """Attacks in every text that a model, a task or a name can bring along."""
    base = replace(
        key(""), env=f"env {SCRIPT}", memory=f"mem {ATTACKS[2]}", model=" ".join(ATTACKS)
    )
    tasks = tuple(Task(f"{i} {attack}", "test", attack) for i, attack in enumerate(ATTACKS))
    cell = Cell("none", base, tasks, 1)
    jobs = [job for _, jobs in cell.streams() for job in jobs]
    return write(directory, [cell], {job.key: list(evil_events()) for job in jobs})


def evil_events() -> Iterator[Event]:
    """One turn in which everything says `EVIL`."""
    at = {"step": 0, "turn": 0}
    for n, kind in enumerate(("system", "goal", "observation", "memory", "summary"), 1):
        text = {"text": EVIL, "tokens": 9, "pinned": False}
        yield {"type": "message", **at, "id": f"m{n}", "role": "user", "kind": kind, **text}
    yield completion(1, f"<think>{EVIL}</think>", tool_calls=[[EVIL, {EVIL: EVIL}, EVIL]])
    yield {
        "type": "tool", **at, "name": EVIL, "arguments": {"__proto__": {EVIL: EVIL}},
        "status": EVIL, "content": EVIL, "data": {},
    }  # fmt: skip
    labels = {"metadata": {EVIL: EVIL, "__proto__": [EVIL], "tags": [EVIL]}}
    yield memory("add", "__proto__", EVIL, **labels)
    yield memory("add", "constructor", EVIL)
    yield memory("update", "__proto__", f"{EVIL}!", **labels)
    yield memory("add", EVIL, EVIL)
    yield memory("delete", EVIL, EVIL)
    yield memory("merge", "constructor", EVIL)
    yield {"type": "memory", **at, "op": "retrieve", "ids": ["__proto__"], "changed": False,
           "query": EVIL, "contents": [EVIL]}  # fmt: skip
    for type_ in ("malformed", "memory_fault", "judge_fault", "call_failed"):
        fields = {"op": EVIL, "problem": EVIL, "kind": EVIL, "role": EVIL, "model": EVIL}
        yield {"type": type_, **at, **fields}
    yield {"type": "model_call", **at, "role": EVIL, "model": EVIL, "text": EVIL,
           "prompt_tokens": 1, "completion_tokens": 1}  # fmt: skip
    yield {"type": EVIL, **at, EVIL: EVIL}
    yield action(EVIL, EVIL)
    yield {"type": "quality", **at, "scores": {EVIL: 0.5}, "loss": EVIL, "question": EVIL,
           "gold": EVIL, "facts": [EVIL]}  # fmt: skip


def game(n_turns: int, *, prefix: str = "e") -> Iterator[Event]:
    """A plain episode: each turn sees something, adds an entry and acts."""
    yield message(1, "system", "You act in a world of rooms. " * 40)
    yield message(2, "goal", "Your goal: find the lamp.")
    yield message(3, "observation", "You are in a hall. There is a door.")
    for turn in range(1, n_turns + 1):
        yield completion(
            turn, f"<think>Room {turn} is next.</think><answer>go to room {turn}</answer>"
        )
        yield message(2 + 2 * turn, "assistant", f"<answer>go to room {turn}</answer>")
        yield action(f"go to room {turn}", f"You are in room {turn}. " * 8)
        yield message(3 + 2 * turn, "observation", f"You are in room {turn}. " * 8)
        yield memory("add", f"{prefix}-{turn}", f"Room {turn} lies behind room {turn - 1}.")
        yield {"type": "memory", "step": turn, "turn": turn, "op": "retrieve", "changed": False,
               "ids": [f"{prefix}-{turn}"], "query": f"room {turn}",
               "contents": [f"Room {turn} lies behind room {turn - 1}."]}  # fmt: skip


def message(n: int, kind: str, text: str) -> Event:
    role = {"system": "system", "assistant": "assistant"}.get(kind, "user")
    stamps = {"step": 0, "turn": 0}
    return {"type": "message", **stamps, "id": f"m{n}", "role": role, "kind": kind, "text": text,
            "tokens": len(text) // 4, "pinned": False}  # fmt: skip


def completion(turn: int, text: str, **fields: Any) -> Event:
    return {
        "type": "completion", "step": 0, "turn": turn, "text": text, "tool_calls": [],
        "prompt_tokens": 500 + turn, "completion_tokens": 20, "context_tokens": 500 + 20 * turn,
        "finish": "stop", "latency_s": 0.5, **fields,
    }  # fmt: skip


def memory(op: str, id_: str, content: str, **fields: Any) -> Event:
    return {"type": "memory", "step": 0, "turn": 1, "op": op, "ids": [id_], "changed": True,
            "content": content, **fields}  # fmt: skip


def action(text: str, seen: str, **fields: Any) -> Event:
    return {"type": "action", "step": 1, "turn": 1, "action": text, "valid": True, "reward": 0.0,
            "progress": None, "metrics": {}, "success": False, "done": False, "observation": seen,
            "answer": None, "latency_s": 0.1, **fields}  # fmt: skip


def _record(key_: EpisodeKey, type_: str, order: int) -> Any:
    record = episode(key_.task)
    record.key, record.task_type, record.order = key_, type_, order
    record.success, record.progress = order % 3 != 0, None
    record.reason = EVIL if SCRIPT in key_.env else "solved" if record.success else "failed"
    record.labels = {EVIL: EVIL} if SCRIPT in key_.env else {}
    record.tokens = {"agent": RoleUsage(6, 6000 + order, 60, 0), "embedding": RoleUsage(2, 90, 0)}
    return record
