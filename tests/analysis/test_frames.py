"""Runs as columns: held against the records one by one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from agemem_fakes.episodes import episode, key
from board_bench import frames, write_run

from agemem_eval.harness.analysis import Alignment, load_frames, load_run, merge_frames
from agemem_eval.harness.analysis.frame import numbers_of
from agemem_eval.harness.columns import Columns
from agemem_eval.harness.errors import DataError
from agemem_eval.harness.ledger import Cost, RoleUsage
from agemem_eval.harness.runner import rows_of
from agemem_eval.harness.stats import pair
from agemem_eval.harness.store import RunStore
from agemem_eval.harness.store.index import record_line
from agemem_eval.harness.store.scan import scan

VARIED = {
    "quality": lambda i: {"fact_recall": None if i % 3 else i / 10, "stale": None},
    "metrics": lambda i: {"f1": i / 7} if i % 2 else {},
    "tokens": lambda i: {"agent": RoleUsage(i, 10 * i, i, 0)} | (
        {"judge": RoleUsage(1, 5, 1, 1)} if i % 4 == 0 else {}
    ),
    "memory_costs": lambda i: {"write": Cost(1, 2, 3, 4, 5, 0.1)} if i % 2 else {},
    "memory_faults": lambda i: {"decide": i} if i % 5 == 0 else {},
    "tool_calls": lambda i: {"Add_memory": {"success": i}} if i % 2 else {"X": {"error": 1}},
}  # fmt: skip
CELLS = {("e", "a"): [True, False, None, True] * 5, ("f", "a"): [True] * 7}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return write_run(tmp_path / "r", CELLS, fields=VARIED)


def test_every_value_of_a_column_is_that_of_its_record(directory: Path) -> None:
    found = {one.base.env: one for one in load_frames(directory)}
    records = RunStore.open(directory).episodes()
    for frame in found.values():
        for row, episode_key in enumerate(frame.keys):
            told = dict(numbers_of(records[episode_key]))
            for name, column in frame.columns.items():
                counted = name.startswith(("tokens.", "tool_", "memory_faults"))
                wanted = told.get(name, 0.0 if counted else np.nan)
                assert column[row] == pytest.approx(wanted, nan_ok=True), name
            assert set(told) <= set(frame.columns)
    assert "quality.stale" not in found["e"].columns  # nobody has it
    assert found["e"].coverage == 0.75


def test_rows_read_together_with_columns_are_those_read_alone(directory: Path) -> None:
    assert [row.to_json() for _, row in load_run(directory)] == [
        row.to_json() for row in rows_of(directory)
    ]


def test_a_record_that_was_never_planned_is_none_of_a_cell(directory: Path) -> None:
    base = load_frames(directory)[0].base
    stray = [replace(base, task="other"), replace(base, task="t00000", repeat=7)]
    path = directory / "episodes" / "0002.jsonl"
    path.write_bytes(b"".join(record_line(episode(key=one)) for one in stray))
    assert len(load_frames(directory)[0].keys) == 20


def test_cells_side_by_side_are_paired_by_episode(tmp_path: Path) -> None:
    cells = {("e", "a"): [True, False, None, True], ("e", "b"): [False, None, True, True]}
    both = frames(tmp_path / "r", cells)
    old, now, tasks = Alignment(both).pair(0, 1, "success")
    assert (old.tolist(), now.tolist(), tasks) == ([1, 1], [0, 1], ["t00000", "t00003"])
    as_stats = pair(both[0], both[1], "success")
    assert sorted(zip(*map(list, as_stats), strict=True)) == sorted(
        zip(old, now, tasks, strict=True)
    )


def test_merged_frames_keep_what_is_missing_apart_from_what_is_0(tmp_path: Path) -> None:
    one = frames(tmp_path / "r", {("e", "a"): [True] * 2}, fields={"metrics": {"f1": 0.5}})
    other = frames(tmp_path / "s", {("e", "a"): [False] * 3}, seed=1,
                   fields={"tool_calls": {"New": {"success": 2}}})  # fmt: skip
    merged = merge_frames([*one, *other])
    assert merged.run == "r+s"
    assert merged.n_planned == 5
    assert merged.columns["success"].tolist() == [1, 1, 0, 0, 0]
    assert merged.columns["tool_calls.New"].tolist() == [0, 0, 2, 2, 2]
    assert np.isnan(merged.columns["metrics.f1"]).tolist() == [False] * 2 + [True] * 3


def test_columns_can_be_read_while_episodes_still_come() -> None:
    columns = Columns()
    columns.add(episode("a"))
    assert columns.arrays()["steps"].tolist() == [5]
    columns.add(episode(key=key("b"), steps=7))
    assert columns.arrays()["steps"].tolist() == [5, 7]


def test_one_reading_gives_the_records_that_looking_up_gives(directory: Path) -> None:
    path, keys = directory / "episodes" / "0001.jsonl", load_frames(directory)[0].cell.keys
    again = [
        episode(key=keys[0], steps=99),  # scored before: the first one counts
        episode(key=keys[2], steps=98),  # broken before: this one counts
        episode(key=keys[6], status="infra_error", steps=97),  # broken twice: the last one
    ]
    more = directory / "episodes" / "0002.jsonl"
    more.write_bytes(b"".join(map(record_line, again)) + path.read_bytes()[:50])  # and torn
    store = RunStore.open(directory)
    found = list(scan(store))
    assert {one.key: one for one in found} == store.episodes()
    assert len(found) == len(store.episodes())
    assert sorted(one.steps for one in found)[-2:] == [97, 98]


def test_one_reading_goes_on_where_the_files_were_compacted_meanwhile(directory: Path) -> None:
    store, episodes = RunStore.open(directory), directory / "episodes"
    lines = (episodes / "0001.jsonl").read_bytes().splitlines(keepends=True)
    (episodes / "0001.jsonl").write_bytes(b"".join(lines[:9]))
    (episodes / "0002.jsonl").write_bytes(b"".join(lines[9:]))
    reading = scan(store)
    found = [next(reading)]
    (episodes / "0003.jsonl").write_bytes(b"".join(lines))
    (episodes / "0002.jsonl").unlink()
    found += reading
    assert len(found) == len(lines)
    assert {one.key for one in found} == set(store.episodes())


def test_a_broken_record_stops_one_reading_and_names_its_line(directory: Path) -> None:
    path = directory / "episodes" / "0001.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"steps":5', b'"steps":6', 1))
    with pytest.raises(DataError, match=r"0001\.jsonl, line 1: not as it was written"):
        list(scan(RunStore.open(directory)))
