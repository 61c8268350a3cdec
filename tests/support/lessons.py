"""Episodes that a teacher plays, for the tests of what it writes."""

from __future__ import annotations

import asyncio

from agemem_eval.policies.recipe import Recipe
from agemem_eval.policies.rollout import Heard, Player
from agemem_eval.policies.teacher import Teacher


def lessons(recipe: Recipe, teacher: Teacher, count: int) -> list[Heard]:
    """The first tasks for training of a recipe, as the teacher plays them."""

    async def play() -> list[Heard]:
        player = Player(recipe, teacher)
        try:
            tasks = await player.tasks("generated-train", 0, count)
            return await asyncio.gather(*(player.listen(task, repeat=0) for task in tasks))
        finally:
            await player.close()

    return asyncio.run(play())
