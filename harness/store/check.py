"""`runs verify`: whether a run is what was written, record by record and trace by trace."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from ..errors import DataError
from ..ledger import Ledger, Role, Usage
from ..plan import Cell
from ..records import Episode, EpisodeKey, stable_hash
from . import RunStore
from .compact import orphans, resume_points, temporary
from .header import read_header
from .index import BrokenLine, Line, head_id, read_lines


@dataclass(frozen=True, slots=True)
class Finding:
    """Something in a run that is not as a whole and finished run has it."""

    where: str  # file, and line where there are lines
    what: str
    harmless: bool = False  # no number is wrong by it: the same command resumes


def verify(store: RunStore) -> Iterator[Finding]:
    """Look at all there is of a run; a finding that is not harmless is damage."""
    yield from _header(store)
    if not (store.directory / "config.json").exists():
        return  # it is no run
    cells: list[Cell] | None = None
    try:
        cells = [Cell.from_json(value) for value in store.plan()]
    except DataError as error:
        yield Finding(str(store.directory / "plan.json"), str(error))
    planned = None if cells is None else {int(k.id, 16) for cell in cells for k in cell.keys}
    records = _Records(store, planned)
    yield from records.look()
    yield from _leftovers(store, records)
    for cell in cells or ():
        if cell.lifelong:
            yield from _snapshots(store, cell, records)


def _header(store: RunStore) -> Iterator[Finding]:
    path = store.directory / "config.json"
    try:
        header = read_header(store.directory)
        store.config()
    except DataError as error:
        yield Finding(str(path), str(error))
        return
    if stable_hash(header["config"]) != header.get("hash"):
        yield Finding(str(path), "the configuration is not the one of its hash")
    plan = store.directory / "plan.json"
    try:
        # Runs of earlier versions have no hash of the plan.
        if "plan_hash" in header and stable_hash(store.plan()) != header["plan_hash"]:
            yield Finding(str(plan), "the plan is not the one of its hash")
    except DataError:
        return  # told by who reads the plan


class _Records:
    """The lines of all files, each looked at once."""

    def __init__(self, store: RunStore, planned: set[int] | None) -> None:
        self._store, self._planned = store, planned
        self._seen: dict[int, int] = {}  # id -> CRC-32 of its last line, and whether scored
        self._failed: dict[int, str] = {}  # where the record is of those not scored so far

    def __contains__(self, id_: int) -> bool:
        return id_ in self._seen

    def scored(self, key: EpisodeKey) -> bool:
        """Whether a sound record of the episode has a score."""
        return bool(self._seen.get(int(key.id, 16), 0) & 1)

    def look(self) -> Iterator[Finding]:
        """What is wrong with records and their traces."""
        for path in self._store.files():
            try:
                for line in read_lines(path):
                    yield from self._look_at(line)
            except DataError as error:
                yield Finding(str(path), str(error))
        # Their numbers are not compared with the trace: the next try writes its own before its
        # record, so that a kill in between leaves the record of one beside the trace of the other.
        for id_, where in self._failed.items():
            try:
                for _ in self._store.read_trace(f"{id_:020x}"):
                    pass
            except DataError as error:
                yield Finding(where, str(error), harmless=True)

    def _look_at(self, line: Line) -> Iterator[Finding]:
        if line.forgiven:
            yield Finding(line.where, "a torn line: its episode is owed again", harmless=True)
            return
        try:
            if line.problem is not None:
                raise BrokenLine(line.problem)
            episode = line.episode()
        except BrokenLine as error:
            yield Finding(line.where, str(error))
            return
        key_id = episode.key.id
        if head_id(line.raw) not in (None, key_id):
            yield Finding(
                line.where, f"the id {head_id(line.raw)} is not that of its key: {key_id}"
            )
        id_, crc = int(key_id, 16), zlib.crc32(line.raw)
        if self._planned is not None and id_ not in self._planned:
            yield Finding(line.where, f"the episode {key_id} is not in the plan")
        before = self._seen.get(id_)
        if before is not None and (before & 1 or before >> 1 == crc):
            yield Finding(line.where, f"a second record of the episode {key_id}: `runs compact`")
            return
        self._seen[id_] = crc << 1 | episode.scored
        if episode.scored:
            self._failed.pop(id_, None)
            yield from _trace(self._store, line.where, episode)
        else:
            self._failed[id_] = line.where


def _trace(store: RunStore, where: str, episode: Episode) -> Iterator[Finding]:
    """What of a record its trace does not bear out."""
    ledger, counts = Ledger(), Counter[str]()
    try:
        for event in store.read_trace(episode.key.id):
            counts[event["type"]] += 1
            if event["type"] in ("completion", "model_call"):
                role = Role(event.get("role", Role.AGENT))
                sums = event["prompt_tokens"], event["completion_tokens"], event["estimated"]
                ledger.add(role, Usage(*sums))
    except DataError as error:
        yield Finding(where, str(error))
        return
    except (KeyError, TypeError, ValueError) as error:
        yield Finding(where, f"the trace {episode.key.id} is damaged: {error!r}")
        return
    if counts["completion"] != episode.turns:
        yield Finding(
            where, f"{episode.turns} turns, but its trace has {counts['completion']} completions"
        )
    if counts["action"] != episode.steps:
        yield Finding(where, f"{episode.steps} steps, but its trace has {counts['action']} actions")
    # What an embedder reads is no event.
    roles = {role: u for role, u in episode.tokens.items() if role != Role.EMBEDDING}
    for name in sorted({*roles, *ledger.roles}):
        told, found = (asdict(by[name]) if name in by else {} for by in (roles, ledger.roles))
        if told != found:
            yield Finding(where, f"tokens of {name}: {told}, but {found} in its trace")


def _leftovers(store: RunStore, records: _Records) -> Iterator[Finding]:
    """Traces without a record, and files that a killed process has left half written."""
    lost = orphans(store.directory, records.__contains__)
    first = next(lost, None)
    if first is not None:
        more = sum(1 for _ in lost)
        and_more = f" and {more} more" if more else ""
        what = f"no record has this trace{and_more}: the episode is owed again"
        yield Finding(str(first), what, harmless=True)
    for path in temporary(store.directory):
        yield Finding(str(path), "left half written by a killed process", harmless=True)


def _snapshots(store: RunStore, cell: Cell, records: _Records) -> Iterator[Finding]:
    """The memories that streams go on from."""
    for stream, key in resume_points(cell, records.scored):
        try:
            store.read_snapshot(stream, key.id)
        except DataError as error:
            yield Finding(str(store.memory_dir(stream)), str(error))
