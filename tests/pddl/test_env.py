"""The adapter: splits, options, and what a step returns."""

from __future__ import annotations

import inspect
import json
from dataclasses import asdict

import pytest

from agemem_eval.envs.pddl import generator
from agemem_eval.envs.pddl.env import PddlEnvironment
from agemem_eval.envs.pddl.game import Draft
from agemem_eval.envs.pddl.games import GAMES
from agemem_eval.harness.errors import DataError, UsageError
from agemem_eval.harness.registry import load
from agemem_eval.harness.types import Environment, Task


def started(index: int = 0) -> PddlEnvironment:
    environment = PddlEnvironment()
    environment.reset(environment.tasks("generated")[index], 0)
    return environment


# --- splits and tasks -----------------------------------------------------------------------


def test_it_is_the_registered_environment() -> None:
    assert load("envs", "pddl") is PddlEnvironment
    environment: Environment = PddlEnvironment()  # mypy holds it against the protocol
    assert environment.spec.default_split == "generated"
    for name, member in inspect.getmembers(Environment, inspect.isfunction):
        if not name.startswith("_"):
            own = inspect.signature(getattr(PddlEnvironment, name)).parameters
            assert list(own) == list(inspect.signature(member).parameters), name


def test_generated_splits_need_no_data() -> None:
    environment = PddlEnvironment()
    sizes = {s.name: s.n_tasks for s in environment.spec.splits}
    assert sizes == {"generated": 120, "generated-train": 1200, "agentboard": 60}
    for split in ("generated", "generated-train"):
        tasks = environment.tasks(split)
        assert len(tasks) == sizes[split] == len({task.id for task in tasks})
        assert all(task.split == split and f"/{task.type}/" in task.id for task in tasks)
    assert environment.data_hash("generated") != environment.data_hash("generated-train")


def test_another_instance_can_play_a_task_from_json() -> None:
    first = PddlEnvironment()
    for task in (first.tasks("generated")[7], first.tasks("generated-train")[1111]):
        other = PddlEnvironment()
        assert other.reset(Task(**json.loads(json.dumps(asdict(task)))), 1) == first.reset(task, 0)


def test_wrong_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'agentboard'"):
        PddlEnvironment().tasks("agentbord")
    with pytest.raises(UsageError, match="did you mean 'generated'"):
        PddlEnvironment().data_hash("genrated")
    with pytest.raises(UsageError, match="did you mean 'true'"):
        PddlEnvironment(allow_short="True")
    with pytest.raises(UsageError, match="expert of pddl: 'orakle'; did you mean 'oracle'"):
        started().expert_action("orakle")


@pytest.mark.parametrize(
    "data", [{}, {"index": 0}, {"index": "0", "draw": 0}, {"index": True, "draw": 0}]
)
def test_a_task_without_its_data_is_refused(data: dict[str, object]) -> None:
    environment = started()
    with pytest.raises(DataError, match="x: the task has no 'index' and 'draw'"):
        environment.reset(Task(id="x", split="generated", data=data), 0)
    with pytest.raises(UsageError, match="reset a task first"):  # the one before is gone too
        environment.step("look")
    with pytest.raises(UsageError, match="the problems 0 to 119"):
        environment.reset(Task(id="x", split="generated", data={"index": 120, "draw": 0}), 0)
    with pytest.raises(DataError, match="x: the task has no 'problem'"):
        environment.reset(Task(id="x", split="agentboard", data=data), 0)


# --- playing ------------------------------------------------------------------------------------


def test_the_goal_stands_apart_from_the_state() -> None:
    environment = PddlEnvironment()
    seen = environment.reset(environment.tasks("generated")[0], 0)
    assert seen.goal == (
        "make all of this true at the same time: ball1 and ball2 are in roomc; ball3 is in rooma."
    )
    assert seen.text.startswith("This is gripper: ")
    assert seen.metrics == {"progress_from_start": 0.0}


