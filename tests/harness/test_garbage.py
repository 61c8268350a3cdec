"""What an episode needed is free when it ends, before Python looks for cycles of references.

A run looks for them rarely, so an episode in a cycle would keep its whole trace for long.
"""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from typing import Any

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
    """Counts the traces that are alive when every fourth episode is committed.

    They are counted as they come and go: who lists all objects instead (`gc.get_objects`) holds on
    to what another thread is still making, and a tuple that is not done must have one holder.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.episodes, self.alive = 0, list[int]()
        self._made, self._freed = list[None](), list[None]()  # to append is safe in any thread
        init = Trace.__init__

        def made(trace: Trace, *args: Any) -> None:
            self._made.append(None)
            init(trace, *args)

        monkeypatch.setattr(Trace, "__init__", made)
        freed = lambda _: self._freed.append(None)  # noqa: E731
        monkeypatch.setattr(Trace, "__del__", freed, raising=False)

    def committed(self, episode: Episode) -> None:
        self.episodes += 1
        if not self.episodes % 4:
            self.alive.append(len(self._made) - len(self._freed))


@pytest.mark.parametrize("tools", [False, True])
def test_traces_live_as_long_as_their_episodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tools: bool
) -> None:
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
    gc.collect()  # what earlier tests left must not be freed among those that are counted
    counter = Counter(monkeypatch)
    gc.disable()
    try:
        execution = Execution(runs_dir=tmp_path, workers=0, concurrency=IN_PLAY)
        asyncio.run(run(what, execution, [counter]))
    finally:
        gc.enable()
    assert counter.episodes == EPISODES * len(what.memories)
    # An episode has a few: its own, one of its memory before it begins, one of each try.
    assert 0 < max(counter.alive) < 4 * IN_PLAY
