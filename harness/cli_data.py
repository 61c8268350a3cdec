"""The command line: `agemem-eval data list | get | verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .cli_runs import AsJson

data_app = typer.Typer(no_args_is_help=True, help="Data sets: what there is, get it, verify it.")
DataDir = Annotated[
    Path | None,
    typer.Option("--dir", help="Where data sets are kept; default: $AGEMEM_DATA or your own."),
]


@data_app.command("list")
def data_list(dir_: DataDir = None, as_json: AsJson = False) -> None:
    """Show the data sets with licence, size and source, and which of them are here."""
    from .data_commands import list_data

    list_data(dir_, as_json)


@data_app.command("get")
def data_get(
    names: Annotated[list[str], typer.Argument(help="Names of data sets.")],
    dir_: DataDir = None,
    source: Annotated[
        Path | None,
        typer.Option("--from", help="Take the files from this folder or file, not the network."),
    ] = None,
    mirror: Annotated[
        str | None, typer.Option(help="Fetch the files from below this address instead.")
    ] = None,
) -> None:
    """Fetch data sets, check them, and write their manifests last."""
    from .data_commands import get_data

    get_data(names, dir_, source, mirror)


@data_app.command("verify")
def data_verify(
    names: Annotated[list[str] | None, typer.Argument(help="Default: all that are here.")] = None,
    dir_: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Compare data sets with their manifests: exit code 1 if a file is missing or changed."""
    from .data_commands import verify_data

    raise typer.Exit(verify_data(names or [], dir_, as_json))
