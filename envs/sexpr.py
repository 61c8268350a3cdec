"""S-expressions, the syntax of PDDL: parsed without recursion, with bounds on what is accepted."""

from __future__ import annotations

import re
from typing import TypeAlias

from ..harness.errors import DataError

SExpr: TypeAlias = "str | tuple[SExpr, ...]"

# A variable begins at its question mark, even without a blank before it.
_TOKEN = re.compile(r"[()]|\??[^\s()?]+|\?")
MAX_DEPTH = 64


def parse_sexpr(text: str, source: str) -> tuple[SExpr, ...]:
    """Parse one parenthesised expression, as PDDL reads it.

    Comments run from `;` to the end of the line, and case does not count: all symbols come back
    in lower case.

    Args:
        text: the expression.
        source: what the text came from, for error messages.

    Returns:
        Nested tuples of symbols.

    Raises:
        DataError: unbalanced or missing parentheses, text outside them, characters outside ASCII,
            or nesting deeper than `MAX_DEPTH`.
    """
    code = "\n".join(line.partition(";")[0] for line in text.split("\n"))
    if not code.isascii():
        raise DataError(f"{source}: PDDL holds characters outside ASCII")
    done: tuple[SExpr, ...] | None = None
    stack: list[list[SExpr]] = []
    for word in _TOKEN.findall(code.lower()):
        if done is not None:
            raise DataError(f"{source}: PDDL goes on after its last parenthesis: {word[:40]!r}")
        if word == "(":
            if len(stack) == MAX_DEPTH:
                raise DataError(f"{source}: PDDL is nested deeper than {MAX_DEPTH} levels")
            stack.append([])
        elif not stack:
            raise DataError(f"{source}: PDDL begins with {word[:40]!r} instead of '('")
        elif word == ")":
            closed = tuple(stack.pop())
            if stack:
                stack[-1].append(closed)
            else:
                done = closed
        else:
            stack[-1].append(word)
    if done is None:
        raise DataError(f"{source}: PDDL ends before its parentheses are closed")
    return done