def test_only_the_winning_step_is_rewarded() -> None:
    for index in range(4):
        environment = started(index)
        rewards, progress = [], []
        for _ in range(100):
            action = environment.expert_action()
            if action is None:
                break
            result = environment.step(action)
            assert result.valid
            rewards.append(result.reward)
            progress.append(result.progress)
        assert rewards == [0.0] * (len(rewards) - 1) + [1.0]
        assert (result.success, result.terminated, result.progress) == (True, True, 1.0)
        assert result.metrics == {"progress_from_start": 1.0}
        assert not result.truncated
        assert progress == sorted(progress)
        again = environment.step("look")
        assert (again.reward, again.valid, again.success) == (0.0, False, True)
        assert environment.valid_actions() == []


def test_progress_counts_what_was_ever_true_and_what_was_true_at_the_start() -> None:
    environment = PddlEnvironment()
    task = environment.tasks("generated")[3]
    seen = environment.reset(task, 0)
    # Four literals, of which one, that the nuts are tight, is true at the start.
    assert seen.goal.count(";") == 3
    assert "nuts1 is tight on hub1" in seen.goal
    assert "nuts1 is tight on hub1" in seen.text
    first = environment.step("open boot")
    assert (first.progress, first.metrics) == (0.25, {"progress_from_start": 0.0})
    environment.step("fetch wrench from boot")
    loosened = environment.step("loosen nuts1 on hub1")
    assert loosened.progress == 0.25  # best so far, though nothing of the goal holds now
    environment.step("tighten nuts1 on hub1")
    environment.step("fetch spare1 from boot")
    inflated = environment.step("inflate spare1")
    assert (inflated.progress, inflated.success) == (0.5, False)
    assert inflated.metrics == {"progress_from_start": pytest.approx(1 / 3)}


@pytest.mark.parametrize(
    "action",
    ["", " ", "go to the moon", "x" * 10_000, "look\0", "look\ud800", "pick up", "look up"],
)
def test_senseless_actions_are_invalid_and_change_nothing(action: str) -> None:
    environment = started()
    before = environment.valid_actions()
    result = environment.step(action)
    assert not result.valid
    assert len(result.observation) < 100
    assert (result.success, result.reward, result.progress) == (False, 0.0, 0.0)
    assert environment.valid_actions() == before


def test_look_tells_the_present_state() -> None:
    environment = PddlEnvironment()
    seen = environment.reset(environment.tasks("generated")[1], 0)
    looked = environment.step("look")
    assert looked.valid
    assert seen.text.endswith(looked.observation)
    environment.step(environment.expert_action() or "")
    assert environment.step("look").observation != looked.observation


@pytest.mark.parametrize("index", range(4))
def test_valid_actions_are_valid(index: int) -> None:
    environment = started(index)
    for _ in range(3):
        environment.step(environment.expert_action() or "")
    actions = environment.valid_actions()
    assert actions == sorted(set(actions))
    assert "look" in actions
    history = [a for a in [environment.expert_action()] if a]
    assert set(history) <= set(actions)
    task = environment.tasks("generated")[index]
    for action in actions:
        environment.reset(task, 0)
        for _ in range(3):
            environment.step(environment.expert_action() or "")
        assert environment.step(action).valid, action


def test_instructions_show_every_form_and_no_task_of_a_split() -> None:
    environment = PddlEnvironment()
    instructions = environment.spec.instructions
    text = instructions.text
    for game in GAMES.values():
        assert f"{game.name}: you" in text
        for form in game.words.forms.values():
            verb, _, rest = form.partition("{")
            joint = rest.partition("} ")[2].partition(" {")[0]
            assert any(
                verb + "<" in line and f"> {joint}" in line + "> "
                for line in text.replace(", ", "\n").splitlines()
            ), form
    assert instructions.example.count("<think>") == instructions.example.count("<answer>") == 4
    for task in environment.tasks("generated-train")[::40]:
        assert environment.reset(task, 0).goal not in instructions.example


