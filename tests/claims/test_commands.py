"""`claims play` and `claims write` from end to end, with experts that act by rules."""

from __future__ import annotations

import copy
import csv
import gzip
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from claims_data import DEFINITION, written

from agemem_eval.harness.claims.cells import cell_runs
from agemem_eval.harness.claims.experiment import read_experiment
from agemem_eval.harness.claims.verdicts import CHECK
from agemem_eval.harness.cli import main
from agemem_eval.harness.errors import AgememError
from agemem_eval.harness.runner import rows_of

STAGED = {"hotpotqa": {"form": "three-stage", "paragraphs": "2", "distractors": "1"}}


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which a small experiment was played and written, once for all tests."""
    folder, definition = tmp_path_factory.mktemp("claims"), copy.deepcopy(DEFINITION)
    definition["tasks"] = {
        "one": {"env": "hotpotqa", "episodes": 3, "settings": {"options": STAGED}},
        "two": {"env": "hotpotqa", "episodes": 2, "score": "metrics.f1"},
    }
    part = definition["claims"]["a"]["parts"][0]
    part |= {"over": ["one", "two"]}
    definition["claims"]["e"] = {
        "says": "fewer retrievals",
        "parts": [{"says": "calls", "measure": "tool_calls.Retrieve_memory", "new": "rl",
                   "base": ["norl"], "over": ["one"], "direction": "down"}],
    }  # fmt: skip
    written(folder, definition)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert call("play") == 0
        assert call("write", "--out", "out") == 0
    return folder


@pytest.fixture
def played(once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it that is the current folder."""
    shutil.copytree(once, tmp_path / "played")
    monkeypatch.chdir(tmp_path / "played")
    return tmp_path / "played"


def call(command: str, *more: str) -> int:
    with pytest.raises(SystemExit) as done:
        main(["claims", command, "experiment.yaml", *more])
    return int(done.value.code or 0)


def episodes(folder: Path) -> list[dict[str, str]]:
    text = gzip.decompress((folder / "episodes.tsv.gz").read_bytes()).decode()
    return list(csv.DictReader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE))


def test_an_experiment_is_played_kept_and_judged(
    played: Path,
) -> None:
    lines = episodes(played / "out")
    assert len(lines) == 3 * (3 + 2)
    assert {line["cell"] for line in lines} == {
        f"{task}/{player}/0" for task in ("one", "two") for player in ("none", "norl", "rl")
    }
    of_norl = [line for line in lines if line["cell"] == "one/norl/0"]
    runs = {run.id: run for run in cell_runs(read_experiment("experiment.yaml", []),
            list(read_experiment("experiment.yaml", []).cells()), {})}  # fmt: skip
    (run,) = [run for id_, run in runs.items() if (id_.task, id_.player) == ("one", "norl")]
    (row,) = rows_of(played / "runs" / run.name)
    calls = row.tool_calls["Add_memory"]["mean"]
    assert sum(int(line["tool_calls.Add_memory"]) for line in of_norl) / 3 == pytest.approx(calls)
    tokens = row.tokens["agent"]["prompt"]
    assert sum(int(line["tokens.agent.prompt"]) for line in of_norl) / 3 == pytest.approx(tokens)
    assert row.success_rate == 1
    assert [line["success"] for line in of_norl] == ["1", "1", "1"]
    assert all(line["quality.mq"] == "" for line in lines), "no judge: no score, not 0"
    claims = json.loads((played / "out/claims.json").read_text())["claims"]
    assert [(one["claim"], one["verdict"], one["why"]) for one in claims] == [
        ("a", "undecided", f"a1: {CHECK}"), ("e", "undecided", f"e1: {CHECK}")
    ]  # fmt: skip
    score, calls_ = (one["parts"][0] for one in claims)
    assert (score["new_mean"], score["base_mean"]) == (1, 1)
    assert score["difference"]["value"] == 0
    assert calls_["difference"]["n_tasks"] == 3
    tables = (played / "out/tables.md").read_text()
    assert "| norl | base | 100.0 [43.9, 100.0] | 100.0 [34.2, 100.0] | 100.0" in tables
    assert f"scripted: {CHECK}" in tables


def test_the_same_command_plays_nothing_again_and_the_data_alone_give_the_same(
    played: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: path.read_bytes() for path in (played / "out").iterdir()}
    capsys.readouterr()
    assert call("play") == 0
    assert capsys.readouterr().err.count("there already") == 6
    (played / "runs").rename(played / "elsewhere")
    assert call("write", "--out", "out", "--from-data") == 0
    assert "(a) undecided: training helps" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in (played / "out").iterdir()} == before
    assert call("write", "--out", "out", "--runs-dir", "elsewhere") == 0
    assert {path.name: path.read_bytes() for path in (played / "out").iterdir()} == before
    assert call("write", "--out", "out") == 0  # where no runs are
    assert {path.name: path.read_bytes() for path in (played / "out").iterdir()} == before
    assert call("write", "--out", "empty") == 0
    nothing = json.loads((played / "empty/claims.json").read_text())["claims"]
    assert [one["why"] for one in nothing] == [
        "a1: not measured: one/rl/0 and 3 more cells", "e1: not measured: one/rl/0 and 1 more cells"
    ]  # fmt: skip
    assert len(episodes(played / "empty")) == 0
    assert call("write", "--out", "out", "--replace") == 0  # there is nothing that does not fit
    assert {path.name: path.read_bytes() for path in (played / "out").iterdir()} == before


