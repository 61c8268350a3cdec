"""The PDDL that is read here: STRIPS with types, constants, equality and negated conditions.

`parse_domain` and `read_problem` refuse everything else, so that what is read can be played.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from ...harness.errors import DataError
from ..pddl_text import UNIVERSAL_TYPE, Fact, parse_definition, parse_fact, parse_typed
from ..sexpr import SExpr, written

MAX_OBJECTS = 500
MAX_FACTS = 20_000  # in ':init'
_NAME = re.compile(r"[a-z][a-z0-9_-]*")
# Heads of conditions and effects. `(and …)` is read, and `(not …)` of one fact.
_NO_PREDICATES = ("and", "not", "or", "imply", "forall", "exists", "when", "increase")
_REQUIREMENTS = {":strips", ":typing", ":equality", ":negative-preconditions"}


@dataclass(frozen=True, slots=True)
class Literal:
    """A fact that must hold, or must not; arguments that begin with `?` are variables."""

    fact: Fact
    positive: bool = True


@dataclass(frozen=True, slots=True)
class Operator:
    """An action of a domain, or one of its ground instances.

    Attributes:
        name: of the action.
        parameters: variables with their types.
        conditions: what must hold before, in file order.
        adds: what holds after; it wins over `deletes`.
        deletes: what does not hold after.
    """

    name: str
    parameters: tuple[tuple[str, str], ...]
    conditions: tuple[Literal, ...]
    adds: tuple[Fact, ...]
    deletes: tuple[Fact, ...]

    def ground(self, args: Sequence[str]) -> Operator:
        """This operator with objects for its parameters."""
        binding = {name: arg for (name, _), arg in zip(self.parameters, args, strict=True)}
        return replace(
            self,
            conditions=tuple(
                Literal(substitute(c.fact, binding), c.positive) for c in self.conditions
            ),
            adds=tuple(substitute(fact, binding) for fact in self.adds),
            deletes=tuple(substitute(fact, binding) for fact in self.deletes),
        )


@dataclass(frozen=True)
class Domain:
    """What can be true and what can be done.

    Attributes:
        name: of the domain.
        parents: each declared type with its supertype.
        constants: objects of every problem with their types.
        predicates: the types of each predicate's arguments.
        operators: by name, in file order.
    """

    name: str
    parents: Mapping[str, str]
    constants: Mapping[str, str]
    predicates: Mapping[str, tuple[str, ...]]
    operators: Mapping[str, Operator]

    def is_a(self, kind: str, ancestor: str) -> bool:
        """Whether each object of type `kind` is one of `ancestor`."""
        while kind != ancestor:
            if kind == UNIVERSAL_TYPE:
                return False
            kind = self.parents[kind]
        return True

    def kinds(self, ancestor: str) -> list[str]:
        """The types of which objects of type `ancestor` are: those without subtypes."""
        above = set(self.parents.values())
        return [kind for kind in self.parents if kind not in above and self.is_a(kind, ancestor)]

    @cached_property
    def static(self) -> frozenset[str]:
        """Predicates that no action changes."""
        changed = {fact[0] for op in self.operators.values() for fact in (*op.adds, *op.deletes)}
        return frozenset(self.predicates.keys() - changed)


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem as written; `check` turns it into one of a domain.

    Attributes:
        name: of the problem.
        domain: the name of its domain.
        objects: with their types, in file order.
        init: facts that hold at the start, each once.
        goal: what must hold at the end, each once.
        source: what it was read from, for error messages.
        denied: facts that `:init` says are false, as all are that it leaves out; `check` drops
            them.
    """

    name: str
    domain: str
    objects: Mapping[str, str]
    init: tuple[Fact, ...]
    goal: tuple[Literal, ...]
    source: str
    denied: tuple[Fact, ...] = ()


def substitute(fact: Fact, binding: Mapping[str, str]) -> Fact:
    """The fact with values for its variables."""
    return tuple([binding.get(word, word) for word in fact])


