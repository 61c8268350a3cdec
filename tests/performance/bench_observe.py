"""What it costs to look at a run: CPU of an event, a redraw, a span and a log record.

Times are of the processor, of the thread that does the work, so that they mean the same on a busy
machine. The terminal is a pseudo-terminal of 120 × 40, read by a thread as a terminal would.
"""

from __future__ import annotations

import itertools
import logging
import os
import pty
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from agemem_fakes.episodes import KEY, episode
from rich.console import Console
from rich.table import Table

from agemem_eval.harness.config import Execution
from agemem_eval.harness.observe.dashboard import EVERY_S, Dashboard, Screen
from agemem_eval.harness.observe.logs import LogFile
from agemem_eval.harness.observe.spans import JsonLines
from agemem_eval.harness.observe.tracer import Tracer
from agemem_eval.harness.watch import CellPlan, Planned

ROUNDS, EVENTS_A_SECOND, CELLS = 5, 500, 20
KINDS = ("completion", "message", "action", "message", "tool", "model_call", "memory")


def main() -> None:
    """Measure, interleaved, and print a table."""
    works: dict[str, tuple[Callable[[Path], float], str]] = {
        "dashboard: an event": (_event, "µs"),
        f"dashboard: a redraw, {CELLS} cells": (_redraw, "µs"),
        "spans to a file: an event": (_span, "µs"),
        "log: a record": (_record, "µs"),
    }
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, (work, _) in works.items():
            with tempfile.TemporaryDirectory() as folder:
                times[name].append(1e6 * work(Path(folder)))
    table = Table("what", "median", "from – to", title="Looking at a run, CPU")
    for name, (_, unit) in works.items():
        low, high = min(times[name]), max(times[name])
        middle = statistics.median(times[name])
        table.add_row(name, f"{middle:.1f} {unit}", f"{low:.1f} – {high:.1f}")
    event, redraw, span, _ = (statistics.median(found) for found in times.values())
    shares = {"the dashboard": event * EVENTS_A_SECOND + redraw / EVERY_S}
    shares["spans to a file"] = span * EVENTS_A_SECOND
    for name, micros in shares.items():
        table.add_row(f"{name} at {EVENTS_A_SECOND} events/s", f"{micros / 1e4:.2f}% of a core", "")
    Console(width=100).print(table)


def _plan(folder: Path) -> Planned:
    cells = (
        CellPlan("count", "test", f"memory-{n}", "scripted (oracle)", 140, 0) for n in range(CELLS)
    )
    return Planned("a-run", folder, tuple(cells))


def _events() -> list[dict[str, Any]]:
    more = {"prompt_tokens": 900, "completion_tokens": 30, "finish": "stop", "latency_s": 0.01}
    fields = {"role": "memory_write", "name": "Add_memory", "arguments": {}, "status": "success"}
    fields |= {"op": "add", "ids": ["x"], "model": "heuristic (rules)", "valid": True}
    return [{"type": kind, "step": 1, "turn": 1, **more, **fields} for kind in KINDS]


def _seconds(work: Callable[[], Any], times: int) -> float:
    clock = time.thread_time()
    for _ in range(times):
        work()
    return (time.thread_time() - clock) / times


def _watch(watcher: Any) -> float:
    events = itertools.cycle(_events())
    watcher.begins(KEY, 1)
    return _seconds(lambda: watcher.event(KEY, next(events)), 7000)


def _event(folder: Path) -> float:
    with open(os.devnull, "w") as nowhere:
        dashboard = Dashboard(Screen(file=nowhere, force_terminal=True, width=120, height=40))
        dashboard.planned(_plan(folder))
        cost = _watch(dashboard)
        dashboard.close()
    return cost


def _redraw(folder: Path) -> float:
    """A redraw of a table in which an episode ended since the last one."""
    parent, child = pty.openpty()
    reader = threading.Thread(target=_drain, args=(parent,), daemon=True)
    reader.start()
    with os.fdopen(child, "w") as terminal:
        screen = Screen(file=terminal, force_terminal=True, width=120, height=40)
        dashboard = Dashboard(screen)
        dashboard.planned(_plan(folder))
        _watch(dashboard)
        ended = itertools.cycle(_plan(folder).cells)

        def draw() -> None:
            memory = next(ended).memory
            dashboard.committed(episode(key=replace(KEY, memory=memory)))
            with screen.turn:
                dashboard._live.refresh()

        cost = _seconds(draw, 200)
        dashboard.close()
    reader.join(5)
    os.close(parent)
    return cost


def _drain(terminal: int) -> None:
    try:
        while os.read(terminal, 65536):
            pass
    except OSError:  # its other end is closed
        return


def _span(folder: Path) -> float:
    tracer = Tracer(JsonLines(), Execution())
    tracer.planned(_plan(folder))
    cost = _watch(tracer)
    tracer.close()
    return cost


def _record(folder: Path) -> float:
    file = LogFile(quiet=True)
    file.planned(_plan(folder))
    log = logging.getLogger("agemem_eval.bench")
    fields = {"event": "retry", "kind": "rate_limit", "wait_s": 0.5, "attempt": 2}
    cost = _seconds(lambda: log.info("%s: try %d", "http://x", 2, extra={"fields": fields}), 2000)
    file.close()
    return cost
