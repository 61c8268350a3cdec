"""The experts: what they win, from where, and how near to the shortest way."""

from __future__ import annotations

import time
from itertools import pairwise, product
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agemem_eval.envs.pddl import generator
from agemem_eval.envs.pddl.engine import Engine
from agemem_eval.envs.pddl.env import PddlEnvironment
from agemem_eval.envs.pddl.games import GAMES, domain
from agemem_eval.envs.pddl.language import Literal, Problem, check
from agemem_eval.envs.pddl.planner import Observer, Planner
from agemem_eval.envs.pddl.strips import Core
from agemem_eval.envs.pddl.world import World, plan
from agemem_eval.harness.types import Task


def won_in(environment: PddlEnvironment, task: Task, expert: str) -> int | None:
    environment.reset(task, 0)
    for step in range(1, (task.max_steps or 0) + 1):
        action = environment.expert_action(expert)
        if action is None:
            return None
        result = environment.step(action)
        assert result.valid, (task.id, action, result.observation)
        if result.terminated:
            return step
    return None


def shortest(core: Core, most: int = 30_000) -> int | None:
    """The length of a shortest plan, by breadth; None where that takes too long."""
    seen, layer, depth = {core.initial}, [core.initial], 0
    while layer and len(seen) < most:
        if any(all(core.holds(s, g) for g in core.problem.goal) for s in layer):
            return depth
        following = {core.apply(s, n) for s in layer for n in core.applicable(s)} - seen
        seen |= following
        layer, depth = list(following), depth + 1
    return None


# --- winning ------------------------------------------------------------------------------------


@pytest.mark.parametrize("expert", ["oracle", "observer"])
def test_every_generated_task_is_won_in_the_steps_it_claims(expert: str) -> None:
    environment = PddlEnvironment()
    tasks = [*environment.tasks("generated"), *environment.tasks("generated-train")[::25]]
    for task in tasks:
        assert task.oracle_steps is not None
        assert task.max_steps == max(30, 2 * task.oracle_steps)
        assert won_in(environment, task, expert) == task.oracle_steps


def test_the_oracle_is_near_the_shortest_plan() -> None:
    excess, n = 0.0, 0
    for entry in generator.catalogue("generated"):
        name, size = generator.setting(entry.index)
        if size == "easy" and name != "barman":  # barman's state space is too large for this
            problem = generator.generate("generated", entry.index, entry.draw)
            best = shortest(Core(domain(name), problem))
            if best is not None:
                assert best <= entry.steps <= 2 * best  # so the cap leaves room for any plan
                excess, n = excess + entry.steps / best, n + 1
    assert n >= 20
    assert excess / n < 1.15


@pytest.mark.parametrize("seed", range(3))
def test_both_experts_go_on_after_anybody_elses_actions(seed: int) -> None:
    environment, rng = PddlEnvironment(), Random(seed)
    for task in environment.tasks("generated")[seed::3]:
        environment.reset(task, 0)
        result = None
        for _ in range(40):  # by chance, with wrong words among it
            actions = environment.valid_actions()
            result = environment.step(rng.choice([*actions, "dance"]))
            if result.terminated:
                break
        for _ in range(300):
            action = environment.expert_action("oracle")
            assert environment.expert_action("observer") == action
            if action is None:
                break
            result = environment.step(action)
        assert result is not None
        # Only in barman can a shot or the shaker be spoilt for good.
        assert result.success or task.type.startswith("barman")


def test_asking_an_expert_again_changes_nothing() -> None:
    environment = PddlEnvironment()
    environment.reset(environment.tasks("generated")[2], 0)
    first = environment.expert_action("oracle")
    assert environment.expert_action("oracle") == first
    environment.step("nonsense")
    environment.step("look")
    assert environment.expert_action("oracle") == first
    assert environment.expert_action("observer") == first


# --- goals and states beyond the generator's -----------------------------------------------------


def solved(name: str, objects: dict[str, str], init: list[str], goal: list[str]) -> bool:
    problem = check(
        Problem("p", name, objects, tuple(tuple(f.split()) for f in init),
                tuple(Literal(tuple(f.split())) for f in goal), "test"),
        domain(name),
    )  # fmt: skip
    steps = plan(World(domain(name), problem.objects, problem.init, problem.goal),
                 GAMES[name].solve)  # fmt: skip
    engine = Engine(GAMES[name], problem)
    assert Planner(GAMES[name], problem.objects, problem.goal).next_action(
        engine.core.true_facts(engine.state)
    ) == (engine.game.words.action(domain(name).operators[steps[0][0]], steps[0][1:])
          if steps else None)  # fmt: skip
    return steps is not None


