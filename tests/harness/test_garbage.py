"""What an episode needed is free when it ends, before Python looks for cycles of references.

A run looks for them rarely, so an episode in a cycle would keep its whole trace for long.
"""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

import pytest

from agemem_eval.harness.config import Execution, make_config
from agemem_eval.harness.records import Episode
from agemem_eval.harness.runner import run
from agemem_eval.harness.trace import Trace
from agemem_eval.harness.watch import Watcher

MEMORIES = ["none", "rag", "mem0", "mem0g", "amem", "langmem", "store-all", "agemem", "agemem-rag"]
EPISODES = 12  # of each memory
IN_PLAY = 2


class Counter(Watcher):
    """Counts the traces that are alive when every fourth episode is committed."""

    def __init__(self) -> None:
        self.episodes, self.alive = 0, list[int]()

    def committed(self, episode: Episode) -> None:
        self.episodes += 1
        if not self.episodes % 4:
            self.alive.append(alive())


def alive() -> int:
    return sum(isinstance(found, Trace) for found in gc.get_objects())


@pytest.mark.parametrize("tools", [False, True])
def test_traces_live_as_long_as_their_episodes(tmp_path: Path, tools: bool) -> None:
    what = make_config(
        {
            "envs": ["pddl"],
            "memories": MEMORIES[:-1] if tools else MEMORIES,
            "episodes": EPISODES,
            "model": "scripted",
            "memory_model": "heuristic",
            "st_tools": tools,
            "agent": {"max_steps": 4},
        }
    )
    counter = Counter()
    gc.collect()
    before = alive()
    gc.disable()
    try:
        execution = Execution(runs_dir=tmp_path, workers=0, concurrency=IN_PLAY)
        asyncio.run(run(what, execution, [counter]))
    finally:
        gc.enable()
    assert counter.episodes == EPISODES * len(what.memories)
    # An episode has a few: its own, one of its memory before it begins, one of each try.
    assert max(counter.alive) - before < 4 * IN_PLAY
