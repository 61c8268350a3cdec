"""From episodes to one row a cell: rates with intervals, tokens by role, tool calls by tool.

Only scored episodes count: one that the infrastructure broke lowers the coverage, never a score.
What nothing was scored for is None.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from .records import Episode, EpisodeKey
from .types import Scores


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
    episodes: Mapping[EpisodeKey, Episode],
    within_cap: dict[str, float] | None = None,
    streams: Sequence[Sequence[EpisodeKey]] = (),
) -> Row:
    """The row of one cell.

    Args:
        planned: The keys of the cell's episodes; at least one.
        episodes: What was committed, of this cell and perhaps of others.
        within_cap: See `Row`.
        streams: The keys of each ordered stream, where a memory is kept over it.
    """
    key, found = planned[0], [episodes[key] for key in planned if key in episodes]
    scored = [episode for episode in found if episode.scored]
    successes = [e.success for e in scored if e.success is not None]
    steps, turns = sum(e.steps for e in scored), sum(e.turns for e in scored)
    return Row(
        env=key.env,
        split=key.split,
        memory=key.memory,
        model=key.model,
        data_hash=key.data_hash,
        n_planned=len(planned),
        n_scored=len(scored),
        coverage=len(scored) / len(planned),
        success_rate=_mean(successes),
        success_ci=wilson(sum(successes), len(successes)) if successes else None,
        progress_rate=_mean(e.progress for e in scored if e.progress is not None),
        scores=_scores([episode.metrics for episode in scored]),
        within_cap=within_cap,
        lifelong=_lifelong(streams, episodes),
        **_of_memory(scored),
        steps_mean=_mean(e.steps for e in scored),
        turns_mean=_mean(e.turns for e in scored),
        invalid_action_rate=sum(e.invalid_actions for e in scored) / steps if steps else None,
        malformed_rate=sum(e.malformed_outputs for e in scored) / turns if turns else None,
        tokens=_tokens(scored),
        tokens_lost=sum(map(_lost, found)),
        tool_calls=_tool_calls(scored),
        wall_s=_mean(e.wall_s for e in scored),
        statuses=dict(sorted(Counter(e.status for e in found).items())),
        labels=_labels(scored),
    )


def _of_memory(scored: Sequence[Episode]) -> dict[str, Any]:
    """The fields of a row that tell of its memory alone."""
    costs = _memory_costs(scored)
    sizes = [e.memory_entries for e in scored if e.memory_entries is not None]
    return {
        "quality": _scores([episode.quality for episode in scored]),
        "losses": dict(sorted(Counter(e.loss for e in scored if e.loss is not None).items())),
        "memory_costs": costs,
        "memory_wall_s": {operation: cost.pop("wall_s") for operation, cost in costs.items()},
        "memory_faults": _memory_faults(scored),
        "judge_faults": sum(episode.judge_faults for episode in scored),
        "memory_entries_mean": _mean(sizes),
    }


def wilson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a rate (E. B. Wilson, JASA 22, 1927), by scipy.

    Raises:
        ValueError: if n is 0: no interval is known then.
    """
    from scipy.stats import binomtest  # heavy, and only needed for a table

    interval = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def _mean(values: Iterable[float]) -> float | None:
    items = list(values)
    return sum(items) / len(items) if items else None


def _scores(tables: Iterable[Scores]) -> dict[str, dict[str, float | None]]:
    """Means over the episodes in which a score was given; None counts nowhere."""
    values: dict[str, list[float]] = {}
    for table in tables:
        for name, value in table.items():
            values.setdefault(name, []).extend([] if value is None else [value])
    return {name: {"mean": _mean(v), "n": len(v)} for name, v in sorted(values.items())}


def _tokens(scored: Sequence[Episode]) -> dict[str, dict[str, float | bool]]:
    """Means over all scored episodes: a role that one of them did not use counts as 0 there."""
    roles = sorted({role for e in scored for role in e.tokens})
    return {
        role: {
            "calls": sum(e.tokens[role].calls for e in scored if role in e.tokens) / len(scored),
            "prompt": sum(e.tokens[role].prompt_tokens for e in scored if role in e.tokens)
            / len(scored),
            "completion": sum(e.tokens[role].completion_tokens for e in scored if role in e.tokens)
            / len(scored),
            "estimated": any(e.tokens[role].estimated_calls for e in scored if role in e.tokens),
        }
        for role in roles
    }


def _lost(episode: Episode) -> int:
    """Tokens spent on this episode's failed tries; all of them if none was scored."""
    tables = [episode.tokens_lost] + ([] if episode.scored else [episode.tokens])
    usages = [usage for table in tables for usage in table.values()]
    return sum(usage.prompt_tokens + usage.completion_tokens for usage in usages)


def _tool_calls(scored: Sequence[Episode]) -> dict[str, dict[str, Any]]:
    statuses: dict[str, Counter[str]] = {}
    for episode in scored:
        for tool, by_status in episode.tool_calls.items():
            statuses.setdefault(tool, Counter()).update(by_status)
    return {
        tool: {"mean": by.total() / len(scored), "statuses": dict(sorted(by.items()))}
        for tool, by in sorted(statuses.items())
    }


def _memory_costs(scored: Sequence[Episode]) -> dict[str, dict[str, float]]:
    """By operation: how many an episode (`n`), and what one of them costs on average."""
    sums: dict[str, Counter[str]] = {}
    for episode in scored:
        for operation, cost in episode.memory_costs.items():
            sums.setdefault(operation, Counter()).update(asdict(cost))
    return {
        operation: {
            "n": by["n"] / len(scored),
            **{name: total / by["n"] for name, total in by.items() if name != "n" and by["n"]},
        }
        for operation, by in sorted(sums.items())
    }


def _memory_faults(scored: Sequence[Episode]) -> dict[str, float]:
    counts: Counter[str] = Counter()
    for episode in scored:
        counts.update(episode.memory_faults)
    return {kind: n / len(scored) for kind, n in sorted(counts.items())}


def _lifelong(
    streams: Sequence[Sequence[EpisodeKey]], episodes: Mapping[EpisodeKey, Episode]
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
        played = [episodes[key] for key in keys if key in episodes and episodes[key].scored]
        successes = [float(e.success) for e in played if e.success is not None]
        if len(successes) == len(keys) > 1:
            found.append((keys[0], successes))
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


def _labels(scored: Sequence[Episode]) -> dict[str, str]:
    """Labels on which all episodes agree; the others say so."""
    seen: dict[str, set[str]] = {}
    for episode in scored:
        for name, value in episode.labels.items():
            seen.setdefault(name, set()).add(value)
    return {name: next(iter(v)) if len(v) == 1 else "mixed" for name, v in sorted(seen.items())}
