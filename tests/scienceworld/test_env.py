"""The adapter: what reset and step return, bad input, scores, experts."""

from __future__ import annotations

import inspect
import json
from dataclasses import asdict

import pytest

from agemem_eval.envs.scienceworld.env import ScienceworldEnvironment
from agemem_eval.harness.errors import DataError, UsageError
from agemem_eval.harness.types import Environment, StepResult, Task

pytestmark = pytest.mark.scienceworld


def task_of(environment: ScienceworldEnvironment, kind: str, variation: int) -> Task:
    split = "test-full"
    task_id = f"{kind}/{variation}"
    return next(task for task in environment.tasks(split) if task.id == task_id)


def play(
    environment: ScienceworldEnvironment, task: Task, expert: str, limit: int = 100
) -> list[StepResult]:
    environment.reset(task, 0)
    results: list[StepResult] = []
    while len(results) < limit and (action := environment.expert_action(expert)) is not None:
        results.append(environment.step(action))
        if results[-1].terminated:
            break
    return results


def test_it_has_the_protocols_methods() -> None:
    for name, member in inspect.getmembers(Environment, inspect.isfunction):
        if not name.startswith("_"):
            own = inspect.signature(getattr(ScienceworldEnvironment, name)).parameters
            assert list(own) == list(inspect.signature(member).parameters), name


def test_a_reset_shows_the_place_and_the_goal(played: ScienceworldEnvironment) -> None:
    task = task_of(played, "find-animal", 230)
    first = played.reset(task, 0)
    assert first.text.startswith("This room is called the ")
    assert "find a(n) animal" in first.goal
    assert first.metrics == {"score": 0.08}  # for being in a room with an open door
    copy = Task(**json.loads(json.dumps(asdict(task))))
    assert played.reset(copy, 7) == first


def test_scores_progress_and_reward_of_a_solved_task(played: ScienceworldEnvironment) -> None:
    task = task_of(played, "find-animal", 230)
    results = play(played, task, "oracle")
    last = results[-1]
    assert (last.success, last.terminated, last.progress) == (True, True, 1.0)
    assert last.metrics == {"score": 1.0}
    assert len(results) == task.oracle_steps
    assert sum(result.reward for result in results) == pytest.approx(1.0 - 0.08)
    progress = [result.progress or 0 for result in results]
    assert progress == sorted(progress)
    assert not any(result.terminated or result.success for result in results[:-1])
    after = played.step("look around")
    assert (after.terminated, after.valid, after.reward) == (True, False, 0.0)
    assert played.expert_action() is None


def test_a_wrong_focus_fails_the_task_and_keeps_the_progress(
    played: ScienceworldEnvironment,
) -> None:
    played.reset(task_of(played, "find-animal", 230), 0)
    best = played.step("teleport to outside")
    assert best.progress == best.metrics["score"] == 0.17
    assert best.reward == 0.09
    failed = played.step("focus on axe")
    assert (failed.success, failed.terminated, failed.valid) == (False, True, True)
    assert failed.progress == best.progress
    assert failed.metrics == {"score": 0.0}
    assert failed.reward == -0.17


def test_a_task_may_begin_with_a_score_which_is_no_reward(
    played: ScienceworldEnvironment,
) -> None:
    starts = {}
    for kind, variation in (("find-animal", 226), ("find-animal", 230), ("chemistry-mix", 24)):
        first = played.reset(task_of(played, kind, variation), 0)
        starts[kind, variation] = first.metrics["score"]
        result = played.step("look around")
        assert (result.reward, result.progress) == (0.0, first.metrics["score"])
    assert any(starts.values())


