"""ScienceWorld: the lean step beside the library's, the adapter, Java, and what experts reach."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.table import Table

from agemem_eval.envs.scienceworld import facts, simulator
from agemem_eval.envs.scienceworld.env import ScienceworldEnvironment
from agemem_eval.envs.scienceworld.simulator import Simulator
from agemem_eval.harness.tokens import estimate_tokens
from agemem_eval.harness.types import Task

T = TypeVar("T")
GAMES = (("boil", 22), ("find-animal", 230), ("power-component", 16), ("grow-plant", 95))
N_ACTIONS = 25  # of each game's gold path
WARM_UP = 3  # rounds; Java is slow until it has compiled what it runs
ROUNDS = 4
MEGABYTES = 512


def main() -> None:
    """Measure, and print tables; `--experts N` plays N tasks of the split `test` with each."""
    console = Console()
    launch, game = _timed(lambda: Simulator(MEGABYTES))
    gold = [_timed(lambda g=g: game.load_with_gold(*g, "easy")) for g in GAMES]
    plans = [path[:N_ACTIONS] for _, path in gold]
    loads = [_timed(lambda g=g: game.load(*g, "easy"))[0] for g in GAMES for _ in range(5)]
    texts = _play(game, plans)
    for _ in range(WARM_UP):
        _play(game, plans)
    environment = ScienceworldEnvironment()
    environment._simulator = game  # the same Java for both, compiled as far
    tasks = [Task(f"{k}/{v}", "test-full", k, {"variation": v}) for k, v in GAMES]
    lean, adapter = [], []
    for _ in range(ROUNDS):  # in turns, since others use the machine too
        lean += _seconds(game.step, plans, lambda g: game.load(*g, "easy"))
        adapter += _play_adapter(environment, tasks, plans)
    valid = [_timed(game.valid_actions)[0] for _ in range(10)]
    memory = _rss(game.pid)
    theirs = {
        "library's env.step": _library(plans, alike=False),
        "the same, deterministic like ours": _library(plans, alike=True),
    }
    closing, _ = _timed(environment.close)
    _print_speed(console, lean, adapter, theirs)
    rows = [
        ("start of Java", f"{launch:.1f} s"),
        ("its memory after the above", f"{memory:.0f} MiB"),
        ("end of Java", f"{closing:.2f} s"),
        ("load of a task, median", f"{1e3 * statistics.median(loads):.0f} ms"),
        ("load with gold path", ", ".join(f"{seconds:.1f}" for seconds, _ in gold) + " s"),
        ("list of valid actions, median", f"{1e3 * statistics.median(valid):.0f} ms"),
        ("observation, median / longest", _lengths(texts)),
    ]
    table = Table(title="ScienceWorld", show_header=False)
    for row in rows:
        table.add_row(*row)
    console.print(table)
    _print_caps(console)
    if "--experts" in sys.argv:
        _print_experts(console, int(sys.argv[sys.argv.index("--experts") + 1]))


def _play(game: Simulator, plans: Sequence[list[str]]) -> list[str]:
    texts = []
    for where, plan in zip(GAMES, plans, strict=True):
        game.load(*where, "easy")
        texts += [game.step(action).observation for action in ("look around", *plan)]
    return texts


def _seconds(
    step: Callable[[str], object], plans: Sequence[list[str]], begin: Callable[..., object]
) -> list[float]:
    """Seconds of each step."""
    seconds = []
    for where, plan in zip(GAMES, plans, strict=True):
        begin(where)
        seconds += [_timed(lambda a=action: step(a))[0] for action in plan]
    return seconds


def _play_adapter(
    environment: ScienceworldEnvironment, tasks: Iterable[Task], plans: Sequence[list[str]]
) -> list[float]:
    by_name = {(t.type, t.data["variation"]): t for t in tasks}
    return _seconds(environment.step, plans, lambda where: environment.reset(by_name[where], 0))


def _library(plans: Sequence[list[str]], *, alike: bool) -> list[float]:
    """Seconds of the library's own steps; `alike`: with the options that make it deterministic."""
    os.environ["PATH"] = f"{Path(simulator.java()).parent}{os.pathsep}{os.environ['PATH']}"
    options = "-XX:+UnlockExperimentalVMOptions -XX:hashCode=2" if alike else ""
    os.environ["JDK_JAVA_OPTIONS"] = f"-Xmx{MEGABYTES}m -XX:+UseSerialGC {options}"
    from scienceworld import ScienceWorldEnv

    theirs = ScienceWorldEnv("", envStepLimit=10_000)

    def begin(where: tuple[str, int]) -> None:
        theirs.load(*where, "easy")
        theirs.reset()

    for _ in range(2):
        seconds = _seconds(theirs.step, plans, begin)
    theirs.close()
    return seconds


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    start = time.perf_counter()
    done = work()
    return time.perf_counter() - start, done


