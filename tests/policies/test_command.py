"""`agemem-eval train`: what is refused, before anything is loaded and without torch."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import pytest
import train_runs
import yaml

from agemem_eval.harness.errors import (
    ConfigMismatchError,
    DataError,
    MissingExtraError,
    UsageError,
)
from agemem_eval.policies.checkpoints import END, write_header
from agemem_eval.policies.command import find_recipe, own_recipes, train_command


@pytest.fixture
def train(tmp_path):
    """The command on the tiny recipe; it never gets beyond its checks."""
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(train_runs.TINY))

    def run(*settings, **options):
        options = {"runs_dir": tmp_path / "runs", "dry_run": True, **options}
        return train_command(str(path), list(settings), **options)

    return run


def held(directory, recipe):
    """A training that has kept something."""
    write_header(directory, recipe, "x")
    (directory / "sft").mkdir()


@pytest.fixture
def no_torch(monkeypatch):
    """As on a machine without the extra."""
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "torch" else real(name, *a)
    )


@pytest.mark.parametrize(("setting", "said"), [
    ("grpo.setps=3", "unknown recipe key 'grpo.setps'; did you mean 'grpo.steps'"),
    ("modell.path=x", "unknown recipe key 'modell'; did you mean 'model'"),
    ("model.lora.rnk=x", "unknown recipe key 'model.lora.rnk'"),
    ("grpo.rollouts=1", "grpo.rollouts: a group needs 2 rollouts or more"),
    ("grpo.kl=k4", "'k1', 'k2' or 'k3'"),
    ("grpo.beta=-1", "greater than or equal to 0"),
    ("grpo.beta=.nan", "finite"),
    ("reward.weights={task: 0.5, context: 0.1, memory: 0.1}", "must sum to 1, not 0.7"),
    ("reward.scheme=all", "'all-returns' or 'answer-only'"),
    ("model.path=somewhere", "either path or fresh"),
    ("agent.context_tokens=9000", "exceed the model's 8192 positions"),
    ("agent.temperature=0.5", "set grpo.temperature"),
    ("agent.top_p=0.9", "set grpo.temperature"),
    ("agent.history_tokens=900", "agent.context_tokens"),
    ("sft=null", "add sft"),
    ("grpo", "not of the form key=value"),
    ("grpo.steps=[", "the value is no YAML"),
    ("grpo.steps.more=1", "steps is no section"),
    ("tasks.env=hotpot", "did you mean 'hotpotqa'"),
    ("tasks.memory=agmem", "did you mean 'agemem'"),
    ("tasks.split=trian", "'train'"),
    ("tasks.options.hotpotqa.distracters=3", "distract"),
    ("tasks.options.hotpot={form: three-stage}", "did you mean 'hotpotqa'"),
    ("grpo.steps=yes", "grpo.steps: it is no switch"),
    ("grpo.beta=.nan", "grpo.beta: Input should be a finite number"),
    ("sft.demonstrations={runs: nowhere}", "there is no run at nowhere"),
    ("seed=99999999999999999999", "seed: Input should be less than"),
    ("tasks.memory_model=random", "cannot write texts"),
    ("reward={task_score: judge, judge: heuristic}", "cannot judge"),
    ("tasks.episodes=100000", "the split generated-train has"),
    ("evaluation.first=20", "are also tasks of evaluation"),
    ("grpo.tasks_per_step=31", "grpo.tasks_per_step 31, but there are 30 tasks"),
    ("sft.demonstrations.expert=raeder", "did you mean 'reader'"),
    ("sft.demonstrations.episodes=4001", "sft.demonstrations are also tasks of evaluation"),
    ("tasks.embedder=hashin", "hashing"),
])  # fmt: skip
def test_a_bad_value_is_refused_with_its_key(train, no_torch, setting, said):
    with pytest.raises((UsageError, DataError)) as caught:
        train(setting)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_torch_a_good_recipe_is_told_how_to_get_it(train, no_torch):
    with pytest.raises(MissingExtraError, match=r"pip install 'agemem-eval\[train\]'"):
        train()


def test_an_unknown_recipe_is_told_the_nearest():
    assert "qwen2.5-7b-instruct" in own_recipes()
    with pytest.raises(UsageError, match=r"did you mean 'qwen2.5-7b-instruct'"):
        find_recipe("qwen2.5-7b-instrct")


@pytest.mark.parametrize("content", [
    "[1, 2]", "{", "a: &a [*a]", "", "\x00", "seed: 1\nseed: 2", "name: a\n---\nname: b",
    "name: !!python/object/apply:os.getcwd []",
])  # fmt: skip
def test_a_file_that_is_no_recipe_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "bad.yaml"
    path.write_text(content)
    with pytest.raises((UsageError, DataError)) as caught:
        train_command(str(path), [], runs_dir=tmp_path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="cannot read the recipe"):
        train_command(str(tmp_path / "none.yaml"), [], runs_dir=tmp_path)


@pytest.mark.parametrize("name", ["../outside", "a/b", ".hidden", ""])
def test_a_name_that_leaves_the_folder_is_refused(train, name):
    with pytest.raises(UsageError):
        train(name=name or "/")


def test_another_recipe_in_the_same_directory_is_refused_with_what_differs(train, tmp_path):
    held(tmp_path / "runs" / "a", train_runs.recipe(sft__epochs=7))
    with pytest.raises(ConfigMismatchError, match=r"sft\.epochs: 7.* in the run, 2.* now"):
        train(name="a")


def test_no_resume_refuses_a_training_that_exists(train, tmp_path):
    held(tmp_path / "runs" / "a", train_runs.recipe())
    with pytest.raises(UsageError, match="leave out --no-resume"):
        train(name="a", resume=False)


def test_a_start_that_failed_stands_in_no_ones_way(train, tmp_path, monkeypatch):
    monkeypatch.setattr("agemem_eval.policies.preflight.NEEDED", ())
    write_header(tmp_path / "runs" / "a", train_runs.recipe(), "x")
    assert train("grpo.beta=0.2", name="a") == 0
    assert train("grpo.beta=0.2", name="a", resume=False) == 0


def test_a_directory_that_cannot_be_written_is_refused(train, tmp_path):
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(DataError, match="cannot keep files"):
        train()


def test_seed_and_scheme_name_the_run(train, tmp_path, no_torch):
    held(tmp_path / "runs" / "tiny-test-answer-only-3", train_runs.recipe())
    with pytest.raises(ConfigMismatchError) as caught:
        train(seed=3, scheme="answer-only")
    assert "seed: 0 in the run, 3 now" in str(caught.value)
    assert 'scheme: "all-returns" in the run, "answer-only" now' in str(caught.value)


def test_help_and_a_refusal_import_nothing_heavy(tmp_path):
    code = (
        "import sys\nfrom agemem_eval.harness.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit as end:\n"
        "    print([n for n in ('torch', 'transformers', 'agemem_eval.policies') "
        "if n in sys.modules], end.code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "train", "--help"], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[] 0"
    bad = tmp_path / "bad.yaml"
    bad.write_text("name: a\nmodel: {path: x}\ngrpo: {steps: 0}\n")
    done = subprocess.run(
        [sys.executable, "-c", code, "train", str(bad)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "['agemem_eval.policies'] 2"
    assert done.stderr.startswith("agemem-eval: error: recipe: grpo.steps")
    assert len(done.stderr.splitlines()) == 1


def test_the_list_names_the_recipes_of_the_package(capsys, tmp_path):
    assert train_command(None, [], runs_dir=tmp_path, list_=True, as_json=True) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["qwen3-4b-instruct"]["grpo"]["rollouts"] == 8


def test_a_training_that_has_collapsed_is_not_gone_on_with(train, tmp_path, monkeypatch):
    monkeypatch.setattr("agemem_eval.policies.preflight.NEEDED", ())
    plan = train_runs.plan(train_runs.recipe(), tmp_path / "runs" / "a")
    write_header(plan.directory, plan.recipe, plan.data_hash)
    (plan.directory / END).write_text(json.dumps({"reason": "the mean KL is 99", "step": 4}))
    with pytest.raises(UsageError, match=r"has ended: the mean KL is 99; .*another --name") as e:
        train(name="a", dry_run=False)
    assert e.value.exit_code == 1
