"""A judge in a run: its scores, its bill, and what becomes of episodes when it fails."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agemem_eval.harness.config import Execution, make_config
from agemem_eval.harness.errors import DataError
from agemem_eval.harness.report import grids, notes
from agemem_eval.harness.runner import RunResult, run
from agemem_eval.harness.store import RunStore
from agemem_eval.harness.testserver import ChatServer, Schedule, no_faults


def play(
    folder: Path, reply: str = "0.5", faults: Schedule = no_faults, **execution: Any
) -> tuple[RunResult, ChatServer]:
    """Four questions, answered by the oracle, with a judge that gives one reply."""

    async def go() -> tuple[RunResult, ChatServer]:
        async with ChatServer(lambda _: reply, faults=faults) as server:
            config = make_config(
                {
                    "envs": ["hotpotqa"],
                    "memories": ["none", "gold-store"],
                    "episodes": 4,
                    "judge": "openai:j",
                }
            )
            given: dict[str, Any] = {"judge_base_url": server.url, "workers": 0, "name": "r"}
            quick = {"max_retries": "0", "backoff_s": "0.001"}
            given |= {"model_options": quick, "runs_dir": folder, **execution}
            return await run(config, Execution(**given)), server

    return asyncio.run(go())


def test_a_judge_scores_answers_and_memories_and_is_booked(tmp_path: Path) -> None:
    result, server = play(tmp_path)
    none, gold = result.rows
    assert gold.quality["j"] == {"mean": 0.5, "n": 4}
    assert gold.quality["mq"] == {"mean": 0.5, "n": 4}
    assert none.quality["j"] == {"mean": 0.5, "n": 4}
    assert none.quality["mq"] == {"mean": 0, "n": 4}  # it holds nothing: no call
    # Both memories have the same answers: each is judged once, and booked for both.
    assert gold.tokens["judge"]["calls"] * 4 == server.served.calls == 8
    assert gold.tokens["judge"]["prompt"] * 4 == server.served.prompt_tokens
    assert none.tokens["judge"]["calls"] * 4 == 4
    memory = next(grid for grid in grids(result.rows) if grid.title == "Memory")
    assert [cells[1] for cells in memory.rows] == ["none", "gold-store"]
    assert any("mq and j by openai:j" in line for line in notes(result.rows))


def test_what_was_judged_once_is_not_asked_again(tmp_path: Path) -> None:
    cache = tmp_path / "kept"
    first, asked = play(tmp_path / "a", cache_dir=cache)
    again, unasked = play(tmp_path / "b", cache_dir=cache)
    assert asked.served.calls > 0
    assert unasked.n_requests == 0
    assert [row.quality for row in first.rows] == [row.quality for row in again.rows]
    assert [row.tokens for row in first.rows] == [row.tokens for row in again.rows]


@pytest.mark.parametrize("dead_from", [0, 3])
def test_a_judge_that_fails_takes_no_episode_with_it(tmp_path: Path, dead_from: int) -> None:
    result, server = play(
        tmp_path, faults=lambda n: "500" if n >= dead_from else None, concurrency=1
    )
    assert result.complete
    assert all(row.success_rate == 1 for row in result.rows)
    scored = sum(row.quality["j"]["n"] or 0 for row in result.rows)
    assert scored == min(3, dead_from)
    assert all(row.quality["fact_recall_in_context"]["n"] == 4 for row in result.rows)
    assert server.n_requests == dead_from + 3  # after three failures in a row, no more
    missed = 8 - min(3, dead_from)  # failed, or not asked
    assert sum(row.judge_faults for row in result.rows) == missed
    assert any(f"gave no usable score {missed} times" in line for line in notes(result.rows))
    lost = [e.tokens_lost for e in RunStore.open(tmp_path / "r").episodes().values()]
    assert not any(lost)


def test_a_judge_s_nonsense_is_no_fault_of_the_memory(tmp_path: Path) -> None:
    result, _ = play(tmp_path, reply="I would say that it is good.")
    gold = result.rows[1]
    assert gold.memory_faults == {}
    assert gold.judge_faults == 8
    assert gold.quality["j"] == {"mean": None, "n": 0}


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_played(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match=r"cannot keep files in .*file"):
        play(tmp_path, cache_dir=tmp_path / "file")
