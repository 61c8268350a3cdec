"""Cells to draw: a real run, and made-up ones of any size."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agemem_eval.harness.analysis import CellFrame, Protocol, load_frames
from agemem_eval.harness.options import resolve
from agemem_eval.harness.plan import Cell
from agemem_eval.harness.records import EpisodeKey
from agemem_eval.harness.runner import run
from agemem_eval.harness.types import Task

Maker = Callable[..., CellFrame]


def play(runs_dir: Path, name: str, **given: Any) -> Path:
    given = {"model": "scripted", "runs_dir": runs_dir, "name": name, "workers": 0, **given}
    config, execution = resolve(given)
    return asyncio.run(run(config, execution)).directory


@pytest.fixture(scope="session")
def runs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real runs: `few`, cut at 5 steps so that some fail; `stream`, a memory kept over tasks."""
    folder = tmp_path_factory.mktemp("runs")
    memories = ("none", "rag", "agemem")
    play(folder, "few", envs=("alfworld",), memories=memories, episodes=6, max_steps=5)
    play(
        folder, "stream", envs=("alfworld",), memories=("none", "rag"), episodes=5, max_steps=5,
        memory_scope="run", order_seeds=(0, 1, 2),
    )  # fmt: skip
    return folder


@pytest.fixture(scope="session")
def few(runs_dir: Path) -> list[CellFrame]:
    return load_frames(runs_dir / "few")


@pytest.fixture(scope="session")
def stream(runs_dir: Path) -> list[CellFrame]:
    return load_frames(runs_dir / "stream")


@pytest.fixture(scope="session")
def cell() -> Maker:
    """Makes a cell of the columns that are given."""

    def make(
        memory: str = "rag",
        model: str = "m",
        env: str = "hotpotqa",
        *,
        headline: tuple[str, ...] = ("success",),
        protocol: str = "p",
        run: str = "a",
        losses: list[str | None] | None = None,
        statuses: list[str] | None = None,
        **columns: list[float],
    ) -> CellFrame:
        n = len(next(iter(columns.values())))
        tasks = tuple(Task(f"t{i}", "test", "x") for i in range(n))
        base = EpisodeKey(env, "1", "d", "test", "", memory, memory, model, model, protocol, 0, 0)
        planned = Cell(memory, base, tasks, 1, headline=headline)
        how = Protocol(env, "1", "test", "d", 1, n, "t", protocol, {"agent": protocol})
        keys = planned.keys
        frame = CellFrame(run, Path("runs") / run, planned, how, n, keys)
        frame.task_types, frame.orders = ["x"] * n, list(range(n))
        frame.statuses = statuses or ["completed"] * n
        frame.losses = losses or [None] * n
        frame.columns = {
            name.replace("__", "."): np.array(values, dtype=np.float64)
            for name, values in columns.items()
        }
        return frame

    return make


@pytest.fixture(scope="session")
def crowd(cell: Maker) -> list[CellFrame]:
    """8 memories, 2 models and 5 environments, some names long or full of markup."""
    rng = np.random.default_rng(0)
    memories = [
        "none", "rag", "mem0", "mem0g", "amem+st", "agemem-norl-rag", "langmem",
        "a-memory-with-a-name-that-goes-on-and-on-and-does-not-end-before-all-is-said",
    ]  # fmt: skip
    models = ["openai:Qwen/Qwen2.5-7B-Instruct", "openai:org-$x_1$/<b>very & \\frac{long}</b>-2507"]
    frames = []
    for env in ("hotpotqa", "alfworld", "scienceworld", "babyai", "pddl"):
        for memory in memories:
            for model in models:
                success = (rng.random(12) < 0.5).astype(float)
                losses = [None if s else "not_used" for s in success]
                frames.append(
                    cell(
                        memory,
                        model,
                        env,
                        losses=losses,
                        success=list(success),
                        steps=list(rng.integers(1, 30, 12)),
                        quality__mq=list(rng.random(12)),
                        tokens__agent__prompt=list(1e4 * rng.random(12) + 1e5),
                        tokens__agent__calls=[10.0] * 12,
                        tokens__memory_write__prompt=list(1e5 * rng.random(12)),
                        tool_calls__Add_memory=list(rng.integers(0, 9, 12)),
                        tool_calls__Retrieve_memory=list(rng.integers(0, 9, 12)),
                        tool_failed__Add_memory=[1.0] * 12,
                    )
                )
    return frames
