"""The runner: retries, the circuit breaker, resume, streams."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from agemem_eval.harness.config import Execution, RunConfig, make_config
from agemem_eval.harness.errors import UsageError
from agemem_eval.harness.records import Episode, EpisodeKey
from agemem_eval.harness.runner import RunResult, default_name, rows_of, run
from agemem_eval.harness.store import RunStore
from agemem_eval.harness.watch import Planned, Watcher

COUNT = "agemem_fakes.envs:CountEnv"
FLAKY = "agemem_fakes.envs:Flaky"


def config(env: str = COUNT, **values: Any) -> RunConfig:
    return make_config({"envs": [env], "memories": ["agemem"], "episodes": 12, **values})


def go(directory: Path, what: RunConfig, **execution: Any) -> RunResult:
    return asyncio.run(run(what, Execution(runs_dir=directory, **execution)))


def table(result: RunResult) -> list[dict[str, Any]]:
    rows = [row.to_json() for row in result.rows]
    for row in rows:
        row.pop("wall_s")
        row.pop("memory_wall_s")
    return rows


class Counting(Watcher):
    def __init__(self) -> None:
        self.told: Counter[str] = Counter()
        self.plans: list[Planned] = []
        self.actions = 0

    def planned(self, plan: Planned) -> None:
        self.told["planned"] += 1
        self.plans.append(plan)

    def begins(self, key: EpisodeKey, attempt: int) -> None:
        self.told["begins"] += 1

    def event(self, key: EpisodeKey, event: dict[str, Any]) -> None:
        self.actions += event["type"] == "action"

    def ends(self, episode: Episode) -> None:
        self.told["ends"] += 1

    def committed(self, episode: Episode) -> None:
        self.told["committed"] += 1

    def close(self) -> None:
        self.told["close"] += 1


def test_a_run_scores_every_episode_and_tells_how_far_it_is(tmp_path: Path) -> None:
    seen = Counting()
    result = asyncio.run(run(config(), Execution(runs_dir=tmp_path), [seen]))
    assert result.complete
    assert [plan.planned for plan in seen.plans] == [12]
    assert seen.told == Counter(planned=1, begins=12, ends=12, committed=12, close=1)
    assert seen.actions == sum(e.steps for e in RunStore.open(result.directory).episodes().values())
    assert rows_of(result.directory) == result.rows
    (row,) = result.rows
    assert 0 < row.success_rate < 1, "some of the tasks cannot be solved"
    assert row.statuses == {"completed": row.statuses["completed"], "limit": row.statuses["limit"]}


def test_workers_that_die_now_and_then_change_no_number(tmp_path: Path) -> None:
    options = {FLAKY: {"risk": "0.05"}}
    calm = go(tmp_path, config(FLAKY, options={FLAKY: {"risk": "0"}}), name="calm")
    wild = go(
        tmp_path, config(FLAKY, options=options), name="wild", retries=50, max_infra_errors=100
    )
    assert wild.complete
    differs = {"statuses", "tokens_lost"}  # nothing but what went wrong on the way may differ
    for before, after in zip(table(calm), table(wild), strict=True):
        assert {k: v for k, v in before.items() if k not in differs} == {
            k: v for k, v in after.items() if k not in differs
        }


@pytest.mark.parametrize("where", ["init", "begin", "entries", "snapshot", "close", "call"])
@pytest.mark.parametrize("scope", ["episode", "run"])
def test_a_backend_that_raises_anywhere_is_never_a_score_nor_a_traceback(
    tmp_path: Path, where: str, scope: str
) -> None:
    name = "agemem_fakes.broken:BrokenMemory"
    what = config(memories=[name], memory_scope=scope, options={name: {"where": where}})
    if where == "init":
        with pytest.raises(UsageError, match="cannot be built: ValueError: broken in init"):
            go(tmp_path, what)
        return
    result = go(tmp_path, what, retries=0, max_infra_errors=2)
    harmless = {"close", "call"} | ({"snapshot"} if scope == "episode" else set())
    assert result.complete == (where in harmless)
    if where not in harmless:
        assert "MemoryBackendError: the memory failed in" in str(result.stopped or _reason(result))
        assert result.rows[0].success_rate is None


def _reason(result: RunResult) -> str:
    return next(iter(RunStore.open(result.directory).episodes().values())).reason


def test_tokens_of_failed_tries_are_booked_apart(tmp_path: Path) -> None:
    options = {FLAKY: {"risk": "0.1"}}
    result = go(
        tmp_path, config(FLAKY, options=options), name="w", retries=60, max_infra_errors=100
    )
    calm = go(tmp_path, config(FLAKY, options={FLAKY: {"risk": "0"}}), name="c")
    assert result.complete
    assert result.rows[0].tokens == calm.rows[0].tokens
    assert result.rows[0].tokens_lost > 0 == calm.rows[0].tokens_lost


def test_failures_in_a_row_end_the_run_and_resuming_pays_them_back(tmp_path: Path) -> None:
    broken = {FLAKY: {"risk": "1"}}
    what = config(FLAKY, options=broken)
    result = go(tmp_path, what, name="r", retries=0, max_infra_errors=3, concurrency=1)
    assert not result.complete
    assert result.stopped is not None
    assert "3 episodes in a row failed: WorkerError" in result.stopped
    (row,) = result.rows
    assert (row.n_scored, row.coverage, row.success_rate) == (0, 0, None)
    assert row.statuses == {"infra_error": 3}


def test_a_second_part_plays_only_what_is_owed(tmp_path: Path) -> None:
    what = config()
    whole = go(tmp_path, what, name="whole")
    go(tmp_path, what, name="cut")
    (path,) = (tmp_path / "cut/episodes").glob("*.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:7]) + lines[7][:20])
    again = go(tmp_path, what, name="cut")
    assert (again.resumed, again.scored) == (7, 12)
    assert table(again) == table(whole)


@pytest.mark.parametrize("scope", ["episode", "run"])
def test_memories_of_episodes_are_apart_and_those_of_a_stream_are_one(
    tmp_path: Path, scope: str
) -> None:
    what = make_config(
        {"envs": ["alfworld"], "memories": ["agemem"], "episodes": 5, "memory_scope": scope}
    )
    result = go(tmp_path, what, name="r")
    episodes = sorted(RunStore.open(tmp_path / "r").episodes().values(), key=lambda e: e.order)
    entries = [e.memory_entries or 0 for e in episodes]
    assert result.complete
    grows = entries == sorted(entries) and entries[-1] > entries[0] + 3
    assert grows == (scope == "run")


def test_a_stream_resumes_from_its_last_committed_episode(tmp_path: Path) -> None:
    what = make_config(
        {"envs": ["alfworld"], "memories": ["agemem"], "episodes": 6, "memory_scope": "run"}
    )
    whole = go(tmp_path, what, name="whole")
    go(tmp_path, what, name="cut")
    (path,) = (tmp_path / "cut/episodes").glob("*.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:5]))  # the snapshot of the fifth is kept beside the newest
    assert table(go(tmp_path, what, name="cut")) == table(whole)


def test_repeats_are_episodes_of_their_own(tmp_path: Path) -> None:
    result = go(tmp_path, config(repeats=3))
    assert (result.planned, result.scored) == (36, 36)


def test_more_episodes_than_tasks_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds 20 tasks"):
        go(tmp_path, config(episodes=21), name="r")
    assert not (tmp_path / "r").exists()


def test_the_default_name_is_safe_and_follows_the_configuration(tmp_path: Path) -> None:
    one, other = config(model="openai:org/name é"), config(model="openai:org/name", seed=1)
    assert default_name(one) != default_name(other)
    assert "/" not in default_name(one)
    assert default_name(one) == default_name(one)
