"""Problem files of others, read into our four domains.

The International Planning Competition and pddlgym (which AgentBoard uses) write the same domains
in several ways. Read here are:

- types given as types, or as facts such as `(room rooma)`; untyped blocks;
- other names of predicates: `ontable`, `handempty` (blocksworld), `open` (tyreworld);
- pddlgym's robot (`(handempty robot)`), which is left out, and its list of actions in `:init`,
  such as `(pick-up a)`, which is passed over;
- costs and metrics, which are passed over, and any name of the domain.

Everything else that our domains do not know is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from ...harness.errors import DataError
from ..pddl_text import UNIVERSAL_TYPE, Fact
from .games import domain
from .language import Domain, Literal, Problem, check, read_problem


@dataclass(frozen=True, slots=True)
class Dialect:
    """How others write a domain.

    Attributes:
        kinds: types that may be stated as facts.
        untyped: the type of objects without one; empty: they need a fact.
        predicates: our names for other names of predicates.
        actors: types of objects that are left out.
        ignored: facts that are passed over.
    """

    kinds: tuple[str, ...] = ()
    untyped: str = ""
    predicates: Mapping[str, str] = field(default_factory=dict)
    actors: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


_DIALECTS: Mapping[str, Dialect] = {
    "gripper": Dialect(kinds=("room", "ball", "gripper")),
    "blocksworld": Dialect(
        kinds=("block",),
        untyped="block",
        predicates={"ontable": "on-table", "handempty": "arm-empty"},
        actors=("robot",),
        ignored=("handfull",),
    ),
    "barman": Dialect(),
    "tyreworld": Dialect(
        kinds=("tool", "wheel", "nut", "container", "hub"), predicates={"open": "isopen"}
    ),
}


def read_foreign(text: str, source: str, name: str) -> Problem:
    """Read a problem of anybody's making as one of our domain `name`.

    Raises:
        DataError: what cannot be so read, naming `source`.
    """
    ours, dialect = domain(name), _DIALECTS[name]
    problem = read_problem(text, source)
    objects = dict(_typed(problem, dialect, ours))

    def ours_of(facts: Iterable[Fact]) -> tuple[Fact, ...]:
        translated = (_translated(fact, problem, dialect) for fact in facts)
        return tuple(dict.fromkeys(f for f in translated if not _is_extra(f, dialect, ours)))

    goal = (Literal(_translated(g.fact, problem, dialect), g.positive) for g in problem.goal)
    return check(
        replace(
            problem,
            objects=objects,
            init=ours_of(problem.init),
            denied=ours_of(problem.denied),
            goal=tuple(dict.fromkeys(goal)),
        ),
        ours,
    )


def _typed(problem: Problem, dialect: Dialect, ours: Domain) -> Iterator[tuple[str, str]]:
    """The objects with their types, which facts may state."""
    stated: dict[str, str] = {}
    for fact in problem.init:
        if _is_kind(fact, dialect):
            kind, name = fact
            declared = problem.objects.get(name, ours.constants.get(name))
            if declared is None:
                raise DataError(f"{problem.source}: ':init': {name[:80]!r} is not declared")
            if declared not in (UNIVERSAL_TYPE, kind) or stated.setdefault(name, kind) != kind:
                other = stated.get(name, declared)
                raise DataError(f"{problem.source}: {name!r} is a {other} and a {kind}")
    for fact in problem.denied:
        if _is_kind(fact, dialect) and (
            fact[1] not in problem.objects
            or fact[0] in (stated.get(fact[1]), problem.objects[fact[1]])
        ):
            raise DataError(
                f"{problem.source}: ':init' says wrongly: (not ({' '.join(fact)[:80]}))"
            )
    for name, kind in problem.objects.items():
        if kind in dialect.actors:
            continue
        if kind != UNIVERSAL_TYPE:
            yield name, kind
        elif stated.get(name) or dialect.untyped:
            yield name, stated.get(name, dialect.untyped)
        else:
            raise DataError(f"{problem.source}: nothing says of what type {name!r} is")


def _translated(fact: Fact, problem: Problem, dialect: Dialect) -> Fact:
    """The fact in our words, without the actor."""
    args = (arg for arg in fact[1:] if problem.objects.get(arg) not in dialect.actors)
    return (dialect.predicates.get(fact[0], fact[0]), *args)


def _is_kind(fact: Fact, dialect: Dialect) -> bool:
    return fact[0] in dialect.kinds and len(fact) == 2


def _is_extra(fact: Fact, dialect: Dialect, ours: Domain) -> bool:
    """Whether a fact says nothing of a state of our domain."""
    if fact[0] in ours.predicates:
        return False
    plain = fact[0].replace("-", "")
    an_action = any(plain == name.replace("-", "") for name in ours.operators)
    return an_action or _is_kind(fact, dialect) or fact[0] in dialect.ignored
