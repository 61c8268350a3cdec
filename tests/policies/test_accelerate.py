"""Two processes of `accelerate launch` make the updates that one process makes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")
pytest.importorskip("peft")
safetensors = pytest.importorskip("safetensors.torch")

from tiny_model import make_model  # noqa: E402
from train_runs import TINY  # noqa: E402

from agemem_eval.harness.errors import UsageError  # noqa: E402
from agemem_eval.policies.launched import Team, accelerator  # noqa: E402
from agemem_eval.policies.recipe import make_recipe  # noqa: E402
from agemem_eval.policies.team import check_team  # noqa: E402

pytestmark = pytest.mark.train
SUPPORT = Path(__file__).parent.parent / "support"
# Not `--cpu`: without an MPI launcher accelerate starts one process then, whatever is asked for.
LAUNCH = (
    "-m", "accelerate.commands.accelerate_cli", "launch", "--multi_gpu", "--num_processes", "2",
    "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no",
    "--main_process_port", "0",
)  # fmt: skip


def run(*command: str, **env: str) -> None:
    path = os.pathsep.join([str(SUPPORT), os.environ.get("PYTHONPATH", "")])
    given = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **env}
    done = subprocess.run(
        [sys.executable, *command], env=given, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Gradients and numbers of one process, and of two."""
    place = tmp_path_factory.mktemp("ranks")
    model = str(make_model(place / "model", hidden=32))
    script, found = str(SUPPORT / "train_ranks.py"), []
    run(script, model, str(place / "one"))
    run(*LAUNCH, script, model, str(place / "two"), ACCELERATE_USE_CPU="true")
    for name in ("one", "two"):
        told = json.loads((place / name / "told.json").read_text())
        gradients = safetensors.load_file(place / name / "gradients.safetensors")
        found.append((told, gradients))
    assert [told["size"] for told, _ in found] == [1, 2]
    return found


def test_the_gradients_of_two_processes_are_those_of_one(both):
    (_, one), (_, two) = both
    assert one.keys() == two.keys()
    assert len(one) == 8  # of an SFT update and three GRPO updates, whole and with an adapter
    for name, gradient in one.items():
        assert gradient.abs().max() > 1e-4
        assert (gradient - two[name]).abs().max() < 1e-5 * max(1.0, float(gradient.abs().max()))


def test_what_is_told_of_an_update_is_of_all_processes(both):
    (one, _), (two, _) = both
    for kind in ("whole", "lora"):
        for alone, together in zip(one["told"][kind], two["told"][kind], strict=True):
            assert alone.keys() == together.keys()
            for key, value in alone.items():
                assert together[key] == pytest.approx(value, abs=1e-4, rel=1e-4), key


def test_a_team_gathers_its_shares_in_order_and_one_of_it_writes(both):
    for told, size in zip((told for told, _ in both), (1, 2), strict=True):
        assert told["gathered"] == [list(range(count)) for count in (0, 1, 4, 5)]
        assert told["any"] == [True, size > 1, False]
        assert told["writers"] == [True, False][:size]


def test_a_process_that_nobody_launched_is_the_whole_team(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert accelerator() is None
    team = Team(None)
    assert (team.size, team.rank, team.first) == (1, 0, True)
    assert team.share("abc") == list("abc") == team.gather("abc")


@pytest.fixture(scope="module")
def trainings(tmp_path_factory):
    """The same recipe, trained by one process and by two."""
    place = tmp_path_factory.mktemp("trainings")
    values = json.loads(json.dumps(TINY))
    values["grpo"] |= {"steps": 1, "tasks_per_step": 3}
    values["sft"]["epochs"] = 1
    values["evaluation"]["episodes"] = 3
    recipe = place / "recipe.yaml"
    recipe.write_text(json.dumps(values))  # JSON is YAML
    command = (
        str(SUPPORT / "train_launched.py"), str(place), "train", str(recipe),
        "--runs-dir", str(place), "--name",
    )  # fmt: skip
    run(*command, "one")
    run(*LAUNCH, *command, "two", ACCELERATE_USE_CPU="true")
    return place


def test_a_training_of_two_processes_has_the_curves_and_weights_of_one(trainings):
    for log in ("sft", "metrics", "evaluation"):
        one, two = (
            [
                json.loads(line)
                for line in (trainings / name / f"{log}.jsonl").read_text().splitlines()
            ]
            for name in ("one", "two")
        )
        assert len(one) == len(two) > 0
        for alone, together in zip(one, two, strict=True):
            assert alone.keys() == together.keys()
            for key in alone.keys() - {"seconds"}:
                if isinstance(alone[key], int | float):
                    assert together[key] == pytest.approx(alone[key], abs=1e-4, rel=1e-4), key
    one, two = (
        safetensors.load_file(trainings / name / "final/model.safetensors")
        for name in ("one", "two")
    )
    assert one.keys() == two.keys()
    assert max((one[name] - two[name]).abs().max().item() for name in one) < 1e-4


def test_each_of_two_processes_played_whole_groups_that_the_other_did_not(trainings):
    alone, first, second = (
        (trainings / f"rank-{rank}").read_text().split() for rank in ("none", "0", "1")
    )
    assert first
    assert second
    of_groups = {task for task in second if second.count(task) == TINY["grpo"]["rollouts"]}
    assert of_groups
    assert not of_groups & set(first)
    assert sorted(first + second) == sorted(alone)


@pytest.mark.parametrize(
    ("kind", "sampler", "said"),
    [
        ("FSDP", {}, "training under FSDP is not supported"),
        ("DEEPSPEED", {}, "training under DEEPSPEED is not supported"),
        ("MULTI_GPU", {"engine": "vllm"}, "vllm is for one process"),
    ],
)
def test_what_a_team_cannot_do_is_refused(kind, sampler, said):
    kinds = SimpleNamespace(distributed_type=SimpleNamespace(value=kind), num_processes=2)
    values = {"name": "r", "model": {"path": "m"}, "grpo": {}, "sampler": sampler}
    with pytest.raises(UsageError, match=said):
        check_team(make_recipe(values), Team(kinds))
    check_team(make_recipe(values), Team(None))
