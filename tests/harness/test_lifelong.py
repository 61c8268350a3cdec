"""A memory kept over a stream: orders of the tasks, gain, resumption; what controls are told."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import zstandard

from agemem_eval.baselines.none import NoMemory
from agemem_eval.harness import runner
from agemem_eval.harness.config import Execution, RunConfig, make_config
from agemem_eval.harness.errors import UsageError
from agemem_eval.harness.metrics import cell_row
from agemem_eval.harness.options import resolve
from agemem_eval.harness.plan import Cell
from agemem_eval.harness.records import Episode, EpisodeKey, stable_hash
from agemem_eval.harness.runner import RunResult, rows_of, run
from agemem_eval.harness.store import RunStore
from agemem_eval.harness.types import Gold, Scope, Services, Task

KEY = EpisodeKey("count", "1", "h", "test", "", "rag", "m", "scripted", "s", "p", seed=0, repeat=0)


def stream(**values: Any) -> RunConfig:
    return make_config(
        {
            "envs": ["alfworld"],
            "memories": ["rag"],
            "episodes": 5,
            "memory_scope": "run",
            "agent": {"max_steps": 6},
            **values,
        }
    )


def go(directory: Path, what: RunConfig, **execution: Any) -> RunResult:
    return asyncio.run(run(what, Execution(runs_dir=directory, workers=0, **execution)))


def episode(key: EpisodeKey, success: bool) -> Episode:
    return Episode(key, "", "completed", success, None, 0.0, 1, 1, 0, 0, 0, 0, {}, {}, 0, 0.1, "t")


# --- orders --------------------------------------------------------------------------------------


def test_each_order_is_a_stream_of_all_tasks_in_an_order_of_its_own() -> None:
    tasks = tuple(Task(f"t{i}", "test") for i in range(8))
    cell = Cell("rag", KEY, tasks, 2, None, (0, 1, 2), True)
    streams = dict(cell.streams())
    assert len(streams) == 6
    orders = [tuple(job.task.id for job in jobs) for jobs in streams.values()]
    assert all(sorted(order) == sorted(t.id for t in tasks) for order in orders)
    assert len(set(orders)) == 3  # an order is the same in every repeat
    assert orders[:3] == orders[3:]
    assert len({key.id for key in cell.keys}) == 48
    assert [job.order for job in next(iter(streams.values()))] == list(range(8))
    again = Cell.from_json(json.loads(json.dumps(cell.to_json())))
    assert again.keys == cell.keys
    assert again.lifelong


def test_without_orders_a_key_is_what_it_was_before_there_were_any() -> None:
    old = _fields(KEY)
    del old["order_seed"]
    assert EpisodeKey(**old) == KEY
    assert KEY.id == stable_hash(old, 20)
    assert KEY.id != EpisodeKey(**old, order_seed=0).id


def _fields(key: EpisodeKey) -> dict[str, Any]:
    return {name: getattr(key, name) for name in EpisodeKey.__dataclass_fields__}


def test_orders_without_a_stream_are_refused() -> None:
    with pytest.raises(UsageError, match="--order-seeds orders the tasks of one memory: add"):
        stream(memory_scope="episode", order_seeds=(0, 1))
    with pytest.raises(UsageError, match="one is named twice: 1, 1"):
        stream(order_seeds=(1, 1))
    given = {"env": "alfworld", "memory": "rag", "memory_scope": "run"}
    config, _ = resolve({**given, "order_seeds": "3, 4"})
    assert config.order_seeds == (3, 4)
    with pytest.raises(UsageError, match="--order-seeds takes whole numbers"):
        resolve({**given, "order_seeds": "a,b"})


def test_orders_are_played_and_resumed_from_their_own_snapshots(tmp_path: Path) -> None:
    what = stream(order_seeds=(0, 1))
    whole = go(tmp_path, what, name="whole")
    assert (whole.planned, whole.scored) == (10, 10)
    go(tmp_path, what, name="cut")
    by_order: dict[int | None, list[Episode]] = {}
    for played in RunStore.open(tmp_path / "cut").episodes().values():
        by_order.setdefault(played.key.order_seed, []).append(played)
    assert set(by_order) == {0, 1}
    for episodes in by_order.values():
        episodes.sort(key=lambda e: e.order)
        entries = [e.memory_entries or 0 for e in episodes]
        assert entries == sorted(entries)
        assert entries[-1] > entries[0]  # one memory over the stream
    (path,) = (tmp_path / "cut/episodes").glob("*.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    again = go(tmp_path, what, name="cut")
    assert again.resumed == 9
    assert _numbers(again) == _numbers(whole)
    assert rows_of(again.directory) == again.rows


def _numbers(result: RunResult) -> list[dict[str, Any]]:
    rows = [row.to_json() for row in result.rows]
    for row in rows:
        del row["wall_s"], row["memory_wall_s"]
    return rows


def test_the_clock_of_a_stream_goes_on_from_task_to_task(tmp_path: Path) -> None:
    go(tmp_path, stream(), name="r")
    snapshot = max((tmp_path / "r/memory").rglob("*.snapshot"), key=lambda p: p.stat().st_mtime)
    content = RunStore.open(tmp_path / "r").read_snapshot(snapshot.parent.name, snapshot.stem)
    entries = json.loads(zstandard.decompress(content))["entries"]
    times = [entry["created"] for entry in entries]
    assert {time.split(",")[0] for time in times} == {f"task {n}" for n in range(1, 6)}


# --- gain ----------------------------------------------------------------------------------------


def lifelong(successes: list[list[bool]], missing: int = 0) -> dict[str, Any]:
    tasks = tuple(Task(f"t{i}", "test") for i in range(len(successes[0])))
    cell = Cell("rag", KEY, tasks, 1, None, tuple(range(len(successes))), True)
    streams = [[job.key for job in jobs] for _, jobs in cell.streams()]
    episodes = {
        key: episode(key, success)
        for keys, outcome in zip(streams, successes, strict=True)
        for key, success in zip(keys, outcome, strict=True)
    }
    for key in list(episodes)[:missing]:
        del episodes[key]
    found = cell_row(cell.keys, episodes.values(), None, streams).lifelong
    assert found is not None
    return found


def test_gain_is_the_success_of_the_second_half_minus_that_of_the_first() -> None:
    found = lifelong([[False, False, True, True, True]])
    assert (found["first_half"], found["second_half"], found["gain"]) == (0, 1, 1)
    assert found["order_sd"] is None
    # Closed form: gains 1/2 and 0, success 3/4 and 1/2, so sd = 0.25 / sqrt(2).
    found = lifelong([[True, False, True, True], [True, False, False, True]])
    assert found["gain"] == pytest.approx(0.25)
    assert found["order_sd"] == pytest.approx(0.25 / 2**0.5)
    assert [o["success_rate"] for o in found["streams"]] == [0.75, 0.5]


def test_repeats_are_no_orders() -> None:
    tasks = tuple(Task(f"t{i}", "test") for i in range(2))
    cell = Cell("rag", KEY, tasks, 2, None, (), True)
    streams = [[job.key for job in jobs] for _, jobs in cell.streams()]
    episodes = {key: episode(key, key.repeat == 0) for key in cell.keys}
    found = cell_row(cell.keys, episodes.values(), None, streams).lifelong
    assert found is not None
    assert (found["n_streams"], found["order_sd"]) == (2, None)


def test_a_stream_with_an_episode_owed_counts_for_no_gain() -> None:
    found = lifelong([[True, False], [False, True]], missing=1)
    assert (found["n_streams"], found["gain"]) == (1, 1)
    assert lifelong([[True, False]], missing=1)["gain"] is None
    assert cell_row([KEY], [episode(KEY, True)]).lifelong is None


# --- what controls are told ----------------------------------------------------------------------


def test_only_controls_are_told_gold_and_the_shuffled_one_that_of_the_next_task(
    tmp_path: Path,
) -> None:
    memories = ["none", "rag", "gold-store", "shuffled-store", "store-all"]
    values = {"envs": ["hotpotqa"], "options": {"hotpotqa": {"form": "three-stage"}}}
    what = stream(memories=memories, memory_scope="episode", agent={}, **values)
    result = go(tmp_path, what, name="r")
    assert result.complete
    recall = {row.memory: row.quality["fact_recall"]["mean"] for row in result.rows}
    assert recall["none"] == 0
    assert recall["gold-store"] == 1
    assert recall["gold-store"] >= recall["store-all"] >= recall["shuffled-store"]
    assert recall["shuffled-store"] < 0.5
    sizes = {row.memory: row.memory_entries_mean for row in result.rows}
    assert sizes["none"] == 0
    assert sizes["gold-store"]
    assert sizes["shuffled-store"]


@pytest.mark.parametrize("scope", ["episode", "run"])
def test_the_shuffled_store_never_holds_what_the_task_needs(tmp_path: Path, scope: str) -> None:
    """In a stream, the facts told for one task are those that the next one needs."""
    memories = ["gold-store", "shuffled-store"]
    what = stream(envs=["hotpotqa"], memories=memories, memory_scope=scope, agent={})
    gold, shuffled = go(tmp_path, what, name="r").rows
    assert gold.quality["fact_recall"]["mean"] == 1
    assert shuffled.quality["fact_recall"]["mean"] == 0
    assert shuffled.memory_entries_mean
    assert shuffled.memory_entries_mean < 3


class Witness(NoMemory):
    """Writes down which facts it was told."""

    name = "witness"
    told_of: ClassVar[dict[str, list[Gold | None]]] = {}

    def __init__(self, services: Services, **options: str) -> None:
        super().__init__(services, **options)

    async def begin(self, scope: Scope) -> None:
        if scope.goal:
            self.told_of.setdefault(type(self).__name__, []).append(scope.gold)


class Own(Witness):
    name = "own"
    told = "own"


class Other(Witness):
    name = "other"
    told = "other"


def test_a_memory_is_told_what_it_says_it_is_to_be_told_and_nothing_else(tmp_path: Path) -> None:
    Witness.told_of.clear()
    here = Path(__file__).stem
    sys.modules[here] = sys.modules[__name__]
    memories = [f"{here}:{name}" for name in ("Witness", "Own", "Other")]
    what = stream(envs=["hotpotqa"], memories=memories, memory_scope="episode", agent={})
    assert go(tmp_path, what, concurrency=1).complete
    assert Witness.told_of["Witness"] == [None] * 5
    own, other = Witness.told_of["Own"], Witness.told_of["Other"]
    assert None not in own
    assert other[:-1] == own[1:]  # that of the next task
    assert other[-1] not in own


def test_the_scripted_agent_notes_what_it_is_told_and_not_what_its_memory_shows(
    tmp_path: Path,
) -> None:
    options = {"hotpotqa": {"form": "three-stage"}}
    what = stream(
        envs=["hotpotqa"],
        memories=["agemem-rag"],
        memory_scope="episode",
        agent={},
        options=options,
    )
    assert go(tmp_path, what, name="r").complete
    store = RunStore.open(tmp_path / "r")
    for played in store.episodes().values():
        added = [e for e in store.read_trace(played.key.id) if e.get("op") == "add"]
        assert len(added) == 6
        assert not any("What your memory holds" in e["content"] for e in added)


def test_a_control_that_needs_gold_says_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="gold-store needs supporting facts, and alfworld tells"):
        go(tmp_path, stream(memories=["gold-store"], memory_scope="episode"), name="r")


def test_streams_that_are_closed_between_their_episodes_are_played_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    what = make_config(
        {
            "envs": ["alfworld"],
            "memories": ["agemem", "rag"],
            "episodes": 3,
            "memory_scope": "run",
            "order_seeds": [0, 1],
        }
    )
    kept = go(tmp_path / "kept", what)
    monkeypatch.setattr(runner, "MAX_OPEN_STREAMS", 0)
    closed = go(tmp_path / "closed", what)
    assert kept.complete
    assert closed.complete
    times: dict[str, Any] = {"wall_s": None, "memory_wall_s": {}}
    assert [replace(row, **times) for row in kept.rows] == [
        replace(row, **times) for row in closed.rows
    ]
