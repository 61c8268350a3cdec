"""The adapter: splits, options, paths, and what a step returns."""

from __future__ import annotations

import inspect
import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest

from agemem_eval.envs.alfworld.env import AlfworldEnvironment
from agemem_eval.envs.alfworld.gamefile import MAX_BYTES
from agemem_eval.harness.errors import DataError, MissingExtraError, UsageError
from agemem_eval.harness.registry import load
from agemem_eval.harness.types import Environment, Task


@pytest.fixture(autouse=True)
def _no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALFWORLD_DATA", raising=False)


@pytest.fixture
def few(alfworld_data: Path, tmp_path: Path) -> Path:
    """A data folder with three of the official games."""
    split = alfworld_data / "json_2.1.1" / "valid_seen"
    for game in sorted(split.glob("*/*/game.tw-pddl"))[:60:20]:
        target = tmp_path / "json_2.1.1" / "valid_seen" / game.parent.relative_to(split)
        target.mkdir(parents=True)
        shutil.copy(game, target)
    return tmp_path


def won(environment: AlfworldEnvironment, task: Task, expert: str = "oracle") -> bool:
    environment.reset(task, 0)
    for _ in range(environment.spec.max_steps):
        action = environment.expert_action(expert)
        assert action is not None
        if environment.step(action).terminated:
            return True
    return False


# --- splits and tasks -----------------------------------------------------------------------


def test_it_is_the_registered_environment() -> None:
    assert load("envs", "alfworld") is AlfworldEnvironment
    environment: Environment = AlfworldEnvironment()  # mypy holds it against the protocol
    assert environment.spec.default_split == "generated"
    assert environment.spec.max_steps == 50
    for name, member in inspect.getmembers(Environment, inspect.isfunction):
        if not name.startswith("_"):
            own = inspect.signature(getattr(AlfworldEnvironment, name)).parameters
            assert list(own) == list(inspect.signature(member).parameters), name


def test_generated_splits_need_no_data() -> None:
    environment = AlfworldEnvironment()
    sizes = {s.name: s.n_tasks for s in environment.spec.splits}
    for split in ("generated", "generated-train"):
        tasks = environment.tasks(split)
        assert len(tasks) == sizes[split] == len({task.id for task in tasks})
        assert all(task.split == split and f"/{task.type}/" in task.id for task in tasks)
    assert environment.data_hash("generated") != environment.data_hash("generated-train")


def test_official_games_are_sorted_and_counted(alfworld_data: Path) -> None:
    environment = AlfworldEnvironment(data=str(alfworld_data))
    tasks = environment.tasks("valid_seen")
    assert len(tasks) == 140
    assert [task.id for task in tasks] == sorted(task.id for task in tasks)
    assert sum(task.type == "pick_two_obj_and_place" for task in tasks) == 24
    inner = AlfworldEnvironment(data=str(alfworld_data / "json_2.1.1"))
    assert inner.tasks("valid_seen") == tasks
    assert inner.data_hash("valid_seen") == environment.data_hash("valid_seen")


