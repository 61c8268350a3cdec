"""Questions in files: official JSON, JSON lines, and folders of the library `datasets`.

A file is read once from front to back to list its questions; after that a question is read from
its own place in the file, so neither the listing process nor a worker ever holds a file whole.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeGuard

from ...harness.datasets import how_to_get, installed
from ...harness.errors import DataError, MissingExtraError
from ...harness.types import Json
from ..common import data_path
from .records import Question, RecordError, read_record

SIZES: Mapping[str, int] = {"dev": 7405, "train": 90447}
MAX_RECORD = 4_000_000  # characters or bytes of one record; the largest real one has 50,000
_CHUNK = 1 << 20
_NAMES = {
    "dev": ("hotpot_dev_distractor_v1.json", "hotpot_dev_distractor_v1.jsonl"),
    "train": ("hotpot_train_v1.1.json", "hotpot_train_v1.1.jsonl", "hotpot_train_v1.json"),
}
_HUB_NAMES = {"dev": "validation", "train": "train"}  # the splits' names on the Hugging Face hub
_SETS = {"dev": "hotpotqa-dev", "train": "hotpotqa-train"}  # in the catalogue of data sets


class Source(Protocol):
    """Where the questions of a split are."""

    path: Path

    def questions(self) -> Iterator[tuple[Question, Json]]:
        """Each question, and the place from which `read` gets it again.

        Raises:
            DataError: naming the file, the number of the record, and what is wrong with it.
        """
        ...

    def read(self, place: Json) -> Question:
        """The question at a place.

        Raises:
            DataError: there is no question there.
        """
        ...


def open_source(data: str | None, split: str) -> Source:
    """The source of a split: `dev`, `train`, or `file`, which is whatever the data hold.

    Args:
        data: a file or folder; None or empty for the data set got with `agemem-eval data get`.
        split: which.

    Raises:
        DataError: no data, or data in which the split is not found.
        MissingExtraError: data that need the library `datasets`, where it is not installed.
    """
    path = _place(data, split)
    if path.is_file():
        return HubFiles([path]) if path.suffix == ".parquet" else JsonFile(path)
    if not path.is_dir():
        raise DataError(f"{path}: no such file or folder; {_how(split)}")
    if (path / "dataset_dict.json").is_file():
        return HubFolder(_hub_split(path, split))
    if (path / "dataset_info.json").is_file() and (path / "state.json").is_file():
        return HubFolder(path)
    return _in_folder(path, split)


def _place(data: str | None, split: str) -> Path:
    if data:
        return data_path(data)
    found = installed(_SETS[split]) if split in _SETS else None
    if found is None:
        raise DataError(f"the split {split} needs HotpotQA's questions: {_how(split)}")
    return found


def _how(split: str) -> str:
    return how_to_get(_SETS[split]) if split in _SETS else "pass a file of questions as --data"


def _hub_split(path: Path, split: str) -> Path:
    parts = sorted(part.name for part in path.iterdir() if (part / "state.json").is_file())
    wanted = [_HUB_NAMES[split]] if split in _HUB_NAMES else parts
    if len(wanted) != 1 or wanted[0] not in parts:
        raise DataError(
            f"{path}: no data for the split {split}, only for {', '.join(parts) or 'nothing'}; "
            "pass the folder of one of them as --data, with the split `file`"
        )
    return path / wanted[0]


def _in_folder(path: Path, split: str) -> Source:
    if split in _NAMES:
        for name in _NAMES[split]:
            if (path / name).is_file():
                return JsonFile(path / name)
        for folder in (path, path / "distractor"):
            if parts := sorted(folder.glob(f"{_HUB_NAMES[split]}-*.parquet")):
                return HubFiles(parts)
        raise DataError(f"{path}: holds none of {', '.join(_NAMES[split])}; {_how(split)}")
    files = sorted(f for f in path.iterdir() if f.suffix in (".json", ".jsonl", ".parquet"))
    if len(files) != 1:
        raise DataError(f"{path}: holds {len(files)} data files; name the one to use as --data")
    return open_source(str(files[0]), split)


class JsonFile:
    """A file that holds one array of records, or records one after the other (JSON lines)."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def questions(self) -> Iterator[tuple[Question, Json]]:
        """See `Source.questions`."""
        number, seen = 0, set[str]()
        try:
            with self.path.open("rb") as stream:
                for number, (record, offset, length) in enumerate(_records(stream), 1):  # noqa: B007
                    question = read_record(record)
                    _check_new(question.id, seen)
                    yield question, {"offset": offset, "bytes": length}
        except _ReadError as error:
            raise DataError(f"{self.path}: {error}") from error
        except RecordError as error:
            raise DataError(f"{self.path}: record {number}: {error}") from error
        except OSError as error:
            raise _unreadable(self.path, error) from error

    def read(self, place: Json) -> Question:
        """See `Source.read`."""
        offset, length = place.get("offset"), place.get("bytes")
        if not _is_count(offset) or not _is_count(length) or length > 4 * MAX_RECORD:
            raise DataError("the task does not say where its question is: 'offset' and 'bytes'")
        try:
            with self.path.open("rb") as stream:
                stream.seek(offset)
                return read_record(_DECODER.decode(stream.read(length).decode()))
        except OSError as error:
            raise _unreadable(self.path, error) from error
        except (ValueError, RecursionError) as error:
            raise DataError(f"{self.path}: no question at byte {offset}: {error}") from error


