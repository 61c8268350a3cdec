"""The command line of `agemem-eval runs …`; like `cli` it imports only typer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

runs_app = typer.Typer(
    no_args_is_help=True, help="Runs on disk: list, look into, make smaller, verify."
)

Run = Annotated[str, typer.Argument(help="A run's name under --runs-dir, or its path.")]
RunsDir = Annotated[Path, typer.Option(help="Where runs are kept.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
HERE = Path("runs")


@runs_app.command("list")
def runs_list(runs_dir: RunsDir = HERE, as_json: AsJson = False) -> None:
    """Show all runs: how far they are, what is owed, their size; a broken one says so."""
    from .runs_commands import list_runs

    list_runs(runs_dir, as_json)


@runs_app.command("show")
def runs_show(
    run: Run,
    episodes: Annotated[bool, typer.Option("--episodes", help="List the episodes.")] = False,
    status: Annotated[
        str | None,
        typer.Option(help="Of these only: completed, limit, agent_error or infra_error."),
    ] = None,
    cell: Annotated[
        str | None, typer.Option(help="Of these only: part of env/split/memory/model.")
    ] = None,
    episode: Annotated[
        str | None, typer.Option(help="One episode, by the begin of its id: record and trace.")
    ] = None,
    runs_dir: RunsDir = HERE,
    as_json: AsJson = False,
) -> None:
    """Show a run: configuration, cells, errors, tokens; or its episodes; or one with its trace."""
    from .runs_commands import show_run

    show_run(
        run,
        runs_dir,
        episodes=episodes,
        status=status,
        cell=cell,
        episode=episode,
        as_json=as_json,
    )


@runs_app.command("compact")
def runs_compact(run: Run, runs_dir: RunsDir = HERE, as_json: AsJson = False) -> None:
    """Take away what neither the table nor a resume needs; a kill at any moment loses nothing."""
    from .runs_commands import compact_run

    compact_run(run, runs_dir, as_json)


@runs_app.command("verify")
def runs_verify(
    runs: Annotated[list[str] | None, typer.Argument(help="Names or paths of runs.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All runs under --runs-dir.")] = False,
    runs_dir: RunsDir = HERE,
    as_json: AsJson = False,
) -> None:
    """Hold records against traces, plan and checksums: exit code 1 if anything is damaged."""
    from .runs_commands import verify_runs

    raise typer.Exit(verify_runs(runs or [], runs_dir, every, as_json))
