"""The experts: the oracle wins everything, the explorer most of it by reading alone."""

from __future__ import annotations

import ast
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from agemem_eval.envs.alfworld import explorer as explorer_module
from agemem_eval.envs.alfworld.engine import Engine
from agemem_eval.envs.alfworld.env import AlfworldEnvironment
from agemem_eval.envs.alfworld.experts import Oracle
from agemem_eval.envs.alfworld.explorer import Errand, Explorer, read_task
from agemem_eval.envs.alfworld.game import Game
from agemem_eval.envs.alfworld.gamefile import load_game
from agemem_eval.envs.alfworld.generator import SIZES, generate
from agemem_eval.envs.alfworld.problem import parse_problem

CAP = 50


@pytest.fixture(scope="module")
def generated() -> list[Game]:
    games = [generate("generated", index) for index in range(SIZES["generated"])]
    return [Game(parse_problem(g.problem, g.id), g.task, g.walkthrough) for g in games]


@pytest.fixture(scope="module")
def official(alfworld_data: Path) -> list[Game]:
    files = sorted(alfworld_data.glob("json_2.1.1/valid_seen/*/*/game.tw-pddl"))
    assert len(files) == 140
    return [load_game(file) for file in files]


@pytest.fixture(params=["generated", "official"])
def games(request: pytest.FixtureRequest) -> list[Game]:
    found: list[Game] = request.getfixturevalue(request.param)
    return found


def disturb(engine: Engine, steps: int, note: Callable[[str, str], None]) -> None:
    """Random actions, up to a win.

    Nothing is taken that no receptacle takes back (official games have teddy bears and paper
    towels of that kind): with one in hand, a game cannot be won any more.
    """
    rng = random.Random(engine.game.source.rpartition("json_2.1.1")[2])
    game = engine.game
    for _ in range(steps):
        action = rng.choice(engine.admissible())
        thing = action.removeprefix("take ").partition(" from ")[0]
        stuck = not any(game.types.get(thing) in kinds for kinds in game.holdable.values())
        if engine.won or (action.startswith("take ") and stuck):
            continue
        note(action, engine.step(action))


# --- oracle -------------------------------------------------------------------------------------


@pytest.mark.parametrize("disturbance", [0, 40])
def test_the_oracle_wins_every_game(games: list[Game], disturbance: int) -> None:
    for game in games:
        engine = Engine(game)
        disturb(engine, disturbance, lambda *_: None)
        oracle = Oracle(engine)
        for _ in range(CAP):
            action = oracle.next_action()
            if action is None:
                break
            engine.step(action)
            assert engine.valid, (game.source, action)
        assert engine.won, game.source


def test_the_oracle_is_about_as_short_as_the_walkthroughs(games: list[Game]) -> None:
    steps = 0
    for game in games:
        engine = Engine(game)
        oracle = Oracle(engine)
        while (action := oracle.next_action()) is not None:
            engine.step(action)
            steps += 1
    assert steps <= 1.05 * sum(len(game.walkthrough) for game in games)


def test_the_oracle_needs_no_more_steps_than_its_tasks_claim() -> None:
    environment = AlfworldEnvironment()
    for task in [*environment.tasks("generated"), *environment.tasks("generated-train")[::7]]:
        environment.reset(task, 0)
        assert task.oracle_steps is not None
        for _ in range(task.oracle_steps):
            result = environment.step(environment.expert_action() or "")
            if result.terminated:
                break
        assert result.success, task.id


def test_the_oracle_gives_up_where_nothing_helps(official: list[Game]) -> None:
    for game in official:
        bears = [thing for thing in game.objects if thing.startswith("teddybear")]
        engine = Engine(game)
        places = engine.places_of(bears[0]) if bears else ()
        if places:
            engine.step(f"go to {places[0]}")
            engine.step(f"take {bears[0]} from {places[0]}")
            assert engine.holding == bears[0]
            assert Oracle(engine).next_action() is None
            return
    pytest.fail("no official game with a teddy bear")


# --- explorer -----------------------------------------------------------------------------------


def explore(engine: Engine, disturbance: int = 0) -> int | None:
    """Steps to a win within the cap, or None."""
    explorer = Explorer(engine.game.task, engine.reset())
    disturb(engine, disturbance, explorer.observe)
    for steps in range(CAP + 1):
        if engine.won:
            return steps
        action = explorer.next_action()
        assert action is not None
        explorer.observe(action, engine.step(action))
    return None


