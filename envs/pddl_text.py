"""Reading PDDL: what every parser of it here needs, on top of S-expressions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from ..harness.errors import DataError
from .sexpr import SExpr, parse_sexpr, written

Fact: TypeAlias = tuple[str, ...]  # (predicate, argument, …), in lower case

UNIVERSAL_TYPE = "object"  # in PDDL every object is an `object`, whatever else it is


def parse_definition(text: str, source: str, what: str) -> list[tuple[str, tuple[SExpr, ...]]]:
    """The sections of `(define (what name) …)`, each with its head, in file order.

    Args:
        text: the definition.
        source: what it came from, for error messages.
        what: `problem` or `domain`, the section that must come with it.

    Raises:
        DataError: anything that is no such definition.
    """
    expr = parse_sexpr(text, source)
    if not expr or expr[0] != "define":
        raise DataError(
            f"{source}: not a PDDL {what}: it does not begin with '(define': {written(expr)}"
        )
    sections: list[tuple[str, tuple[SExpr, ...]]] = []
    for part in expr[1:]:
        if isinstance(part, str) or not part or not isinstance(part[0], str):
            raise DataError(f"{source}: not a PDDL {what}: a section has no name: {written(part)}")
        sections.append((part[0], part[1:]))
    if what not in dict(sections):
        raise DataError(f"{source}: not a PDDL {what}: {what} missing")
    return sections


def parse_typed(
    items: Sequence[SExpr], source: str, where: str = "a typed list"
) -> list[tuple[str, str]]:
    """`a b - t c` as `[(a, t), (b, t), (c, "object")]`.

    Args:
        items: the list.
        source: what it came from, for error messages.
        where: the section in which it stands, for these too.

    Raises:
        DataError: a `-` without a type, or parentheses, such as those of `(either …)`.
    """
    typed: list[tuple[str, str]] = []
    pending: list[str] = []
    words = iter(items)
    for word in words:
        if word == "-":
            kind = next(words, None)
            if not isinstance(kind, str):
                shown = f"{' '.join(pending)[-40:]} - {'' if kind is None else written(kind)}"
                raise DataError(f"{source}: {where} names no type after '-': {shown.strip()}")
            typed += [(name, kind) for name in pending]
            pending = []
        elif isinstance(word, str):
            pending.append(word)
        else:
            raise DataError(f"{source}: {where} holds parentheses: {written(word)}")
    return typed + [(name, UNIVERSAL_TYPE) for name in pending]


def parse_fact(item: SExpr, source: str, where: str) -> Fact:
    """`(on a b)` as `("on", "a", "b")`.

    Raises:
        DataError: anything else, naming the section `where` it stands.
    """
    if isinstance(item, str) or not item:
        raise DataError(f"{source}: {where} holds something that is no fact: {written(item)}")
    fact = tuple(word for word in item if isinstance(word, str))
    if len(fact) != len(item):
        raise DataError(f"{source}: {where} holds a fact with parentheses in it: {written(item)}")
    return fact
