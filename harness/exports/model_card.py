"""The part of a model's card that tells its results: metadata that the hub reads, and a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from ... import __version__
from ..observe.text import escape
from ..stats import Estimate
from ..tables import markdown_text
from .source import Source
from .summary import CellSummary, summaries
from .text import markdown_table

MARK = "<!-- agemem-eval: results of "  # with the runs; what has it may be replaced
_NAMES = {"success": "Success rate", "progress": "Progress rate", "quality.mq": "Memory quality"}
_SHOWN = ("success", "progress", "quality.j", "quality.mq")


def model_card(sources: Sequence[Source]) -> str:
    """A card with one result for each cell and score.

    Intervals are of 95%; see `stats`. A score that nothing was scored for is left out of the
    metadata and `–` in the table.
    """
    cells = [summary for source in sources for summary in summaries(source)]
    front = {"tags": ["agents", "memory", "agemem-eval"], "model-index": _index(cells)}
    return "\n".join(
        [
            "---",
            yaml.safe_dump(front, sort_keys=False, allow_unicode=True).rstrip(),
            "---",
            "",
            mark_of(sources),
            "## Results with agent memories",
            "",
            *_table(cells),
            "",
            f"Measured with agemem-eval {__version__}; brackets hold 95% intervals, n counts "
            "scored episodes. Rows may be compared where their protocol is the same.",
            "",
        ]
    )


def mark_of(sources: Sequence[Source]) -> str:
    """The line by which a card of these runs is known."""
    names = ", ".join(source.name for source in sources)
    return f"{MARK}{escape(names).replace('>', '&gt;')} -->"  # no name ends the comment


def _shown(summary: CellSummary) -> list[str]:
    """The scores of a cell that a card tells, the headline first."""
    names = dict.fromkeys((summary.frame.headline, *_SHOWN))
    return [name for name in names if name in summary.scores]


def _index(cells: Sequence[CellSummary]) -> list[dict[str, Any]]:
    """The `model-index`: results by model."""
    by_model: dict[str, list[dict[str, Any]]] = {}
    for summary in cells:
        result = _result(summary)
        if result["metrics"]:
            by_model.setdefault(str(summary.about["model"]), []).append(result)
    return [{"name": model, "results": results} for model, results in by_model.items()]


def _result(summary: CellSummary) -> dict[str, Any]:
    about = summary.about
    return {
        "task": {
            "type": "reinforcement-learning",
            "name": f"{about['env']} with the memory {about['memory']}",
        },
        "dataset": {
            "type": str(about["env"]),
            "name": f"{about['env']}, memory {about['memory']}, run {about['run']}",
            "config": f"{about['memory']}/{about['run']}",
            "split": str(about["split"]),
            "revision": str(about["data_hash"]),
            "args": {"protocol": about["protocol"], "memory": about["memory"]},
        },
        "metrics": [_metric(name, summary.scores[name]) for name in _shown(summary)],
    }


def _metric(name: str, found: Estimate) -> dict[str, Any]:
    args: dict[str, Any] = {"n": found.n, "n_tasks": found.n_tasks, "method": found.method}
    if found.low == found.low:  # not NaN
        args |= {"low": round(found.low, 6), "high": round(found.high, 6), "confidence": 0.95}
    return {
        "type": name,
        "name": _NAMES.get(name, name),
        "value": round(found.value, 6),
        "args": args,
        "verified": False,
    }


def _table(cells: Sequence[CellSummary]) -> list[str]:
    shown = dict.fromkeys(name for summary in cells for name in _shown(summary))
    names = ["model", "memory", "environment", "split", *(_NAMES.get(n, n) for n in shown)]
    rows = []
    for summary in cells:
        about = [str(summary.about[n]) for n in ("model", "memory", "env", "split")]
        scores = [_said(summary.scores.get(name), name, summary) for name in shown]
        frame = summary.frame
        coverage = f"{frame.n_scored} of {frame.n_planned}"
        rows.append([*map(markdown_text, about), *scores, coverage, str(summary.about["protocol"])])
    return markdown_table([*names, "n", "protocol"], rows, escaped=True)


def _said(found: Estimate | None, name: str, summary: CellSummary) -> str:
    """A score with its interval; the one that ranks the memory is bold."""
    if found is None:
        return "–"
    value = f"{found.value:.3f}"
    value = f"**{value}**" if name == summary.frame.headline else value
    return f"{value} [{found.low:.3f}, {found.high:.3f}]" if found.low == found.low else value