def test_a_dry_run_tells_cells_and_episodes_and_plays_nothing(
    tmp_path: Path, definition: dict[str, Any], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    written(tmp_path, definition)
    monkeypatch.chdir(tmp_path)
    assert call("play", "--dry-run", "--episodes", "2") == 0
    # Both task sets are alike but for the score that counts, which is no other run.
    assert "3 runs for 6 cells, 6 episodes to play" in capsys.readouterr().out
    assert not (tmp_path / "runs").exists()


def test_an_environment_that_is_not_installed_is_refused_or_left_out(
    tmp_path: Path, definition: dict[str, Any], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr("agemem_eval.envs.babyai.env.find_spec", lambda *_: None)
    definition["tasks"]["two"] = {
        "env": "three-stage", "episodes": 2,
        "settings": {"options": {"three-stage": {"env": "babyai"}}},
    }  # fmt: skip
    written(tmp_path, definition)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as refused:
        main(["claims", "play", "experiment.yaml", "--dry-run"])
    assert refused.value.code == 3
    assert "agemem-eval[babyai]" in capsys.readouterr().err
    assert call("play", "--dry-run", "--skip-missing") == 0
    said = capsys.readouterr().out
    assert "3 runs for 3 cells, 9 episodes to play" in said
    assert "left out: two: " in said


def test_an_untrained_model_is_refused_where_a_trained_one_is_meant(
    tmp_path: Path, definition: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    definition["models"]["trained"]["specs"] = ["random"]
    written(tmp_path, definition)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as done:
        main(["claims", "play", "experiment.yaml"])
    assert done.value.code == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"title": 3}, "title"),
        ({"tasks": {"one": {"env": "hotpotqa", "episodes": 0}}}, "tasks.one.episodes"),
        ({"more": 1}, "more"),
        ({"players": {"x": {"memory": "none", "model": "bass"}}}, "did you mean 'base'"),
        ({"tables": {"main": {"title": "x", "tasks": ["on"], "players": ["rl"]}}}, "'one'"),
    ],
)
def test_a_definition_that_is_wrong_is_refused_in_a_line(
    change: dict[str, Any], said: str, experiment, definition: dict[str, Any]
) -> None:
    definition.update(change)
    with pytest.raises(AgememError, match=said) as refused:
        experiment()
    assert "\n" not in str(refused.value)


def test_a_claim_about_cells_that_no_table_has_is_refused(experiment, definition) -> None:
    definition["tables"]["main"]["players"].remove("norl")
    with pytest.raises(AgememError, match="claim a: no table has norl on one"):
        experiment()
    definition["tables"]["main"]["players"].append("norl")
    part = definition["claims"]["a"]["parts"][0]
    part["paper"] = {"table": "table2", "new": ["AgeMem/Average"], "base": ["AgeMem/Avg"]}
    with pytest.raises(AgememError, match="AgeMem/Avg"):
        experiment()


def test_models_are_replaced_by_name_and_a_checkpoint_stands_once(experiment) -> None:
    found = experiment("trained=scripted:a", "trained=scripted:b", episodes=2)
    assert found.models["trained"].specs == ("scripted:a", "scripted:b")
    assert [len(list(found.cells()))] == [2 * (1 + 1 + 2)]
    assert found.planned("one") == 2
    with pytest.raises(AgememError, match="given twice"):
        experiment("trained=scripted")
    with pytest.raises(AgememError, match="NAME=SPEC"):
        experiment("scripted")


def test_options_of_a_model_go_to_whichever_plays_and_unknown_ones_are_refused(
    experiment, definition
) -> None:
    definition["tasks"]["one"]["model_options"] = {"actions": "restricted"}
    with pytest.raises(AgememError, match="actions"):
        cell_runs(experiment(), list(experiment().cells()), {})
    definition["tasks"]["one"]["model_options"] = {}
    definition["tasks"]["one"]["settings"] = {"options": {"numpy": {"max_batch": "4"}}}
    with pytest.raises(AgememError, match="leave its table out with --table"):
        cell_runs(experiment(), list(experiment().cells()), {})
    definition["tasks"]["one"]["settings"] = {"episodes": 4}
    with pytest.raises(AgememError, match="episodes is no setting"):
        cell_runs(experiment(), list(experiment().cells()), {})


def test_the_experiment_of_the_package_is_whole_and_its_paper_numbers_are_the_papers() -> None:
    nano = read_experiment("nano", [])
    assert list(nano.claims) == list("abcdefg")
    memories = {nano.players[p].memory for p in nano.tables["main"].players}
    assert memories >= {"none", "rag", "mem0", "mem0g", "amem", "langmem", "agemem-norl",
                        "agemem-rag", "agemem"}  # fmt: skip
    assert {nano.tasks[t].env for t in nano.tables["main"].tasks} == {
        "alfworld", "scienceworld", "pddl", "babyai", "hotpotqa"
    }  # fmt: skip
    trained = [model for model in nano.models.values() if model.base]  # each in three seeds
    assert len(trained) == 3
    assert all(len(model.specs) == 3 for model in trained)
    from agemem_eval.harness.claims.experiment import reported_values

    (a,) = nano.claims["a"].parts
    assert reported_values(a.paper) == pytest.approx({"Qwen2.5-7B": 0.0853, "Qwen3-4B": 0.0872})
    f = nano.claims["f"].parts[0]
    assert reported_values(f.paper) == pytest.approx({"Qwen2.5-7B": -69, "Qwen3-4B": -119})
    retrieve = nano.claims["e"].parts[3]
    assert reported_values(retrieve.paper) == pytest.approx(
        {"Qwen2.5-7B": -0.36, "Qwen3-4B": -0.27}
    )
