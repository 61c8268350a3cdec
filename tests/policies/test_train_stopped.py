"""A training that is asked to stop, by signals, in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import train_runs
import yaml

pytestmark = pytest.mark.train
pytest.importorskip("torch")


def start(folder: Path, **overrides):
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(train_runs.TINY))
    settings = [word for key, value in overrides.items() for word in
                ("--set", f"{key.replace('__', '.')}={value}")]  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-m", "agemem_eval", "train", str(path), "--name", "a", *settings],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def wait_for(process, path: Path, n: int) -> None:
    deadline = time.monotonic() + 240
    while len(train_runs.lines(path)) < n:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_ctrl_c_finishes_the_step_and_sigterm_ends_within_seconds(tmp_path):
    run = tmp_path / "runs" / "a"
    endless = {"grpo__steps": 10_000, "checkpoints__every": 10_000, "evaluation__every": 10_000}
    process = start(tmp_path, **endless)
    wait_for(process, run / "metrics.jsonl", 2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "the same command resumes" in errors
    assert "Traceback" not in errors
    (checkpoint,) = (run / "checkpoints").glob("step-*")
    step = json.loads((checkpoint / "state.json").read_text())["step"]
    assert step == train_runs.lines(run / "metrics.jsonl")[-1]["step"]

    process = start(tmp_path, **endless)  # it goes on from there
    wait_for(process, run / "metrics.jsonl", step + 1)
    process.send_signal(signal.SIGTERM)
    begun = time.monotonic()
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 143
    assert time.monotonic() - begun < 60  # 10 s, on a machine that does nothing else
    assert "Traceback" not in errors
    steps = [line["step"] for line in train_runs.lines(run / "metrics.jsonl")]
    assert steps == list(range(1, len(steps) + 1))


def test_a_full_disk_ends_it_in_one_line_and_nothing_half_written_stays(tmp_path):
    again = train_runs.plan(train_runs.recipe(grpo__steps=2), tmp_path / "full")
    code = (
        "import resource, signal, sys; sys.path.insert(0, sys.argv[1]); import train_runs\n"
        "from pathlib import Path\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "plan = train_runs.plan(train_runs.recipe(grpo__steps=2), Path(sys.argv[2]))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))\n"
        "try:\n    train_runs.finish(plan)\n"
        "except Exception as error:\n    print(type(error).__name__, error)\n"
    )
    support = Path(train_runs.__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", code, str(support), str(again.directory)],
        capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.stdout.startswith("DataError the disk is full"), done.stdout + done.stderr
    assert not list(again.directory.rglob(".new-*"))
