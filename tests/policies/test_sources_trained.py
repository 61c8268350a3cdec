"""A training on two sources of tasks, the whole way: killed, read by figures, and on its card."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
import train_runs

pytestmark = pytest.mark.train
pytest.importorskip("torch")

from agemem_eval.harness.errors import UsageError  # noqa: E402
from agemem_eval.harness.figures.training import load_logs  # noqa: E402
from agemem_eval.policies.preflight import check_room  # noqa: E402

LOGS = ("sft.jsonl", "metrics.jsonl", "evaluation.jsonl")


def recipe():
    return train_runs.recipe(**train_runs.sources(), grpo__steps=3, sft__epochs=1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A training that nothing disturbed."""
    directory = tmp_path_factory.mktemp("whole") / "run"
    assert train_runs.finish(train_runs.plan(recipe(), directory)).final is not None
    return directory


def weights(directory: Path) -> bytes:
    return (directory / "final" / "model.safetensors").read_bytes()


def test_killed_again_and_again_it_ends_with_the_same_curve_and_weights(whole, tmp_path):
    directory = tmp_path / "run"
    plan = train_runs.plan(recipe(), directory)
    kills = 0
    for n in (1, 2, 3):
        child = train_runs.start(plan)
        kills += train_runs.kill_when(
            child, lambda n=n: len(train_runs.lines(directory / "metrics.jsonl")) >= n, 0.1
        )
    assert kills >= 2
    train_runs.finish(plan)
    for name in LOGS:
        assert train_runs.lines(directory / name) == train_runs.lines(whole / name), name
    assert weights(directory) == weights(whole)


def test_each_step_and_evaluation_tells_its_sources(whole):
    steps = train_runs.lines(whole / "metrics.jsonl")
    assert [line["sources"]["pddl"]["tasks"] for line in steps] == [1, 1, 1]
    assert [line["sources"]["hotpotqa"]["tasks"] for line in steps] == [2, 2, 2]
    for line in steps:
        assert line["reward"] == pytest.approx(sum(line["group_rewards"]) / 3)
    for line in train_runs.lines(whole / "evaluation.jsonl"):
        told = line["sources"]
        assert {name: one["tasks"] for name, one in told.items()} == {"hotpotqa": 2, "pddl": 3}
        mean = sum(one["reward"] for one in told.values()) / 2
        assert line["reward"] == pytest.approx(mean)
    (log,) = load_logs(whole)
    assert [step.reward for step in log.steps] == [line["reward"] for line in steps]


def test_the_best_checkpoint_is_that_of_the_best_reward_over_all_sources(whole):
    lines = train_runs.lines(whole / "evaluation.jsonl")
    best = max(lines, key=lambda line: line["reward"])
    newest = max((whole / "checkpoints").iterdir())
    found = json.loads((newest / "state.json").read_text())["best"]
    assert found == [best["step"], best["reward"]]


def test_its_card_tells_every_source_and_how_to_play_it(whole):
    card = json.loads((whole / "final" / "card.json").read_text())
    assert set(card["evaluation"]["sources"]) == {"hotpotqa", "pddl"}
    text = (whole / "final" / "README.md").read_text()
    assert "tasks of hotpotqa (`generated-train`), pddl (`generated-train`)" in text
    assert "- pddl: " in text
    assert sum(line.startswith("agemem-eval run --env ") for line in text.splitlines()) == 2


@pytest.mark.parametrize("context", [1000, 3110])
def test_a_context_too_small_for_the_first_prompt_of_a_source_is_refused(whole, tmp_path, context):
    limits = {"max_steps": 3, "context_tokens": context}
    small = train_runs.recipe(**train_runs.sources(agent=limits))
    held_out = train_runs.plan(recipe(), tmp_path / "run").held_out
    with pytest.raises(UsageError, match=r"tasks\.sources\.1.*(fit|needs)"):
        asyncio.run(check_room(small, whole / "base", held_out, tmp_path))


def test_tensorboard_has_the_reward_of_each_source(whole):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(whole / "tensorboard" / "grpo"))
    events.Reload()
    steps = train_runs.lines(whole / "metrics.jsonl")
    found = [scalar.value for scalar in events.Scalars("train/sources/pddl/reward")]
    wanted = [line["sources"]["pddl"]["reward"] for line in steps]
    assert found == pytest.approx(wanted, abs=1e-6)
