"""The command line of `agemem-eval claims`; like `cli` it imports only typer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

claims_app = typer.Typer(
    no_args_is_help=True, help="An experiment with its claims: play it, and say what came of them."
)
HERE = Path("runs")
What = Annotated[str, typer.Argument(help="An experiment of the package (nano), or a YAML file.")]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        help="NAME=SPEC: the checkpoint of a model of the experiment, in the place of its own; "
        "repeated for one NAME: the seeds of its training.",
    ),
]
Episodes = Annotated[int | None, typer.Option(help="Of each task set at most.")]
RunsDir = Annotated[Path, typer.Option(help="Where runs are kept.")]


@claims_app.command()
def play(
    experiment: What,
    model: Models = None,
    table: Annotated[
        list[str] | None,
        typer.Option("--table", help="Only the cells of this table; repeatable [all]."),
    ] = None,
    player: Annotated[
        list[str] | None,
        typer.Option("--player", help="Only the cells of this player; repeatable [all]."),
    ] = None,
    episodes: Episodes = None,
    kept: Annotated[
        Path | None,
        typer.Option(help="A folder of `claims write`: cells it keeps whole are not played."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would run.")] = False,
    skip_missing: Annotated[
        bool, typer.Option("--skip-missing", help="Leave environments out that lack their extra.")
    ] = False,
    concurrency: Annotated[int | None, typer.Option(help="Episodes at once [8].")] = None,
    workers: Annotated[
        int | None, typer.Option(help="Environment processes; default: one a core; 0: none.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of the environments' files.")] = None,
    runs_dir: RunsDir = HERE,
) -> None:
    """Play every cell of an experiment that is not played yet; the same command again resumes."""
    from .claims.command import play_command

    code = play_command(
        experiment, models=model or [], tables=table or [], players=player or [],
        episodes=episodes, kept=kept, dry_run=dry_run, skip_missing=skip_missing,
        concurrency=concurrency, workers=workers, data=data, runs_dir=runs_dir,
    )  # fmt: skip
    sys.exit(code)  # past `main`, to which 130 would be an interruption


@claims_app.command()
def write(
    experiment: What,
    out: Annotated[Path, typer.Option("--out", help="Folder to write to.")],
    model: Models = None,
    episodes: Episodes = None,
    from_data: Annotated[
        bool, typer.Option("--from-data", help="From the episodes kept in --out, without runs.")
    ] = False,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace", help="Lose what --out keeps and fits neither definition nor runs."
        ),
    ] = False,
    runs_dir: RunsDir = HERE,
) -> None:
    """Write the episodes as data, tables, figures, and the verdict of each claim.

    What --out keeps already of cells that the runs do not have remains.
    """
    from .claims.command import write_command

    code = write_command(
        experiment, models=model or [], episodes=episodes, out=out, from_data=from_data,
        replace=replace, runs_dir=runs_dir,
    )  # fmt: skip
    raise typer.Exit(code)
