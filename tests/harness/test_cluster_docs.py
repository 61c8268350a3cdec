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


def runs() -> Iterator[str]:
    """The command lines of `agemem-eval run` on the page, each as one line."""
    for block in blocks("bash") + blocks("yaml"):
        flat = re.sub(r"\\\n\s*", " ", block)
        flat = re.sub(r"^\s*- (--\S+)$", r"\1", flat, flags=re.M)
        for found in re.finditer(
            r"agemem-eval(?: |\n\s*- )run((?:\s+(?:--)?[^\n]*)+?)(?=\n\S|\n\n|\Z)", flat
        ):
            yield found.group(1)


def test_every_option_of_a_recipe_is_one_that_there_is() -> None:
    known = set()
    for parameter in typer.main.get_command(app).commands["run"].params:  # type: ignore[attr-defined]
        known |= {*parameter.opts, *parameter.secondary_opts}
    others = {"--nodes", "--ntasks"}  # of srun and ray, in the same blocks
    text = "\n".join(runs())
    asked = set(re.findall(r"(?<!\S)(--[a-z][a-z-]+)", text)) - others
    assert len(asked) > 8, "the command lines were not found"
    assert asked <= known