@pytest.mark.parametrize("disturbance", [0, 40])
def test_the_explorer_wins_nearly_every_game(games: list[Game], disturbance: int) -> None:
    steps = [explore(Engine(game), disturbance) for game in games]
    won = [n for n in steps if n is not None]
    assert len(won) >= 0.97 * len(games)
    assert sum(won) / len(won) < 12  # against 6 of the oracle


def test_the_explorer_searches_where_the_oracle_knows(generated: list[Game]) -> None:
    longer = [(explore(Engine(g)) or CAP) > len(g.walkthrough) for g in generated]
    assert sum(longer) > 80


def test_the_explorer_can_reach_nothing_but_text_and_common_sense() -> None:
    tree = ast.parse(Path(explorer_module.__file__).read_text())
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            imported.add("." * node.level + (node.module or ""))
        elif isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
    allowed = {"__future__", "re", "collections", "collections.abc", "dataclasses", ".scenes"}
    assert imported <= allowed


def test_what_is_hidden_does_not_change_what_the_explorer_does() -> None:
    # Where the egg lies must not show before the player has seen it.
    room = (
        "You are in the middle of a room. Looking quickly around you, you see a cabinet 2, "
        "a cabinet 1, a countertop 1, a fridge 1, a garbagecan 1, a microwave 1."
    )
    explorer = Explorer("put a hot egg in garbagecan.", room)
    asked = []
    for observation in (
        "You arrive at countertop 1. On the countertop 1, you see a plate 1.",
        "You arrive at fridge 1. The fridge 1 is closed.",
        "You open the fridge 1. The fridge 1 is open. In it, you see a mug 3, and a egg 12.",
        "You pick up the egg 12 from the fridge 1.",
        "You arrive at microwave 1. The microwave 1 is closed.",
        "You heat the egg 12 using the microwave 1.",
        "You arrive at garbagecan 1. On the garbagecan 1, you see nothing.",
        "You move the egg 12 to the garbagecan 1.",
    ):
        action = explorer.next_action()
        assert action is not None
        asked.append(action)
        explorer.observe(action, observation)
    assert asked == [
        "go to countertop 1",
        "go to fridge 1",
        "open fridge 1",
        "take egg 12 from fridge 1",
        "go to microwave 1",
        "heat egg 12 with microwave 1",
        "go to garbagecan 1",
        "move egg 12 to garbagecan 1",
    ]


def test_the_explorer_finds_out_what_is_beside_it() -> None:
    room = (
        "You are in the middle of a room. Looking quickly around you, you see a shelf 2, a shelf 1."
    )
    explorer = Explorer("put some pen on sofa.", room)
    explorer.observe("go to shelf 1", "You arrive at shelf 1. On the shelf 1, you see nothing.")
    assert explorer.next_action() == "go to shelf 2"
    explorer.observe("go to shelf 2", "Nothing happens.")  # it is within reach already
    assert explorer.next_action() == "examine shelf 2"


def test_the_explorer_puts_down_what_is_in_its_way() -> None:
    room = "You are in the middle of a room. Looking quickly around you, you see a desk 1, a bed 1."
    explorer = Explorer("put a book in bed.", room)
    explorer.observe(
        "go to desk 1", "You arrive at desk 1. On the desk 1, you see a pen 1, a mug 2."
    )
    explorer.observe("take pen 1 from desk 1", "You pick up the pen 1 from the desk 1.")
    assert explorer.next_action() == "move pen 1 to desk 1"


@pytest.mark.parametrize(
    ("goal", "errand"),
    [
        ("put a mug in desk.", Errand("mug", "desk")),
        ("put some spraybottle on toilet.", Errand("spraybottle", "toilet")),
        ("put two cd in safe.", Errand("cd", "safe", count=2)),
        ("find two book and put them in bed.", Errand("book", "bed", count=2)),
        ("put a clean ladle in drawer.", Errand("ladle", "drawer", "clean", "sinkbasin")),
        ("heat some egg and put it in fridge.", Errand("egg", "fridge", "heat", "microwave")),
        ("put a cool pan in stoveburner.", Errand("pan", "stoveburner", "cool", "fridge")),
        ("look at bowl under the desklamp.", Errand("bowl", lamp="desklamp")),
        ("examine the vase with the desklamp.", Errand("vase", lamp="desklamp")),
        ("Your task is to: put a mug in desk.", Errand("mug", "desk")),
        ("write a poem.", None),
    ],
)
def test_task_sentences_are_understood(goal: str, errand: Errand | None) -> None:
    assert read_task(goal) == errand
    if errand is None:
        assert Explorer(goal, "You are in the middle of a room.").next_action() is None
