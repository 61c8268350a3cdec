"""Files written whole or not at all; seeds, repeats and orders that are pooled or refused."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from board_bench import frame, write_run

from agemem_eval.harness.analysis import CellFrame
from agemem_eval.harness.cli import main
from agemem_eval.harness.errors import UsageError
from agemem_eval.harness.leaderboard.board import make_board


def run(runs: Path, *args: str, code: int = 0) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["report", *args, "--runs-dir", str(runs)])
    assert (ended.value.code or 0) == code


@pytest.mark.parametrize("refused", ["replace", "write", "fsync"])
def test_a_disk_that_refuses_leaves_the_old_report_and_nothing_half_written(
    refused: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_run(tmp_path / "r", {("e", "a"): [True, False]})
    out = tmp_path / "out" / "b.html"
    out.parent.mkdir()
    out.write_text("old")

    def fails(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, refused, fails)
    run(tmp_path, "r", "--out", str(out), code=2)
    monkeypatch.undo()
    assert [path.name for path in out.parent.iterdir()] == ["b.html"]
    assert out.read_text() == "old"
    error = capsys.readouterr().err
    assert "No space left" in error
    assert error.count("\n") == 1


def test_a_place_that_is_no_file_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "r", {("e", "a"): [True, False]})
    (tmp_path / "d.md").mkdir()
    (tmp_path / "f").write_text("x")
    for place in ("d.md", "f/b.md"):
        run(tmp_path, "r", "--out", str(tmp_path / place), code=2)
        assert capsys.readouterr().err.count("\n") == 1
    assert (tmp_path / "f").read_text() == "x"


def test_a_report_that_is_refused_writes_no_file(tmp_path: Path) -> None:
    write_run(tmp_path / "r", {("e", "a"): [True, False]})
    write_run(tmp_path / "s", {("e", "b"): [True, False]}, base={"split": "train"})
    out = tmp_path / "b.md"
    run(tmp_path, "r", "s", "--out", str(out), code=2)
    run(tmp_path, "r", "--reference", "other", "--out", str(out), code=2)
    assert not out.exists()
    run(tmp_path, "r", "s", "--allow-mixed", "--out", str(out))
    text = out.read_text()
    assert text.index("### Leaderboard of r") < text.index("### Leaderboard of s")
    assert "another protocol than the table before: not to be compared" in text


def test_a_run_that_is_not_finished_is_shown_with_what_it_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "r", {("e", "a"): [True] * 6, ("e", "b"): [False] * 6}, planned=10)
    run(tmp_path, "r", "--format", "json")
    (block,) = json.loads(capsys.readouterr().out)["leaderboard"]["blocks"]
    for row in block["rows"]:
        score = row["scores"]["e/success"]
        assert (score["coverage"], score["ranked"], score["mark"]) == (0.6, False, None)
        assert row["episodes"]["e"] == {"scored": 6, "planned": 10}
    assert block["tests"] == []
    run(tmp_path, "r", "--min-coverage", "0.6", "--format", "json")
    (block,) = json.loads(capsys.readouterr().out)["leaderboard"]["blocks"]
    assert [row["scores"]["e/success"]["mark"] for row in block["rows"]] == ["best", None]


def test_two_seeds_on_disk_make_one_row_clustered_by_task(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "r", {("e", "a"): [True, True, False, False]})
    write_run(tmp_path / "s", {("e", "a"): [True, False, False, False]}, seed=1)
    run(tmp_path, "r", "s", "--format", "json")
    (block,) = json.loads(capsys.readouterr().out)["leaderboard"]["blocks"]
    (row,) = block["rows"]
    score = row["scores"]["e/success"]
    assert (score["value"], score["n"], score["n_tasks"]) == (3 / 8, 8, 4)
    assert row["runs"] == ["r", "s"]


def of(run: str, *, seed: int = 0, repeats: int = 1, orders: tuple[int, ...] = ()) -> CellFrame:
    """A cell that planned these repeats and orders."""
    made = frame(("e", "a"), [True] * 4, run, seed=seed)
    return replace(made, cell=replace(made.cell, repeats=repeats, order_seeds=orders))


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        (of("r", repeats=3), of("s", repeats=2), "seed 0, repeat 0"),
        (of("r", orders=(0, 1)), of("s", orders=(1, 2)), "seed 0, repeat 0"),
        (of("r", repeats=3), of("s", seed=1, repeats=3), None),
        (of("r", orders=(0, 1)), of("s", orders=(2, 3)), None),
        (of("r"), of("s", orders=(0,)), None),  # the split's own order is another
    ],
)
def test_only_runs_without_a_shared_episode_are_pooled(
    one: CellFrame, other: CellFrame, shared: str | None
) -> None:
    if shared is None:
        (line,) = make_board([[one], [other]]).blocks[0].lines
        assert line.scores["e/success"].estimate.n == 8
        return
    with pytest.raises(UsageError, match=f"r and s hold the same episodes .*{shared}"):
        make_board([[one], [other]])