def test_the_instructions_say_what_the_domains_do() -> None:
    from agemem_eval.envs.pddl.engine import Engine
    from agemem_eval.envs.pddl.games import domain
    from agemem_eval.envs.pddl.language import Literal, Problem, check

    text = PddlEnvironment.spec.instructions.text
    assert "a block is clear when nothing is on it and it is not in your hand." in text
    facts = (("holding", "b1"), ("on-table", "b2"), ("clear", "b2"))
    goal = (Literal(("on", "b2", "b1")),)
    problem = Problem("p", "blocksworld", {"b1": "block", "b2": "block"}, facts, goal, "x")
    engine = Engine(GAMES["blocksworld"], check(problem, domain("blocksworld")))
    assert engine.step("stack b1 on b1") == "Nothing happens: it needs that b1 is clear."

    words, do_up = GAMES["tyreworld"].words, domain("tyreworld").operators["do-up"]
    assert [words.literal(c) for c in do_up.ground(["<nuts>", "<hub>"]).conditions] == [
        "you have wrench",
        "you have <nuts>",
        "<hub> is jacked up",
        "<hub> is unfastened",
    ]
    assert (
        "- do up <nuts> on <hub>: you have the wrench and the nuts, the hub is jacked up and "
        "unfastened\n"
    ) in text


def test_the_worked_example_is_true() -> None:
    from agemem_eval.envs.pddl.engine import Engine
    from agemem_eval.envs.pddl.games import domain
    from agemem_eval.envs.pddl.language import Literal, Problem, check

    objects = {"hall": "room", "kitchen": "room", "egg1": "ball", "egg2": "ball",
               "left": "gripper"}  # fmt: skip
    init = (("at-robby", "kitchen"), ("free", "left"), ("at", "egg1", "hall"),
            ("at", "egg2", "hall"))  # fmt: skip
    goal = (Literal(("at", "egg1", "kitchen")), Literal(("at", "egg2", "hall")))
    problem = check(Problem("p", "gripper", objects, init, goal, "x"), domain("gripper"))
    engine = Engine(GAMES["gripper"], problem)
    example = PddlEnvironment.spec.instructions.example
    assert example.startswith(f"Your goal: {engine.goal()}\n\n{engine.introduction()}\n")
    actions = [part.partition("</answer>")[0] for part in example.split("<answer>")[1:]]
    for action in actions[:-1]:
        assert f"<answer>{action}</answer>\n\n{engine.step(action)}\n" in example
    engine.step(actions[-1])
    assert engine.won


def test_a_closed_environment_plays_nothing() -> None:
    environment = started()
    environment.close()
    environment.close()
    with pytest.raises(UsageError, match="reset a task first"):
        environment.valid_actions()


# --- names exchanged ------------------------------------------------------------------------


@pytest.mark.parametrize("index", range(0, 24))
def test_a_renamed_problem_is_the_same_but_for_names(index: int) -> None:
    plain, other, third = (PddlEnvironment(renamed=number) for number in ("0", "1", "2"))
    task = plain.tasks("generated")[index]
    problem = generator.generate("generated", index, task.data["draw"])
    new = generator.renamed(problem, 1)
    assert dict(new.objects) == dict(problem.objects)
    marks = [
        generator.fingerprint(
            one.domain,
            Draft(dict(one.objects), one.init, tuple(literal.fact for literal in one.goal)),
        )
        for one in (problem, new)
    ]
    assert marks[0] == marks[1]
    for name, kind in problem.objects.items():  # what says what a thing is stays in its name
        if not name[-1].isdigit():
            used = [{f for f in one.init if name in f} for one in (problem, new)]
            assert [len(facts) for facts in used] == [len(used[0])] * 2, (name, kind)
    texts = [one.reset(task, 0) for one in (plain, other, third)]
    if not task.type.endswith("easy"):  # there all may have been given the name they had
        assert len({(seen.text, seen.goal) for seen in texts}) == 3
    while (action := other.expert_action()) is not None:
        result = other.step(action)
        assert result.valid
    assert result.success


def test_names_are_exchanged_another_way_by_each_number_and_not_by_0() -> None:
    task = PddlEnvironment().tasks("generated")[1]
    seen = [PddlEnvironment(renamed=str(n)).reset(task, 0).text for n in (0, 0, 1, 1, 2)]
    assert seen[0] == seen[1] == PddlEnvironment().reset(task, 0).text
    assert seen[2] == seen[3]
    assert len(set(seen)) == 3
    with pytest.raises(UsageError, match="renamed"):
        PddlEnvironment(renamed="-1")
    with pytest.raises(UsageError, match="renamed"):
        PddlEnvironment(renamed="1000")
