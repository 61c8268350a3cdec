"""`agemem-eval runs`: what a person sees of runs on disk, sound and broken ones side by side."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from agemem_eval.harness.cli import main
from agemem_eval.harness.files import take_lock
from agemem_eval.harness.store import RunStore

RUN = ("run", "--env", "alfworld", "--memory", "none,agemem", "--model", "scripted")
RUN = (*RUN, "--episodes", "2", "--name", "whole")


def cli(cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "agemem_eval", *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)
    assert "Traceback" not in done.stderr
    return done


def as_json(cwd: Path, *arguments: str, code: int = 0) -> Any:
    done = cli(cwd, *arguments, "--json")
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one complete run."""
    folder = tmp_path_factory.mktemp("played")
    assert cli(folder, *RUN).returncode == 0
    return folder


@pytest.fixture
def here(played: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(played, tmp_path / "here"))


def table(here: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(
        cli(here, "report", "whole", "--format", "json").stdout
    )["rows"]
    return rows


def part_of(here: Path, name: str) -> Path:
    """A copy of the run that lacks its last record."""
    directory = Path(shutil.copytree(here / "runs/whole", here / "runs" / name))
    (path,) = RunStore(directory).files()
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    return directory


def test_runs_of_every_state_are_listed_side_by_side(here: Path) -> None:
    part_of(here, "part")
    written = part_of(here, "written")
    damaged = part_of(here, "damaged") / "episodes/0001.jsonl"
    damaged.write_bytes(b"nonsense\n" + damaged.read_bytes())
    (here / "runs/foreign").mkdir()
    (here / "runs/foreign/thesis.tex").write_text("mine")
    (here / "runs/empty").mkdir()
    newer = Path(shutil.copytree(here / "runs/whole", here / "runs/newer"))
    header = json.loads((newer / "config.json").read_text())
    (newer / "config.json").write_text(json.dumps({**header, "schema": 999}))
    lock = take_lock(written, "it")
    try:
        found = {run["name"]: run for run in as_json(here, "runs", "list")["runs"]}
        shown = cli(here, "runs", "list").stdout
    finally:
        os.close(lock)
    states = {name: run["state"] for name, run in found.items()}
    assert states == {
        "whole": "complete", "part": "partial", "written": "being written",
        "damaged": "damaged", "foreign": "foreign", "empty": "not begun", "newer": "foreign",
    }  # fmt: skip
    assert found["part"]["detail"] == "3/4"
    assert found["written"]["detail"] == f"by process {os.getpid()}, 3/4"
    assert "line 1" in found["damaged"]["detail"]
    assert "upgrade" in found["newer"]["detail"]
    whole = found["whole"]
    assert (whole["cells"], whole["planned"], whole["scored"], whole["owed"]) == (2, 4, 4, 0)
    assert (whole["model"], whole["size"] > 10_000) == ("scripted", True)
    assert all(name in shown for name in states)


def test_an_empty_or_missing_folder_lists_nothing(tmp_path: Path) -> None:
    assert as_json(tmp_path, "runs", "list")["runs"] == []
    assert "no run is in runs" in cli(tmp_path, "runs", "list").stdout


def test_show_tells_configuration_cells_and_tokens(here: Path) -> None:
    found = as_json(here, "runs", "show", "whole")
    assert found["config"]["envs"] == ["alfworld"]
    assert [cell["memory"] for cell in found["cells"]] == ["none", "agemem-norl"]
    assert [cell["statuses"] for cell in found["cells"]] == [{"completed": 2}] * 2
    assert found["first"] <= found["last"]
    report = table(here)
    for cell, row in zip(found["cells"], report, strict=True):
        assert cell["tokens"]["agent"]["prompt_tokens"] == 2 * row["tokens"]["agent"]["prompt"]
    shown = cli(here, "runs", "show", "whole").stdout
    assert yaml.safe_load(shown[shown.index("envs:") : shown.index("\n\n env")])["seed"] == 0
    assert "2/2" in shown


def test_errors_are_shown_by_kind_with_an_example(tmp_path: Path) -> None:
    model = "agemem_fakes.models:Down"
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent / "support")}
    command = [
        sys.executable, "-m", "agemem_eval", "run", "--env", "agemem_fakes.envs:CountEnv",
        "--memory", "none", "--model", model, "--episodes", "3", "--retries", "0", "--name", "r",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, timeout=120)
    assert done.returncode == 1, done.stderr
    found = as_json(tmp_path, "runs", "show", "r")
    ((kind, row),) = found["errors"].items()
    assert (kind, row["count"]) == ("endpoint", 3)
    assert "down" in row["example"]
    (listed,) = as_json(tmp_path, "runs", "list")["runs"]
    assert (listed["state"], listed["owed"]) == ("partial", 3)
    rows = as_json(tmp_path, "runs", "show", "r", "--status", "infra_error")["episodes"]
    assert len(rows) == 3
    assert as_json(tmp_path, "runs", "show", "r", "--status", "completed")["episodes"] == []


