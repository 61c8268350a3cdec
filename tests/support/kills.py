"""Kills runs and their workers at any moment, and looks for what should have survived."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fault_bench import TIMES, TRIES, timeless
from load_bench import child_environment, new_mark, wait_gone

from agemem_eval.harness.store import RunStore

PATIENCE_S = 300.0  # beyond it a run hangs
MOMENTS = ("start", "midway", "end")


@dataclass(slots=True)
class Found:
    """What was found after kills."""

    kills: Counter[str] = field(default_factory=Counter)  # that hit a live process, by moment
    lost: int = 0  # episodes whose record was on disk at a kill and later was not, or changed
    doubled: int = 0  # episodes with more than one scored record
    hung: int = 0  # runs that did not end
    orphans: int = 0  # processes that outlived their run
    differing: int = 0  # rows, records and traces that an uninterrupted run has otherwise
    resumed: int = 0  # times that a run was started again


@dataclass(slots=True)
class KilledRun:
    """A run in a folder of its own, started as often as it takes.

    Args:
        folder: Is made; the run is `runs/r` in it.
        episodes: How many there are in all.
        arguments: Of `agemem-eval run`.
    """

    folder: Path
    episodes: int
    arguments: tuple[str, ...]
    mark: str = field(default_factory=new_mark)
    _offsets: dict[Path, int] = field(default_factory=dict)
    _lines: dict[str, list[bytes]] = field(default_factory=dict)

    def start(self) -> subprocess.Popen[str]:
        """Start it, or what is left of it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "agemem_eval", "run", "--json", "--name", "r"]
        return subprocess.Popen(
            [*command, *self.arguments],
            cwd=self.folder,
            env=child_environment(self.mark),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def finish(self) -> list[dict[str, Any]]:
        """Start what is left of it and let it end; the rows, but for times."""
        with self.start() as process:
            try:
                out, _ = process.communicate(timeout=PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        if process.returncode != 0:
            raise RuntimeError(f"the run in {self.folder} ended with {process.returncode}")
        rows: list[dict[str, Any]] = json.loads(out)["rows"]
        return rows

    def committed(self) -> dict[str, list[bytes]]:
        """The lines of scored records that are whole on disk, by the id of the episode."""
        for path in sorted((self.folder / "runs/r/episodes").glob("*.jsonl")):
            with path.open("rb") as file:
                file.seek(self._offsets.get(path, 0))
                new = file.read()
            whole = new[: new.rfind(b"\n") + 1]
            self._offsets[path] = self._offsets.get(path, 0) + len(whole)
            for line in whole.splitlines():
                record = json.loads(line)
                if record["status"] != "infra_error":
                    self._lines.setdefault(record["id"], []).append(line)
        return self._lines

    def wait(
        self, process: subprocess.Popen[str], until: Callable[[], bool], deadline_s: float = 60.0
    ) -> None:
        """Wait for a condition, or until the run has ended."""
        deadline = time.monotonic() + deadline_s
        while not until() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)

    def records(self) -> dict[str, Any]:
        """Records by the id of the episode, as the store reads them."""
        episodes = RunStore.open(self.folder / "runs/r").episodes()
        return {key.id: json.loads(json.dumps(asdict(e))) for key, e in episodes.items()}

    def played(self) -> dict[str, Any]:
        """Records and traces by the id of the episode, but for times and tries."""
        store = RunStore.open(self.folder / "runs/r")
        return {
            key.id: [
                timeless(asdict(episode), TIMES | TRIES),
                timeless(list(store.read_trace(key.id))),
            ]
            for key, episode in store.episodes().items()
        }


@dataclass(slots=True)
class Whole:
    """What the uninterrupted run came to, and how long it took to its first commit."""

    rows: list[dict[str, Any]]
    played: dict[str, Any]
    start_s: float


def play_whole(run: KilledRun) -> Whole:
    """Play a run without interruption."""
    clock = time.monotonic()
    with run.start() as process:
        run.wait(process, lambda: bool(run.committed()))
        start_s = time.monotonic() - clock
        process.communicate(timeout=PATIENCE_S)
    return Whole(run.finish(), run.played(), start_s)


def kill_runner(
    run: KilledRun, moment: str, start_s: float, rng: random.Random, found: Found
) -> None:
    """Start a run and kill it: while it starts, just after a commit, or when all is committed."""
    before = sum(map(len, run.committed().values()))
    process = run.start()
    if moment == "start":
        run.wait(process, lambda: False, rng.uniform(0, start_s))
    elif moment == "midway":
        run.wait(process, lambda: sum(map(len, run.committed().values())) > before)
        time.sleep(rng.uniform(0, 0.2))
    else:
        last = run.episodes - rng.randrange(3)
        run.wait(process, lambda: len(run.committed()) >= last)
        time.sleep(rng.uniform(0, 0.3))
    found.kills[moment] += process.poll() is None
    process.kill()
    process.communicate()
    found.orphans += wait_gone(run.mark)


def kill_workers(
    run: KilledRun, kills: int, at_start: bool, rng: random.Random, found: Found
) -> None:
    """Start a run and kill its workers one after the other: so many, or until it ends.

    Between two kills some episode is committed: else a busy machine would see nothing but kills.
    """
    deadline = time.monotonic() + PATIENCE_S
    with run.start() as process:
        while kills and process.poll() is None and time.monotonic() < deadline:
            if not at_start:
                seen = len(run.committed())
                run.wait(process, lambda seen=seen: len(run.committed()) > seen)
            at_start = False
            run.wait(process, lambda: False, rng.uniform(0, 0.5))
            done = len(run.committed())
            moment = MOMENTS[(done > 0) + (done > 0.8 * run.episodes)]
            workers = sorted(children(process.pid))
            if workers and kill(rng.choice(workers)):
                found.kills[moment] += 1
                kills -= 1
        try:
            process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            found.hung += 1
            process.kill()
    found.orphans += wait_gone(run.mark)


def compare(run: KilledRun, whole: Whole, ignore: set[str], found: Found) -> None:
    """Let a run come to its end, and hold it against the uninterrupted one."""
    seen = {id_: lines[0] for id_, lines in run.committed().items()}
    found.resumed += 1
    try:
        rows = run.finish()
    except subprocess.TimeoutExpired:
        found.hung += 1
        return
    now, played, kept = run.committed(), run.played(), run.records()
    found.orphans += wait_gone(run.mark)
    found.lost += sum(kept.get(id_) != _record(line) for id_, line in seen.items())
    found.doubled += sum(len(lines) > 1 for lines in now.values())
    found.differing += timeless(rows, TIMES | ignore) != timeless(whole.rows, TIMES | ignore)
    ids = played.keys() | whole.played.keys()
    found.differing += sum(played.get(id_) != whole.played.get(id_) for id_ in ids)


def _record(line: bytes) -> dict[str, Any]:
    """The record in a line, without what seals it."""
    record: dict[str, Any] = json.loads(line)
    for name in ("id", "place", "crc"):
        record.pop(name, None)
    return record


def children(pid: int) -> set[int]:
    """The children of a process."""
    try:
        return {int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}
    except OSError:
        return set()


def kill(pid: int) -> bool:
    """Kill a process; whether it was there."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True
