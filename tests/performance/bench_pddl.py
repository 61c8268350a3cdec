"""How fast and how small the planning problems are: core, words, adapter and experts.

Times are CPU time of this process, so that other work on the machine counts for less.
"""

from __future__ import annotations

import gc
import random
import resource
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from agemem_eval.envs.pddl import generator
from agemem_eval.envs.pddl.engine import Engine
from agemem_eval.envs.pddl.env import PddlEnvironment
from agemem_eval.envs.pddl.game import SIZES
from agemem_eval.envs.pddl.games import GAMES, domain
from agemem_eval.envs.pddl.language import Problem
from agemem_eval.envs.pddl.strips import Core
from agemem_eval.harness.tokens import estimate_tokens
from agemem_eval.harness.types import Task

N_PROBLEMS = 3  # of each domain and size
N_STEPS = 60  # of a walk
ROUNDS = 9
LIVE = 500
TRAIN_STRIDE = 10


@dataclass
class Measured:
    """Seconds, and what was counted, of the problems of one domain and size."""

    ground: list[float] = field(default_factory=list)
    move: list[float] = field(default_factory=list)  # a transition of the core, without words
    applicable: list[float] = field(default_factory=list)
    told: list[float] = field(default_factory=list)  # a step of the engine, with words
    listed: list[float] = field(default_factory=list)
    adapted: list[float] = field(default_factory=list)  # a step of the environment
    actions: list[int] = field(default_factory=list)
    first: list[str] = field(default_factory=list)  # observations
    later: list[str] = field(default_factory=list)


def main() -> None:
    """Measure, and print two tables."""
    environment = PddlEnvironment()
    seconds = {split: _timed(lambda split=split: environment.tasks(split))
               for split in generator.SIZES}  # fmt: skip
    measured: dict[tuple[str, str], Measured] = defaultdict(Measured)
    for task in environment.tasks("generated")[: 12 * N_PROBLEMS]:
        key = generator.setting(task.data["index"])
        _measure(environment, task, measured[key])
    console = Console(width=None if sys.stdout.isatty() else 132)
    console.print(_table(measured))
    told = statistics.mean(statistics.median(m.told) for m in measured.values())
    adapted = statistics.mean(statistics.median(m.adapted) for m in measured.values())
    console.print(
        f"engine with words {1 / told:,.0f} steps/s, environment {1 / adapted:,.0f} steps/s: "
        f"{told / adapted:.2f} of it",
        markup=False,
        highlight=False,
    )
    console.print(_experts(environment, seconds))
    console.print(_memory(), markup=False, highlight=False)


def memory() -> None:
    """Hold `LIVE` problems at once; print the process's MiB before and then."""
    entries = generator.catalogue("generated")
    before, live = _rss(), []
    for number in range(LIVE):
        entry = entries[number % len(entries)]
        problem = generator.generate("generated", entry.index, entry.draw)
        live.append(Engine(GAMES[problem.domain], problem))
        live[-1].step("look")
    print(f"{before:.0f} {_rss():.0f}")


def _measure(environment: PddlEnvironment, task: Task, into: Measured) -> None:
    problem = generator.generate(task.split, task.data["index"], task.data["draw"])
    rules, game = domain(problem.domain), GAMES[problem.domain]
    into.ground += [_timed(lambda: Core(rules, problem)) for _ in range(ROUNDS)]
    core = Core(rules, problem)
    into.actions.append(len(core.actions))
    actions, numbers = _walk(problem)
    for _ in range(ROUNDS):
        into.move.append(_a_step(lambda: _moves(core, numbers), numbers))
        into.applicable.append(_a_step(lambda: _listings(core, numbers), numbers) - into.move[-1])
        engine = Engine(game, problem)
        into.told.append(_a_step(lambda e=engine: _play_all(e.step, actions), actions))
        environment.reset(task, 0)
        into.adapted.append(_a_step(lambda: _play_all(environment.step, actions), actions))
        into.listed.append(_timed(environment.valid_actions))
    engine = Engine(game, problem)
    into.first.append(engine.introduction())
    into.later += [engine.step(action) for action in actions]


