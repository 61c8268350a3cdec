"""Solves a generated question by trying every fact of its world: an own reading of the query."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

from agemem_eval.envs.hotpotqa.generator import Claim, Query


def solutions(query: Query, claims: Iterable[Claim]) -> set[str]:
    """Every answer that some choice of facts supports."""
    facts = [(c.subject, c.property, c.value) for c in claims]
    pairs = product(facts, repeat=2)
    if query.form == "chain":
        (start,), (first, second) = query.things, query.properties
        return {
            b[2]
            for a, b in pairs
            if a[0] == start and a[1] == first and b[0] == a[2] and b[1] == second
        }
    one, two = query.things
    (key,) = query.properties
    found = set()
    for a, b in pairs:
        if (a[0], b[0], a[1], b[1]) == (one, two, key, key):
            if query.form == "same":
                found.add("yes" if a[2] == b[2] else "no")
            else:
                x, y = (float(v.replace(",", "")) for v in (a[2], b[2]))
                assert x != y
                found.add(one if (x < y) == (query.form == "least") else two)
    return found
