"""Data sets and model cards, read by Hugging Face's own libraries."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from export_runs import SECRET

from agemem_eval.harness.exports.command import export_command
from agemem_eval.harness.exports.source import Source
from agemem_eval.harness.exports.summary import summaries

datasets = pytest.importorskip("datasets")
hub = pytest.importorskip("huggingface_hub")
pytestmark = pytest.mark.exports


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, and no network."""
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    return tmp_path / "cache"


def test_a_data_set_is_read_whole_and_by_table(nasty: Path, tmp_path: Path, offline: Path) -> None:
    out = tmp_path / "set"
    export_command([str(nasty)], "datasets", Path("runs"), out=out)
    both = datasets.load_from_disk(str(out))
    assert {name: part.num_rows for name, part in both.items()} == {"episodes": 5, "turns": 6}
    rows = {row["task"]: row for row in both["episodes"]}
    assert (rows["t0"]["success"], rows["t2"]["success"]) == (True, None)
    for name in ("episodes", "turns"):
        part = datasets.load_dataset(str(out), name, split="test", cache_dir=str(offline))
        assert part.to_list() == both[name].to_list()
        files = {"test": str(out / "data" / f"{name}.parquet")}
        plain = datasets.load_dataset("parquet", data_files=files, cache_dir=str(offline))
        assert plain["test"].to_list() == both[name].to_list()
    assert datasets.get_dataset_config_names(str(out)) == ["episodes", "turns"]


def test_nothing_in_a_data_set_names_this_machine(nasty: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    export_command([str(nasty)], "datasets", Path("runs"), out=out)
    for path in out.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert str(tmp_path).encode() not in content, path
            assert SECRET.encode() not in content, path


def test_the_card_of_a_data_set_is_one(nasty: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    export_command([str(nasty)], "datasets", Path("runs"), out=out)
    card = hub.DatasetCard.load(out / "README.md")
    assert [config["config_name"] for config in card.data.configs] == ["episodes", "turns"]
    assert card.data.size_categories == ["n<1K"]
    assert "4 of 6" in card.content
    assert "`tool_calls.unknown_tool`" in card.content


def test_a_model_card_is_read_by_the_hub_and_says_what_the_statistics_say(
    nasty: Path, played: Path, tmp_path: Path
) -> None:
    out = tmp_path / "card.md"
    export_command([str(nasty), str(played)], "model-card", Path("runs"), out=out)
    card = hub.ModelCard.load(out)
    index = card.data.to_dict()["model-index"]
    told = {}
    for model in index:
        single = hub.ModelCardData(**{"model-index": [model]}, ignore_metadata_errors=False)
        for result in single.eval_results or []:
            place = (result.dataset_type, result.dataset_config, result.metric_type)
            told[place] = (result.metric_value, result.metric_args)
    cells = [summary for run in (nasty, played) for summary in summaries(Source(run))]
    assert len({place[:2] for place in told}) == len(cells)
    for summary in cells:
        found = summary.scores["success"]
        config = f"{summary.about['memory']}/{summary.about['run']}"
        value, arguments = told[(summary.about["env"], config, "success")]
        assert value == pytest.approx(found.value, abs=1e-6)
        assert arguments["low"] == pytest.approx(found.low, abs=1e-6)
        assert arguments["n"] == found.n


def test_a_model_card_that_is_ours_is_replaced(nasty: Path, tmp_path: Path) -> None:
    out = tmp_path / "card.md"
    for _ in range(2):
        export_command([str(nasty)], "model-card", Path("runs"), out=out)
    assert out.read_text().count("## Results") == 1
    assert json.dumps(hub.ModelCard.load(out).data.to_dict()).count("protocol")
