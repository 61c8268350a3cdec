"""Runs for MLflow, one a cell: parameters, metrics, and the episodes as an artifact."""

from __future__ import annotations

import logging
import os
import re
import tempfile
from collections.abc import Sequence
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

from ..errors import DataError, MissingExtraError, UsageError
from ..files import make_folder, write_json
from .columns import episode_columns
from .csv_file import write_csv
from .source import Source
from .summary import CellSummary, moment, numbers, summaries

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
try:
    import_module("alembic")  # a local store needs both
    import_module("sqlalchemy")
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, RunTag
    from mlflow.exceptions import MlflowException
except ModuleNotFoundError as error:
    raise MissingExtraError("mlflow-skinny with sqlalchemy", "mlflow") from error

_CELL = "agemem_eval.cell"  # the tag by which a cell that is exported again is known
_NAME = re.compile(r"[^\w\-. :/]")
_BATCH = 100


def store_at(out: Path) -> tuple[str, str]:
    """The URI of a store in a folder, and where it keeps artifacts.

    Raises:
        UsageError: if there is something else.
        OSError: if the disk refuses.
    """
    database = out.resolve() / "mlflow.db"
    if out.exists() and not database.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UsageError(f"{out} exists and holds no mlflow.db: choose another --out")
    make_folder(database.parent)
    return f"sqlite:///{database}", (database.parent / "artifacts").as_uri()


def log_runs(
    uri: str, artifacts: str | None, sources: Sequence[Source], experiment: str
) -> tuple[int, int]:
    """Log one run for each cell; what was logged of the same cell before is deleted.

    Args:
        uri: Of the store.
        artifacts: Where a new experiment keeps its artifacts; None: the store's own place.
        sources: The runs.
        experiment: Its name; made if need be.

    Returns:
        How many were logged, and how many older ones they replace.

    Raises:
        DataError: if MLflow refuses.
    """
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logged = replaced = 0
    try:
        client = MlflowClient(tracking_uri=uri)
        id_ = _experiment(client, experiment, artifacts)
        for source in sources:
            for summary in summaries(source):
                old = client.search_runs([id_], f"tags.`{_CELL}` = '{summary.id}'")
                _log(client, id_, summary)
                for run in old:
                    client.delete_run(run.info.run_id)
                logged, replaced = logged + 1, replaced + len(old)
    except (MlflowException, OSError) as error:
        raise DataError(f"MLflow at {uri} refused: {error!s:.200}") from error
    return logged, replaced


def _experiment(client: Any, name: str, artifacts: str | None) -> str:
    found = client.get_experiment_by_name(name)
    id_ = client.create_experiment(name, artifacts) if found is None else found.experiment_id
    return str(id_)


def _log(client: Any, experiment: str, summary: CellSummary) -> None:
    source, frame = summary.source, summary.frame
    episodes = list(source.store.records(frame.cell.keys))
    began = min(moment(one.started_at) for one in episodes)
    ended = max(moment(one.started_at) + timedelta(seconds=one.wall_s) for one in episodes)
    start, end = (int(time.timestamp() * 1000) for time in (began, ended))
    tags = {_CELL: summary.id, "agemem_eval.protocol": str(summary.about["protocol"])}
    run = client.create_run(experiment, start_time=start, tags=tags, run_name=summary.name)
    id_ = run.info.run_id
    metrics = [Metric(_NAME.sub("_", k), v, end, 0) for k, v in numbers(summary).items()]
    params = [Param(_NAME.sub("_", k), str(v)[:6000]) for k, v in summary.about.items()]
    for place in range(0, max(len(metrics), len(params)), _BATCH):
        part = slice(place, place + _BATCH)
        client.log_batch(id_, metrics=metrics[part], params=params[part])
    with tempfile.TemporaryDirectory() as folder:
        rows = [source.row(frame, one) for one in episodes]
        columns = episode_columns({name for row in rows for name in row})
        write_csv(Path(folder) / "episodes.csv", rows, columns)
        config = source.clean.settings(source.config.model_dump(mode="json"))
        write_json(Path(folder) / "config.json", config)
        client.log_artifacts(id_, folder)
    client.log_batch(id_, tags=[RunTag("agemem_eval.coverage", f"{frame.coverage:.4g}")])
    client.set_terminated(id_, end_time=end)
