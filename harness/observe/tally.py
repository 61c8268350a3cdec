"""The numbers of a run while it goes: coverage, scores, failures, tokens a second, time left."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..ledger import Role
from ..records import Episode, EpisodeKey
from ..trace import Event
from ..watch import CellPlan, Planned, Watcher
from .text import message_of

WINDOW_S = 30.0  # of tokens a second
FAILURES = ("agent_error", "limit", "infra_error")

_PACE_EPISODES = 50  # the pace is that of the last so many episodes
_FEWEST_FOR_PACE = 2


@dataclass(slots=True)
class CellTally:
    """One cell of the table so far."""

    plan: CellPlan
    done: int  # scored, those of earlier parts of the run included
    scored: int = 0  # in this part of the run
    solved: int = 0  # of those
    statuses: Counter[str] = field(default_factory=Counter)  # of this part

    @property
    def finished(self) -> bool:
        """Whether nothing of it is owed."""
        return self.done >= self.plan.planned

    @property
    def success_rate(self) -> float | None:
        """Share of the episodes of this part that were solved; None before the first."""
        return self.solved / self.scored if self.scored else None


class Rate:
    """Tokens a second over the last seconds, and all of them."""

    __slots__ = ("_seconds", "completion", "prompt")

    def __init__(self) -> None:
        self._seconds: deque[list[int]] = deque()  # [second, prompt, completion]
        self.prompt = self.completion = 0

    def add(self, now: float, prompt: int, completion: int) -> None:
        """Count the tokens of one call."""
        self.prompt += prompt
        self.completion += completion
        second = int(now)
        if not self._seconds or self._seconds[-1][0] != second:
            self._seconds.append([second, 0, 0])
            self._forget(now)
        last = self._seconds[-1]
        last[1] += prompt
        last[2] += completion

    def per_second(self, now: float, since: float) -> tuple[float, float]:
        """Prompt and completion tokens a second, in the window, or since a later start."""
        self._forget(now)
        span = max(1.0, min(WINDOW_S, now - since))
        return (
            sum(second[1] for second in self._seconds) / span,
            sum(second[2] for second in self._seconds) / span,
        )

    def _forget(self, now: float) -> None:
        while self._seconds and self._seconds[0][0] <= now - WINDOW_S:
            self._seconds.popleft()


class Tally(Watcher):
    """Counts what happens in a run; the base of whatever shows it.

    The event loop writes and a thread may read, both under `lock`.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.lock = threading.Lock()
        self.run = ""
        self.started = clock()
        self.cells: dict[tuple[str, str, str, str], CellTally] = {}
        self.total = summed([], "all")
        self.rates: dict[str, Rate] = {}
        self.faults: Counter[str] = Counter()  # kinds of infrastructure failures, of tries too
        self.playing: set[str] = set()  # ids of episodes
        self.retries: Counter[str] = Counter()  # of model calls, by kind
        self.limits: dict[str, int] = {}  # how many calls an endpoint is given at once
        self.notice = ""  # why the run will end before all is played
        self._commits: deque[float] = deque(maxlen=_PACE_EPISODES)
        self._ear = _Ear(self)
        self._ear.attach()

    # --- what it is told --------------------------------------------------------------------

    def planned(self, plan: Planned) -> None:
        """See `Watcher`."""
        with self.lock:
            self.run, self.started = plan.run, self.clock()
            for cell in plan.cells:
                key = (cell.env, cell.split, cell.memory, cell.model)
                self.cells[key] = CellTally(cell, cell.done)
            self.total = summed(list(self.cells.values()), "all")

    def begins(self, key: EpisodeKey, attempt: int) -> None:  # noqa: ARG002
        """See `Watcher`."""
        with self.lock:
            self.playing.add(key.id)

    def event(self, key: EpisodeKey, event: Event) -> None:  # noqa: ARG002
        """See `Watcher`; only model calls are counted."""
        if event["type"] == "completion":
            role: str = Role.AGENT.value
        elif event["type"] == "model_call":
            role = event["role"]
        else:
            return
        with self.lock:
            rate = self.rates.get(role) or self.rates.setdefault(role, Rate())
            rate.add(self.clock(), event["prompt_tokens"], event["completion_tokens"])

    def ends(self, episode: Episode) -> None:
        """See `Watcher`."""
        with self.lock:
            self.playing.discard(episode.key.id)
            if episode.status == "infra_error":
                self.faults[episode.fault or "infrastructure"] += 1

    def committed(self, episode: Episode) -> None:
        """See `Watcher`."""
        with self.lock:
            cell = self.cells.get(episode.key.cell)
            if cell is None:
                return
            for tally in (cell, self.total):
                tally.statuses[episode.status] += 1
                tally.done += episode.scored
                tally.scored += episode.scored
                tally.solved += bool(episode.success)
            if episode.scored:
                self._commits.append(self.clock())

    def close(self) -> None:
        """See `Watcher`."""
        self._ear.detach()

    def heard(self, fields: dict[str, Any], message: str) -> None:
        """A log record of this project, with what it carries."""
        with self.lock:
            match fields:
                case {"event": "retry"}:
                    self.retries[str(fields.get("kind", "endpoint"))] += 1
                case {"event": "limit", "limit": int() | float() as limit}:
                    self.limits[str(fields.get("endpoint", ""))] = int(limit)
                case {"event": "drain"}:
                    self.notice = message

    # --- what it tells; to be called under the lock -------------------------------------------

    @property
    def elapsed(self) -> float:
        """Seconds since the plan was made."""
        return self.clock() - self.started

    def eta(self) -> float | None:
        """Seconds until all is played, at the pace of this part's last episodes; None: unknown."""
        owed = self.total.plan.planned - self.total.done
        if owed <= 0:
            return 0.0
        if len(self._commits) < _FEWEST_FOR_PACE:
            return None
        full = len(self._commits) == self._commits.maxlen
        since = self._commits[0] if full else self.started
        played = len(self._commits) - full
        return owed * (self.clock() - since) / played

    def speeds(self) -> list[tuple[str, float, float]]:
        """Role, prompt and completion tokens a second; busiest role first."""
        now = self.clock()
        found = [(role, *rate.per_second(now, self.started)) for role, rate in self.rates.items()]
        return sorted(found, key=lambda row: -(row[1] + row[2]))

    def tokens(self) -> tuple[int, int]:
        """Prompt and completion tokens of this part of the run."""
        rates = self.rates.values()
        return sum(r.prompt for r in rates), sum(r.completion for r in rates)


