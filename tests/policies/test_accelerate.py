"""Two processes of `accelerate launch` make the updates that one makes, with copies or FSDP."""

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

from same_updates import same_curves, same_numbers, same_updates, short_recipe  # noqa: E402
from tiny_model import make_model  # noqa: E402
from train_runs import TINY  # noqa: E402

from agemem_eval.harness.errors import MissingExtraError, UsageError  # noqa: E402
from agemem_eval.policies.launched import Team, launched_team  # noqa: E402
from agemem_eval.policies.recipe import make_recipe  # noqa: E402
from agemem_eval.policies.team import check_team  # noqa: E402
from agemem_eval.policies.zero import asked_of_zero  # noqa: E402

pytestmark = pytest.mark.train
SUPPORT = Path(__file__).parent.parent / "support"
# Not `--cpu`: without an MPI launcher accelerate starts one process then, whatever is asked for.
LAUNCH = (
    "-m", "accelerate.commands.accelerate_cli", "launch", "--use_fsdp", "--fsdp_version", "2",
    "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no",
    "--dynamo_backend", "no", "--main_process_port", "0",
)  # fmt: skip
WAYS = ("copies", "fsdp")  # to share weights


def run(*command: str, fails: bool = False, **env: str) -> None:
    path = os.pathsep.join([str(SUPPORT), os.environ.get("PYTHONPATH", "")])
    given = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **env}
    done = subprocess.run(
        [sys.executable, *command], env=given, capture_output=True, text=True, timeout=280
    )
    assert (done.returncode != 0) == fails, done.stderr[-3000:]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What one process, and two that were launched, wrote to a folder each."""
    place = tmp_path_factory.mktemp("ranks")
    model = str(make_model(place / "model", hidden=32))
    script = str(SUPPORT / "train_ranks.py")
    run(script, model, str(place / "one"), "copies")
    run(*LAUNCH, script, model, str(place / "two"), *WAYS, ACCELERATE_USE_CPU="true")
    return place


@pytest.mark.parametrize("way", WAYS)
def test_the_updates_of_two_processes_are_those_of_one(found, way):
    same_updates(found / "one/copies", found / "two" / way)


@pytest.mark.parametrize("way", WAYS)
def test_what_is_told_of_an_update_is_of_all_processes(found, way):
    same_numbers(found / "one/copies", found / "two" / way)


def test_a_process_keeps_all_of_a_weight_or_its_part(found):
    for kind in ("whole", "lora"):
        whole, copy, part = (
            json.loads((found / where / "told.json").read_text())[kind]["part"]
            for where in ("one/copies", "two/copies", "two/fsdp")
        )
        assert copy == whole
        assert whole / 2 <= part < 0.51 * whole  # the first process has a row more of an odd number


def test_a_team_gathers_its_shares_in_order_and_one_of_it_writes(found):
    for name, size in (("one", 1), ("two", 2)):
        told = json.loads((found / name / "team.json").read_text())
        assert (told["size"], told["weights"]) == (size, WAYS[size - 1])
        assert told["gathered"] == [list(range(count)) for count in (0, 1, 4, 5)]
        assert told["any"] == [True, size > 1, False]
        assert told["writers"] == [True, False][:size]


def test_a_process_that_nobody_launched_is_the_whole_team(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    team = launched_team()
    assert (team.accelerator, team.size, team.rank, team.first) == (None, 1, 0, True)
    assert team.share("abc") == list("abc") == team.gather("abc")


def test_what_costs_most_is_shared_first_and_goes_to_whom_has_least():
    lengths = [100, 900, 300, 500, 200]
    parts = [
        Team(SimpleNamespace(num_processes=2, process_index=rank)).share(lengths, float)
        for rank in (0, 1)
    ]
    assert parts == [[900, 100], [500, 300, 200]]
    assert Team().share(lengths, float) == sorted(lengths, reverse=True)


@pytest.fixture(scope="module")
def trainings(tmp_path_factory):
    """A recipe, trained by one process; and by two, with parts of the weights, once killed."""
    place = tmp_path_factory.mktemp("trainings")
    recipe = short_recipe(place)
    command = (
        str(SUPPORT / "train_launched.py"), str(place), "train", str(recipe),
        "--runs-dir", str(place), "--name",
    )  # fmt: skip
    run(*command, "one")
    on_cpu = {"ACCELERATE_USE_CPU": "true"}
    run(*LAUNCH, *command, "two", fails=True, DIE_AFTER="step-000001", **on_cpu)
    assert (place / "two/checkpoints/step-000001").is_dir()
    assert not (place / "two/final").exists()
    run(*LAUNCH, *command, "two", **on_cpu)
    return place


def test_a_training_of_two_processes_that_was_killed_has_the_curves_and_weights_of_one(trainings):
    same_curves(trainings / "one", trainings / "two")


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


ZERO = "ACCELERATE_DEEPSPEED_"


@pytest.mark.parametrize(
    ("weights", "env", "said"),
    [
        ("copies", {"sampler": "vllm"}, "vllm is for one process"),
        ("copies", {"ACCELERATE_MIXED_PRECISION": "bf16"}, "set model.dtype in the recipe"),
        ("MEGATRON_LM", {}, "training under MEGATRON_LM is not supported"),
        ("fsdp", {}, "launch with --fsdp_version 2"),
        ("fsdp", {"FSDP_VERSION": "2", "FSDP_OFFLOAD_PARAMS": "true"}, "fsdp_offload_params"),
        (
            "fsdp",
            {"FSDP_VERSION": "2", "ACCELERATE_USE_PARALLELISM_CONFIG": "true"},
            "use_parallelism_config is not supported",
        ),
        ("deepspeed", {f"{ZERO}ZERO_STAGE": "1"}, "stage 1 is not supported: use 2 or 3"),
        ("deepspeed", {f"{ZERO}OFFLOAD_PARAM_DEVICE": "cpu"}, "offload_param to 'cpu'"),
        ("deepspeed", {"dtype": "bfloat16"}, "set model.dtype to float32"),
    ],
)
def test_what_a_team_cannot_do_is_refused(monkeypatch, weights, env, said):
    for key, value in env.items():
        monkeypatch.setenv(key, value)
    team = Team(SimpleNamespace(num_processes=2), weights)
    with pytest.raises(UsageError, match=said):
        check_team(a_recipe(env.get("sampler", "hf"), env.get("dtype", "float32")), team)


def a_recipe(engine: str = "hf", dtype: str = "float32"):
    model = {"path": "m", "lora": {"rank": 4}, "dtype": dtype}
    return make_recipe({"name": "r", "model": model, "grpo": {}, "sampler": {"engine": engine}})


def test_one_process_is_not_refused_and_neither_is_fsdp_2(monkeypatch):
    check_team(a_recipe("vllm"), Team())
    monkeypatch.setenv("FSDP_VERSION", "2")
    check_team(a_recipe(), Team(SimpleNamespace(num_processes=2), "fsdp"))


def test_deepspeed_that_is_not_installed_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "deepspeed", None)
    with pytest.raises(MissingExtraError, match="deepspeed"):
        check_team(a_recipe(), Team(SimpleNamespace(num_processes=2), "deepspeed"))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"zero_optimization": {"stage": 3}, "bf16": {"enabled": True}}, "remove 'bf16'"),
        ({"zero_optimization": {"stage": 0}}, "stage 0 is not supported"),
        ({"train_batch_size": "auto"}, "there is no section zero_optimization"),
        (
            {"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}}},
            "offload_optimizer to 'cpu' is not supported",
        ),
    ],
)
def test_what_a_config_of_deepspeed_says_beyond_zero_is_refused(
    monkeypatch, tmp_path, config, said
):
    path = tmp_path / "zero.json"
    path.write_text(json.dumps(config))
    monkeypatch.setenv(f"{ZERO}CONFIG_FILE", str(path))
    with pytest.raises(UsageError, match=said):
        asked_of_zero()


def test_a_config_of_deepspeed_says_what_zero_does_and_leaves_the_rest_open(monkeypatch, tmp_path):
    said = {"stage": 3, "stage3_param_persistence_threshold": 0, "reduce_bucket_size": "auto"}
    path = tmp_path / "zero.json"
    path.write_text(json.dumps({"zero_optimization": said, "gradient_clipping": "auto"}))
    monkeypatch.setenv(f"{ZERO}CONFIG_FILE", str(path))
    assert asked_of_zero() == {"stage": 3, "stage3_param_persistence_threshold": 0}