@pytest.mark.parametrize(
    "text",
    ["", "   ", "\n\t", "x" * 1_000_000, "look\x00around", "\x1b[2J", "\ud800", "a\x7fb"],
    ids=["empty", "blank", "breaks", "megabyte", "nul", "escape", "surrogate", "delete"],
)
def test_what_is_no_text_never_reaches_the_simulator(
    played: ScienceworldEnvironment, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = played.reset(task_of(played, "find-plant", 230), 0)
    with monkeypatch.context() as patch:
        patch.setattr(played._simulator, "step", None)
        result = played.step(text)
    assert (result.valid, result.reward, result.terminated) == (False, 0.0, False)
    assert len(result.observation) < 100
    assert played.step("look around").observation == first.text


@pytest.mark.parametrize(
    "text", ["xyzzy", "'; DROP TABLE", "🦆 quack", "focus", "open the pod bay doors", "e\\nd", "7"]
)
def test_senseless_text_is_answered_as_invalid(played: ScienceworldEnvironment, text: str) -> None:
    first = played.reset(task_of(played, "find-plant", 230), 0)
    result = played.step(text)
    assert result.observation == "No known action matches that input."
    assert not result.valid
    assert played.step("  look \n around ").observation == first.text


def test_a_question_is_valid_and_only_a_number_answers_it(
    played: ScienceworldEnvironment,
) -> None:
    task = task_of(played, "boil", 22)
    for reply, valid in (("0", True), ("look around", False)):
        played.reset(task, 0)
        played.step("teleport to kitchen")
        asked = played.step("pick up orange")
        assert asked.observation.startswith("Ambiguous request:")
        assert asked.valid
        assert played.valid_actions() == ["0", "1"]
        assert played.step(reply).valid is valid
        assert played.step("look around").observation.startswith("This room is called the kitchen")


def test_a_refused_action_is_not_valid(played: ScienceworldEnvironment) -> None:
    played.reset(task_of(played, "boil", 22), 0)
    played.step("teleport to kitchen")
    assert played.step("open cupboard").valid
    refused = played.step("open cupboard")
    assert (refused.observation, refused.valid) == ("The cupboard is already open.", False)


def test_valid_actions_are_sorted_and_mostly_understood(
    played: ScienceworldEnvironment,
) -> None:
    task = task_of(played, "find-plant", 230)
    played.reset(task, 0)
    actions = played.valid_actions()
    assert actions == sorted(set(actions))
    assert {"inventory", "wait", "teleport to greenhouse"} <= set(actions)
    understood = 0
    for action in actions[:: len(actions) // 12]:
        played.reset(task, 0)
        understood += played.step(action).valid
    assert understood >= 8


def test_simplifications_change_the_world() -> None:
    environment = ScienceworldEnvironment(simplifications="none")
    task = task_of(environment, "find-plant", 230)
    bare = environment.reset(task, 0)
    assert "(that is closed)" in bare.text
    assert not environment.step("teleport to kitchen").valid
    environment.close()
    every = ScienceworldEnvironment(simplifications="noElectricalAction,openDoors")
    assert "(that is open)" in every.reset(task, 0).text
    every.reset(task_of(every, "power-component", 16), 0)  # the library alone would refuse
    assert any(action.startswith("connect") for action in every.valid_actions())
    every.close()


@pytest.mark.parametrize(
    ("kind", "data", "reason"),
    [
        ("no-such", {"variation": 1}, "not a task of ScienceWorld"),
        ("boil", {}, "not a task of ScienceWorld with its 'variation'"),
        ("boil", {"variation": 30}, "boil has 30 variations"),
        ("boil", {"variation": -1}, "boil has 30 variations"),
    ],
)
def test_a_task_that_does_not_exist_is_refused(
    played: ScienceworldEnvironment, kind: str, data: dict[str, int], reason: str
) -> None:
    with pytest.raises(DataError, match=reason):
        played.reset(Task("some/1", "test", kind, data), 0)


# --- experts --------------------------------------------------------------------------------


def test_asking_the_oracle_late_leaves_the_game_as_it_is(played: ScienceworldEnvironment) -> None:
    task = task_of(played, "find-animal", 230)
    played.reset(task, 0)
    played.step("teleport to kitchen")
    played.step("pick up thermometer")
    here, carried = played._simulator.look(), played._simulator.inventory()
    assert played.expert_action() is not None
    assert (played._simulator.look(), played._simulator.inventory()) == (here, carried)
    assert "thermometer" in carried
    assert played.step("inventory").observation == carried.strip()


def test_the_oracle_solves_a_task_that_somebody_else_began(
    played: ScienceworldEnvironment,
) -> None:
    played.reset(task_of(played, "find-animal", 230), 0)
    first = played.expert_action()
    for action in ("teleport to bathroom", "look around", "nonsense", "pick up orange"):
        played.step(action)
    result = played.step("look around")
    for _ in range(40):
        action = played.expert_action()
        if action is None:
            break
        result = played.step(action)
    assert first is not None
    assert result.success


def test_the_explorer_solves_simple_tasks_by_reading(played: ScienceworldEnvironment) -> None:
    solved = 0
    for kind, variation in (("find-animal", 230), ("lifespan-longest-lived", 95),
                            ("chemistry-mix-paint-secondary-color", 28),
                            ("use-thermometer", 416)):  # fmt: skip
        results = play(played, task_of(played, kind, variation), "explorer", 30)
        solved += bool(results and results[-1].success)
    assert solved >= 3


def test_the_explorer_goes_on_after_somebody_elses_actions(
    played: ScienceworldEnvironment,
) -> None:
    played.reset(task_of(played, "find-non-living-thing", 230), 0)
    played.expert_action("explorer")
    played.step("teleport to bathroom")
    for _ in range(40):
        action = played.expert_action("explorer")
        assert action is not None
        result = played.step(action)
        if result.terminated:
            break
    assert result.success


def test_an_unknown_expert_or_no_task_is_a_usage_error() -> None:
    environment = ScienceworldEnvironment()
    with pytest.raises(UsageError, match="reset a task first"):
        environment.valid_actions()
    with pytest.raises(UsageError, match="unknown expert"):
        environment.expert_action("sage")
    environment.close()


def test_the_instructions_name_every_verb_of_the_simulator(
    played: ScienceworldEnvironment,
) -> None:
    text = played.spec.instructions.text
    for kind, variation in (("boil", 22), ("power-component", 16)):
        played.reset(task_of(played, kind, variation), 0)
        for template in played._simulator.ask("getPossibleActions"):
            verb = template.partition(" OBJ")[0]
            assert f"{verb} " in text or f"{verb}:" in text or f"{verb}\n" in text, template