BLOCKS = dict.fromkeys("abcd", "block")
TOWER = ["arm-empty", "on-table a", "on b a", "on c b", "clear c", "on-table d", "clear d"]


@pytest.mark.parametrize(
    "goal",
    [
        ["on-table c"], ["clear a"], ["holding b"], ["on a c", "clear a"], ["on d c", "on b a"],
        ["on c d", "on-table b"], ["clear b", "arm-empty"], ["on a d", "on d b", "on-table b"],
        ["holding a", "on c b"],
    ],
)  # fmt: skip
def test_blocks_of_any_sensible_goal(goal: list[str]) -> None:
    assert solved("blocksworld", BLOCKS, TOWER, goal)


@pytest.mark.parametrize("goal", [["on a b", "on b a"], ["on a a"], ["on a b", "on-table a"]])
def test_blocks_of_an_impossible_goal_have_no_plan(goal: list[str]) -> None:
    assert not solved("blocksworld", BLOCKS, TOWER, goal)


def test_blocks_of_an_impossible_state_have_no_plan() -> None:
    assert not solved("blocksworld", BLOCKS, ["arm-empty", "on a b", "on b a"], ["on c a"])


GRIPPER = {"rooma": "room", "roomb": "room", "x": "ball", "y": "ball", "left": "gripper"}
ROOMS = ["at-robby rooma", "at x rooma", "at y roomb", "free left"]


@pytest.mark.parametrize(
    "goal",
    [
        ["carry y left"], ["at x roomb", "at-robby rooma"], ["at y rooma", "carry x left"],
        ["at x roomb", "at y rooma"], ["at-robby roomb", "carry x left"],
    ],
)  # fmt: skip
def test_balls_of_any_sensible_goal(goal: list[str]) -> None:
    assert solved("gripper", GRIPPER, ROOMS, goal)


def test_a_robot_that_is_nowhere_has_no_plan() -> None:
    assert not solved("gripper", GRIPPER, ["at x rooma", "free left"], ["at x roomb"])


CAR = {"boot": "container", "h": "hub", "n": "nut", "r": "wheel", "w": "wheel"}
FLAT = ["in jack boot", "in wrench boot", "in pump boot", "in r boot", "closed boot",
        "unlocked boot", "intact r", "not-inflated r", "on w h", "on-ground h", "fastened h",
        "tight n h"]  # fmt: skip


@pytest.mark.parametrize(
    "goal",
    [
        ["free h"], ["unfastened h"], ["loose n h"], ["in n boot"], ["have w", "in jack boot"],
        ["not-on-ground h"], ["on r h", "fastened h", "on-ground h", "closed boot"],
        ["on r h", "loose n h", "inflated r", "isopen boot", "in w boot"],
        ["in wrench boot", "in pump boot", "in jack boot", "inflated r", "closed boot"],
    ],
)  # fmt: skip
def test_wheels_of_any_sensible_goal(goal: list[str]) -> None:
    assert solved("tyreworld", CAR, FLAT, goal)


def test_a_locked_boot_has_no_plan() -> None:
    assert not solved("tyreworld", CAR, [f for f in FLAT if f != "unlocked boot"], ["have r"])


BAR = {"left": "hand", "right": "hand", "shaker1": "shaker", "s1": "shot", "s2": "shot",
       "i1": "ingredient", "i2": "ingredient", "i3": "ingredient", "c": "cocktail",
       "d1": "dispenser", "d2": "dispenser", "d3": "dispenser", "l0": "level", "l1": "level",
       "l2": "level"}  # fmt: skip
RECIPE = ["cocktail-part1 c i1", "cocktail-part2 c i2"]
FIXED = ["dispenses d1 i1", "dispenses d2 i2", "dispenses d3 i3", "next l0 l1", "next l1 l2",
         "shaker-empty-level shaker1 l0", "handempty left", "handempty right"]  # fmt: skip
SHOTS = ["ontable s1", "ontable s2", "empty s1", "empty s2", "clean s1", "clean s2"]


