"""Demonstrations of several sources, played by several processes at once.

A teacher is one thread of Python, and its sources have nothing in common but the recipe. Each
process plays one source after the other, since what it has listed of an environment's tasks serves
the next ones too. What is written is what one process would have written.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..harness.errors import WorkerError
from ..harness.workers.process import exit_text
from ..harness.workers.wire import error_from, failure
from ..harness.workers.worker import end_with_parent, take_pipes
from .demonstrations import play, unplayed
from .recipe import Recipe, make_recipe

_MOST = 8  # processes: each has its environments, and the lists of their tasks, in memory


async def play_apart(recipe: Recipe, directory: Path, at_once: int | None = None) -> None:
    """Play the sources that are left, where there are several of them, and cores for them.

    Args:
        recipe: Whose demonstrations they are.
        directory: Of the training.
        at_once: How many processes; None: one for each core that this one may use, 8 at most.

    Raises:
        DataError: for a file of other demonstrations, or a damaged one.
        AgememError: what a process raised, or `WorkerError` if it died.
    """
    waiting = unplayed(recipe, directory)
    count = min(at_once or _cores(), _MOST, len(waiting))
    if count < 2:
        return
    said = {"path": sys.path, "recipe": recipe.model_dump(mode="json"), "directory": str(directory)}
    numbers = iter(waiting)
    playing = [asyncio.ensure_future(_process(said, numbers)) for _ in range(count)]
    try:
        await asyncio.gather(*playing)
    finally:
        for task in playing:
            task.cancel()
        await asyncio.gather(*playing, return_exceptions=True)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


async def _process(said: dict[str, Any], numbers: Iterator[int]) -> None:
    """Have a process play sources until none is left; it ends once nobody waits for it."""
    theirs, lifeline = os.pipe()
    process = None
    try:
        try:
            process = subprocess.Popen(  # noqa: S603 - this package, by this Python
                [sys.executable, "-P", "-m", __name__, str(theirs)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                pass_fds=(theirs,), start_new_session=True,
            )  # fmt: skip
        finally:
            os.close(theirs)
        for number in numbers:
            await asyncio.to_thread(_ask, process, {**said, "number": number})
    finally:
        os.close(lifeline)
        if process is not None:
            process.kill()
            process.communicate()


def _ask(process: subprocess.Popen[bytes], asked: dict[str, Any]) -> None:
    """Wait until a source is played."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(asked).encode() + b"\n")
        process.stdin.flush()
    except BrokenPipeError:
        pass  # it died, as its silence tells
    said = process.stdout.readline()
    if not said:
        how = exit_text(process.wait())
        raise WorkerError(f"a process that played demonstrations died: {how}")
    reply: dict[str, Any] = json.loads(said)
    if "error" in reply:
        raise error_from(reply)


def main() -> None:
    """Play sources, as standard input says; its argument: descriptor of the lifeline."""
    source, target = take_pipes()
    end_with_parent(int(sys.argv[1]))
    with os.fdopen(source, "rb") as given, os.fdopen(target, "wb") as said:
        for line in given:
            said.write(json.dumps(_answer(json.loads(line))).encode() + b"\n")
            said.flush()


def _answer(asked: dict[str, Any]) -> dict[str, Any]:
    """Play one source; any failure is a reply."""
    sys.path[:] = asked["path"]
    try:
        recipe = make_recipe(asked["recipe"])
        asyncio.run(play(recipe, Path(asked["directory"]), asked["number"]))
    except Exception as error:  # noqa: BLE001 - raised again where it is waited for
        return failure(error, "playing demonstrations")
    return {"value": None}


if __name__ == "__main__":
    main()
