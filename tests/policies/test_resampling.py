"""Which tasks a step plays, and which are played in the place of those that teach nothing."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import train_runs

pytestmark = pytest.mark.train
pytest.importorskip("torch")

from tiny_groups import group  # noqa: E402

from agemem_eval.harness.errors import ModelError  # noqa: E402
from agemem_eval.harness.ledger import RoleUsage  # noqa: E402
from agemem_eval.harness.types import Task  # noqa: E402
from agemem_eval.policies.reinforce import Grpo, tasks_of_step  # noqa: E402
from agemem_eval.policies.rollout import Batch  # noqa: E402

TASKS = [Task(f"t{i}", "generated-train", "bridge") for i in range(12)]


async def play(varied, rounds, step=1, tasks=TASKS, breaks=(), said=None, **more):
    """A step of four tasks; only groups of the tasks in `varied` have different rewards.

    What is played as one of the rounds in `breaks`, counted from 0, the infrastructure breaks.
    """
    recipe = train_runs.recipe(
        grpo__tasks_per_step=4, grpo__resample={"rounds": rounds}, grpo__rollouts=2
    )
    asked = []

    async def groups(some, round_):
        asked.append((round_, [task.id for task in some]))
        if len(asked) - 1 in breaks:
            raise ModelError("the endpoint is gone", "server")
        found = [group(t.id, (0.0, []), (float(varied(t.id)), [])) for t in some]
        return Batch(tuple(found), **more)

    grpo = object.__new__(Grpo)
    grpo.recipe, grpo.grpo = recipe, recipe.grpo
    observer = SimpleNamespace(says=[].append if said is None else said.append)
    grpo.session = SimpleNamespace(plan=SimpleNamespace(tasks=tasks), observer=observer)
    grpo._groups = groups
    return *await grpo._play(step), asked


def test_an_epoch_has_every_task_once_and_the_next_another_order():
    recipe = train_runs.recipe(grpo__tasks_per_step=4)
    epochs = [
        [task.id for step in range(first, first + 3) for task in tasks_of_step(recipe, TASKS, step)]
        for first in (1, 4)
    ]
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(task.id for task in TASKS)
    assert epochs[0] != epochs[1]


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
    _, learned, asked = await play(lambda _: False, rounds=3, tasks=TASKS[:4], lost=0)
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
