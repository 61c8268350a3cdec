"""The tasks and splits that the package ships, against the library and the official numbers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from agemem_eval.envs.scienceworld import env, facts, simulator
from agemem_eval.envs.scienceworld.env import ScienceworldEnvironment, for_task
from agemem_eval.envs.scienceworld.facts import SIZES, all_tasks, members, oracle_steps
from agemem_eval.harness.errors import DataError, MissingExtraError, UsageError
from agemem_eval.harness.registry import load
from agemem_eval.harness.types import Environment, Task


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the extra were installed: listing tasks starts nothing."""
    monkeypatch.setattr(simulator, "require", lambda: None)
    monkeypatch.setattr(env, "Simulator", None)


# --- splits ---------------------------------------------------------------------------------


def test_the_official_splits_have_their_official_sizes() -> None:
    assert len(all_tasks()) == 30
    assert sum(t.test.stop for t in all_tasks()) == 7207
    whole = {split: len(members(split)) for split in ("train", "dev-full", "test-full")}
    assert whole == {"train": 3592, "dev-full": 1796, "test-full": 1819}


@pytest.mark.parametrize("split", SIZES)
def test_every_split_has_the_number_it_declares_each_once(split: str) -> None:
    pairs = members(split)
    assert len(pairs) == SIZES[split] == len(set(pairs))


def test_splits_share_no_variation_and_samples_are_of_the_whole() -> None:
    train, dev, test = (set(members(s)) for s in ("train", "dev-full", "test-full"))
    assert not train & dev
    assert not train & test
    assert not dev & test
    assert set(members("test")) < test
    assert set(members("dev")) < dev


def test_a_sample_is_spread_evenly_over_every_task() -> None:
    drawn = Counter(task for task, _ in members("test"))
    for task in all_tasks():
        assert drawn[task.name] == min(6, len(task.test))
    friction = [v for t, v in members("test") if t == "inclined-plane-friction-named-surfaces"]
    assert friction == [1067, 1125, 1183, 1241, 1299, 1357]  # 348 from 1038, middles of sixths


def test_the_first_ten_tasks_of_every_split_are_of_ten_topics() -> None:
    topic = {task.name: task.topic for task in all_tasks()}
    for split in SIZES:
        first = [topic[name] for name, _ in members(split)[:10]]
        assert len(set(first)) == 10
        assert len({name for name, _ in members(split)[:30]}) == 30


def test_oracle_lengths_are_of_real_variations_and_within_reason() -> None:
    ends = {task.name: task.test.stop for task in all_tasks()}
    steps = oracle_steps()
    assert all(0 <= variation < ends[task] for task, variation in steps)
    assert all(1 <= number <= 1000 for number in steps.values())
    known = [pair in steps for pair in members("test")]
    assert sum(known) >= 0.97 * len(known)


@pytest.mark.parametrize(
    ("name", "line", "reason"),
    [
        ("tasks.tsv", "boil\t1\t14\t21", "line 1: not enough values"),
        ("tasks.tsv", "boil\t1\t14\tx\t30", "line 1: invalid literal"),
        ("oracle.tsv", "boil\t1\tmany", "line 1: invalid literal"),
    ],
)
def test_a_broken_fact_is_named_with_file_and_line(
    name: str, line: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).write_text(line + "\n")
    monkeypatch.setattr(facts, "files", lambda _: tmp_path)
    read = facts.all_tasks if name == "tasks.tsv" else facts.oracle_steps
    with pytest.raises(DataError, match=rf"scienceworld/{name}: {reason}"):
        read.__wrapped__()
    (tmp_path / name).unlink()
    with pytest.raises(DataError, match=rf"scienceworld/{name}: cannot be read"):
        read.__wrapped__()


# --- the environment, without Java ----------------------------------------------------------


def test_it_is_the_registered_environment() -> None:
    assert load("envs", "scienceworld") is ScienceworldEnvironment
    spec = ScienceworldEnvironment.spec
    assert (spec.default_split, spec.max_steps, spec.max_live) == ("test", 100, 1)
    assert {s.name: s.n_tasks for s in spec.splits} == SIZES


def test_tasks_are_listed_without_java(installed: None) -> None:
    environment: Environment = ScienceworldEnvironment()
    for split in SIZES:
        tasks = environment.tasks(split)
        assert len({task.id for task in tasks}) == SIZES[split]
        assert all(task.split == split and task.id.startswith(task.type) for task in tasks)
    assert environment.tasks("test")[0] == Task(
        "boil/21", "test", "boil", {"variation": 21}, oracle_steps=oracle_steps().get(("boil", 21))
    )
    assert len({environment.data_hash(split) for split in SIZES}) == len(SIZES)
    for listing in (environment.tasks, environment.data_hash):
        with pytest.raises(UsageError, match="did you mean 'test-full'"):
            listing("test-ful")


