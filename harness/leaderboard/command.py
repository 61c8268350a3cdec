"""What `agemem-eval report` does; imported when it runs."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from .. import report
from ..analysis import MIN_COVERAGE, CellFrame, load_run, run_directory
from ..commands import rare_collections, standard_output
from ..errors import UsageError, unknown_name
from ..files import disk_error, write_whole
from ..metrics import Row
from ..tables import latex_grid, markdown_grid, print_grid
from .board import Board, make_board
from .grids import grids_of
from .html import page
from .prices import read_prices
from .values import as_csv, as_json

SUFFIXES = {
    ".txt": "terminal", ".md": "markdown", ".csv": "csv", ".tex": "latex", ".html": "html",
    ".json": "json",
}  # fmt: skip
FORMATS = tuple(SUFFIXES.values())


def report_command(
    runs: list[str],
    format_: str | None,
    runs_dir: Path,
    *,
    out: Path | None = None,
    reference: str | None = None,
    prices: Path | None = None,
    allow_mixed: bool = False,
    min_coverage: float = MIN_COVERAGE,
    alpha: float = 0.05,
) -> None:
    """`report`: the leaderboard of runs, to standard output or whole into a file.

    Raises:
        UsageError: for unknown runs and names, and runs that cannot stand in one table.
        DataError: for a damaged run or file of prices, or a disk that refuses.
    """
    format_ = _format(format_, out)
    for name, share in (("--min-coverage", min_coverage), ("--alpha", alpha)):
        if not 0 < share <= 1 or (share == 1 and name == "--alpha"):
            raise UsageError(f"{name} {share:g} is no share: give a number between 0 and 1")
    given = None if prices is None else read_prices(prices)
    frames, rows = _load(runs, runs_dir)
    board = make_board(
        frames, prices=given, allow_mixed=allow_mixed, min_coverage=min_coverage, alpha=alpha
    )
    if format_ == "terminal" and out is None:
        _print(board, rows, reference, standard_output())
        return
    text = WRITERS[format_](board, rows, reference)
    if out is None:
        sys.stdout.write(text)
        return
    try:
        write_whole(out, text.encode(errors="replace"))
    except OSError as error:
        raise disk_error(str(out), error) from error


def _format(format_: str | None, out: Path | None) -> str:
    """The format asked for; where none is, that of the file's suffix."""
    if format_ is None and out is not None:
        if out.suffix not in SUFFIXES:
            raise UsageError(f"the suffix of {out.name} tells no format: add --format")
        return SUFFIXES[out.suffix]
    if format_ is not None and format_ not in FORMATS:
        raise unknown_name("format", format_, FORMATS)
    return format_ or "terminal"


def _load(runs: list[str], runs_dir: Path) -> tuple[list[list[CellFrame]], list[Row]]:
    frames: list[list[CellFrame]] = []
    rows: list[Row] = []
    seen: dict[Path, str] = {}
    for name in runs:
        directory = run_directory(name, runs_dir)
        if directory.resolve() in seen:
            raise UsageError(f"the run {name} is named twice")
        seen[directory.resolve()] = name
        with rare_collections():
            found = load_run(directory)
        frames.append([frame for frame, _ in found])
        rows += [row for _, row in found]
    return frames, rows


def _print(board: Board, rows: list[Row], reference: str | None, console: Console) -> None:
    for grid in grids_of(board, reference):
        print_grid(grid, console)
    report.print_table(rows, console, title="Every cell")


def _terminal(board: Board, rows: list[Row], reference: str | None) -> str:
    out = io.StringIO()
    _print(board, rows, reference, Console(file=out, width=220, no_color=True, emoji=False))
    return out.getvalue()


def _markdown(board: Board, rows: list[Row], reference: str | None) -> str:
    parts = list(map(markdown_grid, grids_of(board, reference)))
    return "\n\n".join([*parts, report.markdown(rows, title="Every cell")])


def _latex(board: Board, _: list[Row], reference: str | None) -> str:
    grids = grids_of(board, reference)
    parts = [latex_grid(grid, f"report-{n}") for n, grid in enumerate(grids, 1)]
    return "\n".join(["% needs \\usepackage{booktabs}", *parts])


def _html(board: Board, rows: list[Row], reference: str | None) -> str:
    return page(grids_of(board, reference), report.grids(rows, "Every cell"), report.notes(rows))


def _csv(board: Board, _: list[Row], reference: str | None) -> str:
    return as_csv(board, reference)


def _json(board: Board, rows: list[Row], reference: str | None) -> str:
    found: dict[str, Any] = report.as_json(rows, leaderboard=as_json(board, reference))
    return json.dumps(found, ensure_ascii=False, allow_nan=False) + "\n"


WRITERS: dict[str, Callable[[Board, list[Row], str | None], str]] = {
    "terminal": _terminal,
    "markdown": _markdown,
    "latex": _latex,
    "html": _html,
    "csv": _csv,
    "json": _json,
}
