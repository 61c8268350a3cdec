"""`runs compact`: a run without what nothing needs any more.

A kill at any moment loses nothing: the new file of records is whole before the old ones go, the
last of them first, so that whatever is left reads as the same records.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError
from ..files import disk_error, remove, sync_folder, take_lock, whole_file, write_all
from ..plan import Cell
from ..records import EpisodeKey
from . import RunStore
from .index import BrokenLine, Index, Line, head_id, next_path, read_lines, reseal

_TRACE = ".jsonl.zst"
_SNAPSHOT = ".snapshot"


@dataclass(frozen=True, slots=True)
class Freed:
    """What a compaction took away."""

    files: int  # of records, that became one
    records: int  # that another one of the same episode outdid, and torn lines
    traces: int  # without a record
    snapshots: int  # that no stream goes on from
    temporary: int  # left half written
    before: int  # bytes of the run
    after: int


def compact(store: RunStore) -> Freed:
    """Take away what neither the table nor a resume needs.

    Raises:
        UsageError: while the run is being written.
        DataError: for damage, which `runs verify` lists; nothing is taken away then. Or if the
            disk refuses.
    """
    directory = store.directory
    cells = [Cell.from_json(value) for value in store.plan()]
    try:
        lock = take_lock(directory, f"the run {directory.name}")
        try:
            return _compact(store, cells)
        finally:
            os.close(lock)
    except OSError as error:
        raise disk_error(f"the run {directory}", error) from error


def _compact(store: RunStore, cells: list[Cell]) -> Freed:
    directory, paths = store.directory, store.files()
    before = size_of(directory)
    index = Index(paths)
    records, files = _rewrite(index, paths)
    traces = list(orphans(directory, index.has))
    keep = {
        store.memory_dir(stream) / f"{key.id}{_SNAPSHOT}"
        for cell in cells
        if cell.lifelong
        for stream, key in resume_points(cell, index.scored)
    }
    folders = {path.parent for path in keep if path.exists()}
    old = [p for folder in folders for p in folder.glob(f"*{_SNAPSHOT}") if p not in keep]
    halves = list(temporary(directory))
    remove(*traces, *old, *halves)
    after = size_of(directory)
    return Freed(files, records, len(traces), len(old), len(halves), before, after)


def _rewrite(index: Index, paths: list[Path]) -> tuple[int, int]:
    """Put the records that count into one file; how many did not, and how many files there were."""
    lines = sum(1 for path in paths for _ in read_lines(path))
    if lines == len(index) and len(paths) <= 1:
        return 0, len(paths)
    folder = paths[0].parent
    target = next_path(folder, paths)
    with whole_file(target) as descriptor:
        for file, path in enumerate(paths):
            for line in read_lines(path):
                if line.problem is None and index.counts(_id(line), file, line.offset):
                    write_all(descriptor, reseal(line))
    sync_folder(folder)
    # From the last to the first: of two scored records the first counts, and it is in the new file
    # as well, which sorts last.
    for path in reversed(paths):
        path.unlink()
    sync_folder(folder)
    return lines - len(index), len(paths)


def _id(line: Line) -> str:
    try:
        return head_id(line.raw) or line.episode().key.id
    except BrokenLine as error:
        raise DataError(f"{line.where}: {error}") from error


def resume_points(
    cell: Cell, scored: Callable[[EpisodeKey], bool]
) -> Iterator[tuple[str, EpisodeKey]]:
    """Each stream that has begun, with the episode whose snapshot it goes on from."""
    for stream, jobs in cell.streams():
        last: EpisodeKey | None = None
        for job in jobs:
            if not scored(job.key):
                break
            last = job.key
        if last is not None:
            yield stream, last


def orphans(directory: Path, known: Callable[[int], bool]) -> Iterator[Path]:
    """Traces of which no record is known, by the number that an id is."""
    for path in sorted((directory / "turns").glob(f"*{_TRACE}")):
        try:
            id_ = int(path.name.removesuffix(_TRACE), 16)
        except ValueError:
            continue  # not ours
        if not known(id_):
            yield path


def temporary(directory: Path) -> Iterator[Path]:
    """Files that were never finished."""
    for pattern in ("*.tmp", "episodes/*.tmp", "turns/*.tmp", "memory/*/*.tmp"):
        yield from sorted(directory.glob(pattern))


def size_of(directory: Path) -> int:
    """Bytes of all files below; a run may be written meanwhile, so that some are gone again."""
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.stat(os.path.join(folder, name)).st_size
    return total
