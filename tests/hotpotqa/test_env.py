"""The adapter: splits, options, and what a step returns in either form."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agemem_eval.envs.hotpotqa.env import HotpotqaEnvironment
from agemem_eval.envs.hotpotqa.metrics import METRICS
from agemem_eval.harness.errors import DataError, UsageError
from agemem_eval.harness.registry import load
from agemem_eval.harness.types import Environment, StepResult, Task

sys.path.insert(0, str(Path(__file__).resolve().parent))
from support_data import UNANSWERED, record, started, write

SENSELESS = [
    "", " ", "x" * 1_000_000, "search[a\0b]", "finish[\x1b[31m]", "\ud800", "go north", "search",
    "finish[]", "finish[ ]", "finish[] facts[Lamp # 0]", "search[]", "lookup[", "lookup[is]",
]  # fmt: skip


def play(environment: HotpotqaEnvironment, expert: str = "oracle") -> Iterator[StepResult]:
    while (action := environment.expert_action(expert)) is not None:
        yield environment.step(action)


# --- splits and options -----------------------------------------------------------------------


def test_it_is_the_registered_environment() -> None:
    assert load("envs", "hotpotqa") is HotpotqaEnvironment
    environment: Environment = HotpotqaEnvironment()  # mypy holds it against the protocol
    assert environment.spec.default_split == "generated"
    assert environment.spec.max_steps == 15
    assert not environment.spec.has_valid_actions
    for name, member in inspect.getmembers(Environment, inspect.isfunction):
        if not name.startswith("_"):
            own = inspect.signature(getattr(HotpotqaEnvironment, name)).parameters
            assert list(own) == list(inspect.signature(member).parameters), name


def test_splits_and_their_sizes() -> None:
    environment = HotpotqaEnvironment()
    sizes = {s.name: s.n_tasks for s in environment.spec.splits}
    assert sizes == {
        "generated": 500, "generated-train": 15_000, "dev": 7405, "train": 90447, "file": None
    }  # fmt: skip
    for split in ("generated", "generated-train"):
        tasks = environment.tasks(split)
        assert len(tasks) == sizes[split] == len({task.id for task in tasks})
        assert all(task.split == split and f"/{task.type}/" in task.id for task in tasks)
    assert environment.data_hash("generated") == HotpotqaEnvironment().data_hash("generated")


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"form": "threestage"}, "value of form: 'threestage'; did you mean 'three-stage'"),
        ({"form": "three-stage", "exposure": "all"}, "value of exposure: 'all'"),
        ({"form": "three-stage", "distractors": "-1"}, "distractors must be a number, not '-1'"),
        ({"form": "three-stage", "distractors": "²"}, "distractors must be a number"),
        ({"form": "three-stage", "distractors": "51"}, "must be at most 50, not 51"),
        ({"cite": "yes"}, "value of cite: 'yes'"),
        ({"allow_short": "yes"}, "value of allow_short: 'yes'"),
        ({"distractors": "3"}, "options of form=three-stage"),
        ({"exposure": "each"}, "options of form=three-stage"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, str], what: str) -> None:
    with pytest.raises(UsageError, match=what):
        HotpotqaEnvironment(**options)


def test_instructions_differ_by_form_and_show_no_question_of_a_split() -> None:
    plain, staged = HotpotqaEnvironment().spec, HotpotqaEnvironment(form="three-stage").spec
    assert plain.instructions != staged.instructions
    assert HotpotqaEnvironment.spec is plain  # the class keeps its own
    for verb in ("search[", "lookup[", "finish["):
        assert f"- {verb}" in plain.instructions.text
    assert "search" not in staged.instructions.text + staged.instructions.example
    assert "stage" not in staged.instructions.text + staged.instructions.example
    for spec in (plain, staged):
        example = spec.instructions.example
        assert example.count("<think>") == example.count("<answer>") == 3
    environment = HotpotqaEnvironment()
    for task in environment.tasks("generated")[::25]:
        goal = environment.reset(task, 0).goal
        assert goal.removeprefix("answer the question: ") not in plain.instructions.example


def test_the_interactive_example_is_what_would_be_shown(tmp_path: Path) -> None:
    context = [
        ["Odo Brask", ["Odo Brask (1802–1871) was a captain and a collector of shells.",
                       "For most of his life he commanded the Silver Heron."]],
        ["Silver Heron", ["The Silver Heron was a brig with two masts.",
                          "It was built in Port Tallow by a crew of forty."]],
        ["Silver Heron Inn", ["An inn by the sea, and a good one to stay at for the night."]],
        *[[f"Other {n}", ["Nothing of use."]] for n in range(7)],
    ]  # fmt: skip
    made = record(
        context=context,
        answer="Port Tallow",
        supporting_facts=[["Odo Brask", 1], ["Silver Heron", 1]],
        question="In which harbour was the ship of the captain Odo Brask built?",
    )
    environment = HotpotqaEnvironment(data=str(write(tmp_path / "a.json", [made])))
    first = environment.reset(environment.tasks("file")[0], 0)
    turns = re.split(r"<think>.*?</think>", environment.spec.instructions.example)
    assert turns[0] == f"Your goal: {first.goal}\n\n{first.text}\n"
    for turn in turns[1:]:
        action, observation = re.fullmatch(r"<answer>(.*?)</answer>\s*(.*)", turn, re.S).groups()
        result = environment.step(action)
        assert result.terminated or result.observation == observation.rstrip()
    assert set(result.metrics.values()) == {1.0}


def test_experts_are_known_by_name() -> None:
    with pytest.raises(UsageError, match="expert of hotpotqa: 'redaer'; did you mean 'reader'"):
        started().expert_action("redaer")


def test_a_closed_environment_plays_nothing() -> None:
    environment = started()
    environment.close()
    environment.close()
    for call in (environment.valid_actions, environment.expert_action):
        with pytest.raises(UsageError, match="reset a task first"):
            call()
    with pytest.raises(DataError, match="the task has no 'index'"):
        environment.reset(Task(id="x", split="generated"), 0)
    with pytest.raises(UsageError, match="reset a task first"):
        environment.step("ok")


@pytest.mark.parametrize("form", ["interactive", "three-stage"])
def test_another_instance_can_play_a_task_from_json(form: str, tmp_path: Path) -> None:
    path = str(write(tmp_path / "a.json", [record(n) for n in range(3)]))
    first, other = (HotpotqaEnvironment(data=path, form=form) for _ in range(2))
    for task in (first.tasks("generated-train")[77], first.tasks("file")[1]):
        copy = Task(**json.loads(json.dumps(asdict(task))))
        assert other.reset(copy, 1) == first.reset(task, 0)  # an episode's seed changes nothing
        assert list(play(other)) == list(play(first))


def test_the_same_texts_in_every_process() -> None:
    code = (
        "from agemem_eval.envs.hotpotqa.env import HotpotqaEnvironment\n"
        "for form in ('interactive', 'three-stage'):\n"
        "    e = HotpotqaEnvironment(form=form)\n"
        "    for task in e.tasks('generated')[:40]:\n"
        "        print(e.reset(task, 0))\n"
        "        print(e.step('search[town river house film]'))\n"
        "        while (a := e.expert_action('reader')): print(a, e.step(a))\n"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("0", "77")
    }
    assert len(outputs) == 1


# --- the interactive form -----------------------------------------------------------------------


@pytest.fixture
def lighthouse(tmp_path: Path) -> HotpotqaEnvironment:
    path = write(tmp_path / "a.json", [record(0, answer="Odo", question=" Who\nkeeps  it? ")])
    environment = HotpotqaEnvironment(data=str(path))
    environment.reset(environment.tasks("file")[0], 0)
    return environment


def test_paragraphs_are_opened_and_searched(lighthouse: HotpotqaEnvironment) -> None:
    (task,) = lighthouse.tasks("file")
    first = lighthouse.reset(task, 0)
    assert first.goal == "answer the question: Who keeps it?"
    assert first.text == "There are 3 paragraphs to search."
    assert first.metrics == UNANSWERED

    def seen(action: str) -> str:
        result = lighthouse.step(action)
        assert (result.valid, result.terminated, result.success) == (True, False, False)
        assert (result.reward, result.progress, result.metrics) == (0.0, None, UNANSWERED)
        assert (result.goal, result.new_context) == (None, False)
        return result.observation

    assert seen("search[LAMP]") == "Lamp\n[0] Lamp 0 is old.\n[1] It is kept by Odo."
    assert seen("lookup[is]") == "(Result 1 / 2) [0] Lamp 0 is old."
    assert seen("lookup[is]") == "(Result 2 / 2) [1] It is kept by Odo."
    assert seen("lookup[is]") == "The open paragraph has no further sentence with “is”."
    assert seen("lookup[is]") == "(Result 1 / 2) [0] Lamp 0 is old."
    assert seen("lookup[kept Odo]") == "(Result 1 / 1) [1] It is kept by Odo."
    assert seen("lookup[boat]") == "The open paragraph has no sentence with “boat”."
    assert seen("search[boat of the keeper]").split("\n") == [
        "No paragraph is titled “boat of the keeper”. The nearest is this one.",
        "", "Odo", "[0] Odo is a keeper.", "[1] He has a boat.",
    ]  # fmt: skip
    assert "Also similar: Lamp." in seen("search[keeper Odo]")
    assert (
        seen("search[zebra]") == "No paragraph is titled “zebra”, and none has any of these words."
    )
    assert seen("lookup[boat]") == "(Result 1 / 1) [1] He has a boat."  # Odo is still open
    assert seen("search[empty]") == "Empty\n(This paragraph is empty.)"
    echo = "zebra " * 16 + "zebr…"
    long = "zebra " * 200
    assert seen(f"search[{long}]").startswith(f"No paragraph is titled “{echo}”, and none has")
    assert seen(f"lookup[{long}]") == f"The open paragraph has no sentence with “{echo}”."
    assert seen(f"search[boat {long}]").count("zebra") < 20


def test_an_answer_ends_the_episode_and_is_scored(lighthouse: HotpotqaEnvironment) -> None:
    result = lighthouse.step("finish[the odo!] facts[lamp # 0 | odo # 1]")
    assert result.observation == "You answered: the odo!"  # and nothing of whether it is right
    assert (result.success, result.terminated, result.reward, result.valid) == (True, True, 1, True)
    assert set(result.metrics.values()) == {1.0}
    again = lighthouse.step("finish[x]")
    assert (again.valid, again.reward, again.terminated, again.success) == (False, 0.0, True, True)
    assert again.metrics == result.metrics
    assert lighthouse.expert_action() is lighthouse.expert_action("reader") is None


def test_a_partly_right_answer_is_no_success(lighthouse: HotpotqaEnvironment) -> None:
    result = lighthouse.step("finish[Odo Brask]")
    assert (result.success, result.terminated, result.reward) == (False, True, 0.0)
    assert result.metrics["f1"] == pytest.approx(2 / 3)
    assert result.metrics["sp_f1"] is result.metrics["joint_f1"] is None


@pytest.mark.parametrize("form", ["interactive", "three-stage"])
def test_where_facts_belong_to_the_answer_their_lack_scores_nothing(form: str) -> None:
    optional, required = (HotpotqaEnvironment(form=form, cite=c) for c in ("optional", "required"))
    assert optional.spec.max_steps == required.spec.max_steps
    assert optional.spec.instructions.example == required.spec.instructions.example
    assert "may be left out" in optional.spec.instructions.text
    assert "may be left out" not in required.spec.instructions.text
    assert "not complete without them" in required.spec.instructions.text
    assert "finish[answer]:" not in required.spec.instructions.text
    assert "finish[answer]`" not in required.spec.instructions.text
    assert "finish[answer] facts[…]" in required.spec.instructions.text
    assert optional.spec.instructions.version != required.spec.instructions.version
    task = required.tasks("generated")[0]
    for environment, lacking in ((optional, None), (required, 0.0)):
        first = environment.reset(task, 0)
        assert {first.metrics["sp_em"], first.metrics["joint_f1"]} == {lacking}
        for _ in range(6 * (form == "three-stage")):
            environment.step("ok")
        bare, _, _ = environment.expert_action().partition(" facts[")
        while bare.startswith("search"):
            environment.step(bare)
            bare, _, _ = environment.expert_action().partition(" facts[")
        metrics = environment.step(bare).metrics
        assert metrics["em"] == metrics["f1"] == 1.0
        assert {v for n, v in metrics.items() if n.startswith(("sp_", "joint_"))} == {lacking}
    required.reset(task, 0)
    assert set([*play(required)][-1].metrics.values()) == {1.0}


@pytest.mark.parametrize("action", SENSELESS)
def test_senseless_actions_are_invalid_and_change_nothing(
    lighthouse: HotpotqaEnvironment, action: str
) -> None:
    result = lighthouse.step(action)
    assert (result.valid, result.terminated, result.success) == (False, False, False)
    assert (result.reward, result.metrics) == (0.0, UNANSWERED)
    assert 10 < len(result.observation) < 100
    assert "\n" not in result.observation
    assert "x" * 100 not in result.observation


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(max_size=40) | st.sampled_from([*SENSELESS, "search[Odo", "lookup[is"])))
def test_no_actions_break_an_episode(actions: list[str]) -> None:
    for form in ("interactive", "three-stage"):
        environment = started(form=form)
        for action in actions:
            result = environment.step(action)
            json.dumps(asdict(result)).encode()
            result.observation.encode()
            assert set(result.metrics) == set(METRICS)
