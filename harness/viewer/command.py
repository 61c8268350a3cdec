"""What `agemem-eval view` does; imported when it runs."""

from __future__ import annotations

import webbrowser
from pathlib import Path

from ..analysis import run_directory
from .build import build_view


def view_command(
    run: str, other: str | None, runs_dir: Path, *, out: Path | None, open_: bool
) -> None:
    """`view`: write the report of a run, or of two side by side.

    Raises:
        UsageError: if there is no such run, or `out` holds what is no report.
        DataError: if a run cannot be read, or the disk refuses.
    """
    from rich.console import Console
    from rich.progress import Progress

    runs = [run_directory(name, runs_dir) for name in (run, other) if name is not None]
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("reading episodes", total=None)
        view = build_view(
            runs,
            out if out is not None else runs[0] / "view",
            lambda done, planned: bar.update(task, completed=done, total=planned),
        )
    size = f"{view.n_bytes / 1e6:.1f} MB"
    damaged = f"; {view.n_damaged} without a readable trace" if view.n_damaged else ""
    print(f"{view.index}: {view.n_episodes} episodes{damaged}; {size}")
    if open_:
        webbrowser.open(view.index.as_uri())
