"""The README says what is true: its commands exist with these flags, its names are registered."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from agemem_eval.harness import registry

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = sorted(
    set(re.findall(r"agemem-eval ((?:run|report|list|doctor|check|data \w+)\b[^\n`&|]*)", README))
)


def help_of(*command: str) -> str:
    arguments = [sys.executable, "-m", "agemem_eval", *command, "--help"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_flag_of_a_command_exists(command: str) -> None:
    words = command.split()
    shown = help_of(*words[: 2 if words[0] == "data" else 1])
    for flag in re.findall(r"(?<!\S)--?[a-z][a-z-]*", command):
        assert re.search(rf"(?<!\S){re.escape(flag)}\b", shown), flag


def test_flags_named_in_the_text_exist() -> None:
    everything = "".join(map(help_of, ("run", "report", "compare", "reproduce")))
    ours = set(re.findall(r"`(--[a-z-]+)", README)) - {"--no-deps"}
    assert ours
    assert not [flag for flag in ours if flag not in everything]


def test_the_two_set_up_commands_are_what_ci_runs() -> None:
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    first = "pip install . && agemem-eval run --env alfworld --memory agemem --episodes 20"
    assert first in README
    assert "pip install tox && tox" in README
    assert "run --env alfworld --memory agemem --episodes 20" in script
    assert "/tox" in script


@pytest.mark.parametrize("group", ["envs", "memories", "models", "embedders"])
def test_everything_registered_is_in_the_readme(group: registry.Group) -> None:
    for plugin in registry.plugins(group):
        name = "sentence-transformers" if plugin.name == "st" else plugin.name
        assert f"`{name}" in README or f" {name}" in README, name
