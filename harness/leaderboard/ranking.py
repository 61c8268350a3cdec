"""Who is best, where that is not chance: tests over shared episodes, Holm over the whole table."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

from ..stats import Comparison, holm
from ..tables import Mark

Claim = Literal["first", "first two"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One claim of a table: that these are above all others in a column.

    A claim is held against each of the others, and is as certain as the least certain of these
    tests (an intersection-union test), of which `closest` is that one. That the leader was chosen
    by the same data does no harm: the two-sided test against the runner-up keeps its level
    (K. Hung, W. Fithian, Annals of Statistics 47, 2019).
    """

    column: str
    claim: Claim
    leaders: tuple[int, ...]  # lines of the table
    against: int  # the line of the closest test
    closest: Comparison  # from that line to the leader: its change is what leads by
    p: float
    p_holm: float
    holds: bool


Compare = Callable[[int, int, float], Comparison]  # base, new, alpha


@dataclass(frozen=True, slots=True)
class Contest:
    """One column: its lines that may be ranked, the highest first, and how two are compared."""

    column: str
    order: tuple[int, ...]
    compare: Compare


def judge(contests: Sequence[Contest], alpha: float) -> list[Verdict]:
    """Test the claims of a table: in each column the first, and the first two, above the rest.

    Args:
        contests: The columns.
        alpha: The chance of one false claim or more in the whole table.
    """
    claims: list[tuple[Contest, Claim, int]] = []
    for contest in contests:
        contest = replace(contest, compare=cache(contest.compare))
        claims += [(contest, "first", 1)] if len(contest.order) > 1 else []
        claims += [(contest, "first two", 2)] if len(contest.order) > 2 else []
    level = alpha / max(1, len(claims))  # what Holm asks of the smallest p
    tested = [_closest(contest, leaders, level) for contest, _, leaders in claims]
    # What speaks against a claim is no evidence for it, however certain.
    p_values = [min(1.0, _doubt(test)) for _, test in tested]
    corrected = holm(p_values)
    return [
        Verdict(
            contest.column,
            claim,
            contest.order[:leaders],
            against,
            replace(test, p_holm=p_holm),
            p,
            p_holm,
            p_holm <= alpha,
        )
        for (contest, claim, leaders), (against, test), p, p_holm in zip(
            claims, tested, p_values, corrected, strict=True
        )
    ]


def _closest(contest: Contest, n_leaders: int, alpha: float) -> tuple[int, Comparison]:
    """The least certain of the tests that a claim stands on; one without pairs is less still."""
    leaders, rest = contest.order[:n_leaders], contest.order[n_leaders:]
    tests = [(other, contest.compare(other, one, alpha)) for one in leaders for other in rest]
    return max(tests, key=lambda test: (_doubt(test[1]), -test[1].change))


def _doubt(test: Comparison) -> float:
    return math.inf if math.isnan(test.p) or test.change <= 0 else test.p


def marks_of(verdicts: Iterable[Verdict]) -> dict[tuple[int, str], Mark]:
    """Marks by line and column; nobody is marked where no claim holds."""
    found: dict[tuple[int, str], Mark] = {}
    held = {(verdict.column, verdict.claim): verdict for verdict in verdicts if verdict.holds}
    for (column, claim), verdict in held.items():
        if claim == "first":
            found[verdict.leaders[0], column] = "best"
        elif (column, "first") in held:
            found[verdict.leaders[1], column] = "second"
        else:  # above all others, and not told from each other
            found.update({(line, column): "tied" for line in verdict.leaders})
    return found
