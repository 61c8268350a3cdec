"""`agemem-eval check`, and a plug-in that is installed as a user would install it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PLUGIN = Path(__file__).parents[1] / "support" / "example_plugin"


def cli(cwd: Path, *arguments: str, path: Path = PLUGIN) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(path)}
    command = [sys.executable, "-m", "agemem_eval", *arguments]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the example plug-in was installed into, with pip and its entry points."""
    target = tmp_path_factory.mktemp("installed")
    source = tmp_path_factory.mktemp("source")
    for file in PLUGIN.iterdir():
        if file.is_file():
            (source / file.name).write_bytes(file.read_bytes())
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target)]
    subprocess.run([*pip, str(source)], check=True, capture_output=True, timeout=300)
    return target


def test_an_installed_plug_in_is_listed_with_its_distribution(
    installed: Path, tmp_path: Path
) -> None:
    listed = json.loads(cli(tmp_path, "list", "--json", path=installed).stdout)
    assert next(e for e in listed["envs"] if e["name"] == "doors")["distribution"] == (
        "agemem-example"
    )
    (recent,) = [m for m in listed["memories"] if m["name"] == "recent"]
    assert recent["options"] == ["keep"]


def test_an_installed_plug_in_plays_by_name(installed: Path, tmp_path: Path) -> None:
    arguments = ("run", "--env", "doors", "--memory", "none,recent", "-o", "keep=3", "--json")
    arguments += ("--model", "scripted")
    done = cli(tmp_path, *arguments, path=installed)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert [row["memory"] for row in rows] == ["none", "recent"]
    assert all(row["success_rate"] == 1 and row["coverage"] == 1 for row in rows)
    assert all(row["within_cap"] == {"mean": 1, "n": 10} for row in rows)
    assert rows[1]["memory_entries_mean"] > 0


@pytest.mark.parametrize("target", ["doors", "recent"])
def test_an_installed_plug_in_passes_its_suite(
    installed: Path, tmp_path: Path, target: str
) -> None:
    done = cli(tmp_path, "check", target, path=installed)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAIL" not in done.stdout
    assert done.stdout.splitlines()[-1].startswith(f"{target}: ")


def test_a_class_in_the_present_folder_needs_no_registration(tmp_path: Path) -> None:
    done = cli(tmp_path, "check", "agemem_example:Recent", "-o", "keep=2", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["passed"] >= 10
    assert "failed" not in report
    run = ("run", "--env", "agemem_example:Doors", "--memory", "agemem_example:Recent")
    assert cli(tmp_path, *run, "--model", "scripted", "--name", "r").returncode == 0
    again = cli(tmp_path, *run, "--model", "replay:r", "--json")
    assert json.loads(again.stdout)["rows"][0]["success_rate"] == 1, "and can be replayed"


def test_a_failed_check_is_exit_code_1_and_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from agemem_example import Doors\n"
        "class Wrong(Doors):\n"
        "    def data_hash(self, split):\n"
        "        return ''\n"
    )
    done = cli(tmp_path, "check", "mine:Wrong")
    assert done.returncode == 1
    assert (
        "FAIL splits hold the tasks they promise in a stable order: test: data_hash is empty"
        in (done.stdout)
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("doorz",), "unknown environment or memory 'doorz'"),
        (("agemem_example:Doorz",), "no attribute 'Doorz'"),
        (("json:JSONDecoder",), "neither an environment"),
        (("agemem_example:Recent", "-o", "kep=3"), "did you mean 'keep'"),
        (("agemem_example:Recent", "-o", "keep"), "key=value"),
        (("agemem_example:Recent", "-o", "keep=0"), "a whole number"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    done = cli(tmp_path, "check", *arguments)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert said in line
