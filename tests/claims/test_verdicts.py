"""Verdicts on made-up episodes whose answer is computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from claims_data import cell
from scipy import stats

from agemem_eval.harness.claims.verdicts import CHECK, cell_estimate, judge

SOLVED = [1.0] * 9 + [0.0] * 3  # of 12


def only(experiment, data):
    (one,) = judge(experiment(), data)
    return one


def test_a_difference_whose_interval_is_above_0_confirms(experiment) -> None:
    """8 of 12 tasks gained: 2/3, by hand: s = sqrt(12/11 · 2/3 · 1/3), se = s / sqrt(12)."""
    new, base = [1.0] * 8 + [0.0] * 4, [0.0] * 12
    one = only(experiment, cell("one", "rl", new) | cell("one", "norl", base))
    (part,) = one.parts
    assert one.verdict == part.verdict == "confirmed"
    assert part.difference.value == pytest.approx(2 / 3)
    se = math.sqrt(12 / 11 * 2 / 9 / 12)
    assert part.difference.se == pytest.approx(se, rel=0.05)
    assert part.difference.low == pytest.approx(2 / 3 - stats.t.ppf(0.975, 11) * se, abs=0.02)
    assert (part.new, part.base) == pytest.approx((2 / 3, 0))
    assert one.holds


def test_a_difference_in_the_other_direction_refutes(experiment, definition) -> None:
    data = cell("one", "rl", [0.0] * 12) | cell("one", "norl", SOLVED)
    assert only(experiment, data).verdict == "refuted"
    definition["claims"]["a"]["parts"][0]["direction"] = "down"
    assert only(experiment, data).verdict == "confirmed"


def test_an_interval_that_holds_0_is_undecided(experiment) -> None:
    new, base = [1, 0] * 6, [0, 1] * 5 + [1, 0]  # one more of twelve
    one = only(experiment, cell("one", "rl", new) | cell("one", "norl", base))
    assert (one.verdict, one.why) == ("undecided", "a1: the interval holds 0")
    assert one.parts[0].difference.value == pytest.approx(0)
    assert one.holds is None


def test_what_was_not_measured_is_undecided_and_says_which_cell(experiment, definition) -> None:
    definition["models"]["trained"]["specs"] = ["scripted:a", "scripted:b"]
    data = cell("one", "rl", SOLVED) | cell("one", "norl", [0.0] * 12)
    one = only(experiment, data)
    assert (one.verdict, one.why) == ("undecided", "a1: not measured: one/rl/1")
    assert one.parts[0].difference is None
    none = only(experiment, {})
    assert none.why == "a1: not measured: one/rl/0 and 2 more cells"


def test_a_cell_of_which_too_little_is_scored_is_not_measured(experiment) -> None:
    data = cell("one", "rl", SOLVED, planned=13) | cell("one", "norl", [0.0] * 12)
    assert only(experiment, data).why == "a1: one/rl/0: 12 of 13 episodes scored"


def test_a_score_that_no_episode_has_is_not_measured(experiment, definition) -> None:
    definition["claims"]["a"]["parts"][0]["measure"] = "quality.mq"
    data = cell("one", "rl", SOLVED) | cell("one", "norl", SOLVED)
    assert only(experiment, data).why == "a1: not measured: quality.mq of one"


def test_experts_and_few_tasks_decide_nothing_however_large_the_difference(experiment) -> None:
    new, base = cell("one", "rl", [1.0] * 12, oracle=True), cell("one", "norl", [0.0] * 12)
    one = only(experiment, new | base)
    assert (one.verdict, one.why) == ("undecided", f"a1: {CHECK}")
    assert one.parts[0].difference.value == 1
    few = only(experiment, cell("one", "rl", [1.0] * 5) | cell("one", "norl", [0.0] * 5))
    assert (few.verdict, few.why) == ("undecided", "a1: too few tasks: 5")
    six = only(experiment, cell("one", "rl", [1.0] * 6) | cell("one", "norl", [0.0] * 6))
    assert six.verdict == "confirmed"


def test_cells_of_other_protocols_and_seeds_of_the_same_weights_are_not_compared(
    experiment, definition
) -> None:
    new, base = cell("one", "rl", SOLVED), cell("one", "norl", [0.0] * 12, protocol_hash="other")
    assert only(experiment, new | base).why == "a1: one was played under different protocols"
    definition["models"]["trained"]["specs"] = ["scripted:a", "scripted:b"]
    twice = cell("one", "rl", SOLVED, 0, model_hash="w") | cell(
        "one", "rl", SOLVED, 1, model_hash="w"
    )
    base = cell("one", "norl", [0.0] * 12)
    assert (
        only(experiment, twice | base).why == "a1: one/rl/0 and one/rl/1 are of the same checkpoint"
    )


def test_versions_of_an_environment_or_a_memory_are_not_compared(experiment, definition) -> None:
    base = cell("one", "norl", [0.0] * 12)
    new = cell("one", "rl", SOLVED, env_version="2")
    assert only(experiment, new | base).why == "a1: one was played under different protocols"
    definition["models"]["trained"]["specs"] = ["scripted:a", "scripted:b"]
    seeds = [cell("one", "rl", SOLVED, seed, memory_hash=f"m{seed}") for seed in (0, 1)]
    why = only(experiment, seeds[0] | seeds[1] | base).why
    assert why == "a1: one was played by different versions of rl"


def test_a_checkpoint_that_was_replaced_between_cells_decides_nothing(
    experiment, definition
) -> None:
    """Also where the claim is about cells of one of its states alone."""
    data = cell("one", "rl", SOLVED) | cell("one", "norl", [0.0] * 12)
    assert only(experiment, data).verdict == "confirmed"
    data |= cell("two", "rl", SOLVED, model_hash="replaced")
    one = only(experiment, data)
    assert (one.verdict, one.why) == ("undecided", "a1: rl:0 is another checkpoint in other cells")
    # Restricted it is another model, by its name too.
    data |= cell("two", "rl", SOLVED, model_hash="replaced", named="rl (restricted)")
    assert only(experiment, data).verdict == "confirmed"


def test_too_few_pairs_decide_nothing_however_much_of_each_cell_is_scored(
    experiment, definition
) -> None:
    """Each cell lacks one task of twenty, and the three of them others: 17 are left."""
    definition["tasks"]["one"]["episodes"] = 20
    definition["claims"]["a"]["parts"][0]["base"] = ["norl", "none"]
    cells = []
    for at, (player, value) in enumerate((("rl", 1.0), ("norl", 0.0), ("none", 0.0))):
        values = [value] * 20
        values[at] = math.nan
        cells.append(cell("one", player, values))
    one = only(experiment, cells[0] | cells[1] | cells[2])
    assert one.why == "a1: score of one: 17 of 20 tasks have a value of all compared"
    definition["claims"]["a"]["parts"][0]["base"] = ["none"]
    definition["tasks"]["one"]["episodes"] = 18
    assert only(experiment, cells[0] | cells[2]).verdict == "confirmed"


def test_pairs_are_the_tasks_that_both_have_a_value_for(experiment) -> None:
    new, base = [math.nan, *SOLVED], [1.0, math.nan, *[0.0] * 11]
    one = only(experiment, cell("one", "rl", new) | cell("one", "norl", base))
    (part,) = one.parts
    assert part.difference.n_tasks == 11
    assert part.difference.value == pytest.approx(8 / 11)


def test_seeds_that_differ_much_leave_undecided_what_their_mean_alone_would_confirm(
    experiment, definition
) -> None:
    """Means 0.9, 0.1 and 0.2 against 0: t of 2 degrees of freedom is 4.3, se of seeds 0.25."""
    definition["models"]["trained"]["specs"] = ["scripted:a", "scripted:b", "scripted:c"]
    n, data = 60, cell("one", "norl", [0.0] * 60)
    for seed, share in enumerate((0.9, 0.1, 0.2)):
        data |= cell("one", "rl", [1.0] * round(n * share) + [0.0] * round(n * (1 - share)), seed)
    one = only(experiment, data)
    assert one.verdict == "undecided"
    difference = one.parts[0].difference
    assert difference.value == pytest.approx(0.4)
    assert difference.low < 0 < difference.value
    assert one.parts[0].by_seed == {"rl": pytest.approx((0.9, 0.1, 0.2))}
    for seed, share in enumerate((0.42, 0.4, 0.38)):
        data |= cell("one", "rl", [1.0] * round(n * share) + [0.0] * round(n * (1 - share)), seed)
    assert only(experiment, data).verdict == "confirmed"


def test_several_bases_count_by_their_mean_and_several_tasks_weigh_the_same(
    experiment, definition
) -> None:
    part = definition["claims"]["a"]["parts"][0]
    part |= {"base": ["norl", "none"], "over": ["one", "two"]}
    data = (
        cell("one", "rl", [1.0] * 10) | cell("one", "norl", [0.0] * 10)
        | cell("one", "none", [1.0] * 5 + [0.0] * 5)
        | cell("two", "rl", [0.5] * 20, column="progress")
        | cell("two", "norl", [0.25] * 20, column="progress")
        | cell("two", "none", [0.35] * 20, column="progress")
    )  # fmt: skip
    (found,) = only(experiment, data).parts
    one, two = 1 - (0 + 0.5) / 2, 0.5 - (0.25 + 0.35) / 2
    assert found.difference.value == pytest.approx((one + two) / 2)
    assert found.new == pytest.approx(0.75)
    assert found.base == pytest.approx((0.25 + 0.3) / 2)
    by_task = {task: estimate.value for task, estimate in found.by_task.items()}
    assert by_task == pytest.approx({"one": one, "two": two})


@pytest.mark.parametrize(
    ("second", "verdict"),
    [(SOLVED, "confirmed"), ([0.0] * 12, "undecided"), ([-1.0] * 9 + [0.0] * 3, "refuted")],
)
def test_a_claim_is_confirmed_by_all_its_parts_and_refuted_by_one(
    experiment, definition, second: list[float], verdict: str
) -> None:
    part = {"says": "more", "new": "rl", "base": ["norl"], "over": ["two"]}
    definition["claims"]["a"]["parts"].append(part)
    data = (
        cell("one", "rl", SOLVED) | cell("one", "norl", [0.0] * 12)
        | cell("two", "rl", second, column="progress")
        | cell("two", "norl", [0.0] * 12, column="progress")
    )  # fmt: skip
    one = only(experiment, data)
    assert one.verdict == verdict
    assert one.parts[0].verdict == "confirmed"


def test_holms_correction_counts_the_parts_of_all_claims_and_changes_no_verdict(
    experiment, definition
) -> None:
    rng = np.random.default_rng(2)
    base = rng.normal(size=40)
    data = cell("one", "norl", base)
    # A difference of 2.2 standard errors: p = 0.03 alone, 0.09 of three.
    noise = rng.normal(size=40)
    noise = (noise - noise.mean()) / noise.std(ddof=1) * math.sqrt(40) / 2.2
    data |= cell("one", "rl", base + 1 + noise) | cell("one", "none", base + noise)
    claims = definition["claims"]
    for name, new in (("b", "none"), ("c", "none")):
        part = {"says": "x", "new": new, "base": ["norl"], "over": ["one"]}
        claims[name] = {"says": name, "parts": [part]}
    a, b, _ = judge(experiment(), data)
    assert a.verdict == "confirmed"
    assert a.parts[0].p == pytest.approx(2 * stats.t.sf(2.2, 39), rel=0.2)
    assert a.parts[0].p_holm == pytest.approx(3 * a.parts[0].p)
    assert a.holds is False
    assert b.verdict == "undecided"


def test_what_stands_beside_a_claim_changes_neither_it_nor_the_correction(
    experiment, definition
) -> None:
    claim = definition["claims"]["a"]
    claim["beside"] = [{"says": "x", "new": "norl", "base": ["rl"], "over": ["one"]}]
    one = only(experiment, cell("one", "rl", SOLVED) | cell("one", "norl", [0.0] * 12))
    assert one.verdict == "confirmed"
    (beside,) = one.beside
    assert beside.id == "a+1"
    assert beside.sign == "below 0"
    claim["beside"][0]["direction"] = "down"
    (down,) = only(experiment, cell("one", "rl", SOLVED) | cell("one", "norl", [0.0] * 12)).beside
    assert (down.verdict, down.sign) == ("confirmed", "below 0")
    assert one.parts[0].p_holm == one.parts[0].p
    assert math.isnan(beside.p_holm)


def test_the_paper_is_told_beside_and_computed_from_its_table(experiment, definition) -> None:
    part = definition["claims"]["a"]["parts"][0]
    part["paper"] = {
        "table": "table2", "new": ["AgeMem/Avg"], "base": ["LangMem/Avg", "A-Mem/Avg"],
        "scale": 0.01,
    }  # fmt: skip
    (found,) = only(experiment, {}).parts
    assert found.paper == pytest.approx({
        "Qwen2.5-7B": (41.96 - (34.23 + 36.78) / 2) / 100,
        "Qwen3-4B": (54.31 - (43.25 + 45.74) / 2) / 100,
    })  # fmt: skip


def test_a_cells_estimate_is_that_of_all_tables_and_of_seeds_no_narrower(
    experiment, definition
) -> None:
    from agemem_eval.harness.stats import rate

    data = cell("one", "rl", SOLVED)
    assert cell_estimate(experiment(), data, "rl", ["one"], "score") == rate(SOLVED)
    assert cell_estimate(experiment(), data, "norl", ["one"], "score") is None
    definition["models"]["trained"]["specs"] = ["scripted:a", "scripted:b"]
    assert cell_estimate(experiment(), data, "rl", ["one"], "score") is None
    data |= cell("one", "rl", [1.0] * 12, 1)
    found = cell_estimate(experiment(), data, "rl", ["one"], "score")
    assert found.value == pytest.approx(21 / 24)
    assert found.low < 0.75, "two seeds 25 points apart tell little of a third"
