"""Columns of any run at all, held against its episodes as they were before they were written."""

from __future__ import annotations

import math
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from agemem_fakes.episodes import episode, key
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agemem_eval.harness.analysis import CellFrame, load_frames, load_run, merge_frames
from agemem_eval.harness.config import make_config
from agemem_eval.harness.ledger import RoleUsage
from agemem_eval.harness.plan import Cell
from agemem_eval.harness.records import Episode
from agemem_eval.harness.store import RunStore
from agemem_eval.harness.types import Task

TASKS = ("t0", "t1", "t2")
SHARE = st.one_of(st.none(), st.floats(0, 1), st.booleans().map(float))
COUNT = st.integers(0, 10**6)
SCORES = st.dictionaries(st.sampled_from(["f1", "recall", "é", "a.b"]), SHARE, max_size=3)
USAGE = st.tuples(COUNT, COUNT, COUNT).map(lambda c: RoleUsage(*c, 0))
FIELDS = st.fixed_dictionaries({
    "success": st.one_of(st.none(), st.booleans()),
    "progress": SHARE,
    "reward": st.one_of(st.none(), st.floats(-1e9, 1e9)),
    "steps": COUNT,
    "memory_entries": st.one_of(st.none(), COUNT),
    "metrics": SCORES,
    "quality": SCORES,
    "tokens": st.dictionaries(st.sampled_from(["agent", "memory_write", "judge"]), USAGE),
    "tool_calls": st.dictionaries(
        st.sampled_from(["Add_memory", "Filter_context", "漢"]),
        st.dictionaries(st.sampled_from(["success", "validation_error", "error"]), COUNT),
    ),
    "memory_faults": st.dictionaries(st.sampled_from(["decide", "search"]), COUNT),
    "judge_faults": COUNT,
    "status": st.sampled_from(["completed", "limit", "infra_error"]),
    "loss": st.sampled_from([None, "not_stored"]),
})  # fmt: skip
ONE_CELL = st.dictionaries(st.tuples(st.sampled_from(TASKS), st.sampled_from([0, 1])), FIELDS)


@pytest.fixture(autouse=True)
def _without_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)


def expected(one: Episode) -> dict[str, float]:
    """The columns of an episode, from what the module says they are."""
    plain = (
        "success progress reward steps turns invalid_actions malformed_outputs forfeits "
        "overflow_drops memory_entries wall_s judge_faults"
    )
    values: dict[str, Any] = {name: getattr(one, name) for name in plain.split()}
    values |= {f"metrics.{name}": value for name, value in one.metrics.items()}
    values |= {f"quality.{name}": value for name, value in one.quality.items()}
    for role, usage in one.tokens.items():
        values[f"tokens.{role}.calls"] = usage.calls
        values[f"tokens.{role}.prompt"] = usage.prompt_tokens
        values[f"tokens.{role}.completion"] = usage.completion_tokens
    for tool, by_status in one.tool_calls.items():
        values[f"tool_calls.{tool}"] = sum(by_status.values())
        failed = [n for status, n in by_status.items() if status != "success"]
        values[f"tool_failed.{tool}"] = sum(failed)
    values["memory_faults"] = sum(one.memory_faults.values())
    return {name: float(value) for name, value in values.items() if value is not None}


def stored(directory: Path, cells: dict[str, list[Episode]], seed: int) -> list[CellFrame]:
    tasks = tuple(Task(task, "test", "even") for task in TASKS)
    plan = [Cell(m, key("", memory=m, memory_hash=m, seed=seed), tasks, 2) for m in cells]
    with RunStore(directory) as store:
        config = make_config({"envs": ["count"], "memories": list(cells)})
        store.lock(config, [cell.to_json() for cell in plan])
        for episodes in cells.values():
            for one in episodes:
                store.commit(one, [])
    return load_frames(directory)


