"""Data frames, Parquet and CSV read by pandas and pyarrow, against the records they come from."""

from __future__ import annotations

import json
import math
import tempfile
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from agemem_fakes.episodes import episode, key
from export_runs import FORMULA, SECRET, events_of, write_run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import agemem_eval
from agemem_eval.harness.exports.command import export_command
from agemem_eval.harness.exports.source import Source
from agemem_eval.harness.ledger import RoleUsage
from agemem_eval.harness.records import Episode
from agemem_eval.harness.store import RunStore

pd = pytest.importorskip("pandas")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
pc = pytest.importorskip("pyarrow.csv")
arrow = pytest.importorskip("agemem_eval.harness.exports.arrow")  # needs those above
pytestmark = pytest.mark.frames

_COUNTS = st.integers(0, 2**40)
_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/"), max_size=12)
_SCORE = st.none() | st.floats(allow_nan=False, allow_infinity=False)
_NAME = st.sampled_from(["em", "f1", "a.b", "ä"])
_TOOL = st.sampled_from(["Add_memory", "Delete_memory", "=made up"])
_STATUS = st.sampled_from(["success", "validation_error", "unknown_tool"])
_EPISODES = st.builds(
    episode,
    status=st.sampled_from(["completed", "limit", "agent_error", "infra_error"]),
    success=st.none() | st.booleans(),
    progress=_SCORE,
    reward=_SCORE,
    steps=_COUNTS,
    turns=st.just(0),
    memory_entries=st.none() | _COUNTS,
    wall_s=st.floats(0, 1e6),
    started_at=st.datetimes().map(lambda d: d.isoformat() + "+00:00"),
    reason=_TEXT,
    fault=st.none() | _TEXT,
    loss=st.none() | _TEXT,
    metrics=st.dictionaries(_NAME, _SCORE),
    quality=st.dictionaries(_NAME, _SCORE),
    labels=st.dictionaries(st.sampled_from(["judge", "embedder"]), _TEXT),
    tokens=st.dictionaries(
        st.sampled_from(["agent", "judge"]), st.builds(RoleUsage, _COUNTS, _COUNTS, _COUNTS)
    ),
    tool_calls=st.dictionaries(_TOOL, st.dictionaries(_STATUS, st.integers(0, 9), max_size=2)),
)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(_EPISODES, min_size=1, max_size=4))
def test_what_parquet_gives_pandas_is_what_the_records_say(episodes: list[Episode]) -> None:
    for i, one in enumerate(episodes):
        one.key = key(f"t{i}")
    with tempfile.TemporaryDirectory() as name:
        run = write_run(Path(name) / "run", episodes)
        arrow.write_tables(Path(name), [Source(run)])
        read = pd.read_parquet(Path(name) / "episodes.parquet").set_index("task")
        for one in RunStore.open(run).records():
            _same(read.loc[one.key.task], one)


def _same(row: Any, one: Episode) -> None:
    """Hold a row against the record, field by field."""
    for name in ("status", "reason", "fault", "loss", "success", "progress", "reward", "steps",
                 "memory_entries", "wall_s", "attempt", "order"):  # fmt: skip
        assert _value(row[name]) == getattr(one, name), name
    assert row["started_at"] == datetime.fromisoformat(one.started_at)
    for name, value in asdict(one.key).items():
        if name != "task":
            assert _value(row[name]) == value
    for group in ("metrics", "quality", "labels"):
        for name, value in getattr(one, group).items():
            assert _value(row.get(f"{group}.{name}")) == value
    for role, usage in one.tokens.items():
        assert row[f"tokens.{role}.prompt"] == usage.prompt_tokens
        assert row[f"tokens.{role}.estimated_calls"] == usage.estimated_calls
    calls = sum(n for by in one.tool_calls.values() for n in by.values())
    assert sum(n for name, n in row.items() if name.startswith("tool_calls.")) == calls
    succeeded = sum(by.get("success", 0) for by in one.tool_calls.values())
    failed = sum(n for name, n in row.items() if name.startswith("tool_failed."))
    assert calls - failed == succeeded


def _value(value: Any) -> Any:
    return None if value is None or value is pd.NA or value != value else value


