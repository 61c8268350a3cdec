"""What a run would tell its watchers, made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agemem_fakes.episodes import key

from agemem_eval.harness.records import EpisodeKey
from agemem_eval.harness.watch import CellPlan, Planned


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def plan(
    directory: Path = Path(), *memories: str, planned: int = 10, done: int = 0, **names: str
) -> Planned:
    """One cell a memory."""
    names = {"env": "count", "split": "test", "model": "scripted (oracle)", **names}
    cells = [
        CellPlan(names["env"], names["split"], memory, names["model"], planned, done)
        for memory in memories or ("none",)
    ]
    return Planned("a-run", directory, tuple(cells))


def key_of(task: str = "t0", memory: str = "none", **fields: Any) -> EpisodeKey:
    return key(task, memory=memory, **fields)


def completion(prompt: int = 100, completion: int = 10, **fields: Any) -> dict[str, Any]:
    return {
        "type": "completion",
        "step": 0,
        "turn": 1,
        "text": "<answer>inc</answer>",
        "tool_calls": [],
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "estimated": False,
        "finish": "stop",
        "latency_s": 0.5,
        **fields,
    }


def tool(name: str = "Add_memory", status: str = "success", **fields: Any) -> dict[str, Any]:
    return {
        "type": "tool",
        "step": 0,
        "turn": 1,
        "name": name,
        "arguments": {"content": "x"},
        "status": status,
        "content": "stored",
        "data": {},
        "latency_s": 0.1,
        **fields,
    }
