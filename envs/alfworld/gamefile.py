"""Reading ALFWorld's game files (`game.tw-pddl`) as data, never as code.

A game file carries its own domain and text grammar, and the reference engine evaluates the grammar
as Python. So both must be ones we know, by hash; everything else in the file is plain data.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...harness.errors import DataError
from .game import Game
from .problem import parse_problem

MAX_BYTES = 8 * 2**20  # official files have about 130 kB
MAX_TASK = 500  # characters

# SHA-256 of the known domains: of the official games (json_2.1.1, the revision with
# `move … to …`) and of alfworld 0.4.2. They differ in SinkType, which no receptacle has.
_DOMAINS = frozenset(
    {
        "0af55e7f92d12b09d28515aa730e4d03fddd17228ef1fd7b18a3ee8ba49b27b9",
        "f1473041ed01da514de1f87adfd7ef0804862361f83ccf63c75e43633b0eb280",
    }
)
# SHA-256 of the known grammars, likewise, with an empty task.
_GRAMMARS = frozenset(
    {
        "10da93e13b58e1a6039723f5d4a59ceae7c60772515bfab9fc603bafa7f8ee06",
        "c294eb280206a4428664cdb4e2037e267e86de5b7fa862212718a961513a7de4",
    }
)
_TASK = re.compile(r'("rhs": "Your task is to: )([^"\n]*)(")')
# Characters with a meaning in a grammar; a task with one could be expanded or evaluated there.
_ACTIVE = re.compile(r'[#{}\[\]|;<>"\\\x00-\x1f\x7f-\x9f]')


@dataclass(frozen=True, slots=True)
class GameText:
    """A game as text: what a game file holds, or a generator makes.

    Attributes:
        source: the file, or another name for error messages.
        problem: the PDDL problem.
        task: the task in words, such as `put a mug in desk.`
        walkthrough: commands that win, empty if unknown.
        solvable: False where the file says that nobody can win.
        domain: PDDL domain of the file; None for the installed package's.
        grammar: text grammar of the file; None for the installed package's.
    """

    source: str
    problem: str
    task: str
    walkthrough: tuple[str, ...] = ()
    solvable: bool = True
    domain: str | None = field(default=None, repr=False)
    grammar: str | None = field(default=None, repr=False)

    def compile(self) -> Game:
        """The game, playable by the native engine.

        Raises:
            DataError: a problem or task that cannot be played.
        """
        _check_task(self.task, self.source)
        return Game(parse_problem(self.problem, self.source), self.task, self.walkthrough)


def load_game(path: str | Path, *, ignore_grammar: bool = False) -> Game:
    """Read and compile a game file; see `read_game`."""
    return read_game(path, ignore_grammar=ignore_grammar).compile()


def read_game(path: str | Path, *, ignore_grammar: bool = False) -> GameText:
    """Read a game file.

    Args:
        path: a `game.tw-pddl`.
        ignore_grammar: take problem, task and walkthrough from a file whose domain or grammar is
            not known, and play them by ALFWorld's own.

    Raises:
        DataError: not such a file, or one with an unknown domain or grammar; names the file.
    """
    source = str(path)
    data = _read_json(Path(path))
    texts = {key: data.get(key) for key in ("pddl_domain", "grammar", "pddl_problem")}
    for key, value in texts.items():
        if not isinstance(value, str):
            raise DataError(f"{source}: not a game file: {key!r} is {_kind(value)}, not text")
    walkthrough = data.get("walkthrough") or []
    if not isinstance(walkthrough, list) or not all(isinstance(c, str) for c in walkthrough):
        raise DataError(f"{source}: not a game file: 'walkthrough' is not a list of commands")
    solvable = data.get("solvable", True)
    if not isinstance(solvable, bool):
        raise DataError(f"{source}: not a game file: 'solvable' is {_kind(solvable)}, not a bool")
    domain, grammar = str(texts["pddl_domain"]), str(texts["grammar"])
    tasks = _TASK.findall(grammar)
    if len(tasks) != 1:
        raise DataError(f"{source}: its grammar holds {len(tasks)} tasks instead of one")
    task: str = tasks[0][1]
    _check_task(task, source)
    if not ignore_grammar:
        check_rules(domain, grammar, source)
    return GameText(
        source=source,
        problem=str(texts["pddl_problem"]),
        task=task,
        walkthrough=tuple(walkthrough),
        solvable=solvable,
        domain=None if ignore_grammar else domain,
        grammar=None if ignore_grammar else grammar,
    )


def _check_task(task: str, source: str) -> None:
    """Refuse a task text that a grammar would not take literally.

    Raises:
        DataError: an active character, blanks around it, or too long.
    """
    active = _ACTIVE.search(task)
    if active:
        raise DataError(
            f"{source}: the task text holds {active.group()!r}, which is not plain text"
        )
    if not 0 < len(task) <= MAX_TASK or task != task.strip():
        raise DataError(f"{source}: the task text is empty, padded or over {MAX_TASK} characters")


def check_rules(domain: str, grammar: str, source: str) -> None:
    """Refuse a domain or grammar that is not one of ALFWorld's known ones.

    Raises:
        DataError: an unknown domain or grammar.
    """
    for what, text, known in (
        ("domain", domain, _DOMAINS),
        ("grammar", with_task(grammar, ""), _GRAMMARS),
    ):
        if hashlib.sha256(text.encode("utf-8", "replace")).hexdigest() not in known:
            raise DataError(
                f"{source}: its {what} is not a known one of ALFWorld, so it is not played; "
                "ignore_grammar=True takes only problem, task and walkthrough from it"
            )


def with_task(grammar: str, task: str) -> str:
    """A grammar with its task text replaced."""
    return _TASK.sub(lambda match: match[1] + task + match[3], grammar)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        # The size is checked first: a file of any length must cost nothing.
        if not path.is_file():
            raise DataError(f"{path}: no such game file")
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise DataError(f"{path}: not a game file: {size} bytes, more than {MAX_BYTES}")
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        data = json.loads(raw.decode("utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a game file: no UTF-8 text at byte {error.start}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a game file: no valid JSON ({str(error)[:100]})") from error
    if not isinstance(data, dict):
        raise DataError(f"{path}: not a game file: {_kind(data)} instead of an object")
    return data


def _kind(value: object) -> str:
    return "missing" if value is None else f"a {type(value).__name__}"
