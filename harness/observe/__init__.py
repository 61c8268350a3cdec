"""How a run is seen: on the terminal, in `log.jsonl`, and as spans."""

from __future__ import annotations

import os
import sys

from ..config import Execution, RunConfig
from ..errors import UsageError
from ..watch import Watcher


def watchers_for(
    execution: Execution, quiet: bool = False, config: RunConfig | None = None
) -> list[Watcher]:
    """What looks at a run: a dashboard or progress lines, its log, and its spans.

    Args:
        execution: Says which spans are exported and how much is logged.
        quiet: Show nothing but errors on the terminal.
        config: Of the run; says what the spans' requests asked for.

    Raises:
        MissingExtraError: for `--trace otlp` without the OpenTelemetry SDK.
        UsageError: for a setting of it that is not spoken here.
    """
    from .logs import LogFile
    from .text import Cleaner

    clean = Cleaner(filter(None, [execution.model_options.get("api_key_env")]))
    watchers: list[Watcher] = []
    if execution.trace_content and execution.trace is None:
        raise UsageError("--trace-content says what spans hold: add --trace jsonl or --trace otlp")
    if execution.trace is not None:
        from .spans import sink
        from .tracer import Tracer

        content = execution.trace_content
        watchers.append(Tracer(sink(execution.trace), execution, config, clean, content=content))
    if not quiet:
        watchers.append(_progress())
    # The last one, since the others may have something to log when they are closed.
    watchers.append(LogFile(execution.log_level, quiet=quiet, clean=clean))
    return watchers


def _progress() -> Watcher:
    """A dashboard where the terminal can show one, lines elsewhere."""
    if sys.stderr.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown"):
        from .dashboard import Dashboard

        return Dashboard()
    from .lines import PlainLines

    return PlainLines()
