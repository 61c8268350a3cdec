"""Ctrl-C once drains, twice stops; SIGTERM drains within ten seconds; the same command resumes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agemem_eval.harness.records import Episode
from agemem_eval.harness.store import RunStore

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals")
EPISODES = 30
SUPPORT = str(Path(__file__).parent.parent / "support")


def start(cwd: Path, delay: str, *extra: str) -> subprocess.Popen[str]:
    command = [
        sys.executable, "-m", "agemem_eval", "run", "--env", "agemem_fakes.envs:CountEnv",
        "--memory", "none", "--model", "agemem_fakes.models:Inc", "--name", "r",
        "--episodes", str(EPISODES), "--concurrency", "2", "-o", f"delay={delay}",
        "-o", "tasks=40", *extra,
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": SUPPORT}
    return subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environment, start_new_session=True,
    )  # fmt: skip


def committed(cwd: Path) -> list[Episode]:
    if not (cwd / "runs/r/config.json").exists():
        return []
    return list(RunStore.open(cwd / "runs/r").episodes().values())


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_ctrl_c_finishes_what_is_in_play_and_the_same_command_resumes(tmp_path: Path) -> None:
    process = start(tmp_path, "0.1")
    wait_for(lambda: len(committed(tmp_path)) >= 3, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    kept = committed(tmp_path)
    assert process.returncode == 130, err
    assert 3 <= len(kept) < EPISODES
    assert all(e.scored for e in kept)
    assert "Ctrl-C again" in err
    assert err.count("the same command resumes") == 1
    assert f"{len(kept)}/{EPISODES}" in out, "the table so far is shown"
    again = start(tmp_path, "0")
    out, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    assert f"{len(kept)} of them earlier" in err


@pytest.mark.parametrize("times", [2, 4])
def test_ctrl_c_twice_stops_at_once_and_more_do_no_harm(tmp_path: Path, times: int) -> None:
    process = start(tmp_path, "0.2")
    wait_for(lambda: len(committed(tmp_path)) >= 1, process)
    process.kill()
    process.communicate()
    before = len(committed(tmp_path))
    process = start(tmp_path, "600")  # episodes that would take hours
    wait_for(lambda: (tmp_path / "runs/r/lock").read_text().strip() == str(process.pid), process)
    time.sleep(1.0)  # in play, most likely; if not, the first signal ends it already
    clock = time.monotonic()
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() in (None, 130)
    for _ in range(times - 1):
        process.send_signal(signal.SIGINT)
        time.sleep(0.02)  # else the system makes one of several
    _, err = process.communicate(timeout=60)
    # the last ones may find an interpreter that is ending, for which the system's way is left
    assert process.returncode in ((130,) if times == 2 else (130, -signal.SIGINT)), err
    assert time.monotonic() - clock < 30
    assert "Traceback" not in err
    assert len(committed(tmp_path)) == before


@pytest.mark.parametrize("delay", ["0.1", "600"])
def test_sigterm_ends_a_run_within_ten_seconds_and_loses_nothing(
    tmp_path: Path, delay: str
) -> None:
    process = start(tmp_path, "0.1")
    wait_for(lambda: len(committed(tmp_path)) >= 3, process)
    if delay != "0.1":
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)
        process = start(tmp_path, delay)
        wait_for(
            lambda: (tmp_path / "runs/r/lock").read_text().strip() == str(process.pid), process
        )
        time.sleep(1.0)
    before = len(committed(tmp_path))
    clock = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    took = time.monotonic() - clock
    assert process.returncode == 143, err
    assert err.count("the same command resumes") == 1
    assert took < 20, "ten seconds, and as many again for a busy machine"
    assert "Traceback" not in err
    assert len(committed(tmp_path)) >= before
    assert all(e.scored for e in committed(tmp_path))


def test_no_resume_refuses_a_run_that_exists(tmp_path: Path) -> None:
    first = start(tmp_path, "0", "--json")
    out, _ = first.communicate(timeout=120)
    assert json.loads(out)["complete"]
    second = start(tmp_path, "0", "--no-resume")
    _, err = second.communicate(timeout=120)
    assert second.returncode == 2
    assert err.count("\n") == 1
    assert "--no-resume" in err
