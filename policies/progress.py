"""A training on the terminal: a bar with the latest numbers; elsewhere a line a step."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from ..harness.observe.dashboard import short
from ..harness.observe.tally import duration
from ..harness.observe.text import say
from .checkpoints import Phase
from .logs import EVALUATION, SFT, Line

_BAR, _SHORT_BAR, _WIDE = 24, 8, 110  # columns: of the bar, and of a terminal with a long one
_PLAYING = len("rollouts 128/128")  # columns of what is played now
_TITLES = {"sft": "fine-tuning", "grpo": "GRPO"}


def make_observer(quiet: bool) -> Lines | Bar | Silent:
    """What shows a training here: nothing, a bar on a terminal, or lines."""
    if quiet:
        return Silent()
    if sys.stderr.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown"):
        return Bar()
    return Lines()


class Silent:
    """Shows nothing."""

    def says(self, text: str) -> None:
        """See `Observer`."""

    def begins(self, phase: Phase, done: int, total: int) -> None:
        """See `Observer`."""

    def plays(self, what: str, left: int, total: int) -> None:
        """See `Observer`."""

    def tells(self, name: str, line: Line) -> None:
        """See `Observer`."""

    def close(self) -> None:
        """Nothing is left behind."""


class _Pace:
    """Steps done, and when the last of them will be; evaluations count as part of it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.begun, self.first, self.done, self.total = clock(), 0, 0, 0

    def begin(self, done: int, total: int) -> None:
        self.begun, self.first, self.done, self.total = self._clock(), done, done, total

    def reach(self, line: Line) -> None:
        """A step is done; one without a time of its own is where the clock starts."""
        if line.get("seconds"):
            self.done = line["step"]
        else:
            self.begin(line["step"], self.total)

    def left(self) -> str:
        """Time left, as text; empty before the first step that was timed."""
        steps, took = self.done - self.first, self._clock() - self.begun
        if not steps:
            return ""
        return duration(took / steps * (self.total - self.done))


class Lines(Silent):
    """Prints one line a step.

    Args:
        write: Writes one; None: to standard error.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        write: Callable[[str], None] = say,
        clock: Callable[[], float] = time.monotonic,
        every_s: float = 2.0,
    ) -> None:
        self._write, self._every, self._clock = write, every_s, clock
        self._pace, self._said = _Pace(clock), -every_s

    def says(self, text: str) -> None:
        """See `Observer`."""
        self._write(text)

    def begins(self, phase: Phase, done: int, total: int) -> None:
        """See `Observer`."""
        self._pace.begin(done, total)
        at = f", from {done}" if done else ""
        self._write(f"{_TITLES[phase]}: {total} updates{at}")

    def tells(self, name: str, line: Line) -> None:
        """See `Observer`."""
        if name == EVALUATION:
            self._write(f"step {line['step']}  {evaluation_text(line)}")
            return
        self._pace.reach(line)
        now, last = self._clock(), line["step"] == self._pace.total
        if name == SFT and now - self._said < self._every and not last:
            return  # hundreds of short ones
        self._said = now
        left = self._pace.left()
        text = f"step {line['step']}/{self._pace.total}  {'  '.join(numbers(line))}"
        self._write(text + (f"  {left} left" if left and not last else ""))


class Bar(Silent):
    """Shows a bar with the latest numbers; evaluations stay as lines above it.

    Args:
        console: Where to; None: standard error.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, emoji=False, highlight=False, markup=False)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(_BAR if self._console.width >= _WIDE else _SHORT_BAR), MofNCompleteColumn(),
            TextColumn("{task.fields[numbers]}", markup=False),
            TextColumn("{task.fields[playing]}", style="dim", markup=False),
            console=self._console, transient=True,
        )  # fmt: skip
        self._pace = _Pace(time.monotonic)
        self._task: Any = None
        self._best: float | None = None
        self._progress.start()

    def says(self, text: str) -> None:
        """See `Observer`."""
        self._progress.console.print(text)

    def begins(self, phase: Phase, done: int, total: int) -> None:
        """See `Observer`."""
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._pace.begin(done, total)
        self._task = self._progress.add_task(
            _TITLES[phase], total=total, completed=done, numbers="", playing=""
        )

    def plays(self, what: str, left: int, total: int) -> None:
        """See `Observer`."""
        if self._task is not None:
            playing = f"{what} {total - left}/{total}" if left else "updating"
            self._progress.update(self._task, playing=playing)

    def tells(self, name: str, line: Line) -> None:
        """See `Observer`."""
        if name == EVALUATION:
            self._best = line["reward"] if self._best is None else max(self._best, line["reward"])
            self._progress.console.print(f"step {line['step']}  {evaluation_text(line)}")
            return
        self._pace.reach(line)
        parts = numbers(line)
        if left := self._pace.left():
            parts.insert(1, f"{left} left")
        if self._best is not None:
            parts.append(f"best held-out {self._best:.3f}")
        if self._task is not None:
            text = self._fitting(parts)
            self._progress.update(self._task, completed=line["step"], numbers=text)

    def _fitting(self, parts: Sequence[str]) -> str:
        """As many of them as leave room for title, bar, count and what is played."""
        width = self._console.width
        bar, count = _BAR if width >= _WIDE else _SHORT_BAR, 2 * len(str(self._pace.total)) + 1
        room = width - max(map(len, _TITLES.values())) - bar - count - _PLAYING - 4
        while parts and len("  ".join(parts)) > room:
            parts = parts[:-1]
        return "  ".join(parts)

    def close(self) -> None:
        """Take it off the terminal."""
        self._progress.stop()


def numbers(line: Line) -> list[str]:
    """The numbers of a step that are shown, the most telling first."""
    parts = []
    for key, title, form in (
        ("reward", "reward", "{:.3f}"), ("loss", "loss", "{:.3g}"), ("kl", "KL", "{:.3g}"),
        ("answered", "answered", "{:.0%}"), ("format_valid", "format", "{:.0%}"),
        ("flat_groups", "flat", "{:.0%}"),
    ):  # fmt: skip
        if (value := line.get(key)) is not None:
            parts.append(f"{title} {form.format(value)}")
    speed = line.get("seconds", {}).get("tokens_per_second")
    parts += [f"{short(speed)} tokens/s"] if speed is not None else []
    return [*parts, *sources(line)]


def sources(line: Line) -> list[str]:
    """The mean reward of each of several sources."""
    found: dict[str, Line] = line.get("sources", {})
    return [f"{label} {told['reward']:.3f}" for label, told in found.items()]


def evaluation_text(line: Line) -> str:
    """Held-out results as one line."""
    low, high = line.get("low"), line.get("high")
    known = low is not None and high is not None and low == low and high == high
    interval = f" [{low:.3f}, {high:.3f}]" if known else ""
    parts = f" ({', '.join(found)})" if (found := sources(line)) else ""
    return (
        f"held-out reward {line['reward']:.3f}{interval}{parts} of {line['tasks']} tasks, answered "
        f"{line['answered']:.0%}, success {line['success']:.0%}"
    )
