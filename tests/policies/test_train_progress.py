"""What a training shows: a line a step, or a bar."""

from __future__ import annotations

import io

from rich.console import Console

from agemem_eval.policies.logs import EVALUATION, METRICS, SFT
from agemem_eval.policies.progress import Bar, Lines

STEP = {
    "step": 2, "reward": 0.4123, "loss": 0.01, "kl": 0.0031, "answered": 0.75, "flat_groups": 0.0,
    "format_valid": None, "seconds": {"tokens_per_second": 12_345.6},
}  # fmt: skip
HELD = {
    "step": 2, "reward": 0.5, "low": 0.4, "high": 0.6, "tasks": 32, "answered": 1.0, "success": 0.25
}  # fmt: skip


def test_a_step_is_one_line_with_what_matters_and_the_time_left():
    said, now = [], iter([0.0, 0.0, 30.0, 30.0, 30.0])
    lines = Lines(said.append, clock=lambda: next(now))
    lines.begins("grpo", 1, 4)
    lines.tells(METRICS, STEP)
    assert said[0] == "GRPO: 4 updates, from 1"
    assert said[1].startswith("step 2/4  reward 0.412  loss 0.01  KL 0.0031  answered 75%  flat 0%")
    assert "12.3k tokens/s" in said[1]
    assert said[1].endswith("left")
    assert "format" not in said[1]  # it was not scored


def test_held_out_results_have_their_interval_unless_it_is_not_known():
    said = []
    lines = Lines(said.append)
    lines.tells(EVALUATION, HELD)
    lines.tells(EVALUATION, {**HELD, "low": float("nan"), "high": None})
    assert said[0] == (
        "step 2  held-out reward 0.500 [0.400, 0.600] of 32 tasks, answered 100%, success 25%"
    )
    assert "[" not in said[1]


def test_hundreds_of_short_updates_are_a_line_now_and_then_and_the_last():
    said, times = [], iter([0.0] * 200)
    lines = Lines(said.append, clock=lambda: next(times))
    lines.begins("sft", 0, 50)
    for step in range(1, 51):
        lines.tells(SFT, {"step": step, "loss": 1.0})
    assert [line.split()[1] for line in said[1:]] == ["1/50", "50/50"]


def test_the_bar_shows_the_numbers_and_leaves_held_out_results_behind():
    out = io.StringIO()
    bar = Bar(Console(file=out, force_terminal=True, width=160, highlight=False))
    bar.says("demonstrations: 8 episodes")
    bar.begins("sft", 0, 2)
    bar.begins("grpo", 0, 4)
    bar.plays("rollouts", 3, 8)
    bar.tells(METRICS, STEP)
    bar.tells(EVALUATION, HELD)
    bar.tells(METRICS, {**STEP, "step": 3})
    bar.close()
    assert "held-out reward 0.500 [0.400, 0.600]" in out.getvalue()
    assert "best held-out 0.500" in out.getvalue()
