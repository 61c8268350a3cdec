"""The scores of a memory after an episode, and where a failed question was lost.

Everything is computed from the record of the episode: its gold, its entries, its events. What
there is nothing to score for is None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..tokens import estimate_tokens
from ..trace import Event
from ..types import Gold, Json, Scores
from . import texts
from .evidence import context_at_the_end, question_put, retrieved, unsupported
from .judge import Judge
from .matching import Matcher
from .repeats import repeats

MEANINGS: dict[str, str] = {
    "fact_recall": "share of the gold facts that the memory says at the end; 0 if it is empty",
    "fact_precision": "share of the memory's sentences that say a gold fact",
    "fact_f1": "harmonic mean of fact_precision and fact_recall; 0 if the memory is empty",
    "fact_recall_retrieved": "share of the gold facts in what was retrieved for the question",
    "fact_recall_in_context": "share of the gold facts in the context of the last completion",
    "stale": "share of the facts corrected midway that an entry says as they were and no more",
    "updated": "share of the facts corrected midway that are stored as corrected, and not stale",
    "redundancy": "share of the entries that say nothing which one earlier entry does not",
    "unsupported": "share of the new sentences with words read nowhere, or names not read together",
    "memory_tokens": "estimated tokens of all entries",
    "j": "a judge's score of the answer against the gold answer, 0 to 1; 0 without an answer",
    "mq": "a judge's score of the 20 entries nearest to the question against the gold facts",
}
JUDGED = ("j", "mq")  # absent without a judge
MQ_ENTRIES = 20  # AgeMem, section on evaluation


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known of one finished episode."""

    gold: Gold | None
    before: Mapping[str, str]  # id -> content of the entries when the episode began
    entries: Sequence[Json]  # entries at the end: id, content, metadata
    events: Sequence[Event]
    success: bool | None
    answer: str | None  # the answer given, where the task is a question


@dataclass(frozen=True, slots=True)
class Quality:
    """How good the memory was."""

    scores: Scores  # name -> value or None (not scored)
    loss: str | None  # of a failed question: `not_stored`, `not_retrieved` or `not_used`


async def score(evidence: Evidence, matcher: Matcher, judge: Judge | None) -> Quality:
    """Score the memory of one episode.

    Args:
        evidence: What is known of it.
        matcher: Finds facts in other words.
        judge: None leaves `j` and `mq` out.

    Raises:
        ModelError: when the judge's endpoint failed for good.
    """
    if evidence.gold is None and not evidence.entries:  # nothing to match, so nothing to wait for
        quality = _measured(evidence, matcher)
    else:
        quality = await matcher.apart(lambda: _measured(evidence, matcher))
    if judge is not None:
        quality.scores.update(await _judged(evidence, matcher, judge))
    return quality


def _measured(evidence: Evidence, matcher: Matcher) -> Quality:
    """All scores that need no judge."""
    contents = _contents(evidence)
    scores: Scores = {name: None for name in MEANINGS if name not in JUDGED}
    loss = None
    if evidence.gold is not None:
        put = _was_put(evidence, evidence.gold)
        said = _score_facts(evidence, contents, matcher, scores, put=put)
        if put:
            scores |= score_changes(evidence.gold, contents, matcher)
        if put and evidence.success is False and said.facts:
            loss = _loss(said)
    if contents:
        scores["redundancy"] = sum(repeats(matcher, contents)) / len(contents)
    after = {str(entry["id"]): str(entry["content"]) for entry in evidence.entries}
    scores["unsupported"] = unsupported(evidence.before, after, evidence.events)
    scores["memory_tokens"] = float(sum(map(estimate_tokens, contents)))
    return Quality(scores, loss)


def _contents(evidence: Evidence) -> list[str]:
    return [str(entry["content"]) for entry in evidence.entries]