# --- domains --------------------------------------------------------------------------------


def parse_domain(text: str, source: str) -> Domain:
    """Read a domain.

    Raises:
        DataError: anything that is not a domain of the subset, naming `source`.
    """
    parts = parse_definition(text, source, "domain")
    sections = _once([part for part in parts if part[0] != ":action"], source)
    for word in sections.pop(":requirements", ()):
        if word not in _REQUIREMENTS:
            raise DataError(f"{source}: it requires {word}, which is not read here")
    name = " ".join(map(str, sections.pop("domain")))
    parents = _parents(sections.pop(":types", ()), source)
    constants = _objects(sections.pop(":constants", ()), parents, source)
    predicates: dict[str, tuple[str, ...]] = {}
    for item in sections.pop(":predicates", ()):
        if isinstance(item, str) or not item or not isinstance(item[0], str):
            raise DataError(f"{source}: ':predicates' holds no predicate: {written(item)}")
        if item[0] in predicates or item[0] == "=":
            raise DataError(f"{source}: the predicate {item[0]!r} is declared twice")
        where = f"the predicate {item[0]!r}"
        predicates[item[0]] = tuple(
            _known_type(kind, parents, source, where)
            for _, kind in parse_typed(item[1:], source, where)
        )
    if sections:
        raise DataError(f"{source}: a domain's {next(iter(sections))} is not read here")
    domain = Domain(name, parents, constants, predicates, {})
    operators: dict[str, Operator] = {}
    for head, items in parts:
        if head == ":action":
            operator = _operator(items, domain, source)
            if operator.name in operators:
                raise DataError(f"{source}: the action {operator.name!r} is declared twice")
            operators[operator.name] = operator
    return replace(domain, operators=operators)


def _parents(items: Sequence[SExpr], source: str) -> dict[str, str]:
    parents: dict[str, str] = {}
    for kind, parent in parse_typed(items, source, "':types'"):
        if kind in parents and parents[kind] != parent:
            raise DataError(f"{source}: the type {kind!r} has two supertypes")
        if kind != UNIVERSAL_TYPE:
            parents[kind] = parent
    for kind in list(parents):
        above, seen = parents[kind], {kind}
        while above != UNIVERSAL_TYPE:
            if above in seen:
                raise DataError(f"{source}: the type {kind!r} is its own supertype")
            seen.add(above)
            above = parents.setdefault(above, UNIVERSAL_TYPE)  # types may be named only there
    return parents


def _operator(items: Sequence[SExpr], domain: Domain, source: str) -> Operator:
    if not items or not isinstance(items[0], str) or len(items) % 2 == 0:
        raise DataError(f"{source}: an action is not a name and pairs of keyword and value")
    name, where = items[0], f"the action {items[0]!r}"
    fields: dict[str, SExpr] = {}
    for key, value in zip(items[1::2], items[2::2], strict=True):
        known = (":parameters", ":precondition", ":effect")
        if not isinstance(key, str) or key not in known or key in fields:
            raise DataError(f"{source}: {where} has a wrong part {str(key)[:40]!r}")
        fields[key] = value
    listed = fields.get(":parameters", ())
    if isinstance(listed, str):
        raise DataError(f"{source}: {where} has no list of parameters")
    parameters = parse_typed(listed, source, f"{where}: its list of parameters")
    types = dict(domain.constants)
    for variable, kind in parameters:
        if not variable.startswith("?") or variable in types:
            raise DataError(f"{source}: {where} has a wrong parameter {variable!r}")
        types[variable] = _known_type(kind, domain.parents, source, where)
    conditions = tuple(_literals(fields.get(":precondition", ()), source, where))
    effects = list(_literals(fields.get(":effect", ()), source, where))
    for literal in (*conditions, *effects):
        _check_fact(literal.fact, types, domain, source, where)
    if any(effect.fact[0] == "=" for effect in effects):
        raise DataError(f"{source}: {where} has '=' as an effect")
    adds = tuple(effect.fact for effect in effects if effect.positive)
    deletes = tuple(effect.fact for effect in effects if not effect.positive)
    return Operator(name, tuple(parameters), conditions, adds, deletes)


