"""The libraries and our re-implementations on real episodes, with rules in the model's place."""

from __future__ import annotations

from typing import Any

import pytest
from library_bench import Life

from agemem_eval.baselines.heuristic.model import HeuristicModel
from agemem_eval.baselines.langmem_lib import LangMemLibrary
from agemem_eval.baselines.mem0 import Mem0
from agemem_eval.baselines.mem0_lib import Mem0Library
from agemem_eval.harness.build import build

pytestmark = pytest.mark.libraries


def episode(env: str, number: int, length: int = 12) -> list[tuple[str, str | None]]:
    """What the expert of an environment reads and does."""
    world = build("envs", env, {})
    task = world.tasks("generated")[number]
    seen = world.reset(task, 0).text
    pairs: list[tuple[str, str | None]] = []
    for _ in range(length):
        action = world.expert_action()
        if action is None:
            break
        result = world.step(action)
        pairs.append((seen, action))
        seen = result.observation
        if result.terminated:
            break
    world.close()
    return [*pairs, (seen, None)]


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("env", ["alfworld", "hotpotqa", "pddl"])
async def test_mem0_and_its_library_end_an_episode_with_the_same_store_to_the_byte(
    env: str, number: int
) -> None:
    results: list[Any] = []
    for make, options in ((Mem0Library, {}), (Mem0, {"profile": "oss-1.0"})):
        life = await Life(make, HeuristicModel(""), **options).begin()
        calls = [await life.tell(*pair) for pair in episode(env, number)]
        found = [await life.memory.retrieve(seen, 5) for seen, _ in episode(env, number)]
        results.append((life.memory.snapshot(), calls, found, life.faults, life.texts()))
        await life.memory.close()
    assert results[0] == results[1]
    assert results[0][4]
    assert set(results[0][3]) <= {"contradiction_lost"}


async def test_langmem_learns_from_an_episode_without_a_fault() -> None:
    life = await Life(LangMemLibrary, HeuristicModel(""), schemas="typed", window="2").begin()
    pairs = episode("hotpotqa", 0)
    calls = [await life.tell(*pair) for pair in pairs]
    assert calls == [1] * len(pairs)
    assert life.texts()
    assert not life.faults
    await life.memory.close()
