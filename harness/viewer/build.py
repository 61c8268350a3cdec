"""Makes a report: reads runs, writes a folder that a browser opens from disk."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..analysis import load_frames
from ..errors import DataError, UsageError
from ..plan import Cell, Job
from ..records import Episode
from ..store import RunStore
from .overview import drawings, overview
from .packing import Chunks, compact, write_script
from .page import index_html
from .reconstruct import Memory, Turn, reconstruct
from .rows import EpisodeTable, told_of

FORMAT = "agemem-view/1"
MARKER = "view.json"  # says that a folder is a report, so that it may be replaced by another
_OURS = re.compile(r"(episodes|texts|figures|t\d+)\.js")

Progress = Callable[[int, int], None]  # episodes done, and planned


@dataclass(frozen=True, slots=True)
class View:
    """A report that was written."""

    index: Path
    n_episodes: int
    n_damaged: int  # episodes whose trace could not be read
    n_bytes: int


def build_view(runs: Sequence[Path], out: Path, progress: Progress | None = None) -> View:
    """Write the report of one or two runs; what was there is replaced once all is written.

    Args:
        runs: Their directories.
        out: The folder to write; it may be missing, empty, or hold a report.
        progress: Is told how far it is.

    Raises:
        UsageError: if the folder holds anything else, or one run is given twice.
        DataError: if a run is empty, foreign, broken or of a newer version, or the disk refuses.
    """
    if len({run.resolve() for run in runs}) < len(runs):
        raise UsageError(f"{runs[0]} was given twice: name two different runs")
    stores = [RunStore.open(run) for run in runs]
    out = out.absolute()
    check_replaceable(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".view-", dir=out.parent))
    except OSError as error:
        raise DataError(f"cannot write to {out.parent}: {error.strerror}; use --out") from error
    try:
        view = _Building(stores, folder, progress or (lambda *_: None)).build(runs)
        folder.chmod(0o755)
        _replace(folder, out)
    except OSError as error:
        raise DataError(f"cannot write the report to {out}: {error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return View(out / view.index.name, view.n_episodes, view.n_damaged, view.n_bytes)


def check_replaceable(out: Path) -> None:
    """See that nothing is lost where the report is to be.

    Raises:
        UsageError: if there is a file, or a folder with anything that is no part of a report.
    """
    if not out.exists() and not out.is_symlink():
        return
    if out.is_symlink() or not out.is_dir():
        raise UsageError(f"{out} is not a folder: choose another --out")
    names = {path.name for path in out.iterdir()}
    if not names:
        return
    foreign = names - {MARKER, "index.html", "data"} or {
        path.name for path in (out / "data").glob("*") if not _OURS.fullmatch(path.name)
    }
    if foreign or not _is_view(out):
        what = (
            f"holds {sorted(foreign)[0]!r}, which is no part of a report"
            if foreign
            else ("is not empty and holds no report")
        )
        raise UsageError(f"{out} {what}: choose another --out")


def _is_view(folder: Path) -> bool:
    try:
        marker = json.loads((folder / MARKER).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(marker, dict) and str(marker.get("format")).startswith("agemem-view/")


def _replace(folder: Path, out: Path) -> None:
    """Put the new folder in the place of the old one; that one is whole until then."""
    old = Path(tempfile.mkdtemp(prefix=".view-", dir=out.parent))
    try:
        if out.exists():
            os.replace(out, old / "old")
        os.replace(folder, out)
    except OSError:
        with contextlib.suppress(OSError):
            os.replace(old / "old", out)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


class _Building:
    """One report being written."""

    def __init__(self, stores: Sequence[RunStore], folder: Path, progress: Progress) -> None:
        self._stores, self._folder, self._progress = stores, folder, progress
        self._data = folder / "data"
        self._chunks = Chunks(self._data)
        self._table = EpisodeTable()
        self._damaged = 0

    def build(self, runs: Sequence[Path]) -> View:
        plans = [[Cell.from_json(value) for value in store.plan()] for store in self._stores]
        planned = sum(len(job) for plan in plans for cell in plan for _, job in cell.streams())
        self._data.mkdir()
        for number, (store, plan) in enumerate(zip(self._stores, plans, strict=True)):
            for cell in plan:
                for _, jobs in cell.streams():
                    self._stream(
                        number, store, cell, jobs, lambda: self._progress(len(self._table), planned)
                    )
        self._chunks.flush()
        n_bytes = self._chunks.n_bytes
        n_bytes += write_script(self._data, "episodes", compact(self._table.to_json()))
        n_bytes += write_script(self._data, "texts", compact(self._table.texts()))
        frames = [load_frames(run) for run in runs]
        pictures, note = drawings(frames)
        n_bytes += write_script(self._data, "figures", compact(pictures))
        shown = overview(runs, frames, len(self._table))
        page = index_html({**shown, "figures": len(pictures), "figure_note": note})
        index = self._folder / "index.html"
        index.write_bytes(page)
        marker = {"format": FORMAT, "runs": [run.name for run in runs]}
        (self._folder / MARKER).write_bytes(compact(marker) + b"\n")
        return View(index, len(self._table), self._damaged, n_bytes + len(page))

    def _stream(
        self, run: int, store: RunStore, cell: Cell, jobs: Sequence[Job], told: Callable[[], None]
    ) -> None:
        """The episodes of a stream, or lone ones; each written as it comes."""
        memory: Memory = {}
        lost = ""  # the task of the stream whose trace is damaged; what came of it nobody knows
        self._chunks.begin()
        for episode in store.records(job.key for job in jobs):
            if self._chunks.full:
                self._chunks.begin(memory)
            payload, turns, after = self._episode(store, episode, memory)
            if cell.lifelong and lost:
                payload["unknown"] = lost
            # What the infrastructure broke left no trace in the memory of those after it.
            carries = cell.lifelong and episode.scored
            payload["carries"] = carries
            if carries and after is None:
                lost = lost or episode.key.task
            elif carries and after is not None:
                memory = after
            self._table.add(run, episode, turns, *self._chunks.add(payload))
            told()

    def _episode(
        self, store: RunStore, episode: Episode, memory: Memory
    ) -> tuple[dict[str, object], list[Turn], Memory | None]:
        """What is written of an episode, its turns, and the memory after it if that is known."""
        payload: dict[str, object] = {"record": told_of(episode)}
        try:
            turns, state = reconstruct(store.read_trace(episode.key.id), memory)
        except (DataError, ValueError) as error:
            self._damaged += 1
            payload["problem"] = str(error)
            return payload, [], None
        payload["turns"] = [turn.to_json() for turn in turns]
        return payload, turns, state.memory
