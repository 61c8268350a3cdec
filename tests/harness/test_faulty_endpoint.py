"""An endpoint that fails changes when a run ends, and nothing of what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fault_bench import Played, play

from agemem_eval.harness.testserver import at_random

VALUES: dict[str, Any] = {
    "envs": ["alfworld"],
    "memories": ["none", "agemem"],
    "episodes": 4,
    "agent": {"max_steps": 8, "context_tokens": 4096},
}
PATIENT = {"backoff_s": "0.01", "max_retries": "8", "timeout_s": "60"}
BRIEF = {**PATIENT, "timeout_s": "0.5"}  # for what hangs; a busy machine may be as late, too
HASTY = {**BRIEF, "max_retries": "0"}  # each failed call is a failed try of its episode
MIXES = {
    "refused": ("429", "500", "503"),
    "cut off": ("disconnect", "disconnect_mid_body", "long_length"),
    "late": ("hang", "429", "500"),
    "garbled": ("truncated", "html", "not_json", "error_body", "empty_choices", "no_message"),
}


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Played:
    played = play(tmp_path_factory.mktemp("clean"), limits=PATIENT, **VALUES)
    events = [event for trace in played.traces.values() for event in trace]
    writers = {e["writer"] for e in events if e["type"] == "memory" and e["op"] == "summary"}
    assert "model" in writers, "a model must have written some summary"
    assert any(record["malformed_outputs"] for record in played.records.values())
    assert (played.failed, played.replayed, played.booked) == (0, 0, played.served)
    return played


def same(found: Played, clean: Played) -> None:
    assert found.complete
    assert found.records == clean.records
    assert found.traces == clean.traces
    assert found.rows == clean.rows


@pytest.mark.parametrize("mix", MIXES)
def test_calls_that_failed_and_were_tried_again_leave_no_mark(
    tmp_path: Path, clean: Played, mix: str
) -> None:
    faults = at_random(0.2, MIXES[mix], seed=3)
    hangs = "hang" in MIXES[mix]
    found = play(tmp_path, faults, limits=BRIEF if hangs else PATIENT, **VALUES)
    assert found.failed >= 10
    assert found.replayed == 0, "the calls were tried again, not the episodes"
    assert found.booked == clean.served
    assert found.served == clean.served or hangs, "a reply that came too late was served in vain"
    same(found, clean)


def test_episodes_that_failed_and_were_played_again_are_scored_the_same(
    tmp_path: Path, clean: Played
) -> None:
    faults = at_random(0.08, [fault for mix in MIXES.values() for fault in mix], seed=3)
    found = play(tmp_path, faults, limits=HASTY, retries=100, **VALUES)
    assert found.replayed >= 1, "how many of the failed calls fall to one episode is chance"
    assert found.booked > clean.booked, "what failed tries cost is booked, as lost"
    same(found, clean)


def test_a_stream_of_episodes_survives_a_failing_endpoint_with_its_memory(tmp_path: Path) -> None:
    stream = {**VALUES, "memories": ["agemem"], "memory_scope": "run", "order_seeds": [0, 1]}
    clean = play(tmp_path / "clean", limits=PATIENT, **stream)
    faults = at_random(0.08, ["429", "500", "disconnect", "not_json"], seed=5)
    found = play(tmp_path / "faulty", faults, limits=HASTY, retries=100, **stream)
    assert found.replayed >= 1
    same(found, clean)


def test_waits_that_the_endpoint_asks_for_leave_no_mark(tmp_path: Path, clean: Played) -> None:
    faults = at_random(0.2, ["429", "503"], seed=7)
    found = play(tmp_path, faults, limits=PATIENT, retry_after="0.05", **VALUES)
    assert found.failed >= 10
    assert found.booked == found.served == clean.served
    same(found, clean)
