"""The run store on a disk that is full, at any call: nothing that was told is lost or torn."""

from __future__ import annotations

import errno
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from store_bench import CONFIG, TASKS, Killed, failing, full, held, play, scored

from agemem_eval.harness.errors import DataError
from agemem_eval.harness.files import write_whole
from agemem_eval.harness.store import RunStore
from agemem_eval.harness.store.check import verify

RUN = ("run", "--env", "alfworld", "--memory", "agemem", "--model", "scripted")
RUN = (*RUN, "--episodes", "20", "--name", "r")


@pytest.fixture
def fast_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder where a sync costs nothing, if there is one."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


def refusal(directory: Path, told: list[str]) -> str | None:
    """What is said when the disk refuses; None if it did not matter."""
    try:
        play(directory, told)
    except DataError as error:
        return str(error)
    return None


def calls_of(directory: Path) -> int:
    with failing(0, full()) as made:
        play(directory, [])
    return len(made)


def left_half_written(directory: Path) -> list[Path]:
    return list(directory.rglob("*.tmp"))


@pytest.mark.parametrize("lasts", [False, True])
def test_a_disk_that_is_full_at_any_call_loses_nothing_that_was_told(
    fast_disk: Path, lasts: bool
) -> None:
    whole = fast_disk / "whole"
    n = calls_of(whole)
    assert n > 50
    for at in range(1, n + 1):
        directory, told = fast_disk / f"{at}", list[str]()
        with failing(at, full(), lasts):
            said = refusal(directory, told)
        if said is None:  # what failed was no more than tidying up
            assert told == list(TASKS), at
        else:
            assert "the disk is full" in said
            assert "free space, then the same command resumes" in said
            assert "\n" not in said
        assert set(told) <= set(held(directory)), at
        assert not left_half_written(directory), at
        play(directory, told)
        assert held(directory) == held(whole), at
        assert not [f for f in verify(RunStore(directory)) if not f.harmless], at


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (errno.EDQUOT, "the disk is full: the quota is used up"),
        (errno.EFBIG, "the disk is full: the limit on the size of a file"),
        (errno.EIO, "the disk fails"),
        (errno.EROFS, "cannot write the run"),
    ],
)
def test_each_way_a_disk_refuses_is_one_line(fast_disk: Path, code: int, said: str) -> None:
    for at in range(1, 30):
        with failing(at, full(code)):
            line = refusal(fast_disk / f"{at}", []) or said
        assert said in line
        assert "\n" not in line
    play(fast_disk / "29", [])
    assert set(held(fast_disk / "29")) == set(TASKS)


def test_a_kill_at_any_call_loses_nothing_that_was_told(fast_disk: Path) -> None:
    whole = fast_disk / "whole"
    for at in range(1, calls_of(whole) + 1):
        directory, told = fast_disk / f"{at}", list[str]()
        with failing(at, Killed, lasts=True), pytest.raises(Killed):
            play(directory, told)
        assert set(told) <= set(held(directory)), at
        play(directory, told)
        assert held(directory) == held(whole), at
        assert not [f for f in verify(RunStore(directory)) if not f.harmless], at


