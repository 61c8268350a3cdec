"""Exports of a large run: seconds, CPU seconds, peak of memory; each in a process of its own.

`python tests/performance/run.py exports:10000` takes the number of episodes, of 20 turns each.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from agemem_fakes.episodes import episode
from export_runs import events_of, write_run

from agemem_eval.harness.errors import AgememError
from agemem_eval.harness.exports.command import FORMATS, export_command

TURNS = 20
OUTPUT = "<think>" + "I look around and think about what to do next. " * 6 + "</think>"


def main(part: str = "1000") -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        scores = {"quality": {"mq": 0.5}, "metrics": {"f1": 0.25}}
        episodes = [episode(f"t{i}", turns=TURNS, **scores) for i in range(int(part))]
        write_run(run, episodes, lambda one: events_of(one, OUTPUT))
        print(f"{len(episodes):,} episodes of {TURNS} turns")
        print(f"{'format':12} {'s':>8} {'CPU s':>8} {'MB peak':>8} {'MB out':>8}")
        for to in FORMATS:
            _measure(run, to, Path(folder) / to)


def _measure(run: Path, to: str, out: Path) -> None:
    sys.stdout.flush()
    clock, child = time.perf_counter(), os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        try:
            export_command([str(run)], to, run.parent, out=out)
        except AgememError as error:
            print(f"{to}: {error}", file=sys.stderr)
            os._exit(1)
        os._exit(0)
    _, status, used = os.wait4(child, 0)
    took = time.perf_counter() - clock
    if status == 0:
        size = sum(path.stat().st_size for path in [out, *out.rglob("*")] if path.is_file())
        cpu, peak = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
        print(f"{to:12} {took:8.1f} {cpu:8.1f} {peak:8.0f} {size / 1e6:8.1f}")
