"""How fast and how small the native ALFWorld engine is, beside TextWorld's on the same games."""

from __future__ import annotations

import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.table import Table

from agemem_eval.envs.alfworld.engine import Engine
from agemem_eval.envs.alfworld.gamefile import GameText
from agemem_eval.envs.alfworld.generator import generate
from agemem_eval.envs.alfworld.reference import ReferenceEngine
from agemem_eval.harness.errors import MissingExtraError

N_GAMES = 12  # two of each task type
N_STEPS = 40  # a game
ROUNDS = 25  # of the native engine, which is too fast to time once
LIVE_GAMES = 1000
Player = Engine | ReferenceEngine


def main() -> None:
    """Measure, and print a table."""
    texts = [_text("generated", index) for index in range(N_GAMES)]
    plans = [_plan(text, seed) for seed, text in enumerate(texts)]
    compiling = [_timed(text.compile) for text in texts for _ in range(3)]
    engines = [Engine(text.compile()) for text in texts]
    native = {
        name: [x for _ in range(ROUNDS) for x in _play(engines, plans, wanted)]
        for name, wanted in (("step", False), ("step with admissible()", True))
    }
    native["reset"] = [_timed(engine.reset) for engine in engines for _ in range(ROUNDS)]
    reference: dict[str, list[float]] = {}
    note = ""
    try:
        players = [ReferenceEngine(text) for text in texts]
    except MissingExtraError as error:
        note = f"native engine only: {error}"
    else:
        # Admissible commands are part of each of its steps, so it has one number for both rows.
        first, again, steps = [], [], []
        for player, plan in zip(players, plans, strict=True):
            first.append(_timed(player.reset))
            again.append(_timed(player.reset))
            steps += _play([player], [plan], True)
        reference = {"step": steps, "step with admissible()": steps, "reset": again}
        reference["compile"] = [a - b for a, b in zip(first, again, strict=True)]
    native["compile"] = compiling
    _print(native, reference, note)


def memory() -> None:
    """Hold `LIVE_GAMES` different games at once; print the process's MiB before and then."""
    before = _rss()
    engines = [Engine(_text("generated-train", index).compile()) for index in range(LIVE_GAMES)]
    for engine in engines:
        engine.step("look")
    print(f"{before:.0f} {_rss():.0f}")


def _text(split: str, index: int) -> GameText:
    game = generate(split, index)
    return GameText(game.id, game.problem, game.task, game.walkthrough)


def _plan(text: GameText, seed: int) -> list[str]:
    """Commands that both engines are timed on: the walkthrough, then random admissible ones."""
    engine, rng = Engine(text.compile()), random.Random(seed)
    plan = list(text.walkthrough)
    for command in plan:
        engine.step(command)
    while len(plan) < N_STEPS:
        plan.append(rng.choice(engine.admissible()))
        engine.step(plan[-1])
    return plan


def _play(players: Sequence[Player], plans: Sequence[list[str]], offers: bool) -> list[float]:
    """Seconds a step, one number a game."""
    seconds = []
    for player, plan in zip(players, plans, strict=True):
        player.reset()
        start = time.perf_counter()
        for command in plan:
            player.step(command)
            if offers:
                player.admissible()
        seconds.append((time.perf_counter() - start) / len(plan))
    return seconds


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _rss() -> float:
    """Resident memory in MiB, now. (The peak would be the parent's: a child inherits that.)"""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


def _spread(seconds: Sequence[float]) -> str:
    quartiles = statistics.quantiles(seconds, n=4)
    scale, unit = (1e3, "ms") if quartiles[1] > 1e-3 else (1e6, "µs")
    low, mid, high = (scale * quartile for quartile in quartiles)
    return f"{mid:.1f} {unit} ({low:.1f} to {high:.1f})"


def _print(native: dict[str, list[float]], reference: dict[str, list[float]], note: str) -> None:
    table = Table(title=f"ALFWorld engines, {N_GAMES} generated games: median (quartiles)")
    for column in ("what", "native", "TextWorld", "ratio"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for name, seconds in native.items():
        other = reference.get(name)
        ratio = statistics.median(other) / statistics.median(seconds) if other else None
        table.add_row(
            name,
            _spread(seconds),
            _spread(other) if other else "-",
            f"{ratio:,.0f}×" if ratio else "-",
        )
    script = "import runpy, sys; runpy.run_path(sys.argv[1])['memory']()"
    done = subprocess.run(
        [sys.executable, "-c", script, __file__], capture_output=True, text=True, check=True
    )
    before, after = map(float, done.stdout.split())
    table.add_row(f"{LIVE_GAMES} live games", f"{after:.0f} MiB ({before:.0f} without)",
                  "-", "-")  # fmt: skip
    console = Console()
    console.print(table)
    if note:
        console.print(note, markup=False)


if __name__ == "__main__":
    main()
