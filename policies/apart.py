"""Demonstrations of several sources, played by several processes at once.

A teacher is one thread of Python, and its sources have nothing in common but the recipe. Each
process plays one source after the other, since what it has listed of an environment's tasks serves
the next ones too. What is written is what one process would have written.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..harness.errors import WorkerError
from ..harness.workers.process import exit_text, imports_alike
from ..harness.workers.wire import error_from, failure
from ..harness.workers.worker import end_with_parent, take_pipes
from .demonstrations import play, unplayed
from .recipe import Recipe, make_recipe
from .task_recipe import TaskRecipe

_MOST = 8  # processes: each has its environments, and the lists of their tasks, in memory


async def play_apart(recipe: Recipe, directory: Path, at_once: int | None = None) -> None:
    """Play the sources that are left, where there are several of them, and cores for them.

    Models that write for a memory, a judge and processes of environments are there once, so with
    these nothing is played apart.

    Args:
        recipe: Whose demonstrations they are.
        directory: Of the training.
        at_once: How many processes; None: one for each core that this one may use, 8 at most.

    Raises:
        WorkerError: if a process could not be started, or died.
        AgememError: what `demonstrations.play` raised in one.
    """
    most = min(at_once or _cores(), _MOST)
    if recipe.sft is None or most < 2 or not _is_light(recipe):
        return
    waiting, played = unplayed(recipe, directory), list[int]()
    for number in waiting:
        if recipe.sft.sources[number].runs is None:
            played.append(number)
        else:
            await play(recipe, directory, number)  # and is refused before hours of others
    if len(played) < 2:
        return
    asked = {"recipe": recipe.model_dump(mode="json"), "directory": str(directory)}
    numbers = iter(played)
    playing = [
        asyncio.ensure_future(_process(asked, numbers)) for _ in range(min(most, len(played)))
    ]
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


def _is_light(recipe: Recipe) -> bool:
    """Whether a process needs no more for it than its environments."""
    own = {"memory_model", "memory_base_url", "embedder"}
    plain = TaskRecipe().model_dump(include=own)
    judged = recipe.reward.judge is not None
    return not (judged or recipe.sampler.workers) and recipe.tasks.model_dump(include=own) == plain


async def _process(asked: dict[str, Any], numbers: Iterator[int]) -> None:
    """Have a process play sources until none is left; it ends once nobody waits for it."""
    theirs, lifeline = os.pipe()
    process = None
    try:
        try:
            process = subprocess.Popen(  # noqa: S603 - this package, by this Python
                [sys.executable, "-P", "-m", __name__, str(theirs)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=imports_alike(),
                pass_fds=(theirs,), start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise WorkerError(f"cannot start a process to play demonstrations: {error}") from error
        finally:
            os.close(theirs)
        for number in numbers:
            await asyncio.to_thread(_ask, process, {**asked, "number": number})
    finally:
        os.close(lifeline)
        if process is not None:
            _end(process)


def _ask(process: subprocess.Popen[bytes], asked: dict[str, Any]) -> None:
    """Wait until a source is played."""
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(BrokenPipeError):  # it died, as its silence tells
        process.stdin.write(json.dumps(asked).encode() + b"\n")
        process.stdin.flush()
    poll = select.poll()
    poll.register(process.stdout, select.POLLIN)
    while not (told := poll.poll(1000)) and process.poll() is None:
        pass  # when it is dead, what its environments have started may still hold the pipe
    said = process.stdout.readline() if told else b""
    if not said:
        how = exit_text(process.wait())
        raise WorkerError(f"a process that played demonstrations died: {how}")
    reply: dict[str, Any] = json.loads(said)
    if "error" in reply:
        raise error_from(reply)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and its children: it leads a group of its own."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # of what it has not read
                pipe.close()
    process.wait()


def main() -> None:
    """Play sources, as standard input says; its argument: descriptor of the lifeline."""
    source, target = take_pipes()
    end_with_parent(int(sys.argv[1]))
    for number in (signal.SIGINT, signal.SIGTERM):  # the parent hears them, too, and ends this
        signal.signal(number, lambda *_: None)
    with os.fdopen(source, "rb") as given, os.fdopen(target, "wb") as said:
        for line in given:
            said.write(json.dumps(_answer(json.loads(line))).encode() + b"\n")
            said.flush()


def _answer(asked: dict[str, Any]) -> dict[str, Any]:
    """Play one source; any failure is a reply."""
    try:
        recipe = make_recipe(asked["recipe"])
        asyncio.run(play(recipe, Path(asked["directory"]), asked["number"]))
    except Exception as error:  # noqa: BLE001 - raised again where it is waited for
        return failure(error, "playing demonstrations")
    return {"value": None}


if __name__ == "__main__":
    main()
