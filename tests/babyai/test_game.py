"""Games held against minigrid itself: what is described, what is done, and what it is worth."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

gymnasium = pytest.importorskip("gymnasium", reason="needs the extra `babyai`")
pytest.importorskip("minigrid", reason="needs the extra `babyai`")

from minigrid.core import actions, constants, world_object  # noqa: E402
from minigrid.envs.babyai.core.roomgrid_level import RoomGridLevel  # noqa: E402
from minigrid.envs.babyai.core.verifier import ObjDesc, PutNextInstr  # noqa: E402

from agemem_eval.envs.babyai import levels, view  # noqa: E402
from agemem_eval.envs.babyai.commands import WORDS, Primitive  # noqa: E402
from agemem_eval.envs.babyai.env import BabyaiEnvironment  # noqa: E402
from agemem_eval.envs.babyai.game import Game  # noqa: E402
from agemem_eval.harness.errors import DataError, UsageError  # noqa: E402
from agemem_eval.harness.types import Task  # noqa: E402

pytestmark = pytest.mark.babyai

EVERY_FIFTH = levels.GENERATED[4::5]
NOT_ACTIONS = [
    "",
    " ",
    "go to the moon",
    "turn",
    "x" * 10_000,
    "turn left\0",
    "\ud800",
    "7",
    "done",
]


def bare(level: str, seed: int) -> Any:
    """minigrid's own environment, as anybody would make it."""
    with contextlib.redirect_stdout(io.StringIO()):
        env = gymnasium.make(levels.level_id(level))
        env.reset(seed=seed)
    return env


def task_of(level: str, seed: int, split: str = "generated") -> Task:
    return Task(f"{level}/{seed}", split, data={"level": level, "seed": seed})


def started(level: str, seed: int, split: str = "generated") -> BabyaiEnvironment:
    environment = BabyaiEnvironment()
    environment.reset(task_of(level, seed, split), 0)
    return environment


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


@pytest.mark.parametrize("level", EVERY_FIFTH)
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


# --- actions against minigrid's ------------------------------------------------------------------


@pytest.mark.parametrize("level", EVERY_FIFTH)
def test_the_native_actions_played_bare_are_worth_the_same(level: str) -> None:
    for seed in range(4):
        game = Game(levels.level_id(level), seed)
        list(walk(game, random.Random(seed), 60))
        env = bare(level, seed)
        assert env.unwrapped.mission == game.mission
        results = [env.step(int(primitive)) for primitive in game.primitives]
        rewards = [float(result[1]) for result in results]
        assert rewards[-1] == game.reward
        assert not any(rewards[:-1])
        assert [any(r[2:4]) for r in results] == [False] * (len(results) - 1) + [game.over]
        assert results[-1][2:4] == (game.terminated, game.truncated)
        assert env.unwrapped.hash() == game.env.hash()


def test_an_action_reports_the_native_actions_it_took() -> None:
    environment = started("GoToLocal-v0", 1)
    game = environment._episode.game
    says = {v: k for k, v in WORDS.items() if v < Primitive.PICKUP}
    for _ in range(12):
        before = len(game.primitives)
        macro = random.Random(before).choice([a for a in game.possible() if a.startswith("go to")])
        text = environment.step(macro).observation
        done = [says.get(p, "stay") for p in game.primitives[before:]]
        read = text.partition("You ")[2].partition(".")[0].split(", ")
        unfolded = [w.rsplit(" ", 2)[0] for w in read if w.endswith("times")
                    for _ in range(int(w.rsplit(" ", 2)[1]))]  # fmt: skip
        assert sorted(unfolded + [w for w in read if not w.endswith("times")]) == sorted(done)
        if game.over:
            break


@pytest.mark.parametrize("level", ["GoToLocal-v0", "BlockedUnlockPickup-v0", "BossLevel-v0"])
def test_exactly_the_listed_actions_are_valid(level: str) -> None:
    environment = started(level, 2)
    rng, others = random.Random(0), started(level, 2)
    names = [f"{c} {k} {n}" for c in view.COLORS for k in view.KINDS.values() for n in (1, 2)]
    verbs = ("go to", "pick up", "go through", "toggle and go through")
    every = [*WORDS, *(f"{verb} {name}" for verb in verbs for name in names)]
    for _ in range(6):
        listed = environment.valid_actions()
        assert listed == sorted(listed)
        for action in set(every) - set(listed):
            result = environment.step(action)
            assert (result.valid, result.reward) == (False, 0.0), action
            assert environment.valid_actions() == listed
        action = rng.choice(listed)
        result = environment.step(action)
        assert result.valid
        # Refusals have left no trace: the other game has seen none.
        assert others.step(action) == result
        if result.terminated:
            break


