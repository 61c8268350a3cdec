"""`python -m agemem_eval.policies.engines RECIPE TASKS.jsonl`: tasks as Trinity and verl read them.

The tasks are those of the recipe's `tasks`; with `--evaluation` those of its `evaluation`.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from ...harness.errors import AgememError
from ...harness.models.random import RandomModel
from ...harness.types import Task
from ..recipe import Recipe, read_recipe
from ..rollout import Player
from .episodes import check_sources, write_tasks


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the file; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m agemem_eval.policies.engines")
    parser.add_argument("recipe", type=Path, help="of a training")
    parser.add_argument("tasks", type=Path, help="file to write, JSON lines")
    parser.add_argument("--evaluation", action="store_true", help="the held-out tasks instead")
    given = parser.parse_args(arguments)
    try:
        recipe = read_recipe(given.recipe)
        tasks = asyncio.run(_list(recipe, evaluation=given.evaluation))
        write_tasks(recipe, tasks, given.tasks, given.recipe.resolve())
    except AgememError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(f"{len(tasks)} tasks in {given.tasks}")
    return 0


async def _list(recipe: Recipe, *, evaluation: bool) -> tuple[Task, ...]:
    check_sources(recipe)
    player = Player(recipe, RandomModel())  # nothing is played with it
    asked = recipe.evaluation if evaluation else recipe.tasks
    try:
        return await player.tasks(asked.split, asked.first, asked.episodes)
    finally:
        await player.close()


if __name__ == "__main__":
    sys.exit(main())
