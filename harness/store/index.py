"""The lines of a run's `episodes/` files, and where in them each episode's record is.

A line is one record, sealed:

    {"id":"<key's id>","status":"completed", …the record's fields…, "place":0,"crc":"1f00c2a9"}

`crc` is the CRC-32 of all before it, so that a changed digit is noticed. `place` counts the lines
written before it by the same write. What that write has not brought to the disk when the power
fails is forgiven, since nobody was told that it is there; any other broken line is an error.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from pydantic import TypeAdapter, ValidationError

from ..errors import DataError
from ..ledger import RoleUsage, add_usages
from ..records import Episode, EpisodeKey

_EPISODES = TypeAdapter(Episode)
_HEAD = re.compile(rb'\{"id":"([0-9a-f]{20})","status":"([a-z_]+)",')
_SEAL = re.compile(rb',"place":(\d+),"crc":"([0-9a-f]{8})"\}\Z')
_SEAL_BYTES = 64  # at most
_MAX_OPEN = 64  # files held open while records are read in another order than they were written
_OFFSET_BITS = 44


def json_line(value: Any) -> bytes:
    """One line of JSON; what no UTF-8 file can hold (half a surrogate pair) becomes `?`."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode(errors="replace") + b"\n"


def record_line(episode: Episode) -> bytes:
    """The sealed line of a record that is written alone; see the module."""
    return sealed(record_body(episode), 0)


def record_body(episode: Episode) -> bytes:
    """The line of a record up to its seal."""
    values = _EPISODES.dump_python(episode, warnings=False)
    head = {"id": episode.key.id, "status": episode.status}
    return json_line({**head, **values})[:-2]


def sealed(body: bytes, place: int) -> bytes:
    """A line: the body, how many lines the same write put before it, and the checksum."""
    body += b',"place":%d' % place
    return body + b',"crc":"%08x"}\n' % zlib.crc32(body)


def head_id(raw: bytes) -> str | None:
    """The id that a line begins with; None where it is not sealed."""
    head = _HEAD.match(raw) if _seal(raw) is not None else None
    return None if head is None else head[1].decode()


def reseal(line: Line) -> bytes:
    """The same record as a line that is written alone.

    Raises:
        BrokenLine: if it is no sound record.
    """
    if _check_seal(line.raw) is None:
        return record_line(line.episode())
    seal = _seal(line.raw)
    assert seal is not None
    return sealed(line.raw[: seal.start()], 0)


def next_path(folder: Path, files: Iterable[Path]) -> Path:
    """A new file of records, numbered to come after all others."""
    number = 1 + max((int(path.stem) for path in files if path.stem.isdigit()), default=0)
    return folder / f"{number:04}.jsonl"


class BrokenLine(ValueError):
    """A line that is no sound record; says what is wrong."""


class Line(NamedTuple):
    """A line of a file, as far as it must be read to be counted."""

    path: Path
    number: int  # from 1
    offset: int
    raw: bytes  # without the line's end
    problem: str | None = None
    forgiven: bool = False  # broken, but by a write that was never told to be done
    place: int | None = None  # as its seal says, which was seen to hold; None: not sealed, or seen

    @property
    def id(self) -> str | None:
        """The id that a sound, sealed line begins with; None of others."""
        head = _HEAD.match(self.raw) if self.place is not None else None
        return None if head is None else head[1].decode()

    @property
    def where(self) -> str:
        """File and line, for errors."""
        return f"{self.path}, line {self.number}"

    def episode(self) -> Episode:
        """The record.

        Raises:
            BrokenLine: if it is none.
        """
        if self.place is None:
            _check_seal(self.raw)
        try:
            return _EPISODES.validate_json(self.raw)
        except ValidationError as error:
            raise BrokenLine(f"not an episode: {error.errors()[0]['msg']}") from error


def read_lines(path: Path) -> Iterator[Line]:
    """The lines of a file; what is broken says so, and whether that is forgiven."""
    held: list[Line] = []  # broken ones, until the lines after them tell why
    for line in _raw_lines(path):
        if line.problem is not None:
            held.append(line)
            continue
        if not held:
            yield line
            continue
        reach = line.number - (line.place or 0)  # the first line of the same write
        for broken in held:
            if broken.number < reach:
                yield broken
        held = [broken for broken in held if broken.number >= reach]
        yield line
    for broken in held:
        yield broken._replace(forgiven=True)


def _raw_lines(path: Path) -> Iterator[Line]:
    offset = 0
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                line = raw.removesuffix(b"\n")
                place, problem = _checked(line) if len(line) < len(raw) else (None, "cut short")
                yield Line(path, number, offset, line, problem, False, place)
                offset += len(raw)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error}") from error


def _checked(raw: bytes) -> tuple[int | None, str | None]:
    """The place that the seal of a sound line tells, and what is wrong with another."""
    try:
        place = _check_seal(raw)
        if place is None:
            _EPISODES.validate_json(raw)
    except ValidationError as error:
        return None, f"not an episode: {error.errors()[0]['msg']}"
    except BrokenLine as error:
        return None, str(error)
    return place, None


