"""What a training left becomes a checkpoint of the package: smaller, as good, and told of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_requests import ask
from safetensors.numpy import load_file, save_file
from tiny_model import make_model as make_weights

from agemem_eval.harness.config import AgentConfig
from agemem_eval.harness.errors import DataError, UsageError
from agemem_eval.harness.models import make_model, packaged
from agemem_eval.policies import package
from agemem_eval.policies.package import agent_settings, halved, main, make_package

PLACE = "/home/someone/runs/first/sft"
AGENT = {"shots": 0, "context_tokens": 1024, "max_tokens": 64, "max_steps": 9, "top_p": None}
SOURCES = [{"env": "pddl"}, {"options": {}}]
RECIPE = {
    "name": "small",
    "model": {"path": PLACE, "fresh": None},
    "tasks": {"env": "alfworld", "memory": "agemem", "options": {"alfworld": {"engine": "native"}}},
    "agent": AGENT,
    "sft": {"demonstrations": SOURCES},
    "evaluation": {"temperature": 0.5},
}
CARD = {
    "training": "agemem", "recipe": "small", "recipe_hash": "abc", "data_hash": "def", "seed": 3,
    "demonstrations_hash": "cafe",
    "phase": "grpo", "step": 20, "base": {"name": "sft", "hash": "123"},
    "reward": {"profile": "paper", "scheme": "all-returns"}, "agemem_eval": "0.1.0",
}  # fmt: skip
UNTRAINED = {**CARD, "training": "none", "phase": "sft", "base": {"fresh": {"layers": 2}}}


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_weights(tmp_path_factory.mktemp("models") / "tiny", hidden=64)


def training(folder: Path, weights: Path, card: dict[str, Any] = CARD) -> Path:
    """A training's folder with a checkpoint at its end."""
    final = folder / "final"
    final.mkdir(parents=True)
    for file in weights.iterdir():
        (final / file.name).write_bytes(file.read_bytes())
    (final / "card.json").write_text(json.dumps(card))
    (final / "optimizer.safetensors").write_bytes(b"moments")
    (folder / "recipe.json").write_text(json.dumps({"recipe": RECIPE}))
    evaluations = [
        {"step": step, "reward": 0.1 + step / 100, "low": 0.1, "high": 0.5, "answered": 1.0,
         "success": None, "seconds": {"evaluation": 3}}
        for step in (0, 10, 20, 30)
    ]  # fmt: skip
    lines(folder / "evaluation.jsonl", evaluations)
    lines(folder / "metrics.jsonl", [{"step": n, "reward": 0.2, "loss": 1} for n in range(1, 31)])
    lines(folder / "sft.jsonl", [{"step": n, "loss": 1 / n} for n in range(1, 201)])
    return final


def lines(path: Path, values: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(value) + "\n" for value in values))


def test_the_folder_holds_what_is_needed_and_no_more(weights: Path, tmp_path: Path) -> None:
    made = make_package(training(tmp_path / "t", weights), "nano", tmp_path / "out")
    assert made == tmp_path / "out" / "nano"
    assert {path.name for path in made.iterdir()} == {
        "README.md", "card.json", "config.json", "generation_config.json", "model.safetensors",
        "tokenizer.json", "tokenizer_config.json", "training.json",
    }  # fmt: skip
    whole, half = (load_file(f / "model.safetensors") for f in (weights, made))
    assert whole.keys() == half.keys()
    for name, weight in whole.items():
        assert half[name].dtype == np.float16
        assert np.abs(half[name] - weight).max() <= np.abs(weight).max() * 2**-11
    assert b"moments" not in b"".join(path.read_bytes() for path in made.iterdir())


