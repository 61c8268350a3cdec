"""The command: what it refuses, where it writes, what it bills."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from board_bench import frames, write_run

from agemem_eval.harness.cli import main
from agemem_eval.harness.errors import AgememError
from agemem_eval.harness.leaderboard.board import make_board
from agemem_eval.harness.leaderboard.grids import grids_of
from agemem_eval.harness.leaderboard.prices import read_prices
from agemem_eval.harness.ledger import RoleUsage

CELLS = {("e", "a"): [True, False]}
TOKENS = {
    "agent": RoleUsage(1, 1_000_000, 100_000),
    "memory_write": RoleUsage(1, 500_000, 0),
    "embedding": RoleUsage(1, 1000, 0),
    "judge": RoleUsage(1, 2_000_000, 0),
}
LABELS = {"memory_model": "w", "judge": "g", "embedder": "minilm"}


def run(runs: Path, *args: str, code: int = 0) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["report", *args, "--runs-dir", str(runs)])
    assert (ended.value.code or 0) == code


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda d: None, "is empty, so it is not a run"),
        (lambda d: (d / "x.txt").write_text("x"), "holds no config.json, so it is not a run"),
        (
            lambda d: (d / "config.json").write_text(
                '{"schema": 99, "version": "9", "config": {}}'
            ),
            "upgrade agemem-eval",
        ),
        (lambda d: (d / "config.json").write_text("{"), "cannot read"),
    ],
)
def test_what_is_no_run_is_refused_in_one_line(make, said, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "bad").mkdir()
    make(tmp_path / "bad")
    run(tmp_path, "bad", code=2)
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_broken_record_is_named_by_file_and_line(tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    write_run(tmp_path / "r", {("e", "a"): [True] * 3})
    path = tmp_path / "r" / "episodes" / "0001.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"steps":5', b'"steps":6', 1))
    run(tmp_path, "r", code=2)
    assert "0001.jsonl, line 1: not as it was written" in capsys.readouterr().err


def test_a_run_without_an_episode_is_shown_as_owed(tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    write_run(tmp_path / "r", {("e", "a"): []}, planned=5)
    run(tmp_path, "r")
    assert "– (0/5)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("r", "r"), "named twice"),
        (("r", "--format", "htm"), "did you mean 'html'"),
        (("r", "--out", "x.foo"), "add --format"),
        (("r", "--reference", "papr"), "did you mean 'paper'"),
        (("r", "--alpha", "1"), "--alpha 1 is no share"),
        (("r", "--min-coverage", "2"), "--min-coverage 2 is no share"),
        (("q",), "unknown run 'q'"),
    ],
)
def test_mistakes_are_told_in_one_line(args, said, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    write_run(tmp_path / "r", CELLS)
    run(tmp_path, *args, code=2)
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("name", ["b.md", "b.csv", "b.tex", "b.html", "b.json", "b.txt"])
def test_the_suffix_tells_the_format_where_none_is_given(name: str, tmp_path: Path) -> None:
    write_run(tmp_path / "r", CELLS)
    run(tmp_path, "r", "--out", str(tmp_path / "new" / name))
    begins = {"b.md": "### L", "b.csv": "table,", "b.tex": "% needs", "b.html": "<!doctype",
              "b.json": '{"leaderboard"', "b.txt": "\nLeaderboard"}  # fmt: skip
    assert (tmp_path / "new" / name).read_text().startswith(begins[name])
    run(tmp_path, "r", "--format", "csv", "--out", str(tmp_path / "x.html"))
    assert (tmp_path / "x.html").read_text().startswith("table,")


def test_the_same_runs_give_the_same_bytes(tmp_path: Path) -> None:
    write_run(tmp_path / "r", {("e", "a"): [True] * 20, ("e", "b"): [False] * 20})
    for name in ("one.html", "two.html"):
        run(tmp_path, "r", "--out", str(tmp_path / name))
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()


def priced(tmp_path: Path, text: str):  # type: ignore[no-untyped-def]
    (tmp_path / "p.yaml").write_text(text)
    prices = read_prices(tmp_path / "p.yaml")
    made = frames(tmp_path / "r", CELLS, fields={"tokens": TOKENS, "labels": LABELS})
    return make_board([made], prices=prices)


ALL = "openai:m: {prompt: 2, completion: 10}\nw: {prompt: 1}\ng: {prompt: 5}\nminilm: {prompt: 0}\n"


def test_each_role_is_billed_by_the_model_that_served_it(tmp_path: Path) -> None:
    cost = priced(tmp_path, ALL).blocks[0].lines[0].cost
    assert cost.roles == {"agent": 3.0, "memory_write": 0.5, "judge": 10.0, "embedding": 0.0}
    assert cost.total == 3.5  # without the judge
    assert cost.spent == 27.0  # of two episodes, with it
    assert cost.unpriced == ()


def test_a_missing_price_is_a_dash_and_never_zero(tmp_path: Path) -> None:
    board = priced(tmp_path, ALL.replace("minilm: {prompt: 0}\n", ""))
    cost = board.blocks[0].lines[0].cost
    assert cost.roles["embedding"] is None
    assert cost.total is None
    grid = next(g for g in grids_of(board, None) if g.title.startswith("Cost"))
    assert grid.rows[0][2:] == ("3.000", "0.5000", "10.00", "–", "–", "–")
    assert "–: no price for prompt tokens of minilm" in grid.notes


@pytest.mark.parametrize(
    "text",
    ["", "[1]", "m: 3", "m: {prompt: -1}", "m: {prompt: .inf}", "m: {promt: 1}", "m: {prompt: x}",
     "m: {prompt: true}", "a: [", "m: {}"],
)  # fmt: skip
def test_prices_that_are_none_are_refused_in_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(AgememError) as error:
        read_prices(tmp_path / "p.yaml")
    assert "\n" not in str(error.value)


def test_a_missing_file_of_prices_is_told(tmp_path: Path) -> None:
    with pytest.raises(AgememError, match="cannot read the prices"):
        read_prices(tmp_path / "nothing.yaml")


def test_the_paper_has_no_row_where_its_metric_is_another(tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    write_run(tmp_path / "r", {("hotpotqa", "a"): [True, False]}, headline=("quality.j", "success"))
    run(tmp_path, "r", "--reference", "paper", "--format", "json")
    found = json.loads(capsys.readouterr().out)["leaderboard"]["reference"]["lines"][0]
    assert not any(line["scores"] for line in found)
