"""The run store: what is committed stays, what is torn is owed, what is foreign is refused."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agemem_eval.harness.config import RunConfig, make_config
from agemem_eval.harness.errors import ConfigMismatchError, DataError, UsageError
from agemem_eval.harness.ledger import RoleUsage
from agemem_eval.harness.records import Episode, EpisodeKey
from agemem_eval.harness.store import RunStore, check_name
from agemem_eval.harness.store.index import record_line

CONFIG = make_config({"envs": ["alfworld"], "memories": ["none"]})


def key(n: int) -> EpisodeKey:
    return EpisodeKey("e", "1", "d", "s", f"t{n}", "m", "mh", "model", "h", "p", 0, 0)


def episode(n: int, status: Any = "completed", **changes: Any) -> Episode:
    values: dict[str, Any] = {
        "task_type": "é\ud800", "success": True, "progress": 1.0, "reward": 1.0, "steps": n,
        "turns": n, "invalid_actions": 0, "malformed_outputs": 0, "forfeits": 0,
        "overflow_drops": 0, "tool_calls": {"Add_memory": {"success": 1}},
        "tokens": {"agent": RoleUsage(1, 2, 3, 0)}, "memory_entries": 1, "wall_s": 0.1,
        "started_at": "2026-01-01T00:00:00+00:00",
    }  # fmt: skip
    return Episode(key=key(n), status=status, **{**values, **changes})


def fill(directory: Path, *episodes: Episode, config: RunConfig = CONFIG) -> None:
    with RunStore(directory) as store:
        store.lock(config, [])
        for one in episodes:
            store.commit(one, [{"type": "action", "n": one.steps}])


def test_what_was_committed_is_read_back(tmp_path: Path) -> None:
    fill(tmp_path / "r", episode(1), episode(2, "limit", success=None))
    store = RunStore.open(tmp_path / "r")
    assert store.episodes()[key(2)].success is None
    assert store.episodes()[key(1)].tokens == {"agent": RoleUsage(1, 2, 3, 0)}
    assert list(store.read_trace(key(1).id)) == [{"type": "action", "n": 1}]
    assert store.config() == CONFIG


def test_an_infra_error_gives_way_to_a_score_and_a_score_to_nothing(tmp_path: Path) -> None:
    fill(tmp_path / "r", episode(1, "infra_error", reason="down"))
    fill(tmp_path / "r", episode(1, reason="first"))
    fill(tmp_path / "r", episode(1, reason="second"))
    fill(tmp_path / "r", episode(1, "infra_error", reason="down again"))
    episodes = RunStore.open(tmp_path / "r").episodes()
    assert [e.reason for e in episodes.values()] == ["first"]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cut=st.integers(1, 2000), more=st.integers(0, 2))
def test_a_cut_anywhere_costs_at_most_the_last_episode(
    tmp_path_factory: pytest.TempPathFactory, cut: int, more: int
) -> None:
    directory = tmp_path_factory.mktemp("cut") / "r"
    fill(directory, episode(1), episode(2))
    (path,) = (directory / "episodes").glob("*.jsonl")
    content = path.read_bytes()
    last = len(content) - content[:-1].rfind(b"\n") - 1
    path.write_bytes(content[: len(content) - min(cut, last)])
    assert set(RunStore.open(directory).episodes()) == {key(1)}
    fill(directory, *(episode(n) for n in (2, 3)[:more]))  # appends never join a torn line
    assert set(RunStore.open(directory).episodes()) == {key(1), *map(key, (2, 3)[:more])}


def test_damage_in_the_middle_names_file_and_line(tmp_path: Path) -> None:
    fill(tmp_path / "r", episode(1), episode(2))
    (path,) = (tmp_path / "r/episodes").glob("*.jsonl")
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([lines[0][:50], *lines[1:]]))
    with pytest.raises(DataError, match=r"\.jsonl, line 1: not an episode"):
        RunStore.open(tmp_path / "r").episodes()


def test_a_damaged_or_missing_trace_is_named(tmp_path: Path) -> None:
    fill(tmp_path / "r", episode(1))
    store = RunStore.open(tmp_path / "r")
    (path,) = (tmp_path / "r/turns").iterdir()
    path.write_bytes(b"no zstd")
    with pytest.raises(DataError, match="damaged"):
        list(store.read_trace(key(1).id))
    with pytest.raises(DataError, match="missing"):
        list(store.read_trace(key(2).id))


def test_another_configuration_is_refused_with_the_difference(tmp_path: Path) -> None:
    fill(tmp_path / "r", episode(1))
    other = make_config({"envs": ["alfworld"], "memories": ["none"], "agent": {"shots": 0}})
    with pytest.raises(ConfigMismatchError, match=r"agent\.shots: 1 in the run, 0 now"):
        fill(tmp_path / "r", config=other)


def test_a_store_that_writes_holds_no_episodes(tmp_path: Path) -> None:
    with RunStore(tmp_path / "r") as store:
        store.lock(CONFIG, [])
        for n in range(30):
            store.commit(episode(n), [])
        gc.collect()
        assert not [one for one in gc.get_objects() if isinstance(one, Episode)]
        assert store.counts() == (30, 0)
        assert [one.steps for one in store.records([key(7), key(99), key(3)])] == [7, 3]


def test_what_an_episode_without_a_score_has_cost_is_told_until_it_has_one(tmp_path: Path) -> None:
    lost = {"agent": RoleUsage(1, 1, 1, 0), "judge": RoleUsage(2, 2, 2, 2)}
    fill(tmp_path / "r", episode(1, "infra_error", tokens_lost=lost))
    cost = {"agent": RoleUsage(2, 3, 4, 0), "judge": RoleUsage(2, 2, 2, 2)}
    with RunStore(tmp_path / "r") as store:
        store.lock(CONFIG, [])
        assert store.spent(key(1)) == cost
        store.spent(key(1))["agent"].calls = 99  # the caller's own
        assert store.spent(key(1)) == cost
        assert store.spent(key(2)) == {}
        store.commit(episode(1, tokens_lost=cost), [])
        assert (store.scored(key(1)), store.spent(key(1))) == (True, {})
    assert RunStore.open(tmp_path / "r").counts() == (1, 0)


def test_many_files_of_records_are_read_in_the_order_of_their_writers(tmp_path: Path) -> None:
    fill(tmp_path / "r", episode(1, reason="first"))
    folder = tmp_path / "r/episodes"
    (folder / "0001.jsonl").rename(folder / "9999.jsonl")
    fill(tmp_path / "r", episode(2))
    second = folder / "10000.jsonl"
    assert second.exists()
    second.write_bytes(second.read_bytes() + record_line(episode(1, reason="second")))
    assert [e.reason for e in RunStore.open(tmp_path / "r").records([key(1)])] == ["first"]


def test_two_writers_at_once_are_refused(tmp_path: Path) -> None:
    with RunStore(tmp_path / "r") as one, RunStore(tmp_path / "r") as two:
        one.lock(CONFIG, [])
        with pytest.raises(UsageError, match="is being written by process"):
            two.lock(CONFIG, [])
    fill(tmp_path / "r", episode(1))


def test_foreign_empty_and_newer_directories_are_told_apart(tmp_path: Path) -> None:
    for name in ("empty", "foreign", "newer"):
        (tmp_path / name).mkdir()
    (tmp_path / "foreign/thesis.tex").write_text("mine")
    newer = {"schema": 999, "version": "9.9", "config": {}}
    (tmp_path / "newer/config.json").write_text(json.dumps(newer))
    for name, said in (("empty", "is empty"), ("foreign", "config.json"), ("newer", "upgrade")):
        with pytest.raises(DataError, match=said):
            RunStore.open(tmp_path / name)
    with pytest.raises(UsageError, match="no run"):
        RunStore.open(tmp_path / "none")
    with pytest.raises(DataError):
        fill(tmp_path / "foreign", episode(1))
    assert (tmp_path / "foreign/thesis.tex").read_text() == "mine"


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "a\\b", ".hidden", "a\nb", "x" * 200])
def test_names_that_could_leave_the_folder_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a run"):
        check_name(name)
