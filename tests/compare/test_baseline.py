"""Pinned baselines: one small file, the same bytes for the same results, refused when damaged."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from compare_bench import ENVS, System, cell, frame, side, write_run

from agemem_eval.harness.analysis import load_frames
from agemem_eval.harness.compare.baseline import baseline_bytes, load_baseline
from agemem_eval.harness.compare.command import pin, pin_command
from agemem_eval.harness.compare.sides import open_side
from agemem_eval.harness.compare.verdict import Settings, compare_sides
from agemem_eval.harness.errors import DataError, UsageError
from agemem_eval.harness.records import stable_hash

ODD = [0.1, 1 / 3, math.nan, 2**60, -0.0]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two cells, its episodes committed in another order than planned."""
    of = cell(n_tasks=6, repeats=2), cell(memory="rag", n_tasks=6, repeats=2)
    scores = [{"success": i % 3 != 0, "steps": i, "wall_s": i * 1.5} for i in range(12)]
    return write_run(tmp_path_factory.mktemp("runs") / "main", [(c, scores) for c in of])


@pytest.fixture
def pinned(run: Path, tmp_path: Path) -> Path:
    return pin(run, tmp_path / "main.json")


def test_a_baseline_is_read_as_the_run_that_was_pinned(run, pinned):
    for one, other in zip(load_frames(run), load_baseline(pinned), strict=True):
        assert (other.keys, other.cell.base, other.protocol) == (one.keys, one.base, one.protocol)
        assert (other.statuses, other.task_types) == (one.statuses, one.task_types)
        assert (other.labels, other.orders, other.coverage) == (one.labels, one.orders, 1.0)
        assert other.headline == one.headline
        assert other.columns.keys() == one.columns.keys() - {"wall_s"}
        for name, column in other.columns.items():
            assert np.array_equal(column, one.columns[name]), name


def test_numbers_come_back_to_the_last_bit(tmp_path):
    path = tmp_path / "b.json"
    odd = frame(cell(n_tasks=5), {"metrics.x": ODD, "success": 1, "metrics.none": math.nan})
    path.write_bytes(baseline_bytes([odd]))
    (back,) = load_baseline(path)
    assert np.array_equal(back.columns["metrics.x"], np.array(ODD), equal_nan=True)
    assert "metrics.none" not in back.columns


def test_streams_in_several_orders_come_back_as_they_were(tmp_path):
    of = replace(cell(n_tasks=6, repeats=2), order_seeds=(3, 1), lifelong=True)
    one = frame(of, {"success": np.arange(24) % 2, "steps": np.arange(24)})
    path = tmp_path / "b.json"
    path.write_bytes(baseline_bytes([one]))
    (back,) = load_baseline(path)
    assert (back.keys, back.cell.order_seeds, back.cell.lifelong) == (one.keys, (3, 1), True)
    assert back.columns["steps"].tolist() == list(range(24))
    (told,) = compare_sides(
        side("b", back), side("n", one), Settings(metrics=("steps",))
    ).deciding()
    assert (told[1].verdict, told[1].comparison.n_tasks, told[1].comparison.n_pairs) == (
        "identical", 6, 24
    )  # fmt: skip


def test_environments_whose_tasks_have_the_same_ids_keep_their_own_order_and_types(tmp_path):
    one, other = cell("a", n_tasks=4), cell("b", n_tasks=4)
    turned = tuple(replace(task, type="odd") for task in reversed(other.tasks))
    frames = [frame(of, {"steps": range(4)}) for of in (one, replace(other, tasks=turned))]
    frames[1].task_types = ["odd"] * 4
    path = tmp_path / "b.json"
    path.write_bytes(baseline_bytes(frames))
    for was, back in zip(frames, load_baseline(path), strict=True):
        assert (back.keys, back.task_types) == (was.keys, was.task_types)


def test_a_run_compared_with_its_own_baseline_is_identical(run, pinned):
    base, new = open_side(str(pinned), run.parent, run), open_side("main", run.parent, run)
    outcome = compare_sides(base, new, Settings())
    assert outcome.code == 0
    assert {finding.verdict for _, finding in outcome.deciding()} == {"identical"}


def test_the_same_scores_give_the_same_bytes_in_whatever_order_they_were_played(tmp_path):
    def commit(order: list[int], seconds: float) -> bytes:
        of = cell(n_tasks=6)
        fields = [{"success": i % 2 == 0, "steps": i, "wall_s": seconds} for i in range(6)]
        directory = tmp_path / str(seconds) / "same"
        write_run(directory, [(of, fields)], order=order)
        return baseline_bytes(load_frames(directory))

    assert commit([0, 1, 2, 3, 4, 5], 1.0) == commit([5, 3, 4, 0, 2, 1], 2.5)


