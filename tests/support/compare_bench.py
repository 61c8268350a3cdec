"""Cells of runs that nobody played: columns made from what a simulated system would score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from agemem_fakes.episodes import KEY, episode

from agemem_eval.harness.analysis import CellFrame
from agemem_eval.harness.analysis.protocol import protocol_of
from agemem_eval.harness.compare.sides import Side
from agemem_eval.harness.config import RunConfig
from agemem_eval.harness.plan import Cell
from agemem_eval.harness.records import EpisodeKey
from agemem_eval.harness.store import RunStore
from agemem_eval.harness.types import Task

CONFIG = RunConfig(envs=("count",), memories=("none",))
_KEYS: dict[int, tuple[Cell, list[EpisodeKey]]] = {}
# Environments of a simulated run: the column that decides, and the mean of its log-odds.
ENVS = {
    "alfworld": ("success", 0.5),
    "scienceworld": ("success", -1.0),
    "pddl": ("progress", 0.0),
    "babyai": ("success", 1.5),
    "hotpotqa": ("quality.j", 0.0),
}


def cell(
    env: str = "count",
    memory: str = "none",
    n_tasks: int = 20,
    *,
    repeats: int = 1,
    headline: Sequence[str] = ("success",),
    name: str | None = None,
    **key: Any,
) -> Cell:
    """A cell to be filled."""
    tasks = tuple(Task(f"t{i:03}", "test", "even") for i in range(n_tasks))
    base = replace(KEY, **{"env": env, "memory": memory, "task": "", **key})
    return Cell(name or memory, base, tasks, repeats, headline=tuple(headline))


def frame(of: Cell, columns: Mapping[str, Any], **fields: Any) -> CellFrame:
    """A cell with these scores, in the order of its plan; a single number is that of all.

    `statuses` and `labels` may be given.
    """
    keys, tasks = _keys(of), [task.id for task in of.tasks]
    made = CellFrame("run", Path("run"), of, protocol_of(CONFIG, of.base, tasks), len(keys))
    made.keys, made.task_types = keys, ["even"] * len(keys)
    made.statuses = list(fields.get("statuses", ["completed"] * len(keys)))
    made.losses, made.orders = [None] * len(keys), list(range(len(keys)))
    made.labels = dict(fields.get("labels", {"prompts": "1"}))
    for name, values in columns.items():
        made.columns[name] = np.array(np.broadcast_to(values, len(keys)), dtype=np.float64)
    return made


def _keys(of: Cell) -> list[EpisodeKey]:
    """Those of a cell, made once: to make them takes longer than to compare."""
    if id(of) not in _KEYS:
        if len(_KEYS) > 100:
            _KEYS.clear()
        _KEYS[id(of)] = of, of.keys
    return list(_KEYS[id(of)][1])


def side(name: str, *frames: CellFrame) -> Side:
    """A run of these cells."""
    return Side(name, list(frames), pinned=False)


def write_run(
    directory: Path,
    cells: Sequence[tuple[Cell, Sequence[Mapping[str, Any]]]],
    order: Sequence[int] | None = None,
) -> Path:
    """A run on disk.

    Args:
        directory: Of the run.
        cells: Each with the fields of its episodes, in the order of its plan.
        order: Of their places in the plan, in which they are committed.
    """
    with RunStore(directory) as store:
        store.lock(CONFIG, [of.to_json() for of, _ in cells])
        for of, fields in cells:
            jobs = [job for _, stream in of.streams() for job in stream]
            for i in order if order is not None else range(len(fields)):
                one = episode(**{**fields[i], "key": jobs[i].key, "order": jobs[i].order})
                store.commit(one, [])
    return directory


# --- a simulated system -----------------------------------------------------------------------


@cache
def _cells(n_tasks: int, repeats: int) -> dict[str, Cell]:
    return {
        env: cell(env, n_tasks=n_tasks, repeats=repeats, headline=(headline,))
        for env, (headline, _) in ENVS.items()
    }


class System:
    """Agents that differ in nothing but luck: tasks as hard as they are, episodes drawn."""

    def __init__(self, rng: np.random.Generator, n_tasks: int, repeats: int = 1) -> None:
        self._rng, self._repeats = rng, repeats
        self._cells = _cells(n_tasks, repeats)
        # Most tasks are nearly always, or hardly ever, solved: log-odds spread by 2.
        self._odds = {env: rng.normal(mu, 2.0, n_tasks) for env, (_, mu) in ENVS.items()}
        self._length = {env: rng.normal(8.0, 0.5, n_tasks) for env in ENVS}

    def run(self, name: str, drop: float = 0.0, envs: Sequence[str] = tuple(ENVS)) -> Side:
        """A run of it; `drop` of the episodes that would have been solved fail, by chance."""
        return side(name, *(self._frame(env, drop) for env in envs))

    def _frame(self, env: str, drop: float) -> CellFrame:
        rng, n = self._rng, self._repeats
        chance = 1 / (1 + np.exp(-np.tile(self._odds[env], n)))
        keep = 1.0 if not drop else max(0.0, 1 - drop / float(chance.mean()))
        solved = (rng.random(len(chance)) < chance * keep).astype(float)
        partly = np.round(rng.beta(1.5, 1.5, len(chance)) * 4) / 4
        length = np.tile(self._length[env], n) + rng.normal(0, 0.3, len(chance))
        columns = {
            "success": solved,
            "progress": np.where(solved == 1, 1.0, partly),
            "tokens.agent.prompt": np.round(np.exp(length) * np.where(solved == 1, 1, 1.4)),
        }
        if env == "hotpotqa":  # a judge's mark, in tenths
            mark = solved * 0.8 + rng.normal(0.1, 0.1, len(chance))
            columns["quality.j"] = np.clip(np.round(mark, 1), 0, 1)
        return frame(self._cells[env], columns)
