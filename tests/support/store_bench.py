"""Disks that refuse, and processes that die, at any one call; and what a store must hold then."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agemem_fakes.episodes import episode, key

from agemem_eval.harness.config import RunConfig
from agemem_eval.harness.ledger import RoleUsage
from agemem_eval.harness.plan import Cell
from agemem_eval.harness.records import Episode
from agemem_eval.harness.store import RunStore
from agemem_eval.harness.trace import Event
from agemem_eval.harness.types import Task

CALLS = ("open", "write", "fsync", "replace", "unlink", "mkdir", "ftruncate")
TASKS = tuple(f"t{i}" for i in range(4))
CONFIG = RunConfig(envs=("count",), memories=("none",))
CELL = Cell("none", key(""), tuple(Task(t, "test", "even") for t in TASKS), 1, lifelong=True)
((STREAM, _),) = CELL.streams()


class Killed(BaseException):
    """Stands for `kill -9`: nothing in the code may answer it."""


@contextmanager
def failing(
    at: int, error: Callable[[], BaseException], lasts: bool = False
) -> Iterator[list[str]]:
    """Make the `at`-th call that touches the disk fail, or from it on all; yields the calls made.

    A write that fails brings half of its bytes to the disk first, as a full disk does.
    """
    real = {name: getattr(os, name) for name in CALLS}
    made: list[str] = []

    def wrap(name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            made.append(name)
            goes_on = lasts and (error is Killed or name not in ("unlink", "ftruncate"))
            if len(made) == at or (goes_on and len(made) > at > 0):
                if name == "write":
                    real["write"](args[0], bytes(args[1])[: len(args[1]) // 2])
                raise error()
            return real[name](*args, **kwargs)

        return call

    try:
        for name in CALLS:
            setattr(os, name, wrap(name))
        yield made
    finally:
        for name, function in real.items():
            setattr(os, name, function)


def full(code: int = errno.ENOSPC) -> Callable[[], BaseException]:
    """What a disk says that is full."""
    return lambda: OSError(code, os.strerror(code))


def events(episode: Episode) -> list[Event]:
    """A trace that bears an episode out."""
    tokens = {"prompt_tokens": 10, "completion_tokens": 1, "estimated": False}
    made = [{"type": "completion", "text": episode.key.task, **tokens}] * episode.turns
    return [*made, *[{"type": "action", "action": "inc"}] * episode.steps]


def scored(task: str, **fields: Any) -> Episode:
    """An episode whose tokens are those of its `events`."""
    return episode(task, tokens={"agent": RoleUsage(6, 60, 6, 0)}, **fields)


def broken(task: str) -> Episode:
    """One that the infrastructure broke."""
    return scored(task, status="infra_error", reason="down", fault="endpoint")


def play(directory: Path, told: list[str]) -> None:
    """Commit a stream of episodes, the third of them broken at first; notes each that is done."""
    with RunStore(directory) as store:
        store.lock(CONFIG, [CELL.to_json()])
        for task in TASKS:
            if store.scored(key(task)):
                continue
            if task == "t2" and not store.spent(key(task)):
                store.commit(broken(task), events(broken(task)))
            lost = store.spent(key(task))
            one = scored(task, tokens_lost=lost)
            store.commit(one, events(one), (STREAM, f"memory after {task}".encode() * 9))
            told.append(task)


def held(directory: Path) -> dict[str, Episode]:
    """The scored episodes of a run, by task; each has a trace that can be read."""
    if not (directory / "config.json").exists():
        return {}
    store = RunStore.open(directory)
    found = [episode for episode in store.records() if episode.scored]
    for one in found:
        assert list(store.read_trace(one.key.id)) == events(one)
    assert len({one.key for one in found}) == len(found)
    return {one.key.task: one for one in found}
