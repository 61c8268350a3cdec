"""Runs as logs of Inspect AI, one a cell: `inspect view --log-dir FOLDER` shows them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ... import __version__
from ..records import Episode
from ..stats import Estimate
from .inspect_sample import add_usages, sample_of, usages
from .source import Source
from .summary import CellSummary, moment, summaries

from inspect_ai.model import GenerateConfig  # isort: skip
from inspect_ai.log import (  # isort: skip  # `inspect_sample` says so where it is missing
    EvalConfig,
    EvalDataset,
    EvalLog,
    EvalMetric,
    EvalResults,
    EvalScore,
    EvalSpec,
    EvalStats,
    write_eval_log,
)

SAMPLES = 1000  # of one log; Inspect holds all of a log in memory while it is written


def write_logs(folder: Path, sources: Sequence[Source]) -> tuple[int, int]:
    """Write the logs of runs.

    Returns:
        How many logs and episodes there were.

    Raises:
        OSError: if the disk refuses.
    """
    logs = episodes = 0
    for source in sources:
        for summary in summaries(source):
            keys = summary.frame.keys
            for start in range(0, len(keys), SAMPLES):
                part = list(source.store.records(keys[start : start + SAMPLES]))
                log = _log(summary, part, start // SAMPLES, -(-len(keys) // SAMPLES))
                write_eval_log(log, str(folder / _file_name(log)), format="eval")
                logs += 1
                episodes += len(part)
    return logs, episodes


def _file_name(log: Any) -> str:
    """As Inspect names its own: time, task, id."""
    stamp = re.sub("[:+]", "-", log.eval.created)
    return f"{stamp}_{re.sub('[^A-Za-z0-9-]+', '-', log.eval.task)}_{log.eval.task_id}.eval"


def _log(summary: CellSummary, episodes: list[Episode], part: int, parts: int) -> Any:
    source, frame = summary.source, summary.frame
    samples = [sample_of(source, frame, one, source.row(frame, one)) for one in episodes]
    began = min(moment(one.started_at) for one in episodes)
    ended = max(sample.completed_at for sample in samples)
    stats = EvalStats(started_at=began.isoformat(), completed_at=ended, **_usage(source, episodes))
    return EvalLog(
        status="success" if frame.n_scored == frame.n_planned else "cancelled",
        eval=_spec(summary, began.isoformat(), part, parts),
        results=_results(summary),
        stats=stats,
        samples=samples,
    )


def _usage(source: Source, episodes: list[Episode]) -> dict[str, dict[str, Any]]:
    sums: dict[str, dict[str, Any]] = {"model_usage": {}, "role_usage": {}}
    for episode in episodes:
        for total, usage in zip(sums.values(), usages(source, episode), strict=True):
            add_usages(total, usage)
    return sums


def _spec(summary: CellSummary, created: str, part: int, parts: int) -> Any:
    source, frame, about = summary.source, summary.frame, summary.about
    agent, cell = source.config.agent, frame.cell
    id_ = f"{summary.id}{part:04}" if parts > 1 else summary.id
    metadata = {
        **about,
        "statuses": summary.counts,
        "part": f"{part + 1} of {parts}",
        "config": source.clean.settings(source.config.model_dump(mode="json")),
        "intervals": {
            name: [e.low, e.high] for name, e in summary.scores.items() if e.low == e.low
        },
    }
    return EvalSpec(
        eval_id=id_,
        run_id=source.name,
        created=created,
        task=f"{about['env']}-{about['memory']}",
        task_id=id_,
        task_version=about["env_version"],
        task_args={"split": about["split"], "memory": about["memory"], "run": about["run"]},
        solver=about["memory"],
        dataset=EvalDataset(name=f"{about['env']}/{about['split']}", samples=len(cell.tasks)),
        model=about["model"],
        model_generate_config=GenerateConfig(
            temperature=agent.temperature, top_p=agent.top_p, max_tokens=agent.max_tokens
        ),
        config=EvalConfig(epochs=cell.repeats * max(1, len(cell.order_seeds))),
        packages={"agemem-eval": __version__},
        tags=[f"protocol:{about['protocol']}"],
        metadata=metadata,
    )


def _results(summary: CellSummary) -> Any:
    """The scores of the whole cell, the headline first."""
    frame = summary.frame
    scores = [
        EvalScore(
            name=name,
            scorer=name,
            scored_samples=found.n,
            unscored_samples=frame.n_planned - found.n,
            metrics=_metrics(found),
        )
        for name, found in summary.scores.items()
    ]
    return EvalResults(
        total_samples=frame.n_planned, completed_samples=frame.n_scored, scores=scores
    )


def _metrics(found: Estimate) -> dict[str, Any]:
    values = {"mean": found.value, "stderr": found.se, "low": found.low, "high": found.high}
    return {
        name: EvalMetric(name=name, value=value)
        for name, value in values.items()
        if value is not None and value == value
    }