def test_the_data_may_come_from_the_environment(
    alfworld_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALFWORLD_DATA", str(alfworld_data))
    assert len(AlfworldEnvironment().tasks("valid_seen")) == 140


def test_another_instance_can_play_a_task_from_json(alfworld_data: Path) -> None:
    first = AlfworldEnvironment(data=str(alfworld_data))
    for task in (first.tasks("valid_seen")[77], first.tasks("generated-train")[1234]):
        copy = Task(**json.loads(json.dumps(asdict(task))))
        other = AlfworldEnvironment(data=str(alfworld_data))
        assert other.reset(copy, 1) == first.reset(task, 0)
        assert won(other, copy, "explorer")


def test_missing_data_say_how_to_get_them(tmp_path: Path, few: Path) -> None:
    with pytest.raises(DataError, match=r"data get alfworld.*--data.*ALFWORLD_DATA"):
        AlfworldEnvironment().tasks("valid_seen")
    with pytest.raises(DataError, match=r"nowhere: no such folder; .*data get alfworld"):
        AlfworldEnvironment(data=str(tmp_path / "nowhere")).tasks("valid_seen")
    with pytest.raises(DataError, match=r"train: no such folder; .*data get alfworld"):
        AlfworldEnvironment(data=str(few)).tasks("train")


def test_a_short_split_is_refused_unless_allowed(few: Path) -> None:
    with pytest.raises(DataError, match=r"found 3 of the 140 games of valid_seen.*--allow-short"):
        AlfworldEnvironment(data=str(few)).tasks("valid_seen")
    short = AlfworldEnvironment(data=str(few), allow_short="true")
    assert len(short.tasks("valid_seen")) == 3
    (few / "json_2.1.1" / "valid_unseen").mkdir()
    with pytest.raises(DataError, match="found 0 of the 134"):  # nothing is never a short split
        short.tasks("valid_unseen")


def test_games_alfworld_does_not_play_are_left_out(few: Path) -> None:
    split = few / "json_2.1.1" / "valid_seen"
    game = next(iter(sorted(split.glob("*/*/game.tw-pddl"))))
    unsolvable = game.read_text().replace('"solvable": true', '"solvable": false')
    assert unsolvable != game.read_text()
    for folder, text in (
        ("pick_and_place_simple-Mug-None-Desk-301", unsolvable),
        ("pick_and_place_simple-AppleSliced-None-Desk-301", game.read_text()),
        ("pick_and_place_with_movable_recep-Mug-Bowl-Desk-301", game.read_text()),
    ):
        (split / folder / "trial_1").mkdir(parents=True)
        (split / folder / "trial_1" / "game.tw-pddl").write_text(text)
    assert len(AlfworldEnvironment(data=str(few), allow_short="true").tasks("valid_seen")) == 3


def test_the_hash_follows_the_content(few: Path) -> None:
    before = AlfworldEnvironment(data=str(few), allow_short="true").data_hash("valid_seen")
    game = next(iter((few / "json_2.1.1").rglob("game.tw-pddl")))
    game.write_text(game.read_text() + " ")
    after = AlfworldEnvironment(data=str(few), allow_short="true").data_hash("valid_seen")
    assert before != after


def test_a_file_that_is_no_game_is_named(few: Path) -> None:
    game = next(iter(sorted((few / "json_2.1.1").rglob("game.tw-pddl"))))
    environment = AlfworldEnvironment(data=str(few), allow_short="true")
    task = environment.tasks("valid_seen")[0]
    game.write_text(game.read_text()[:5000])
    with pytest.raises(DataError, match=r"game\.tw-pddl: not a game file"):
        environment.reset(task, 0)
    with pytest.raises(UsageError, match="reset a task first"):
        environment.step("look")
    with game.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(DataError, match=r"game\.tw-pddl: not a game file: more than"):
        AlfworldEnvironment(data=str(few), allow_short="true").tasks("valid_seen")


@pytest.mark.parametrize(
    "path", ["../x", "/etc/passwd", "a/../../b", "a", "a/b/c", "", "a/b\0", "..", "link/trial"]
)
def test_a_task_cannot_leave_the_data_folder(few: Path, tmp_path_factory, path: str) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "trial").mkdir()
    (outside / "trial" / "game.tw-pddl").write_text("{}")
    (few / "json_2.1.1" / "valid_seen" / "link").symlink_to(outside)
    environment = AlfworldEnvironment(data=str(few))
    task = Task(id="x", split="valid_seen", data={"path": path})
    with pytest.raises(DataError, match="is not a path inside the split"):
        environment.reset(task, 0)


@pytest.mark.parametrize("split", ["valid_seen", "generated"])
def test_a_task_without_its_data_is_refused(few: Path, split: str) -> None:
    with pytest.raises(DataError, match="the task has no"):
        AlfworldEnvironment(data=str(few)).reset(Task(id="x", split=split), 0)


# --- options ----------------------------------------------------------------------------------


def test_wrong_options_name_the_nearest() -> None:
    with pytest.raises(UsageError, match="'textwrld'; did you mean 'textworld'"):
        AlfworldEnvironment(engine="textwrld")
    with pytest.raises(UsageError, match="value of allow_short: 'True'; did you mean 'true'"):
        AlfworldEnvironment(allow_short="True")
    with pytest.raises(UsageError, match="did you mean 'valid_unseen'"):
        AlfworldEnvironment().tasks("valid_unsen")
    with pytest.raises(UsageError, match="did you mean 'generated'"):
        AlfworldEnvironment().data_hash("genrated")
    environment = AlfworldEnvironment()
    environment.reset(environment.tasks("generated")[0], 0)
    with pytest.raises(UsageError, match="expert of alfworld: 'orakle'; did you mean 'oracle'"):
        environment.expert_action("orakle")


def test_a_missing_reference_engine_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agemem_eval.envs.alfworld.env.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'agemem-eval\[reference\]'"):
        AlfworldEnvironment(engine="textworld")


def test_only_the_reference_is_limited_to_one_game_a_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("agemem_eval.envs.alfworld.env.find_spec", lambda name: name)
    assert AlfworldEnvironment(engine="textworld").spec.max_live == 1
    assert AlfworldEnvironment().spec.max_live is None


