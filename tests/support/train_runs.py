"""Trainings small enough for tests: a recipe, and processes of them that are killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Words, a model and limits so small that a training takes seconds and learns next to nothing.
TINY: dict[str, Any] = {
    "name": "tiny-test",
    "model": {
        "fresh": {
            "vocabulary": 1024, "hidden": 32, "layers": 1, "heads": 2, "kv_heads": 1, "inner": 64,
            "positions": 8192,
        },
        "threads": 1,
    },
    "tasks": {
        "episodes": 30,
        "options": {"hotpotqa": {"form": "three-stage", "distractors": "0", "paragraphs": "2"}},
    },
    "agent": {"context_tokens": 4000, "max_tokens": 12, "max_turns_per_step": 2},
    "sft": {
        "demonstrations": {"episodes": 8, "keep": "all"},
        "epochs": 2, "batch_tokens": 1024, "learning_rate": 0.003,
    },
    "grpo": {"steps": 4, "tasks_per_step": 2, "rollouts": 2, "learning_rate": 0.001},
    "evaluation": {"first": 4000, "episodes": 2, "every": 2},
    "checkpoints": {"every": 2, "sft_every": 3, "keep": 1},
    "collapse": {"patience": 100_000},  # so small a model may leave any answer out for some steps
}  # fmt: skip


def recipe(**overrides: Any) -> Any:
    """The recipe above with values by dotted key, `__` for the dot."""
    from agemem_eval.policies.recipe import make_recipe
    from agemem_eval.policies.refusals import set_value

    values = json.loads(json.dumps(TINY))
    for key, value in overrides.items():
        set_value(values, key.replace("__", "."), value)
    return make_recipe(values)


def plan(recipe: Any, directory: Path) -> Any:
    """What the command finds out before it begins."""
    from agemem_eval.policies.preflight import make_plan_of

    return asyncio.run(make_plan_of(recipe, directory))


def finish(plan: Any) -> Any:
    """Carry a training out in this process, as the command does."""
    from agemem_eval.policies.progress import Silent
    from agemem_eval.policies.session import Stop
    from agemem_eval.policies.train import train

    return asyncio.run(train(plan, Stop(), Silent()))


def start(plan: Any) -> int:
    """Begin or go on with a training in a process of its own; its id.

    Forked, since starting Python and importing torch take longer than such a training.
    """
    child = os.fork()
    if not child:
        code = 1
        try:
            devnull = os.open(os.devnull, os.O_RDWR)
            os.dup2(devnull, 1)
            finish(plan)
            code = 0
        except BaseException as error:  # noqa: BLE001 - told by the exit code
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(code)
    return child


def kill_when(child: int, due: Callable[[], bool], after_s: float) -> bool:
    """Kill a process some time after something is so; False if it ended before."""
    deadline = time.monotonic() + 120
    since: float | None = None
    while time.monotonic() < deadline:
        if os.waitpid(child, os.WNOHANG) != (0, 0):
            return False
        if since is None and due():
            since = time.monotonic()
        if since is not None and time.monotonic() - since >= after_s:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return True
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise TimeoutError("the training hangs")


def lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a log without what the clock decides; those that are whole."""
    if not path.is_file():
        return []
    found = [json.loads(t) for t in path.read_bytes().splitlines(keepends=True) if t[-1:] == b"\n"]
    for line in found:
        line.pop("seconds", None)
    return found


def sources(**overrides: Any) -> dict[str, Any]:
    """Values for `recipe`: questions, and puzzles with half as many tasks, cut after 3 steps."""
    puzzles = {
        "env": "pddl", "episodes": 20, "agent": {"max_steps": 3, "context_tokens": 3500},
        "evaluation": {"first": 900, "episodes": 3}, "weight": 0.5,
    }  # fmt: skip
    return {"tasks__sources": [{"weight": 1}, {**puzzles, **overrides}], "grpo__tasks_per_step": 3}