@pytest.mark.parametrize(
    "shaker",
    [
        ["empty shaker1", "clean shaker1", "shaker-level shaker1 l0"],
        ["empty shaker1", "shaker-level shaker1 l0"],
        ["contains shaker1 i2", "unshaked shaker1", "shaker-level shaker1 l1"],
        ["contains shaker1 i1", "contains shaker1 i2", "unshaked shaker1",
         "shaker-level shaker1 l2"],
        ["contains shaker1 c", "shaked shaker1", "shaker-level shaker1 l1"],
        ["contains shaker1 c", "shaked shaker1", "shaker-level shaker1 l0"],
    ],
)  # fmt: skip
@pytest.mark.parametrize("goal", [["contains s1 c"], ["contains s1 c", "contains s2 c"],
                                  ["contains s1 c", "contains s2 i3"]])  # fmt: skip
def test_cocktails_from_any_state_of_the_shaker(shaker: list[str], goal: list[str]) -> None:
    assert solved("barman", BAR, [*FIXED, *RECIPE, *SHOTS, "ontable shaker1", *shaker], goal)


def test_a_spoilt_shaker_is_saved_by_another_recipe_or_by_nothing() -> None:
    spoilt = ["contains shaker1 i3", "unshaked shaker1", "shaker-level shaker1 l1"]
    init = [*FIXED, *RECIPE, *SHOTS, "ontable shaker1", *spoilt]
    assert not solved("barman", BAR, init, ["contains s1 c"])
    other = ["cocktail-part1 other i3", "cocktail-part2 other i1"]
    assert solved("barman", {**BAR, "other": "cocktail"}, [*init, *other], ["contains s1 c"])


def test_a_shot_that_held_another_cocktail_is_beyond_cleaning() -> None:
    fresh = ["ontable shaker1", "empty shaker1", "clean shaker1", "shaker-level shaker1 l0"]
    init = [*FIXED, *RECIPE, *fresh, "ontable s1", "contains s1 other", "ontable s2", "empty s2",
            "clean s2"]  # fmt: skip
    objects = {**BAR, "other": "cocktail"}
    assert not solved("barman", objects, init, ["contains s1 c"])
    assert solved("barman", objects, init, ["contains s2 c"])


def test_an_observer_that_cannot_read_the_first_text_has_no_action() -> None:
    observer = Observer("make a wish", "You are in the middle of a room.")
    observer.observe("Now: you are rich.")
    assert observer.next_action() is None


def test_what_an_observer_has_read_is_what_is_true_in_the_engine() -> None:
    environment = PddlEnvironment()
    for task in environment.tasks("generated")[::17]:
        shown = environment.reset(task, 0)
        observer = Observer(shown.goal, shown.text)
        engine = environment._episode and environment._episode.engine
        assert engine is not None
        while (action := observer.next_action()) is not None:
            observer.observe(environment.step(action).observation)
            world = observer.world()
            assert world is not None
            assert observer.facts == engine.core.true_facts(engine.state)
            assert world.reached() is engine.won
        assert engine.won


# --- the model they plan in ---------------------------------------------------------------------

FACTS = st.tuples(st.sampled_from("pq"), st.sampled_from("abc"), st.sampled_from("abc"))


@given(st.sets(FACTS), st.sets(FACTS), st.tuples(*[st.sampled_from(["a", "b", "z", None])] * 2))
def test_what_is_found_is_what_a_scan_of_all_facts_finds(
    facts: set[tuple[str, ...]], goal: set[tuple[str, ...]], pattern: tuple[str | None, ...]
) -> None:
    world = World(domain("gripper"), {}, facts, [Literal(fact) for fact in goal])
    for predicate, length in product("pqr", range(3)):
        part = pattern[:length]
        for found, among in ((world.find, facts), (world.wants, goal)):
            assert found(predicate, *part) == sorted(
                fact
                for fact in among
                if fact[0] == predicate
                and all(want in (None, arg) for want, arg in zip(part, fact[1:], strict=False))
            )


def test_a_tower_of_150_blocks_is_turned_over_at_once() -> None:
    blocks = [f"b{number}" for number in range(150)]
    facts = [("arm-empty",), ("on-table", blocks[0]), ("clear", blocks[-1])]
    facts += [("on", upper, lower) for lower, upper in pairwise(blocks)]
    goal = [Literal(("on", upper, lower)) for upper, lower in pairwise(blocks)]
    world = World(domain("blocksworld"), dict.fromkeys(blocks, "block"), facts, goal)
    start = time.process_time()
    steps = plan(world, GAMES["blocksworld"].solve)
    assert time.process_time() - start < 3  # seconds; 9 if each question looks at all facts
    assert len(steps or ()) == 2 * len(blocks)  # each is lifted once and put down once
