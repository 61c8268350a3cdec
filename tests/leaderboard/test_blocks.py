"""Which runs stand in one table, what is pooled, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from board_bench import frames

from agemem_eval.harness.errors import UsageError
from agemem_eval.harness.leaderboard.board import make_board

WON = {("e", "a"): [True] * 10}


@pytest.mark.parametrize(
    ("base", "said"),
    [
        ({"split": "train"}, "split: test and train"),
        ({"data_hash": "x"}, "data_hash: h and x"),
        ({"protocol_hash": "q"}, "protocol: p-e and q"),
        ({"env_version": "2"}, "env_version: 1 and 2"),
    ],
)
def test_another_protocol_is_refused_and_says_why(
    tmp_path: Path, base: dict[str, str], said: str
) -> None:
    runs = [frames(tmp_path / "r", WON), frames(tmp_path / "s", WON, model="n", base=base)]
    with pytest.raises(UsageError, match=said) as error:
        make_board(runs)
    assert "r and s" in str(error.value)
    assert "--allow-mixed" in str(error.value)
    blocks = make_board(runs, allow_mixed=True).blocks
    assert [block.runs for block in blocks] == [["r"], ["s"]]


def test_as_many_tasks_that_are_not_the_same_are_another_protocol(tmp_path: Path) -> None:
    runs = [frames(tmp_path / "r", WON), frames(tmp_path / "s", WON, model="n", planned=11)]
    with pytest.raises(UsageError, match="n_tasks: 10 and 11"):
        make_board(runs)


def test_a_third_run_joins_the_table_that_it_fits(tmp_path: Path) -> None:
    runs = [
        frames(tmp_path / "r", WON),
        frames(tmp_path / "s", WON, base={"split": "train"}),
        frames(tmp_path / "t", {("e", "b"): [False] * 10}),
    ]
    blocks = make_board(runs, allow_mixed=True).blocks
    assert [block.runs for block in blocks] == [["r", "t"], ["s"]]


def test_a_cell_of_two_seeds_is_pooled_and_clustered_by_task(tmp_path: Path) -> None:
    runs = [
        frames(tmp_path / "r", WON),
        frames(tmp_path / "s", {("e", "a"): [False] * 10}, seed=1),
    ]
    (block,) = make_board(runs).blocks
    (line,) = block.lines
    score = line.scores["e/success"]
    assert (score.estimate.value, score.estimate.n, score.estimate.n_tasks) == (0.5, 20, 10)
    assert score.n_planned == 20
    assert line.entry.runs == ["r", "s"]


def test_the_same_episodes_in_two_runs_are_refused(tmp_path: Path) -> None:
    runs = [frames(tmp_path / "r", WON), frames(tmp_path / "s", WON)]
    with pytest.raises(UsageError, match="runs r and s hold the same episodes of e, a, openai:m"):
        make_board(runs)
    with pytest.raises(UsageError):
        make_board(runs, allow_mixed=True)


def test_other_settings_of_a_memory_are_a_row_of_their_own_told_by_the_run(tmp_path: Path) -> None:
    from agemem_eval.harness.leaderboard.grids import names_of

    other = {"memory_hash": "top_k=5"}
    runs = [frames(tmp_path / "r", WON), frames(tmp_path / "s", WON, base=other)]
    (block,) = make_board(runs).blocks
    assert names_of(block) == [("a (r)", "openai:m"), ("a (s)", "openai:m")]


JUDGED = ("quality.j", "success")


def judged(directory: Path, judge: str | None, model: str = "m", **quality: float):  # type: ignore[no-untyped-def]
    labels = {"embedder": "hashing"} | ({"judge": judge} if judge else {})
    fields = {"labels": labels, "quality": {"j": 0.5, "mq": 0.6} if judge else {}}
    cells = {("hotpotqa", "a"): [True] * 10}
    return frames(directory, cells, model=model, fields=fields, headline=JUDGED)


def test_j_ranks_where_all_cells_have_it_from_one_judge(tmp_path: Path) -> None:
    runs = [judged(tmp_path / "r", "g"), judged(tmp_path / "s", "g", "n")]
    (block,) = make_board(runs).blocks
    assert [column.name for column in block.columns] == ["hotpotqa J"]
    assert [(column.name, column.ranked) for column in block.quality] == [("hotpotqa MQ", True)]


@pytest.mark.parametrize(
    ("other", "said"),
    [(None, "not every cell has it"), ("k", "its scores are of the judges g and k")],
)
def test_scores_of_two_judges_are_never_ranked_together(
    tmp_path: Path, other: str | None, said: str
) -> None:
    runs = [judged(tmp_path / "r", "g"), judged(tmp_path / "s", other, "n")]
    (block,) = make_board(runs).blocks
    assert [column.name for column in block.columns] == ["hotpotqa EM"]
    assert f"hotpotqa shows EM, not J: {said}" in block.notes
    if other:
        assert [column.ranked for column in block.quality] == [False]
        assert not any(line.scores["hotpotqa/quality.mq"].ranked for line in block.lines)


def test_without_a_judge_success_stands_under_its_own_name(tmp_path: Path) -> None:
    (block,) = make_board([judged(tmp_path / "r", None)]).blocks
    assert [column.name for column in block.columns] == ["hotpotqa EM"]
    assert "hotpotqa shows EM, not J: no run has it" in block.notes