@pytest.mark.parametrize("action", NOT_ACTIONS)
def test_senseless_actions_are_invalid_and_change_nothing(action: str) -> None:
    environment = started("GoToLocal-v0", 1)
    game = environment._episode.game
    before = game.env.hash(), game.env.step_count
    view_before = game.view.text
    result = environment.step(action)
    assert result.observation == f"That is not an action. {view_before}"
    assert (result.valid, result.success, result.terminated) == (False, False, False)
    assert (game.env.hash(), game.env.step_count) == before


def test_a_macro_stops_as_soon_as_the_mission_is_accomplished() -> None:
    # The mission is accomplished in front of the door, before it would be opened.
    for seed in range(30):
        environment = started("GoToDoor-v0", seed)
        game = environment._episode.game
        door = game.mission.removeprefix("go to the ").removeprefix("go to a ")
        macro = next(
            (a for a in game.possible() if a.startswith(f"toggle and go through {door}")), None
        )
        if macro is None or game.view.find(door, 1).ahead < 2:
            continue
        result = environment.step(macro)
        assert (result.success, result.terminated, result.progress) == (True, True, 1.0)
        assert "toggle" not in result.observation
        assert "The mission is accomplished." in result.observation
        after = environment.step("turn left")
        assert (after.reward, after.valid, after.terminated) == (0.0, False, True)
        assert after.success
        assert environment.valid_actions() == []
        assert environment.expert_action() is None
        return
    pytest.fail("no such game")


def test_going_to_what_one_faces_already_is_a_native_action_without_effect() -> None:
    # So that minigrid gets to check the mission, as it does after every native action.
    game = Game("BabyAI-UnlockLocal-v0", 1)
    while not (offered := [a for a in game.possible() if a.startswith("go to")]):
        game.step("turn left")
    key = offered[0]
    game.step(key)
    name = key.removeprefix("go to ").rsplit(" ", 1)[0]
    before, pose = game.env.step_count, game.env.hash()
    outcome = game.step(f"go to {name} 1")
    assert outcome.valid
    assert outcome.text.startswith("You stay. You see")
    assert (game.env.step_count, game.env.hash()) == (before + 1, pose)


def test_a_wrong_thing_fails_where_the_level_is_strict() -> None:
    environment = started("OpenDoorsOrderN4Debug-v0", 1234, "agentboard")
    assert environment._episode.game.mission == "open the blue door after you open the red door"
    result = None
    for _ in range(40):
        actions_ = environment.valid_actions()
        doors = [a for a in actions_ if a.startswith("toggle and go")]
        result = environment.step(doors[0] if doors else "turn left")
        if result.terminated:
            break
    assert result is not None
    assert (result.terminated, result.success, result.reward) == (True, False, 0.0)
    assert "The mission has failed." in result.observation


def test_minigrid_s_own_limit_ends_a_game_as_truncated() -> None:
    environment = started("OpenTwoDoors-v0", 1)
    limit = environment._episode.game.env.max_steps
    for number in range(1, limit + 1):
        result = environment.step("turn left")
        assert (result.truncated, result.terminated) == (number == limit, False)
    assert "The time is up." in result.observation
    assert (result.success, result.reward) == (False, 0.0)
    assert environment.step("turn left").truncated


def test_a_way_that_is_blocked_beyond_a_door_ends_in_the_doorway() -> None:
    environment = started("KeyCorridorS3R1-v0", 1)  # the key lies right behind the door
    result = environment.step("toggle and go through red door 1")
    assert result.valid
    assert "You stand in the doorway: the way beyond is blocked." in result.observation
    assert "You see grey key 1, 1 step ahead." in result.observation


# --- what it is worth ----------------------------------------------------------------------------


def test_progress_never_falls_and_is_whole_only_with_success() -> None:
    values, won = set(), 0
    for level in levels.GENERATED[::4]:
        environment = started(level, 3)
        best, result, rng = 0.0, None, random.Random(level)
        for number in range(60):
            action = environment.expert_action() if number > 3 else None
            result = environment.step(action or rng.choice(environment.valid_actions()))
            assert result.progress is not None
            assert best <= result.progress <= 1.0
            assert (result.progress == 1.0) is result.success
            best = result.progress
            values.add(best)
            if result.terminated or result.truncated:
                break
        assert result is not None
        won += bool(result.success)
    assert won > 15
    assert {0.0, 0.5, 1.0} <= values


