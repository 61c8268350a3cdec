"""Runs with `vllm:MODEL`, its server a stand-in: who starts one, and that none is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from processes import alive, wait_for
from weights_fakes import write_model

from agemem_eval.harness.cli import main
from agemem_eval.harness.models.vllm import guard

from .test_vllm import FAKE, processes


@dataclass(frozen=True)
class Played:
    """How a run in this process ended: the same as in its own, and sooner."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def play(command, capsys):
    def play_it(*extra: str) -> Played:
        code = 0
        try:
            main([*command[3:], *extra])
        except SystemExit as end:
            code = end.code
        return Played(code, *capsys.readouterr())

    return play_it


@pytest.fixture
def command(tmp_path, monkeypatch):
    """A run's command line, played in `tmp_path`."""
    monkeypatch.syspath_prepend(str(FAKE))
    monkeypatch.setenv("PYTHONPATH", str(FAKE))
    monkeypatch.setenv("FAKE_VLLM", "{}")
    monkeypatch.chdir(tmp_path)
    folder = write_model(tmp_path / "tiny")
    return [
        sys.executable, "-m", "agemem_eval", "run", "--env", "alfworld", "--memory", "agemem",
        "--model", f"agemem_eval.harness.models.vllm:VllmModel:{folder}", "--episodes", "2",
        "--max-steps", "2", "--workers", "0",
    ]  # fmt: skip


def test_a_run_starts_one_server_for_all_roles_and_ends_it(command, play, tmp_path):
    done = play("--judge", command[command.index("--model") + 1], "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["complete"]
    assert len(processes(tmp_path)) == 2  # one start: a server and its engine
    assert not any(map(alive, processes(tmp_path)))


def test_a_run_whose_replies_are_all_cached_starts_no_server(play, tmp_path):
    for name in ("first", "second"):
        done = play("--cache", "--name", name)
        assert done.returncode == 0, done.stderr
        assert len(processes(tmp_path)) == 2


def test_a_server_that_cannot_start_ends_the_run_in_one_line(play, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_VLLM", '{"fail": "ValueError: no such architecture"}')
    done = play()
    assert done.returncode == 2
    assert "ValueError: no such architecture (log: " in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(Path(tmp_path, "runs").glob("*/episodes/*infra*"))


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_ended_ends_its_server(command, tmp_path, end, monkeypatch):
    monkeypatch.setenv("FAKE_VLLM", '{"slow_s": 3600}')
    soon = "from agemem_eval.harness import cli, commands; commands.DRAIN_S = 0.1; cli.main()"
    command = [sys.executable, "-c", soon, *command[3:]]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    assert wait_for(lambda: (tmp_path / "runs/.cache/vllm").is_dir() and processes(tmp_path))
    process.send_signal(end)
    process.wait(60)
    assert wait_for(lambda: not any(map(alive, processes(tmp_path))))


def test_an_engine_that_dies_in_a_run_costs_no_episode(play, tmp_path, monkeypatch):
    deaths = tmp_path / "deaths"
    deaths.write_text("2")
    monkeypatch.setenv("FAKE_VLLM", json.dumps({"deaths": str(deaths)}))
    done = play("--concurrency", "1", "-o", "max_retries=0")
    assert done.returncode == 0, done.stderr
    assert "2 of 2 episodes scored" in done.stderr
    assert "the next call starts it again" in done.stderr
    assert "2 of 2" in done.stderr
    assert len(processes(tmp_path)) == 6
    assert not any(map(alive, processes(tmp_path)))


def test_an_engine_that_keeps_dying_ends_the_run_in_one_line(play, tmp_path, monkeypatch):
    deaths = tmp_path / "deaths"
    deaths.write_text("99")
    monkeypatch.setenv("FAKE_VLLM", json.dumps({"deaths": str(deaths)}))
    done = play("--concurrency", "1", "-o", "max_retries=0", "--retries", "9")
    assert done.returncode == 1, done.stderr
    assert "given up after 3 deaths in a row" in done.stderr
    assert deaths.read_text() == "96"
    assert os.listdir(tmp_path / "runs")


def guarded(*command: str) -> subprocess.CompletedProcess[str]:
    theirs, ours = os.pipe()
    done = subprocess.run(
        [sys.executable, guard.__file__, str(theirs), "1", *command],
        capture_output=True, text=True, pass_fds=(theirs,), timeout=60,
    )  # fmt: skip
    os.close(theirs)
    os.close(ours)
    return done


def test_a_dead_process_that_nobody_waits_for_is_no_life():
    code = "print(flush=True); input()"
    process = subprocess.Popen(
        [sys.executable, "-ISc", code],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    process.stdout.readline()
    assert guard.lives(process.pid)
    process.stdin.close()
    assert wait_for(lambda: not guard.lives(process.pid))
    assert guard.signal_group(process.pid, 0)  # it is there still, waited for by nobody
    process.wait()
    process.stdout.close()


def test_the_guard_says_what_it_could_not_start(tmp_path):
    done = guarded(str(tmp_path / "nothing"))
    assert done.stdout == "exit 127\n"
    assert "cannot start" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_all_processes_leaves_the_guard_at_its_post(number):
    n = int(number)
    code = f"import os, signal; os.kill(os.getppid(), {n}); print(signal.getsignal({n}).name)"
    done = guarded(sys.executable, "-ISc", code)
    assert done.stdout.splitlines()[-1] == "exit 0"
    ignored = signal.getsignal(number) is signal.SIG_IGN  # these tests run under nohup
    assert ("SIG_IGN" if ignored else "SIG_DFL") in done.stderr  # else the server is to hear it
