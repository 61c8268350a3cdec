"""kill -9 at any moment: no finished episode is lost or counted twice, the table is the same."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from kills import (
    Found,
    KilledRun,
    children,
    compare,
    kill_runner,
    kill_workers,
    play_whole,
)
from load_bench import wait_gone

EPISODES = 60
ALWAYS = ("--env", "alfworld", "--memory", "agemem", "--model", "scripted", "--workers", "2")
STREAM = ("--memory-scope", "run", "--order-seeds", "0,1")
SCOPES = {
    "episode": (*ALWAYS, "--episodes", str(EPISODES)),
    "run": (*ALWAYS, "--episodes", str(EPISODES // 2), *STREAM),
}
MOMENTS = ("start", "midway", "midway", "midway", "end")


def nothing_wrong(found: Found) -> None:
    assert (found.lost, found.doubled) == (0, 0), "a finished episode was lost or played again"
    assert (found.hung, found.orphans) == (0, 0)
    assert found.differing == 0, "the table, a record or a trace is not the uninterrupted one's"


@pytest.mark.parametrize("scope", list(SCOPES))
def test_kills_and_a_resume_give_the_uninterrupted_table(tmp_path: Path, scope: str) -> None:
    whole = play_whole(KilledRun(tmp_path / "whole", EPISODES, SCOPES[scope]))
    run, found = KilledRun(tmp_path / "killed", EPISODES, SCOPES[scope]), Found()
    rng = random.Random(scope)
    for moment in MOMENTS:
        kill_runner(run, moment, whole.start_s, rng, found)
    assert found.kills["midway"] >= 1, "no kill hit a run at work, so this means nothing"
    compare(run, whole, set(), found)
    assert len(run.committed()) == EPISODES
    nothing_wrong(found)


def test_killed_workers_cost_no_episode_and_change_none(tmp_path: Path) -> None:
    whole = play_whole(KilledRun(tmp_path / "whole", EPISODES, SCOPES["episode"]))
    many = (*SCOPES["episode"], "--retries", "10")
    run, found = KilledRun(tmp_path / "killed", EPISODES, many), Found()
    kill_workers(run, 5, False, random.Random(5), found)
    assert found.kills.total() >= 1
    compare(run, whole, {"tokens_lost"}, found)
    assert len(run.committed()) == EPISODES
    nothing_wrong(found)


def test_a_killed_runner_leaves_no_worker_behind(tmp_path: Path) -> None:
    run = KilledRun(tmp_path, EPISODES, SCOPES["episode"])
    process = run.start()
    run.wait(process, lambda: bool(children(process.pid)))
    assert children(process.pid)
    process.kill()
    process.communicate()
    assert wait_gone(run.mark, 10) == 0


def test_a_process_that_outlives_its_run_is_seen(tmp_path: Path) -> None:
    run = KilledRun(tmp_path, EPISODES, SCOPES["episode"])
    process = run.start()
    try:
        time.sleep(0.05)
        assert wait_gone(run.mark, 0.1) >= 1
    finally:
        process.kill()
        process.communicate()