def _was_put(evidence: Evidence, gold: Gold) -> bool:
    """Whether the episode got to its question; it is put by a goal that holds its words.

    Where it comes last, an episode cut before it has heard neither all facts nor corrections, and
    nothing of it was ever looked up for the question or lost.
    """
    answered = evidence.answer is not None or evidence.success is True
    return answered or question_put(evidence.events, gold.question)


# --- the gold facts ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Said:
    """Of each gold fact, where it is said."""

    facts: tuple[str, ...]
    stored: tuple[bool, ...]
    in_context: tuple[bool, ...] | None


def _score_facts(
    evidence: Evidence, contents: Sequence[str], matcher: Matcher, scores: Scores, *, put: bool
) -> _Said:
    assert evidence.gold is not None
    facts = tuple(fact for fact in evidence.gold.facts if texts.statement(fact).words)
    if not facts:
        return _Said((), (), None)
    was = dict(zip(evidence.gold.corrected, evidence.gold.stale, strict=True))
    rivals = [was.get(fact, "") for fact in facts]
    stored = matcher.find(contents, facts, rivals)
    recall = _share(stored.facts)
    precision = stored.matching / stored.total if stored.total else None
    scores["fact_recall"] = recall
    scores["fact_precision"] = precision
    scores["fact_f1"] = harmonic(precision or 0.0, recall)
    got = retrieved(evidence.events)
    if got is not None and put:
        scores["fact_recall_retrieved"] = _share(matcher.find(got, facts, rivals).facts)
    context = context_at_the_end(evidence.events)
    if context is None:
        return _Said(facts, stored.facts, None)
    in_context = matcher.find(context, facts, rivals).facts
    scores["fact_recall_in_context"] = _share(in_context)
    return _Said(facts, stored.facts, in_context)


def _loss(said: _Said) -> str | None:
    """Where a failed question was lost; None if there was no completion to lose it at."""
    if said.in_context is None:
        return None
    pairs = list(zip(said.stored, said.in_context, strict=True))
    if all(shown for _, shown in pairs):
        return "not_used"
    if any(not stored for stored, shown in pairs if not shown):
        return "not_stored"
    return "not_retrieved"


def harmonic(precision: float, recall: float) -> float:
    """F1; 0 where both are 0."""
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def _share(found: Sequence[bool]) -> float:
    return sum(found) / len(found)


# --- facts that were corrected ------------------------------------------------------------------


def score_changes(gold: Gold, contents: Sequence[str], matcher: Matcher) -> Scores:
    """`stale` and `updated`, of a memory's entries; nothing where nothing was corrected.

    An entry that says the old fact and its correction too tells the story of the change and is
    not stale; two entries, one old, one new, are.
    """
    pairs = [
        (old, now)
        for old, now in zip(gold.stale, gold.corrected, strict=True)
        if texts.statement(old).words and texts.statement(now).words
    ]
    if not pairs:
        return {}
    stale, updated = [], []
    for old, now in pairs:
        new = [matcher.says(entry, now, old) for entry in contents]
        stale.append(
            any(
                not right and matcher.says(entry, old, now)
                for entry, right in zip(contents, new, strict=True)
            )
        )
        updated.append(any(new) and not stale[-1])
    return {"stale": _share(stale), "updated": _share(updated)}


# --- the judge ----------------------------------------------------------------------------------


async def _judged(evidence: Evidence, matcher: Matcher, judge: Judge) -> Scores:
    """`j` and `mq`; an episode that ended without an answer answered nothing: j is 0."""
    scores: Scores = dict.fromkeys(JUDGED)
    gold = evidence.gold
    if gold is None or evidence.success is None or not gold.question.strip():
        return scores
    if evidence.answer is None:
        scores["j"] = 0.0
    else:
        scores["j"] = await judge.answer(gold.question, gold.answer, evidence.answer)
    if gold.facts:
        contents, asked = _contents(evidence), gold.question
        nearest = await matcher.apart(lambda: matcher.nearest(asked, contents, MQ_ENTRIES))
        shown = [contents[place] for place in nearest]
        scores["mq"] = await judge.memory(gold.question, gold.facts, shown)
    return scores
