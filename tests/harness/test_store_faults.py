"""The run store against bad disks, killed starts, changed data and damaged files."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from agemem_fakes.episodes import episode
from hypothesis import given, settings
from hypothesis import strategies as st

from agemem_eval.harness import store as store_module
from agemem_eval.harness.config import RunConfig
from agemem_eval.harness.errors import ConfigMismatchError, DataError, UsageError
from agemem_eval.harness.store import RunStore
from agemem_eval.harness.store.header import differences

CONFIG = RunConfig(envs=("count",), memories=("none",))
PLAN: list[dict[str, Any]] = [{"memory": "none", "tasks": [["t0", "even"]]}]
EVENTS = [{"type": "action", "step": 0, "turn": 0, "action": "inc"}]


def fill(directory: Path, n: int) -> Path:
    """Commit n episodes; returns the file of the writer."""
    with RunStore(directory) as store:
        store.lock(CONFIG, PLAN)
        for i in range(n):
            store.commit(episode(f"t{i}"), EVENTS)
    return max((directory / "episodes").glob("*.jsonl"))


def tasks(directory: Path) -> list[str]:
    return [key.task for key in RunStore.open(directory).episodes()]


def test_one_episode_is_one_line_by_one_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes: list[bytes] = []
    real = os.write
    monkeypatch.setattr(
        store_module.os, "write", lambda fd, data: (writes.append(bytes(data)), real(fd, data))[1]
    )
    path = fill(tmp_path / "r", 3)
    lines = [data for data in writes if data.startswith(b'{"id"')]
    assert len(lines) == 3
    assert path.read_bytes() == b"".join(lines)


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 10_000))
def test_a_file_cut_anywhere_at_all_keeps_every_whole_line(cut: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = fill(Path(folder) / "r", 4)
        content = path.read_bytes()
        kept = content[: cut % (len(content) + 1)]
        path.write_bytes(kept)
        assert tasks(Path(folder) / "r") == [f"t{i}" for i in range(kept.count(b"\n"))]


def test_a_last_line_of_nonsense_is_owed(tmp_path: Path) -> None:
    path = fill(tmp_path / "r", 3)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1] + b"\x00" * 50 + b"\n")
    assert tasks(tmp_path / "r") == ["t0", "t1"]


def test_a_full_disk_leaves_no_part_of_a_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write
    with RunStore(tmp_path / "r") as store:
        store.lock(CONFIG, PLAN)
        store.commit(episode("t0"), [])
        with monkeypatch.context() as patched:
            patched.setattr(
                store_module.os, "write", lambda fd, data: real(fd, data[: len(data) // 2])
            )
            with pytest.raises(DataError, match="the disk is full, so the run"):
                store.commit(episode("t1"), [])
        assert len(store.episodes()) == 1
        store.commit(episode("t2"), [])
    assert tasks(tmp_path / "r") == ["t0", "t2"]


def test_data_that_changed_since_are_refused(tmp_path: Path) -> None:
    fill(tmp_path / "r", 1)
    changed = [{"memory": "none", "tasks": [["t1", "even"]]}]
    with RunStore(tmp_path / "r") as store:
        with pytest.raises(ConfigMismatchError, match=r'cells\.0\.tasks\.0\.0: "t0" in the run'):
            store.lock(CONFIG, changed)
        store.lock(CONFIG, PLAN)  # the refusal kept no lock


def test_differences_name_what_only_one_side_has() -> None:
    assert list(differences({"a": {"b": 1}}, {"a": {}, "c": [1]})) == [
        "a.b: 1 in the run, null now",
        "c: null in the run, [1] now",
    ]
    assert not list(differences({"a": [1, {"b": 2}]}, {"a": [1, {"b": 2}]}))


def test_a_start_killed_before_the_configuration_was_written_is_no_obstacle(tmp_path: Path) -> None:
    directory = tmp_path / "r"
    directory.mkdir()
    for name in ("lock", "plan.json", "config.json.tmp"):
        (directory / name).write_text("[]")
    fill(directory, 1)
    assert RunStore.open(directory).plan() == PLAN


@pytest.mark.parametrize("content", ["{", "[]", '{"schema": "1"}', '{"schema": 1, "config": 3}'])
def test_a_broken_configuration_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(DataError, match=r"config\.json"):
        RunStore.open(tmp_path)


@pytest.mark.parametrize("name", ["../secret", "a/b"])
def test_an_episode_id_is_no_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError):
        list(RunStore(tmp_path).read_trace(name))


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path\n"
        "from agemem_eval.harness.files import take_lock\n"
        "take_lock(Path(sys.argv[1]), 'it'); print('locked', flush=True); time.sleep(100)"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(UsageError, match=f"by process {process.pid}"):
            RunStore(tmp_path).lock(CONFIG, PLAN)
        process.kill()
        process.wait()
    with RunStore(tmp_path) as store:
        store.lock(CONFIG, PLAN)


def test_nothing_is_committed_without_the_lock(tmp_path: Path) -> None:
    fill(tmp_path / "r", 1)
    with pytest.raises(DataError, match="not open for writing"):
        RunStore.open(tmp_path / "r").commit(episode("t1"), [])


@settings(max_examples=60, deadline=None)
@given(position=st.integers(0, 10_000), cut=st.booleans())
def test_a_damaged_trace_is_an_error_or_reads_as_it_was_written(position: int, cut: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder) / "r", 1)
        (path,) = (Path(folder) / "r/turns").iterdir()
        content = bytearray(path.read_bytes())
        position %= len(content)
        if cut:
            del content[position:]
        else:
            content[position] ^= 0xFF
        path.write_bytes(content)
        try:
            events = list(RunStore.open(Path(folder) / "r").read_trace(episode("t0").key.id))
        except DataError as error:
            sound = str(path) in str(error)
        else:  # some bits of a frame's header mean nothing
            sound = not cut and events == EVENTS
        assert sound


def test_the_snapshots_of_the_last_two_episodes_are_kept(tmp_path: Path) -> None:
    with RunStore(tmp_path / "r") as store:
        store.lock(CONFIG, PLAN)
        for i in range(5):
            store.commit(episode(f"t{i}"), [], ("stream", f"memory {i}".encode()))
    read = RunStore.open(tmp_path / "r")
    for i in (3, 4):
        assert read.read_snapshot("stream", episode(f"t{i}").key.id) == f"memory {i}".encode()
    with pytest.raises(DataError, match="cannot resume the stream"):
        read.read_snapshot("stream", episode("t2").key.id)
