"""Generated problems: four domains in three sizes, from a seed.

Each problem has a fingerprint that does not depend on the names of its objects. The fingerprint's
checksum decides whether a problem is for testing or for training, and within a split no
fingerprint comes twice. So no test problem is ever trained on, not even under other names. The
same split and index give the same bytes on every machine and version of Python.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from random import Random
from string import digits

from ...harness.errors import UsageError, unknown_name
from ..pddl_text import Fact
from .game import SIZES as PROBLEM_SIZES
from .game import Draft
from .games import GAMES, domain
from .language import Problem, check, problem_text, substitute
from .world import World, plan

VERSION = "1"  # changes whenever the bytes of any problem do
SIZES: Mapping[str, int] = {"generated": 120, "generated-train": 1200}
TEST_SHARE = 5  # one fingerprint in so many is for testing
MAX_DRAWS = 1000  # tries for one problem
_ROUNDS = 3  # of the fingerprint


@dataclass(frozen=True, slots=True)
class Entry:
    """One problem of a split.

    Attributes:
        index: its place in the split.
        draw: which of the problems drawn for the place it is.
        steps: the length of the expert's plan.
    """

    index: int
    draw: int
    steps: int


def setting(index: int) -> tuple[str, str]:
    """The domain and the size at a place of a split; both change from place to place."""
    names = tuple(GAMES)
    column, row = index % len(names), index // len(names)
    return names[column], PROBLEM_SIZES[(row + column) % len(PROBLEM_SIZES)]


def task_type(index: int) -> str:
    """The type of the problem at a place of a split, such as `gripper-easy`."""
    return "-".join(setting(index))


def task_id(split: str, index: int) -> str:
    """The id of a problem."""
    return f"{split}/{task_type(index)}/{index:04d}"


def generate(split: str, index: int, draw: int) -> Problem:
    """A problem drawn for a place of a split.

    Raises:
        UsageError: an unknown split, or a place or draw outside it.
    """
    _require(split)
    if not 0 <= index < SIZES[split] or not 0 <= draw < MAX_DRAWS:
        raise UsageError(
            f"split {split!r} has the problems 0 to {SIZES[split] - 1} and the draws 0 to "
            f"{MAX_DRAWS - 1}, not {index} and {draw}"
        )
    name, _ = setting(index)
    draft = _draw(split, index, draw)
    problem = Problem(
        name=task_id(split, index).replace("/", "-"),
        domain=name,
        objects=draft.objects,
        init=draft.init,
        goal=draft.literals(),
        source=task_id(split, index),
    )
    return check(problem, domain(name))


def renamed(problem: Problem, number: int) -> Problem:
    """A problem in which objects have exchanged their names.

    Those do whose names differ in a number alone: `b1` and `b4`, not `jack` and `pump`.

    Args:
        problem: Checked.
        number: Of the exchange; each has another. 0: none, the problem as it is.
    """
    if not number:
        return problem
    draws = Random(f"pddl names {number} {problem.source}")
    alike: dict[tuple[str, str], list[str]] = {}
    for name, kind in problem.objects.items():
        if (stem := name.rstrip(digits)) != name:
            alike.setdefault((kind, stem), []).append(name)
    new = {
        o: n
        for old in alike.values()
        for o, n in zip(old, draws.sample(old, len(old)), strict=True)
    }
    return replace(
        problem,
        init=tuple(substitute(fact, new) for fact in problem.init),
        goal=tuple(replace(one, fact=substitute(one.fact, new)) for one in problem.goal),
    )


@cache
def catalogue(split: str) -> tuple[Entry, ...]:
    """The problems of a split, all different and all solved by the expert.

    Raises:
        UsageError: an unknown split.
    """
    _require(split)
    seen: set[str] = set()
    return tuple(_find(split, index, seen) for index in range(SIZES[split]))


@cache
def split_hash(split: str) -> str:
    """A hash of all problems of a split."""
    total = hashlib.sha256(VERSION.encode())
    for entry in catalogue(split):
        total.update(problem_text(generate(split, entry.index, entry.draw)).encode())
    return total.hexdigest()[:16]


def for_testing(fingerprint_: str) -> bool:
    """Whether problems with this fingerprint are for testing."""
    return zlib.crc32(fingerprint_.encode()) % TEST_SHARE == 0


def fingerprint(name: str, draft: Draft) -> str:
    """A hash of a problem of a domain that does not depend on the names of its objects.

    Objects are coloured by the facts they take part in, then by the colours of their neighbours
    there, and so on. Problems that are the same but for names always have the same fingerprint.
    """
    facts = [("init", fact) for fact in draft.init] + [("goal", fact) for fact in draft.goal]
    colours = dict(draft.objects)
    for _ in range(_ROUNDS):
        views: dict[str, list[str]] = {name_: [] for name_ in colours}
        for part, fact in facts:
            coloured = _coloured(part, fact, colours)
            for slot, arg in enumerate(fact[1:]):
                views[arg].append(f"{slot} {coloured}")
        colours = {
            name_: _hash(f"{colour} {sorted(views[name_])}") for name_, colour in colours.items()
        }
    whole = sorted(_coloured(part, fact, colours) for part, fact in facts)
    return _hash(f"{name} {sorted(colours.values())} {whole}")


def _coloured(part: str, fact: Fact, colours: Mapping[str, str]) -> str:
    return " ".join((part, fact[0], *(colours[arg] for arg in fact[1:])))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _find(split: str, index: int, seen: set[str]) -> Entry:
    name, _ = setting(index)
    for draw in range(MAX_DRAWS):
        draft = _draw(split, index, draw)
        mark = fingerprint(name, draft)
        if mark in seen or for_testing(mark) is not (split == "generated"):
            continue
        world = World(domain(name), draft.objects, draft.init, draft.literals())
        steps = plan(world, GAMES[name].solve)
        if steps:  # neither beyond the expert nor solved from the start
            seen.add(mark)
            return Entry(index, draw, len(steps))
    raise AssertionError(f"no problem for place {index} of {split}")


def _draw(split: str, index: int, draw: int) -> Draft:
    name, size = setting(index)
    return GAMES[name].draw(Random(f"pddl {VERSION} {split} {index} {draw}"), size)


def _require(split: str) -> None:
    if split not in SIZES:
        raise unknown_name("generated split", split, SIZES)