def test_oracle_lengths_are_claimed_only_for_the_simplification_they_hold_for(
    installed: None,
) -> None:
    easy = ScienceworldEnvironment().tasks("test")
    bare = ScienceworldEnvironment(simplifications="none").tasks("test")
    assert any(task.oracle_steps for task in easy)
    assert not any(task.oracle_steps for task in bare)
    assert [task.id for task in easy] == [task.id for task in bare]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": "/somewhere"}, "takes no data folder"),
        ({"simplifications": "opendoors"}, "did you mean 'openDoors'"),
        ({"simplifications": "easy,openDoors"}, "'easy' stands alone"),
        ({"simplifications": ""}, "unknown simplification"),
        ({"jvm_mb": "much"}, "jvm_mb=much: not a number of MiB"),
        ({"jvm_mb": "1"}, "from 128 to 65536"),
        ({"jvm_mb": "-512"}, "not a number"),
        ({"jvm_mb": "²"}, "not a number"),
    ],
)
def test_wrong_options_are_refused(installed: None, options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ScienceworldEnvironment(**options)


def test_simplifications_in_any_order_are_one_and_electricity_keeps_its_actions() -> None:
    assert env._simplifications("teleportAction, openDoors") == "openDoors,teleportAction"
    assert env._simplifications("none") == ""
    assert env._simplifications("easy") == "easy"
    every = ",".join(env.SIMPLIFICATIONS)
    kept = [task.name for task in all_tasks() if for_task(every, task.name) != every]
    assert sorted(kept) == [
        "power-component",
        "power-component-renewable-vs-nonrenewable-energy",
        "test-conductivity",
        "test-conductivity-of-unknown-substances",
    ]
    assert "noElectricalAction" not in for_task(every, "power-component")


def test_a_missing_library_or_java_is_named_with_the_pip_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(simulator, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'agemem-eval\[scienceworld\]'"):
        ScienceworldEnvironment()
    found = {"scienceworld", "py4j"}
    monkeypatch.setattr(simulator, "find_spec", lambda name: name in found or None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingExtraError, match=r"Java.*pip install 'agemem-eval\[scienceworld\]'"):
        ScienceworldEnvironment()
    program = tmp_path / "java"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    ScienceworldEnvironment()  # the system's Java will do
    assert simulator.java() == str(program)


# --- against the library --------------------------------------------------------------------


@pytest.mark.scienceworld
def test_the_shipped_tasks_are_the_librarys(played: ScienceworldEnvironment) -> None:
    from scienceworld.constants import TASKS
    from scienceworld.utils import infer_task

    played.reset(played.tasks("test")[0], 0)
    game = played._simulator
    assert game is not None
    assert sorted(game.ask("getTaskNames")) == sorted(task.name for task in all_tasks())
    topics = {infer_task(t["task_name"]): t["task_id"].split("-")[0] for t in TASKS}
    for task in all_tasks():
        assert task.topic == topics[task.name]
        game.load(task.name, 0, "")
        assert game.ask("getVariationsTrain") == list(task.train)
        assert game.ask("getVariationsDev") == list(task.dev)
        assert game.ask("getVariationsTest") == list(task.test)


@pytest.mark.scienceworld
def test_the_simplifications_are_the_librarys(played: ScienceworldEnvironment) -> None:
    played.reset(played.tasks("test")[0], 0)
    game = played._simulator
    assert game is not None
    assert game.ask("getPossibleSimplifications") == ", ".join(env.SIMPLIFICATIONS)
    for name in ("boil", "power-component"):  # `easy` is what we say it is
        easy = [s for s in env.SIMPLIFICATIONS if s != "openContainers"]
        game.load(name, 0, "easy")
        used = game.ask("getSimplificationsUsed").split(", ")
        assert sorted(used) == for_task(",".join(easy), name).split(",")


@pytest.mark.scienceworld
def test_some_shipped_oracle_lengths_are_played_again(played: ScienceworldEnvironment) -> None:
    short = [task for task in played.tasks("test") if 0 < (task.oracle_steps or 0) <= 30]
    for task in short[::20]:
        played.reset(task, 0)
        for _ in range(task.oracle_steps or 0):
            result = played.step(played.expert_action() or "")
        assert result.success, task.id
