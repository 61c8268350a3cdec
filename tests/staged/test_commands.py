"""The environment from the command line: its options, those within, and whole runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agemem_eval.envs.staged.env import StagedEnvironment
from agemem_eval.harness.cli import main
from agemem_eval.harness.config import RunConfig
from agemem_eval.harness.options import resolve
from agemem_eval.harness.plan import env_options

RUN = {"env": "three-stage", "memory": "none"}


def done(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


def options(*pairs: str, **more: object) -> dict[str, str]:
    config, execution = resolve({**RUN, "option": list(pairs), **more})
    assert isinstance(config, RunConfig)
    return env_options(config, execution, "three-stage")


def test_options_of_both_environments_are_found() -> None:
    assert options("three-stage.env=alfworld", "three-stage.engine=textworld") == {
        "env": "alfworld", "engine": "textworld"
    }  # fmt: skip
    assert options("env=sciworld", "jvm_mb=256", "distractors=2") == {
        "env": "sciworld", "jvm_mb": "256", "distractors": "2"
    }  # fmt: skip


def test_a_default_that_is_written_out_changes_nothing() -> None:
    plain = options("env=alfworld")
    assert plain == {"env": "alfworld"}
    assert options("env=alfworld", "engine=native", "distractors=5", "rules=kept") == plain


def test_options_of_a_file_are_found(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(
        "env: three-stage\nmemory: none\n"
        "options: {three-stage: {env: alfworld, engine: textworld, distractors: 3}}\n"
    )
    config, _ = resolve({"config": path})
    assert config.options_of("three-stage") == {
        "env": "alfworld", "engine": "textworld", "distractors": "3"
    }  # fmt: skip


def test_where_files_are_is_no_part_of_what_is_played() -> None:
    given = options("env=pddl", data=Path("/there"), allow_short=True)
    assert given == {"env": "pddl", "data": "/there", "allow_short": "true"}


@pytest.mark.parametrize(("pairs", "message"), [
    (["three-stage.env=alfworld", "three-stage.engin=x"], "did you mean 'engine'"),
    (["three-stage.env=pddl", "three-stage.engine=native"], "unknown option of three-stage"),
    (["three-stage.env=aflworld"], "did you mean 'alfworld'"),
    ([], "name it with -o three-stage.env=NAME"),
    (["env=hotpotqa"], "hotpotqa has three stages of its own"),
    (["env=pddl", "exposure=episodes"], "did you mean 'episode'"),
])  # fmt: skip
def test_mistakes_are_one_line(
    pairs: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [part for pair in pairs for part in ("-o", pair)]
    command = ["run", "--env", "three-stage", "--memory", "none", "--episodes", "1"]
    assert done(*command, *given, "--runs-dir", str(tmp_path)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_run_in_this_process_and_in_others(
    workers: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["run", "--env", "three-stage", "--memory", "agemem", "--model", "scripted"]
    command += ["-o", "three-stage.env=alfworld", "-o", "three-stage.exposure=world"]
    command += ["--episodes", "3", "--workers", workers, "--runs-dir", str(tmp_path), "--json"]
    assert done(*command) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["env"] == "three-stage"
    assert row["success_rate"] == 1.0


def test_the_list_says_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert done("list", "envs", "--json") == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["envs"]}
    row = rows["three-stage"]
    assert row["about"] == (StagedEnvironment.__doc__ or "").partition("\n")[0]
    assert row["options"] == ["env", "exposure", "distractors", "rules"]
