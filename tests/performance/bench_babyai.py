"""What BabyAI in words costs over minigrid's own step, and what the experts reach."""

from __future__ import annotations

import contextlib
import io
import random
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence

import gymnasium
import minigrid  # noqa: F401 - registers the levels
from rich.console import Console
from rich.table import Table

from agemem_eval.envs.babyai import game, levels
from agemem_eval.envs.babyai.bot import demonstration
from agemem_eval.envs.babyai.commands import WORDS
from agemem_eval.envs.babyai.env import BabyaiEnvironment
from agemem_eval.envs.babyai.view import View, view_of
from agemem_eval.harness.errors import InfraError
from agemem_eval.harness.types import Task

SEED = 7
ROUNDS = 5
N_STEPS = 150  # a level and round
LEVELS = ("GoToLocal-v0", "Open-v0", "PutNextLocal-v0", "KeyCorridorS6R3-v0", "BossLevel-v0")
CHARS_PER_TOKEN = 4


def main() -> None:
    """Measure, and print a table."""
    table = Table(title="BabyAI in words: median (quartiles)")
    for column in ("what", "measured"):
        table.add_column(column, justify="left" if column == "what" else "right")
    before = _rss()
    bare, worded, unseen = _native_steps()
    table.add_row("native step, bare minigrid", _spread(bare))
    table.add_row("native step through the adapter", _spread(worded))
    table.add_row("  rate of the adapter to bare", _rate(bare, worded))
    table.add_row("native step to a view not kept", _spread(unseen))
    table.add_row("  rate of the adapter to bare", _rate(bare, unseen))
    macro = _macro_steps()
    table.add_row("macro step", _spread(macro))
    table.add_row("valid_actions()", _spread(_listings()))
    table.add_row("reset", _spread(_resets()))
    oracle, texts = _games("agentboard", "oracle")
    table.add_row("oracle, a whole game", _spread([g[0] for g in oracle]))
    tokens = statistics.mean(texts) / CHARS_PER_TOKEN
    table.add_row(
        "observation",
        f"{statistics.mean(texts):.0f} characters (≤ {max(texts)}), ≈{tokens:.0f} tokens",
    )
    for split in ("agentboard", "generated"):
        for expert in ("oracle", "explorer"):
            games, _ = _games(split, expert)
            won, steps = [g[1] for g in games], [g[2] for g in games]
            table.add_row(
                f"{expert}, {split} ({len(games)})",
                f"{statistics.mean(won):.1%} won, {statistics.mean(steps):.1f} steps",
            )
        table.add_row(f"bot, {split}", _demonstrations(split))
    table.add_row("resident memory", f"{_rss():.0f} MiB ({before:.0f} before the first game)")
    Console().print(table)


def _native_steps() -> tuple[list[float], list[float], list[float]]:
    """Seconds a native step, bare and through the adapter, also one that has kept no view.

    The same actions, and step by step in turn, so that whatever else the machine does slows all
    alike. Each round plays a game of its own.
    """
    bare, worded, unseen = [], [], []
    for level in LEVELS:
        for round_ in range(ROUNDS):
            rng = random.Random(f"{level}{round_}")
            env, adapters = _bare(level, round_), [_environment(level, round_) for _ in range(2)]
            view_of.cache_clear()
            for _ in range(N_STEPS):
                # Refused actions would cost next to nothing, so none is drawn.
                words = rng.choice([a for a in adapters[0].valid_actions() if a in WORDS])
                bare.append(_timed(lambda: env.step(int(WORDS[words]))))  # noqa: B023
                worded.append(_timed(lambda: adapters[0].step(words)))  # noqa: B023
                with _no_view_kept():
                    unseen.append(_timed(lambda: adapters[1].step(words)))  # noqa: B023
                if adapters[0].valid_actions() == []:
                    break
    return bare, worded, unseen


@contextlib.contextmanager
def _no_view_kept() -> Iterator[None]:
    kept, game.view_of = game.view_of, View
    yield
    game.view_of = kept


def _rate(bare: Sequence[float], worded: Sequence[float]) -> str:
    return f"{statistics.median(bare) / statistics.median(worded):.2f}"


def _bare(level: str, seed: int) -> gymnasium.Env:
    with contextlib.redirect_stdout(io.StringIO()):
        env = gymnasium.make(levels.level_id(level), disable_env_checker=True).unwrapped
        env.reset(seed=seed)
    return env


def _environment(level: str, seed: int = SEED) -> BabyaiEnvironment:
    environment = BabyaiEnvironment()
    task = Task("x", "generated", data={"level": level, "seed": seed})
    environment.reset(task, 0)
    return environment


def _macro_steps() -> list[float]:
    """Seconds a macro, of random ones."""
    seconds = []
    for level in LEVELS:
        rng, environment = random.Random(SEED), _environment(level)
        for _ in range(40):
            offered = [a for a in environment.valid_actions() if a[-1].isdigit()]
            action = rng.choice(offered or ["turn left"])
            start = time.perf_counter()
            done = environment.step(action)
            if offered:
                seconds.append(time.perf_counter() - start)
            if done.terminated or done.truncated:
                break
    return seconds


def _listings() -> list[float]:
    return [_timed(_environment(level).valid_actions) for level in LEVELS for _ in range(20)]


def _resets() -> list[float]:
    environment = BabyaiEnvironment()
    tasks = environment.tasks("generated")[:89]
    return [_timed(lambda: environment.reset(task, 0)) for task in tasks]  # noqa: B023


def _games(split: str, expert: str) -> tuple[list[tuple[float, bool, int]], list[int]]:
    """Seconds, success and steps of each game of a split; and the length of every observation."""
    environment, games, texts = BabyaiEnvironment(), [], []
    for task in environment.tasks(split):
        start = time.perf_counter()
        texts.append(len(environment.reset(task, 0).text))
        won, steps = False, 0
        for _ in range(task.max_steps or 0):
            action = environment.expert_action(expert)
            if action is None:
                break
            result = environment.step(action)
            texts.append(len(result.observation))
            won, steps = bool(result.success), steps + 1
        games.append((time.perf_counter() - start, won, steps))
    return games, texts


def _demonstrations(split: str) -> str:
    """What the bot wins of a split, in the actions of its demonstrations, and what it fails at."""
    lengths, seconds, failed, n_games = [], [], 0, 0
    for level, seed in levels.games(split):
        start, n_games = time.perf_counter(), n_games + 1
        try:
            actions = demonstration(level, seed)
        except InfraError:
            failed += 1
            continue
        seconds.append(time.perf_counter() - start)
        if actions is not None:
            lengths.append(len(actions))
    return (
        f"{len(lengths)} of {n_games} won, {failed} out of limits, "
        f"{statistics.mean(lengths):.1f} steps, {statistics.mean(seconds):.2f} s each"
    )


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _rss() -> float:
    """Resident memory in MiB, now."""
    if sys.platform != "linux":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


def _spread(seconds: Sequence[float]) -> str:
    low, mid, high = statistics.quantiles(seconds, n=4)
    scale, unit = (1e3, "ms") if mid > 1e-3 else (1e6, "µs")
    return f"{scale * mid:.2f} {unit} ({scale * low:.2f} to {scale * high:.2f}), {1 / mid:,.0f}/s"


if __name__ == "__main__":
    main()
