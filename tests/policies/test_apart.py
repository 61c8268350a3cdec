"""Sources that are played in processes of their own write what one process writes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agemem_eval.harness.errors import DataError, UsageError, WorkerError
from agemem_eval.harness.workers.process import imports_alike
from agemem_eval.policies import apart
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


def children(of: int) -> set[int]:
    """Processes that play demonstrations for another one."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().split(b"\0")
                parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
            except OSError:
                continue
            if b"agemem_eval.policies.apart" in command and parent == str(of):
                found.add(int(entry.name))
    return found


def alive(processes: set[int]) -> set[int]:
    return {process for process in processes if Path(f"/proc/{process}").exists()}


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
    assert children(os.getpid()) == set()


def test_one_source_or_one_core_or_models_need_no_process(tmp_path: Path) -> None:
    asyncio.run(play_apart(recipe(ONE), tmp_path, 2))
    asyncio.run(play_apart(recipe(ONE, OTHER), tmp_path, 1))
    for part, key, value in (
        ("sampler", "workers", 2),
        ("tasks", "memory_model", "hf:m"),
        ("tasks", "embedder", "minilm"),
    ):
        made = recipe(ONE, OTHER)
        heavy = getattr(made, part).model_copy(update={key: value})
        asyncio.run(play_apart(made.model_copy(update={part: heavy}), tmp_path, 2))
    assert not list(tmp_path.iterdir())


def test_their_errors_are_those_of_one_process(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"tasks of sft\.demonstrations are also tasks of eval"):
        asyncio.run(play_apart(recipe(ONE, OTHER, evaluation=0), tmp_path / "a", 2))
    made = recipe(ONE, OTHER)
    path = files(made, tmp_path / "b")[1]
    path.parent.mkdir()
    path.write_bytes(b'{"demonstrations":1,"identity":"another"}\n')
    with pytest.raises(DataError, match="holds other demonstrations"):
        asyncio.run(play_apart(made, tmp_path / "b", 2))
    lost = {**ONE, "agent": {"max_steps": 1}, "keep": "success"}
    with pytest.raises(UsageError, match=r"demonstrations\.1: none of the episodes ended well"):
        asyncio.run(play_apart(recipe(ONE, lost), tmp_path / "c", 2))


def test_a_death_is_told_and_no_other_process_stays(tmp_path: Path) -> None:
    made = recipe({**ONE, "episodes": 900}, {**OTHER, "episodes": 900})

    async def killed() -> None:
        playing = asyncio.ensure_future(play_apart(made, tmp_path, 2))
        await asyncio.to_thread(until, lambda: begun(made, tmp_path))
        os.kill(children(os.getpid()).pop(), signal.SIGKILL)
        await playing

    with pytest.raises(WorkerError, match="died: killed by SIGKILL"):
        asyncio.run(killed())
    until(lambda: not children(os.getpid()))


def test_who_is_stopped_leaves_none_behind(tmp_path: Path) -> None:
    made = recipe({**ONE, "episodes": 900}, {**OTHER, "episodes": 900})

    async def stopped() -> None:
        playing = asyncio.ensure_future(play_apart(made, tmp_path, 2))
        await asyncio.to_thread(until, lambda: begun(made, tmp_path))
        playing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await playing

    asyncio.run(stopped())
    until(lambda: not children(os.getpid()))


PLAYS = """
import asyncio, json, sys
from pathlib import Path
from agemem_eval.policies.apart import play_apart
from agemem_eval.policies.recipe import make_recipe
asyncio.run(play_apart(make_recipe(json.loads(sys.argv[1])), Path(sys.argv[2]), 2))
"""


def test_none_outlives_a_parent_that_was_killed(tmp_path: Path) -> None:
    made = recipe({**ONE, "episodes": 900}, {**OTHER, "episodes": 900})
    values = made.model_dump_json()
    command = [sys.executable, "-c", PLAYS, values, str(tmp_path)]
    with subprocess.Popen(command, env=imports_alike()) as parent:
        until(lambda: begun(made, tmp_path))
        playing = children(parent.pid)
        parent.kill()
    assert len(playing) == 2
    until(lambda: not alive(playing))


@pytest.mark.train
def test_a_training_plays_them_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    from agemem_eval.policies.train import _demonstrations

    started, popen = [], subprocess.Popen

    def start(command: list[str], **options: Any) -> Any:
        started.append(command)
        return popen(command, **options)

    monkeypatch.setattr(apart, "_cores", lambda: 2)
    monkeypatch.setattr(apart.subprocess, "Popen", start)
    observer = SimpleNamespace(says=lambda _: None)
    session: Any = SimpleNamespace(recipe=recipe(ONE, OTHER), directory=tmp_path, observer=observer)
    found = asyncio.run(_demonstrations(session))
    assert len(started) == 2
    monkeypatch.setattr(apart, "_cores", lambda: 1)
    session.directory = tmp_path / "again"
    assert asyncio.run(_demonstrations(session)) == found
    assert len(started) == 2


def test_a_recipe_comes_whole_through_json() -> None:
    for name in own_recipes():
        made = read_recipe(find_recipe(name))
        again = make_recipe(made.model_dump(mode="json"))
        assert again == made, name
        assert again.identity == made.identity, name
