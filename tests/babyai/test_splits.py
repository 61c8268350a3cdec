"""The splits, the options and what must work without the extra `babyai`."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from agemem_eval.envs.babyai import levels
from agemem_eval.envs.babyai.env import BabyaiEnvironment
from agemem_eval.harness.build import build
from agemem_eval.harness.errors import DataError, MissingExtraError, UsageError
from agemem_eval.harness.registry import load
from agemem_eval.harness.types import Environment, Task

SPLITS = ("agentboard", "generated", "generated-train")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> BabyaiEnvironment:
    """An environment that believes the extra to be there; nothing here plays."""
    monkeypatch.setattr("agemem_eval.envs.babyai.env.find_spec", lambda name: name)
    return BabyaiEnvironment()


def test_it_is_the_registered_environment(environment: BabyaiEnvironment) -> None:
    assert load("envs", "babyai") is BabyaiEnvironment
    as_protocol: Environment = environment  # mypy holds it against the protocol
    assert as_protocol.spec.default_split == "agentboard"
    assert as_protocol.spec.experts == ("oracle", "bot", "explorer")
    for name, member in inspect.getmembers(Environment, inspect.isfunction):
        if not name.startswith("_"):
            own = inspect.signature(getattr(BabyaiEnvironment, name)).parameters
            assert list(own) == list(inspect.signature(member).parameters), name


def test_a_missing_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agemem_eval.envs.babyai.env.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'agemem-eval\[babyai\]'"):
        BabyaiEnvironment()


def test_the_module_and_its_spec_need_no_minigrid() -> None:
    script = (
        "import sys; sys.modules.update(minigrid=None, gymnasium=None, pygame=None)\n"
        "from agemem_eval.envs.babyai.env import BabyaiEnvironment as E\n"
        "from agemem_eval.envs.babyai import levels\n"
        "print(E.spec.name, len(levels.tasks('generated')), 'numpy' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "babyai 267 False\n"


def test_options_that_it_does_not_have_are_refused(environment: BabyaiEnvironment) -> None:
    with pytest.raises(UsageError):
        build("envs", "babyai", {"engine": "native"})


# --- splits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("split", "size"), [("agentboard", 112), ("generated", 267),
                                             ("generated-train", 7120)])  # fmt: skip
def test_splits_have_their_size_and_unique_ids(
    environment: BabyaiEnvironment, split: str, size: int
) -> None:
    tasks = environment.tasks(split)
    assert len(tasks) == size == next(s.n_tasks for s in environment.spec.splits if s.name == split)
    assert len({task.id for task in tasks}) == size
    assert all(task.split == split and task.type == task.data["level"] for task in tasks)


def test_no_game_is_in_two_splits(environment: BabyaiEnvironment) -> None:
    ids = [task.id for split in SPLITS for task in environment.tasks(split)]
    assert len(set(ids)) == len(ids)


def test_agentboard_is_its_28_levels_with_seeds_1234_to_1237(
    environment: BabyaiEnvironment,
) -> None:
    tasks = environment.tasks("agentboard")
    assert set(Counter(task.type for task in tasks).values()) == {4}
    assert {task.data["seed"] for task in tasks} == {1234, 1235, 1236, 1237}
    # Its levels 1, 16, 29 and 32; 22, 23, 26 and 30 are left out of its own configuration.
    assert {"GoToRedBallGrey-v0", "OpenDoorsOrderN4Debug-v0", "UnlockToUnlock-v0",
            "KeyCorridorS6R3-v0"} <= {task.type for task in tasks}  # fmt: skip
    assert not {"PutNextLocalS6N4-v0", "PutNextS7N4Carrying-v0", "KeyInBox-v0",
                "ActionObjDoor-v0"} & {task.type for task in tasks}  # fmt: skip


@pytest.mark.parametrize("split", SPLITS)
def test_the_first_tasks_are_a_mixture(environment: BabyaiEnvironment, split: str) -> None:
    tasks = environment.tasks(split)
    n_levels = len({task.type for task in tasks})
    for start in range(0, len(tasks), n_levels):  # every level once, then every level again
        assert len({task.type for task in tasks[start : start + n_levels]}) == n_levels
    # The list of levels goes from walking to whole buildings; ten tasks meet several kinds.
    assert len({task.type[:4] for task in tasks[:10]}) >= 5


def test_the_order_is_fixed_for_ever(environment: BabyaiEnvironment) -> None:
    assert [task.id for task in environment.tasks("agentboard")[:4]] == [
        "GoToRedBallGrey-v0/1234",
        "Open-v0/1234",
        "UnlockLocalDist-v0/1234",
        "GoToObjMazeS7-v0/1234",
    ]
    script = (
        "from agemem_eval.envs.babyai import levels\n"
        f"for split in {SPLITS}:\n"
        "    print(levels.split_hash(split), *(t.id for t in levels.tasks(split)))"
    )
    listings = {
        subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("0", "1")
    }
    assert len(listings) == 1
    here = [
        f"{environment.data_hash(s)} {' '.join(t.id for t in environment.tasks(s))}" for s in SPLITS
    ]
    assert listings.pop().splitlines() == here


def test_caps_are_a_level_s_and_leave_the_oracle_twice_its_steps(
    environment: BabyaiEnvironment,
) -> None:
    caps: dict[str, set[int | None]] = {}
    for split in SPLITS:
        for task in environment.tasks(split):
            caps.setdefault(task.type, set()).add(task.max_steps)
            assert task.max_steps is not None
            assert levels.DEFAULT_CAP <= task.max_steps <= levels.LARGEST_CAP
            if task.oracle_steps is not None:
                assert min(2 * task.oracle_steps, levels.LARGEST_CAP) <= task.max_steps
    assert all(len(of_level) == 1 for of_level in caps.values())


def test_the_oracle_claims_all_but_the_three_games_that_cannot_be_won(
    environment: BabyaiEnvironment,
) -> None:
    unclaimed = {t.id for s in SPLITS[:2] for t in environment.tasks(s) if t.oracle_steps is None}
    assert unclaimed == {f"OpenDoorsOrderN4Debug-v0/{seed}" for seed in (1234, 1236, 1237)}
    assert all(task.oracle_steps is None for task in environment.tasks("generated-train"))


def test_the_hash_covers_the_games(
    environment: BabyaiEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {split: environment.data_hash(split) for split in SPLITS}
    assert len(set(before.values())) == 3
    facts = dict(levels.facts())
    fact = facts["Open-v0", 1234]
    facts["Open-v0", 1234] = levels.Fact("0" * 12, fact.oracle_steps)
    monkeypatch.setattr(levels, "facts", lambda: facts)
    after = {split: environment.data_hash(split) for split in SPLITS}
    assert [before[s] == after[s] for s in SPLITS] == [False, True, True]


def test_unknown_splits_name_the_nearest(environment: BabyaiEnvironment) -> None:
    with pytest.raises(UsageError, match="did you mean 'agentboard'"):
        environment.tasks("agentbord")
    with pytest.raises(UsageError, match="did you mean 'generated'"):
        environment.data_hash("genrated")
    with pytest.raises(UsageError, match="did you mean 'generated'"):
        environment.reset(Task("x", "genrated"), 0)


@pytest.mark.parametrize(
    ("data", "missing"),
    [
        ({}, "level"),
        ({"level": "KeyInBox-v0", "seed": 1}, "level"),
        ({"level": ["Open-v0"], "seed": 1}, "level"),
        ({"level": "Open-v0"}, "seed"),
        ({"level": "Open-v0", "seed": -1}, "seed"),
        ({"level": "Open-v0", "seed": "1"}, "seed"),
        ({"level": "Open-v0", "seed": True}, "seed"),
    ],
)
def test_a_task_without_its_data_is_refused(
    environment: BabyaiEnvironment, data: dict[str, object], missing: str
) -> None:
    with pytest.raises(DataError, match=f"x: the task has no '{missing}'"):
        environment.reset(Task("x", "generated", data=data), 0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "line 1: the columns are not level seed"),
        ("level\tseed\n", "line 1: the columns are not level seed"),
        (f"{levels.HEADER}\nOpen-v0\t1\tabc\n", "line 2: not a level"),
        (f"{levels.HEADER}\nOpen-v0\t1\tabc\t3\nOpen-v0\tx\tabc\t3\n", "line 3: not a level"),
        (f"{levels.HEADER}\nOpen-v0\t1\tabc\tthree\n", "line 2: not a level"),
        (f"{levels.HEADER}\nOpen-v0\t²\tabc\t3\n", "line 2: not a level"),
    ],
)
def test_a_broken_file_of_facts_is_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "games.tsv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=f"games.tsv, {message}"):
        dict(levels.read_facts(path))
    with pytest.raises(DataError, match="cannot be read"):
        dict(levels.read_facts(tmp_path / "none.tsv"))


def test_nothing_is_played_before_a_reset(environment: BabyaiEnvironment) -> None:
    for act in (environment.valid_actions, environment.expert_action):
        with pytest.raises(UsageError, match="reset a task first"):
            act()
    with pytest.raises(UsageError, match="reset a task first"):
        environment.step("turn left")
    environment.close()
    environment.close()