def test_episodes_are_listed_by_cell_and_one_is_shown_with_its_trace(here: Path) -> None:
    rows = as_json(here, "runs", "show", "whole", "--cell", "agemem")["episodes"]
    assert {row["key"]["memory"] for row in rows} == {"agemem-norl"}
    one = rows[0]
    shown = as_json(here, "runs", "show", "whole", "--episode", one["id"][:9])
    assert shown["record"] == one
    kinds = [event["type"] for event in shown["events"]]
    assert kinds.count("completion") == one["turns"]
    text = cli(here, "runs", "show", "whole", "--episode", one["id"]).stdout
    assert "type" not in text.splitlines()[0]
    assert text.count("\nstep ") == len(kinds)
    listed = cli(here, "runs", "show", "whole", "--episodes").stdout
    assert listed.count("completed") == 4


def test_what_a_model_wrote_cannot_steer_the_terminal(here: Path) -> None:
    store = RunStore.open(here / "runs/whole")
    one = next(store.records())
    events = [{"type": "tool", "step": 0, "turn": 0, "content": "\x1b]0;owned\x07\u202e[red]x"}]
    with RunStore(here / "runs/evil") as evil:
        evil.lock(store.config(), store.plan())
        one.reason = "\x1b[2J[bold]"
        evil.commit(one, events)
    for extra in (("--episode", one.key.id), ("--episodes",)):
        shown = cli(here, "runs", "show", "evil", *extra).stdout
        assert "\x1b" not in shown
        assert "\u202e" not in shown
        assert "[bold]" in shown


def test_verify_names_file_and_line_and_fails(here: Path) -> None:
    assert cli(here, "runs", "verify", "whole").returncode == 0
    path = here / "runs/whole/episodes/0001.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"wall_s":', b'"wall_s":1', 1))
    done = cli(here, "runs", "verify", "whole")
    assert done.returncode == 1
    assert f"{Path('runs/whole/episodes/0001.jsonl')}, line 1: " in done.stdout
    found = as_json(here, "runs", "verify", "--all", code=1)
    assert any("line 1" in finding["where"] for finding in found["runs"]["whole"])


def test_a_torn_line_is_a_note_and_the_run_resumes(here: Path) -> None:
    path = here / "runs/whole/episodes/0001.jsonl"
    path.write_bytes(path.read_bytes()[:-10])
    done = cli(here, "runs", "verify", "--all")
    assert done.returncode == 0
    assert "note: " in done.stdout
    assert "its episode is owed again" in done.stdout
    before = table(here)
    assert [row["n_scored"] for row in before] == [2, 1]
    assert cli(here, *RUN).returncode == 0
    freed = as_json(here, "runs", "compact", "whole")
    assert (freed["files"], freed["records"]) == (2, 1)
    done = cli(here, "runs", "verify", "whole")
    assert "whole: sound" in done.stdout
    assert "note" not in done.stdout
    assert "nothing to take away" in cli(here, "runs", "compact", "whole").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", "hole"), "did you mean 'whole'"),
        (("compact", "../x"), "unknown run"),
        (("verify",), "name the runs to verify, or --all"),
        (("verify", "whole", "--all"), "name the runs to verify, or --all"),
        (("show", "whole", "--status", "done"), "unknown status 'done'"),
        (("show", "whole", "--episode", "zzz"), "no episode is 'zzz'"),
        (("show", "whole", "--episode", ""), "4 episodes begin with ''"),
    ],
)
def test_mistakes_are_one_line(played: Path, arguments: tuple[str, ...], said: str) -> None:
    done = cli(played, "runs", *arguments)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert said in line


def test_a_run_that_is_being_written_is_not_compacted(here: Path) -> None:
    lock = take_lock(here / "runs/whole", "it")
    try:
        done = cli(here, "runs", "compact", "whole")
    finally:
        os.close(lock)
    assert done.returncode == 2
    assert f"is being written by process {os.getpid()}" in done.stderr


@pytest.mark.parametrize("command", [["report"], ["view"], ["compare", "a"], ["runs", "show"]])
@pytest.mark.parametrize("name", ["no-such-run", "x" * 5000, "a\0b"])
def test_a_run_that_is_not_there_is_one_line_however_it_is_named(capsys, tmp_path, command, name):
    with pytest.raises(SystemExit) as ended:
        main([*command, name, "--runs-dir", str(tmp_path)])
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_an_unknown_store_is_refused_also_where_no_memory_opens_one(capsys, tmp_path):
    given = ["run", "--env", "alfworld", "--memory", "none", "--episodes", "1", "--store", "qdrnt"]
    with pytest.raises(SystemExit) as ended:
        main([*given, "--runs-dir", str(tmp_path)])
    assert ended.value.code == 2
    assert "did you mean 'qdrant'" in capsys.readouterr().err
