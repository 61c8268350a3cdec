"""What takes long is done beside the event loop, and gives what it gave on it."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from quality_bench import Episode
from run_records import records

from agemem_eval.baselines.embed_hashing import HashingEmbedder
from agemem_eval.baselines.embed_minilm import find_weights
from agemem_eval.harness import commands, registry
from agemem_eval.harness.config import Execution, make_config
from agemem_eval.harness.ledger import Ledger
from agemem_eval.harness.metering import Meter, MeteredEmbedder, SharedEmbedder
from agemem_eval.harness.quality.matching import Matcher
from agemem_eval.harness.quality.score import score
from agemem_eval.harness.runner import run
from agemem_eval.harness.trace import Trace

STRICT = "agemem_fakes.embedders:NeverOnTheLoop"
MEMORIES = [
    plugin.name
    for plugin in registry.plugins("memories")
    if plugin.distribution == "agemem-eval" and not plugin.name.endswith("-lib")
]
DEADLINE_S = 20.0


class Waiting(HashingEmbedder):
    """Gives its vectors once the event loop has let it: on the loop it would wait for ever."""

    def __init__(self, *, blocks: bool) -> None:
        super().__init__()
        self.blocks = blocks
        self.asked, self.may = threading.Event(), threading.Event()

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        self.asked.set()
        assert self.may.wait(DEADLINE_S), "the event loop stood still"
        return super().embed(texts)


async def let(embedder: Waiting) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not embedder.asked.is_set():
            await asyncio.sleep(0.005)
    embedder.may.set()


async def test_the_event_loop_goes_on_while_a_slow_embedder_works() -> None:
    embedder = Waiting(blocks=True)
    meter = Meter(Ledger(), Trace())
    letting = asyncio.create_task(let(embedder))
    vectors = await MeteredEmbedder(embedder, meter).aembed(["a red mug", "a blue mug"])
    await letting
    assert np.array_equal(vectors, HashingEmbedder().embed(["a red mug", "a blue mug"]))


async def test_both_ways_to_embed_give_the_same_vectors_and_bills() -> None:
    texts = ["a red mug", "", "a blue mug"]
    bills, found = [], []
    for blocks in (False, True):
        embedder = Waiting(blocks=blocks)
        embedder.may.set()
        for awaited in (False, True):
            meter = Meter(Ledger(), Trace())
            metered = MeteredEmbedder(embedder, meter)
            found.append(await metered.aembed(texts) if awaited else metered.embed(texts))
            assert (await metered.aembed([])).shape == metered.embed([]).shape == (0, metered.dim)
            bills.append(meter.ledger.roles)
    assert all(np.array_equal(vectors, found[0]) for vectors in found)
    assert all(bill == bills[0] for bill in bills)
    assert bills[0]["embedding"].calls == 1


async def test_what_is_embedded_is_booked_to_the_episode_that_asked() -> None:
    embedder = Waiting(blocks=True)
    asking = Ledger()
    meter = Meter(asking, Trace())
    task = asyncio.create_task(MeteredEmbedder(embedder, meter).aembed(["a red mug"]))
    letting = asyncio.create_task(let(embedder))
    await asyncio.sleep(0)
    meter.point_to(Ledger(), Trace())
    await asyncio.gather(task, letting)
    assert asking.roles["embedding"].prompt_tokens == 3
    assert not meter.ledger.roles


async def test_an_embedder_is_never_asked_by_two_at_once() -> None:
    within, most = 0, 0

    class Counting(HashingEmbedder):
        blocks = True

        def embed(self, texts: Sequence[str]) -> np.ndarray:
            nonlocal within, most
            within += 1
            most = max(most, within)
            threading.Event().wait(0.002)
            within -= 1
            return super().embed(texts)

    shared = SharedEmbedder(Counting())
    beside = (asyncio.to_thread(shared.embed, [f"b{n}"]) for n in range(20))
    await asyncio.gather(*beside, *(shared.aread([f"a{n}"]) for n in range(20)))
    assert most == 1


async def test_the_event_loop_goes_on_while_a_memory_is_scored() -> None:
    embedder = Waiting(blocks=False)
    episode = Episode()
    episode.complete()
    letting = asyncio.create_task(let(embedder))
    found = await score(
        episode.evidence("The Silver Heron was made at Port Tallow."), Matcher(embedder), None
    )
    await letting
    assert found.scores["fact_recall"] is not None


def play(folder: Path, name: str, concurrency: int = 8, **values: Any) -> dict[str, Any]:
    """The records of a run, but for which embedder it was."""
    usual = {"envs": ["hotpotqa"], "memory_model": "heuristic", "episodes": 3}
    config = make_config({**usual, "options": {"hotpotqa": {"form": "three-stage"}}, **values})
    execution = Execution(runs_dir=folder, name=name, workers=0, concurrency=concurrency)
    result = asyncio.run(run(config, execution))
    assert result.complete, result.stopped
    found = records(result.directory, "embedder", "memory_hash", "id")
    return {
        str(sorted(episode["key"].items())): (episode, trace) for episode, trace in found.values()
    }


@pytest.mark.parametrize("memory", [name for name in MEMORIES if "norl" not in name])
def test_every_memory_of_ours_asks_a_slow_embedder_beside_the_event_loop(
    tmp_path: Path, memory: str
) -> None:
    values = {"memories": [memory], "st_tools": True}
    beside = play(tmp_path, "beside", embedder=STRICT, **values)
    assert any(episode["tokens"].get("embedding") for episode, _ in beside.values()) or (
        memory == "none"
    )
    on_it = play(tmp_path, "on-it", embedder="hashing", **values)
    assert beside.keys() == on_it.keys()
    for key, (episode, _) in beside.items():
        other = on_it[key][0]
        assert (episode["tokens"], episode["quality"]) == (other["tokens"], other["quality"])


@pytest.mark.minilm
@pytest.mark.skipif(find_weights() is None, reason="no MiniLM weights")
def test_vectors_of_minilm_are_the_same_at_any_concurrency(tmp_path: Path) -> None:
    values: dict[str, Any] = {
        "memories": ["rag", "agemem"],
        "embedder": "minilm",
        "episodes": 6,
        "options": {},
        "agent": {"max_steps": 4},
    }
    assert play(tmp_path, "one", 1, **values) == play(tmp_path, "many", 64, **values)


def test_a_run_collects_rarely_and_lets_threads_on_soon_and_leaves_python_as_it_was(
    monkeypatch, tmp_path
):
    during = []

    async def looks(*_):
        during.append((gc.get_threshold(), sys.getswitchinterval()))
        raise KeyboardInterrupt

    before = gc.get_threshold(), sys.getswitchinterval()
    monkeypatch.setattr(commands, "_stoppable", looks)
    config = make_config({"envs": ["alfworld"], "memories": ["none"], "episodes": 1})
    with pytest.raises(commands.CutOffError):
        commands.play(config, Execution(runs_dir=tmp_path), quiet=True)
    ((collections, switch_s),) = during
    assert collections == commands.COLLECTIONS != before[0]
    assert switch_s == pytest.approx(commands.SWITCH_S)
    assert (gc.get_threshold(), sys.getswitchinterval()) == before