def _rss(pid: int) -> float:
    """Resident memory of a process in MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _lengths(texts: Sequence[str]) -> str:
    sizes = [(len(text), estimate_tokens(text)) for text in sorted(texts, key=len)]
    middle, most = sizes[len(sizes) // 2], sizes[-1]
    return f"{middle[0]} / {most[0]} characters, about {middle[1]} / {most[1]} tokens"


def _print_speed(
    console: Console, lean: list[float], adapter: list[float], theirs: dict[str, list[float]]
) -> None:
    table = Table(title=f"ScienceWorld, steps of {len(GAMES)} gold paths: ms (quartiles)")
    for column in ("what", "median", "quartiles", "mean", "ratio of means"):
        table.add_column(column, justify="left" if column == "what" else "right")
    base = statistics.fmean(lean)
    for name, seconds in (
        ("simulator, lean step", lean),
        ("adapter", adapter),
        *theirs.items(),
    ):
        low, mid, high = (1e3 * q for q in statistics.quantiles(seconds, n=4))
        mean = statistics.fmean(seconds)
        table.add_row(
            name, f"{mid:.1f}", f"{low:.1f} to {high:.1f}", f"{1e3 * mean:.1f}",
            f"{mean / base:.2f}×",
        )  # fmt: skip
    console.print(table)


def _print_caps(console: Console) -> None:
    """The share of tasks that the oracle solves within a cap, from the shipped lengths."""
    known = facts.oracle_steps()
    table = Table(title="Oracle: tasks solved within a cap, of those whose length is known")
    for column in ("split", "known", "30 steps", "100 steps", "median", "longest"):
        table.add_column(column, justify="left" if column == "split" else "right")
    for split in ("test", "test-full", "dev", "dev-full"):
        steps = [known[pair] for pair in facts.members(split) if pair in known]
        if steps:
            shares = [f"{sum(n <= cap for n in steps) / len(steps):.0%}" for cap in (30, 100)]
            counted = f"{len(steps)} of {facts.SIZES[split]}"
            middle = f"{statistics.median(steps):g}"
            table.add_row(split, counted, *shares, middle, str(max(steps)))
    console.print(table)


def _print_experts(console: Console, number: int) -> None:
    environment = ScienceworldEnvironment()
    tasks = environment.tasks("test")[:number]
    table = Table(title=f"Experts on the first {len(tasks)} tasks of `test`, 100 steps")
    for column in ("expert", "solved", "mean score", "mean progress"):
        table.add_column(column, justify="left" if column == "expert" else "right")
    for expert in environment.spec.experts:
        ends = [_outcome(environment, task, expert) for task in tasks]
        means = [statistics.fmean(values) for values in zip(*ends, strict=True)]
        table.add_row(expert, *(f"{mean:.1%}" for mean in means))
    environment.close()
    console.print(table)


def _outcome(
    environment: ScienceworldEnvironment, task: Task, expert: str
) -> tuple[float, float, float]:
    """Success, score and progress of one episode."""
    start = environment.reset(task, 0).metrics["score"] or 0.0
    end = (0.0, start, start)
    for _ in range(environment.spec.max_steps):
        action = environment.expert_action(expert)
        if action is None:
            break
        result = environment.step(action)
        score, progress = result.metrics["score"] or 0.0, result.progress or 0.0
        end = (float(bool(result.success)), score, progress)
        if result.terminated:
            break
    return end


if __name__ == "__main__":
    main()
