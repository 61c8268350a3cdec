"""The packaged `nano` with AgeMem's tools: episodes a minute, and what guessing ahead saves.

As `agemem-eval run` plays it, environment in this process, with and without guesses in turn; the
seconds of the processor are this process's and (for ScienceWorld) the JVM's. Replies do not depend
on guesses, so both must have the same ends, turns, calls and tokens: the last column tells.
"""

from __future__ import annotations

import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from agemem_eval.harness.commands import play
from agemem_eval.harness.errors import MissingExtraError
from agemem_eval.harness.models.numpy.decoder import Decoder
from agemem_eval.harness.options import resolve
from agemem_eval.harness.store import RunStore

STAGED = "form=three-stage", "exposure=each", "paragraphs=2", "distractors=2"
TASKS = {  # environment, split, episodes, options
    "ALFWorld": ("alfworld", "generated", 20, ()),
    "BabyAI": ("babyai", "generated", 20, ()),
    "HotpotQA, three stages": ("hotpotqa", "generated", 20, STAGED),
    "PDDL games": ("pddl", "generated", 8, ()),
    "ScienceWorld": ("scienceworld", "test", 4, ()),
}
GUESSES = Decoder.guesses


def main(only: str = "") -> None:
    """Measure, and print a table; `only`: one environment, as `--env` names it."""
    table = Table(
        "environment", "episodes", "solved", "episodes a minute", "CPU s",
        "without guesses", "CPU s", "CPU without / with", "alike",
        title="nano, memory agemem, 8 episodes at once",
    )  # fmt: skip
    for name, (env, split, count, options) in TASKS.items():
        if only in ("", env):
            try:
                cells = _row(env, split, count, options)
            except MissingExtraError as error:
                cells = [str(error)]
            print(name, *cells, sep=" | ", flush=True)
            table.add_row(name, *cells)
    Decoder.guesses = GUESSES
    Console(width=150).print(table)


def _row(env: str, split: str, count: int, options: tuple[str, ...]) -> list[str]:
    given = {"env": env, "memory": "agemem", "model": "nano", "split": split, "episodes": count}
    with_them, without = (_play({**given, "option": list(options)}, n) for n in (GUESSES, 0))
    pairs = {task: (said, without["said"][task]) for task, said in with_them["said"].items()}
    differ = {task: pair for task, pair in pairs.items() if pair[0] != pair[1]}
    for task, (one, other) in differ.items():
        print(task, one, other, sep="\n  ")
    return [
        str(count),
        f"{with_them['solved']:.0%}",
        f"{60 * count / with_them['wall']:.0f}",
        f"{with_them['cpu']:.1f}",
        f"{60 * count / without['wall']:.0f}",
        f"{without['cpu']:.1f}",
        f"x{without['cpu'] / with_them['cpu']:.2f}",
        f"{count - len(differ)} of {count}",
    ]


def _play(given: dict[str, Any], guesses: int) -> dict[str, Any]:
    """Seconds of a whole run, and what came out."""
    Decoder.guesses = guesses
    with tempfile.TemporaryDirectory() as folder:
        where = {"runs_dir": Path(folder), "name": "r", "workers": 0, "concurrency": 8}
        config, execution = resolve({**given, **where})
        cpu, wall = _cpu(), time.perf_counter()
        play(config, execution, quiet=True)
        cpu, wall = _cpu() - cpu, time.perf_counter() - wall
        episodes = RunStore.open(Path(folder) / "r").episodes().values()
    said = {e.key.task: (e.reason, e.turns, e.tool_calls, e.tokens["agent"]) for e in episodes}
    solved = sum(bool(episode.success) for episode in episodes) / len(episodes)
    return {"cpu": cpu, "wall": wall, "said": said, "solved": solved}


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


if __name__ == "__main__":
    main()
