"""The records of a run without what no two runs share."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from agemem_eval.harness.store import RunStore

TIMES = {"wall_s", "started_at", "latency_s"}


def timeless(value: Any, *without: str) -> Any:
    """A JSON value without times, and without the keys named."""
    if isinstance(value, dict):
        left = value.keys() - TIMES - set(without)
        return {key: timeless(item, *without) for key, item in value.items() if key in left}
    return [timeless(i, *without) for i in value] if isinstance(value, list | tuple) else value


def records(directory: Path, *without: str) -> dict[str, Any]:
    """Record and trace of every episode of a run, by id."""
    store = RunStore.open(directory)
    return {
        key.id: (timeless(asdict(episode), *without), timeless(list(store.read_trace(key.id))))
        for key, episode in store.episodes().items()
    }
