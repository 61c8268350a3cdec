"""`verify` and `compact` of real runs: damage is found or does no harm; nothing needed goes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_bench import (
    CELL,
    CONFIG,
    STREAM,
    TASKS,
    Killed,
    broken,
    events,
    failing,
    full,
    held,
    key,
    play,
    scored,
)

from agemem_eval.harness.config import Execution, make_config
from agemem_eval.harness.errors import AgememError, DataError, UsageError
from agemem_eval.harness.files import take_lock
from agemem_eval.harness.ledger import RoleUsage
from agemem_eval.harness.runner import rows_of, run
from agemem_eval.harness.store import RunStore
from agemem_eval.harness.store.check import Finding, verify
from agemem_eval.harness.store.compact import compact, size_of
from agemem_eval.harness.store.index import read_lines, record_body, record_line, sealed

DIARY = "agemem_fakes.memories:Diary"


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run that is done: two cells, one memory kept over a stream, embedder and all."""
    folder = tmp_path_factory.mktemp("real")
    config = make_config(
        {"envs": ["alfworld"], "memories": ["agemem", "rag"], "episodes": 3, "memory_scope": "run"}
    )
    result = asyncio.run(run(config, Execution(runs_dir=folder, name="r", workers=0)))
    assert result.complete
    return result.directory


@pytest.fixture
def copied(real: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(real, tmp_path / "r"))


def problems(directory: Path) -> list[Finding]:
    return [finding for finding in verify(RunStore(directory)) if not finding.harmless]


def lines_of(directory: Path) -> tuple[Path, list[bytes]]:
    (path,) = RunStore(directory).files()
    return path, path.read_bytes().splitlines(keepends=True)