def _literals(expr: SExpr, source: str, where: str) -> Iterator[Literal]:
    if expr == ():
        return
    if not isinstance(expr, str) and expr[0] == "and":
        for part in expr[1:]:
            yield from _literals(part, source, where)
    else:
        yield _literal(expr, source, where)


def _literal(expr: SExpr, source: str, where: str) -> Literal:
    positive = isinstance(expr, str) or expr[:1] != ("not",) or len(expr) != 2
    inner = expr if positive else expr[1]
    head = inner[0] if inner and not isinstance(inner, str) else ""
    if head in _NO_PREDICATES:
        raise DataError(f"{source}: {where}: ({head} …) is not read here: {written(expr)}")
    return Literal(parse_fact(inner, source, where), positive)


# --- problems -------------------------------------------------------------------------------


def read_problem(text: str, source: str) -> Problem:
    """Read a problem without looking at its domain; numbers and metrics are passed over.

    Raises:
        DataError: anything that is not a problem of the subset, naming `source`.
    """
    sections = _once(parse_definition(text, source, "problem"), source)
    name = " ".join(map(str, sections.pop("problem")))
    for section in (":requirements", ":metric"):
        sections.pop(section, None)
    missing = {":domain", ":init", ":goal"} - sections.keys()
    if missing:
        raise DataError(f"{source}: not a PDDL problem: {', '.join(sorted(missing))} missing")
    others = sections.keys() - {":domain", ":objects", ":init", ":goal"}
    if others:
        raise DataError(f"{source}: a problem's {min(others)} is not read here")
    objects: dict[str, str] = {}
    for item, kind in parse_typed(sections.get(":objects", ()), source, "':objects'"):
        if objects.setdefault(item, kind) != kind:
            raise DataError(f"{source}: the object {item!r} has two types")
    init = dict.fromkeys(
        _literal(item, source, "':init'")
        for item in sections[":init"]
        if item[:1] != ("=",)  # costs
    )
    if len(sections[":goal"]) != 1:
        raise DataError(f"{source}: the goal is {len(sections[':goal'])} conditions, not one")
    goal = dict.fromkeys(_literals(sections[":goal"][0], source, "':goal'"))
    return Problem(
        name,
        " ".join(map(str, sections[":domain"])),
        objects,
        tuple(literal.fact for literal in init if literal.positive),
        tuple(goal),
        source,
        tuple(literal.fact for literal in init if not literal.positive),
    )


def check(problem: Problem, domain: Domain) -> Problem:
    """The problem as one of a domain, with the domain's constants among its objects.

    What the goal says of equality is decided here: it is true, and left out, or refused.

    Raises:
        DataError: what the domain does not know, no goal or one that contradicts itself, or more
            than a problem may hold.
    """
    source = problem.source
    objects = dict(domain.constants)
    for name, kind in problem.objects.items():
        _object(name, kind, domain.parents, source, "':objects'")
        if objects.setdefault(name, kind) != kind:
            raise DataError(f"{source}: {name!r} is a {objects[name]}, not a {kind}")
    facts = (*problem.init, *problem.denied)
    if len(objects) > MAX_OBJECTS or len(facts) > MAX_FACTS:
        raise DataError(f"{source}: more than {MAX_OBJECTS} objects or {MAX_FACTS} facts")
    for fact in facts:
        _check_fact(fact, objects, domain, source, "':init'")
    if both := set(problem.denied).intersection(problem.init):
        raise DataError(f"{source}: ':init' says {_shown(min(both))[:80]} and its opposite")
    for literal in problem.goal:
        _check_fact(literal.fact, objects, domain, source, "':goal'")
    goal = _possible(problem.goal, source)
    if not goal:
        raise DataError(f"{source}: the goal asks for nothing")
    return replace(problem, domain=domain.name, objects=objects, goal=goal, denied=())


