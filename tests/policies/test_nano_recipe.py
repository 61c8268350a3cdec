"""The recipes of the packaged checkpoints: what they train on is in no test split."""

from __future__ import annotations

from pathlib import Path

import pytest

from agemem_eval.envs.alfworld import generator as alfworld
from agemem_eval.envs.babyai import levels as babyai
from agemem_eval.envs.hotpotqa import generator as hotpotqa
from agemem_eval.envs.pddl import generator as pddl
from agemem_eval.envs.scienceworld import facts as scienceworld
from agemem_eval.policies import recipes
from agemem_eval.policies.recipe import Recipe, read_recipe

TRAINING = {"generated-train", "train"}


RESULTS = Path(__file__).resolve().parents[2] / "results" / "nano"
RECIPES = {
    "nano": Path(recipes.__file__).with_name("nano.yaml"),
    "nano-sft-1": RESULTS / "nano-sft-1.yaml",  # these two made the packaged `nano-sft`
    "nano-sft-2": RESULTS / "nano-sft-2.yaml",
}


@pytest.fixture(scope="module", params=list(RECIPES))
def nano(request: pytest.FixtureRequest) -> Recipe:
    return read_recipe(RECIPES[request.param])


def test_all_five_environments_are_demonstrated_and_none_beside_splits_for_training(
    nano: Recipe,
) -> None:
    assert nano.sft is not None
    shown = [nano.of(source).tasks for source in nano.sft.sources]
    assert {tasks.played for tasks in shown} == {
        "alfworld", "babyai", "hotpotqa", "pddl", "scienceworld"
    }  # fmt: skip
    assert {tasks.split for tasks in shown} <= TRAINING
    assert {part.tasks.split for part in nano.parts} <= TRAINING
    assert {part.evaluation.split for part in nano.parts} <= TRAINING


def test_no_teacher_of_it_is_an_oracle(nano: Recipe) -> None:
    assert nano.sft is not None
    assert not [source for source in nano.sft.sources if source.expert == "oracle"]


def test_no_room_for_training_is_one_for_testing() -> None:
    inventories: dict[str, set[object]] = {}
    for split, count in alfworld.PLANS.items():
        plans = (
            alfworld.floor_plan(split, room, n) for room in alfworld.ROOMS for n in range(count)
        )
        inventories[split] = {(plan.room, plan.inventory) for plan in plans}
    assert len(inventories["generated-train"]) > 300
    assert not inventories["generated"] & inventories["generated-train"]


def test_no_problem_for_training_is_one_for_testing_under_other_names() -> None:
    marks: dict[str, set[str]] = {"generated": set(), "generated-train": set()}
    for split, found in marks.items():
        for entry in pddl.catalogue(split):
            name, _ = pddl.setting(entry.index)
            found.add(pddl.fingerprint(name, pddl._draw(split, entry.index, entry.draw)))
    assert not marks["generated"] & marks["generated-train"]


def test_no_level_and_seed_for_training_is_one_for_testing() -> None:
    training = set(babyai.games("generated-train"))
    assert len(training) == 7120
    assert not training & {*babyai.games("generated"), *babyai.games("agentboard")}


def test_no_variation_for_training_is_one_for_testing() -> None:
    training = set(scienceworld.members("train"))
    for split in ("dev", "dev-full", "test", "test-full"):
        assert not training & set(scienceworld.members(split))


def test_no_thing_of_a_question_for_training_is_of_one_for_testing() -> None:
    titles: dict[str, set[str]] = {}
    for split in ("generated", "generated-train"):
        games = (hotpotqa.generate(split, i) for i in range(hotpotqa.SIZES[split]))
        titles[split] = {p.title for game in games for p in game.question.context}
    assert min(map(len, titles.values())) > 4000
    assert not titles["generated"] & titles["generated-train"]
