"""From episodes to one row a cell: rates with intervals, tokens by role, tool calls by tool.

Only scored episodes count: one that the infrastructure broke lowers the coverage, never a score.
What nothing was scored for is None.
"""

from __future__ import annotations

import math
import statistics
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from .records import Episode, EpisodeKey

# Fields of a record that a row has sums of.
_FIELDS = (
    "success",
    "progress",
    "steps",
    "turns",
    "invalid_actions",
    "malformed_outputs",
    "memory_entries",
    "wall_s",
)


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


class _Sums:
    """Sums by name, exact before they are rounded, so that no order of the values changes one."""

    def __init__(self) -> None:
        self._values: dict[str, array[float]] = {}  # 8 bytes each

    def add(self, name: str, value: float | None) -> None:
        """Take in a value; None counts nowhere."""
        values = self._values.get(name)
        if values is None:
            values = self._values[name] = array("d")
        if value is not None:
            values.append(value)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._values))

    def n(self, name: str) -> int:
        """How many values."""
        return len(self._values.get(name, ()))

    def total(self, name: str) -> float:
        """Their sum."""
        return math.fsum(self._values.get(name, ()))

    def mean(self, name: str) -> float | None:
        """Their mean; None of none."""
        return self.total(name) / self.n(name) if self.n(name) else None

    def table(self) -> dict[str, dict[str, float | None]]:
        """Mean, and of how many (`n`), by name."""
        return {name: {"mean": self.mean(name), "n": self.n(name)} for name in self}


class Tally:
    """What a row needs of a cell's episodes, taken in one at a time; none of them is kept."""

    def __init__(self, keep_successes: bool) -> None:
        self.n_scored = 0
        self.successes: dict[EpisodeKey, float] = {}  # of each, where streams need it
        self._keep_successes = keep_successes
        self._fields, self._scores, self._quality = _Sums(), _Sums(), _Sums()
        self._costs: dict[str, _Sums] = {}
        self._tokens: dict[str, Counter[str]] = {}
        self._tool_calls: dict[str, Counter[str]] = {}
        self._statuses: Counter[str] = Counter()
        self._losses: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()
        self._labels: dict[str, str] = {}
        self._judge_faults = self._tokens_lost = 0

    def add(self, episode: Episode) -> None:
        """Take in a committed episode."""
        self._statuses[episode.status] += 1
        self._tokens_lost += _lost(episode)
        if not episode.scored:
            return
        self.n_scored += 1
        if self._keep_successes and episode.success is not None:
            self.successes[episode.key] = float(episode.success)
        for name in _FIELDS:
            self._fields.add(name, getattr(episode, name))
        for name, score in episode.metrics.items():
            self._scores.add(name, score)
        for role, usage in episode.tokens.items():
            sums = self._tokens.setdefault(role, Counter())
            for name in usage.__dataclass_fields__:
                sums[name] += getattr(usage, name)
        for tool, by_status in episode.tool_calls.items():
            self._tool_calls.setdefault(tool, Counter()).update(by_status)
        for label, value in episode.labels.items():
            if self._labels.setdefault(label, value) != value:
                self._labels[label] = "mixed"  # labels that episodes do not agree on say so
        self._add_of_memory(episode)

    def _add_of_memory(self, episode: Episode) -> None:
        for name, score in episode.quality.items():
            self._quality.add(name, score)
        if episode.loss is not None:
            self._losses[episode.loss] += 1
        for operation, cost in episode.memory_costs.items():
            sums = self._costs.setdefault(operation, _Sums())
            for name in cost.__dataclass_fields__:
                sums.add(name, getattr(cost, name))
        self._faults.update(episode.memory_faults)
        self._judge_faults += episode.judge_faults

    def row(
        self,
        key: EpisodeKey,
        n_planned: int,
        within_cap: dict[str, float] | None,
        streams: Sequence[Sequence[EpisodeKey]],
    ) -> Row:
        """The row of the cell that a key belongs to; see `cell_row`."""
        return Row(
            env=key.env,
            split=key.split,
            memory=key.memory,
            model=key.model,
            data_hash=key.data_hash,
            n_planned=n_planned,
            n_scored=self.n_scored,
            coverage=self.n_scored / n_planned,
            within_cap=within_cap,
            lifelong=_lifelong(streams, self.successes),
            **self._rates(),
            **self._of_memory(),
            **self._counts(),
        )

    def _rates(self) -> dict[str, Any]:
        """The fields of a row that are means and rates."""
        fields, tried = self._fields, self._fields.n("success")
        steps, turns = fields.total("steps"), fields.total("turns")
        return {
            "success_rate": fields.mean("success"),
            "success_ci": wilson(int(fields.total("success")), tried) if tried else None,
            "progress_rate": fields.mean("progress"),
            "scores": self._scores.table(),
            "steps_mean": fields.mean("steps"),
            "turns_mean": fields.mean("turns"),
            "invalid_action_rate": fields.total("invalid_actions") / steps if steps else None,
            "malformed_rate": fields.total("malformed_outputs") / turns if turns else None,
            "wall_s": fields.mean("wall_s"),
        }

    def _of_memory(self) -> dict[str, Any]:
        """Those that tell of the memory alone."""
        costs: dict[str, dict[str, float]] = {}  # by operation: how many an episode, cost of one
        for operation, sums in sorted(self._costs.items()):
            n = sums.total("n")
            costs[operation] = {name: sums.total(name) / n for name in sums if n}
            costs[operation]["n"] = n / self.n_scored
        return {
            "quality": self._quality.table(),
            "losses": dict(sorted(self._losses.items())),
            "memory_costs": costs,
            "memory_wall_s": {name: cost.pop("wall_s", 0.0) for name, cost in costs.items()},
            "memory_faults": {kind: n / self.n_scored for kind, n in sorted(self._faults.items())},
            "judge_faults": self._judge_faults,
            "memory_entries_mean": self._fields.mean("memory_entries"),
        }

    def _counts(self) -> dict[str, Any]:
        """Those that are counted: tokens by role, tool calls by tool, statuses; and labels."""
        return {
            "tokens": {role: self._of_role(by) for role, by in sorted(self._tokens.items())},
            "tokens_lost": self._tokens_lost,
            "tool_calls": {
                tool: {"mean": by.total() / self.n_scored, "statuses": dict(sorted(by.items()))}
                for tool, by in sorted(self._tool_calls.items())
            },
            "statuses": dict(sorted(self._statuses.items())),
            "labels": dict(sorted(self._labels.items())),
        }

    def _of_role(self, by: Counter[str]) -> dict[str, float | bool]:
        """Means over all scored episodes: one that did not use the role counts as 0."""
        return {
            "calls": by["calls"] / self.n_scored,
            "prompt": by["prompt_tokens"] / self.n_scored,
            "completion": by["completion_tokens"] / self.n_scored,
            "estimated": by["estimated_calls"] > 0,
        }


def _mean(values: Iterable[float]) -> float | None:
    items = list(values)
    return sum(items) / len(items) if items else None


def _lost(episode: Episode) -> int:
    """Tokens spent on this episode's failed tries; all of them if none was scored."""
    tables = [episode.tokens_lost] + ([] if episode.scored else [episode.tokens])
    usages = [usage for table in tables for usage in table.values()]
    return sum(usage.prompt_tokens + usage.completion_tokens for usage in usages)


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
