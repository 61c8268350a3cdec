"""Progress: what a goal asks for, and the share of it reached so far."""

from __future__ import annotations

import random

import pytest

from agemem_eval.envs.alfworld.engine import Engine
from agemem_eval.envs.alfworld.game import Game
from agemem_eval.envs.alfworld.generator import TASK_TYPES, generate
from agemem_eval.envs.alfworld.problem import parse_problem
from agemem_eval.envs.alfworld.progress import Progress, Wanted, wanted_by


def engine_of(index: int) -> Engine:
    game = generate("generated", index)
    return Engine(Game(parse_problem(game.problem, game.id), game.task, game.walkthrough))


def test_a_goal_says_what_it_wants() -> None:
    cooled = wanted_by(engine_of(4).game.goal)  # cool some lettuce and put it in sinkbasin
    assert cooled == (
        Wanted("lettucetype", frozenset({"cool"}), "sinkbasintype", held=False, lit=False),
    )
    two = wanted_by(engine_of(5).game.goal)  # put two soapbar in toilet
    assert two == (Wanted("soapbartype", frozenset(), "toilettype", held=False, lit=False),) * 2
    lamp, thing = wanted_by(engine_of(1).game.goal)  # look at tennisracket under the desklamp
    assert lamp == Wanted("desklamptype", frozenset(), None, held=False, lit=True)
    assert thing == Wanted("tennisrackettype", frozenset(), None, held=True, lit=False)


@pytest.mark.parametrize(
    ("task_type", "expected"),
    [
        ("pick_and_place_simple", [1 / 2, 1]),
        ("look_at_obj_in_light", [1 / 3, 1]),  # the last command lights the lamp and wins
        ("pick_clean_then_place_in_recep", [1 / 3, 2 / 3, 1]),
        ("pick_heat_then_place_in_recep", [1 / 3, 2 / 3, 1]),
        ("pick_cool_then_place_in_recep", [1 / 3, 2 / 3, 1]),
        ("pick_two_obj_and_place", [1 / 4, 2 / 4, 3 / 4, 1]),
    ],
)
def test_each_subgoal_counts_when_it_is_reached(task_type: str, expected: list[float]) -> None:
    engine = engine_of(TASK_TYPES.index(task_type))
    progress = Progress(engine)
    assert progress.update() == 0
    reached: list[float] = []
    for command in engine.game.walkthrough:
        engine.step(command)
        if progress.update() not in (0, *reached):
            reached.append(progress.best)
    assert reached == pytest.approx(expected)


def test_lamp_first_then_the_thing_elsewhere_is_no_win() -> None:
    engine = engine_of(1)
    take_to, take, to_lamp, use = engine.game.walkthrough
    progress = Progress(engine)
    for command, expected in ((to_lamp, 0), (use, 1 / 3), (take_to, 1 / 3), (take, 2 / 3)):
        engine.step(command)
        assert progress.update() == pytest.approx(expected)
    engine.step(to_lamp)
    assert progress.update() == 1


def test_two_things_in_two_places_are_not_two_of_them() -> None:
    # put two book in coffeetable: the second coffee table does not help the first.
    engine = engine_of(11)
    progress = Progress(engine)
    reached = []
    to_second, take_second = engine.game.walkthrough[5:7]
    for command in (
        *engine.game.walkthrough[:5],
        to_second,
        take_second,
        "go to coffeetable 2",
        "move book 2 to coffeetable 2",
    ):
        engine.step(command)
        assert engine.valid
        reached.append(progress.update())
    assert reached == [0, 0, 1 / 4, 1 / 4, 2 / 4, 2 / 4, 3 / 4, 3 / 4, 3 / 4]
    assert not engine.won


@pytest.mark.parametrize("index", range(24))
def test_progress_never_falls_and_is_one_exactly_when_won(index: int) -> None:
    engine = engine_of(index)
    progress = Progress(engine)
    rng = random.Random(index)
    last = progress.update()
    for _ in range(300):
        engine.step(rng.choice(engine.admissible()))
        assert 0 <= last <= progress.update() <= 1
        last = progress.best
        assert (last == 1) == engine.won
        if engine.won:
            break
