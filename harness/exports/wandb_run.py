"""Runs for Weights & Biases, one a cell, written offline: `wandb sync` uploads them."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import DataError, MissingExtraError
from .columns import episode_columns
from .source import Source
from .summary import CellSummary, numbers, summaries

try:
    import wandb
except ModuleNotFoundError as error:
    raise MissingExtraError("wandb", "wandb") from error


def write_runs(folder: Path, sources: Sequence[Source], project: str) -> int:
    """Write one offline run for each cell below `folder`.

    Returns:
        How many there were.

    Raises:
        DataError: if the library fails.
    """
    n = 0
    for source in sources:
        for summary in summaries(source):
            with _at(folder):
                _write(folder, summary, project)
            n += 1
    _drop_logs(folder / "wandb")
    return n


@contextlib.contextmanager
def _at(folder: Path) -> Iterator[None]:
    """Let the library keep all its files below this folder, and report its errors to nobody."""
    kept = dict(os.environ)
    places = dict.fromkeys(("WANDB_DATA_DIR", "WANDB_CACHE_DIR"), str(folder / "wandb"))
    os.environ.update(places, WANDB_ERROR_REPORTING="false")
    try:
        yield
    except (wandb.Error, OSError) as error:
        raise DataError(f"wandb cannot write {folder}: {error!s:.200}") from error
    finally:
        os.environ.clear()
        os.environ.update(kept)


def _write(folder: Path, summary: CellSummary, project: str) -> None:
    about = summary.about
    run = wandb.init(
        mode="offline",
        dir=str(folder),
        project=project,
        id=summary.id,
        name=summary.name,
        group=about["run"],
        job_type=about["env"],
        tags=[str(about[name])[:64] for name in ("env", "memory", "protocol")],
        config={**about, "config": summary.source.clean.settings(_config(summary))},
        settings=_settings(),
        reinit="create_new",
    )
    try:
        run.log({"episodes": _table(summary)})
        run.summary.update(numbers(summary))
    finally:
        run.finish()


def _config(summary: CellSummary) -> Any:
    return summary.source.config.model_dump(mode="json")


def _settings() -> Any:
    """Nothing of this machine: no host, user, code, repository, packages or load."""
    return wandb.Settings(
        console="off",
        silent=True,
        disable_git=True,
        disable_code=True,
        save_code=False,
        disable_job_creation=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_disable_machine_info=True,
        x_save_requirements=False,
        host="",
        username="",
        email="",
        program="",
    )


def _table(summary: CellSummary) -> Any:
    """The episodes of the cell, without columns that have no value in it."""
    source, frame = summary.source, summary.frame
    rows = [source.row(frame, episode) for episode in source.store.records(frame.cell.keys)]
    columns = episode_columns({name for row in rows for name in row})
    values = [[_value(column.of(row)) for column in columns] for row in rows]
    used = [i for i in range(len(columns)) if any(row[i] is not None for row in values)]
    return wandb.Table(
        columns=[columns[i].name for i in used],
        data=[[row[i] for i in used] for row in values],
        allow_mixed_types=True,
    )


def _value(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _drop_logs(folder: Path) -> None:
    """Take away what the library logged of itself: it tells paths of this machine."""
    for path in [*folder.glob("*.log"), *folder.glob("latest-run"), *folder.glob("*/logs")]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
