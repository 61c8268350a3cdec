"""S-expressions, the syntax of PDDL: parsed without recursion, with bounds on what is accepted."""

from __future__ import annotations

import re
from itertools import islice
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
    lines = [line.partition(";")[0] for line in text.split("\n")]
    for row, line in enumerate(lines, 1):
        if not line.isascii():
            raise DataError(f"{source}: PDDL holds characters outside ASCII (line {row})")
    code = "\n".join(lines).lower()
    done: tuple[SExpr, ...] | None = None
    stack: list[list[SExpr]] = []
    opened: list[int] = []  # which word opened each list of the stack
    for number, word in enumerate(_TOKEN.findall(code)):
        if done is not None:
            raise _wrong(source, code, number, "goes on after its last parenthesis")
        if word == "(":
            if len(stack) == MAX_DEPTH:
                raise _wrong(source, code, number, f"is nested deeper than {MAX_DEPTH} levels")
            stack.append([])
            opened.append(number)
        elif not stack:
            raise _wrong(source, code, number, "begins without '('")
        elif word == ")":
            closed = tuple(stack.pop())
            opened.pop()
            if stack:
                stack[-1].append(closed)
            else:
                done = closed
        else:
            stack[-1].append(word)
    if opened:
        raise _wrong(source, code, opened[-1], "ends before its parentheses are closed")
    if done is None:
        raise DataError(f"{source}: PDDL ends before its parentheses are closed")
    return done


def written(expr: SExpr) -> str:
    """The expression as it would be written, cut to 80 characters."""
    return _whole(expr)[:80]


def _whole(expr: SExpr) -> str:
    return expr if isinstance(expr, str) else f"({' '.join(map(_whole, expr))})"


def _wrong(source: str, code: str, number: int, what: str) -> DataError:
    """An error that names the line of a word of the code, told by its number."""
    found = next(islice(_TOKEN.finditer(code), number, None))
    line = code.count("\n", 0, found.start()) + 1
    return DataError(f"{source}: PDDL {what}: {found[0][:40]!r} (line {line})")
