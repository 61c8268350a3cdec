"""Runs on Ray: a node lost costs its episodes a second try, and nothing is left of a run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import run_records
from clusters import lose, new_cluster
from processes import alive, children, wait_for

pytestmark = pytest.mark.ray

SUPPORT = Path(__file__).resolve().parent.parent / "support"
COUNT = "agemem_fakes.envs:CountEnv"
EPISODES = 60


def start(directory: Path, *extra: str, slow: str = "0.03") -> subprocess.Popen[str]:
    command = [
        sys.executable, "-m", "agemem_eval", "run", "--env", COUNT, "--memory", "agemem",
        "-o", f"{COUNT}.slow={slow}", "-o", f"{COUNT}.tasks={EPISODES}", "--name", "r", "--json",
        "--model", "scripted",
        "--concurrency", "4", "--workers", "2", *extra,
    ]  # fmt: skip
    directory.mkdir(exist_ok=True)
    environ = {**os.environ, "PYTHONPATH": str(SUPPORT), "HOME": str(directory)}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command,
        cwd=directory,
        env=environ,
        stdout=pipe,
        stderr=pipe,
        text=True,
        start_new_session=True,
    )


def records(directory: Path) -> list[dict[str, Any]]:
    paths = (directory / "runs/r/episodes").glob("*.jsonl")
    return [json.loads(line) for p in paths for line in p.read_text().splitlines(keepends=True)
            if line.endswith("\n")]  # fmt: skip


def wait_until_it_plays(process: subprocess.Popen[str], directory: Path, episodes: int) -> int:
    """Wait for so many episodes; returns how many there were then."""
    begun = wait_for(
        lambda: len(records(directory)) >= episodes or process.poll() is not None, within=300
    )
    assert begun
    assert process.poll() is None, process.communicate()
    return len(records(directory))


def committed_once(directory: Path) -> dict[str, Any]:
    """Records and traces by episode, without what a second try may change."""
    lines = [json.dumps(record["key"], sort_keys=True) for record in records(directory)]
    assert len(lines) == len(set(lines)), "an episode was committed twice"
    return run_records.records(directory / "runs/r", "attempt", "tokens_lost")


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    told, problems = process.communicate(timeout=400)
    assert process.returncode == 0, problems
    assert "raylet" not in problems + told
    assert "Traceback" not in problems
    return dict(json.loads(told))


def test_a_node_lost_in_the_middle_costs_only_its_running_episodes(tmp_path: Path) -> None:
    cluster = new_cluster(num_cpus=0)
    try:
        nodes = [cluster.add_node(num_cpus=1, object_store_memory=80 << 20) for _ in range(2)]
        process = start(tmp_path / "far", "--backend", "ray", "--ray-address", cluster.address)
        at_loss = wait_until_it_plays(process, tmp_path / "far", 8)
        lose(cluster, nodes[0])
        assert finish(process)["complete"]
    finally:
        cluster.shutdown()
    assert at_loss < EPISODES, "it was done before the loss, so this shows nothing"
    assert finish(start(tmp_path / "near"))["complete"]
    assert committed_once(tmp_path / "far") == committed_once(tmp_path / "near")
    again = [r for r in records(tmp_path / "far") if r["attempt"] > 1]
    assert 0 < len(again) <= 4, "no more than the episodes that were being played"
    assert "worker_lost" in (tmp_path / "far/runs/r/log.jsonl").read_text()


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_a_run_that_is_ended_leaves_no_process_and_goes_on_from_where_it_was(
    tmp_path: Path, number: str
) -> None:
    process = start(tmp_path, "--backend", "ray", slow="0.1")
    wait_until_it_plays(process, tmp_path, 1)
    started = children(process.pid)
    assert len(started) > 3, "no cluster was started, so this shows nothing"
    if number == "SIGINT":  # a terminal's Ctrl-C goes to all that were started in it
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.Signals[number])
    process.communicate(timeout=100)
    assert process.returncode == {"SIGINT": 130, "SIGTERM": 143, "SIGKILL": -9}[number]
    assert wait_for(lambda: not any(map(alive, started)))
    before = len(records(tmp_path))
    assert before < EPISODES
    assert finish(start(tmp_path, slow="0.1"))["complete"]
    assert len(committed_once(tmp_path)) == EPISODES


def test_a_run_in_a_cluster_of_its_own_leaves_no_process_and_a_quiet_terminal(
    tmp_path: Path,
) -> None:
    process = start(tmp_path, "--backend", "ray", "--episodes", "5")
    seen: set[int] = set()

    def ended() -> bool:
        seen.update(children(process.pid))
        return process.poll() is not None

    assert wait_for(ended, 300)
    assert finish(process)["complete"]
    assert len(seen) > 3
    assert wait_for(lambda: not any(map(alive, seen)))
    assert not (tmp_path / ".ray").exists(), "Ray's token, for anybody to read"


def test_a_driver_killed_at_a_cluster_of_others_leaves_no_actor_there(tmp_path: Path) -> None:
    cluster = new_cluster(num_cpus=2)
    try:
        process = start(tmp_path, "--backend", "ray", "--ray-address", cluster.address, slow="0.1")
        wait_until_it_plays(process, tmp_path, 1)
        (raylet,) = cluster.head_node.all_processes["raylet"]
        actors = {pid for pid in children(raylet.process.pid) if is_actor(pid)}
        assert len(actors) == 2
        process.kill()
        process.communicate()
        assert wait_for(lambda: not any(map(alive, actors)))
    finally:
        cluster.shutdown()


def is_actor(pid: int) -> bool:
    try:
        return b"WorkerActor" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
