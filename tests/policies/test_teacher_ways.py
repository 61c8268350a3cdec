"""The ways of the planning problems, played from their texts in the engine."""

from __future__ import annotations

import random

import pytest

from agemem_eval.envs.pddl import generator
from agemem_eval.envs.pddl.engine import Engine
from agemem_eval.envs.pddl.env import PddlEnvironment
from agemem_eval.envs.pddl.games import GAMES
from agemem_eval.envs.pddl.planner import Observer
from agemem_eval.policies.teacher.ways import Step, way

DOMAINS = tuple(GAMES)


def start(split: str, index: int) -> tuple[Engine, Observer, int]:
    """A problem, what reads it, and its step cap."""
    task = PddlEnvironment().tasks(split)[index]
    problem = generator.generate(split, index, task.data["draw"])
    engine = Engine(GAMES[problem.domain], problem)
    assert task.max_steps is not None
    return engine, Observer(engine.goal(), engine.introduction()), task.max_steps


def step_of(engine: Engine, observer: Observer) -> Step:
    world = observer.world()
    assert world is not None
    step = way(engine.game.name, world)
    assert step is not None
    return step


@pytest.mark.parametrize("index", range(0, 48))
def test_every_problem_is_solved_within_its_steps_by_what_the_texts_tell(index: int) -> None:
    engine, observer, cap = start("generated", index)
    for _ in range(cap):
        observer.observe(engine.step(step_of(engine, observer).action))
        assert engine.valid
        if engine.won:
            return
    pytest.fail(f"{generator.task_type(index)} is not solved in {cap} steps")


@pytest.mark.parametrize("index", range(0, 24))
def test_mistakes_are_made_good(index: int) -> None:
    """Unless one of them cannot be: a shaker with a wrong mixture is the planner's."""
    engine, observer, cap = start("generated-train", index)
    draws = random.Random(index)
    for _ in range(3 * cap):
        world = observer.world()
        assert world is not None
        step = way(engine.game.name, world)
        if step is None:
            assert engine.game.name == "barman"
            action = observer.next_action()
            assert action is not None
        else:
            action = step.action
        if draws.random() < 0.15:
            action = draws.choice(engine.admissible())
        observer.observe(engine.step(action))
        if engine.won:
            return
    pytest.fail(f"{generator.task_type(index)} is not solved in {3 * cap} steps")


SAID = {
    "gripper": "In rooma. left free; right free. roomb: ball1 stays, ball3 to rooma; rooma: "
    "ball2 to roomb. ball2 is here.",
    "blocksworld": "Wanted: b1 b4 b3. Now: b1 b2 off; b3; b4. Hand: empty. Take off b1.",
    "barman": "Not yet: shot2 contains cocktail2. left free; right free. cocktail2: ingredient1 "
    "and ingredient2. shaker1 is empty and clean. ingredient1 is missing; shot1 brings it. shot1 "
    "is empty and clean. ",
}


@pytest.mark.parametrize("domain", SAID)
def test_what_is_said_first_of_an_easy_problem(domain: str) -> None:
    index = next(i for i in range(48) if generator.task_type(i) == f"{domain}-easy")
    step = step_of(*start("generated-train", index)[:2])
    assert f"{step.state} {step.why}" == SAID[domain]


GOALS = {  # of kinds that no generated problem has
    "gripper": "you are in roomb",
    "blocksworld": "your hand is empty",
    "barman": "the left hand is free",
    "tyreworld": "you have jack",
}


@pytest.mark.parametrize("domain", DOMAINS)
def test_of_a_goal_of_another_kind_there_is_no_step(domain: str) -> None:
    index = next(i for i in range(12) if generator.task_type(i).startswith(domain))
    engine, _, _ = start("generated", index)
    observer = Observer(f"make all of this true: {GOALS[domain]}.", engine.introduction())
    world = observer.world()
    assert world is not None
    assert world.goal
    assert way(domain, world) is None


def test_towers_that_bite_their_own_tails_are_not_built() -> None:
    engine, _, _ = start("generated", DOMAINS.index("blocksworld"))
    observer = Observer("make all of this true: b1 is on b2; b2 is on b1.", engine.introduction())
    world = observer.world()
    assert world is not None
    assert way("blocksworld", world) is None
