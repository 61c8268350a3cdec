"""Problems of the alfred domain: PDDL text read into facts, and the names players see.

Everything the domain does not know is refused, so that what is parsed can be played.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ...harness.errors import DataError
from ..pddl_text import Fact, parse_definition, parse_fact, parse_typed
from ..sexpr import SExpr
from .goal import Goal, atoms, parse_goal

# The predicates of the alfred domain with the types of their arguments.
SIGNATURES: Mapping[str, tuple[str, ...]] = {
    "atlocation": ("agent", "location"),
    "receptacleatlocation": ("receptacle", "location"),
    "objectatlocation": ("object", "location"),
    "openable": ("receptacle",),
    "opened": ("receptacle",),
    "inreceptacle": ("object", "receptacle"),
    "isreceptacleobject": ("object",),
    "inreceptacleobject": ("object", "object"),
    "isreceptacleobjectfull": ("object",),
    "wasinreceptacle": ("object", "receptacle"),
    "checked": ("receptacle",),
    "examined": ("location",),
    "receptacletype": ("receptacle", "rtype"),
    "cancontain": ("rtype", "otype"),
    "objecttype": ("object", "otype"),
    "holds": ("agent", "object"),
    "holdsany": ("agent",),
    "holdsanyreceptacleobject": ("agent",),
    "full": ("receptacle",),
    "isclean": ("object",),
    "cleanable": ("object",),
    "ishot": ("object",),
    "heatable": ("object",),
    "iscool": ("object",),
    "coolable": ("object",),
    "pickupable": ("object",),
    "moveable": ("object",),
    "toggleable": ("object",),
    "ison": ("object",),
    "istoggled": ("object",),
    "sliceable": ("object",),
    "issliced": ("object",),
}
TYPES = ("agent", "location", "receptacle", "object", "rtype", "otype")


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem of the alfred domain; all ids are in lower case.

    Attributes:
        name: of the problem.
        objects: declared ids by type, in file order.
        init: the facts that hold at the start, each once, in file order.
        goal: the condition to reach.
        source: what it was read from, for error messages.
    """

    name: str
    objects: Mapping[str, tuple[str, ...]]
    init: tuple[Fact, ...]
    goal: Goal
    source: str


def parse_problem(text: str, source: str) -> Problem:
    """Read the PDDL text of a problem.

    Args:
        text: `(define (problem …) (:domain alfred) (:objects …) (:init …) (:goal …))`.
        source: what the text came from, for error messages.

    Raises:
        DataError: anything that is not a problem of the alfred domain, naming `source`.
    """
    sections = _sections(text, source)
    if sections[":domain"] != ("alfred",):
        raise DataError(f"{source}: not a problem of the domain 'alfred'")
    types: dict[str, str] = {}
    for name, kind in parse_typed(sections[":objects"], source):
        if kind not in TYPES or name in types:
            wrong = "is declared twice" if name in types else f"is of unknown type {kind!r}"
            raise DataError(f"{source}: {name!r} {wrong}")
        types[name] = kind
    goals = sections[":goal"]
    if len(goals) != 1:
        raise DataError(f"{source}: the goal is {len(goals)} conditions instead of one")
    goal = parse_goal(goals[0], source)
    _check_goal(goal, types, source)
    return Problem(
        name=" ".join(map(str, sections["problem"])),
        objects={kind: tuple(n for n, k in types.items() if k == kind) for kind in TYPES},
        init=tuple(dict.fromkeys(_facts(sections[":init"], types, source))),
        goal=goal,
        source=source,
    )


def _sections(text: str, source: str) -> dict[str, tuple[SExpr, ...]]:
    sections = dict(parse_definition(text, source, "problem"))
    missing = {":domain", ":objects", ":init", ":goal"} - sections.keys()
    if missing:
        raise DataError(f"{source}: not a PDDL problem: {', '.join(sorted(missing))} missing")
    return sections


def _facts(items: Iterable[SExpr], types: Mapping[str, str], source: str) -> Iterable[Fact]:
    for item in items:
        if item[:1] in (("=",), ("not",)):  # distances are not used; what is not said is false
            continue
        fact = parse_fact(item, source, "':init'")
        signature = SIGNATURES.get(fact[0])
        if signature is None or len(signature) != len(fact) - 1:
            raise DataError(f"{source}: the domain has no fact {' '.join(fact)[:80]!r}")
        for arg, kind in zip(fact[1:], signature, strict=True):
            if types.get(arg) != kind:
                raise DataError(f"{source}: {arg!r} in {fact[0]!r} is not a declared {kind}")
        yield fact


def _check_goal(goal: Goal, types: Mapping[str, str], source: str) -> None:
    for atom in atoms(goal):
        arity = 2 if atom.predicate == "=" else len(SIGNATURES.get(atom.predicate, ()))
        if arity != len(atom.args) or not arity:
            shown = " ".join((atom.predicate, *atom.args))[:80]
            raise DataError(f"{source}: the domain has no condition {shown!r}")
        if atom.predicate == "checked":
            raise DataError(f"{source}: goals about what was 'checked' are not supported")
        for arg in atom.args:
            if not arg.startswith("?") and arg not in types:
                raise DataError(f"{source}: {arg!r} in the goal is not declared")


def display_names(problem: Problem) -> dict[str, str]:
    """The name a player sees for each id that occurs in a fact, such as `cabinet 3`.

    Numbers count down in the order of the ids, so the last id of a kind is number 1 (alfworld,
    `agents/utils/misc.py`, `Demangler`). Ids without `_bar_` get a name that ends in a blank,
    as there, so that no command can name them.

    Raises:
        DataError: an id whose kind holds an underscore.
    """
    used = sorted({arg for fact in problem.init for arg in fact[1:]})
    kinds: dict[str, str] = {}
    for name in used:
        kind, bar, _ = name.partition("_bar_")
        if not bar:
            continue
        if "_" in kind:
            raise DataError(f"{problem.source}: cannot make a name of the id {name!r}")
        kinds[name] = kind + "basin" if "basin" in name else kind
    left = Counter(kinds.values())
    names: dict[str, str] = {}
    for name in used:
        if name in kinds:
            names[name] = f"{kinds[name]} {left[kinds[name]]}"
            left[kinds[name]] -= 1
        else:
            names[name] = f"{name} "
    return names
