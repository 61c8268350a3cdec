"""Two processes with DeepSpeed's ZeRO make the updates that one process makes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("accelerate")
pytest.importorskip("peft")
pytest.importorskip("deepspeed")

from same_updates import same_curves, same_numbers, same_updates, short_recipe
from tiny_model import make_model

pytestmark = pytest.mark.train
SUPPORT = Path(__file__).parent.parent / "support"
LAUNCH = (
    "-m", "accelerate.commands.accelerate_cli", "launch", "--use_deepspeed", "--zero_stage", "2",
    "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no",
    "--dynamo_backend", "no", "--main_process_port", "0",
)  # fmt: skip
STAGES = ("deepspeed:2", "deepspeed:3")


def run(*command: str) -> None:
    path = os.pathsep.join([str(SUPPORT), os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}
    if command[0] == "-m":
        env["ACCELERATE_USE_CPU"] = "true"
    done = subprocess.run(
        [sys.executable, *command], env=env, capture_output=True, text=True, timeout=580
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What one process, and two that were launched, wrote to a folder each."""
    place = tmp_path_factory.mktemp("ranks")
    model, script = make_model(place / "model", hidden=32), str(SUPPORT / "train_ranks.py")
    run(script, str(model), str(place / "one"), "copies")
    run(*LAUNCH, script, str(model), str(place / "two"), *STAGES)
    return place


@pytest.mark.parametrize("stage", STAGES)
def test_the_updates_of_two_processes_are_those_of_one(found, stage):
    same_updates(found / "one/copies", found / "two" / stage)


@pytest.mark.parametrize("stage", STAGES)
def test_what_is_told_of_an_update_is_of_all_processes(found, stage):
    same_numbers(found / "one/copies", found / "two" / stage)


def test_only_in_stage_3_a_process_keeps_no_whole_weights(found):
    parts = [
        json.loads((found / where / "told.json").read_text())["whole"]["part"]
        for where in ("one/copies", "two/deepspeed:2", "two/deepspeed:3")
    ]
    assert parts[0] == parts[1]
    assert parts[2] < parts[0]


def test_a_training_in_stage_3_has_the_curves_and_weights_of_one_process(tmp_path):
    asked = tmp_path / "zero.json"
    asked.write_text(json.dumps({"zero_optimization": {"stage": 3}}))
    launch = [*LAUNCH[:4], "--deepspeed_config_file", str(asked), *LAUNCH[6:]]
    command = (
        str(SUPPORT / "train_launched.py"), str(tmp_path), "train", str(short_recipe(tmp_path)),
        "--runs-dir", str(tmp_path), "--name",
    )  # fmt: skip
    run(*command, "one")
    run(*launch, *command, "two")
    same_curves(tmp_path / "one", tmp_path / "two")
