"""From episodes to one row a cell: rates with intervals, tokens by role, tool calls by tool.

Only scored episodes count: one that the infrastructure broke lowers the coverage, never a score.
What nothing was scored for is None.
"""

from __future__ import annotations

import math
import statistics
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .columns import Columns, Name
from .records import Episode, EpisodeKey


@dataclass(frozen=True, slots=True)
class Row:
    """One cell of the table: an environment's split × a memory × a model."""

    env: str
    split: str
    memory: str
    model: str
    data_hash: str
    n_planned: int
    n_scored: int
    coverage: float  # n_scored / n_planned
    success_rate: float | None
    success_ci: tuple[float, float] | None  # 95%, Wilson's score interval
    progress_rate: float | None  # mean of the best share of subgoals reached
    scores: dict[str, dict[str, float | None]]  # further scores: mean, and of how many (`n`)
    # Of the tasks that the oracle claims (`n`), the share it solves under the step cap (`mean`).
    within_cap: dict[str, float] | None
    quality: dict[str, dict[str, float | None]]  # of the memory: mean, and of how many (`n`)
    losses: dict[str, int]  # of failed questions: where the facts were lost
    memory_costs: dict[str, dict[str, float]]  # operation -> how many an episode, means of one
    memory_wall_s: dict[str, float]  # operation -> seconds that one takes, mean
    memory_faults: dict[str, float]  # operations skipped, by kind: mean an episode
    judge_faults: int  # times that the judge gave no score, over all episodes
    lifelong: dict[str, Any] | None  # of a memory kept over a stream; see `_lifelong`
    steps_mean: float | None
    turns_mean: float | None
    invalid_action_rate: float | None  # invalid and missing actions over all steps
    malformed_rate: float | None  # outputs with a format problem over all model calls
    tokens: dict[str, dict[str, float | bool]]  # role -> means an episode, and whether estimated
    tokens_lost: int  # of all roles, on tries that the infrastructure broke
    tool_calls: dict[str, dict[str, Any]]  # tool -> mean calls an episode, counts by status
    memory_entries_mean: float | None
    wall_s: float | None  # seconds an episode took, mean
    statuses: dict[str, int]
    labels: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The row as JSON values."""
        return asdict(self)


def cell_row(
    planned: Sequence[EpisodeKey],
    episodes: Iterable[Episode],
    within_cap: dict[str, float] | None = None,
    streams: Sequence[Sequence[EpisodeKey]] = (),
) -> Row:
    """The row of one cell.

    Args:
        planned: The keys of the cell's episodes; at least one.
        episodes: What was committed of them, each once and in any order; none of them is kept.
        within_cap: See `Row`.
        streams: The keys of each ordered stream, where a memory is kept over it.
    """
    tally = Tally(keep_successes=bool(streams))
    for episode in episodes:
        tally.add(episode)
    return tally.row(planned[0], len(planned), within_cap, streams)


def wilson(successes: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a rate (E. B. Wilson, JASA 22, 1927, without correction).

    In closed form, since scipy's, which the tests hold it against, takes a second to import.

    Raises:
        ValueError: if n is 0, no interval is known then; or for more successes than n.
    """
    if not 0 <= successes <= n or n == 0:
        raise ValueError(f"{successes} successes of {n}")
    z = statistics.NormalDist().inv_cdf(0.5 + confidence / 2)
    middle = (2 * successes + z * z) / (2 * (n + z * z))
    half = z * math.sqrt(4 * successes * (n - successes) / n + z * z) / (2 * (n + z * z))
    low, high = middle - half, middle + half
    return low if successes else 0.0, high if successes < n else 1.0