class HubFolder:
    """A folder that `Dataset.save_to_disk` wrote."""

    def __init__(self, path: Path) -> None:
        _require_datasets()
        self.path = path
        self._loaded: Any = None

    def questions(self) -> Iterator[tuple[Question, Json]]:
        """See `Source.questions`."""
        seen = set[str]()
        for row in range(len(self._rows())):
            question = self._question(row)
            try:
                _check_new(question.id, seen)
            except RecordError as error:
                raise DataError(f"{self.path}: record {row + 1}: {error}") from error
            yield question, {"row": row}

    def read(self, place: Json) -> Question:
        """See `Source.read`."""
        row = place.get("row")
        if not _is_count(row) or row >= len(self._rows()):
            raise DataError(f"{self.path}: the task's 'row' is not in the data")
        return self._question(row)

    def _question(self, row: int) -> Question:
        try:
            return read_record(self._rows()[row])
        except RecordError as error:
            raise DataError(f"{self.path}: record {row + 1}: {error}") from error

    def _rows(self) -> Any:
        if self._loaded is None:
            try:
                self._loaded = self._load()
            except Exception as error:  # the library raises what its parts raise
                what = str(error).splitlines()[0] if str(error) else type(error).__name__
                raise DataError(f"{self.path}: `datasets` cannot read it: {what}") from error
        return self._loaded

    def _load(self) -> Any:
        import datasets  # slow to import, and part of an extra

        return datasets.load_from_disk(str(self.path))


class HubFiles(HubFolder):
    """The Parquet files of one split, as the Hugging Face hub has them."""

    def __init__(self, files: list[Path]) -> None:
        super().__init__(files[0] if len(files) == 1 else files[0].parent)
        self._files = [str(file) for file in files]

    def _load(self) -> Any:
        import datasets

        datasets.disable_progress_bars()
        return datasets.load_dataset("parquet", data_files=self._files, split="train")


# --- records in a stream --------------------------------------------------------------------


class _ReadError(Exception):
    """The file is not what it should be; the message names the record."""


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


# What is said of a string that has no end; its place is where the string begins.
_UNFINISHED = "Unterminated string"
_TOKEN = 8  # characters of a word or an escape, of which the end may be missing


class _Window:
    """The part of a text file around the place that is read, which moves forward only."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._text = ""
        self._at = 0  # characters of the text that are done with
        self.byte = 0  # where in the file that is
        self.ended = False
        self._broken: UnicodeDecodeError | None = None

    def more(self) -> bool:
        """Read on; False at the end of the file.

        Raises:
            UnicodeDecodeError: what comes next is not UTF-8; all before it has been given.
        """
        if self._broken is not None:
            raise self._broken
        if self.ended:
            return False
        data = self._stream.read(_CHUNK)
        self.ended = not data
        try:
            text = self._decoder.decode(data, self.ended)
        except UnicodeDecodeError as error:
            self._broken = error
            text = error.object[: error.start].decode()
        self._text = self._text[self._at :] + text
        self._at = 0
        return True

    def peek(self) -> str:
        """The next character that is not blank; empty at the end of the file."""
        while True:
            rest = self._text[self._at : self._at + 1]
            if rest and not rest.isspace() and rest != "\ufeff":
                return rest
            if rest:
                self.skip(1)
            elif not self.more():
                return ""

    def skip(self, count: int) -> int:
        """Be done with so many characters; returns the bytes they have in the file."""
        length = len(self._text[self._at : self._at + count].encode())
        self._at += count
        self.byte += length
        return length

    def value(self) -> tuple[object, int]:
        """The JSON value that begins here, and its length in bytes."""
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except (ValueError, RecursionError) as error:
                if (what := self._explained(error)) is not None:
                    raise ValueError(what) from error
                # Perhaps only the end of the record is not in the window yet.
                if len(self._text) - self._at > MAX_RECORD:
                    what = f"not JSON, or more than {MAX_RECORD} characters"
                    raise ValueError(what) from error
                if not self.more():
                    raise ValueError("cut short") from error
            else:
                return value, self.skip(end - self._at)

    def _explained(self, error: Exception) -> str | None:
        """What is wrong with a value; None where only its end may be missing."""
        if isinstance(error, RecursionError):
            return "not JSON: nested too deeply"
        if not isinstance(error, json.JSONDecodeError):
            return str(error)
        if error.msg.startswith(_UNFINISHED) or len(self._text) - error.pos < _TOKEN:
            return None
        return f"not JSON: {error.msg.lower()} (at its character {error.pos - self._at + 1})"


def _records(stream: BinaryIO) -> Iterator[tuple[object, int, int]]:
    """Each record with its place in the stream: offset and length in bytes."""
    window, number = _Window(stream), 1
    try:
        in_array = window.peek() == "["
        if in_array:
            window.skip(1)
        while (following := window.peek()) not in ("", "]"):
            if following != "{":
                raise ValueError(f"an object is expected, there is {following!r}")
            offset = window.byte
            value, length = window.value()
            yield value, offset, length
            number += 1
            if in_array and window.peek() == ",":
                window.skip(1)
                if window.peek() in ("", "]"):
                    raise ValueError("cut short after a comma")
            elif in_array and window.peek() == "{":
                raise ValueError("no comma before it")
        if in_array and not following:
            raise ValueError("cut short")
        window.skip(len(following))
        if (following and not in_array) or window.peek():
            raise ValueError("text after the end of the data")
    except (ValueError, RecursionError) as error:
        what = "not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        raise _ReadError(f"record {number}: {what}") from error


def _check_new(name: str, seen: set[str]) -> None:
    if name in seen:
        raise RecordError(f"the id {name!r} has been used before")
    seen.add(name)


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"{path}: cannot be read: {error.strerror or error}")


def _require_datasets() -> None:
    if find_spec("datasets") is None:
        raise MissingExtraError("the library that reads this folder (datasets)", "datasets")
