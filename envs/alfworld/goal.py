"""Goals: quantified conditions over the facts of a game, and a compiled test for them.

`ground` expands the quantifiers over a game's objects once. Whatever the static facts decide is
decided then, so that a test per step looks only at the few facts that can still change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ...harness.errors import DataError
from ..pddl_text import parse_typed
from ..sexpr import SExpr

Test: TypeAlias = Callable[..., bool]  # of a state, whatever its type

MAX_TESTS = 200_000  # ground tests of one goal; real goals need some hundred


@dataclass(frozen=True, slots=True)
class Atom:
    """A fact pattern; arguments that begin with `?` are variables."""

    predicate: str
    args: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class And:
    """Every part holds."""

    parts: tuple[Goal, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """At least one part holds."""

    parts: tuple[Goal, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not hold."""

    part: Goal


@dataclass(frozen=True, slots=True)
class Exists:
    """The body holds for some objects of the variables' types."""

    variables: tuple[tuple[str, str], ...]  # (name, type)
    body: Goal


Goal: TypeAlias = Atom | And | Or | Not | Exists


def parse_goal(expr: SExpr, source: str) -> Goal:
    """A PDDL condition as a `Goal`; `forall` and `imply` are rewritten with the others.

    Raises:
        DataError: not a condition.
    """
    if isinstance(expr, str) or not expr or not isinstance(expr[0], str):
        raise DataError(f"{source}: the goal holds something that is no condition")
    head, rest = expr[0], expr[1:]
    if head in ("and", "or"):
        parts = tuple(parse_goal(part, source) for part in rest)
        return And(parts) if head == "and" else Or(parts)
    if head in ("not", "imply", "exists", "forall"):
        if len(rest) != (1 if head == "not" else 2):
            raise DataError(f"{source}: {head!r} in the goal has {len(rest)} arguments")
        last = parse_goal(rest[-1], source)
        if head == "not":
            return Not(last)
        if head == "imply":
            return Or((Not(parse_goal(rest[0], source)), last))
        if isinstance(rest[0], str):
            raise DataError(f"{source}: {head!r} in the goal has no list of variables")
        variables = tuple(parse_typed(rest[0], source))
        return Exists(variables, last) if head == "exists" else Not(Exists(variables, Not(last)))
    if not all(isinstance(arg, str) for arg in rest):
        raise DataError(f"{source}: the goal's {head!r} has arguments in parentheses")
    return Atom(head, tuple(str(arg) for arg in rest))


def atoms(goal: Goal) -> Iterable[Atom]:
    """Every atom of a goal, in reading order."""
    match goal:
        case Atom():
            yield goal
        case Not(part) | Exists(_, part):
            yield from atoms(part)
        case And(parts) | Or(parts):
            for part in parts:
                yield from atoms(part)


def _free(goal: Goal) -> set[str]:
    match goal:
        case Atom(_, args):
            return {arg for arg in args if arg.startswith("?")}
        case Not(part):
            return _free(part)
        case Exists(variables, body):
            return _free(body) - {name for name, _ in variables}
        case And(parts) | Or(parts):
            return set().union(*map(_free, parts))