def test_a_frame_has_the_types_that_a_missing_value_needs(nasty: Path) -> None:
    run = agemem_eval.load_run(nasty)
    types = run.episodes.dtypes.astype(str)
    assert types[["success", "scored", "memory_entries", "steps"]].tolist() == [
        "boolean", "bool", "Int64", "int64",
    ]  # fmt: skip
    assert types[["progress", "loss"]].tolist() == ["float64", "string"]
    assert types["started_at"] == "datetime64[us, UTC]"
    assert run.turns.dtypes.astype(str)[["valid", "progress"]].tolist() == ["boolean", "float64"]
    broken = run.episodes[run.episodes.status == "infra_error"].iloc[0]
    assert broken["success"] is pd.NA
    assert math.isnan(broken["progress"])
    assert list(run.unread) == run.episodes.episode[run.episodes.task.isin(["t3", "t4"])].tolist()


def test_a_frame_agrees_with_the_columns_that_tables_are_made_from(played: Path) -> None:
    run = agemem_eval.load_run(played)
    assert len(run.rows) == len(run.cells) == 2
    for cell, row in zip(run.cells, run.rows, strict=True):
        own = run.episodes[run.episodes.memory == cell.base.memory].set_index("episode")
        for name, column in cell.columns.items():
            values = own.loc[[k.id for k in cell.keys], name].astype("float64")
            assert values.tolist() == column.tolist(), name
        assert own.success.mean() == row.success_rate
    assert len(run.turns) == run.episodes.turns.sum()


def test_parquet_says_what_it_holds_and_pandas_reads_the_same_types(
    played: Path, tmp_path: Path
) -> None:
    export_command([str(played)], "parquet", Path("runs"), out=tmp_path / "out")
    run = agemem_eval.load_run(played)
    for name, frame in (("episodes", run.episodes), ("turns", run.turns)):
        path = tmp_path / "out" / f"{name}.parquet"
        pd.testing.assert_frame_equal(pd.read_parquet(path), frame)
        about = {k.decode(): v.decode() for k, v in pq.read_schema(path).metadata.items()}
        assert about["agemem_eval.table"] == name
        assert about["agemem_eval.table_version"] == "1"
        assert json.loads(about["agemem_eval.runs"]) == ["played"]
        ids = {cell.protocol.id for cell in run.cells}
        assert set(json.loads(about["agemem_eval.protocols"]).values()) == ids


def test_turns_are_written_in_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write_run(tmp_path / "run", [episode(f"t{i}", turns=5) for i in range(4)])
    monkeypatch.setattr(arrow, "_ROWS", 8)
    arrow.write_tables(tmp_path, [Source(run)])
    file = pq.ParquetFile(tmp_path / "turns.parquet")
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [8, 8, 4]


def test_planted_texts_are_whole_in_parquet_and_secrets_are_not(
    nasty: Path, tmp_path: Path
) -> None:
    export_command([str(nasty)], "parquet", Path("runs"), out=tmp_path / "out")
    turns = pd.read_parquet(tmp_path / "out" / "turns.parquet")
    assert turns.completion[0].startswith(FORMULA)
    assert turns.completion[2].startswith("half a pair ?, a bell \x07")
    everything = str(pq.read_table(tmp_path / "out" / "turns.parquet").to_pylist())
    everything += str(pq.read_table(tmp_path / "out" / "episodes.parquet").to_pylist())
    assert SECRET not in everything
    assert str(tmp_path) not in everything


def test_a_csv_read_by_pyarrow_is_the_parquet(tmp_path: Path) -> None:
    one = episode("t0", turns=2, loss="", reason="NA", progress=None)
    run = write_run(tmp_path / "run", [one], lambda e: events_of(e, 'a "b",\nc'))
    for to in ("csv", "parquet"):
        export_command([str(run)], to, Path("runs"), out=tmp_path / to)
    for name in ("episodes", "turns"):
        table = pq.read_table(tmp_path / "parquet" / f"{name}.parquet")
        types = {field.name: field.type for field in table.schema}
        options = pc.ConvertOptions(
            strings_can_be_null=True, quoted_strings_can_be_null=False, column_types=types
        )
        lines = pc.ParseOptions(newlines_in_values=True)
        read = pc.read_csv(
            tmp_path / "csv" / f"{name}.csv", convert_options=options, parse_options=lines
        )
        assert read.to_pylist() == table.to_pylist()
    frame = pd.read_csv(tmp_path / "csv" / "episodes.csv", keep_default_na=False, na_values=[""])
    assert frame.reason.tolist() == ["NA"]
