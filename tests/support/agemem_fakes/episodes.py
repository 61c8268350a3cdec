"""Records for tests of the store and the metrics."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from agemem_eval.harness.ledger import RoleUsage
from agemem_eval.harness.records import Episode, EpisodeKey

KEY = EpisodeKey(
    env="count",
    env_version="1",
    data_hash="h",
    split="test",
    task="t0",
    memory="none",
    memory_hash="m",
    model="scripted (oracle)",
    model_hash="x",
    protocol_hash="p",
    seed=0,
    repeat=0,
)


def key(task: str = "t0", **fields: Any) -> EpisodeKey:
    """A key of the fake cell."""
    return replace(KEY, task=task, **fields)


def episode(task: str = "t0", *, status: str = "completed", **fields: Any) -> Episode:
    """An episode: solved in 5 steps unless said otherwise."""
    scored = status != "infra_error"
    values: dict[str, Any] = {
        "key": key(task),
        "task_type": "even",
        "status": status,
        "success": (status == "completed") if scored else None,
        "progress": 1.0 if scored else None,
        "reward": 1.0 if scored else None,
        "steps": 5,
        "turns": 6,
        "invalid_actions": 1,
        "malformed_outputs": 0,
        "forfeits": 0,
        "overflow_drops": 0,
        "tool_calls": {"Add_memory": {"success": 2, "validation_error": 1}},
        "tokens": {"agent": RoleUsage(6, 600, 60, 0)},
        "memory_entries": 2,
        "wall_s": 0.5,
        "started_at": "2025-01-01T00:00:00+00:00",
    }
    return Episode(**{**values, **fields})
