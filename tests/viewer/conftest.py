"""Runs to look at, and what was true while they were played."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from viewer_browser import chromium

from agemem_eval.harness import agent
from agemem_eval.harness.options import resolve
from agemem_eval.harness.runner import run


@dataclass
class Witness:
    """What an episode's model was sent, and what its memory held at the end; by the key's id."""

    prompts: dict[str, list[list[Any]]] = field(default_factory=dict)
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)


@pytest.fixture(scope="module")
def witness() -> Iterator[Witness]:
    """Looks on while episodes are played, beside the trace."""
    seen, patch = Witness(), pytest.MonkeyPatch()
    generate, play = agent._Loop._generate, agent._Loop.run

    async def generating(loop: Any) -> Any:
        seen.prompts.setdefault(loop.key.id, []).append(loop.context.prompt())
        return await generate(loop)

    async def playing(loop: Any, scorer: Any) -> Any:
        seen.prompts[loop.key.id] = []  # of the last try
        episode = await play(loop, scorer)
        seen.entries[loop.key.id] = {
            e["id"]: (e["content"], e["metadata"]) for e in loop.memory.entries()
        }
        return episode

    patch.setattr(agent._Loop, "_generate", generating)
    patch.setattr(agent._Loop, "run", playing)
    yield seen
    patch.undo()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A real headless Chromium."""
    with chromium() as found:
        yield found


def play(runs_dir: Path, name: str, **given: Any) -> Path:
    """Plays a run; returns its directory."""
    settings = {"model": "scripted", "memory_model": "heuristic", "runs_dir": runs_dir}
    settings |= {"name": name, **given}
    with ThreadPoolExecutor(1) as apart:  # from the loop that a browser may keep in this one
        apart.submit(lambda: asyncio.run(run(*resolve(settings)))).result()
    return runs_dir / name