def test_progress_counts_instructions_and_halves_of_putting_and_unlocking() -> None:
    unlock = started("UnlockLocal-v0", 1)
    values = {"pick up": set(), "toggle": set()}
    while (action := unlock.expert_action()) is not None:
        progress = unlock.step(action).progress
        for verb, seen in values.items():
            if action.startswith(verb):
                seen.add(progress)
    assert values == {"pick up": {0.5}, "toggle": {1.0}}
    put = started("PutNextLocal-v0", 1)
    steps = []
    while (action := put.expert_action()) is not None:
        steps.append(put.step(action).progress)
    assert {0.5, 1.0} <= set(steps) <= {0.0, 0.5, 1.0}
    assert steps[-1] == 1.0


def test_an_ordered_mission_counts_its_parts_in_order() -> None:
    # "go to A after you B": being at A before B counts for nothing.
    found = False
    for seed in range(60):
        game = Game("BabyAI-GoToSeqS5R2-v0", seed)
        first, after, _ = game.mission.partition(" after you ")
        name = first.removeprefix("go to the ").removeprefix("go to a ")
        action = f"go to {name} 1"
        if not after or " and " in game.mission or action not in game.possible():
            continue
        game.step(action)
        if not game.over and game.view.front is not None:
            assert game.progress == 0.0, game.mission
            found = True
    assert found


# --- the same and apart --------------------------------------------------------------------------


def transcript(seed: int) -> str:
    lines = []
    for level in ("Open-v0", "PutNextS5N2-v0", "SynthSeq-v0"):
        environment = BabyaiEnvironment()
        first = environment.reset(task_of(level, 2), seed)
        lines += [first.goal, first.text]
        rng = random.Random(level)
        for number in range(15):
            actions_ = environment.valid_actions()
            expert = environment.expert_action("explorer" if number % 2 else "oracle")
            if not actions_ or expert is None:
                break
            result = environment.step(rng.choice([*actions_, expert]))
            lines += [*actions_, expert, repr(result)]
    return "\n".join(lines)


def test_a_game_is_the_same_every_time_whatever_the_seeds_of_harness_and_hashes() -> None:
    here = hashlib.sha256(transcript(0).encode()).hexdigest()
    assert hashlib.sha256(transcript(99).encode()).hexdigest() == here
    script = (
        "import hashlib, runpy, sys\n"
        "text = runpy.run_path(sys.argv[1])['transcript'](5)\n"
        "print(hashlib.sha256(text.encode()).hexdigest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, __file__],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "12345"},
    )
    assert done.stdout.strip() == here


def test_games_side_by_side_do_not_disturb_each_other() -> None:
    def play(environment: BabyaiEnvironment, rng: random.Random) -> Iterator[str]:
        for _ in range(20):
            offered = environment.valid_actions()
            if not offered:
                return
            yield environment.step(rng.choice(offered)).observation

    settings = [("Open-v0", 5), ("PutNextLocal-v0", 5), ("Open-v0", 5)]
    alone = [list(play(started(*s), random.Random(1))) for s in settings]
    games = [play(started(*s), random.Random(1)) for s in settings]
    together: list[list[str]] = [[], [], []]
    for _ in range(20):
        for texts, game in zip(together, games, strict=True):
            texts += [text for text in [next(game, None)] if text is not None]
    assert together == alone


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    loud = [("PutNextLocal-v0", seed) for seed in range(10)] + [("GoToObjMaze-v0", 1)]
    direct = io.StringIO()
    with contextlib.redirect_stdout(direct):
        for level, seed in loud:
            gymnasium.make(levels.level_id(level)).reset(seed=seed)
    assert "rejected" in direct.getvalue()  # so minigrid does print
    for level, seed in loud:
        started(level, seed).step("turn left")
    assert capfd.readouterr() == ("", "")


def test_a_minigrid_that_makes_other_games_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Game, "fingerprint", lambda self: "0" * 12)
    environment = BabyaiEnvironment()
    task = environment.tasks("generated")[0]
    with pytest.raises(DataError, match=r"another game of it: pip install minigrid==3\.2\.0"):
        environment.reset(task, 0)
    with pytest.raises(UsageError, match="reset a task first"):
        environment.step("turn left")


def test_no_training_game_is_a_test_game() -> None:
    small = ("GoToObjS4-v0", "OpenRedDoor-v0", "KeyCorridorS3R1-v0", "GoToRedBallNoDists-v0",
             "OpenRedBlueDoors-v0", "GoToObj-v0")  # fmt: skip
    tests, training = set(), set()
    for split, games in (
        ("agentboard", tests),
        ("generated", tests),
        ("generated-train", training),
    ):
        for level, seed in levels.games(split):
            if level in small:
                games.add((level, Game(levels.level_id(level), seed).fingerprint()))
    assert len(training) > 150
    assert not tests & training


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
