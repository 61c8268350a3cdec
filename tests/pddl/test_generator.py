"""Generated problems: always the same ones, all different, and none in both splits."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from itertools import permutations
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agemem_eval.envs.pddl import generator
from agemem_eval.envs.pddl.game import SIZES, Draft
from agemem_eval.envs.pddl.games import GAMES
from agemem_eval.envs.pddl.generator import fingerprint
from agemem_eval.envs.pddl.language import Problem
from agemem_eval.harness.errors import UsageError

# What these splits are for ever; a change needs a new `generator.VERSION`.
HASHES = {"generated": "e2853f1c4471529e", "generated-train": "87d24bc8056b954f"}

SCRIPT = """
from agemem_eval.envs.pddl import generator
from agemem_eval.envs.pddl.env import PddlEnvironment
import hashlib
environment, total = PddlEnvironment(), hashlib.sha256()
for task in environment.tasks("generated")[:12]:
    seen = environment.reset(task, 0)
    total.update(f"{task} {seen}".encode())
    for _ in range(task.max_steps):
        action = environment.expert_action("observer")
        if action is None:
            break
        total.update(f"{action} {environment.valid_actions()}".encode())
        total.update(repr(environment.step(action)).encode())
        total.update(environment.step("wrong").observation.encode())
print(environment.data_hash("generated"), total.hexdigest())
"""


def problem(split: str, entry: generator.Entry) -> Problem:
    return generator.generate(split, entry.index, entry.draw)


def draft(problem_: Problem) -> Draft:
    return Draft(problem_.objects, problem_.init, tuple(g.fact for g in problem_.goal))


@pytest.mark.parametrize("split", generator.SIZES)
def test_the_problems_are_those_of_this_version(split: str) -> None:
    assert generator.split_hash(split) == HASHES[split]


def test_nothing_depends_on_the_order_of_sets() -> None:
    outputs = set()
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        outputs.add(done.stdout)
    assert len(outputs) == 1
    assert outputs.pop().startswith(HASHES["generated"])


def test_the_first_problems_are_a_fair_mixture() -> None:
    first = [generator.setting(index) for index in range(12)]
    assert len(set(first)) == 12
    assert {name for name, _ in first[:4]} == set(GAMES)
    assert {size for _, size in first[:3]} == set(SIZES)
    for split, size in generator.SIZES.items():
        counts = Counter(generator.setting(index) for index in range(size))
        assert set(counts.values()) == {generator.SIZES[split] // 12}


def test_no_problem_comes_twice_in_either_split_or_in_both() -> None:
    marks = [
        fingerprint(task.domain, draft(task))
        for split in generator.SIZES
        for task in (problem(split, entry) for entry in generator.catalogue(split))
    ]
    assert len(marks) == 1320 == len(set(marks))


def gripper_form(task: Problem) -> tuple[object, ...]:
    """A gripper problem up to names, by trying all ways to rename its rooms: exact."""
    rooms = [name for name, kind in task.objects.items() if kind == "room"]
    targets = {g.fact[1]: g.fact[2] for g in task.goal}
    here = next(fact[1] for fact in task.init if fact[0] == "at-robby")
    forms = []
    for renamed in permutations(range(len(rooms))):
        name = dict(zip(rooms, renamed, strict=True))
        balls = sorted((name[f[2]], name[targets[f[1]]]) for f in task.init if f[0] == "at")
        forms.append((name[here], balls))
    return (len(rooms), repr(min(forms)))


def test_no_gripper_problem_is_another_renamed() -> None:
    forms = [
        gripper_form(task)
        for split in generator.SIZES
        for entry in generator.catalogue(split)
        if (task := problem(split, entry)).domain == "gripper"
    ]
    assert len(forms) == 330 == len(set(forms))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(list(GAMES)), st.sampled_from(SIZES), st.integers(0, 10**6))
def test_a_fingerprint_does_not_depend_on_names_or_order(name: str, size: str, seed: int) -> None:
    made = GAMES[name].draw(Random(seed), size)
    rng = Random(seed + 1)
    new = dict(zip(made.objects, rng.sample(list(made.objects), len(made.objects)), strict=True))
    renamed = Draft(
        objects={new[o]: made.objects[o] for o in rng.sample(list(new), len(new))},
        init=tuple((f[0], *(new[a] for a in f[1:])) for f in rng.sample(made.init, len(made.init))),
        goal=tuple((f[0], *(new[a] for a in f[1:])) for f in made.goal[::-1]),
    )
    assert fingerprint(name, renamed) == fingerprint(name, made)
    for changed in (
        Draft(made.objects, made.init[1:], made.goal),
        Draft(made.objects, made.init, made.goal[1:]),
        Draft({**made.objects, "new": "room"}, made.init, made.goal),
    ):
        assert fingerprint(name, changed) != fingerprint(name, made)


@pytest.mark.parametrize(("index", "draw"), [(-1, 0), (120, 0), (0, -1), (0, 1000)])
def test_places_outside_a_split_are_refused(index: int, draw: int) -> None:
    with pytest.raises(UsageError, match="has the problems 0 to 119"):
        generator.generate("generated", index, draw)


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(UsageError, match="did you mean 'generated'"):
        generator.catalogue("generate")


def test_sizes_grow() -> None:
    steps = {
        (name, size): [
            e.steps
            for e in generator.catalogue("generated")
            if generator.setting(e.index) == (name, size)
        ]
        for name in GAMES
        for size in SIZES
    }
    for name in GAMES:
        means = [sum(steps[name, size]) for size in SIZES]
        assert means == sorted(means)
        assert len(set(means)) == 3
