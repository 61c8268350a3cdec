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
        card.write_text(json.dumps({"training": training}))
    definition["settings"] |= {
        "max_steps": 2,
        "shots": 0,
        "max_tokens": 40,
        "max_turns_per_step": 1,
    }
    definition["models"]["base"]["specs"] = ["numpy:sft"]
    definition["models"]["trained"]["specs"] = ["numpy:rl-0", "numpy:rl-1"]
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

    definition["models"]["trained"]["specs"] = ["numpy:rl-0", "numpy:sft"]
    definition["models"]["base"]["specs"] = ["numpy:rl-1"]
    written(tmp_path, definition)
    capsys.readouterr()
    assert call("play") == 2
    assert "has the training 'agemem', and 'none' is meant here" in capsys.readouterr().err
