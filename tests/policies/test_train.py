"""From a recipe to a checkpoint that the harness plays with: the whole way, very small."""

from __future__ import annotations

import json
import math
import shlex
import shutil

import pytest
import train_runs

pytestmark = pytest.mark.train
pytest.importorskip("torch")

from agemem_eval.harness.cli import main  # noqa: E402
from agemem_eval.harness.errors import UsageError  # noqa: E402
from agemem_eval.harness.figures.training import load_logs  # noqa: E402
from agemem_eval.harness.store import RunStore  # noqa: E402
from agemem_eval.policies.card import play_command  # noqa: E402
from agemem_eval.policies.demonstrations import data_hash  # noqa: E402


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A fresh model, demonstrations, a few updates, two steps of GRPO."""
    directory = tmp_path_factory.mktemp("runs") / "tiny"
    recipe = train_runs.recipe(grpo__steps=2, sft__demonstrations__episodes=20, sft__epochs=1)
    return train_runs.finish(train_runs.plan(recipe, directory))


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    out = capsys.readouterr()
    return end.value.code, out.out, out.err


def test_the_command_on_a_checkpoints_card_plays_it_as_it_was_trained(trained, tmp_path, capsys):
    card = (trained.final / "README.md").read_text().splitlines()
    (told,) = (line for line in card if line.startswith("agemem-eval run"))
    assert "-o hotpotqa.form=three-stage" in told
    assert "--context-tokens 4000 --max-tokens 12" in told
    code, out, err = run(
        capsys, *shlex.split(told.replace("THIS_FOLDER", str(trained.final)))[1:],
        "--episodes", "2", "--runs-dir", tmp_path, "--json", "--workers", "0",
    )  # fmt: skip
    assert code == 0, err
    (row,) = json.loads(out)["rows"]
    assert row["memory"] == "agemem"
    assert row["n_scored"] == 2


def test_the_command_on_a_card_draws_at_the_temperature_of_the_evaluation():
    greedy = train_runs.recipe(evaluation__temperature=0.0)
    assert "--temperature" not in play_command(greedy)
    assert play_command(train_runs.recipe(evaluation__temperature=0.6)).endswith(
        "--temperature 0.6"
    )


def test_a_checkpoint_made_from_nothing_plays_the_same_without_torch(trained, tmp_path, capsys):
    card = (trained.final / "README.md").read_text().splitlines()
    assert "Without PyTorch: `--model numpy:THIS_FOLDER`." in card
    (told,) = (line for line in card if line.startswith("agemem-eval run"))
    said = {}
    for provider in ("hf", "numpy"):
        words = shlex.split(told.replace("hf:THIS_FOLDER", f"{provider}:{trained.final}"))[1:]
        code, _, err = run(
            capsys, *words, "--episodes", "2", "--runs-dir", tmp_path, "--name", provider,
            "--json", "--workers", "0",
        )  # fmt: skip
        assert code == 0, err
        store = RunStore.open(tmp_path / provider)
        said[provider] = {
            (record.key.task, i): event["text"]
            for record in store.records()
            for i, event in enumerate(
                e for e in store.read_trace(record.key.id) if e["type"] == "completion"
            )
        }
    assert said["hf"]
    assert said["numpy"] == said["hf"]


def test_fine_tuning_alone_is_no_agemem_training(trained):
    card = json.loads((trained.directory / "sft" / "card.json").read_text())
    assert (card["training"], card["phase"]) == ("none", "sft")
    card = json.loads((trained.final / "card.json").read_text())
    assert (card["training"], card["phase"], card["step"], card["seed"]) == ("agemem", "grpo", 2, 0)
    assert card["recipe_hash"]
    assert card["data_hash"]
    assert card["demonstrations_hash"] == data_hash(train_runs.recipe(), trained.directory)
    assert card["demonstrations_hash"]
    assert card["evaluation"]["step"] == 2


@pytest.mark.parametrize(("folder", "log"), [("sft", "sft.jsonl"), ("final", "metrics.jsonl")])
def test_a_card_counts_the_tokens_that_were_trained_on_in_its_phase(trained, folder, log):
    card = json.loads((trained.directory / folder / "card.json").read_text())
    lines = train_runs.lines(trained.directory / log)
    assert card["trained_tokens"] == sum(line["tokens"] for line in lines) > 0


def test_the_curve_is_read_by_the_figures(trained):
    (log,) = load_logs(trained.directory)
    assert (log.series, log.seed, [step.step for step in log.steps]) == ("All-Returns", 0, [1, 2])
    assert {"task", "context", "memory"} <= set(log.steps[0].components)
    assert len(log.steps[0].group_rewards) == 2


def test_a_line_tells_all_that_is_needed_to_see_a_training_go_wrong(trained):
    line = json.loads((trained.directory / "metrics.jsonl").read_text().splitlines()[-1])
    for key in ("reward", "components", "group_rewards", "series", "seed", "hacks", "kl", "loss",
                "grad_norm", "tokens", "flat_groups", "lost_groups", "answered", "format_valid",
                "tools", "prompt_tokens", "completion_tokens", "learning_rate"):  # fmt: skip
        assert key in line, key
    assert {"generation", "reward", "update", "tokens_per_second"} <= set(line["seconds"])
    assert math.isclose(line["reward"], sum(line["group_rewards"]) / 2, abs_tol=1e-12)


def test_held_out_tasks_are_evaluated_before_the_first_and_after_the_last_step(trained):
    lines = train_runs.lines(trained.directory / "evaluation.jsonl")
    assert [line["step"] for line in lines] == [0, 2]
    assert all(line["low"] <= line["reward"] <= line["high"] for line in lines)


def test_a_training_that_is_done_is_not_done_again(trained):
    before = (trained.directory / "metrics.jsonl").read_bytes()
    recipe = train_runs.recipe(grpo__steps=2, sft__demonstrations__episodes=20, sft__epochs=1)
    again = train_runs.finish(train_runs.plan(recipe, trained.directory))
    assert again.final == trained.final
    assert (trained.directory / "metrics.jsonl").read_bytes() == before


def test_more_steps_go_on_with_the_curve_of_a_training_that_is_done(trained, tmp_path):
    longer = train_runs.recipe(grpo__steps=3, sft__demonstrations__episodes=20, sft__epochs=1)
    for name, left_out in (("done", ()), ("whole", ("checkpoints", "final"))):
        directory = tmp_path / name
        shutil.copytree(trained.directory, directory, ignore=shutil.ignore_patterns(*left_out))
        again = train_runs.finish(train_runs.plan(longer, directory))
        assert (again.step, json.loads((again.final / "card.json").read_text())["step"]) == (3, 3)
    done, whole = (train_runs.lines(tmp_path / n / "metrics.jsonl") for n in ("done", "whole"))
    assert [line["step"] for line in done] == [1, 2, 3]
    assert done == whole
    weights = [
        (tmp_path / n / "final" / "model.safetensors").read_bytes() for n in ("done", "whole")
    ]
    assert weights[0] == weights[1]


def test_a_start_that_fails_while_loading_is_mended_under_the_same_name(tmp_path, monkeypatch):
    def fails(*_):
        raise UsageError("such a device is not there")

    bad = train_runs.recipe(sft__demonstrations__episodes=2, sft__epochs=1, grpo=None)
    with monkeypatch.context() as broken:
        broken.setattr("agemem_eval.policies.session.Session.open", fails)
        with pytest.raises(UsageError, match="not there"):
            train_runs.finish(train_runs.plan(bad, tmp_path / "run"))
    recipe = train_runs.recipe(sft__demonstrations__episodes=3, sft__epochs=1, grpo=None)
    train_runs.finish(train_runs.plan(recipe, tmp_path / "run"))
    train_runs.finish(train_runs.plan(recipe, tmp_path / "other"))
    for name in ("demonstrations.jsonl", "final/model.safetensors", "recipe.json"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_nothing_on_disk_is_pickled(trained):
    for path in trained.directory.rglob("*"):
        assert path.suffix not in (".bin", ".pt", ".pth", ".pkl", ".ckpt"), path


def test_collapse_ends_a_training_and_keeps_the_last_good_checkpoint(trained, tmp_path):
    recipe = train_runs.recipe(
        grpo__steps=8, collapse={"kl": 1e-12, "patience": 2}, checkpoints__every=1,
        evaluation__every=100, grpo__learning_rate=0.01, sft__epochs=0.1,
    )  # fmt: skip
    ended = train_runs.finish(train_runs.plan(recipe, tmp_path / "run"))
    assert ended.collapsed
    assert ended.final is None
    assert "collapse.kl" in ended.stopped
    first_bad = next(
        line["step"] for line in train_runs.lines(tmp_path / "run" / "metrics.jsonl")
        if line["kl"] > 1e-12
    )  # fmt: skip
    assert ended.last_good is not None
    assert ended.last_good.name == f"step-{first_bad - 1:06d}"
    assert ended.last_good.is_dir()
    assert train_runs.plan(recipe, tmp_path / "run").ended is not None
