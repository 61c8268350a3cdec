"""The official ALFWorld games on disk: which there are, in a fixed order, and their hash."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from ...harness.datasets import installed
from ...harness.errors import DataError
from ..common import data_path
from .gamefile import MAX_BYTES
from .generator import TASK_TYPES

FOLDER = "json_2.1.1"
GAME_FILE = "game.tw-pddl"
# The number of games ALFWorld plays in each split.
SIZES: Mapping[str, int] = {
    "train": 3553, "valid_train": 200, "valid_seen": 140, "valid_unseen": 134
}  # fmt: skip
_HOW = (
    f"agemem-eval data get alfworld, or pass the folder that holds {FOLDER} as --data or in "
    "ALFWORLD_DATA"
)
# ALFWorld does not play what its planner could not solve, nor tasks of slicing. A quote inside a
# JSON string is escaped, so this can only be the key.
_SOLVABLE = re.compile(rb'"solvable"\s*:\s*true\b')


@dataclass(frozen=True)
class OfficialSplit:
    """One split of the official games under a data folder."""

    folder: Path
    name: str
    allow_short: bool = False

    def game_path(self, relative: str) -> Path:
        """The game file of a task, given as `<directory>/<trial>`.

        Raises:
            DataError: a path that leaves the data folder, or no such game.
        """
        path = PurePosixPath(relative)
        file = self.folder.joinpath(*path.parts, GAME_FILE)
        plain = len(path.parts) == 2 and not {"/", ".."} & {*path.parts} and "\0" not in relative
        if not plain or not file.resolve().is_relative_to(self.folder.resolve()):
            raise DataError(f"{relative!r} is not a path inside the split {self.name}")
        if not file.is_file():
            raise DataError(f"{file}: no such game; {_HOW}")
        return file

    @cached_property
    def games(self) -> dict[str, bytes]:
        """The SHA-256 of each game file by its task, `<directory>/<trial>`, sorted.

        Raises:
            DataError: no data, another number of games than the split has, or a file that
                cannot be a game.
        """
        if not self.folder.is_dir():
            raise DataError(f"{self.folder}: no such folder; {_HOW}")
        hashes = {}
        for file in self.folder.glob(f"*/*/{GAME_FILE}"):
            task = file.parent.relative_to(self.folder).as_posix()
            if task_type(task) in TASK_TYPES and "Sliced" not in task:
                content = _read(file)
                if _SOLVABLE.search(content):
                    hashes[task] = hashlib.sha256(content).digest()
        self._check_count(len(hashes))
        return dict(sorted(hashes.items()))

    def _check_count(self, found: int) -> None:
        expected = SIZES[self.name]
        if found == expected or (self.allow_short and 0 < found < expected):
            return
        if found > expected:
            hint = "the folder holds games that are not ALFWorld's; remove them"
        elif found == 0:
            hint = _HOW
        else:
            hint = "complete the data, or accept the short split with --allow-short"
        raise DataError(
            f"{self.folder}: found {found} of the {expected} games of {self.name}; {hint}"
        )

    def hash(self) -> str:
        """A hash of the games' names and contents."""
        total = hashlib.sha256()
        for task, digest in self.games.items():
            total.update(task.encode() + b"\0" + digest)
        return total.hexdigest()[:16]


def open_split(data: str | None, name: str, *, allow_short: bool) -> OfficialSplit:
    """A split under a data folder.

    Args:
        data: the folder that holds `json_2.1.1`, or that folder itself; None or empty for
            $ALFWORLD_DATA, or else what `agemem-eval data get alfworld` brought.
        name: of the split.
        allow_short: whether fewer games than the split has are accepted.

    Raises:
        DataError: no folder is named, or it is not there.
    """
    place = data or os.environ.get("ALFWORLD_DATA")
    root = data_path(place) if place else installed("alfworld")
    if root is None:
        raise DataError(f"the split {name} needs the official ALFWorld games: {_HOW}")
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; {_HOW}")
    inner = root / FOLDER
    return OfficialSplit((inner if inner.is_dir() else root) / name, name, allow_short)


def task_type(task: str) -> str:
    """The task type of a game, from its directory name."""
    return task.partition("-")[0]


def scene(task: str) -> str:
    """The number of a game's room in AI2-THOR, from its directory name."""
    return task.partition("/")[0].rpartition("-")[2]


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror or error}") from error
    if len(content) > MAX_BYTES:
        raise DataError(f"{file}: not a game file: more than {MAX_BYTES} bytes")
    return content