def test_a_score_that_moved_is_a_line_of_the_diff_beside_the_hash(tmp_path):
    of, scores = cell(n_tasks=6), np.arange(6) % 2
    one, other = (
        baseline_bytes([frame(of, {"success": s, "steps": 4})]).decode().splitlines()
        for s in (scores, 1 - scores)
    )
    changed = [a.split(":")[0].strip() for a, b in zip(one, other, strict=True) if a != b]
    assert changed == ['"hash"', '"success"']


def test_a_baseline_takes_a_few_bytes_a_score():
    frames = System(np.random.default_rng(0), 200).run("a").frames
    scores = sum(len(f.keys) * len(f.columns) for f in frames)
    assert len(baseline_bytes(frames)) / scores < 10
    assert len(frames) == len(ENVS)


def test_an_unfinished_run_is_pinned_only_on_demand(tmp_path):
    of = cell(n_tasks=4)
    broken = {"status": "infra_error", "reason": "down", "fault": "endpoint"}
    run = write_run(tmp_path / "part", [(of, [{}, broken, {}])])
    with pytest.raises(UsageError, match=r"2 of 4 episodes have no score.*--allow-partial"):
        pin(run, tmp_path / "b.json")
    (back,) = load_baseline(pin(run, tmp_path / "b.json", allow_partial=True))
    assert (back.n_planned, back.n_scored) == (4, 2)
    assert [key.task for key in back.keys] == ["t000", "t002"]
    (whole,) = load_frames(run)
    assert compare_sides(side("b", back), side("n", whole), Settings()).code == 0


def test_a_baseline_is_replaced_only_on_demand(run, pinned):
    with pytest.raises(UsageError, match="--force"):
        pin(run, pinned)
    pin(run, pinned, force=True)


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "a\nb"])
def test_a_name_that_is_no_name_is_refused(run, tmp_path, name):
    with pytest.raises(UsageError, match="cannot name"):
        pin_command(str(run), tmp_path, name=name, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def _changed(path: Path, change: object) -> None:
    """Change a baseline and seal it again: what stays wrong is its content."""
    whole = json.loads(path.read_text())
    change(whole)
    whole["hash"] = stable_hash({k: whole.get(k) for k in ("task_sets", "cells")}, 32)
    path.write_text(json.dumps(whole))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda w: w.update(schema=2), "upgrade agemem-eval"),
        (lambda w: w.update(version=2), "upgrade agemem-eval"),
        (lambda w: w.update(version=0), "pin the run again"),
        (lambda w: w.update(schema="new"), "pin the run again"),
        (lambda w: w.update(format="other"), "is not a baseline"),
        (lambda w: w.pop("format"), "is not a baseline"),
        (lambda w: w["cells"][0].pop("protocol"), "is damaged"),
        (lambda w: w["cells"][0].update(statuses="cc"), "is damaged"),
        (lambda w: w["cells"][0].update(statuses="x" * 12), "is damaged"),
        (lambda w: w["cells"][0]["columns"].update(steps=[1, 2]), "is damaged"),
        (lambda w: w["cells"][0]["columns"].update(steps="a"), "is damaged"),
        (lambda w: w["cells"][0]["columns"].update(steps={"a": 1}), "is damaged"),
        (lambda w: w["cells"][0].update(labels=3), "is damaged"),
        (lambda w: w.update(task_sets={}), "is damaged"),
        (lambda w: w.update(cells=7), "is damaged"),
        (lambda w: w.update(cells=[]), "is damaged"),
        (lambda w: w["cells"].append(None), "is damaged"),
    ],
)
def test_a_foreign_newer_or_damaged_baseline_is_one_clear_line(pinned, change, says):
    _changed(pinned, change)
    with pytest.raises(DataError, match=says) as raised:
        load_baseline(pinned)
    assert "\n" not in str(raised.value)
    assert str(pinned) in str(raised.value)


def test_a_score_changed_by_hand_is_refused(pinned):
    pinned.write_text(pinned.read_text().replace('"steps": [0,1', '"steps": [0,2'))
    with pytest.raises(DataError, match="not what was pinned"):
        load_baseline(pinned)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b"<<<<<<< main"]
)
def test_what_is_no_baseline_at_all_is_one_clear_line(tmp_path, content):
    path = tmp_path / "b.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"b\.json"):
        load_baseline(path)


def test_a_name_is_looked_for_among_runs_and_baselines_and_must_be_of_one(run, tmp_path):
    baselines = tmp_path / "baselines"
    pin(run, baselines / "main.json")
    with pytest.raises(UsageError, match="names a run and a baseline"):
        open_side("main", run.parent, baselines)
    assert open_side("main", tmp_path, baselines).pinned
    assert open_side(str(baselines / "main.json"), run.parent, baselines).pinned
    assert not open_side(str(run), tmp_path, baselines).pinned
    with pytest.raises(UsageError, match="unknown run or baseline 'mian'; did you mean 'main'"):
        open_side("mian", tmp_path, baselines)
