"""What is told against what minigrid's grid holds, and the worked example played in minigrid."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("minigrid", reason="needs the extra `babyai`")

import gymnasium
from minigrid.core import actions, constants, world_object
from minigrid.envs.babyai.core.roomgrid_level import RoomGridLevel
from minigrid.envs.babyai.core.verifier import ObjDesc, PutNextInstr

from agemem_eval.envs.babyai import levels, view
from agemem_eval.envs.babyai.commands import WORDS, Primitive
from agemem_eval.envs.babyai.env import BabyaiEnvironment
from agemem_eval.envs.babyai.game import Game

pytestmark = pytest.mark.babyai


def walk(game: Game, rng: random.Random, n_steps: int) -> Iterator[str]:
    """Random possible actions, macros as often as native ones."""
    for _ in range(n_steps):
        if game.over:
            return
        action = rng.choice(game.possible())
        game.step(action)
        yield action


# --- the text against the true grid --------------------------------------------------------------


def test_the_codes_are_minigrid_s() -> None:
    names = {code: name for name, code in constants.OBJECT_TO_IDX.items()}
    assert {code: names[code] for code in view.KINDS} == view.KINDS
    for name in ("unseen", "empty", "wall", "floor"):
        assert getattr(view, name.upper()) == constants.OBJECT_TO_IDX[name]
    assert list(view.COLORS) == sorted(constants.COLOR_TO_IDX, key=constants.COLOR_TO_IDX.get)
    assert list(view.STATES) == sorted(constants.STATE_TO_IDX, key=constants.STATE_TO_IDX.get)
    assert [int(a) for a in actions.Actions][: len(Primitive)] == [int(p) for p in Primitive]
    movable = {kind for kind in view.KINDS.values() if kind not in ("goal", "lava", "door")
               and getattr(world_object, kind.capitalize())("red").can_pickup()}  # fmt: skip
    assert movable == view.PORTABLE


def true_things(env: Any) -> set[tuple[str, int, int, str]]:
    """What is in sight, from the world's own coordinates: (name, ahead, right, state)."""
    x, y = map(int, env.agent_pos)
    (fx, fy), (rx, ry) = env.dir_vec, env.right_vec
    _, visible = env.gen_obs_grid()
    found = set()
    for i in range(env.grid.width):
        for j in range(env.grid.height):
            thing = env.grid.get(i, j)
            if thing is None or thing.type == "wall" or not env.in_view(i, j) or (i, j) == (x, y):
                continue
            if not visible[env.get_view_coords(i, j)]:
                continue
            state = ""
            if thing.type == "door":
                state = "open" if thing.is_open else "locked" if thing.is_locked else "closed"
            ahead, right = (i - x) * fx + (j - y) * fy, (i - x) * rx + (j - y) * ry
            found.add((f"{thing.color} {thing.type}", int(ahead), int(right), state))
    return found


def true_wall(env: Any, step: tuple[int, int], reach: int) -> int | None:
    """Steps to the nearest wall along a line that nothing hides."""
    x, y = map(int, env.agent_pos)
    for n in range(1, reach + 1):
        thing = env.grid.get(x + n * step[0], y + n * step[1])
        if thing is not None and thing.type == "wall":
            return n
        if thing is not None and not thing.see_behind():
            return None
    return None


@pytest.mark.parametrize("level", levels.GENERATED[4::5])
def test_all_that_is_in_sight_is_told_where_it_is_and_nothing_else(level: str) -> None:
    for seed in range(3):
        game = Game(levels.level_id(level), seed)
        for _ in walk(game, random.Random(seed), 25):
            env, seen = game.env, game.view
            told = {(t.name, t.ahead, t.right, t.state) for t in seen.things}
            assert len(told) == len(seen.things)
            assert told == true_things(env)
            lines = [(env.dir_vec, 6, "ahead"), (-env.right_vec, 3, "to the left"),
                     (env.right_vec, 3, "to the right")]  # fmt: skip
            walls = seen.text.partition("Walls: ")[2].partition(".")[0]
            for step, reach, word in lines:
                far = true_wall(env, tuple(map(int, step)), reach)
                told_wall = None if far is None else f"{far} step{'s' * (far > 1)} {word}"
                assert (word in walls) == (far is not None), (walls, word, far)
                assert told_wall is None or told_wall in walls
            carried = env.carrying
            assert seen.carried == (f"{carried.color} {carried.type}" if carried else "")


# --- the instructions ----------------------------------------------------------------------------


class Example(RoomGridLevel):
    """The building of the worked example, in minigrid's own kinds and colours."""

    def gen_mission(self) -> None:
        self.add_door(0, 0, door_idx=0, color="blue", locked=False)
        self.put_obj(world_object.Key("yellow"), 3, 3)
        self.put_obj(world_object.Ball("red"), 9, 4)
        self.put_obj(world_object.Ball("green"), 10, 2)
        self.agent_pos, self.agent_dir = (1, 4), 0
        self.instrs = PutNextInstr(ObjDesc("ball", "red"), ObjDesc("key", "yellow"))


def test_the_worked_example_is_played_as_it_is_told() -> None:
    gymnasium.register("BabyAI-Example-v0", entry_point=Example,
                       kwargs={"room_size": 7, "num_rows": 1, "num_cols": 2})  # fmt: skip
    game = Game("BabyAI-Example-v0", 0)
    made_up = {"white": "red", "lamp": "ball", "orange": "yellow", "black": "green", "pink": "blue"}
    example = BabyaiEnvironment.spec.instructions.example
    for told, real in made_up.items():
        example = example.replace(told, real)
    goal, first, *turns = example.split("\n\n")[0:1] + example.split("\n\n")[1:]
    assert goal == f"Your goal: {game.mission}"
    texts = [first, *turns]
    assert len(texts) == 7
    for number, text in enumerate(texts):
        observation, _, thought = text.partition("\n<think>")
        if number == 0:
            assert observation == game.view.text
        action = thought.partition("<answer>")[2].removesuffix("</answer>")
        outcome = game.step(action)
        assert outcome.valid
        if number + 1 < len(texts):
            assert texts[number + 1].startswith(outcome.text + "\n<think>")
    assert game.success


def test_the_instructions_name_every_action_and_show_no_mission_of_a_split() -> None:
    instructions = BabyaiEnvironment.spec.instructions
    for words in (*WORDS, "go to <", "pick up <", "go through <", "toggle and go through <"):
        assert f"- {words}" in instructions.text, words
    assert instructions.example.count("<think>") == instructions.example.count("<answer>") == 7
    missions = {Game(levels.level_id(level), 1).mission for level in levels.GENERATED}
    assert not any(mission in instructions.example for mission in missions)


def test_a_game_that_begins_with_something_carried_can_be_played() -> None:
    game = Game("BabyAI-PutNextS5N2Carrying-v0", 1)
    carried = game.env.carrying  # minigrid's first image does not show it yet
    assert carried is not None
    assert game.step("turn left").text.endswith(f"You carry a {carried.color} {carried.type}.")
    assert game.progress == 0.5  # half of putting it
