"""The baselines in this repository: what they pin is what it was."""

from __future__ import annotations

from pathlib import Path

from agemem_eval.harness.compare.baseline import load_baseline
from agemem_eval.harness.compare.command import pin
from agemem_eval.harness.compare.fixture import Evaluations

BASELINES = Path(__file__).resolve().parents[2] / "results" / "baselines"


def test_the_main_job_has_not_become_worse_and_pins_the_same_scores(tmp_path):
    evaluations = Evaluations(tmp_path, tmp_path, BASELINES, update=False, updated=[])
    result = evaluations.run(env="alfworld", memory="agemem", model="scripted", episodes=20)
    result.assert_no_regression("main-job", metrics=["headline", "steps"])
    (pinned,) = load_baseline(BASELINES / "main-job.json")
    (again,) = load_baseline(pin(result.directory, tmp_path / "again.json"))
    assert again.keys == pinned.keys
    for name in ("success", "progress", "steps", "tool_calls.Add_memory"):
        assert again.columns[name].tolist() == pinned.columns[name].tolist()


def test_the_learned_policy_of_the_package_has_not_become_worse_at_the_main_job(tmp_path):
    evaluations = Evaluations(tmp_path, tmp_path, BASELINES, update=False, updated=[])
    result = evaluations.run(env="alfworld", memory="agemem", model="nano", episodes=20)
    # Devices differ in the last bits, and a game may end otherwise: a significant loss alone fails.
    result.assert_no_regression("nano-alfworld", metrics=["headline"])