def _check_seal(raw: bytes) -> int | None:
    """The place that its seal tells; None of a line without one, as earlier versions wrote them.

    Raises:
        BrokenLine: if the seal does not hold.
    """
    seal = _seal(raw)
    if seal is None:
        return None
    if zlib.crc32(raw[: seal.end(1)]) != int(seal[2], 16):
        raise BrokenLine("not as it was written: its checksum differs")
    return int(seal[1])


def _seal(raw: bytes) -> re.Match[bytes] | None:
    return _SEAL.search(raw, max(0, len(raw) - _SEAL_BYTES))


class Index:
    """Where the record that counts is, for each episode: about 150 bytes an episode.

    The first scored record of a key counts, else its last one. One thread may add while others
    look up.
    """

    def __init__(self, paths: Iterable[Path] = ()) -> None:
        """Read the files.

        Raises:
            DataError: naming file and line of a record that is broken and not forgiven.
        """
        self._paths: list[Path] = []
        self._at: dict[int, int] = {}  # the key's id -> file, offset, and whether scored
        self._spent: dict[int, dict[str, RoleUsage]] = {}  # of those not scored
        for path in paths:
            file = self.file(path)
            for line in read_lines(path):
                if line.problem is None:
                    self._add_line(file, line)
                elif not line.forgiven:
                    raise DataError(f"{line.where}: {line.problem}")

    def __len__(self) -> int:
        return len(self._at)

    def __contains__(self, key: EpisodeKey) -> bool:
        return _number(key) in self._at

    def has(self, id_: int) -> bool:
        """Whether there is a record of the key whose id is this number."""
        return id_ in self._at

    @property
    def n_scored(self) -> int:
        """How many episodes have a score."""
        return len(self._at) - len(self._spent)

    def scored(self, key: EpisodeKey) -> bool:
        """Whether the episode has a score."""
        return self._is_scored(_number(key))

    def spent(self, key: EpisodeKey) -> dict[str, RoleUsage]:
        """Tokens by role that the episode has cost and has no score to show for."""
        sums: dict[str, RoleUsage] = {}
        add_usages(sums, self._spent.get(_number(key), {}))
        return sums

    # --- filling ----------------------------------------------------------------------------

    def file(self, path: Path) -> int:
        """A number for a file, to `add` by."""
        self._paths.append(path)
        return len(self._paths) - 1

    def add(self, file: int, offset: int, episode: Episode) -> None:
        """Take in a record that is at an offset of a file."""
        id_ = _number(episode.key)
        if self._is_scored(id_):
            return
        self._at[id_] = _at(file, offset, episode.scored)
        if episode.scored:
            self._spent.pop(id_, None)
        else:
            sums: dict[str, RoleUsage] = {}
            add_usages(sums, episode.tokens_lost)
            add_usages(sums, episode.tokens)
            self._spent[id_] = sums

    def _add_line(self, file: int, line: Line) -> None:
        head = _HEAD.match(line.raw) if line.place is not None else None
        if head is None or head[2] == b"infra_error":
            try:
                self.add(file, line.offset, line.episode())
            except BrokenLine as error:
                raise DataError(f"{line.where}: {error}") from error
            return
        id_ = int(head[1], 16)  # it is as it was written, so the rest need not be read
        if not self._is_scored(id_):
            self._at[id_] = _at(file, line.offset, True)
            self._spent.pop(id_, None)

    def _is_scored(self, id_: int) -> bool:
        return bool(self._at.get(id_, 0) & 1)

    # --- reading ----------------------------------------------------------------------------

    def counts(self, id_: str, file: int, offset: int) -> bool:
        """Whether this record is the one that counts of its key."""
        at = self._at.get(int(id_, 16), -1)
        return at >> 1 == _at(file, offset, False) >> 1

    def episodes(self, keys: Iterable[EpisodeKey] | None = None) -> Iterator[Episode]:
        """The records that count, one at a time.

        Args:
            keys: Which ones, in this order, those that are there; None: all, in the order written.

        Raises:
            DataError: if one cannot be read any more.
        """
        if keys is None:
            places: Iterable[int] = sorted(self._at.values())
        else:
            found = (self._at.get(_number(key)) for key in keys)
            places = (at for at in found if at is not None)
        files: dict[int, BinaryIO] = {}
        try:
            for at in places:
                yield self._read(files, *divmod(at >> 1, 1 << _OFFSET_BITS))
        finally:
            _close(files)

    def _read(self, files: dict[int, BinaryIO], file: int, offset: int) -> Episode:
        path = self._paths[file]
        try:
            if file not in files:
                if len(files) >= _MAX_OPEN:
                    _close(files)
                files[file] = path.open("rb")
            files[file].seek(offset)
            raw = files[file].readline()
            return Line(path, 0, offset, raw.removesuffix(b"\n")).episode()
        except OSError as error:
            raise DataError(f"cannot read {path}: {error}") from error
        except BrokenLine as error:
            raise DataError(f"{path}, byte {offset}: {error}") from error


def _close(files: dict[int, BinaryIO]) -> None:
    for file in files.values():
        file.close()
    files.clear()


def _number(key: EpisodeKey) -> int:
    return int(key.id, 16)


def _at(file: int, offset: int, scored: bool) -> int:
    """Both in one number, which takes less room than a tuple."""
    return (file << _OFFSET_BITS | offset) << 1 | scored
