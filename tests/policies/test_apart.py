"""Sources that are played in processes of their own write what one process writes."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from agemem_eval.harness.errors import DataError, UsageError, WorkerError
from agemem_eval.policies.apart import play_apart
from agemem_eval.policies.command import find_recipe, own_recipes
from agemem_eval.policies.demonstrations import demonstrations_of, files, unplayed
from agemem_eval.policies.recipe import Recipe, make_recipe, read_recipe

ONE = {
    "env": "pddl", "expert": "observer", "episodes": 3, "keep": "all", "agent": {"max_steps": 20},
}  # fmt: skip
OTHER = {**ONE, "first": 100, "episodes": 2}


def recipe(*sources: dict[str, Any], evaluation: int = 1100) -> Recipe:
    return make_recipe({
        "name": "apart",
        "model": {"fresh": {"positions": 8192}},
        "sft": {"demonstrations": list(sources)},
        "agent": {"shots": 0, "context_tokens": 4096, "max_tokens": 256},
        "tasks": {"env": "pddl", "episodes": 8},
        "evaluation": {"first": evaluation, "episodes": 2},
        "reward": {"task_score": "success"},
    })  # fmt: skip


def written(made: Recipe, directory: Path) -> list[bytes]:
    return [path.read_bytes() for path in files(made, directory)]


def children() -> set[int]:
    """Processes that play demonstrations."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().split(b"\0")
                parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
            except OSError:
                continue
            if b"agemem_eval.policies.apart" in command and parent == str(os.getpid()):
                found.add(int(entry.name))
    return found


def begun(made: Recipe, directory: Path) -> bool:
    """Whether each source has been played in part."""
    return all(path.is_file() and path.stat().st_size > 1000 for path in files(made, directory))


def until(true: Any, seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := true()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return value


def test_they_write_the_same_bytes_and_what_was_cut_goes_on(tmp_path: Path) -> None:
    made = recipe(ONE, OTHER, {**ONE, "first": 3, "slips": 0.1})
    alone, apart = tmp_path / "runs" / "alone", tmp_path / "runs" / "apart"
    asyncio.run(demonstrations_of(made, alone))
    assert unplayed(made, apart) == [0, 1, 2]
    asyncio.run(play_apart(made, apart, 2))
    assert written(made, apart) == written(made, alone)
    assert unplayed(made, apart) == []

    first, second, _ = files(made, apart)
    first.write_bytes(b"".join(first.read_bytes().splitlines(keepends=True)[:2]) + b'{"epi')
    second.unlink()
    assert unplayed(made, apart) == [0, 1]
    asyncio.run(play_apart(made, apart, 2))
    assert written(made, apart) == written(made, alone)
    assert children() == set()


def test_one_source_or_one_core_needs_no_process(tmp_path: Path) -> None:
    asyncio.run(play_apart(recipe(ONE), tmp_path, 2))
    asyncio.run(play_apart(recipe(ONE, OTHER), tmp_path, 1))
    assert not list(tmp_path.iterdir())


def test_their_errors_are_those_of_one_process(tmp_path: Path) -> None:
    clash = recipe(ONE, OTHER, evaluation=0)
    with pytest.raises(UsageError, match=r"tasks of sft\.demonstrations are also tasks of eval"):
        asyncio.run(play_apart(clash, tmp_path / "a", 2))
    made = recipe(ONE, OTHER)
    path = files(made, tmp_path / "b")[1]
    path.parent.mkdir()
    path.write_bytes(b'{"demonstrations":1,"identity":"another"}\n')
    with pytest.raises(DataError, match="holds other demonstrations"):
        asyncio.run(play_apart(made, tmp_path / "b", 2))


def test_a_death_is_told_and_no_other_process_stays(tmp_path: Path) -> None:
    made = recipe({**ONE, "episodes": 900}, {**OTHER, "episodes": 900})

    async def killed() -> None:
        playing = asyncio.ensure_future(play_apart(made, tmp_path, 2))
        one = (await asyncio.to_thread(until, lambda: begun(made, tmp_path) and children())).pop()
        os.kill(one, signal.SIGKILL)
        await playing

    with pytest.raises(WorkerError, match="died: killed by SIGKILL"):
        asyncio.run(killed())
    until(lambda: not children())


def test_who_is_stopped_leaves_none_behind(tmp_path: Path) -> None:
    made = recipe({**ONE, "episodes": 900}, {**OTHER, "episodes": 900})

    async def stopped() -> None:
        playing = asyncio.ensure_future(play_apart(made, tmp_path, 2))
        await asyncio.to_thread(until, lambda: begun(made, tmp_path))
        playing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await playing

    asyncio.run(stopped())
    until(lambda: not children())


def test_a_recipe_comes_whole_through_json() -> None:
    for name in own_recipes():
        made = read_recipe(find_recipe(name))
        again = make_recipe(made.model_dump(mode="json"))
        assert again == made, name
        assert again.identity == made.identity, name
