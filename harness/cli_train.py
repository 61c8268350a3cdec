"""The command line of `agemem-eval train`; like `cli` it imports only typer."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

HERE = Path("runs")
_COMMAND = "agemem_eval.policies.command"  # by name, since the harness does not depend on it


def add_train(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(train)


def train(
    recipe: Annotated[
        str | None,
        typer.Argument(help="A YAML file, or a recipe of the package, e.g. tiny; see --list."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("-o", "--set", help="key=value over the recipe's, e.g. grpo.steps=20."),
    ] = None,
    runs_dir: Annotated[Path, typer.Option(help="Where runs are kept.")] = HERE,
    name: Annotated[
        str | None, typer.Option(help="Name of the run; default: recipe, scheme and seed.")
    ] = None,
    resume: Annotated[
        bool, typer.Option(help="Go on with a run of the same name (default), or refuse it.")
    ] = True,
    seed: Annotated[int | None, typer.Option(help="Of everything [the recipe's].")] = None,
    scheme: Annotated[
        str | None, typer.Option(help="Of the reward: all-returns or answer-only [the recipe's].")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder of the environment's data files [the recipe's].")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, and train nothing.")
    ] = False,
    list_: Annotated[bool, typer.Option("--list", help="Show the recipes of the package.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
) -> None:
    """Train a policy for the memory tools: fine-tuning, then step-wise GRPO; again resumes it."""
    code = import_module(_COMMAND).train_command(
        recipe,
        set_ or [],
        runs_dir=runs_dir,
        name=name,
        resume=resume,
        seed=seed,
        scheme=scheme,
        data=data,
        dry_run=dry_run,
        list_=list_,
        as_json=as_json,
    )
    sys.exit(code)  # past `main`, to which 130 would be an interruption
