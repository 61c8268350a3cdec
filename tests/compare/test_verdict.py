"""What decides, and what a comparison comes to."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from compare_bench import System, cell, frame, side
from scipy.stats import binomtest

from agemem_eval.harness.compare.columns import metric_of, rules_of
from agemem_eval.harness.compare.render import conclusion, remarks
from agemem_eval.harness.compare.verdict import Outcome, Settings, compare_sides
from agemem_eval.harness.errors import UsageError

N = 40
GOOD = np.ones(N)
HALF = np.arange(N) % 2


def compared(base: dict, new: dict, *, of: object = None, **settings: object) -> Outcome:
    the_cell = of or cell(n_tasks=N)
    return compare_sides(
        side("base", frame(the_cell, base)), side("new", frame(the_cell, new)), Settings(**settings)
    )


def the(outcome: Outcome, column: str) -> object:
    return next(f for f in outcome.cells[0].findings if f.metric.column == column)


def test_a_significant_drop_of_the_headline_is_a_regression_and_the_other_way_an_improvement():
    worse = compared({"success": GOOD}, {"success": HALF})
    assert (worse.code, worse.regressed, the(worse, "success").verdict) == (1, True, "regression")
    better = compared({"success": HALF}, {"success": GOOD})
    assert (better.code, the(better, "success").verdict) == (0, "improvement")


def test_the_p_value_is_that_of_the_exact_test_of_discordant_pairs():
    lost = np.array([1.0] * N)
    lost[:7] = 0
    told = the(compared({"success": GOOD}, {"success": lost}), "success").comparison
    assert told.p == pytest.approx(binomtest(0, 7).pvalue)
    assert told.change == pytest.approx(-7 / N)


def test_a_significant_drop_that_is_no_more_than_max_drop_passes():
    lost = np.where(np.arange(N) < 8, 0, 1)  # a fifth of them
    assert compared({"success": GOOD}, {"success": lost}, max_drop=0.1).code == 1
    allowed = compared({"success": GOOD}, {"success": lost}, max_drop=0.25)
    assert (allowed.code, the(allowed, "success").verdict) == (0, "within max-drop")


def test_a_drop_that_may_be_chance_passes_whatever_its_size():
    lost = np.where(np.arange(N) < 3, 0, 1)
    assert compared({"success": GOOD}, {"success": lost}).code == 0


def test_only_the_headline_decides_unless_columns_are_named():
    base, new = {"success": GOOD, "tokens.agent.prompt": 100}, {"success": GOOD}
    new["tokens.agent.prompt"] = 150 + np.arange(N)
    assert compared(base, new).code == 0
    outcome = compared(base, new, metrics=("tokens.agent.prompt",))
    assert outcome.code == 1
    assert the(outcome, "success").verdict == "informational"


@pytest.mark.parametrize(
    ("column", "base", "new"),
    [
        ("steps", 10, 20),
        ("invalid_actions", 0, 1),
        ("tokens.memory_write.prompt", 100, 110),
        ("tool_failed.Add_memory", 0, 2),
        ("quality.stale", 0.1, 0.5),
        ("quality.unsupported", 0, 0.3),
        ("quality.mq", 0.8, 0.5),
        ("metrics.f1", 0.8, 0.5),
        ("progress", 1, 0.5),
    ],
)
def test_the_bad_direction_of_a_column_is_a_regression_and_the_other_is_none(column, base, new):
    noise = np.linspace(0, 0.01, N)
    forth = compared({column: base}, {column: new + noise}, metrics=(column,))
    back = compared({column: new + noise}, {column: base}, metrics=(column,))
    assert (forth.code, back.code) == (1, 0)


def test_a_drop_of_what_is_counted_is_a_share_of_base_and_of_a_score_its_points():
    tokens = metric_of("tokens.agent.prompt")
    assert tokens.drop(50, 1000) == pytest.approx(0.05)
    assert metric_of("success").drop(-0.05, 0.5) == pytest.approx(0.05)
    assert tokens.drop(1, 0) == math.inf
    assert tokens.drop(0, 0) == 0
    noise = np.linspace(0, 1, N)
    base, new = {"tokens.agent.prompt": 1000 + noise}, {"tokens.agent.prompt": 1080 + noise[::-1]}
    assert compared(base, new, metrics=("tokens.agent.prompt=10%",)).code == 0
    assert compared(base, new, metrics=("tokens.agent.prompt=0.1",)).code == 0
    assert compared(base, new, metrics=("tokens.agent.prompt=5%",)).code == 1


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("sucess",), "did you mean 'success'"),
        (("success=5%",), "drops by points"),
        (("success=much",), "a number from 0"),
        (("success=-1",), "a number from 0"),
        (("success=nan",), "a number from 0"),
        (("success", "success=1"), "twice"),
        (("tool_calls.Add_memory",), "cannot decide"),
    ],
)
def test_what_metric_cannot_mean_is_refused_in_one_line(given, says):
    with pytest.raises(UsageError, match=says) as raised:
        rules_of(given, 0.0, ["success", "tool_calls.Add_memory"])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("alpha", [0, 1, -1, math.nan])
def test_a_level_is_between_0_and_1(alpha):
    with pytest.raises(UsageError, match="--alpha"):
        compared({"success": 1}, {"success": 1}, alpha=alpha)


def test_holm_is_over_all_that_decides_in_all_cells():
    """A p that alone would be significant is not among five."""
    lost = np.where(np.arange(N) < 6, 0, 1)  # p = 2 / 2^6 = 0.031
    envs = [cell(f"e{i}", n_tasks=N) for i in range(5)]
    base = side("base", *(frame(e, {"success": GOOD}) for e in envs))
    new = side("new", *(frame(e, {"success": lost if e is envs[0] else GOOD}) for e in envs))
    outcome = compare_sides(base, new, Settings())
    told = outcome.cells[0].findings[0].comparison
    assert told.p == pytest.approx(2 / 2**6)
    assert told.p_holm == pytest.approx(5 * told.p)
    assert outcome.code == 0
    assert compared({"success": GOOD}, {"success": lost}).code == 1


def test_the_mde_of_one_among_many_tests_is_larger_than_of_one_alone():
    envs = [cell(f"e{i}", n_tasks=N) for i in range(5)]
    many = compare_sides(
        side("base", *(frame(e, {"success": HALF}) for e in envs)),
        side("new", *(frame(e, {"success": GOOD}) for e in envs)),
        Settings(),
    )
    alone = compared({"success": HALF}, {"success": GOOD})
    assert many.cells[0].findings[0].least_drop > the(alone, "success").least_drop


def test_a_drop_too_small_to_be_seen_is_said_and_fails_only_on_demand():
    lost = np.where(np.arange(N) < 3, 0, 1)
    told = compared({"success": GOOD}, {"success": lost}, max_drop=0.02)
    assert (told.code, told.powerless, the(told, "success").verdict) == (0, True, "cannot tell")
    strict = compared({"success": GOOD}, {"success": lost}, max_drop=0.02, require_power=True)
    assert strict.code == 1
    seen = compared({"success": GOOD}, {"success": lost}, max_drop=0.3, require_power=True)
    assert (seen.code, the(seen, "success").verdict) == (0, "no regression")
    with pytest.raises(UsageError, match="--max-drop"):
        compared({"success": GOOD}, {"success": lost}, require_power=True)


def test_tasks_too_few_to_find_any_drop_are_no_proof_of_none():
    """Even without a max-drop: one episode that was solved and is not can have no p below 1."""
    told = compared({"success": 1}, {"success": 0}, of=cell(n_tasks=1))
    assert (told.code, told.powerless, the(told, "success").verdict) == (0, True, "cannot tell")
    assert "1 tasks show no drop surely" in conclusion(told)
    six = compared({"success": 1}, {"success": [0, 1, 1, 1, 1, 1]}, of=cell(n_tasks=6))
    assert the(six, "success").verdict == "no regression"


def test_a_comparison_of_streams_says_what_its_p_takes_for_granted():
    stream = replace(cell(n_tasks=N), lifelong=True)
    assert any(
        "memory kept over streams" in line
        for line in remarks(compared({"success": GOOD}, {"success": HALF}, of=stream))
    )
    assert not list(remarks(compared({"success": GOOD}, {"success": HALF})))


def test_runs_that_went_the_same_way_are_identical_and_need_no_power():
    columns = {"success": HALF, "tokens.agent.prompt": np.arange(N)}
    outcome = compared(columns, columns, max_drop=0.02, require_power=True)
    assert (outcome.code, the(outcome, "success").verdict) == (0, "identical")
    other = {**columns, "tokens.agent.prompt": np.arange(N) + 1}
    assert the(compared(columns, other, max_drop=0.02), "success").verdict == "cannot tell"


def test_episodes_that_new_did_not_score_are_lost_coverage():
    the_cell = cell(n_tasks=N)
    statuses = ["infra_error"] + ["completed"] * (N - 1)
    full, short = (
        side(name, frame(the_cell, {"success": GOOD}, statuses=of))
        for name, of in (("full", ["completed"] * N), ("short", statuses))
    )
    lost = compare_sides(full, short, Settings())
    assert (lost.code, lost.lost, lost.regressed) == (1, True, False)
    assert compare_sides(short, full, Settings()).code == 0
    assert compare_sides(short, short, Settings()).code == 0


def test_scores_that_new_lacks_are_lost_coverage_where_they_decide():
    """A judge that fails must not turn a comparison of its scores into one of others."""
    the_cell = cell(n_tasks=N, headline=("quality.j", "success"))
    base = {"success": GOOD, "quality.j": GOOD}
    for new in (
        {"success": GOOD},
        {"success": GOOD, "quality.j": np.where(np.arange(N) < 5, np.nan, 1)},
    ):
        outcome = compared(base, new, of=the_cell)
        assert (outcome.code, outcome.lost, outcome.regressed) == (1, True, False)
    assert compared(base, {"success": GOOD}, of=the_cell, metrics=("success",)).code == 0


def test_cells_that_new_has_not_are_lost_coverage_and_more_cells_are_not():
    one, two = (frame(cell(env, n_tasks=N), {"success": GOOD}) for env in ("a", "b"))
    outcome = compare_sides(side("base", one, two), side("new", one), Settings())
    assert (outcome.code, outcome.missing) == (1, [two])
    more = compare_sides(side("base", one), side("new", one, two), Settings())
    assert (more.code, more.extra) == (0, [two])


def test_what_was_counted_in_one_run_alone_is_0_in_the_other():
    outcome = compared({"success": GOOD}, {"success": GOOD, "tokens.memory_write.prompt": 10})
    told = the(outcome, "tokens.memory_write.prompt").comparison
    assert (told.base, told.new, told.n_pairs) == (0, 10, N)


def test_a_cell_without_any_scored_episode_is_nothing_to_compare_with():
    none = frame(cell(n_tasks=N), {"success": GOOD}, statuses=["infra_error"] * N)
    with pytest.raises(UsageError, match="no scored episode"):
        compare_sides(side("base", none), side("new", none), Settings())


def test_marks_of_two_judges_are_not_compared_unless_told():
    the_cell = cell(n_tasks=N, headline=("quality.j",))
    sides = [
        side(name, frame(the_cell, {"quality.j": GOOD}, labels={"judge": name})) for name in "ab"
    ]
    with pytest.raises(UsageError, match="two judges, a and b"):
        compare_sides(*sides, Settings())
    assert compare_sides(*sides, Settings(allow_mixed=True)).code == 0


def test_drops_that_were_put_in_are_found_and_two_runs_of_one_system_pass():
    """A small part of `bench_compare`, with seeds that are given."""
    rng = np.random.default_rng(3)
    same, worse = 0, 0
    for _ in range(40):
        system = System(rng, 60)
        base = system.run("base", envs=("alfworld",))
        for drop in (0.0, 0.3):
            new = system.run("new", drop, envs=("alfworld",))
            code = compare_sides(base, new, Settings(), informational=False).code
            same, worse = (same, worse + code) if drop else (same + code, worse)
    assert same <= 4
    assert worse >= 30
