"""What becomes of an episode whose try fails, or that still waits when its run is ended."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from agemem_fakes.memories import FarAway
from agemem_fakes.models import Outage

from agemem_eval.harness import breaker
from agemem_eval.harness.config import Execution, RunConfig, make_config
from agemem_eval.harness.errors import WorkerError
from agemem_eval.harness.records import Episode
from agemem_eval.harness.runner import RunResult, Stop, run
from agemem_eval.harness.store import RunStore
from agemem_eval.harness.watch import Watcher
from agemem_eval.harness.workers.pool import WorkerEnv, WorkerPool

COUNT, SINGLE = "agemem_fakes.envs:CountEnv", "agemem_fakes.envs:SingleEnv"
INC = "agemem_fakes.models:Inc"


def config(env: str = COUNT, **values: Any) -> RunConfig:
    given = {"envs": [env], "memories": ["none"], "episodes": 4, "model": INC, **values}
    return make_config(given)


def go(directory: Path, what: RunConfig, **execution: Any) -> RunResult:
    return asyncio.run(run(what, Execution(runs_dir=directory, name="r", **execution)))


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each environment that is asked for is to be in a worker of its own."""
    asked: list[bool] = []
    real = WorkerPool.acquire

    async def acquire(
        pool: WorkerPool, env: str, options: Mapping[str, str], *, alone: bool = False
    ) -> WorkerEnv:
        asked.append(alone)
        return await real(pool, env, options, alone=alone)

    monkeypatch.setattr(WorkerPool, "acquire", acquire)
    return asked


def test_an_endpoint_that_fails_costs_no_further_workers(tmp_path: Path, alone: list[bool]) -> None:
    result = go(tmp_path, config(options={INC: {"fail": "3"}}), concurrency=4, retries=3)
    assert result.complete
    assert len(alone) == 1 + 4 + 3, "the plan, the episodes, and their further tries"
    assert not any(alone)


def test_after_a_worker_was_lost_the_next_try_is_in_a_worker_of_its_own(
    tmp_path: Path, alone: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = WorkerPool.acquire

    async def acquire(pool: WorkerPool, *what: Any, **how: Any) -> WorkerEnv:
        if len(alone) == 1:  # the first one after the plan's
            alone.append(how["alone"])
            raise WorkerError("it was lost")
        return await inner(pool, *what, **how)

    monkeypatch.setattr(WorkerPool, "acquire", acquire)
    assert go(tmp_path, config(), concurrency=1, retries=1).complete
    assert alone == [False, False, True, False, False, False]


@pytest.mark.parametrize("scope", ["episode", "run"])
def test_a_memory_whose_server_is_away_costs_tries_and_not_the_run(
    tmp_path: Path, scope: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FarAway, "made", 0)  # the first one is for the plan
    what = config(memories=["agemem_fakes.memories:FarAway"], memory_scope=scope)
    result = go(tmp_path, what, concurrency=1, retries=2)
    assert result.complete
    found = RunStore.open(tmp_path / "r").records()
    assert [episode.attempt for episode in found] == [3, 1, 1, 1]


class BreaksBeforeTheLast(Watcher):
    """Takes the endpoint away for some calls when one episode of four is left."""

    def __init__(self, calls: int) -> None:
        self.left, self.calls = 3, calls

    def ends(self, episode: Episode) -> None:
        self.left -= 1
        if self.left == 0:
            Outage.calls_down = self.calls


@pytest.mark.parametrize("calls", [2, 10**9])
def test_an_outage_of_the_last_episodes_is_waited_for_as_any_other(
    tmp_path: Path, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Outage, "calls_down", 0)
    monkeypatch.setattr(breaker, "FIRST_WAIT_S", 0.01)
    execution = Execution(
        runs_dir=tmp_path, concurrency=1, retries=0, max_infra_errors=2, patience_s=1.0
    )
    what = config(model="agemem_fakes.models:Outage")
    result = asyncio.run(run(what, execution, [BreaksBeforeTheLast(calls)]))
    assert result.complete == (calls == 2)
    assert (result.stopped is None) == (calls == 2), "it was waited for in vain"


class EndsAtTheFirst(Watcher):
    """Asks for the end of the run when an episode has ended."""

    def __init__(self, stop: Stop) -> None:
        self.stop = stop

    def ends(self, episode: Episode) -> None:
        self.stop.drain("enough")


@pytest.mark.parametrize("scope", ["episode", "run"])
def test_what_waits_for_an_environment_when_a_run_is_ended_is_not_begun(
    tmp_path: Path, scope: str
) -> None:
    many = {"repeats": 16, "episodes": 1} if scope == "run" else {"episodes": 16}
    what = config(SINGLE, memory_scope=scope, options={INC: {"delay": "0.1"}}, **many)
    execution = Execution(runs_dir=tmp_path, name="r", concurrency=16, workers=1)

    async def ended() -> RunResult:
        stop = Stop()
        return await run(what, execution, [EndsAtTheFirst(stop)], stop)

    result = asyncio.run(ended())
    assert result.stopped == "enough"
    assert 1 <= result.scored <= 2, "that one, and one that may have begun meanwhile"
    assert go(tmp_path, what).complete