def summed(cells: list[CellTally], name: str) -> CellTally:
    """Several cells as one of this name."""
    planned = sum(cell.plan.planned for cell in cells)
    plan = CellPlan(name, "", "", "", planned, sum(cell.plan.done for cell in cells))
    statuses: Counter[str] = Counter()
    for cell in cells:
        statuses.update(cell.statuses)
    return CellTally(
        plan,
        sum(cell.done for cell in cells),
        sum(cell.scored for cell in cells),
        sum(cell.solved for cell in cells),
        statuses,
    )


def duration(seconds: float | None) -> str:
    """`1:02:03` or `2:03`; `–` if unknown."""
    if seconds is None:
        return "–"
    minutes, second = divmod(int(seconds + 0.5), 60)
    hours, minute = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} d {hours % 24} h"
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


class _Ear(logging.Handler):
    """Hears this project's log records."""

    def __init__(self, tally: Tally) -> None:
        super().__init__(logging.INFO)
        self._tally = tally
        self._logger = logging.getLogger("agemem_eval")

    def attach(self) -> None:
        """Hear from now on."""
        self._logger.addHandler(self)

    def detach(self) -> None:
        """Hear no more."""
        self._logger.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Pass on what a record carries."""
        fields = getattr(record, "fields", None)
        if isinstance(fields, dict):
            self._tally.heard(fields, message_of(record))
