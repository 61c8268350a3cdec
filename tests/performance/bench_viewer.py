"""The report: building it for 10,000 episodes, its size, and how fast a browser shows it.

Traces are those of a small run that is played here, given to as many episodes as are wanted. Needs
Playwright and a Chromium for the second table (`tox -e browser` installs them).
"""

from __future__ import annotations

import asyncio
import resource
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from viewer_browser import chromium, opened
from viewer_runs import write

from agemem_eval.harness.options import resolve
from agemem_eval.harness.plan import Cell
from agemem_eval.harness.runner import run
from agemem_eval.harness.store import RunStore
from agemem_eval.harness.trace import Event
from agemem_eval.harness.types import Task
from agemem_eval.harness.viewer.build import View, build_view

SIZES = (1_000, 10_000)
ROUNDS = 7
ROWS = "#episode-table tbody tr:not(.space)"
Played = tuple[str, str, list[Event]]  # environment, memory, trace
MEMORIES = "none,rag,mem0g,amem,agemem"


def main(part: str = "") -> None:
    """Measure, and print tables; `build` leaves the browser out."""
    console = Console(width=110)
    with tempfile.TemporaryDirectory() as folder:
        traces = _played(Path(folder))
        built = Table("episodes", "traces MB", "build s", "CPU s", "report MB", "index KB",
                      "files", "peak RSS MB", title="Building")  # fmt: skip
        views = [_build(Path(folder), traces, size, built) for size in SIZES]
        console.print(built)
        if part == "build":
            return
        names = ("first paint", "contentful", "table", "open an episode", "next turn", "sort")
        title = f"In Chromium: ms, median and worst of {ROUNDS}"
        shown = Table("episodes", *names, title=title)
        with chromium() as browser:
            for size, view in zip(SIZES, views, strict=True):
                rounds = [_shown(browser, view, n) for n in range(ROUNDS)]
                columns = zip(*rounds, strict=True)
                cells = [f"{statistics.median(c):.0f} / {max(c):.0f}" for c in columns]
                shown.add_row(f"{size:,}", *cells)
        console.print(shown)


def _played(folder: Path) -> list[Played]:
    """Environment, memory and trace of each episode of a small run."""
    given = {
        "env": "hotpotqa,alfworld", "memory": MEMORIES, "memory_model": "heuristic", "episodes": 8,
        "runs_dir": folder, "name": "small", "option": ["hotpotqa.form=three-stage"],
        "model": "scripted",
    }  # fmt: skip
    asyncio.run(run(*resolve(given)))
    store = RunStore.open(folder / "small")
    return [(k.env, k.memory, list(store.read_trace(k.id))) for k in store.episodes()]


def _build(folder: Path, traces: list[Played], size: int, table: Table) -> View:
    store = RunStore.open(folder / "small")
    cells, given = [], {}
    for cell in map(Cell.from_json, store.plan()):
        own = [t for env, memory, t in traces if (env, memory) == (cell.base.env, cell.base.memory)]
        n = size // len(store.plan())
        names = (f"{cell.base.env}/task/{i:05}" for i in range(n))
        tasks = tuple(Task(name, "test", f"kind {i % 6}") for i, name in enumerate(names))
        cells.append(replace(cell, tasks=tasks))
        jobs = [job for _, jobs in cells[-1].streams() for job in jobs]
        given |= {job.key: own[i % len(own)] for i, job in enumerate(jobs)}
    directory = write(folder / f"run{size}", cells, given)
    traced = sum(p.stat().st_size for p in (directory / "turns").iterdir())
    clock, cpu = time.perf_counter(), time.process_time()
    view = build_view([directory], folder / f"view{size}")
    seconds, cpu = time.perf_counter() - clock, time.process_time() - cpu
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    files = sum(1 for _ in (view.index.parent / "data").iterdir())
    table.add_row(
        f"{view.n_episodes:,}", f"{traced / 1e6:.1f}", f"{seconds:.1f}",
        f"{cpu:.1f}", f"{view.n_bytes / 1e6:.1f}",
        f"{view.index.stat().st_size / 1e3:.0f}", str(files), f"{rss:.0f}",
    )  # fmt: skip
    return view


def _shown(browser: Any, view: View, n: int) -> list[float]:
    """Milliseconds of what a reader waits for, each time in a fresh context."""
    with opened(browser, view.index.parent) as page:
        page.wait_for_selector(ROWS)
        page.wait_for_function("performance.getEntriesByType('paint').length > 1")
        paints = page.evaluate(PAINTS)
        sorting = page.evaluate(SORT)
        opening, stepping = page.evaluate(OPEN, n), page.evaluate(STEP)
    return [*paints, opening, stepping, sorting]


PAINTS = """() => [...['first-paint', 'first-contentful-paint', 'episodes']
  .map((name) => performance.getEntriesByName(name)[0].startTime)]"""
SORT = """() => {
  const clock = performance.now();
  document.querySelector("#episode-table th:nth-child(4) button").click();
  return performance.now() - clock;
}"""
OPEN = """(n) => new Promise((done) => {
  const clock = performance.now();
  new MutationObserver((_, observer) => {
    if (!document.querySelector(".pane")) return;
    observer.disconnect();
    done(performance.now() - clock);
  }).observe(document.getElementById("main"), { childList: true, subtree: true });
  document.querySelectorAll("#episode-table td a")[n].click();
})"""
STEP = """() => {
  const clock = performance.now();
  document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "j", bubbles: true }));
  document.body.getBoundingClientRect(); // with its layout
  return performance.now() - clock;
}"""
