"""What an installed agemem-eval has: every folder of code that the checkout has."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOP = ("harness", "envs", "baselines", "policies", "results")


def test_every_folder_of_code_is_a_package_of_the_wheel():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = listed["tool"]["setuptools"]["packages"]
    code = {path.parent.relative_to(ROOT) for top in TOP for path in (ROOT / top).rglob("*.py")}
    assert sorted(packages) == sorted(
        ["agemem_eval", *(".".join(("agemem_eval", *folder.parts)) for folder in code)]
    )
