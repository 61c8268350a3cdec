"""The STRIPS core: against unified-planning's simulator, and against doing it the plain way."""

from __future__ import annotations

import hashlib
import json
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agemem_eval.envs.pddl import generator, strips
from agemem_eval.envs.pddl.games import GAMES, domain
from agemem_eval.envs.pddl.language import Domain, Literal, Operator, Problem, problem_text
from agemem_eval.envs.pddl.strips import Core
from agemem_eval.envs.pddl.world import World, plan
from agemem_eval.harness.errors import DataError

from .walks import INDICES, trace

GOLDEN = json.loads(Path(__file__).with_name("golden.json").read_text())["problems"]


class Walker:
    """A state of the core, as `walks` wants it."""

    def __init__(self, core: Core) -> None:
        self.core, self.state = core, core.initial

    def applicable(self) -> list[tuple[str, ...]]:
        actions = (self.core.actions[n] for n in self.core.applicable(self.state))
        return [(action.name, *action.args) for action in actions]

    def facts(self) -> set[tuple[str, ...]]:
        return self.core.true_facts(self.state)

    def apply(self, step: tuple[str, ...]) -> None:
        numbers = {(a.name, *a.args): n for n, a in enumerate(self.core.actions)}
        self.state = self.core.apply(self.state, numbers[step])


def generated(index: int) -> Problem:
    entry = generator.catalogue("generated")[index]
    return generator.generate("generated", entry.index, entry.draw)


# --- unified-planning -------------------------------------------------------------------------


@pytest.mark.parametrize("index", INDICES)
def test_states_and_applicable_actions_are_those_of_unified_planning(index: int) -> None:
    golden = GOLDEN[generator.task_id("generated", index)]
    problem = generated(index)
    text = problem_text(problem, domain(problem.domain).constants)
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == golden["problem"]
    walker = Walker(Core(domain(problem.domain), problem))
    assert trace(index, walker.applicable, walker.facts, walker.apply) == golden["trace"]


@pytest.mark.parametrize("index", INDICES)
def test_plans_that_unified_planning_accepts_reach_the_goal_here_at_the_same_step(
    index: int,
) -> None:
    golden = GOLDEN[generator.task_id("generated", index)]
    problem = generated(index)
    world = World(domain(problem.domain), problem.objects, problem.init, problem.goal)
    walker = Walker(Core(domain(problem.domain), problem))
    steps = plan(world, GAMES[problem.domain].solve)
    assert steps is not None
    for number, step in enumerate(steps, 1):
        assert step in walker.applicable()
        walker.apply(step)
        won = all(walker.core.holds(walker.state, literal) for literal in problem.goal)
        assert won is (number == golden["solved_in"])


def test_the_golden_file_covers_every_domain_and_size() -> None:
    types = {name.split("/")[1] for name in GOLDEN}
    assert len(types) == 12
    assert len({record["trace"] for record in GOLDEN.values()}) == len(INDICES)


# --- random small domains ---------------------------------------------------------------------

OBJECTS = {"a": "small", "b": "small", "c": "large"}
PREDICATES = {"p": ("thing",), "q": ("small", "thing"), "r": (), "fixed": ("thing", "thing")}
TYPES = {"small": "thing", "large": "thing", "thing": "object"}


@st.composite
def operators(draw: st.DrawFn, number: int) -> Operator:
    kinds = draw(st.lists(st.sampled_from(["small", "large", "thing"]), max_size=3))
    parameters = tuple((f"?x{slot}", kind) for slot, kind in enumerate(kinds))
    fits = [
        (name, *args)
        for name, types in {**PREDICATES, "=": ("object", "object")}.items()
        for args in product([*dict(parameters), *OBJECTS], repeat=len(types))
        if all(
            kind in ("thing", "object") or {**dict(parameters), **OBJECTS}[arg] == kind
            for arg, kind in zip(args, types, strict=True)
        )
    ]
    changing = [fact for fact in fits if fact[0] not in ("=", "fixed")]
    literals = st.builds(Literal, st.sampled_from(fits), st.booleans())
    effects = st.lists(st.sampled_from(changing), max_size=3).map(tuple)
    return Operator(
        name=f"act{number}",
        parameters=parameters,
        conditions=tuple(draw(st.lists(literals, max_size=4))),
        adds=draw(effects),
        deletes=draw(effects),
    )