def _possible(goal: Collection[Literal], source: str) -> tuple[Literal, ...]:
    """The literals of a goal that are not true of themselves; one that is never true is refused."""
    denied = {literal.fact for literal in goal if not literal.positive}
    for literal in goal:
        shown = _shown(literal.fact)
        if literal.fact[0] == "=" and (literal.fact[1] == literal.fact[2]) is not literal.positive:
            shown = shown if literal.positive else f"(not {shown})"
            raise DataError(f"{source}: ':goal': {shown[:80]} is never true")
        if literal.positive and literal.fact in denied:
            raise DataError(f"{source}: ':goal' asks for {shown[:80]} and for its opposite")
    return tuple(literal for literal in goal if literal.fact[0] != "=")


def problem_text(problem: Problem, constants: Collection[str] = ()) -> str:
    """The problem as PDDL, the inverse of `read_problem`.

    Args:
        problem: to be written.
        constants: objects that its domain declares already, which are left out.
    """
    own = ((name, kind) for name, kind in problem.objects.items() if name not in constants)
    objects = "\n    ".join(f"{name} - {kind}" for name, kind in own)
    init = "\n    ".join(map(_shown, problem.init))
    goal = "\n    ".join(
        _shown(g.fact) if g.positive else f"(not {_shown(g.fact)})" for g in problem.goal
    )
    return (
        f"(define (problem {problem.name})\n  (:domain {problem.domain})\n"
        f"  (:objects\n    {objects})\n  (:init\n    {init})\n  (:goal (and\n    {goal})))\n"
    )


def _shown(fact: Fact) -> str:
    return f"({' '.join(fact)})"


# --- checks ---------------------------------------------------------------------------------


def _once(
    parts: Iterable[tuple[str, tuple[SExpr, ...]]], source: str
) -> dict[str, tuple[SExpr, ...]]:
    sections: dict[str, tuple[SExpr, ...]] = {}
    for head, items in parts:
        if head in sections:
            raise DataError(f"{source}: the section {head!r} comes twice")
        sections[head] = items
    return sections


def _objects(items: Sequence[SExpr], parents: Mapping[str, str], source: str) -> dict[str, str]:
    objects: dict[str, str] = {}
    for name, kind in parse_typed(items, source, "':constants'"):
        if name in objects:
            raise DataError(f"{source}: ':constants': {name!r} is declared twice")
        objects[name] = _object(name, kind, parents, source, "':constants'")
    return objects


def _object(name: str, kind: str, parents: Mapping[str, str], source: str, where: str) -> str:
    if not _NAME.fullmatch(name):
        raise DataError(f"{source}: {where}: {name[:80]!r} is not a name")
    return _known_type(kind, parents, source, f"{where}: {name[:40]!r}")


def _known_type(kind: str, parents: Mapping[str, str], source: str, where: str) -> str:
    if kind != UNIVERSAL_TYPE and kind not in parents:
        raise DataError(f"{source}: {where}: there is no type {kind[:80]!r}")
    return kind


def _check_fact(
    fact: Fact, types: Mapping[str, str], domain: Domain, source: str, where: str
) -> None:
    """Refuse a fact that the domain has no predicate for, or with arguments of other types."""
    known = (UNIVERSAL_TYPE,) * 2 if fact[0] == "=" else domain.predicates.get(fact[0])
    if known is None or len(known) != len(fact) - 1:
        raise DataError(f"{source}: {where}: the domain has no fact {_shown(fact)[:80]}")
    for arg, kind in zip(fact[1:], known, strict=True):
        if arg not in types:
            raise DataError(f"{source}: {where}: {arg[:40]!r} is not declared")
        if not domain.is_a(types[arg], kind):
            raise DataError(
                f"{source}: {where}: {arg!r} in {_shown(fact)[:80]} is a {types[arg]}, not a {kind}"
            )
