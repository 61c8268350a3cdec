"""What `agemem-eval export` does; imported when it runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ..analysis import run_directory
from ..errors import UsageError, unknown_name
from ..observe.text import escape, say
from .columns import TURN_COLUMNS
from .source import Source, all_columns
from .target import check_free, default_path, whole_folder


def export_command(
    runs: list[str], to: str, runs_dir: Path, *, out: Path | None = None, project: str | None = None
) -> None:
    """`export`: write runs in the format of another tool.

    Raises:
        UsageError: for an unknown run or format, or a place where something else is.
        DataError: for damage, or a disk that refuses.
        MissingExtraError: without the extra that the format needs.
    """
    if to not in FORMATS:
        raise unknown_name("format", to, FORMATS)
    if project is not None and to not in ("wandb", "mlflow"):
        raise UsageError(f"--project is of wandb and mlflow, not of {to}")
    sources = [Source(run_directory(run, runs_dir)) for run in runs]
    names = [source.name for source in sources]
    if len(set(names)) < len(names):
        raise UsageError(f"a run is named twice: {', '.join(names)}")
    if not any(frame.keys for source in sources for frame in source.frames):
        raise UsageError(f"{', '.join(names)}: no episode was played yet")
    told = FORMATS[to](sources, out, project or "agemem-eval")
    for source in sources:
        for problem in source.problems():
            say(f"agemem-eval: warning: {escape(problem)}")
    for line in told:
        print(escape(line))


def _tables(
    sources: Sequence[Source], out: Path | None, write: Callable[[Path], tuple[int, int]], to: str
) -> list[str]:
    """A folder with both tables."""
    names = [source.name for source in sources]
    path = out or default_path(names, to)
    replaces = check_free(path, to, names)
    with whole_folder(path, to, names) as folder:
        episodes, turns = write(folder)
    what = f"{episodes} episodes and {turns} turns"
    return [f"{path}: {what}{', in place of the earlier export' if replaces else ''}"]


def _parquet(sources: Sequence[Source], out: Path | None, _: str) -> list[str]:
    from .arrow import write_tables

    return _tables(sources, out, lambda folder: write_tables(folder, sources), "parquet")


def _csv(sources: Sequence[Source], out: Path | None, _: str) -> list[str]:
    from .csv_file import write_csv

    def write(folder: Path) -> tuple[int, int]:
        columns = all_columns(sources)
        episodes = (row for source in sources for row in source.episode_rows())
        turns = (row for source in sources for row in source.turn_rows())
        return (
            write_csv(folder / "episodes.csv", episodes, columns),
            write_csv(folder / "turns.csv", turns, TURN_COLUMNS),
        )

    return _tables(sources, out, write, "csv")


FORMATS: dict[str, Callable[[Sequence[Source], Path | None, str], list[str]]] = {
    "parquet": _parquet,
    "csv": _csv,
}