def _walk(problem: Problem) -> tuple[list[str], list[int]]:
    """A random walk that does not reach the goal, in words and in numbers of the core."""
    engine, rng = Engine(GAMES[problem.domain], problem), random.Random(problem.name)
    core, actions, numbers = engine.core, [], []
    while len(numbers) < N_STEPS:
        number = rng.choice(core.applicable(engine.state))
        after = core.apply(engine.state, number)
        if all(core.holds(after, literal) for literal in problem.goal):
            continue
        step = core.actions[number]
        actions.append(engine.game.words.action(core.domain.operators[step.name], step.args))
        numbers.append(number)
        engine.step(actions[-1])
    return actions, numbers


def _moves(core: Core, numbers: Iterable[int]) -> None:
    state = core.initial
    for number in numbers:
        state = core.apply(state, number)


def _listings(core: Core, numbers: Iterable[int]) -> None:
    state = core.initial
    for number in numbers:
        core.applicable(state)
        state = core.apply(state, number)


def _play_all(step: Callable[[str], object], actions: Iterable[str]) -> None:
    for action in actions:
        step(action)


def _a_step(work: Callable[[], object], steps: Sequence[object]) -> float:
    return _timed(work) / len(steps)


def _timed(work: Callable[[], object]) -> float:
    gc.disable()  # as timeit does
    start = time.process_time()
    work()
    seconds = time.process_time() - start
    gc.enable()
    return seconds


def _table(measured: dict[tuple[str, str], Measured]) -> Table:
    table = Table(title=f"PDDL problems, {N_PROBLEMS} of each kind: medians")
    for column in (
        "domain", "size", "actions", "ground ms", "move µs", "step µs", "env.step µs",
        "applicable µs", "valid_actions µs", "first obs.", "later obs.",
    ):  # fmt: skip
        table.add_column(column, justify="left" if column in ("domain", "size") else "right")
    for name in GAMES:
        for size in SIZES:
            m = measured[name, size]
            micro = [f"{1e6 * statistics.median(values):.1f}"
                     for values in (m.move, m.told, m.adapted, m.applicable, m.listed)]  # fmt: skip
            texts = [f"{statistics.mean(map(len, seen)):.0f} "
                     f"(~{statistics.mean(map(estimate_tokens, seen)):.0f} tokens)"
                     for seen in (m.first, m.later)]  # fmt: skip
            table.add_row(
                name, size, f"{statistics.median(m.actions):.0f}",
                f"{1e3 * statistics.median(m.ground):.1f}", *micro, *texts,
            )  # fmt: skip
    return table


def _experts(environment: PddlEnvironment, seconds: dict[str, float]) -> Table:
    table = Table(title="Experts within the step cap, and how long it takes to list a split")
    for column in ("split", "listed in s", "expert", "solved", "steps (most)", "steps/s"):
        table.add_column(column, justify="left" if column in ("split", "expert") else "right")
    for split, stride in (("generated", 1), ("generated-train", TRAIN_STRIDE)):
        tasks = environment.tasks(split)[::stride]
        for expert in environment.spec.experts:
            start, solved, counts = time.process_time(), 0, []
            for task in tasks:
                won, steps = _play(environment, task, expert)
                solved += won
                counts.append(steps)
            rate = sum(counts) / (time.process_time() - start)
            table.add_row(
                split, f"{seconds[split]:.1f}", expert, f"{solved}/{len(tasks)}",
                f"{statistics.mean(counts):.1f} ({max(counts)})", f"{rate:,.0f}",
            )  # fmt: skip
    return table


def _play(environment: PddlEnvironment, task: Task, expert: str) -> tuple[bool, int]:
    environment.reset(task, 0)
    cap = task.max_steps or environment.spec.max_steps
    for step in range(1, cap + 1):
        action = environment.expert_action(expert)
        if action is None or environment.step(action).terminated:
            return action is not None, step
    return False, cap


def _memory() -> str:
    script = "import runpy, sys; runpy.run_path(sys.argv[1])['memory']()"
    done = subprocess.run(
        [sys.executable, "-c", script, __file__], capture_output=True, text=True, check=True
    )
    before, after = map(float, done.stdout.split())
    return f"{LIVE} live problems: {after:.0f} MiB ({before:.0f} without)"


def _rss() -> float:
    """Resident memory in MiB, now."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


if __name__ == "__main__":
    main()
