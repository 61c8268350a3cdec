"""Metrics: Wilson against published values, and None where nothing was scored."""

from __future__ import annotations

from typing import Any

import pytest
from scipy.stats import binomtest

from agemem_eval.harness.ledger import RoleUsage
from agemem_eval.harness.metrics import cell_row, wilson
from agemem_eval.harness.records import Episode, EpisodeKey
from agemem_eval.harness.report import markdown

KEYS = [
    EpisodeKey("e", "1", "d", "s", f"t{n}", "m|<b>", "h", "x", "h", "p", 0, 0) for n in range(4)
]


def episode(n: int, status: Any = "completed", success: bool | None = True, **more: Any) -> Episode:
    values: dict[str, Any] = {
        "task_type": "", "progress": 0.5, "reward": 0.0, "steps": 10, "turns": 20,
        "invalid_actions": 1, "malformed_outputs": 2, "forfeits": 0, "overflow_drops": 0,
        "tool_calls": {"Add_memory": {"success": 3, "validation_error": 1}},
        "tokens": {"agent": RoleUsage(20, 1000, 100, 0)}, "memory_entries": 3, "wall_s": 2.0,
        "started_at": "",
    }  # fmt: skip
    return Episode(key=KEYS[n], status=status, success=success, **{**values, **more})


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
@pytest.mark.parametrize(("k", "n"), [(0, 10), (10, 10), (1, 10), (7, 20), (81, 263), (0, 1)])
def test_wilson_is_what_scipy_gives(k: int, n: int, confidence: float) -> None:
    known = binomtest(k, n).proportion_ci(confidence, method="wilson")
    assert wilson(k, n, confidence) == pytest.approx((known.low, known.high), abs=1e-12)


def test_there_is_no_interval_of_nothing() -> None:
    for k, n in ((0, 0), (3, 2), (-1, 2)):
        with pytest.raises(ValueError, match="successes"):
            wilson(k, n)


def test_wilson_of_newcombe_1998() -> None:
    # R. G. Newcombe, Statistics in Medicine 17, 1998, table I, method 3.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_only_scored_episodes_count() -> None:
    failed = episode(2, "infra_error", None, progress=None, steps=999, tokens={})
    found = [episode(0), episode(1, "limit", success=False), failed]
    row = cell_row(KEYS, found)
    assert (row.n_planned, row.n_scored, row.coverage) == (4, 2, 0.5)
    assert (row.success_rate, row.progress_rate, row.steps_mean) == (0.5, 0.5, 10)
    assert (row.invalid_action_rate, row.malformed_rate) == (0.1, 0.1)
    assert row.tokens["agent"] == {
        "calls": 20, "prompt": 1000, "completion": 100, "estimated": False,
    }  # fmt: skip
    assert row.tool_calls["Add_memory"]["mean"] == 4
    assert row.statuses == {"completed": 1, "infra_error": 1, "limit": 1}


def test_nothing_scored_is_none_never_0() -> None:
    row = cell_row(KEYS, [episode(0, "infra_error", None)])
    assert row.coverage == 0
    for value in (
        row.success_rate, row.success_ci, row.progress_rate, row.steps_mean, row.wall_s,
        row.invalid_action_rate, row.malformed_rate, row.memory_entries_mean,
    ):  # fmt: skip
        assert value is None
    assert "| – |" in markdown([row])


def test_names_cannot_break_a_markdown_table() -> None:
    line = markdown([cell_row(KEYS, [])]).splitlines()[2]
    assert r"m\|&lt;b>" in line
