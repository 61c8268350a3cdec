"""The runner against memories that raise, endpoints that are down, and interruption."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from agemem_eval.harness.config import Execution, RunConfig, make_config
from agemem_eval.harness.errors import DataError, UsageError
from agemem_eval.harness.records import Episode
from agemem_eval.harness.runner import RunResult, run
from agemem_eval.harness.store import RunStore
from agemem_eval.harness.watch import Watcher

COUNT = "agemem_fakes.envs:CountEnv"
BAD = "agemem_fakes.envs:BadEnv"
DIARY = "agemem_fakes.memories:Diary"
INC = "agemem_fakes.models:Inc"


class Committed(Watcher):
    def __init__(self) -> None:
        self.found: list[str] = []

    def committed(self, episode: Episode) -> None:
        self.found.append(episode.status)


def config(**values: Any) -> RunConfig:
    given = {"envs": [COUNT], "memories": ["none"], "episodes": 4, "model": INC, **values}
    return make_config(given)


def model(**options: str) -> dict[str, dict[str, str]]:
    return {INC: options}


def go(directory: Path, what: RunConfig, **execution: Any) -> RunResult:
    return asyncio.run(run(what, Execution(runs_dir=directory, name="r", **execution)))


def episodes(directory: Path) -> list[Episode]:
    found = RunStore.open(directory / "r").episodes().values()
    return sorted(found, key=lambda e: (e.key.repeat, e.order))


def test_an_endpoint_that_is_down_is_no_score(tmp_path: Path) -> None:
    result = go(tmp_path, config(model="agemem_fakes.models:Down", episodes=20), retries=1)
    assert result.stopped is not None
    assert "the endpoint is down" in result.stopped
    (row,) = result.rows
    assert (row.n_scored, row.coverage, row.success_rate) == (0, 0, None)
    assert 5 <= row.statuses["infra_error"] < 20, "the rest was not even started"


def test_an_outage_is_paid_back_by_retries_and_shown_as_attempts(tmp_path: Path) -> None:
    result = go(tmp_path, config(options=model(fail="3")), concurrency=1, retries=3)
    assert result.complete
    assert [e.attempt for e in episodes(tmp_path)] == [4, 1, 1, 1]


def test_what_an_outage_took_is_played_again_at_the_end(tmp_path: Path) -> None:
    seen = Committed()
    execution = Execution(runs_dir=tmp_path, name="r", concurrency=1, retries=2)
    result = asyncio.run(run(config(options=model(fail="3")), execution, [seen]))
    assert result.complete
    assert (len(seen.found), seen.found.count("infra_error")) == (5, 1)
    assert all(e.scored for e in episodes(tmp_path))


def test_a_worker_that_dies_while_tasks_are_listed_costs_a_try_not_the_run(tmp_path: Path) -> None:
    env = "agemem_fakes.envs:DiesListing"
    what = config(envs=[env], options={env: {"mark": str(tmp_path / "mark")}})
    assert go(tmp_path, what).complete


@pytest.mark.parametrize("fail", ["before_turn", "after_turn", "end_episode"])
def test_a_memory_that_raises_in_an_episode_is_no_score(tmp_path: Path, fail: str) -> None:
    result = go(tmp_path, config(memories=[DIARY], options={DIARY: {"fail": fail}}), retries=0)
    assert result.scored == 0
    for found in episodes(tmp_path):
        assert found.reason.startswith("MemoryBackendError: ")
        assert f"no {fail} today" in found.reason


def test_a_memory_that_cannot_be_restored_is_no_score(tmp_path: Path) -> None:
    what = config(memories=[DIARY], memory_scope="run", options={DIARY: {"fail": "restore"}})
    result = go(tmp_path, what, retries=0)
    assert result.scored == 0
    (found,) = episodes(tmp_path)
    assert found.reason.startswith("MemoryBackendError: ")


def test_a_failed_try_leaves_no_mark_on_a_stream(tmp_path: Path) -> None:
    what = config(
        memories=[DIARY],
        memory_scope="run",
        episodes=6,
        options={DIARY: {"fail": "end_episode", "times": "2"}},
    )
    assert go(tmp_path, what, retries=5).complete
    assert [e.memory_entries for e in episodes(tmp_path)] == [1, 2, 3, 4, 5, 6]


def test_each_repeat_of_a_stream_starts_with_an_empty_memory(tmp_path: Path) -> None:
    what = config(memories=[DIARY], memory_scope="run", repeats=2)
    assert go(tmp_path, what).complete
    assert [e.memory_entries for e in episodes(tmp_path)] == [1, 2, 3, 4] * 2


def test_a_failed_episode_ends_its_stream_and_the_rest_is_owed(tmp_path: Path) -> None:
    what = config(memories=[DIARY], memory_scope="run", options=model(fail="1"))
    result = go(tmp_path, what, retries=0)
    assert (result.scored, len(episodes(tmp_path))) == (0, 1)
    again = config(memories=[DIARY], memory_scope="run", options=model(fail="1"))
    go(tmp_path, again, retries=1)
    assert [e.memory_entries for e in episodes(tmp_path)] == [1, 2, 3, 4]


def test_an_episode_that_takes_too_long_is_no_score(tmp_path: Path) -> None:
    clock = time.monotonic()
    result = go(
        tmp_path,
        config(episodes=1, options=model(delay="100")),
        retries=0,
        episode_timeout_s=0.5,
    )
    assert time.monotonic() - clock < 10
    assert result.scored == 0
    (found,) = episodes(tmp_path)
    assert found.reason.startswith("EpisodeTimeout: ")


def test_waiting_for_a_free_environment_is_not_the_episodes_time(tmp_path: Path) -> None:
    single = "agemem_fakes.envs:SingleEnv"
    result = go(
        tmp_path,
        config(envs=[single], episodes=6, options=model(delay="0.1")),
        workers=1,
        concurrency=6,
        retries=0,
        episode_timeout_s=2.5,
    )
    assert result.complete, [e.reason for e in episodes(tmp_path)]


def test_interruption_keeps_what_is_finished_and_nothing_else(tmp_path: Path) -> None:
    what = config(episodes=20, options=model(delay="0.05"))
    execution = Execution(runs_dir=tmp_path, name="r", concurrency=2)

    async def interrupted() -> None:
        seen = Committed()
        task = asyncio.create_task(run(what, execution, [seen]))
        while len(seen.found) < 3:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(interrupted())
    kept = episodes(tmp_path)
    assert 3 <= len(kept) < 20
    assert all(e.scored for e in kept)
    result = go(tmp_path, what)
    assert result.complete
    assert result.resumed == len(kept)
    lines = [
        line
        for path in (tmp_path / "r/episodes").iterdir()
        for line in path.read_bytes().splitlines()
    ]
    assert len(lines) == 20


@pytest.mark.parametrize("field", ["envs", "memories"])
def test_the_same_name_twice_is_refused(tmp_path: Path, field: str) -> None:
    twice = {"envs": [COUNT, COUNT], "memories": ["none", "none"]}
    with pytest.raises(UsageError, match="twice"):
        go(tmp_path, config(**{field: twice[field]}))


def test_an_environment_without_tasks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no task"):
        go(tmp_path, config(episodes=None, options={COUNT: {"tasks": "0"}}))


def test_two_tasks_of_one_id_are_refused(tmp_path: Path) -> None:
    twins = config(envs=["agemem_fakes.envs:TwinTasks"], episodes=None)
    with pytest.raises(DataError, match="two tasks the same id"):
        go(tmp_path, twins)


def test_processes_change_no_number(tmp_path: Path) -> None:
    def numbers(workers: int) -> list[tuple[Any, ...]]:
        place = tmp_path / str(workers)
        go(place, config(episodes=10, model="scripted"), workers=workers, concurrency=4)
        return [(e.key, e.success, e.steps, e.tokens) for e in episodes(place)]

    assert len(numbers(0)) == 10
    assert numbers(0) == numbers(1) == numbers(3)