class Tally:
    """What a row needs of a cell's episodes, taken in one at a time; none of them is kept.

    Attributes:
        columns: All episodes, those without a score too.
    """

    def __init__(self, keep_successes: bool) -> None:
        self.columns = Columns()
        self._scored = array("b")
        self._successes: dict[EpisodeKey, float] = {}  # of each, where streams need it
        self._keep_successes = keep_successes
        self._statuses: Counter[str] = Counter()
        self._losses: Counter[str] = Counter()
        self._labels: dict[str, str] = {}
        self._last: dict[str, str] = {}  # labels of the last episode; mostly all have the same

    def add(self, episode: Episode) -> None:
        """Take in a committed episode."""
        self.columns.add(episode)
        self._scored.append(episode.scored)
        self._statuses[episode.status] += 1
        if not episode.scored:
            return
        if self._keep_successes and episode.success is not None:
            self._successes[episode.key] = float(episode.success)
        if episode.loss is not None:
            self._losses[episode.loss] += 1
        if episode.labels == self._last:
            return
        self._last = episode.labels
        for label, value in episode.labels.items():
            if self._labels.setdefault(label, value) != value:
                self._labels[label] = "mixed"  # labels that episodes do not agree on say so

    def row(
        self,
        key: EpisodeKey,
        n_planned: int,
        within_cap: dict[str, float] | None,
        streams: Sequence[Sequence[EpisodeKey]],
    ) -> Row:
        """The row of the cell that a key belongs to; see `cell_row`."""
        sums = _Sums(self.columns, np.frombuffer(self._scored, dtype=bool))
        return Row(
            env=key.env,
            split=key.split,
            memory=key.memory,
            model=key.model,
            data_hash=key.data_hash,
            n_planned=n_planned,
            n_scored=sums.n_scored,
            coverage=sums.n_scored / n_planned,
            within_cap=within_cap,
            lifelong=_lifelong(streams, self._successes),
            losses=dict(sorted(self._losses.items())),
            statuses=dict(sorted(self._statuses.items())),
            labels=dict(sorted(self._labels.items())),
            **sums.rates(),
            **sums.of_memory(),
            **sums.counts(),
        )


class _Sums:
    """Sums over the scored episodes; exact before they are rounded, so that no order matters."""

    def __init__(self, columns: Columns, scored: NDArray[np.bool_]) -> None:
        self.n_scored = int(scored.sum())
        self._columns, self._scored = columns.arrays(), scored
        self._names = columns.scored_names()

    def total(self, name: Name) -> float:
        """The sum of a column."""
        return math.fsum(self._values(name))

    def mean(self, name: Name) -> float | None:
        """The mean of those that have a value; None of none."""
        values = self._values(name)
        return math.fsum(values) / len(values) if values else None

    def _values(self, name: Name) -> list[float]:
        column = self._columns.get(name)
        if column is None:
            return []
        values = column[self._scored]
        there: list[float] = values[~np.isnan(values)].tolist()
        return there

    def _table(self, prefix: str) -> dict[str, dict[str, float | None]]:
        """Mean, and of how many (`n`), by name."""
        found: dict[str, dict[str, float | None]] = {}
        for name in sorted(n for n in self._names if isinstance(n, str)):
            if name.startswith(prefix):
                values = self._values(name)
                mean = math.fsum(values) / len(values) if values else None
                found[name.removeprefix(prefix)] = {"mean": mean, "n": len(values)}
        return found

    def _of_kind(self, kind: str) -> dict[str, list[tuple[str, ...]]]:
        """The columns that are known by tuples of a kind, by what they are about, sorted."""
        found: dict[str, list[tuple[str, ...]]] = {}
        for name in sorted(n for n in self._names if isinstance(n, tuple) and n[0] == kind):
            if len(name) > 1:
                found.setdefault(name[1], []).append(name)
        return found

    def rates(self) -> dict[str, Any]:
        """The fields of a row that are means and rates."""
        tried = len(self._values("success"))
        steps, turns = self.total("steps"), self.total("turns")
        return {
            "success_rate": self.mean("success"),
            "success_ci": wilson(int(self.total("success")), tried) if tried else None,
            "progress_rate": self.mean("progress"),
            "scores": self._table("metrics."),
            "steps_mean": self.mean("steps"),
            "turns_mean": self.mean("turns"),
            "invalid_action_rate": self.total("invalid_actions") / steps if steps else None,
            "malformed_rate": self.total("malformed_outputs") / turns if turns else None,
            "wall_s": self.mean("wall_s"),
        }

    def of_memory(self) -> dict[str, Any]:
        """Those that tell of the memory alone."""
        costs: dict[str, dict[str, float]] = {}  # by operation: how many an episode, cost of one
        for operation, names in self._of_kind("cost").items():
            n = self.total(("cost", operation, "n"))
            costs[operation] = {name[2]: self.total(name) / n for name in names if n}
            costs[operation]["n"] = n / self.n_scored
        faults = {kind: self.total(name) for kind, (name,) in self._of_kind("fault").items()}
        return {
            "quality": self._table("quality."),
            "memory_costs": costs,
            "memory_wall_s": {name: cost.pop("wall_s", 0.0) for name, cost in costs.items()},
            "memory_faults": {kind: n / self.n_scored for kind, n in faults.items()},
            "judge_faults": int(self.total("judge_faults")),
            "memory_entries_mean": self.mean("memory_entries"),
        }

    def counts(self) -> dict[str, Any]:
        """Those that are counted: tokens by role, tool calls by tool."""
        lost = self._columns.get(("lost",))
        return {
            "tokens": {role: self._of_role(role) for role in self._of_kind("estimated")},
            "tokens_lost": 0 if lost is None else int(math.fsum(lost.tolist())),
            "tool_calls": {
                tool: {
                    "mean": self.total(f"tool_calls.{tool}") / self.n_scored,
                    "statuses": {name[2]: int(self.total(name)) for name in names},
                }
                for tool, names in self._of_kind("tool").items()
            },
        }

    def _of_role(self, role: str) -> dict[str, float | bool]:
        """Means over all scored episodes: one that did not use the role counts as 0."""
        return {
            "calls": self.total(f"tokens.{role}.calls") / self.n_scored,
            "prompt": self.total(f"tokens.{role}.prompt") / self.n_scored,
            "completion": self.total(f"tokens.{role}.completion") / self.n_scored,
            "estimated": self.total(("estimated", role)) > 0,
        }


