"""All records of a run in one reading of its files: half of what looking each up takes."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import DataError
from ..records import Episode
from . import RunStore
from .index import BrokenLine, Line, read_lines


def scan(store: RunStore) -> Iterator[Episode]:
    """The records that `RunStore.records` gives, those without a score last.

    For a run that is looked through once: no index is kept.

    Raises:
        DataError: naming file and line of a record that is broken and not forgiven.
    """
    scored: set[int] = set()  # keys' ids
    owed: dict[int, Episode] = {}
    tries = 2
    while tries:
        tries -= 1
        paths = store.files()
        try:
            for path in paths:
                for line in read_lines(path):
                    yield from _scored(line, scored, owed)
            break
        except DataError:
            if not tries or all(path.exists() for path in paths):
                raise  # else it was compacted just then: what is left is in the new file
    yield from owed.values()


def _scored(line: Line, scored: set[int], owed: dict[int, Episode]) -> Iterator[Episode]:
    """The record of a line, if it is the first with a score; one without is kept for later."""
    if line.problem is not None:
        if line.forgiven:
            return
        raise DataError(f"{line.where}: {line.problem}")
    try:
        episode = line.episode()
    except BrokenLine as error:
        raise DataError(f"{line.where}: {error}") from error
    id_ = int(line.id or episode.key.id, 16)
    if id_ in scored:
        return
    if episode.scored:
        scored.add(id_)
        owed.pop(id_, None)
        yield episode
    else:
        owed[id_] = episode