@dataclass(slots=True)
class Grounder:
    """Turns goals into tests of a state.

    Attributes:
        objects: ids by type.
        static: facts that never change, by predicate.
        fluent: makes the test of a ground atom that can change, or None where it never holds.
        source: what the goal came from, for error messages.
    """

    objects: Mapping[str, Sequence[str]]
    static: Mapping[str, frozenset[tuple[str, ...]]]
    fluent: Callable[[Atom], Test | None]
    source: str
    made: int = 0

    def test(self, goal: Goal) -> Test:
        """The test of a closed goal.

        Raises:
            DataError: a free variable, or more than `MAX_TESTS` ground tests.
        """
        ground = self._ground(goal, {})
        return ground if callable(ground) else (lambda _state: ground)

    def _ground(self, goal: Goal, binding: Mapping[str, str]) -> Test | bool:
        match goal:
            case Atom():
                return self._atom(goal, binding)
            case Not(part):
                inner = self._ground(part, binding)
                return (lambda state: not inner(state)) if callable(inner) else not inner
            case And(parts):
                return _all_of(self._ground(part, binding) for part in parts)
            case Or(parts):
                return _any_of(self._ground(part, binding) for part in parts)
            case Exists(variables, body):
                return self._exists(
                    variables, body.parts if isinstance(body, And) else (body,), binding
                )

    def _atom(self, atom: Atom, binding: Mapping[str, str]) -> Test | bool:
        args = tuple(binding.get(arg, arg) for arg in atom.args)
        unbound = [arg for arg in args if arg.startswith("?")]
        if unbound:
            raise DataError(f"{self.source}: the goal uses {unbound[0]} outside its quantifier")
        self.made += 1
        if self.made > MAX_TESTS:
            raise DataError(f"{self.source}: the goal grounds to more than {MAX_TESTS} tests")
        if atom.predicate == "=":
            return args[0] == args[1]
        if atom.predicate in self.static:
            return args in self.static[atom.predicate]
        return self.fluent(Atom(atom.predicate, args)) or False

    def _exists(
        self,
        variables: Sequence[tuple[str, str]],
        parts: Sequence[Goal],
        binding: Mapping[str, str],
    ) -> Test | bool:
        # Parts that need no further variable are tested here, once, not below for every value.
        names = {name for name, _ in variables}
        now = [part for part in parts if not _free(part) & names]
        tests = [self._ground(part, binding) for part in sorted(now, key=self._is_fluent)]
        if False in tests or not variables:
            return _all_of(tests)
        later = [part for part in parts if _free(part) & names]
        (name, kind), others = variables[0], variables[1:]
        values = self._candidates(name, kind, later, binding)
        return _all_of(
            [*tests, _any_of(self._exists(others, later, {**binding, name: v}) for v in values)]
        )

    def _is_fluent(self, part: Goal) -> bool:
        return not (isinstance(part, Atom) and part.predicate in self.static)

    def _candidates(
        self, name: str, kind: str, parts: Sequence[Goal], binding: Mapping[str, str]
    ) -> Iterable[str]:
        """Values of a variable: those a static conjunct admits, or else all of its type."""
        everything = self.objects.get(kind, ())
        for part in parts:
            if isinstance(part, Atom) and part.predicate in self.static and name in part.args:
                pattern = [binding.get(arg, arg) for arg in part.args]
                if [arg for arg in pattern if arg.startswith("?")] == [name]:
                    slot = pattern.index(name)
                    allowed = {
                        fact[slot]
                        for fact in self.static[part.predicate]
                        if all(a in (name, b) for a, b in zip(pattern, fact, strict=True))
                    }
                    return [value for value in everything if value in allowed]
        return everything


def _all_of(tests: Iterable[Test | bool]) -> Test | bool:
    open_tests: list[Test] = []
    for test in tests:
        if callable(test):
            open_tests.append(test)
        elif not test:
            return False
    if len(open_tests) < 2:
        return open_tests[0] if open_tests else True

    def all_hold(state: object) -> bool:
        for test in open_tests:  # noqa: SIM110 - a plain loop is twice as fast as all()
            if not test(state):
                return False
        return True

    return all_hold


def _any_of(tests: Iterable[Test | bool]) -> Test | bool:
    open_tests: list[Test] = []
    for test in tests:
        if callable(test):
            open_tests.append(test)
        elif test:
            return True
    if len(open_tests) < 2:
        return open_tests[0] if open_tests else False

    def any_holds(state: object) -> bool:
        for test in open_tests:  # noqa: SIM110 - a plain loop is twice as fast as any()
            if test(state):
                return True
        return False

    return any_holds
