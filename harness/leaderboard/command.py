"""What `agemem-eval report` does; imported when it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .. import report
from ..analysis import run_directory
from ..commands import standard_output
from ..errors import unknown_name
from ..metrics import Row
from ..runner import rows_of

FORMATS = ("terminal", "markdown", "json")


def report_command(runs: list[str], format_: str, runs_dir: Path, **_: Any) -> None:
    """`report`: the table of one or more runs."""
    if format_ not in FORMATS:
        raise unknown_name("format", format_, FORMATS)
    rows: list[Row] = []
    for name in runs:
        rows += rows_of(run_directory(name, runs_dir))
    if format_ == "json":
        print(json.dumps(report.as_json(rows), ensure_ascii=False))
    elif format_ == "markdown":
        print(report.markdown(rows), end="")
    else:
        report.print_table(rows, standard_output())
