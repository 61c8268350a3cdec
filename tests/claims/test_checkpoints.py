"""An experiment of real checkpoints, whose random weights always answer: seeds, and restriction."""

from __future__ import annotations

import copy
import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from answering import make_answering
from claims_data import DEFINITION, written

from agemem_eval.harness.cli import main

ALL = "all-returns"


def call(*words: str) -> int:
    with pytest.raises(SystemExit) as done:
        main(["claims", words[0], "experiment.yaml", *words[1:]])
    return int(done.value.code or 0)


Played = tuple[Path, dict[str, Any]]


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """The folder in which three checkpoints have played, and the definition; once for all tests."""
    folder, definition = tmp_path_factory.mktemp("checkpoints"), copy.deepcopy(DEFINITION)
    for seed, name in enumerate(("sft", "rl-0", "rl-1")):
        make_answering(folder / name, seed)
        base = {"hash": "b"} if seed else {}
        training = "agemem" if seed else "none"
        told = {"training": training, "seed": seed, "base": base, "reward": {"scheme": ALL}}
        (folder / name / "card.json").write_text(json.dumps(told))
    definition["settings"] |= {
        "max_steps": 2, "shots": 0, "max_tokens": 40, "max_turns_per_step": 1,
    }  # fmt: skip
    definition["models"]["base"]["specs"] = ["numpy:sft"]
    trained = definition["models"]["trained"]
    trained |= {"specs": ["numpy:rl-0", "numpy:rl-1"], "scheme": ALL, "base": "base"}
    task = {"env": "alfworld", "episodes": 6, "model_options": {"actions": "restricted"}}
    definition["tasks"] = {"one": {**task, "score": "turns"}}
    definition["tables"]["main"] |= {"tasks": ["one"], "players": ["norl", "rl"]}
    written(folder, definition)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert call("play") == 0
    return folder, definition


@pytest.fixture
def played(once: Played, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Played:
    """A copy of it that is the current folder."""
    folder, definition = once
    shutil.copytree(folder, tmp_path / "played")
    monkeypatch.chdir(tmp_path / "played")
    return tmp_path / "played", copy.deepcopy(definition)


def test_seeds_of_a_training_are_played_apart_and_judged_together(played: Played) -> None:
    out = played[0] / "out"
    assert call("write", "--out", "out") == 0
    cells = list(csv.DictReader((out / "cells.tsv").open(), delimiter="\t"))
    assert [c["cell"] for c in cells] == ["one/norl/0", "one/rl/0", "one/rl/1"]
    assert [c["named"] for c in cells] == [
        f"numpy:{name} (restricted)" for name in ("sft", "rl-0", "rl-1")
    ]
    assert len({c["model_hash"] for c in cells}) == 3
    assert len({c["protocol_hash"] for c in cells}) == 1
    (claim,) = json.loads((out / "claims.json").read_text())["claims"]
    (part,) = claim["parts"]
    # Every model takes both turns of every game: no difference, and none that could be doubted.
    assert (part["new_mean"], part["base_mean"]) == (2, 2)
    assert part["difference"]["n"] == 3 * 6
    assert part["by_seed"] == {"rl": [2, 2]}
    assert (claim["verdict"], claim["why"]) == ("undecided", "a1: the interval holds 0")


def refused(said: str, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert call("play") == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        # A card is part of what a model is: nothing more is played, and what there is is kept.
        ({"seed": 7}, "give another --runs-dir"),
        ({"seed": 1}, "numpy:rl-0 and numpy:rl-1 are of the same seed, 1"),
        ({"base": {"hash": "c"}}, "numpy:rl-0 and numpy:rl-1 were not trained from the same base"),
        (
            {"reward": {"scheme": "answer-only"}},
            "numpy:rl-1 was trained by the scheme answer-only, and all-returns is meant here",
        ),
        (None, "cannot read rl-1/card.json"),
    ],
)
def test_a_checkpoint_that_is_not_the_one_meant_is_refused_before_anything_is_played(
    change: dict[str, Any] | None, said: str, played: Played, capsys: pytest.CaptureFixture[str]
) -> None:
    path = played[0] / "rl-1/card.json"
    before = path.read_text()
    path.write_text("no card" if change is None else json.dumps(json.loads(before) | change))
    refused(said, capsys)
    path.write_text(before)
    assert call("play") == 0


def test_a_trained_checkpoint_is_refused_where_an_untrained_one_is_meant(
    played: Played, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, definition = played
    trained = definition["models"]["trained"]
    trained |= {"specs": ["numpy:rl-0", "numpy:sft"], "scheme": None, "base": None}
    definition["models"]["base"]["specs"] = ["numpy:rl-1"]
    written(folder, definition)
    refused("has the training 'agemem', and 'none' is meant here", capsys)
