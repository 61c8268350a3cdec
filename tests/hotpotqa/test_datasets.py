"""Folders and files of the library `datasets`, written by the library itself."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from agemem_eval.envs.hotpotqa.env import HotpotqaEnvironment
from agemem_eval.harness.errors import DataError

sys.path.insert(0, str(Path(__file__).resolve().parent))
from support_data import columns, record, write

pytestmark = pytest.mark.datasets
datasets = pytest.importorskip("datasets", reason="needs the extra `datasets`")
RECORDS = [record(n) for n in range(5)]


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory, monkeypatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


@pytest.fixture
def rows():
    return datasets.Dataset.from_list([columns(r) for r in RECORDS])


def same_as_json(path: Path, tmp_path: Path, split: str = "file") -> None:
    plain = HotpotqaEnvironment(
        data=str(write(tmp_path / "plain.json", RECORDS)), allow_short="true"
    )
    other = HotpotqaEnvironment(data=str(path), allow_short="true")
    assert other.data_hash(split) == plain.data_hash(split)
    fresh = HotpotqaEnvironment(data=str(path))  # as in a worker, which lists nothing
    tasks = zip(plain.tasks(split), other.tasks(split), strict=True)
    for one, two in tasks:
        assert (one.id, one.type, one.oracle_steps) == (two.id, two.type, two.oracle_steps)
        assert fresh.reset(two, 0) == plain.reset(one, 0)
        assert fresh.step("search[Odo]") == plain.step("search[Odo]")


def test_a_saved_dataset(rows, tmp_path: Path) -> None:
    rows.save_to_disk(tmp_path / "saved")
    same_as_json(tmp_path / "saved", tmp_path)


def test_a_saved_dataset_of_several_splits(rows, tmp_path: Path) -> None:
    both = datasets.DatasetDict({"validation": rows, "train": rows.select([0])})
    both.save_to_disk(tmp_path / "saved")
    same_as_json(tmp_path / "saved", tmp_path, "dev")
    with pytest.raises(DataError, match="no data for the split file, only for train, validation"):
        HotpotqaEnvironment(data=str(tmp_path / "saved")).tasks("file")


def test_parquet_as_on_the_hub(rows, tmp_path: Path) -> None:
    folder = tmp_path / "hub" / "distractor"
    folder.mkdir(parents=True)
    rows.select(range(2)).to_parquet(folder / "validation-00000-of-00002.parquet")
    rows.select(range(2, 5)).to_parquet(folder / "validation-00001-of-00002.parquet")
    same_as_json(tmp_path / "hub", tmp_path, "dev")
    same_as_json(folder, tmp_path, "dev")


def test_one_parquet_file(rows, tmp_path: Path) -> None:
    rows.to_parquet(tmp_path / "some.parquet")
    same_as_json(tmp_path / "some.parquet", tmp_path)


def test_broken_data_name_the_folder_and_the_record(rows, tmp_path: Path) -> None:
    broken = datasets.Dataset.from_list([columns(RECORDS[0]), {**columns(record(1)), "answer": ""}])
    broken.save_to_disk(tmp_path / "saved")
    with pytest.raises(DataError, match="saved: record 2: 'answer' is empty"):
        HotpotqaEnvironment(data=str(tmp_path / "saved")).tasks("file")
    twice = datasets.Dataset.from_list([columns(RECORDS[0])] * 2)
    twice.save_to_disk(tmp_path / "twice")
    with pytest.raises(DataError, match="twice: record 2: the id 'id0' has been used before"):
        HotpotqaEnvironment(data=str(tmp_path / "twice")).tasks("file")
    datasets.Dataset.from_dict({"x": [1]}).save_to_disk(tmp_path / "other")
    with pytest.raises(DataError, match="other: record 1: 'id' should be a text"):
        HotpotqaEnvironment(data=str(tmp_path / "other")).tasks("file")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(DataError, match=r"bad\.parquet: `datasets` cannot read it"):
        HotpotqaEnvironment(data=str(tmp_path / "bad.parquet")).tasks("file")