async def test_it_plays_by_its_name_as_the_checkpoint_did(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    final = training(tmp_path / "t", weights)
    make_package(final, "nano", tmp_path / "out")
    monkeypatch.setattr(packaged, "FOLDER", tmp_path / "out")
    before, after = make_model(f"numpy:{final}"), make_model("nano")
    assert (after.info.name, after.info.training, after.info.writes) == ("nano", "agemem", False)
    assert before.info.identity["weights"] != after.info.identity["weights"]
    request = ask(max_tokens=6)
    assert (await before.generate(request)).text == (await after.generate(request)).text
    await before.close()
    await after.close()


def test_the_settings_are_the_training_s_drawn_as_at_its_evaluation() -> None:
    found = agent_settings(RECIPE)
    assert found == {"shots": 0, "context_tokens": 1024, "max_tokens": 64, "top_p": None,
                     "temperature": 0.5}  # fmt: skip
    assert AgentConfig(**found).max_steps is None  # that is the environment's
    changed = agent_settings(RECIPE, ["max_tokens=99", "temperature=0"])
    assert (changed["max_tokens"], changed["temperature"]) == (99, 0)
    for bad, said in (("max_tokenz=1", "did you mean 'max_tokens'"), ("shots=4", "refused"),
                      ("shots", "key=value")):  # fmt: skip
        with pytest.raises(UsageError, match=said):
            agent_settings(RECIPE, [bad])


def test_the_card_says_in_its_first_line_what_such_a_model_can_and_cannot(
    weights: Path, tmp_path: Path
) -> None:
    final = training(tmp_path / "t", weights)
    made = make_package(final, "nano", tmp_path / "out", results="Won 3 of 9.", limits="- Slow.")
    text = (made / "README.md").read_text()
    count = sum(weight.size for weight in load_file(weights / "model.safetensors").values())
    first = text.splitlines()[0]
    assert first.startswith(f"A model of {count / 1e6:.1f} million weights: it can play tasks")
    assert "cannot follow instructions" in first
    for said in ("recipe `small` (`abc`), seed 3", "data `def`", "Won 3 of 9.", "- Slow.",
                 "--env alfworld --memory agemem --model nano -o alfworld.engine=native",
                 "| 20 | 0.300 [0.100, 0.500] | – | 100.0% |",
                 "demonstrations `cafe` in alfworld, pddl",
                 "ended at update 200 with a loss of 0.005"):  # fmt: skip
        assert said in text
    assert "| 30 |" not in text  # after the checkpoint


def test_curves_are_kept_up_to_the_checkpoint_and_places_and_clocks_are_not(
    weights: Path, tmp_path: Path
) -> None:
    made = make_package(training(tmp_path / "t", weights), "nano", tmp_path / "out")
    told = json.loads((made / "training.json").read_text())
    assert [line["step"] for line in told["evaluation"]] == [0, 10, 20]
    assert [line["step"] for line in told["grpo"]] == list(range(1, 21))
    assert (len(told["sft"]), told["sft"][0]["step"], told["sft"][-1]["step"]) == (50, 1, 200)
    assert told["recipe"]["model"]["path"] == "sft"
    everything = "".join((made / name).read_text() for name in ("training.json", "README.md"))
    assert "/home" not in everything
    assert "seconds" not in everything


def test_a_checkpoint_is_only_what_its_card_says(weights: Path, tmp_path: Path) -> None:
    trained = training(tmp_path / "a", weights)
    plain = training(tmp_path / "b", weights, UNTRAINED)
    alone = {**CARD, "reward": {"profile": "paper", "scheme": "answer-only"}}
    answers = training(tmp_path / "c", weights, alone)
    for checkpoint, name, said in (
        (trained, "nano-sft", "not trained by GRPO"),
        (plain, "nano", "trained by GRPO"),
        (trained, "nano-answer-only", "scheme answer-only"),
        (answers, "nano", "scheme all-returns"),
        (trained, "nanno", "did you mean 'nano'"),
    ):
        with pytest.raises(UsageError, match=said):
            make_package(checkpoint, name, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert make_package(plain, "nano-sft", tmp_path / "out").is_dir()
    assert make_package(answers, "nano-answer-only", tmp_path / "out").is_dir()


def test_another_seed_of_a_training_has_a_name_of_its_own_outside_of_the_package(
    weights: Path, tmp_path: Path
) -> None:
    final, out = training(tmp_path / "t", weights), tmp_path / "out"
    made = make_package(final, "nano-1", out, kind="nano")
    assert "--model numpy:DIR -o alfworld" in (made / "README.md").read_text()
    assert json.loads((made / "card.json").read_text())["weights"]["dtype"] == "float16"
    for name, kind, where, said in (
        ("nano-1", None, out, "did you mean 'nano'"),
        ("nano-1", "nano-sft", out, "nano-sft is not trained by GRPO"),
        ("nano-1", "nano", packaged.FOLDER, "unknown packaged checkpoint 'nano-1'"),
        ("../nano-1", "nano", out, "name"),
    ):
        with pytest.raises(UsageError, match=said):
            make_package(final, name, where, kind=kind)


def test_what_is_no_training_s_is_refused(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no recipe\.json above it"):
        make_package(weights, "nano", tmp_path / "out")


@pytest.mark.parametrize("bad", [7e4, np.inf, np.nan])
def test_a_number_that_float16_cannot_hold_is_refused(bad: float) -> None:
    with pytest.raises(DataError, match="the weight w holds numbers that float16 cannot"):
        halved({"w": np.array([1.0, bad], np.float32)})


def test_more_than_the_package_may_hold_is_refused_and_what_was_there_stays(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    final = training(tmp_path / "t", weights)
    first = make_package(final, "nano", tmp_path / "out")
    size = sum(path.stat().st_size for path in first.iterdir())
    before = (first / "card.json").read_text()
    monkeypatch.setattr(package, "LARGEST", size + 9)
    make_package(final, "nano", tmp_path / "out")  # takes the place of the first
    plain = training(tmp_path / "p", weights, UNTRAINED)
    with pytest.raises(DataError, match="MB together"):
        make_package(plain, "nano-sft", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["nano"]
    assert (first / "card.json").read_text() == before


def test_the_command_tells_the_size_or_one_line_of_what_is_wrong(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    final = training(tmp_path / "t", weights)
    out = str(tmp_path / "out")
    assert main([str(final), "nano", "--out", out, "--set", "max_tokens=99"]) == 0
    assert "MB; all checkpoints there" in capsys.readouterr().out
    assert json.loads((tmp_path / "out/nano/card.json").read_text())["agent"]["max_tokens"] == 99
    assert main([str(final), "nano-sft", "--out", out]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    spoilt = {"w": np.full(3, 1e6, np.float32)}
    save_file(spoilt, final / "model.safetensors")
    assert main([str(final), "nano", "--out", out]) == 2
    assert "float16" in capsys.readouterr().err
