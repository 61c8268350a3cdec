"""A run's episode scores as one small text file that a pull request can show: a baseline.

    {"format": "agemem-eval baseline", "version": 1, "schema": 1, "agemem_eval": "0.1.0",
     "run": "main", "hash": "…", "task_sets": {"…": [["id", "type"], …]},
     "cells": [{"tasks": "…", "cell": {…}, "protocol": {…}, "labels": {…}, "statuses": "ccl…",
                "unscored": [], "columns": {"success": [1,0,…], "forfeits": 0, …}}]}

A column is a list in the order of the plan, or a single number where all episodes have the same. A
line of the file is a column of a cell, so that a diff shows which scores moved. `hash` seals the
rest: a file that was edited or merged by hand is refused. Nothing in it is of the machine or the
day, so that the same results give the same bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ... import __version__
from ..analysis import CellFrame, Protocol
from ..errors import DataError
from ..files import read_json
from ..plan import Cell
from ..records import HARNESS_SCHEMA, stable_hash
from .columns import NOT_COMPARED

FORMAT = "agemem-eval baseline"
VERSION = 1  # of the file's form
_STATUSES = {"c": "completed", "l": "limit", "a": "agent_error"}
_LETTERS = {status: letter for letter, status in _STATUSES.items()}
_SUMMARIES = ("memory", "key", "repeats", "order_seeds", "lifelong", "headline", "within_cap")


# --- writing ----------------------------------------------------------------------------------


def baseline_bytes(frames: list[CellFrame]) -> bytes:
    """The content of the baseline of a run: the same for the same results.

    Args:
        frames: The cells of one run; only their scored episodes are kept.
    """
    task_sets: dict[str, list[list[str]]] = {}
    cells = []
    for frame in frames:
        tasks = [[t.id, t.type] for t in frame.cell.tasks]
        # Not by the protocol's hash: other types, or another order, of the same ids have the same.
        name = stable_hash(tasks)
        task_sets[name] = tasks
        cells.append({"tasks": name, **_cell(frame)})
    body = {"task_sets": task_sets, "cells": cells}
    head = {
        "format": FORMAT,
        "version": VERSION,
        "schema": HARNESS_SCHEMA,
        "agemem_eval": __version__,
        "run": frames[0].run,
        "hash": stable_hash(body, 32),
    }
    return ("\n".join(_lines({**head, **body})) + "\n").encode()


def _cell(frame: CellFrame) -> dict[str, Any]:
    row = {key: i for i, key in enumerate(frame.keys) if frame.statuses[i] != "infra_error"}
    planned = frame.cell.keys
    rows = [row[key] for key in planned if key in row]
    columns = {
        name: _packed(frame.columns[name][rows])
        for name in sorted(frame.columns)
        if name not in NOT_COMPARED
    }
    about = frame.cell.to_json()
    return {
        "cell": {name: about[name] for name in _SUMMARIES},
        "protocol": asdict(frame.protocol),
        "labels": dict(sorted(frame.labels.items())),
        "estimated": frame.estimated,
        "statuses": "".join(_LETTERS[frame.statuses[i]] for i in rows),
        "unscored": [place for place, key in enumerate(planned) if key not in row],
        "columns": {name: value for name, value in columns.items() if value is not None},
    }


def _packed(column: np.ndarray[Any, np.dtype[np.float64]]) -> Any:
    """A column as JSON: whole numbers as such, NaN as null; one number where all are the same."""
    values = [_number(value) for value in column.tolist()]
    if values and all(value == values[0] for value in values):
        return values[0]
    return values


def _number(value: float) -> int | float | None:
    if math.isnan(value):
        return None
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _lines(whole: dict[str, Any]) -> Iterator[str]:
    """JSON with a line for each thing that a diff should show by itself."""
    yield "{"
    for name, value in whole.items():
        if name not in ("task_sets", "cells"):
            yield f"{json.dumps(name)}: {_compact(value)},"
    yield '"task_sets": {'
    yield ",\n".join(f"{json.dumps(k)}: {_compact(v)}" for k, v in whole["task_sets"].items())
    yield '},\n"cells": ['
    yield ",\n".join("\n".join(_cell_lines(cell)) for cell in whole["cells"])
    yield "]}"


def _cell_lines(cell: dict[str, Any]) -> Iterator[str]:
    yield "{"
    for name, value in cell.items():
        if name != "columns":
            yield f" {json.dumps(name)}: {_compact(value)},"
    yield ' "columns": {'
    yield ",\n".join(f"  {json.dumps(k)}: {_compact(v)}" for k, v in cell["columns"].items())
    yield " }}"


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


# --- reading ----------------------------------------------------------------------------------


def load_baseline(path: Path) -> list[CellFrame]:
    """The cells of a baseline, as `load_frames` gives those of a run.

    Raises:
        DataError: if it is no baseline, damaged, or of a newer version.
    """
    whole = read_json(path)
    if not isinstance(whole, dict) or whole.get("format") != FORMAT:
        raise DataError(f"{path} is not a baseline of agemem-eval; `agemem-eval pin` makes one")
    _check_versions(path, whole)
    body = {"task_sets": whole.get("task_sets"), "cells": whole.get("cells")}
    if whole.get("hash") != stable_hash(body, 32):
        raise DataError(
            f"{path} is damaged: it is not what was pinned; restore it, or pin the run again"
        )
    try:
        run = str(whole["run"])
        if not whole["cells"]:
            raise ValueError("no cells")
        return [_frame(path, run, value, whole["task_sets"]) for value in whole["cells"]]
    except (KeyError, TypeError, ValueError, IndexError, DataError) as error:
        raise DataError(f"{path} is damaged: {error!r}; pin the run again") from error


def _check_versions(path: Path, whole: Mapping[str, Any]) -> None:
    for name, known in (("version", VERSION), ("schema", HARNESS_SCHEMA)):
        found = whole.get(name)
        if found == known:
            continue
        newer = isinstance(found, int) and found > known
        raise DataError(
            f"{path} was written by agemem-eval {whole.get('agemem_eval')} ({name} {found}, this "
            f"version knows {known}): {'upgrade agemem-eval' if newer else 'pin the run again'}"
        )


def _frame(path: Path, run: str, value: dict[str, Any], task_sets: dict[str, Any]) -> CellFrame:
    protocol = Protocol(**value["protocol"])
    cell = Cell.from_json({**value["cell"], "tasks": task_sets[value["tasks"]]})
    planned, unscored = cell.keys, set(value["unscored"])
    kept = [place for place in range(len(planned)) if place not in unscored]
    if len(kept) != len(value["statuses"]):
        raise ValueError("as many statuses as scored episodes")
    frame = CellFrame(run, path, cell, protocol, len(planned))
    types = {task.id: task.type for task in cell.tasks}
    orders = [job.order for _, jobs in cell.streams() for job in jobs]
    frame.keys = [planned[place] for place in kept]
    frame.task_types = [types[key.task] for key in frame.keys]
    frame.statuses = [_STATUSES[letter] for letter in value["statuses"]]
    frame.losses = [None] * len(kept)
    frame.orders = [orders[place] for place in kept]
    frame.labels, frame.estimated = dict(value["labels"]), bool(value["estimated"])
    for name, packed in value["columns"].items():
        column = packed if isinstance(packed, list) else [packed] * len(kept)
        if len(column) != len(kept):
            raise ValueError(f"as many values of {name} as scored episodes")
        frame.columns[name] = np.array(
            [math.nan if number is None else float(number) for number in column]
        )
    return frame
