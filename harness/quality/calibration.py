"""Whether a judge can be trusted: its scores beside the labels of `judge_items`.

A judge that credits refusals, wrong numbers or a demand for credit makes every method look good
that produces them, so those are counted apart from how well it agrees on the whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from .judge import Judge
from .judge_items import ANSWERS, CONTROLS, MEMORIES, MEMORY_CONTROLS, corrupted

NEAR = 0.25  # one step of the rubric's scale: nearer than that, two people disagree as well
ACCEPTED = 0.5  # from here on an answer counts as more right than wrong
# Calibrated means all of these. They are what a careful judge reaches with room to spare, and
# what no constant judge, no comparison of words and no judge that does as it is told reaches.
MIN_AGREEMENT = 0.85  # of items scored within NEAR of their label
MAX_ERROR = 0.12  # mean absolute; half of NEAR
MIN_SPEARMAN = 0.8  # so that better answers rank higher, not only wrong ones low
MAX_FALSE_ACCEPTS = 0.05  # of controls; each is credit that nobody earned
MAX_FALSE_REJECTS = 0.1  # of right answers, so that refusing everything is no way through
MAX_KIND_WRONG = 1 / 3  # of the items of any one kind, so that no judge is blind to a whole kind
MAX_UNSCORED = 0.05  # of items; an unreadable judge leaves holes that are not random
CONCURRENT = 8  # calls at a time


@dataclass(frozen=True, slots=True)
class Kind:
    """The items of one kind."""

    kind: str
    n: int
    label: float  # mean
    score: float | None  # mean of those scored
    error: float | None  # mean absolute, of those scored
    unscored: int
    wrong: float | None  # share of those scored: controls accepted, others not within NEAR


@dataclass(frozen=True, slots=True)
class Part:
    """A judge on answers, or on memories; None where nothing was scored.

    Attributes:
        n: items.
        unscored: share that got no score.
        agreement: share of those scored that is within NEAR of the label.
        error: mean absolute error.
        spearman: rank correlation with the labels; None too for a judge that always says the same.
        false_accepts: share of the controls, wrong by construction, scored ACCEPTED or more.
        false_rejects: share of the right ones scored less than ACCEPTED.
        kinds: the same by kind.
    """

    n: int
    unscored: float
    agreement: float | None
    error: float | None
    spearman: float | None
    false_accepts: float | None
    false_rejects: float | None
    kinds: tuple[Kind, ...]

    @property
    def failures(self) -> list[str]:
        """What keeps the judge from being calibrated, one line each."""
        limits = (
            ("agreement", self.agreement, ">=", MIN_AGREEMENT),
            ("mean absolute error", self.error, "<=", MAX_ERROR),
            ("Spearman's rho", self.spearman, ">=", MIN_SPEARMAN),
            ("false accepts", self.false_accepts, "<=", MAX_FALSE_ACCEPTS),
            ("false rejects", self.false_rejects, "<=", MAX_FALSE_REJECTS),
            ("without a score", self.unscored, "<=", MAX_UNSCORED),
        )
        blind = [
            f"{kind.kind}: {kind.wrong:.3f} are scored wrongly, not <= {MAX_KIND_WRONG:.3f}"
            for kind in self.kinds
            if kind.wrong is not None and kind.wrong > MAX_KIND_WRONG
        ]
        return blind + [
            f"{what} is {'not defined' if value is None else f'{value:.3f}'}, not {sign} {limit}"
            for what, value, sign, limit in limits
            if value is None or (value < limit if sign == ">=" else value > limit)
        ]


@dataclass(frozen=True, slots=True)
class Report:
    """How a judge did."""

    answers: Part
    memories: Part

    @property
    def calibrated(self) -> bool:
        """Whether it keeps within every limit, on answers and on memories."""
        return not self.answers.failures and not self.memories.failures


async def calibrate(judge: Judge) -> Report:
    """Let a judge score every labelled item.

    Raises:
        ModelError: when its endpoint failed for good.
    """
    answers = (*ANSWERS, *corrupted())
    of_answers = [
        lambda item=item: judge.answer(item.question, item.gold, item.given) for item in answers
    ]
    of_memories = [
        lambda item=item: judge.memory(item.question, item.facts, item.entries) for item in MEMORIES
    ]
    scores = await _all([*of_answers, *of_memories])
    rows = [(item.kind, item.label) for item in answers]
    more = [(item.kind, item.label) for item in MEMORIES]
    return Report(
        part(rows, scores[: len(rows)], CONTROLS),
        part(more, scores[len(rows) :], MEMORY_CONTROLS),
    )


async def _all(asks: Sequence[Callable[[], Awaitable[float | None]]]) -> list[float | None]:
    """Every score in order, a few asked for at a time; the first failure ends the rest."""
    free = asyncio.Semaphore(CONCURRENT)

    async def one(ask: Callable[[], Awaitable[float | None]]) -> float | None:
        async with free:
            return await ask()

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(ask)) for ask in asks]
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]


def part(
    rows: Sequence[tuple[str, float]], scores: Sequence[float | None], controls: frozenset[str]
) -> Part:
    """The statistics of scores.

    Args:
        rows: Kind and label of each item.
        scores: The judge's, in the same order.
        controls: The kinds that are wrong by construction.
    """
    triples = [
        (kind, label, score)
        for (kind, label), score in zip(rows, scores, strict=True)
        if score is not None
    ]
    errors = [abs(score - label) for _, label, score in triples]
    wrong = [score >= ACCEPTED for kind, _, score in triples if kind in controls]
    right = [score < ACCEPTED for _, label, score in triples if label >= 1 - NEAR]
    return Part(
        n=len(rows),
        unscored=1 - len(triples) / len(rows),
        agreement=_mean([error <= NEAR + 1e-9 for error in errors]),
        error=_mean(errors),
        spearman=_spearman([label for _, label, _ in triples], [score for *_, score in triples]),
        false_accepts=_mean(wrong),
        false_rejects=_mean(right),
        kinds=tuple(
            _kind(kind, rows, scores, kind in controls)
            for kind in dict.fromkeys(kind for kind, _ in rows)
        ),
    )


def _kind(
    kind: str, rows: Sequence[tuple[str, float]], scores: Sequence[float | None], control: bool
) -> Kind:
    pairs = [(row[1], s) for row, s in zip(rows, scores, strict=True) if row[0] == kind]
    scored = [(label, score) for label, score in pairs if score is not None]
    return Kind(
        kind,
        len(pairs),
        fmean(label for label, _ in pairs),
        _mean([score for _, score in scored]),
        _mean([abs(score - label) for label, score in scored]),
        len(pairs) - len(scored),
        _mean(
            [
                score >= ACCEPTED if control else abs(score - label) > NEAR + 1e-9
                for label, score in scored
            ]
        ),
    )


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None


def _spearman(labels: Sequence[float], scores: Sequence[float]) -> float | None:
    if len(set(labels)) < 2 or len(set(scores)) < 2:
        return None
    from scipy.stats import spearmanr  # slow to import, so only where it is needed

    return float(spearmanr(labels, scores).statistic)
