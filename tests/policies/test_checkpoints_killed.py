"""Trainings that are killed at any moment, or stopped, and go on to the same curve."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import train_runs

pytestmark = pytest.mark.train
pytest.importorskip("torch")

LOGS = ("sft.jsonl", "metrics.jsonl", "evaluation.jsonl")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A training that nothing disturbed."""
    directory = tmp_path_factory.mktemp("whole") / "run"
    plan = train_runs.plan(train_runs.recipe(), directory)
    trained = train_runs.finish(plan)
    assert trained.final == directory / "final"
    return directory


def weights(directory: Path) -> bytes:
    return (directory / "final" / "model.safetensors").read_bytes()


def test_the_same_recipe_and_seed_give_the_same_curve_and_weights(whole, tmp_path):
    again = tmp_path / "run"
    train_runs.finish(train_runs.plan(train_runs.recipe(), again))
    for name in LOGS:
        assert train_runs.lines(again / name) == train_runs.lines(whole / name), name
    assert weights(again) == weights(whole)


def test_a_training_killed_again_and_again_ends_with_the_same_curve(whole, tmp_path):
    directory, draws = tmp_path / "run", random.Random(7)
    plan = train_runs.plan(train_runs.recipe(), directory)
    kills = 0
    for name, n in [("sft.jsonl", 2), ("sft.jsonl", 5), ("metrics.jsonl", 1), ("metrics.jsonl", 2),
                    ("metrics.jsonl", 3), ("metrics.jsonl", 4)]:  # fmt: skip
        child = train_runs.start(plan)
        kills += train_runs.kill_when(
            child,
            lambda name=name, n=n: len(train_runs.lines(directory / name)) >= n,
            draws.uniform(0, 0.6),
        )
    assert kills >= 4
    train_runs.finish(plan)
    for name in LOGS:
        assert train_runs.lines(directory / name) == train_runs.lines(whole / name), name
    assert weights(directory) == weights(whole)
