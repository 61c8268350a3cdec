"""Weights & Biases and MLflow: what their own libraries find in what was written."""

from __future__ import annotations

import csv
import json
import logging
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agemem_fakes.episodes import episode
from export_runs import SECRET, write_run

from agemem_eval.harness.errors import UsageError
from agemem_eval.harness.exports.command import export_command
from agemem_eval.harness.exports.source import Source
from agemem_eval.harness.exports.summary import numbers, summaries

pytestmark = pytest.mark.exports


def _records(path: Path) -> Iterator[Any]:
    """The records of an offline run: LevelDB's log format after a header of 7 bytes."""
    from wandb.proto import wandb_internal_pb2

    content, place, whole = path.read_bytes(), 7, b""
    while place < len(content):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        _, size, kind = struct.unpack("<IHB", content[place : place + 7])
        whole += content[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # a whole record, or its last part
            record = wandb_internal_pb2.Record()
            record.ParseFromString(whole)
            whole = b""
            yield record


def _items(items: Any) -> dict[str, Any]:
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}


@pytest.fixture
def wandb_runs(nasty: Path, tmp_path: Path) -> dict[str, list[Any]]:
    """The records of the offline runs of the run with all that can go wrong, by run."""
    pytest.importorskip("wandb")
    out = tmp_path / "out"
    for _ in range(2):  # the second takes the place of the first
        export_command([str(nasty)], "wandb", Path("runs"), out=out, project="mine")
    return {path.stem: list(_records(path)) for path in out.glob("wandb/*/*.wandb")}


def test_an_offline_run_of_wandb_holds_configuration_summary_and_table(
    nasty: Path, tmp_path: Path, wandb_runs: dict[str, list[Any]]
) -> None:
    (summary,) = summaries(Source(nasty))
    assert list(wandb_runs) == [f"run-{summary.id}"]
    (records,) = wandb_runs.values()
    (run,) = [record.run for record in records if record.WhichOneof("record_type") == "run"]
    assert (run.project, run.run_group, run.display_name) == (
        "mine", "nasty", "nasty/count/test/none/scripted (oracle)",
    )  # fmt: skip
    assert run.host == ""
    config = _items(run.config.update)
    assert config["protocol"] == summary.frame.protocol.id
    assert config["config"]["options"] == {"count": {"data": "…/data"}}
    told: dict[str, Any] = {}
    for record in records:
        told.update(_items(record.summary.update))
        told.update(_items(record.history.item))
    assert {name: told[name] for name in numbers(summary)} == pytest.approx(numbers(summary))
    assert told["coverage"] == pytest.approx(4 / 6)
    (table,) = tmp_path.glob("out/wandb/*/files/media/table/*.json")
    content = json.loads(table.read_text())
    assert (len(content["data"]), told["episodes.nrows"]) == (5, 5)
    success = content["columns"].index("success")
    assert [row[success] for row in content["data"]] == [True, False, None, True, True]


def test_what_wandb_keeps_has_no_secret_and_no_log(
    tmp_path: Path, wandb_runs: dict[str, list[Any]]
) -> None:
    for path in (tmp_path / "out").rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes()
            assert path.suffix not in (".log", ".txt", ".yaml"), path
    assert wandb_runs


@pytest.fixture
def client(tmp_path: Path, nasty: Path) -> Any:
    """MLflow's client of a store that the same run was exported to twice."""
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    for _ in range(2):
        export_command([str(nasty)], "mlflow", Path("runs"), out=tmp_path / "out", project="mine")
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    return mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/out/mlflow.db")


def test_mlflow_finds_parameters_metrics_and_episodes(
    client: Any, nasty: Path, played: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (summary,) = summaries(Source(nasty))
    experiment = client.get_experiment_by_name("mine")
    (run,) = client.search_runs([experiment.experiment_id])  # the first export was replaced
    assert run.data.metrics == pytest.approx(numbers(summary))
    assert run.data.params["memory"] == "none"
    assert run.data.params["protocol"] == summary.frame.protocol.id
    assert (run.info.status, run.info.run_name) == ("FINISHED", summary.name)
    assert run.info.end_time - run.info.start_time == 500
    names = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert names == {"episodes.csv", "config.json"}
    folder = tmp_path / "fetched"
    folder.mkdir()
    path = client.download_artifacts(run.info.run_id, "episodes.csv", str(folder))
    with Path(path).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["success"] for row in rows] == ["true", "false", "", "true", "true"]
    assert SECRET not in Path(path).read_text()
    # another run goes into the same store
    export_command([str(played)], "mlflow", Path("runs"), out=tmp_path / "out", project="mine")
    assert len(client.search_runs([experiment.experiment_id])) == 3
    assert "2 runs in the experiment mine" in capsys.readouterr().out


def test_mlflow_takes_the_store_of_the_environment_and_refuses_a_strangers_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    run = write_run(tmp_path / "run", [episode("t0", turns=0)])
    uri = f"sqlite:///{tmp_path}/given.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.chdir(tmp_path)
    export_command([str(run)], "mlflow", Path("runs"))
    found = mlflow.MlflowClient(tracking_uri=uri).get_experiment_by_name("agemem-eval")
    assert found is not None
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("")
    with pytest.raises(UsageError, match=r"holds no mlflow\.db"):
        export_command([str(run)], "mlflow", Path("runs"), out=tmp_path / "mine")
