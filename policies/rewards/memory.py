"""R_memory: what was stored, kept right and looked up.

Equations are those of arXiv 2601.01885, appendix A.2; there a language model judges, here gold
facts are matched and embeddings compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...harness.metering import SharedEmbedder
from ...harness.quality import texts
from ...harness.quality.matching import Matcher
from ...harness.types import Gold
from ..recipe import Maintenance
from .story import Story, Write, is_message


@dataclass(frozen=True, slots=True)
class Said:
    """What a text says of the gold facts.

    Attributes:
        now: Numbers of the facts it says as they are right in the end.
        was: Numbers of the facts it says as they were told first, before their correction.
        matching: Sentences that say one or the other.
        total: Sentences, headings left out.
    """

    now: frozenset[int]
    was: frozenset[int]
    matching: int
    total: int

    @property
    def any(self) -> frozenset[int]:
        """The facts it says in either way."""
        return self.now | self.was


class Facts:
    """The gold facts of a task, looked for in texts; each text is read once.

    Args:
        gold: Of the task.
        matcher: Finds facts in other words.
    """

    def __init__(self, gold: Gold, matcher: Matcher) -> None:
        facts = [fact for fact in gold.facts if texts.statement(fact).words]
        self.n = len(facts)
        first = dict(zip(gold.corrected, gold.stale, strict=True))
        told = [(first[fact], fact, n) for n, fact in enumerate(facts) if first.get(fact)]
        told = [one for one in told if texts.statement(one[0]).words]
        self._was = [n for _, _, n in told]
        self._wanted = [*facts, *(was for was, _, _ in told)]
        self._rivals = [*(first.get(fact, "") for fact in facts), *(now for _, now, _ in told)]
        self._matcher = matcher
        self._read: dict[str, Said] = {}

    def said(self, text: str) -> Said:
        """What a text says of them."""
        if text not in self._read:
            found = self._matcher.find([text], self._wanted, self._rivals)
            now = frozenset(n for n in range(self.n) if found.facts[n])
            of_was = zip(self._was, found.facts[self.n :], strict=True)
            was = frozenset(n for n, is_said in of_was if is_said)
            self._read[text] = Said(now, was, found.matching, found.total)
        return self._read[text]


@dataclass(frozen=True, slots=True)
class Stored:
    """How good the additions of stage 1 are; None where the task has no gold facts.

    Attributes:
        additions: Equation 23, N_high_quality / max(1, N_total), counted in additions.
        sentences: The same, counted in the sentences of the additions.
        recall: Share of the gold facts that they say.
    """

    additions: float | None = None
    sentences: float | None = None
    recall: float | None = None


def storage(story: Story, facts: Facts | None) -> Stored:
    """Equation 23 over the additions of stage 1, or all of them where there are no stages.

    An addition is of high quality if it says a gold fact that no addition before it says: to say
    it again adds nothing. Of a fact that is corrected later, what was told first counts too, since
    stage 1 knows no better. Deletions later on change nothing of what was added. In sentences,
    those of an addition of high quality that say a gold fact are of high quality, so that storing
    a whole text for one fact in it pays little. Without additions all are 0.
    """
    if facts is None:
        return Stored()
    high = matching = total = 0
    known: frozenset[int] = frozenset()
    for write in story.building:
        said = facts.said(write.after or "")
        new = bool(said.any - known)
        known |= said.any
        high, matching, total = high + new, matching + new * said.matching, total + said.total
    n = len(story.building)
    return Stored(high / max(1, n), matching / max(1, total), len(known) / facts.n)


def maintenance(story: Story, facts: Facts | None, mode: Maintenance) -> float:
    """Equation 24, gated by the effect: 1 if an Update or Delete did what `maintains` asks for."""
    writes = (w for w in story.writes if w.op in ("update", "delete"))
    return float(any(maintains(story, write, facts, mode) for write in writes))


def maintains(story: Story, write: Write, facts: Facts | None, mode: Maintenance) -> bool:
    """Whether an Update or Delete changed an entry and did no harm.

    - It changed the words that the entry says; labels, case and punctuation are no words.
    - The entry was not written in the same environment step: nothing new has been heard since,
      so that this only undoes or redoes it.
    - No gold fact is lost by it: none that the entry said, and that neither the entry nor another
      one says now. Of a fact that is corrected, what was told first is gold until the agent has
      been told the correction.
    - With mode `better`: a gold fact is said that was not before, or what was told first is said
      no more after its correction. Without gold facts this asks for nothing.
    """
    if not write.changed or write.written == write.step:
        return False
    before, after = write.before, write.after
    if before is not None and after is not None and _words(before) == _words(after):
        return False
    if facts is None:
        return True
    old, new = facts.said(before or ""), facts.said(after or "")
    rest = [facts.said(text) for text in write.rest]
    now = new.now.union(*(said.now for said in rest))
    was = new.was.union(*(said.was for said in rest))
    told = _told(story, write.at, facts) if old.was else frozenset()
    if old.now - now or (old.was - told) - was - now:
        return False
    there = old.now.union(*(said.now for said in rest))
    return mode == "changed" or bool(now - there) or bool((old.was & told) - was)


def _told(story: Story, at: int, facts: Facts) -> frozenset[int]:
    """Facts that the agent has been told as they are right, before some event."""
    heard = [e["text"] for e in story.events[:at] if is_message(e, "observation")]
    return frozenset().union(*(facts.said(text).now for text in heard))


def _words(text: str) -> str:
    return texts.statement(text).norm


async def relevance(story: Story, embedder: SharedEmbedder) -> float | None:
    """Equation 25, by embedding: how near what was retrieved for the question is to it.

    The mean, over the different contents retrieved since the goal of stage 3 was put, of their
    cosine similarity to the question, clipped to [0, 1]: a mean, so that fetching everything does
    not pay. 0 where nothing was found, or nothing looked up.

    Returns:
        None where the task has neither a gold question nor a goal.
    """
    if not story.question:
        return None
    contents = story.retrieved()
    if not contents:
        return 0.0
    _, vectors = await embedder.aread([story.question, *contents])
    return float(np.clip(vectors[1:] @ vectors[0], 0, 1).mean())