def _mean(values: Iterable[float]) -> float | None:
    items = list(values)
    return sum(items) / len(items) if items else None


def _lifelong(
    streams: Sequence[Sequence[EpisodeKey]], successes: Mapping[EpisodeKey, float]
) -> dict[str, Any] | None:
    """What a memory gains over a stream, and how far that depends on the order of the tasks.

    Only streams of which every episode was scored count (`n_streams`). The gain is the success of
    the second half minus that of the first, the middle one of an odd number left out. In random
    orders (`--order-seeds`) a task is as likely in either half, so that no half is harder.

    Returns:
        `n_streams`, mean `first_half`, `second_half` and `gain`, the success of each stream
        (`streams`), and the standard deviation over orders, of the mean success in each
        (`order_sd`; None of a single order).
    """
    if not streams:
        return None
    found: list[tuple[EpisodeKey, list[float]]] = []
    for keys in streams:
        played = [successes[key] for key in keys if key in successes]
        if len(played) == len(keys) > 1:
            found.append((keys[0], played))
    first = [sum(s[: len(s) // 2]) / (len(s) // 2) for _, s in found]
    second = [sum(s[-(len(s) // 2) :]) / (len(s) // 2) for _, s in found]
    rates = [sum(s) / len(s) for _, s in found]
    of_order: dict[int | None, list[float]] = {}
    for (key, _), rate in zip(found, rates, strict=True):
        of_order.setdefault(key.order_seed, []).append(rate)
    orders = [sum(repeats) / len(repeats) for repeats in of_order.values()]
    return {
        "n_streams": len(found),
        "first_half": _mean(first),
        "second_half": _mean(second),
        "gain": _mean(b - a for a, b in zip(first, second, strict=True)),
        "streams": [
            {"order_seed": key.order_seed, "repeat": key.repeat, "success_rate": rate}
            for (key, _), rate in zip(found, rates, strict=True)
        ],
        "order_sd": statistics.stdev(orders) if len(orders) > 1 else None,
    }