def test_threads_that_commit_at_once_share_writes_and_lose_nothing(fast_disk: Path) -> None:
    tasks = [f"t{i}" for i in range(40)]
    with RunStore(fast_disk / "r") as store, failing(0, full()) as made:
        store.lock(CONFIG, [])
        begin = threading.Barrier(8)

        def work(part: int) -> None:
            begin.wait()
            for task in tasks[part::8]:
                store.commit(scored(task), [{"type": "action", "task": task}])
                assert store.scored(scored(task).key)

        threads = [threading.Thread(target=work, args=(part,)) for part in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    store = RunStore.open(fast_disk / "r")
    assert sorted(one.key.task for one in store.records()) == sorted(tasks)
    for task in tasks:
        assert list(store.read_trace(scored(task).key.id)) == [{"type": "action", "task": task}]
    (path,) = store.files()
    assert path.read_bytes().count(b"\n") == len(tasks)
    assert made.count("fsync") >= len(tasks)  # each trace has its own


def test_when_a_shared_write_fails_nobody_is_told_that_it_did_not(fast_disk: Path) -> None:
    """Whichever thread writes for the others, each learns what came of its own episode."""
    tasks = [f"t{i}" for i in range(16)]
    outcomes: dict[str, bool] = {}
    for at, error in itertools.product((40, 60, 75), (full(), MemoryError)):
        directory = fast_disk / f"{at} {error}"
        outcomes.clear()
        with RunStore(directory) as store:
            store.lock(CONFIG, [])
            with failing(at, error):
                threads = [
                    threading.Thread(target=try_commit, args=(store, task, outcomes))
                    for task in tasks
                ]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
            assert len(outcomes) == len(tasks)
            told = {task for task, done in outcomes.items() if done}
            assert told == {one.key.task for one in store.records()}
        assert told == {one.key.task for one in RunStore.open(directory).records()}
        assert not left_half_written(directory)


def try_commit(store: RunStore, task: str, outcomes: dict[str, bool]) -> None:
    try:
        store.commit(scored(task), [])
    except (DataError, MemoryError):
        outcomes[task] = False
    else:
        outcomes[task] = True


# --- real disks ---------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 400 kB."""
    if os.getuid() != 0 or not sys.platform.startswith("linux"):
        pytest.skip("a small file system can only be mounted by root, on Linux")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("this machine lets nobody mount a tmpfs")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def cli(
    cwd: Path, *arguments: str, file_size: int | None = None
) -> subprocess.CompletedProcess[str]:
    def limit() -> None:
        if file_size is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))

    command = [sys.executable, "-m", "agemem_eval", *arguments]
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=300, preexec_fn=limit
    )


def refused(done: subprocess.CompletedProcess[str]) -> None:
    """One line of error, the right one."""
    assert done.returncode not in (0, 1), done.stdout
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "error" in line]
    assert "the disk is full" in line
    assert "free space, then the same command resumes" in line


def table(cwd: Path) -> dict[str, object]:
    done = cli(cwd, *RUN, "--json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["rows"]
    return {name: v for name, v in row.items() if name not in ("wall_s", "memory_wall_s")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The table of the run where nothing refuses."""
    return table(tmp_path_factory.mktemp("whole"))


def test_a_run_on_a_disk_that_fills_up_resumes_once_there_is_room(
    small_disk: Path, whole: dict[str, object]
) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(270_000))
    refused(cli(small_disk, *RUN))
    assert not left_half_written(small_disk)
    before = set(RunStore.open(small_disk / "runs/r").episodes())
    assert 0 < len(before) < 20
    refused(cli(small_disk, *RUN))  # still full
    ballast.unlink()
    subprocess.run(["mount", "-o", "remount,size=9m", str(small_disk)], check=True)
    assert table(small_disk) == whole
    assert cli(small_disk, "runs", "verify", "r").returncode == 0


def test_a_disk_without_any_room_refuses_a_run_at_its_start(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    room = os.statvfs(small_disk)
    ballast.write_bytes(bytes(room.f_bavail * room.f_frsize))
    refused(cli(small_disk, *RUN))
    assert not left_half_written(small_disk)


def test_a_limit_on_the_size_of_files_stops_a_run_that_resumes_without_it(
    tmp_path: Path, whole: dict[str, object]
) -> None:
    refused(cli(tmp_path, *RUN, "--log-level", "error", file_size=15_000))
    assert not left_half_written(tmp_path)
    assert 0 < len(RunStore.open(tmp_path / "runs/r").episodes()) < 20
    assert table(tmp_path) == whole
    assert cli(tmp_path, "runs", "verify", "r").returncode == 0


def test_a_file_is_written_whole_or_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    write_whole(path, b"before")
    for at in range(1, 8):
        with failing(at, full()) as made:
            try:
                write_whole(path, b"after")
            except OSError:
                assert path.read_bytes() in (b"before", b"after")
            else:
                assert len(made) < at or made[at - 1] in ("unlink",)
        assert not left_half_written(tmp_path)
        write_whole(path, b"before")
