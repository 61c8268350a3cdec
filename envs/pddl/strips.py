"""The STRIPS core: a problem grounded once, and states as sets of numbered facts.

Facts that no action changes are decided while grounding and are not part of a state. To list the
applicable actions, each is filed under the one of its conditions that fewest actions share: only
those filed under a fact of the state are looked at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from ...harness.errors import DataError
from ..pddl_text import UNIVERSAL_TYPE, Fact
from .language import Domain, Literal, Operator, Problem, substitute

State: TypeAlias = frozenset[int]

MAX_ACTIONS = 50_000  # ground actions of a problem; the largest known ones have some hundred
MAX_BINDINGS = 2_000_000  # partial bindings tried while grounding


@dataclass(frozen=True, slots=True)
class Action:
    """A ground action; facts by number.

    Attributes:
        name: of the operator.
        args: its objects.
        needs: facts that must hold.
        bars: facts that must not.
        adds: facts that hold afterwards.
        deletes: facts that do not; none of `adds`.
    """

    name: str
    args: tuple[str, ...]
    needs: frozenset[int]
    bars: frozenset[int]
    adds: frozenset[int]
    deletes: frozenset[int]


class Core:
    """A grounded problem."""

    def __init__(self, domain: Domain, problem: Problem) -> None:
        """Ground a checked problem.

        Raises:
            DataError: more than `MAX_ACTIONS` ground actions, or too much work to find them.
        """
        self.domain = domain
        self.problem = problem
        self.static = frozenset(fact for fact in problem.init if fact[0] in domain.static)
        self.number: dict[Fact, int] = {}
        self.initial: State = self._numbered(
            fact for fact in problem.init if fact[0] not in domain.static
        )
        self.actions = tuple(self._actions())
        self._numbered(g.fact for g in problem.goal if g.fact[0] not in domain.static)
        self.facts = tuple(self.number)
        self._filed, self._always = _file(self.actions)

    def _numbered(self, facts: Iterable[Fact]) -> State:
        """The facts by number; a new one gets the next."""
        number = self.number
        return frozenset([number.setdefault(fact, len(number)) for fact in facts])

    def _actions(self) -> Iterator[Action]:
        for operator, found in _ground_all(self.domain, self.problem, self.static):
            names = [name for name, _ in operator.parameters]
            dynamic = [c for c in operator.conditions if _changes(c, self.domain)]
            parts = (
                [c.fact for c in dynamic if c.positive],
                [c.fact for c in dynamic if not c.positive],
                operator.adds,
                operator.deletes,
            )
            for args in found:
                binding = dict(zip(names, args, strict=True))
                needs, bars, adds, deletes = (
                    self._numbered([substitute(fact, binding) for fact in part]) for part in parts
                )
                yield Action(operator.name, args, needs, bars, adds, deletes - adds)

    def applicable(self, state: State) -> list[int]:
        """The numbers of the actions that can be carried out, in order."""
        filed, actions = self._filed, self.actions
        found = [n for n in self._always if not actions[n].bars & state]
        for fact in state:
            for number in filed.get(fact, ()):
                action = actions[number]
                if action.needs <= state and action.bars.isdisjoint(state):
                    found.append(number)
        found.sort()
        return found

    def can(self, state: State, number: int) -> bool:
        """Whether an action can be carried out."""
        action = self.actions[number]
        return action.needs <= state and action.bars.isdisjoint(state)

    def apply(self, state: State, number: int) -> State:
        """The state after an action that can be carried out."""
        action = self.actions[number]
        return (state - action.deletes) | action.adds

    def unmet(self, state: State, number: int) -> list[Literal]:
        """Which of an action's conditions do not hold, in the domain's order."""
        action = self.actions[number]
        operator = self.domain.operators[action.name].ground(action.args)
        return [
            c
            for c in operator.conditions
            if _changes(c, self.domain) and (self.number[c.fact] in state) is not c.positive
        ]

    def holds(self, state: State, literal: Literal) -> bool:
        """Whether a literal of the goal holds."""
        number = self.number.get(literal.fact)
        true = literal.fact in self.static if number is None else number in state
        return true is literal.positive

    def true_facts(self, state: State) -> set[Fact]:
        """Everything that is true, with what never changes."""
        return {self.facts[number] for number in state} | self.static

    def out_of_reach(self) -> Literal | None:
        """A literal of the goal that no sequence of actions can bring about; None: none known.

        Deleted facts are taken to stay, so what is found out of reach is; the converse may fail.
        """
        # A fact is known true by its number, known false by the complement of its number.
        known: set[int] = set()
        fresh = [n if n in self.initial else ~n for n in range(len(self.facts))]
        conditions = [[*action.needs, *(~fact for fact in action.bars)] for action in self.actions]
        users: dict[int, list[int]] = {}
        for number, needed in enumerate(conditions):
            for condition in needed:
                users.setdefault(condition, []).append(number)
        lacking = [len(needed) for needed in conditions]
        ready = [number for number, count in enumerate(lacking) if count == 0]
        while fresh or ready:
            if ready:
                action = self.actions[ready.pop()]
                fresh += [*action.adds, *(~fact for fact in action.deletes)]
            elif (fact := fresh.pop()) not in known:
                known.add(fact)
                for number in users.get(fact, ()):
                    lacking[number] -= 1
                    if lacking[number] == 0:
                        ready.append(number)
        for literal in self.problem.goal:
            fact_number = self.number.get(literal.fact)
            if fact_number is None:
                if not self.holds(self.initial, literal):
                    return literal
            elif (fact_number if literal.positive else ~fact_number) not in known:
                return literal
        return None


def _changes(condition: Literal, domain: Domain) -> bool:
    return condition.fact[0] != "=" and condition.fact[0] not in domain.static


def _ground_all(
    domain: Domain, problem: Problem, static: frozenset[Fact]
) -> Iterator[tuple[Operator, list[tuple[str, ...]]]]:
    """Each operator with the objects that its parameters can stand for."""
    of_type: dict[str, list[str]] = {}
    for kind in (UNIVERSAL_TYPE, *domain.parents):
        of_type[kind] = [o for o, k in problem.objects.items() if domain.is_a(k, kind)]
    left, budget = MAX_ACTIONS, [MAX_BINDINGS]
    for operator in domain.operators.values():
        found: list[tuple[str, ...]] = []
        for args in _bindings(operator, domain, of_type, static, budget):
            if args is None or left == 0:
                raise DataError(
                    f"{problem.source}: too large: more than {MAX_ACTIONS} ground actions, or "
                    f"{MAX_BINDINGS} bindings to try"
                )
            left -= 1
            found.append(args)
        yield operator, found


def _bindings(
    operator: Operator,
    domain: Domain,
    of_type: Mapping[str, list[str]],
    static: frozenset[Fact],
    budget: list[int],
) -> Iterator[tuple[str, ...] | None]:
    """Objects for an operator's parameters that what never changes allows; None: out of budget.

    A condition is tested as soon as its last variable is bound.
    """
    order = [name for name, _ in operator.parameters]
    tests: list[list[Literal]] = [[] for _ in range(len(order) + 1)]
    for condition in operator.conditions:
        if not _changes(condition, domain):
            used = [order.index(arg) + 1 for arg in condition.fact[1:] if arg in order]
            tests[max(used, default=0)].append(condition)

    def passes(depth: int, binding: Mapping[str, str]) -> bool:
        for test in tests[depth]:
            fact = substitute(test.fact, binding)
            true = fact[1] == fact[2] if fact[0] == "=" else fact in static
            if true is not test.positive:
                return False
        return True

    def extend(binding: dict[str, str]) -> Iterator[tuple[str, ...] | None]:
        depth = len(binding)
        if depth == len(order):
            yield tuple(binding.values())
            return
        name, kind = operator.parameters[depth]
        for value in of_type[kind]:
            budget[0] -= 1
            if budget[0] < 0:
                yield None
                return
            longer = {**binding, name: value}
            if passes(depth + 1, longer):
                yield from extend(longer)

    if passes(0, {}):
        yield from extend({})


def _file(actions: tuple[Action, ...]) -> tuple[dict[int, list[int]], list[int]]:
    """Each action under its rarest condition, and those without a positive one."""
    users = Counter(fact for action in actions for fact in action.needs)
    filed: dict[int, list[int]] = {}
    always: list[int] = []
    for number, action in enumerate(actions):
        if action.needs:
            rarest = min(action.needs, key=lambda fact: (users[fact], fact))
            filed.setdefault(rarest, []).append(number)
        else:
            always.append(number)
    return filed, always