@pytest.mark.reference
def test_the_reference_plays_the_same_game() -> None:
    pytest.importorskip("fast_downward", reason="needs the extra `reference`")
    native, reference = AlfworldEnvironment(), AlfworldEnvironment(engine="textworld")
    task = native.tasks("generated")[3]
    assert native.reset(task, 0) == reference.reset(task, 0)
    while (action := native.expert_action("explorer")) is not None:
        assert reference.expert_action("explorer") == action
        assert reference.expert_action("oracle") == native.expert_action("oracle")
        assert native.step(action) == reference.step(action)
        assert native.valid_actions() == reference.valid_actions()
    assert reference.expert_action("explorer") is None


# --- playing ------------------------------------------------------------------------------------


def test_the_player_sees_the_room_and_the_goal_apart() -> None:
    environment = AlfworldEnvironment()
    seen = environment.reset(environment.tasks("generated")[4], 0)
    assert seen.goal == "cool some lettuce and put it in sinkbasin."
    assert seen.text.startswith("You are in the middle of a room. Looking quickly around you, you")
    assert seen.text.endswith("and a toaster 1.")


def test_only_the_winning_step_is_rewarded() -> None:
    environment = AlfworldEnvironment()
    environment.reset(environment.tasks("generated")[0], 0)
    rewards = []
    while (action := environment.expert_action()) is not None:
        result = environment.step(action)
        assert result.valid
        rewards.append(result.reward)
    assert rewards == [0.0] * (len(rewards) - 1) + [1.0]
    assert (result.success, result.terminated, result.progress) == (True, True, 1.0)
    assert not result.truncated
    assert environment.step("look").reward == 0.0  # won already


@pytest.mark.parametrize("action", ["", "go to the moon", "LOOK", "take", "x" * 10_000, "look\0"])
def test_senseless_actions_are_invalid_and_change_nothing(action: str) -> None:
    environment = AlfworldEnvironment()
    environment.reset(environment.tasks("generated")[0], 0)
    before = environment.valid_actions()
    result = environment.step(action)
    assert (result.observation, result.valid) == ("Nothing happens.", False)
    assert (result.success, result.reward, result.progress) == (False, 0.0, 0.0)
    assert environment.valid_actions() == before


def test_valid_actions_are_valid() -> None:
    environment = AlfworldEnvironment()
    task = environment.tasks("generated")[7]
    environment.reset(task, 0)
    actions = environment.valid_actions()
    assert actions == sorted(actions)
    for action in actions:
        environment.reset(task, 0)
        assert environment.step(action).valid, action


@pytest.mark.parametrize("preposition", ["in", "on", "in/on"])
def test_the_old_wording_is_taken_only_when_asked_for(preposition: str) -> None:
    for normalise, accepted in (("false", False), ("true", True)):
        environment = AlfworldEnvironment(normalise=normalise)
        environment.reset(environment.tasks("generated")[0], 0)
        while (action := environment.expert_action() or "").startswith("move") is False:
            environment.step(action)
        old = action.replace("move", "put").replace(" to ", f" {preposition} ")
        assert environment.step(old).valid is accepted


def test_the_explorer_has_read_what_happened_before_it_was_asked() -> None:
    environment = AlfworldEnvironment()
    environment.reset(environment.tasks("generated")[4], 0)
    environment.step("go to countertop 3")  # where a lettuce lies
    assert environment.expert_action("explorer") == "take lettuce 1 from countertop 3"
    environment.step("take lettuce 1 from countertop 3")
    assert environment.expert_action("explorer") == "go to fridge 1"


def test_instructions_name_every_action_and_show_no_task_of_a_split() -> None:
    environment = AlfworldEnvironment()
    instructions = environment.spec.instructions
    environment.reset(environment.tasks("generated")[0], 0)
    verbs = {action.split()[0] for action in environment.valid_actions()}
    for verb in verbs | {"take", "move", "open", "close", "use", "clean", "heat", "cool", "slice"}:
        assert f"- {verb}" in instructions.text, verb
    assert instructions.example.count("<think>") == instructions.example.count("<answer>") == 8
    goals = {environment.reset(t, 0).goal for t in environment.tasks("generated-train")[::10]}
    assert not any(goal in instructions.example for goal in goals)


def test_a_closed_environment_plays_nothing() -> None:
    environment = AlfworldEnvironment()
    environment.reset(environment.tasks("generated")[0], 0)
    environment.close()
    environment.close()
    with pytest.raises(UsageError, match="reset a task first"):
        environment.valid_actions()
