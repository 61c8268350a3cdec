"""A model of a problem that experts plan in, built from nothing but facts.

An expert is a procedure that carries out actions in the model until the goal holds; the actions
are the plan. Every action is checked against the domain, so a plan is always one that works.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NoReturn

from ..pddl_text import Fact
from .language import Domain, Literal
from .words import natural_fact

MAX_PLAN = 5000  # actions; an expert that needs more goes round in circles

Step = tuple[str, ...]  # (operator, object, …)


class Stuck(Exception):
    """The expert knows no way to the goal."""


class _Done(Exception):
    """The goal holds."""


class _Index:
    """Facts by predicate, and by predicate and first argument, since experts ask all the time."""

    def __init__(self, facts: Iterable[Fact]) -> None:
        self.all: dict[str, set[Fact]] = {}
        self._about: dict[Fact, set[Fact]] = {}
        for fact in facts:
            self.add(fact)

    def add(self, fact: Fact) -> None:
        self.all.setdefault(fact[0], set()).add(fact)
        self._about.setdefault(fact[:2], set()).add(fact)

    def discard(self, fact: Fact) -> None:
        self.all.get(fact[0], set()).discard(fact)
        self._about.get(fact[:2], set()).discard(fact)

    def find(self, predicate: str, pattern: Sequence[str | None]) -> list[Fact]:
        """The facts that a pattern matches, in order."""
        if pattern and pattern[0] is not None:
            facts = self._about.get((predicate, pattern[0]), set())
        else:
            facts = self.all.get(predicate, set())
        found = [
            fact
            for fact in facts
            if all(p is None or p == arg for p, arg in zip(pattern, fact[1:], strict=False))
        ]
        if len(found) > 1:
            found.sort(key=natural_fact)
        return found


class World:
    """Facts that can be asked for and changed."""

    def __init__(
        self,
        domain: Domain,
        objects: Mapping[str, str],
        facts: Iterable[Fact],
        goal: Collection[Literal],
    ) -> None:
        """Model a state, with the goal to reach from it."""
        self.domain = domain
        self.objects = objects
        self.goal = goal
        self.steps: list[Step] = []
        self._true = _Index(facts)
        self._wanted = _Index(g.fact for g in goal if g.positive)

    def has(self, *fact: str) -> bool:
        """Whether a fact is true."""
        return fact in self._true.all.get(fact[0], ())

    def find(self, predicate: str, *pattern: str | None) -> list[Fact]:
        """The true facts of a predicate, in order; None in the pattern matches anything."""
        return self._true.find(predicate, pattern)

    def value(self, predicate: str, first: str) -> str | None:
        """The second argument of the first true fact about an object."""
        facts = self.find(predicate, first)
        return facts[0][2] if facts else None

    def wants(self, predicate: str, *pattern: str | None) -> list[Fact]:
        """The facts of a predicate that the goal asks for, in order."""
        return self._wanted.find(predicate, pattern)

    def reached(self) -> bool:
        """Whether the goal holds."""
        return all(self.has(*g.fact) is g.positive for g in self.goal)

    def can(self, operator: str, *args: str) -> bool:
        """Whether an action is possible now."""
        for condition in self.domain.operators[operator].ground(args).conditions:
            fact = condition.fact
            true = fact[1] == fact[2] if fact[0] == "=" else self.has(*fact)
            if true is not condition.positive:
                return False
        return True

    def do(self, operator: str, *args: str) -> None:
        """Carry out an action.

        Raises:
            Stuck: it is not possible, or the plan grows without end.
        """
        if not self.can(operator, *args) or len(self.steps) == MAX_PLAN:
            self.stuck()
        ground = self.domain.operators[operator].ground(args)
        for fact in ground.deletes:
            self._true.discard(fact)
        for fact in ground.adds:
            self._true.add(fact)
        self.steps.append((operator, *args))
        if self.reached():
            raise _Done

    def stuck(self) -> NoReturn:
        """Give up."""
        raise Stuck


def plan(world: World, expert: Callable[[World], None]) -> list[Step] | None:
    """The actions of an expert until the goal holds; None where it finds no way."""
    if world.reached():
        return []
    try:
        expert(world)
    except _Done:
        return world.steps
    except Stuck:
        pass
    return None
