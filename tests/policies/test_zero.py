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

from same_updates import same_numbers, same_updates
from tiny_model import make_model

pytestmark = pytest.mark.train
SUPPORT = Path(__file__).parent.parent / "support"
LAUNCH = (
    "-m", "accelerate.commands.accelerate_cli", "launch", "--use_deepspeed", "--zero_stage", "2",
    "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no",
    "--dynamo_backend", "no", "--main_process_port", "0",
)  # fmt: skip
STAGES = ("deepspeed:2", "deepspeed:3")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What one process, and two that were launched, wrote to a folder each."""
    place = tmp_path_factory.mktemp("ranks")
    model, script = make_model(place / "model", hidden=32), str(SUPPORT / "train_ranks.py")
    path = os.pathsep.join([str(SUPPORT), os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}
    for launch, name, ways, more in (
        ((), "one", ("copies",), {}),
        (LAUNCH, "two", STAGES, {"ACCELERATE_USE_CPU": "true"}),
    ):
        command = [sys.executable, *launch, script, str(model), str(place / name), *ways]
        done = subprocess.run(
            command, env={**env, **more}, capture_output=True, text=True, timeout=280
        )
        assert done.returncode == 0, done.stderr[-3000:]
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
