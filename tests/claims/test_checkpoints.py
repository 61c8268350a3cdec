"""An experiment of real checkpoints, whose random weights always answer: seeds, and restriction."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from answering import make_answering
from claims_data import written

from agemem_eval.harness.cli import main

ALL = "all-returns"


def call(*words: str) -> int:
    with pytest.raises(SystemExit) as done:
        main(["claims", words[0], "experiment.yaml", *words[1:]])
    return int(done.value.code or 0)


def test_seeds_of_a_training_are_played_apart_and_judged_together(
    tmp_path: Path, definition: dict[str, Any], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("sft", "rl-0", "rl-1")):
        training = "agemem" if seed else "none"
        card = make_answering(tmp_path / name, seed) / "card.json"
        base = {"hash": "b"} if seed else {}
        told = {"training": training, "seed": seed, "base": base, "reward": {"scheme": ALL}}
        card.write_text(json.dumps(told))
    definition["settings"] |= {
        "max_steps": 2,
        "shots": 0,
        "max_tokens": 40,
        "max_turns_per_step": 1,
    }
    definition["models"]["base"]["specs"] = ["numpy:sft"]
    trained = definition["models"]["trained"]
    trained |= {"specs": ["numpy:rl-0", "numpy:rl-1"], "scheme": ALL, "base": "base"}
    task = {"env": "alfworld", "episodes": 6, "model_options": {"actions": "restricted"}}
    definition["tasks"] = {"one": {**task, "score": "turns"}}
    table = definition["tables"]["main"]
    table |= {"tasks": ["one"], "players": ["norl", "rl"]}
    written(tmp_path, definition)
    assert call("play") == 0
    assert call("write", "--out", "out") == 0
    cells = list(csv.DictReader((tmp_path / "out/cells.tsv").open(), delimiter="\t"))
    assert [c["cell"] for c in cells] == ["one/norl/0", "one/rl/0", "one/rl/1"]
    assert [c["named"] for c in cells] == [
        f"numpy:{name} (restricted)" for name in ("sft", "rl-0", "rl-1")
    ]
    assert len({c["model_hash"] for c in cells}) == 3
    assert len({c["protocol_hash"] for c in cells}) == 1
    (claim,) = json.loads((tmp_path / "out/claims.json").read_text())["claims"]
    (part,) = claim["parts"]
    # Every model takes both turns of every game: no difference, and none that could be doubted.
    assert (part["new_mean"], part["base_mean"]) == (2, 2)
    assert part["difference"]["n"] == 3 * 6
    assert part["by_seed"] == {"rl": [2, 2]}
    assert (claim["verdict"], claim["why"]) == ("undecided", "a1: the interval holds 0")

    def refused(said: str) -> None:
        written(tmp_path, definition)
        capsys.readouterr()
        assert call("play") == 2
        assert said in capsys.readouterr().err

    def tell(name: str, **change: Any) -> None:
        path = tmp_path / name / "card.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | change))

    # A card is part of what a model is: nothing more is played, and what there is is kept.
    before = json.loads((tmp_path / "rl-1/card.json").read_text())
    tell("rl-1", seed=7)
    refused("give another --runs-dir")
    tell("rl-1", seed=1)
    refused("numpy:rl-0 and numpy:rl-1 are of the same seed, 1")
    tell("rl-1", seed=2, base={"hash": "c"})
    refused("numpy:rl-0 and numpy:rl-1 were not trained from the same base")
    tell("rl-1", base={"hash": "b"}, reward={"scheme": "answer-only"})
    refused("numpy:rl-1 was trained by the scheme answer-only, and all-returns is meant here")
    (tmp_path / "rl-1/card.json").write_text("no card")
    refused("cannot read rl-1/card.json")
    (tmp_path / "rl-1/card.json").write_text(json.dumps(before))
    assert call("play") == 0

    trained |= {"specs": ["numpy:rl-0", "numpy:sft"], "scheme": None, "base": None}
    definition["models"]["base"]["specs"] = ["numpy:rl-1"]
    refused("has the training 'agemem', and 'none' is meant here")
