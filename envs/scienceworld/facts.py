"""What is known about ScienceWorld's tasks without starting it: names, splits, oracle lengths.

The official splits are by variation: of a task's n variations the first half is for training, the
next quarter for development and the rest for testing, as the library's `get_variations_*` say.
The `test` and `dev` splits are samples of the official ones, `test-full` and `dev-full` are whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import zip_longest

from ...harness.errors import DataError
from ...harness.records import stable_hash
from .simulator import JAR_SHA256

SAMPLE = 6  # variations of each task in a sample, or all where there are fewer
SIZES = {"test": 175, "test-full": 1819, "dev": 171, "dev-full": 1796, "train": 3592}
DESCRIPTIONS = {
    "test": f"up to {SAMPLE} official test variations of each of the 30 tasks, evenly spread",
    "test-full": "all official test variations",
    "dev": f"up to {SAMPLE} official development variations of each task, evenly spread",
    "dev-full": "all official development variations",
    "train": "all official training variations",
}


@dataclass(frozen=True, slots=True)
class TaskFacts:
    """One of the 30 tasks."""

    name: str
    topic: str  # its number, 1 to 10, in the benchmark's own list of topics
    train: range  # variations
    dev: range
    test: range


@cache
def all_tasks() -> tuple[TaskFacts, ...]:
    """The tasks in an order in which each ten hold one of every topic, while they last."""
    tasks = []
    for number, line in enumerate(_lines("tasks.tsv"), 1):
        try:
            name, topic, train_end, dev_end, end = line.split("\t")
            a, b, c = int(train_end), int(dev_end), int(end)
        except ValueError as error:
            raise DataError(f"scienceworld/tasks.tsv: line {number}: {error}") from error
        tasks.append(TaskFacts(name, topic, range(a), range(a, b), range(b, c)))
    topics = {task.topic: [t for t in tasks if t.topic == task.topic] for task in tasks}
    return tuple(t for rank in zip_longest(*topics.values()) for t in rank if t is not None)


def members(split: str) -> list[tuple[str, int]]:
    """A split's (task, variation) pairs in their fixed order: one of each task, round by round."""
    official, _, whole = split.partition("-")
    drawn = []
    for task in all_tasks():
        variations = {"train": task.train, "dev": task.dev, "test": task.test}[official]
        chosen = variations if whole or official == "train" else _spread(variations)
        drawn.append([(task.name, variation) for variation in chosen])
    return [pair for turn in zip_longest(*drawn) for pair in turn if pair is not None]


@cache
def oracle_steps() -> dict[tuple[str, int], int]:
    """In how many actions the oracle solves a variation under `easy`; only where that is known."""
    known = {}
    for number, line in enumerate(_lines("oracle.tsv"), 1):
        try:
            task, variation, steps = line.split("\t")
            if steps != "-":  # its path does not solve the variation
                known[task, int(variation)] = int(steps)
        except ValueError as error:
            raise DataError(f"scienceworld/oracle.tsv: line {number}: {error}") from error
    return known


def split_hash(split: str) -> str:
    """The hash of a split: its variations, and the simulator that makes them."""
    return stable_hash([JAR_SHA256, members(split)])


def _spread(variations: range) -> list[int]:
    """`SAMPLE` of them, each from the middle of one of as many equal parts."""
    count = min(SAMPLE, len(variations))
    return [variations[(2 * part + 1) * len(variations) // (2 * count)] for part in range(count)]


def _lines(name: str) -> list[str]:
    try:
        text = files(__package__).joinpath(name).read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"scienceworld/{name}: cannot be read: {error}") from error
    return [line for line in text.splitlines() if line and not line.startswith("#")]