@st.composite
def problems(draw: st.DrawFn) -> tuple[Domain, Problem]:
    some = {f"act{n}": draw(operators(n)) for n in range(draw(st.integers(1, 3)))}
    small = Domain("small", TYPES, {}, PREDICATES, some)
    facts = [
        (name, *args)
        for name, kinds in PREDICATES.items()
        for args in product(OBJECTS, repeat=len(kinds))
        if all(kind == "thing" or OBJECTS[a] == kind for a, kind in zip(args, kinds, strict=True))
    ]
    init = draw(st.lists(st.sampled_from(facts), unique=True))
    goal = (Literal(draw(st.sampled_from(facts)), draw(st.booleans())),)
    return small, Problem("p", "small", OBJECTS, tuple(init), goal, "test")


def scan(
    domain_: Domain, problem: Problem, facts: set[tuple[str, ...]]
) -> dict[tuple[str, ...], set[tuple[str, ...]]]:
    """Every ground action that is possible with what is then true, by trying them all."""
    found = {}
    for operator in domain_.operators.values():
        for args in product(OBJECTS, repeat=len(operator.parameters)):
            kinds = [kind for _, kind in operator.parameters]
            if any(k not in ("thing", OBJECTS[a]) for a, k in zip(args, kinds, strict=True)):
                continue
            ground = operator.ground(args)
            if all(
                ((c.fact[1] == c.fact[2]) if c.fact[0] == "=" else (c.fact in facts)) is c.positive
                for c in ground.conditions
            ):
                found[operator.name, *args] = (facts - {*ground.deletes}) | {*ground.adds}
    return found


@settings(max_examples=120, deadline=None)
@given(problems(), st.data())
def test_the_index_finds_what_a_scan_of_all_actions_finds(
    made: tuple[Domain, Problem], data: st.DataObject
) -> None:
    small, problem = made
    core = Core(small, problem)
    state = core.initial
    for _ in range(4):
        facts = core.true_facts(state)
        expected = scan(small, problem, facts)
        numbers = core.applicable(state)
        actions = [(core.actions[n].name, *core.actions[n].args) for n in numbers]
        assert sorted(actions) == sorted(expected)
        assert len(set(actions)) == len(actions)
        able = [n for n in range(len(core.actions)) if core.can(state, n)]
        assert able == numbers == [n for n in range(len(core.actions)) if not core.unmet(state, n)]
        for number, action in zip(numbers, actions, strict=True):
            assert core.true_facts(core.apply(state, number)) == expected[action]
        if not numbers:
            break
        state = core.apply(state, data.draw(st.sampled_from(numbers)))


@settings(max_examples=60, deadline=None)
@given(problems())
def test_a_goal_said_to_be_out_of_reach_is_in_no_state_that_can_be_reached(
    made: tuple[Domain, Problem],
) -> None:
    core = Core(*made)
    literal = core.out_of_reach()
    seen, frontier = {core.initial}, [core.initial]
    while frontier and len(seen) < 300:
        state = frontier.pop()
        after = {core.apply(state, n) for n in core.applicable(state)} - seen
        seen |= after
        frontier += after
    if literal is not None:
        assert not any(core.holds(state, literal) for state in seen)


# --- bounds -------------------------------------------------------------------------------------


def many(parameters: int, objects: int) -> tuple[Domain, Problem]:
    names = tuple((f"?x{n}", "object") for n in range(parameters))
    act = Operator("act", names, (), (("p",),), ())
    things = {f"o{n}": "object" for n in range(objects)}
    large = Domain("large", {}, {}, {"p": (), "q": ("object",)}, {"act": act})
    return large, Problem("p", "large", things, (), (Literal(("p",)),), "big.pddl")


def test_too_many_ground_actions_are_refused() -> None:
    with pytest.raises(DataError, match=r"big\.pddl: too large: more than 50000 ground actions"):
        Core(*many(4, 40))
    assert len(Core(*many(3, 10)).actions) == 1000


def test_too_much_work_without_any_action_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strips, "MAX_BINDINGS", 10_000)
    large, problem = many(4, 40)
    never = Literal(("=", "?x0", "?x3")), Literal(("=", "?x0", "?x3"), positive=False)
    act = large.operators["act"]
    impossible = Operator("act", act.parameters, never, act.adds, ())
    with pytest.raises(DataError, match="too large"):
        Core(Domain("large", {}, {}, large.predicates, {"act": impossible}), problem)
