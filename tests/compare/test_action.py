"""The GitHub Action: its scripts, run in order as a runner would, on a scripted model."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from agemem_eval.harness.cli import main

ROOT = Path(__file__).resolve().parents[2]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
STEPS: list[dict[str, Any]] = ACTION["runs"]["steps"]
SCRIPTS = [step for step in STEPS if "run" in step]
INSTALLS = "AGEMEM_TEST_INSTALL"  # set it to install the package as the action does: a minute
EXPRESSION = re.compile(r"\$\{\{\s*(.+?)\s*\}\}")


@dataclass
class Runner:
    """As much of GitHub's runner as the action needs: contexts, conditions, files of outputs."""

    folder: Path
    inputs: dict[str, str]
    path: str  # where `python` is found
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)  # of each step
    summary: str = ""
    log: str = ""
    uploaded: str | None = None
    failed: str | None = None  # the step that did

    def play(self, *skip: str) -> Runner:
        for step in STEPS:
            if step["name"] in skip or not self._applies(str(step.get("if", ""))):
                continue
            if "uses" in step:
                if step["uses"].startswith("actions/upload-artifact@"):
                    self.uploaded = self._filled(step["with"]["path"])
            else:
                self._script(step)
        return self

    def _applies(self, condition: str) -> bool:
        terms = [term.strip() for term in condition.split("&&") if term.strip()]
        if self.failed and "always()" not in terms:
            return False
        for term in terms:
            if term != "always()":
                value, empty = term.split(" != ")
                assert empty == "''"
                if not self._value(value):
                    return False
        return True

    def _value(self, name: str) -> str:
        kind, *rest = name.split(".")
        if kind == "inputs":
            return self.inputs[rest[0]]
        if kind == "steps":
            return self.outputs.get(rest[0], {}).get(rest[2], "")
        assert name == "github.action_path"
        return str(ROOT)

    def _filled(self, text: str) -> str:
        return EXPRESSION.sub(lambda match: self._value(match[1]), text)

    def _script(self, step: dict[str, Any]) -> None:
        script = self.folder / "step.sh"
        script.write_text(step["run"])
        files = {n: self.folder / n for n in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
        for file in files.values():
            file.write_text("")
        environment = {
            "PATH": self.path,
            "HOME": str(self.folder),
            "RUNNER_TEMP": str(self.folder),
            **{name: str(file) for name, file in files.items()},
            **{name: self._filled(str(value)) for name, value in step.get("env", {}).items()},
            **{n: v for n, v in os.environ.items() if n.startswith(("PIP_", "PYTHONWARN"))},
        }
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
            cwd=self.folder / self._filled(step.get("working-directory", ".")),
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        self.log += done.stdout + done.stderr
        pairs = [line.partition("=") for line in files["GITHUB_OUTPUT"].read_text().splitlines()]
        self.outputs[step.get("id", step["name"])] = {name: value for name, _, value in pairs}
        self.summary += files["GITHUB_STEP_SUMMARY"].read_text()
        if done.returncode:
            self.failed = step["name"]

    @property
    def found(self) -> dict[str, str]:
        """The outputs of the action."""
        return {name: self._filled(out["value"]) for name, out in ACTION["outputs"].items()}


def runner(folder: Path, path: str | None = None, **inputs: str) -> Runner:
    defaults = {name: str(value.get("default", "")) for name, value in ACTION["inputs"].items()}
    given = {name.replace("_", "-"): value for name, value in inputs.items()}
    assert given.keys() <= defaults.keys()
    own = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return Runner(folder, {**defaults, **given}, path or own)


CONFIG = "env: alfworld\nmemory: none\nmodel: scripted\nepisodes: 8\nworkers: 0\nlog_level: error\n"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a configuration and a pinned baseline, in names that would be commands."""
    folder = tmp_path_factory.mktemp("checkout")
    (folder / "$(touch pwned) `touch pwned`;.yaml").write_text(CONFIG)
    runs = str(folder / "runs")
    for command in (
        ["run", "--config", str(next(folder.glob("*.yaml"))), "--runs-dir", runs, "--name", "base"],
        ["pin", "base", "--runs-dir", runs, "--out", str(folder / "results/baselines")],
    ):
        with pytest.raises(SystemExit) as exit_:
            main(command)
        assert not exit_.value.code
    return folder


def test_every_script_is_valid_and_no_input_is_text_in_one():
    for step in SCRIPTS:
        assert step["shell"] == "bash"
        assert "${{" not in step["run"]
        subprocess.run(["bash", "-n"], input=step["run"], text=True, check=True)
        for name in step.get("env", {}):
            assert f"${name}" in step["run"] or f"${{{name}" in step["run"]


def test_actions_are_pinned_and_what_is_referred_to_exists():
    ids = {step["id"] for step in STEPS if "id" in step}
    written = {
        (step["id"], name)
        for step in SCRIPTS
        if "id" in step
        for name in re.findall(r'echo "(\w+)=', step["run"])
    }
    for step in STEPS:
        if "uses" in step:
            assert re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"])
    for name in re.findall(r"(?:inputs|steps)\.[\w.-]+", (ROOT / "action.yml").read_text()):
        kind, first, *rest = name.split(".")
        if kind == "inputs":
            assert first in ACTION["inputs"]
        else:
            assert first in ids
            assert (first, rest[1]) in written


def test_an_unchanged_system_passes_and_nothing_in_a_name_is_executed(checkout):
    found = runner(
        checkout,
        config="$(touch pwned) `touch pwned`;.yaml",
        baseline="base",
        metrics="headline=0.1\ntokens.agent.prompt=5%\n",
        cache_dir="$(touch pwned)",
    ).play("Install agemem-eval")
    assert (found.failed, found.found["regressed"]) == (None, "false"), found.log
    assert not (checkout / "pwned").exists()
    assert "✅ agemem-eval: ci against base" in found.summary
    assert Path(found.found["report"]).read_text() == found.summary
    assert Path(found.found["junit"]).is_file()
    assert (Path(found.found["run"]) / "config.json").is_file()
    assert Path(found.uploaded) == Path(found.found["run"]).parents[1]


def test_a_planted_regression_fails_the_last_step_and_everything_is_uploaded_before(checkout):
    (checkout / "ci.yaml").write_text(CONFIG)
    given = {"config": "ci.yaml", "baseline": "base", "arguments": "--model\nrandom\n\n"}
    found = runner(checkout, **given).play("Install agemem-eval")
    assert (found.failed, found.found["regressed"]) == ("Judge", "true"), found.log
    assert "REGRESSION in success" in found.summary
    assert found.uploaded
    assert "::error::" in found.log


def test_without_a_baseline_there_is_a_table_and_no_verdict_but_completeness(checkout):
    (checkout / "ci.yaml").write_text(CONFIG.replace("8", "2"))
    found = runner(checkout, config="ci.yaml", artifact="").play("Install agemem-eval")
    assert (found.failed, found.found["regressed"]) == (None, "false"), found.log
    assert "| alfworld" in found.summary or "alfworld" in found.summary
    assert (found.found["junit"], found.uploaded) == ("", None)


@pytest.mark.parametrize(
    ("inputs", "step"),
    [
        ({"config": "none.yaml"}, "Evaluate"),
        ({"config": "ci.yaml", "baseline": "--help"}, "Compare"),
    ],
)
def test_wrong_usage_fails_its_step_and_is_no_regression(checkout, inputs, step):
    (checkout / "ci.yaml").write_text(CONFIG.replace("8", "1"))
    found = runner(checkout, **inputs).play("Install agemem-eval")
    assert (found.failed, found.found["regressed"]) == (step, "")
    assert "agemem-eval: error:" in found.log


def test_extras_that_are_no_names_are_refused_before_anything_is_installed(checkout):
    found = runner(checkout, config="ci.yaml", extras="x]; touch pwned #").play()
    assert found.failed == "Install agemem-eval"
    assert not (checkout / "pwned").exists()


@pytest.mark.skipif(INSTALLS not in os.environ, reason=f"${INSTALLS} is not set")
def test_the_whole_action_runs_in_an_environment_that_has_nothing(checkout, tmp_path):
    venv.create(tmp_path / "python", with_pip=True)
    (checkout / "ci.yaml").write_text(CONFIG)
    path = f"{tmp_path / 'python/bin'}{os.pathsep}{os.environ['PATH']}"
    found = runner(checkout, path, config="ci.yaml", baseline="base").play()
    assert (found.failed, found.found["regressed"]) == (None, "false"), found.log
