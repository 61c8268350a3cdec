"""The recipes for clusters are at least well formed, and give options that there are."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import yaml

from agemem_eval.harness.cli import app

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cluster.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.M | re.S)


@pytest.mark.parametrize("block", blocks("bash"))
def test_a_script_can_be_read_by_bash(block: str) -> None:
    done = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", blocks("yaml"))
def test_a_manifest_is_yaml_that_names_what_it_is(block: str) -> None:
    found = list(yaml.safe_load_all(block))
    assert found
    for manifest in found:
        assert {"apiVersion", "kind", "metadata", "spec"} <= set(manifest)


def command_lines() -> Iterator[str]:
    """Every `agemem-eval run …` of the page."""
    for block in blocks("bash"):
        for line in block.replace("\\\n", " ").splitlines():
            yield line.partition("agemem-eval run ")[2]
    for block in blocks("yaml"):
        for manifest in yaml.safe_load_all(block):
            spec = manifest["spec"]
            yield spec.get("entrypoint", "")
            for container in spec.get("template", {}).get("spec", {}).get("containers", []):
                yield " ".join(container["args"])


def test_every_option_of_a_recipe_is_one_that_there_is() -> None:
    known: set[str] = set()
    for parameter in typer.main.get_command(app).commands["run"].params:  # type: ignore[attr-defined]
        known |= {*parameter.opts, *parameter.secondary_opts}
    asked = set(re.findall(r"(?<!\S)--[a-z-]+", "\n".join(command_lines())))
    assert {"--ray-address", "--runs-dir", "--data"} <= asked, "the command lines were not found"
    assert asked <= known