def test_a_run_that_is_done_is_sound(real: Path) -> None:
    assert list(verify(RunStore(real))) == []


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_damage_is_harmless_to_the_table_or_found(
    real: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    directory = tmp_path_factory.mktemp("damaged") / "r"
    shutil.copytree(real, directory)
    before = [row.to_json() for row in rows_of(real)]
    pattern = data.draw(st.sampled_from([*["episodes/*"] * 3, "*", "turns/*", "memory/*/*.*"]))
    files = sorted(path for path in directory.glob(pattern) if path.is_file())
    path = data.draw(st.sampled_from(files), "file")
    damage(data, path)
    try:
        after: list[dict[str, Any]] | None = [row.to_json() for row in rows_of(directory)]
    except AgememError:
        after = None
    assert after == before or list(verify(RunStore(directory)))
    shutil.rmtree(directory)


def damage(data: st.DataObject, path: Path) -> None:
    content = bytearray(path.read_bytes())
    kinds = ["delete", "cut", "flip", "digit", "digit", "repeat"]
    kind = data.draw(st.sampled_from(kinds), "damage")
    if kind == "delete" or not content:
        path.unlink()
        return
    at = int(data.draw(st.floats(0, 1, exclude_max=True), "where") * len(content))
    if kind == "cut":
        del content[at:]
    elif kind == "digit":  # what reads as well as before
        found = re.compile(rb"\d").search(content, at)
        if found is not None:
            content[found.start()] = ord(str((int(found[0]) + 1) % 10))
    elif kind == "flip":
        content[at] ^= 1 << data.draw(st.integers(0, 7), "bit")
    else:
        start = content.rfind(b"\n", 0, at) + 1
        end = content.find(b"\n", at) + 1 or len(content)
        content[end:end] = content[start:end]
    path.write_bytes(content)


def test_a_changed_digit_is_named_by_file_and_line(copied: Path) -> None:
    path, lines = lines_of(copied)
    assert b'"memory_entries":' in lines[1]
    changed = bytearray(lines[1])
    at = changed.index(b'"memory_entries":') + len(b'"memory_entries":')
    changed[at] ^= 1
    path.write_bytes(b"".join([lines[0], bytes(changed), *lines[2:]]))
    found = problems(copied)
    assert found[0].where == f"{path}, line 2"
    assert "checksum" in found[0].what
    with pytest.raises(DataError, match=r"line 2: not as it was written"):
        rows_of(copied)


def test_a_torn_last_line_is_no_problem(copied: Path) -> None:
    path, lines = lines_of(copied)
    path.write_bytes(b"".join(lines)[:-20])
    assert problems(copied) == []
    said = [f.what for f in verify(RunStore(copied))]
    assert any("torn line" in what for what in said)
    assert any("no record has this trace" in what for what in said)


def test_a_record_with_another_s_trace_is_found(copied: Path) -> None:
    ids = [one.key.id for one in RunStore.open(copied).records()]
    shutil.copy(copied / f"turns/{ids[0]}.jsonl.zst", copied / f"turns/{ids[1]}.jsonl.zst")
    (where,) = {f.where for f in problems(copied)}
    assert where.endswith("line 2")
    assert any("tokens of agent" in f.what for f in problems(copied))


def test_records_of_another_plan_and_second_records_are_found(copied: Path) -> None:
    path, lines = lines_of(copied)
    foreign = record_line(scored("elsewhere"))
    with path.open("ab") as file:
        file.write(lines[0] + foreign)
    said = " ".join(f.what for f in problems(copied))
    assert "a second record of the episode" in said
    assert "is not in the plan" in said


def test_a_snapshot_that_is_gone_or_damaged_is_found(copied: Path) -> None:
    for path in (copied / "memory").rglob("*.snapshot"):
        path.write_bytes(path.read_bytes()[:-3])
    assert len(problems(copied)) == 2  # one a stream
    shutil.rmtree(copied / "memory")
    assert all("cannot resume the stream" in f.what for f in problems(copied))


def test_a_changed_configuration_or_plan_is_found(copied: Path) -> None:
    for name, old, new in (
        ("config.json", '"shots": 1', '"shots": 0'),
        ("plan.json", '"mean": 1.0', '"mean": 0.5'),
    ):
        path = copied / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        assert [f.where for f in problems(copied)] == [str(path)]
        path.write_text(text)


def test_what_a_power_failure_kept_from_the_disk_is_forgiven_and_older_damage_is_not(
    tmp_path: Path,
) -> None:
    """Of a write of several records the disk may keep the last and lose one before."""
    path = tmp_path / "0001.jsonl"
    first = [record_line(scored(f"t{i}")) for i in range(2)]
    group = [sealed(record_body(scored(f"g{i}")), i) for i in range(4)]
    hole = b"\0" * (len(group[1]) + len(group[2]))  # over the end of a line
    path.write_bytes(b"".join([*first, group[0], hole, group[3]]))
    found = list(read_lines(path))
    assert [line.forgiven for line in found if line.problem is not None] == [True]
    assert sum(line.problem is None for line in found) == 3
    path.write_bytes(b"".join([first[0], b"\0" * 9 + b"\n", *group]))
    assert [line.forgiven for line in read_lines(path) if line.problem is not None] == [False]


# --- compact ------------------------------------------------------------------------------------


@pytest.fixture
def worn(tmp_path: Path) -> Path:
    """A run of several parts: broken and scored again, twice written, half written."""
    directory = tmp_path / "worn"
    for part in (TASKS[:2], TASKS):
        with RunStore(directory) as store:
            store.lock(CONFIG, [CELL.to_json()])
            for task in part:
                store.commit(broken(task), events(broken(task)))
                one = scored(task, tokens_lost=store.spent(key(task)))
                store.commit(one, events(one), (STREAM, task.encode()))
    first = RunStore(directory).files()[0]
    first.write_bytes(first.read_bytes() + first.read_bytes().splitlines(keepends=True)[-1])
    with RunStore(directory).files()[-1].open("ab") as file:
        file.write(b'{"id":"torn')
    (directory / "turns/0123456789abcdef0123.jsonl.zst").write_bytes(b"an orphan")
    (directory / "turns/x.jsonl.zst.tmp").write_bytes(b"half")
    return directory


def test_compacting_keeps_what_counts_and_says_what_went(worn: Path) -> None:
    before, rows = held(worn), [row.to_json() for row in rows_of(worn)]
    freed = compact(RunStore.open(worn))
    assert held(worn) == before
    assert [row.to_json() for row in rows_of(worn)] == rows
    assert (freed.files, freed.traces, freed.temporary) == (2, 1, 1)
    assert freed.records == len(TASKS) + 2  # broken ones, one twice, one torn
    assert freed.snapshots == 1
    assert freed.after < freed.before
    assert len(lines_of(worn)[1]) == len(TASKS)
    assert list(verify(RunStore(worn))) == []
    again = compact(RunStore.open(worn))
    assert (again.records, again.traces, again.snapshots) == (0, 0, 0)
    assert again.before == again.after


def test_what_outdone_tries_cost_is_still_told_after_compacting(worn: Path) -> None:
    lost = [one.tokens_lost for one in RunStore.open(worn).records()]
    assert lost == [{"agent": RoleUsage(6, 60, 6, 0)}] * len(TASKS)
    compact(RunStore.open(worn))
    assert [one.tokens_lost for one in RunStore.open(worn).records()] == lost
    (row,) = rows_of(worn)
    assert row.tokens_lost == 66 * len(TASKS)


def test_a_stream_goes_on_after_compacting(worn: Path) -> None:
    compact(RunStore.open(worn))
    last = key(TASKS[-1])
    assert RunStore.open(worn).read_snapshot(STREAM, last.id) == TASKS[-1].encode()


def test_a_run_that_was_compacted_is_gone_on_with(tmp_path: Path) -> None:
    directory = tmp_path / "r"
    with failing(60, full()), pytest.raises(DataError):
        play(directory, [])
    compact(RunStore.open(directory))
    play(directory, [])
    play(tmp_path / "whole", [])
    assert held(directory) == held(tmp_path / "whole")


def test_a_kill_at_any_call_of_compacting_loses_nothing(worn: Path, tmp_path: Path) -> None:
    before = held(worn)
    with failing(0, full()) as made:
        compact(RunStore.open(Path(shutil.copytree(worn, tmp_path / "counted"))))
    assert made.count("unlink") >= 5
    for error in (Killed, full()):
        for at in range(1, len(made) + 1):
            directory = Path(shutil.copytree(worn, tmp_path / f"{error}{at}"))
            stopped = failing(at, error, lasts=error is Killed)
            with stopped, contextlib.suppress(Killed, DataError):
                compact(RunStore.open(directory))
            assert held(directory) == before, at
            compact(RunStore.open(directory))
            assert held(directory) == before, at
            assert list(verify(RunStore(directory))) == [], at


def test_a_run_that_is_being_written_is_not_compacted(worn: Path) -> None:
    lock = take_lock(worn, "it")
    try:
        with pytest.raises(UsageError, match=f"is being written by process {os.getpid()}"):
            compact(RunStore.open(worn))
    finally:
        os.close(lock)


def test_damage_is_not_compacted_away(copied: Path) -> None:
    path, lines = lines_of(copied)
    path.write_bytes(b"".join([lines[0][:50] + b"\n", *lines[1:]]))
    content = path.read_bytes()
    with pytest.raises(DataError, match="line 1"):
        compact(RunStore.open(copied))
    assert path.read_bytes() == content


def test_runs_of_before_there_were_seals_are_read_and_compacted(copied: Path) -> None:
    path, lines = lines_of(copied)
    plain = [json.loads(line) for line in lines]
    for record in plain:
        for name in ("id", "place", "crc"):
            del record[name]
    path.write_bytes(b"".join(json.dumps(record).encode() + b"\n" for record in plain))
    before = list(RunStore.open(copied).records())
    assert list(verify(RunStore(copied))) == []
    (copied / "episodes/0002.jsonl").write_bytes(b"")
    compact(RunStore.open(copied))
    assert list(RunStore.open(copied).records()) == before
    assert lines_of(copied)[1] == [record_line(one) for one in before]


def test_a_file_that_goes_while_sizes_are_summed_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("kept", "half.tmp"):
        (tmp_path / name).write_bytes(b"12345")
    real, looks = os.stat, []

    def stat(path: Any, **options: Any) -> os.stat_result:
        if str(path).endswith(".tmp"):
            looks.append(path)
            if len(looks) > 1:
                raise FileNotFoundError(path)
        return real(path, **options)

    monkeypatch.setattr(os, "stat", stat)
    assert size_of(tmp_path) == 10, "as it was when it was looked at first"
    assert size_of(tmp_path) == 5
