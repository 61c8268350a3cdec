"""What `agemem-eval export` does; imported when it runs."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from ..analysis import run_directory
from ..errors import UsageError, unknown_name
from ..observe.text import escape, say
from .columns import TURN_COLUMNS
from .source import Source, all_columns
from .target import check_free, default_path, folder_in_place, whole_folder, write_new


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


def _folder(
    sources: Sequence[Source],
    out: Path | None,
    to: str,
    write: Callable[[Path], str],
    place: Callable[..., AbstractContextManager[Path]] = whole_folder,
) -> list[str]:
    """Fill a folder, and tell what is in it."""
    names = [source.name for source in sources]
    path = out or default_path(names, to)
    replaces = check_free(path, to, names)
    with place(path, to, names) as folder:
        what = write(folder)
    return [f"{path}: {what}{', in place of the earlier export' if replaces else ''}"]


def _tables(counts: tuple[int, int]) -> str:
    return f"{_n(counts[0], 'episode')} and {_n(counts[1], 'turn')}"


def _n(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"


def _parquet(sources: Sequence[Source], out: Path | None, _: str) -> list[str]:
    from .arrow import write_tables

    return _folder(sources, out, "parquet", lambda path: _tables(write_tables(path, sources)))


def _csv(sources: Sequence[Source], out: Path | None, _: str) -> list[str]:
    from .csv_file import write_csv

    def write(folder: Path) -> str:
        columns = all_columns(sources)
        episodes = (row for source in sources for row in source.episode_rows())
        turns = (row for source in sources for row in source.turn_rows())
        return _tables(
            (
                write_csv(folder / "episodes.csv", episodes, columns),
                write_csv(folder / "turns.csv", turns, TURN_COLUMNS),
            )
        )

    return _folder(sources, out, "csv", write)


def _datasets(sources: Sequence[Source], out: Path | None, _: str) -> list[str]:
    from .hub import write_dataset

    return _folder(sources, out, "datasets", lambda path: _tables(write_dataset(path, sources)))


def _inspect(sources: Sequence[Source], out: Path | None, _: str) -> list[str]:
    from .inspect_log import write_logs

    def write(folder: Path) -> str:
        logs, episodes = write_logs(folder, sources)
        return f"{_n(logs, 'log')} of {_n(episodes, 'episode')}"

    told = _folder(sources, out, "inspect", write)
    path = out or default_path([source.name for source in sources], "inspect")
    return [*told, f"see it: inspect view --log-dir {shlex.quote(str(path))}"]


def _wandb(sources: Sequence[Source], out: Path | None, project: str) -> list[str]:
    from .wandb_run import write_runs

    def write(folder: Path) -> str:
        return _n(write_runs(folder, sources, project), "offline run")

    told = _folder(sources, out, "wandb", write, folder_in_place)
    path = out or default_path([source.name for source in sources], "wandb")
    return [*told, f"upload it: wandb sync {shlex.quote(str(path))}/wandb/offline-run-*"]


def _mlflow(sources: Sequence[Source], out: Path | None, project: str) -> list[str]:
    from .mlflow_run import log_runs, store_at

    uri, artifacts = os.environ.get("MLFLOW_TRACKING_URI"), None
    if out is not None or not uri:
        place = out or default_path([source.name for source in sources], "mlflow")
        uri, artifacts = store_at(place)
    logged, replaced = log_runs(uri, artifacts, sources, project)
    again = f", in place of {replaced} of an earlier export" if replaced else ""
    told = f"{uri}: {_n(logged, 'run')} in the experiment {project}{again}"
    return [told, f"see it: mlflow ui --backend-store-uri {shlex.quote(uri)}"]


def _model_card(sources: Sequence[Source], out: Path | None, _: str) -> list[str]:
    from .model_card import mark_of, model_card

    place = out or default_path([source.name for source in sources], "model-card.md")
    write_new(place, model_card(sources), mark_of(sources))
    return [f"{place}: copy its metadata and table into the card of the model"]


FORMATS: dict[str, Callable[[Sequence[Source], Path | None, str], list[str]]] = {
    "parquet": _parquet,
    "csv": _csv,
    "datasets": _datasets,
    "inspect": _inspect,
    "wandb": _wandb,
    "mlflow": _mlflow,
    "model-card": _model_card,
}
