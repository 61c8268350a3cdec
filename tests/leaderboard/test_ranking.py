"""Who is marked, and who is not."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from board_bench import frame, frames
from scipy import stats

from agemem_eval.harness.leaderboard.board import AVERAGE, Block, make_board


def marks(block: Block) -> dict[tuple[str, str], str]:
    return {(block.lines[i].entry.memory, column): m for (i, column), m in block.marks.items()}


def outcomes(rate: float, n: int = 100, shift: int = 0) -> list[bool]:
    return [(i * 37 + shift) % n < rate * n for i in range(n)]


def test_first_and_second_are_marked_where_both_lead_significantly(tmp_path: Path) -> None:
    cells = {("e", "a"): outcomes(0.9), ("e", "b"): outcomes(0.6), ("e", "c"): outcomes(0.2)}
    (block,) = make_board([frames(tmp_path / "r", cells)]).blocks
    assert marks(block) == {("a", "e/success"): "best", ("b", "e/success"): "second"}
    # Every episode that differs is for the leader: 30, 70 and 40 of them.
    first, first_two = (stats.binomtest(0, n).pvalue for n in (30, 40))
    assert [v.closest.p for v in block.verdicts] == pytest.approx([first, first_two], rel=1e-9)
    assert [v.p_holm for v in block.verdicts] == pytest.approx(
        [max(first, 2 * first_two), 2 * first_two], rel=1e-9
    )


def by_hand(won: dict[str, np.ndarray], alpha: float = 0.05) -> dict[str, str]:
    """The marks of one column by scipy alone: McNemar's test of each pair, Holm step by step."""
    names = sorted(won, key=lambda name: -won[name].mean())

    def p(one: str, other: str) -> float:
        gained = int((won[one] & ~won[other]).sum())
        lost = int((won[other] & ~won[one]).sum())
        return stats.binomtest(lost, gained + lost).pvalue if gained > lost else 1.0

    def claim(n: int) -> float:
        return max(p(one, other) for one in names[:n] for other in names[n:])

    left = sorted([(claim(n), n) for n in (1, 2) if len(names) > n])
    held = set()
    while left and left[0][0] * len(left) <= alpha:
        held.add(left.pop(0)[1])
    if 1 in held:
        return {names[0]: "best"} | ({names[1]: "second"} if 2 in held else {})
    return dict.fromkeys(names[:2], "tied") if 2 in held else {}


def test_marks_are_those_of_scipys_binomial_test_and_holms_steps(tmp_path: Path) -> None:
    rng, seen = np.random.default_rng(3), set[str]()
    for n in range(60):
        rates = rng.choice([0.2, 0.4, 0.55, 0.7, 0.9], size=rng.integers(2, 5), replace=True)
        won = {name: rng.random(40) < rate for name, rate in zip("abcd", rates, strict=False)}
        if len({float(values.mean()) for values in won.values()}) < len(won):
            continue  # whom a tie puts first is nobody's claim
        cells = [frame(("e", name), values.tolist()) for name, values in won.items()]
        (block,) = make_board([cells]).blocks
        found = {memory: mark for (memory, _), mark in marks(block).items()}
        assert found == by_hand(won), n
        seen |= set(found.values())
    assert seen == {"best", "second", "tied"}


def test_every_mark_stands_on_a_claim_that_holm_leaves(tmp_path: Path) -> None:
    """Of many columns, at the level of one of them too little is certain."""
    envs = [f"e{i}" for i in range(8)]
    won = {"a": [True] * 9 + [False], "b": [True] * 2 + [False] * 8}  # p = 2 / 2**7
    (block,) = make_board([[frame((envs[0], name), w) for name, w in won.items()]]).blocks
    assert set(block.marks.values()) == {"best"}
    cells = [
        frame((env, name), w) for env in envs[1:] for name, w in (("a", [True]), ("b", [True]))
    ]
    cells += [frame((envs[0], name), w) for name, w in won.items()]
    (block,) = make_board([cells]).blocks
    assert block.marks == {}
    first = next(v for v in block.verdicts if v.column == "e0/success")
    assert first.p == pytest.approx(2 / 2**7)
    assert first.p_holm == pytest.approx(len(block.verdicts) * 2 / 2**7)


@pytest.mark.parametrize("memories", ["ab", "abcde"])
def test_a_run_against_itself_marks_nobody(memories: str) -> None:
    cells = [frame((env, name), outcomes(0.6)) for env in "ef" for name in memories]
    (block,) = make_board([cells]).blocks
    assert block.marks == {}
    assert {verdict.p_holm for verdict in block.verdicts} == {1.0}


def test_who_wins_everything_is_best_on_average_too() -> None:
    """Differences without any spread are the strongest evidence, not none."""
    cells = [frame((env, name), [name == "a"] * 20) for env in "ef" for name in "ab"]
    (block,) = make_board([cells]).blocks
    best = {("a", column): "best" for column in ("e/success", "f/success", AVERAGE)}
    assert marks(block) == best


