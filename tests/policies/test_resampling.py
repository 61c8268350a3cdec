"""Which tasks are played in the place of those that teach nothing."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import train_runs

pytestmark = pytest.mark.train
pytest.importorskip("torch")

from tiny_groups import group  # noqa: E402

from agemem_eval.harness.errors import ModelError  # noqa: E402
from agemem_eval.harness.ledger import RoleUsage  # noqa: E402
from agemem_eval.harness.types import Task  # noqa: E402
from agemem_eval.policies.mixture import Mixture  # noqa: E402
from agemem_eval.policies.reinforce import Grpo  # noqa: E402
from agemem_eval.policies.rollout import Batch  # noqa: E402

TASKS = [Task(f"t{i}", "generated-train", "bridge") for i in range(12)]


async def play(varied, rounds, step=1, sources=(TASKS,), breaks=(), said=None, **more):
    """A step of four tasks; only groups of the tasks in `varied` have different rewards.

    Of several sources of tasks the first one has half of the weight. What is played as one of the
    rounds in `breaks`, counted from 0, the infrastructure breaks.
    """
    recipe = train_runs.recipe(
        grpo__tasks_per_step=4, grpo__resample={"rounds": rounds}, grpo__rollouts=2,
        tasks__sources=[{"weight": w} for w in (2, 1, 1)[: len(sources)]] if sources[1:] else [],
    )  # fmt: skip
    asked = []

    async def groups(some, round_):
        asked.append((round_, [pick.task.id for pick in some]))
        if len(asked) - 1 in breaks:
            raise ModelError("the endpoint is gone", "server")
        found = [group(p.task.id, (0.0, []), (float(varied(p.task.id)), [])) for p in some]
        placed = (replace(one, source=p.source) for one, p in zip(found, some, strict=True))
        return Batch(tuple(placed), **more)

    grpo = object.__new__(Grpo)
    grpo.recipe, grpo.grpo = recipe, recipe.grpo
    observer = SimpleNamespace(says=[].append if said is None else said.append)
    grpo.session, grpo.mixture = SimpleNamespace(observer=observer), Mixture(recipe, sources)
    grpo._groups = groups
    return *await grpo._play(step), asked


async def test_without_resampling_flat_groups_stay():
    played, learned, asked = await play(lambda _: False, rounds=0, lost=0)
    assert len(asked) == 1
    assert list(played.groups) == learned


async def test_flat_groups_are_replaced_by_tasks_that_were_not_played_in_this_step():
    def varied(name):
        return name in ("t1", "t5")

    played, learned, asked = await play(varied, rounds=2, lost=0)
    names = [name for _, round_ in asked for name in round_]
    assert len(asked) == 3
    assert len(set(names)) == len(names)
    assert len({round_ for round_, _ in asked}) == 3
    assert len(played.groups) == len(learned) == 4
    assert {g.task for g in learned} >= {name for name in names if varied(name)}


async def test_where_all_tasks_are_used_up_flat_groups_fill_the_step():
    _, learned, asked = await play(lambda _: False, rounds=3, sources=(TASKS[:4],), lost=0)
    assert len(asked) == 1
    assert len(learned) == 4


async def test_losses_and_the_judges_cost_are_of_all_rounds():
    cost = RoleUsage(2, 30, 4, 1)
    played, _, asked = await play(lambda _: False, rounds=1, lost=1, judged=cost)
    assert len(asked) == 2
    assert played.lost == 2
    assert played.judged == RoleUsage(4, 60, 8, 2)


async def test_rounds_of_different_steps_have_different_seeds():
    seen = []
    for step in (1, 2, 3):
        _, _, asked = await play(lambda _: False, rounds=2, step=step, lost=0)
        seen += [round_ for round_, _ in asked]
    assert len(set(seen)) == len(seen)


async def test_a_round_that_breaks_ends_the_resampling_and_not_the_training():
    said, cost = [], RoleUsage(2, 30, 4, 1)
    more = {"lost": 1, "judged": cost}
    played, learned, asked = await play(lambda _: False, 3, breaks=(1,), said=said, **more)
    assert len(asked) == 2
    assert list(played.groups) == learned
    assert played.lost == 1 + len(asked[1][1])
    assert played.judged == cost
    assert said == ["step 1: resampling ends: the endpoint is gone"]


async def test_what_earlier_rounds_brought_is_kept_when_a_later_one_breaks():
    played, learned, asked = await play(lambda name: name == "t5", 3, breaks=(2,), lost=0)
    assert len(asked) == 3
    assert "t5" in {group.task for group in learned}
    assert len(learned) == 4
    assert played.lost == len(asked[2][1])


async def test_a_first_round_that_breaks_ends_the_step():
    with pytest.raises(ModelError, match="the endpoint is gone"):
        await play(lambda _: False, 3, breaks=(0,), lost=0)


async def test_a_flat_group_is_replaced_by_a_task_of_its_own_source():
    sources = [[Task(f"{s}{i}", "generated-train", "") for i in range(6)] for s in "abc"]
    _, learned, asked = await play(lambda name: name[0] != "a", 2, sources=sources, lost=0)
    played = [sorted(name[0] for name in names) for _, names in asked]
    assert played == [["a", "a", "b", "c"], ["a", "a"], ["a", "a"]]
    assert sorted(group.task[0] for group in learned) == ["a", "a", "b", "c"]
    assert len({name for _, names in asked for name in names}) == 8


async def test_a_source_that_teaches_keeps_its_share_when_another_teaches_nothing():
    sources = [[Task(f"{s}{i}", "generated-train", "") for i in range(6)] for s in "abc"]
    _, learned, _ = await play(lambda name: name[0] == "a", 1, sources=sources, lost=0)
    assert [group.source for group in learned] == [0, 0, 1, 2]
