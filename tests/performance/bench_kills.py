"""kill -9 of runs and of their workers at random moments: what is lost, doubled, hung, otherwise.

    python tests/performance/run.py kills[:KILLS]

So many kills of each sort, 50 unless told, in four settings: scripted and at an `openai:` endpoint
that holds calls in flight, a memory for each episode and one for a whole stream. A run is killed
five times before it may end: while it starts, three times midway, and when the last episode is
committed. Workers are killed one after the other while a run goes.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from fault_bench import policy
from kills import MOMENTS, Found, KilledRun, Whole, compare, kill_runner, kill_workers, play_whole
from load_bench import machine
from rich.console import Console
from rich.table import Table

from agemem_eval.harness.testserver import ChatServer

SERIES = ("start", "midway", "midway", "midway", "end")
EPISODES = 60
LATENCY_S = 0.02
ALWAYS = ("--env", "alfworld", "--memory", "agemem", "--workers", "2", "--retries", "10")
ONE_MEMORY = ("--memory-scope", "run", "--order-seeds", "0,1,2")


def settings(url: str) -> Iterator[tuple[str, int, tuple[str, ...]]]:
    """Name, episodes and arguments of each setting."""
    served = ("--model", "openai:m", "--base-url", url, "--max-steps", "8")
    single, stream = ("--episodes", str(EPISODES)), ("--episodes", str(EPISODES // 3))
    rules = ("--model", "scripted")
    yield "scripted", EPISODES, (*ALWAYS, *rules, *single)
    yield "scripted, one memory", EPISODES, (*ALWAYS, *rules, *stream, *ONE_MEMORY)
    yield "openai:", EPISODES, (*ALWAYS, *single, *served)
    yield "openai:, one memory", EPISODES, (*ALWAYS, *stream, *served, *ONE_MEMORY)


def main(kills: str = "50") -> None:
    """Kill, and print a table."""
    of_runners, of_workers = Found(), Found()
    table = Table(
        "killed", "setting", "kills", "start / midway / end", "lost", "doubled", "hung", "orphans",
        "differing", "s",
        title="kill -9 at random moments, then the run is ended and held against a whole one",
        caption=machine(),
    )  # fmt: skip
    total = {"runner": of_runners, "workers": of_workers}
    with (
        ChatServer(policy, latency_s=LATENCY_S).in_thread() as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        for number, (name, episodes, arguments) in enumerate(settings(server.url)):
            place = Path(folder) / str(number)
            whole = play_whole(KilledRun(place / "whole", episodes, arguments))
            share = -(-int(kills) // 4)
            for what, all_of_it in total.items():
                clock, found = time.monotonic(), Found()
                rng = random.Random(f"{what} {name}")
                for series in range(100):
                    run = KilledRun(place / f"{what}{series}", episodes, arguments)
                    left = share - found.kills.total()
                    if left <= 0:
                        break
                    _series(what, run, whole, left, series, rng, found)
                seconds = f"{time.monotonic() - clock:.0f}"
                table.add_row(what, name, *_cells(found), seconds)
                print(f"{what}, {name}: {found}, {seconds} s", file=sys.stderr)
                _add(all_of_it, found)
    for what, found in total.items():
        table.add_row(what, "all", *_cells(found), "", style="bold")
    Console(width=150).print(table)


def _series(
    what: str,
    run: KilledRun,
    whole: Whole,
    left: int,
    number: int,
    rng: random.Random,
    found: Found,
) -> None:
    """Kill one run as often as a series does, or its workers, and let it end."""
    if what == "workers":
        kill_workers(run, min(left, 6), number % 2 == 1, rng, found)
        compare(run, whole, {"tokens_lost"}, found)
        return
    for moment in SERIES:
        kill_runner(run, moment, whole.start_s, rng, found)
    compare(run, whole, set(), found)


def _cells(found: Found) -> list[str]:
    by_moment = " / ".join(str(found.kills[moment]) for moment in MOMENTS)
    counts = (found.lost, found.doubled, found.hung, found.orphans, found.differing)
    return [str(found.kills.total()), by_moment, *map(str, counts)]


def _add(into: Found, more: Found) -> None:
    into.kills += more.kills
    into.lost += more.lost
    into.doubled += more.doubled
    into.hung += more.hung
    into.orphans += more.orphans
    into.differing += more.differing


if __name__ == "__main__":
    main()