def test_two_that_cannot_be_told_apart_are_tied_above_the_rest(tmp_path: Path) -> None:
    cells = {("e", "a"): outcomes(0.81), ("e", "b"): outcomes(0.8), ("e", "c"): outcomes(0.2)}
    (block,) = make_board([frames(tmp_path / "r", cells)]).blocks
    assert marks(block) == {("a", "e/success"): "tied", ("b", "e/success"): "tied"}


def test_nobody_is_marked_where_differences_may_be_chance(tmp_path: Path) -> None:
    cells = {("e", "a"): outcomes(0.5, 20), ("e", "b"): outcomes(0.4, 20, 3)}
    (block,) = make_board([frames(tmp_path / "r", cells)]).blocks
    assert block.marks == {}
    assert not block.verdicts[0].holds


def test_marks_of_equal_memories_are_rare() -> None:
    """In at most 5% of tables of equal memories anybody is marked, also as the best of five."""
    from agemem_eval.harness.leaderboard.ranking import Contest, judge
    from agemem_eval.harness.stats import paired

    rng, marked, tables = np.random.default_rng(0), 0, 120
    tasks = [str(i) for i in range(60)]
    for _ in range(tables):
        contests = []
        for column in "xy":
            values = (rng.random((5, 60)) < 0.5).astype(float)
            order = tuple(np.argsort(-values.mean(axis=1)).tolist())

            def compare(a: int, b: int, alpha: float, v: np.ndarray = values):  # type: ignore[no-untyped-def]
                return paired(v[a], v[b], tasks, alpha=alpha)

            contests.append(Contest(column, order, compare))
        marked += any(verdict.holds for verdict in judge(contests, 0.05))
    assert stats.binomtest(marked, tables, 0.05, alternative="greater").pvalue > 0.01


def test_a_cell_of_low_coverage_is_shown_and_never_ranked(tmp_path: Path) -> None:
    broken = [None] * 10
    cells = {
        ("e", "a"): [True] * 90 + broken,
        ("e", "b"): outcomes(0.5),
        ("e", "c"): outcomes(0.1),
    }
    (block,) = make_board([frames(tmp_path / "r", cells)]).blocks
    assert [line.entry.memory for line in block.lines] == ["b", "c", "a"]  # it leads nobody
    assert block.lines[2].scores["e/success"].coverage == pytest.approx(0.9)
    assert "a" not in {memory for memory, _ in marks(block)}
    assert marks(block) == {("b", "e/success"): "best"}
    (block,) = make_board([frames(tmp_path / "s", cells)], min_coverage=0.9).blocks
    assert marks(block)["a", "e/success"] == "best"


def test_the_average_is_the_mean_of_environments_with_its_standard_error(tmp_path: Path) -> None:
    cells = {
        ("e", "a"): outcomes(0.9), ("e", "b"): outcomes(0.3),
        ("f", "a"): outcomes(0.7, 50), ("f", "b"): outcomes(0.2, 50),
    }  # fmt: skip
    (block,) = make_board([frames(tmp_path / "r", cells)]).blocks
    average = block.lines[0].average
    assert average is not None
    assert average.value == pytest.approx(0.8)
    se = math.sqrt(0.9 * 0.1 / 100 + 0.7 * 0.3 / 50) / 2
    assert average.se == pytest.approx(se)
    assert marks(block)["a", AVERAGE] == "best"


def test_there_is_no_average_where_an_environment_is_missing(tmp_path: Path) -> None:
    cells = {("e", "a"): outcomes(0.9), ("f", "a"): outcomes(0.9), ("e", "b"): outcomes(0.1)}
    (block,) = make_board([frames(tmp_path / "r", cells)]).blocks
    assert [line.average is None for line in block.lines] == [False, True]


def test_an_average_of_low_coverage_stands_below_all_that_may_be_ranked() -> None:
    won = {"a": [True] * 5 + [None] * 5, "b": [True] * 4 + [False] * 6, "c": [False] * 10}
    cells = [frame((env, name), values) for env in "ef" for name, values in won.items()]
    cells.append(frame(("e", "d"), [True] * 10))
    (block,) = make_board([cells]).blocks
    assert [line.entry.memory for line in block.lines] == ["b", "c", "a", "d"]
    assert [line.average_ranked for line in block.lines] == [True, True, False, False]
    assert {m for (m, column) in marks(block) if column == AVERAGE} <= {"b"}


def test_runs_of_other_seeds_share_no_episode_so_that_nothing_is_marked(tmp_path: Path) -> None:
    one = frames(tmp_path / "r", {("e", "a"): outcomes(1.0)})
    other = frames(tmp_path / "s", {("e", "b"): outcomes(0.0)}, seed=1)
    (block,) = make_board([one, other]).blocks
    assert block.verdicts[0].closest.n_pairs == 0
    assert block.marks == {}
