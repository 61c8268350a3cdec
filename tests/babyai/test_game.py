"""Games held against minigrid itself: what is done, what it is worth, and that it is the same."""

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

pytest.importorskip("minigrid", reason="needs the extra `babyai`")

import gymnasium

from agemem_eval.envs.babyai import levels, view
from agemem_eval.envs.babyai.commands import WORDS, Primitive
from agemem_eval.envs.babyai.env import BabyaiEnvironment
from agemem_eval.envs.babyai.game import Game
from agemem_eval.harness.claims.experiment import read_experiment
from agemem_eval.harness.errors import DataError, UsageError
from agemem_eval.harness.types import Task

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


def test_the_levels_of_one_room_in_nanos_tables_are_minigrids() -> None:
    rooms = {level: bare(level, 0).unwrapped for level in levels.GENERATED}
    own = read_experiment("nano", []).tasks["babyai"].groups["one room"]
    assert set(own) == {level for level, env in rooms.items() if env.num_rows * env.num_cols == 1}


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
    # The box lies behind a locked door: its key is half of the way.
    behind = started("UnlockPickup-v0", 1)
    steps = []
    while (action := behind.expert_action()) is not None:
        progress = behind.step(action).progress
        if "key" in action or action.startswith("pick up"):
            steps.append(progress)
    assert steps[0] == 0.5
    assert steps[-1] == 1.0
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
    starts = {
        split: {
            (level, Game(levels.level_id(level), seed).fingerprint())
            for level, seed in levels.games(split)
        }
        for split in ("agentboard", "generated", "generated-train")
    }
    assert len(starts["generated-train"]) > 7000  # of 7,120: some begin alike
    assert not starts["generated-train"] & (starts["agentboard"] | starts["generated"])
