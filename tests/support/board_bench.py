"""Runs made without playing: cells of given successes, for tests of what is made from runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from agemem_fakes.episodes import episode, key

from agemem_eval.harness.analysis import CellFrame, load_frames
from agemem_eval.harness.analysis.protocol import protocol_of
from agemem_eval.harness.columns import Columns
from agemem_eval.harness.config import make_config
from agemem_eval.harness.plan import Cell
from agemem_eval.harness.records import Episode
from agemem_eval.harness.store import RunStore
from agemem_eval.harness.types import Task

Outcome = bool | None  # None: broken by the infrastructure
Name = tuple[str, str]  # environment and memory
CONFIG = make_config({"envs": ["e"], "memories": ["a"]})


def cell_of(
    name: Name,
    outcomes: Sequence[Outcome],
    *,
    model: str = "openai:m",
    seed: int = 0,
    planned: int | None = None,
    base: Mapping[str, Any] | None = None,
    fields: Mapping[str, Any] | None = None,
    headline: tuple[str, ...] = ("success",),
) -> tuple[Cell, list[Episode]]:
    """A cell and its episodes.

    Args:
        name: Its environment and memory.
        outcomes: Of its episodes.
        model: The agent's.
        seed: Of the run.
        planned: Its tasks; None: as many as there are outcomes.
        base: Further fields of the keys.
        fields: Further fields of the episodes; a function is given the episode's place.
        headline: Of the environment.
    """
    env, memory = name
    common = {
        "env": env, "memory": memory, "memory_hash": memory, "model": model,
        "model_hash": model, "seed": seed, "protocol_hash": f"p-{env}", **(base or {}),
    }  # fmt: skip
    n = planned or len(outcomes)
    tasks = tuple(Task(f"t{i:05}", common.get("split", "test"), "even") for i in range(n))
    cell = Cell(memory, replace(key(""), **common), tasks, 1, headline=headline)
    episodes = []
    for place, won in enumerate(outcomes):
        status = "infra_error" if won is None else "completed"
        more = {k: v(place) if callable(v) else v for k, v in (fields or {}).items()}
        values = {"success": won, "progress": None, **more}
        episodes.append(episode(key=key(tasks[place].id, **common), status=status, **values))
    return cell, episodes


def frame(name: Name, outcomes: Sequence[Outcome], run: str = "r", **about: Any) -> CellFrame:
    """A frame that never was on a disk; `about` as in `cell_of`."""
    cell, episodes = cell_of(name, outcomes, **about)
    columns = Columns()
    for one in episodes:
        columns.add(one)
    arrays = columns.arrays()
    return CellFrame(
        run,
        Path(run),
        cell,
        protocol_of(CONFIG, cell.base, [task.id for task in cell.tasks]),
        len(cell.tasks),
        [one.key for one in episodes],
        [one.task_type for one in episodes],
        [one.status for one in episodes],
        [one.loss for one in episodes],
        [one.order for one in episodes],
        dict(episodes[0].labels) if episodes else {},
        columns={name: values for name, values in arrays.items() if isinstance(name, str)},
    )


def write_run(directory: Path, cells: Mapping[Name, Sequence[Outcome]], **about: Any) -> Path:
    """A run on disk; `about` as in `cell_of`."""
    made = [cell_of(name, outcomes, **about) for name, outcomes in cells.items()]
    with RunStore(directory) as store:
        config = {"envs": list({e for e, _ in cells}), "memories": list({m for _, m in cells})}
        store.lock(make_config(config), [cell.to_json() for cell, _ in made])
        for _, episodes in made:
            for one in episodes:
                store.commit(one, [])
    return directory


def frames(directory: Path, *args: Any, **kwargs: Any) -> list[CellFrame]:
    """The cells of a run that is made so."""
    return load_frames(write_run(directory, *args, **kwargs))
