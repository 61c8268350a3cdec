"""AgentBoard's 60 problems, in the user's copy of AgentBoard."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from ...harness.errors import DataError
from .dialects import read_foreign
from .games import domain
from .language import Problem, problem_text
from .strips import Core

# The games in AgentBoard's order, with the number of their problems and their folders.
SIZES: Mapping[str, int] = {"gripper": 20, "blocksworld": 10, "barman": 20, "tyreworld": 10}
_FOLDERS = {"blocksworld": ("blockworld", "blocksworld")}
_OWN_NAMES = {"blockworld": "blocksworld"}
MAX_BYTES = 2**20  # of a problem; the largest has 2 kB
_MAX_LABELS = 8 * 2**20
# Where the folders of the games and the labels may be, from the folder the user names.
_PLACES = ("", "pddl", "environment/pddl_env/pddlgym/pddl",
           "agentboard/environment/pddl_env/pddlgym/pddl")  # fmt: skip
_LABELS = ("test.jsonl", "pddl/test.jsonl", "data/pddl/test.jsonl")
_WORD = re.compile(r"[a-z]{1,20}")
HOW = (
    "agemem-eval data get agentboard-pddl, or pass as --data a copy of "
    "github.com/hkust-nlp/AgentBoard, or the folder with its folders gripper, blockworld, barman "
    "and tyreworld"
)


class _File(NamedTuple):
    """Where a problem is, and its number among those of its game in the order of their files."""

    path: Path
    game: str
    number: int


@dataclass(frozen=True)
class AgentBoard:
    """The problems under a folder.

    Attributes:
        root: the folder that the user named.
        allow_short: whether fewer problems than there are will do.
    """

    root: Path
    allow_short: bool = False

    @cached_property
    def files(self) -> dict[str, _File]:
        """The file of each problem by its id, such as `gripper/prob01`, games in turn.

        Raises:
            DataError: no such folder, or another number of problems.
        """
        if not self.root.is_dir():
            raise DataError(f"{self.root}: no such folder; {HOW}")
        found = {game: self._files_of(game) for game in SIZES}
        total, expected = sum(map(len, found.values())), sum(SIZES.values())
        exact = all(len(files) == SIZES[game] for game, files in found.items())
        fewer = all(len(files) <= SIZES[game] for game, files in found.items())
        if not exact and not (self.allow_short and fewer and total):
            counts = ", ".join(f"{game} {len(f)} of {SIZES[game]}" for game, f in found.items())
            hint = "or accept fewer with --allow-short" if fewer else "remove what is too much"
            raise DataError(
                f"{self.root}: found {total} of AgentBoard's {expected} problems ({counts}); "
                f"{HOW}; {hint}"
            )
        # Spread evenly, so that the first few are of every game.
        spread = sorted(
            ((number + 0.5) / SIZES[game], place, number, game)
            for place, game in enumerate(SIZES)
            for number in range(len(found[game]))
        )
        return {
            f"{game}/{found[game][number].stem}": _File(found[game][number], game, number)
            for _, _, number, game in spread
        }

    def problem(self, name: str) -> Problem:
        """The problem with an id.

        Raises:
            DataError: there is none, the file is no problem of its game, or there is nothing to do.
        """
        if name not in self.files:
            raise DataError(f"{self.root}: AgentBoard has no problem {name[:80]!r}")
        file = self.files[name]
        text = _read(file.path, MAX_BYTES, self.root)
        problem = read_foreign(text, str(file.path), file.game)
        true = set(problem.init)
        if all((literal.fact in true) is literal.positive for literal in problem.goal):
            raise DataError(f"{file.path}: the goal holds at the start")
        return problem

    @cached_property
    def problems(self) -> dict[str, Problem]:
        """The problems by id.

        A goal that can be had in parts but not as a whole may pass: it is not looked for.

        Raises:
            DataError: see `problem`; or a goal asks for a literal that nothing can bring about.
        """
        problems = {name: self.problem(name) for name in self.files}
        for problem in problems.values():
            unreachable = Core(domain(problem.domain), problem).out_of_reach()
            if unreachable is not None:
                shown = " ".join(unreachable.fact)
                raise DataError(f"{problem.source}: no actions can bring about ({shown})")
        return problems

    @cached_property
    def difficulty(self) -> dict[str, str]:
        """AgentBoard's own word for how hard a problem is, by id; empty without its labels.

        A record says which problem it is about in `game_name` and `problem_index`; records that
        do not stand in AgentBoard's order. Neither says anything of a game of which problems are
        missing, since it is not known which.

        Raises:
            DataError: labels that cannot be read, or that are not of these problems.
        """
        # Even a link that leads nowhere: labels that cannot be read are not the same as none.
        path = next((p for p in map(self.root.joinpath, _LABELS) if os.path.lexists(p)), None)
        if path is None:
            return {}
        present = Counter(file.game for file in self.files.values())
        labels = _labels(path, self.root, present == Counter(SIZES))
        return {
            name: labels[file.game, file.number]
            for name, file in self.files.items()
            if (file.game, file.number) in labels and present[file.game] == SIZES[file.game]
        }

    def hash(self) -> str:
        """A hash of the problems as read, and their difficulties."""
        total = hashlib.sha256()
        for name, problem in self.problems.items():
            total.update(f"{name}\0{self.difficulty.get(name, '')}\0".encode())
            total.update(problem_text(problem).encode())
        return total.hexdigest()[:16]

    def _files_of(self, game: str) -> list[Path]:
        for place in _PLACES:
            for folder in _FOLDERS.get(game, (game,)):
                found = sorted((self.root / place / folder).glob("*.pddl"))
                found = [file for file in found if file.stem != "domain"]
                if found:
                    return found
        return []


def _labels(path: Path, root: Path, complete: bool) -> dict[tuple[str, int], str]:
    """The difficulty of each problem, by its place, that a file of labels tells.

    Args:
        path: the file.
        root: the folder that it must be in.
        complete: whether all problems are there; records that name none say nothing otherwise.

    Raises:
        DataError: records that name no problem or one twice, or that are not one for each.
    """
    order = [(game, place) for game, size in SIZES.items() for place in range(size)]
    records = list(_records(path, root))
    if not records:
        raise DataError(f"{path}: holds no record")
    unnamed = [number for number, _, stated in records if stated is None]
    if unnamed and len(unnamed) < len(records):
        raise DataError(f"{path}: record {unnamed[0]} names no problem, but other records do")
    if unnamed and not complete:
        return {}
    if unnamed and len(records) != len(order):
        raise DataError(
            f"{path}: record {unnamed[-1]} is the last of {len(records)} that name no problem, "
            f"not of {len(order)}"
        )
    if unnamed:
        return {place: hard for place, (_, hard, _) in zip(order, records, strict=True)}
    labels: dict[tuple[str, int], str] = {}
    for number, hard, stated in records:
        if stated not in order:
            raise DataError(
                f"{path}: record {number}: AgentBoard has no problem {str(stated)[:80]}"
            )
        if stated in labels:
            raise DataError(f"{path}: record {number}: the problem {stated} comes twice")
        labels[stated] = hard
    return labels


def _records(path: Path, root: Path) -> Iterator[tuple[int, str, tuple[str, int] | None]]:
    """The number of each record, its difficulty and the place of the problem it names, if any."""
    for number, line in enumerate(_read(path, _MAX_LABELS, root).splitlines(), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}: record {number} is not JSON: {error}") from error
        if not isinstance(record, dict):
            raise DataError(f"{path}: record {number} is not an object")
        further = record.get("additional_info")
        known = {**further, **record} if isinstance(further, dict) else record
        hard, game, index = (known.get(key) for key in ("difficulty", "game_name", "problem_index"))
        if not isinstance(hard, str) or not _WORD.fullmatch(hard):
            raise DataError(f"{path}: record {number} has no 'difficulty' of one word")
        if (game, index) != (None, None) and not (isinstance(game, str) and type(index) is int):
            raise DataError(f"{path}: record {number} has a wrong 'game_name' or 'problem_index'")
        if isinstance(game, str) and isinstance(index, int):
            yield number, hard, (_OWN_NAMES.get(game, game), index)
        else:
            yield number, hard, None


def _read(path: Path, limit: int, root: Path) -> str:
    try:
        inside = path.resolve(strict=True).is_relative_to(root.resolve())
    except (OSError, RuntimeError) as error:  # the second for links in a circle
        raise DataError(f"{path}: cannot be found: {error}") from error
    if not inside:
        raise DataError(f"{path}: leads out of the data folder")
    if not path.is_file():  # to open a pipe may take for ever
        raise DataError(f"{path}: not a plain file")
    try:
        with path.open("rb") as stream:
            content = stream.read(limit + 1)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(content) > limit:
        raise DataError(f"{path}: more than {limit} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not text in UTF-8 (byte {error.start})") from error
