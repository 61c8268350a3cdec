"""All-Returns in embodied environments: real episodes of the teacher, as they are and in stages."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from agemem_eval.harness.models import ModelBase
from agemem_eval.harness.types import Completion, EpisodeView, Model, Request
from agemem_eval.policies.mixture import Pick
from agemem_eval.policies.recipe import Recipe, make_recipe
from agemem_eval.policies.rewards.context import key_phrases
from agemem_eval.policies.rollout import Player
from agemem_eval.policies.teacher import Teacher
from agemem_eval.policies.teacher.minds import KNOWN
from agemem_eval.policies.trajectory import Group

NO_GOLD = {"memory.storage", "memory.recall"}  # these tasks have no gold facts


class Told(ModelBase):
    """Another model, with tokens that say nothing."""

    def __init__(self, inner: Model) -> None:
        self.info, self._inner = inner.info, inner

    def bind(self, episode: EpisodeView) -> Model:
        return Told(self._inner.bind(episode))

    async def generate(self, request: Request) -> Completion:
        said = await self._inner.generate(request)
        return replace(said, token_ids=(7,), prompt_ids=(1,), logprobs=(-1.0,))


def recipe(env: str, *, staged: bool, context: int) -> Recipe:
    inner = {"env": env, "exposure": "world"}
    played = {"env": "three-stage", "options": {"three-stage": inner}}
    return make_recipe({
        "name": "worlds", "model": {"path": "none"}, "grpo": {},
        "agent": {"shots": 0, "context_tokens": context, "max_tokens": 512},
        "tasks": {"sources": [played if staged else {"env": env}]},
    })  # fmt: skip


def played(env: str, noise: float, *, staged: bool = True, context: int = 4096) -> list[Group]:
    async def play() -> list[Group]:
        teacher = Told(Teacher(KNOWN[env].expert, noise))
        player = Player(recipe(env, staged=staged, context=context), teacher)
        try:
            tasks = await player.tasks("generated", 0, 2)
            batch = await player.groups(
                [Pick(task) for task in tasks], rollouts=2, temperature=0.0, round_=0
            )
            return list(batch.groups)
        finally:
            await player.close()

    return asyncio.run(play())


@pytest.mark.parametrize(("env", "staged"), [("alfworld", True), ("pddl", True), ("pddl", False)])
def test_all_parts_are_scored_but_what_needs_gold_facts_and_within_their_bounds(env, staged):
    for group in played(env, 0.5, staged=staged):
        for trajectory in group.trajectories:
            parts = trajectory.reward.components
            assert {name for name, value in parts.items() if value is None} == NO_GOLD
            for name, value in parts.items():
                if name.startswith(("context", "memory", "answered")) and value is not None:
                    assert 0 <= value <= 1, name
            assert parts["task"] == trajectory.episode.progress
            weighed = sum(parts[name] or 0 for name in ("task", "context", "memory")) / 3
            assert trajectory.reward.total == pytest.approx(weighed + (parts["penalty"] or 0))


def test_who_writes_down_what_was_told_and_mends_it_earns_more_than_who_does_not():
    kept, left = (played("alfworld", noise) for noise in (0.0, 1.0))

    def mean(groups: list[Group], name: str) -> float:
        found = [t.reward.components[name] or 0 for g in groups for t in g.trajectories]
        return sum(found) / len(found)

    assert mean(kept, "task") == 1
    for name in ("memory.maintenance", "memory.relevance", "context.preventive"):
        assert mean(kept, name) > mean(left, name) == 0, name
    assert min(t.reward.total for g in kept for t in g.trajectories) > 0.7


def phrases(goal: str) -> set[frozenset[str]]:
    return set(key_phrases(goal))


def test_the_key_phrases_of_a_goal_are_its_things():
    assert phrases("put a mug in the drawer.") == {frozenset({"mug"}), frozenset({"drawer"})}
    assert phrases("go to the red ball") == {frozenset({"red"}), frozenset({"ball"})}
    assert phrases("open it") == {frozenset({"open"})}  # rather than nothing


def test_a_numbered_thing_is_a_key_phrase_and_its_number_alone_is_none():
    goal = "make all of this true at the same time: ball1 is in rooma; wheel2 is on hub1."
    things = [("ball", "1"), ("wheel", "2"), ("hub", "1")]
    assert phrases(goal) == set(map(frozenset, things))


def test_names_and_numbers_of_a_question_are_its_key_phrases_as_before():
    assert phrases("In which town did Vell build the Silver Heron in 1902?") == {
        frozenset({"vell"}), frozenset({"silver", "heron"}), frozenset({"1902"}),
    }  # fmt: skip
