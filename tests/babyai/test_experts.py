"""The experts: what they win, that the explorer only reads, and minigrid's bot as a witness."""

from __future__ import annotations

import random

import pytest

pytest.importorskip("minigrid", reason="needs the extra `babyai`")

from minigrid.utils.baby_ai_bot import BabyAIBot

from agemem_eval.envs.babyai import explorer as explorer_module
from agemem_eval.envs.babyai import levels, reading, routes, worldmap
from agemem_eval.envs.babyai.env import BabyaiEnvironment
from agemem_eval.envs.babyai.explorer import Explorer
from agemem_eval.envs.babyai.game import Game
from agemem_eval.envs.babyai.oracle import steps_to_win
from agemem_eval.harness.errors import UsageError
from agemem_eval.harness.types import Task

pytestmark = pytest.mark.babyai


def play(environment: BabyaiEnvironment, task: Task, expert: str) -> tuple[bool, int]:
    """Whether the expert wins within the task's cap, and its number of actions."""
    environment.reset(task, 0)
    assert task.max_steps is not None
    for number in range(1, task.max_steps + 1):
        action = environment.expert_action(expert)
        assert action is not None
        result = environment.step(action)
        if result.terminated or result.truncated:
            return bool(result.success), number
    return False, task.max_steps


@pytest.mark.parametrize("split", ["agentboard", "generated"])
def test_the_oracle_wins_in_the_steps_that_are_claimed(split: str) -> None:
    environment = BabyaiEnvironment()
    sample = environment.tasks(split)[::9]
    assert len(sample) > 12
    for task in sample:
        won, steps = play(environment, task, "oracle")
        assert (steps if won else None) == task.oracle_steps, task.id


def test_the_explorer_wins_most_games_by_reading_alone() -> None:
    environment = BabyaiEnvironment()
    sample = environment.tasks("agentboard")[28:56]
    won = [play(environment, task, "explorer")[0] for task in sample]
    assert sum(won) / len(won) > 0.8


def test_the_explorer_has_no_way_to_the_game() -> None:
    # It is built from two texts and fed with texts; none of its modules knows the game.
    for module in (explorer_module, reading, routes, worldmap):
        names = vars(module)
        assert not {"Game", "gymnasium", "minigrid", "oracle", "game"} & set(names), module
    game = Game("BabyAI-GoToLocal-v0", 4)
    expert = Explorer(game.mission, game.view.text)
    while not game.over:
        action = expert.next_action()
        expert.observe(action, game.step(action).text)
    assert game.success


@pytest.mark.parametrize("expert", ["oracle", "explorer"])
def test_experts_go_on_after_anybody_else_s_actions(expert: str) -> None:
    environment = BabyaiEnvironment()
    won = played = 0
    for level in levels.GENERATED[::4]:
        rng = random.Random(level)
        environment.reset(Task(level, "generated", data={"level": level, "seed": 3}), 0)
        over = False
        for number in range(100):
            offered = environment.valid_actions()
            # A box is not to be destroyed: it may be what the mission is about.
            harmless = [a for a in offered if a != "toggle"]
            action = rng.choice(harmless) if number < 8 else environment.expert_action(expert)
            assert action is not None
            result = environment.step(action)
            over = result.terminated or result.truncated
            if over:
                break
        played += 1
        won += bool(over and result.success)
    assert played == 23
    assert won >= (21 if expert == "oracle" else 19)


def test_an_expert_has_read_what_happened_before_it_was_asked() -> None:
    asked, late = BabyaiEnvironment(), BabyaiEnvironment()
    task = asked.tasks("generated")[5]
    for environment in (asked, late):
        environment.reset(task, 0)
    for action in ("turn left", "nonsense", "turn left", "move forward", "turn right"):
        for expert in ("oracle", "explorer"):
            asked.expert_action(expert)
        assert asked.step(action) == late.step(action)
    for expert in ("oracle", "explorer"):
        assert asked.expert_action(expert) == late.expert_action(expert)


def test_a_key_is_fetched_after_the_way_to_its_door_is_cleared() -> None:
    for seed in range(1, 6):
        assert steps_to_win("BabyAI-BlockedUnlockPickup-v0", seed) is not None


def test_unknown_experts_name_the_nearest() -> None:
    environment = BabyaiEnvironment()
    environment.reset(environment.tasks("generated")[0], 0)
    with pytest.raises(UsageError, match="expert of babyai: 'orakle'; did you mean 'oracle'"):
        environment.expert_action("orakle")


# --- minigrid's bot as a witness -----------------------------------------------------------------


def bot_wins(level: str, seed: int) -> bool:
    """Whether minigrid's own bot accomplishes the mission, by native actions in the same game."""
    game = Game(levels.level_id(level), seed)
    bot, action = BabyAIBot(game.env), None
    while not game.over:
        action = bot.replan(action)
        game.act(action)
    return game.success


def test_the_oracle_wins_what_the_bot_wins() -> None:
    for level in levels.GENERATED[1::8]:
        assert bot_wins(level, 2), level
        assert steps_to_win(levels.level_id(level), 2) is not None, level


def test_the_three_games_without_a_claim_cannot_be_won() -> None:
    # Two doors in order, and each instruction fails at once when another door is opened: the first
    # door's opening is checked against the second instruction too, at the same native action.
    for seed in (1234, 1236, 1237):
        game = Game("BabyAI-OpenDoorsOrderN4Debug-v0", seed)
        instruction = game.env.instrs
        assert type(instruction).__name__ in ("BeforeInstr", "AfterInstr")
        assert instruction.instr_a.strict
        assert instruction.instr_b.strict
        first, second = instruction.instr_a.desc, instruction.instr_b.desc
        assert not any(a is b for a in first.obj_set for b in second.obj_set)
        assert not bot_wins("OpenDoorsOrderN4Debug-v0", seed)
        assert steps_to_win("BabyAI-OpenDoorsOrderN4Debug-v0", seed) is None
    assert bot_wins("OpenDoorsOrderN4Debug-v0", 1235)  # one door only