def made(memory: str, drawn: dict[tuple[str, int], dict[str, Any]], seed: int) -> list[Episode]:
    return [
        episode(key=key(task, memory=memory, memory_hash=memory, seed=seed, repeat=repeat), **given)
        for (task, repeat), given in drawn.items()
    ]


def holds(frame: CellFrame, episodes: list[Episode]) -> None:
    """Each value is its record's, what is missing is NaN or a count of 0, and nothing is more."""
    by_key = {one.key: one for one in episodes}
    assert set(frame.keys) == by_key.keys()
    assert len(frame.keys) == len(by_key)
    columns = {name for one in episodes for name in expected(one)}
    assert set(frame.columns) == columns
    for row, key_ in enumerate(frame.keys):
        one, told = by_key[key_], expected(by_key[key_])
        assert (frame.statuses[row], frame.losses[row]) == (one.status, one.loss)
        for name in columns:
            counted = name.startswith(("tokens.", "tool_", "memory_faults"))
            value = frame.columns[name][row]
            wanted = told.get(name, 0.0 if counted else math.nan)
            assert value == wanted or (math.isnan(value) and math.isnan(wanted)), name
    scored = [by_key[k] for k in frame.keys if by_key[k].status != "infra_error"]
    assert frame.tasks() == [one.key.task for one in scored]
    assert frame.n_scored == len(scored)
    assert frame.coverage == len(scored) / frame.n_planned
    for name in columns:
        assert len(frame.values(name)) == len(scored)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(runs=st.lists(st.tuples(ONE_CELL, ONE_CELL), min_size=1, max_size=2))
def test_columns_are_the_records_whatever_was_recorded(
    runs: list[tuple[dict[tuple[str, int], Any], ...]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("any")
    by_cell: dict[str, list[tuple[CellFrame, list[Episode]]]] = {"a": [], "b": []}
    for seed, drawn in enumerate(runs):
        cells = {m: made(m, cell, seed) for m, cell in zip("ab", drawn, strict=True)}
        for frame, episodes in zip(
            stored(folder / str(seed), cells, seed), cells.values(), strict=True
        ):
            assert frame.n_planned == 6
            holds(frame, episodes)
            by_cell[frame.base.memory].append((frame, episodes))
        rows = [row for _, row in load_run(folder / str(seed))]
        for row, episodes in zip(rows, cells.values(), strict=True):
            scored = [one for one in episodes if one.status != "infra_error"]
            known = [one.success for one in scored if one.success is not None]
            assert row.n_scored == len(scored)
            assert row.statuses == Counter(one.status for one in episodes)
            assert row.success_rate == (pytest.approx(np.mean(known)) if known else None)
    for parts in by_cell.values():
        merged = merge_frames([frame for frame, _ in parts])
        assert merged.n_planned == 6 * len(runs)
        holds(merged, [one for _, episodes in parts for one in episodes])


def test_an_episode_played_again_counts_once_as_it_went_last(tmp_path: Path) -> None:
    broken = episode(status="infra_error", fault="endpoint")
    base = {"memory": "a", "memory_hash": "a"}
    again = [replace(one, key=key("t0", **base)) for one in (broken, episode(steps=9))]
    (frame,) = stored(tmp_path / "r", {"a": again}, 0)
    assert (frame.statuses, frame.columns["steps"].tolist()) == (["completed"], [9])


def test_a_run_that_was_cut_off_shows_what_was_committed(tmp_path: Path) -> None:
    whole = made("a", {(task, 0): {} for task in TASKS}, 0)
    stored(tmp_path / "r", {"a": whole}, 0)
    path = max((tmp_path / "r" / "episodes").iterdir())
    path.write_bytes(path.read_bytes()[:-20])  # as a loss of power leaves the last line
    (frame,) = load_frames(tmp_path / "r")
    assert [k.task for k in frame.keys] == ["t0", "t1"]
    assert (frame.n_planned, frame.coverage) == (6, 2 / 6)
