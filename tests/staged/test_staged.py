"""Any environment in three stages: the order of what is said, and what passes through."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agemem_eval.envs.staged import exposure
from agemem_eval.envs.staged.env import StagedEnvironment
from agemem_eval.envs.staged.messages import GOAL
from agemem_eval.harness.build import build
from agemem_eval.harness.errors import DataError, UsageError
from agemem_eval.harness.types import Observation, StepResult, Task

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "hotpotqa"))
from fake_inner import N_STEPS
from test_distractors import shared

FAKE, SPEECHLESS = "fake_inner:Counting", "fake_inner:Speechless"
REAL = ("alfworld", "pddl")
EXPOSURES = ("description", "episode", "world")


def staged(env: str = FAKE, **options: str) -> StagedEnvironment:
    return StagedEnvironment(env=env, **options)


def played(env: StagedEnvironment, task: Task, seed: int = 0) -> tuple[Observation, list[Any]]:
    """What is shown when the oracle plays a task to its end."""
    first, results = env.reset(task, seed), []
    while (action := env.expert_action()) is not None:
        results.append(env.step(action))
        if results[-1].terminated:
            break
    return first, results


def begins(results: list[StepResult]) -> int:
    """The number of answers after which the task is there."""
    (place,) = [number for number, result in enumerate(results, 1) if result.goal is not None]
    return place


OPTIONS = st.fixed_dictionaries(
    {"exposure": st.sampled_from(EXPOSURES), "distractors": st.integers(0, 50).map(str)}
)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from((FAKE, *REAL)), OPTIONS, st.integers(0, 5))
def test_first_what_is_told_then_small_talk_then_the_task(
    name: str, options: dict[str, str], number: int
) -> None:
    env, inner = staged(name, **options), build("envs", name, {})
    split = env.spec.default_split
    task, plain = env.tasks(split)[number], inner.tasks(split)[number]
    n_talk = int(options["distractors"])
    n_told = 2 if (name, options["exposure"]) == (FAKE, "description") else exposure.N_MESSAGES
    first, results = played(env, task)
    n = begins(results)
    assert n == n_told + n_talk
    assert [r.new_context for r in results].index(True) == n_told - 1
    assert sum(r.new_context for r in results) == 1
    assert first.goal == GOAL
    told = [first.text, *(r.observation for r in results[: n - 1])]
    assert all(told)
    assert len(set(told[n_told:])) == n_talk
    # From there on everything is the inner environment's own.
    start = inner.reset(plain, 0)
    assert (results[n - 1].goal, results[n - 1].observation) == (start.goal, start.text)
    for result in results[n:]:
        assert result == inner.step(inner.expert_action())
    for result in results[:n]:
        assert (result.reward, result.progress, result.success) == (0.0, 0.0, False)
        assert (result.terminated, result.valid, result.metrics) == (False, True, start.metrics)
    # And so are the counts, but for the messages.
    assert env.spec.max_steps == inner.spec.max_steps + n
    for mine, its in ((task.max_steps, plain.max_steps), (task.oracle_steps, plain.oracle_steps)):
        assert mine == (None if its is None else its + n)
    assert (task.id, task.split, task.type) == (plain.id, plain.split, plain.type)
    assert len(results) <= (task.oracle_steps or len(results))


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(REAL), OPTIONS, st.integers(0, 119))
def test_the_same_task_is_always_told_the_same(
    name: str, options: dict[str, str], number: int
) -> None:
    one, other = staged(name, **options), staged(name, **options)
    task = one.tasks("generated")[number]
    other.reset(other.tasks("generated")[0], 7)  # whatever was played before
    heard = played(one, task, 0)
    assert heard == played(other, other.tasks("generated")[number], 0)
    # Small talk belongs to the task, not to the episode's seed.
    assert heard == played(one, task, 5)


@pytest.mark.parametrize("name", REAL)
def test_small_talk_shares_no_word_with_the_goal(name: str) -> None:
    env = staged(name, distractors="12")
    for task in env.tasks("generated")[::4]:
        _, results = played(env, task)
        n = begins(results)
        talk = [r.observation for r in results[exposure.N_MESSAGES - 1 : n - 1]]
        assert len(talk) == 12
        assert shared(talk, results[n - 1].goal or "") == set()


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("kind", EXPOSURES)
def test_the_stages_are_not_told(name: str, kind: str) -> None:
    env = staged(name, exposure=kind)
    for task in env.tasks("generated")[:10]:
        first, results = played(env, task)
        texts = [first.goal, first.text, *(r.observation for r in results)]
        assert not any("stage" in text.lower() or "distract" in text.lower() for text in texts)
    assert "stage" not in (env.spec.instructions.text + env.spec.instructions.example).lower()


@pytest.mark.parametrize("action", ["", "x" * 1_000_000, "\0", "\ud800"])
def test_an_answer_that_cannot_be_read_moves_on(action: str) -> None:
    env = staged("alfworld")
    task = env.tasks("generated")[0]
    _, honest = played(env, task)
    n = begins(honest)
    env.reset(task, 0)
    for heard in honest[:n]:
        lost = env.step(action)
        assert not lost.valid
        assert lost.observation == f"That was no readable answer.\n\n{heard.observation}"
        assert (lost.goal, lost.new_context) == (heard.goal, heard.new_context)
    assert not env.step(action).valid


def test_the_spec_is_the_inner_ones_under_another_name() -> None:
    env = staged(FAKE)
    spec, inner = env.spec, build("envs", FAKE, {}).spec
    assert (spec.name, spec.version) == ("three-stage", "1+counting-7")
    assert (spec.splits, spec.experts, spec.metrics) == (inner.splits, inner.experts, inner.metrics)
    assert (spec.headline, spec.has_valid_actions) == (inner.headline, True)
    assert spec.instructions.version == "1+counting-3"
    assert spec.instructions.text.startswith(inner.instructions.text)
    assert "Answer a message in a word" in spec.instructions.text
    assert spec.instructions.example.endswith(inner.instructions.example)
    assert StagedEnvironment.spec.splits == ()  # of any environment: the instance knows


def test_rules_that_are_told_stand_nowhere_else() -> None:
    env, inner = staged("alfworld", rules="told"), build("envs", "alfworld", {})
    rule = "take <thing> from <receptacle>"
    assert rule in inner.spec.instructions.text
    assert rule not in env.spec.instructions.text + env.spec.instructions.example
    assert env.spec.instructions.version != staged("alfworld").spec.instructions.version
    first, results = played(env, env.tasks("generated")[0])
    told = [first.text, *(r.observation for r in results[:2])]
    lines = [line for line in inner.spec.instructions.text.splitlines() if line]
    assert all(any(line in text for text in told) for line in lines)


def test_valid_actions_and_experts_are_those_of_the_moment() -> None:
    env = staged(FAKE, distractors="1")
    env.reset(env.tasks("all")[1], 0)
    for _ in range(3):
        assert env.valid_actions() == ["ok"]
        assert env.expert_action("watcher") == "ok"
        env.step("ok")
    assert env.valid_actions() == ["go"]
    assert env.expert_action("watcher") == "go"
    with pytest.raises(UsageError, match=r"unknown expert of three-stage \(counting\): 'reader'"):
        env.expert_action("reader")
    speechless = staged(SPEECHLESS)
    speechless.reset(speechless.tasks("all")[0], 0)
    assert speechless.valid_actions() is None


def test_gold_passes_through_where_there_is_one() -> None:
    env = staged(FAKE)
    gold = env.gold(env.tasks("all")[2])
    assert gold is not None
    assert (gold.question, gold.answer) == ("which of t2?", "2")
    alfworld = staged("alfworld")
    assert alfworld.gold(alfworld.tasks("generated")[0]) is None
    assert staged(SPEECHLESS).gold(staged(SPEECHLESS).tasks("all")[0]) is None


def test_the_hash_of_the_data_knows_what_is_told() -> None:
    hashes = [
        staged(env, exposure=kind, distractors=n).data_hash("generated")
        for env in REAL
        for kind in EXPOSURES
        for n in ("0", "5")
    ]
    assert len(set(hashes)) == len(hashes)
    assert hashes[:2] == [staged("alfworld", distractors=n).data_hash("generated") for n in "05"]
    assert staged().data_hash("all") != staged().data_hash("lone")


def test_an_earlier_episode_is_told_whole_and_the_world_without_the_deed() -> None:
    env = staged(FAKE, exposure="episode", distractors="0")
    task = env.tasks("all")[1]
    assert task.data == {"task": {"i": 1}, "before": {"id": "t3", "type": "b", "data": {"i": 3}}}
    first, results = played(env, task, 9)
    told = "\n".join([first.text, *(r.observation for r in results[:2])])
    assert "leave t3 behind" in told  # another task of its type
    assert "t3, seed 9" in told
    assert told.count("I wrote: go") == N_STEPS
    assert "That did it." in told
    env = staged(FAKE, exposure="world", distractors="0")
    first, results = played(env, env.tasks("all")[1], 9)
    told = "\n".join([first.text, *(r.observation for r in results[:2])])
    assert "t1, seed 9" in told
    assert "leave" not in told  # the goal is for later
    assert told.count("I wrote: go") == 1  # the second one brings it nearer


def test_a_long_episode_is_cut_where_a_context_would_not_hold_it() -> None:
    pairs = tuple((f"act {n}", "y" * 5000) for n in range(exposure.MAX_PAIRS))
    told = exposure.retell(exposure.Told("x" * 5000, "win", pairs, success=False), "k", whole=True)
    assert len(told) == exposure.N_MESSAGES
    assert sum(map(len, told)) < (exposure.MAX_PAIRS + 1) * (exposure.MAX_SEEN + 30) + 300
    assert "There I left it." in told[-1]
    assert max(map(len, told)) < 1.5 * min(map(len, told))


def test_a_game_told_in_alfworld_is_set_in_the_same_room() -> None:
    env, inner = staged("alfworld", exposure="episode"), build("envs", "alfworld", {})
    same = 0
    tasks = env.tasks("generated")
    for task, plain in zip(tasks, inner.tasks("generated"), strict=True):
        before = task.data["before"]
        told = inner.reset(Task(before["id"], "generated", before["type"], before["data"]), 0)
        assert before["id"] != task.id
        same += told.text == inner.reset(plain, 0).text
    assert same > 0.9 * len(tasks)


def test_close_closes_what_is_within() -> None:
    env = staged(FAKE)
    env.reset(env.tasks("all")[0], 0)
    env.close()
    env.close()
    assert env._inner.closed == 2
    with pytest.raises(UsageError, match="reset a task first"):
        env.step("ok")


@pytest.mark.parametrize(("options", "message"), [
    ({}, r"name it with -o three-stage.env=NAME \(alfworld, .*pddl"),
    ({"env": "alfwrld"}, "did you mean 'alfworld'"),
    ({"env": "hotpotqa"}, "-o hotpotqa.form=three-stage"),
    ({"env": "agemem_eval.envs.hotpotqa.env:HotpotqaEnvironment"}, "hotpotqa.form=three-stage"),
    ({"env": "three-stage"}, "cannot wrap itself"),
    ({"env": FAKE, "exposure": "epsode"}, "did you mean 'episode'"),
    ({"env": FAKE, "rules": "hidden"}, "unknown value of rules"),
    ({"env": FAKE, "rules": "told", "exposure": "world"}, "rules=told goes with"),
    ({"env": FAKE, "distractors": "-1"}, "distractors must be a number"),
    ({"env": FAKE, "distractors": "51"}, "distractors must be at most 50"),
    ({"env": FAKE, "wrd": "x"}, "did you mean 'word'"),
    ({"env": "alfworld", "engine": "unreal"}, "unknown value of engine"),
    ({"env": SPEECHLESS, "exposure": "world"}, "speechless has none: choose exposure=description"),
])  # fmt: skip
def test_bad_options_are_refused_in_a_line(options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        StagedEnvironment(**options)
    assert "\n" not in str(caught.value)


def test_a_lone_task_has_no_earlier_one() -> None:
    assert len(staged(FAKE).tasks("lone")) == 1
    with pytest.raises(UsageError, match="the split lone of counting has one"):
        staged(FAKE, exposure="episode").tasks("lone")


@pytest.mark.parametrize(("data", "message"), [
    ({}, "no 'task' of the environment within"),
    ({"task": 3}, "no 'task' of the environment within"),
    ({"task": {"i": 1}}, "no task is told before it"),
    ({"task": {"i": 1}, "before": {"id": "x"}}, "no task is told before it"),
    ({"task": {"i": 1}, "before": {"id": "t3", "type": "b", "data": {"i": 3}}, "seed": "x"},
     "'seed' is not a whole number"),
])  # fmt: skip
def test_a_damaged_task_is_named(data: dict[str, Any], message: str) -> None:
    env = staged(FAKE, exposure="episode")
    with pytest.raises(DataError, match=message):
        env.reset(Task("t1", "all", "b", data), 0)
    with pytest.raises(UsageError, match="reset a task first"):
        env.step("ok")


def test_options_of_the_environment_within_and_where_its_files_are() -> None:
    env = staged(FAKE, word="run", data="/somewhere", allow_short="true")
    assert (env._inner.word, env._inner.data) == ("run", "/somewhere")
    assert staged("pddl", data="/nowhere")._inner is not None
    with pytest.raises(UsageError, match="allow_short"):
        staged(FAKE, allow_short="yes")
