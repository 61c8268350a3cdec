"""What a training shows: a line a step, or a bar."""

from __future__ import annotations

import io
import re
import sys

import pytest
import train_runs
from rich.console import Console

from agemem_eval.harness.errors import UsageError
from agemem_eval.policies import logs
from agemem_eval.policies.logs import EVALUATION, METRICS, SFT, Logs
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


def test_the_time_left_is_told_from_the_first_update_on_that_has_a_time():
    said, now = [], [0.0]
    lines = Lines(said.append, clock=lambda: now[0])
    lines.begins("sft", 0, 10)
    for step, seconds in ((1, {}), (2, {"tokens_per_second": 9.0})):
        lines.tells(SFT, {"step": step, "loss": 1.0, "seconds": seconds})
        now[0] += 10.0
    lines.tells(SFT, {"step": 3, "loss": 1.0, "seconds": {"tokens_per_second": 9.0}})
    assert "left" not in said[1]
    assert said[-1].endswith("1:10 left")


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
    bar = Bar(Console(file=out, force_terminal=True, width=200, highlight=False))
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


@pytest.mark.parametrize("width", [80, 100, 150])
def test_a_narrow_terminal_shows_fewer_numbers_but_the_count_and_what_is_played(width):
    out = io.StringIO()
    bar = Bar(Console(file=out, force_terminal=True, width=width, highlight=False))
    bar.begins("grpo", 0, 120)
    bar.tells(EVALUATION, HELD)
    bar.tells(METRICS, STEP)
    bar.plays("rollouts", 3, 32)
    bar._progress.refresh()
    bar._progress.refresh()
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue()).replace("\r", "\n").split("\n")
    for piece in ("GRPO", "2/120", "reward 0.412", "rollouts 29/32"):
        assert piece in shown[-1]
    bar.close()


# --- Weights & Biases -----------------------------------------------------------------------------


class Service:
    """Stands for the library: takes numbers until it breaks."""

    def __init__(self, key=True, breaks_after=99):
        self.key, self.left, self.told, self.finished = key, breaks_after, [], False

    def init(self, **given):
        if not self.key:
            raise RuntimeError("No API key\nconfigured")
        self.given = given
        return self

    def define_metric(self, *args, **kwargs):
        pass

    def log(self, numbers):
        self.left -= 1
        if self.left < 0:
            raise BrokenPipeError("gone")
        self.told.append(numbers)

    def finish(self):
        self.finished = True


def wandb_logs(monkeypatch, tmp_path, service):
    monkeypatch.setitem(sys.modules, "wandb", service)
    monkeypatch.setattr(logs, "_TensorBoard", lambda *_: Board())
    return Logs(tmp_path, {}, "grpo", 0, train_runs.recipe(wandb=True))


class Board:
    """A board that shows nothing."""

    def add(self, scalars, step):
        pass

    def close(self):
        pass


def test_wandb_is_told_the_numbers_of_each_step_under_the_runs_own_id(monkeypatch, tmp_path):
    service = Service()
    told = wandb_logs(monkeypatch, tmp_path, service)
    told.write(METRICS, {"step": 1, "reward": 0.5, "components": {"task": 1.0, "tool": None}})
    told.close()
    assert service.told == [{"train/reward": 0.5, "train/components/task": 1.0, "step": 1}]
    assert service.given["resume"] == "allow"
    assert service.finished


def test_wandb_without_a_key_is_refused_in_one_line(monkeypatch, tmp_path):
    with pytest.raises(UsageError, match="WANDB_MODE=offline") as caught:
        wandb_logs(monkeypatch, tmp_path, Service(key=False))
    assert "\n" not in str(caught.value)


def test_wandb_that_fails_ends_no_training_and_is_told_no_more(monkeypatch, tmp_path, capsys):
    told = wandb_logs(monkeypatch, tmp_path, Service(breaks_after=1))
    for step in (1, 2, 3):
        told.write(METRICS, {"step": step, "reward": 0.5})
    told.close()
    assert capsys.readouterr().err.count("Weights & Biases is told no more") == 1
    assert len((tmp_path / METRICS).read_text().splitlines()) == 3
