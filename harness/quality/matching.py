"""Whether a text says a fact, though in other words.

A sentence of an entry says a fact if

1. it has the fact's numbers and names, its subject among them, and contradicts none of them: what
   the sentence leaves out, the paragraph around it may supply (`it`), but never where the sentence
   has another number or name in that place; of four names or more a fourth may be left out; and
2. it denies what the fact denies, uses no opposite (`closed` for `open`), asks and doubts nothing,
   and has two names the same way round (`assertion`); and
3. its similarity with the fact is at or above a threshold: the mean of two cosines, of the whole
   sentences, and of what they say beside names and numbers, so that `Vell liked the Heron` does
   not pass for `Vell built the Heron`; where all but one place is the same, what stands there must
   be as similar, so that a town known for its ink is not one known for its clocks.

Or the entry holds the fact word for word. The first two are lexical (`lexical`); they alone tell
`born in 1901` from `born in 1923`, which lie close together for any embedder. The threshold tells
the rest, and is chosen for each embedder on the labelled pairs of `pairs`.
"""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..metering import Embedder, shared
from ..types import Json
from . import texts
from .lexical import may_say, verbatim
from .pairs import CALIBRATION, HELD_OUT, Pair
from .texts import Fact, Unit

VERSION = 2  # changes whenever a match could
CACHE_BYTES = 64 * 2**20  # of vectors that a matcher keeps
ROUNDING = 1e-6  # of a similarity in float32
Vector = NDArray[np.float32]
T = TypeVar("T")
_THRESHOLDS: dict[str, float] = {}  # by identity of the embedder, for the life of the process


@dataclass(frozen=True, slots=True)
class Found:
    """What of some entries says something that is looked for.

    Attributes:
        facts: for each fact, whether an entry says it.
        matching: sentences that say one of the facts.
        total: sentences, headings that say none of the facts left out.
    """

    facts: tuple[bool, ...]
    matching: int
    total: int


class Matcher:
    """Finds facts in texts; vectors of sentences are kept, the least used go first.

    Args:
        embedder: Not metered: scoring costs the memory nothing.
        threshold: Similarity from which a sentence may say a fact; None: calibrated.
    """

    def __init__(self, embedder: Embedder, threshold: float | None = None) -> None:
        self._embedder = shared(embedder)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="matcher")
        self._threshold = threshold
        self._room = max(64, CACHE_BYTES // (4 * embedder.dim))
        self._vectors: OrderedDict[str, Vector] = OrderedDict()

    async def apart(self, work: Callable[[], T]) -> T:
        """Do some matching in this matcher's own thread: of a long memory it takes seconds."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    @property
    def threshold(self) -> float:
        """The similarity in use."""
        if self._threshold is None:
            identity = json.dumps(self._embedder.identity, sort_keys=True)
            if identity not in _THRESHOLDS:
                _THRESHOLDS[identity] = calibrated(self, CALIBRATION)
            self._threshold = _THRESHOLDS[identity]
        return self._threshold

    @property
    def identity(self) -> Json:
        """What changes its findings."""
        of = self._embedder.identity
        return {"version": VERSION, "threshold": self.threshold, "embedder": of}

    def says(self, entry: str, fact: str, rival: str = "") -> bool:
        """Whether a text says a fact; `rival` is what it may say in its place."""
        return self.find([entry], [fact], [rival]).facts[0]

    def find(
        self, entries: Sequence[str], facts: Sequence[str], rivals: Sequence[str] | None = None
    ) -> Found:
        """Which facts the entries say, and how much of the entries says them.

        Args:
            entries: texts of any length.
            facts: none of them blank.
            rivals: for each fact what was told in its place; empty where nothing was.
        """
        read = [texts.fact(*pair) for pair in zip(facts, rivals or [""] * len(facts), strict=True)]
        said = [False] * len(read)
        matching = total = 0
        for entry in entries:
            hits, of_units = self.find_in(texts.units(entry), read)
            said = [a or b for a, b in zip(said, hits, strict=True)]
            for unit, hit in zip(texts.units(entry), of_units, strict=True):
                matching += hit
                total += hit or not unit.heading
        return Found(tuple(said), matching, total)

    def score(self, entry: str, fact: str) -> float:
        """The best similarity among sentences that pass the lexical test; 1 if word for word.

        -1 where no sentence passes.
        """
        read = texts.fact(fact)
        found = texts.units(entry)
        if any(verbatim(found, read)):
            return 1.0
        return max((self._similarity(u, read) for u in found if may_say(u, read)), default=-1.0)

    def nearest(self, query: str, entries: Sequence[str], n: int) -> list[int]:
        """Places of the entries most similar to a query, best first."""
        if not entries:
            return []
        self._embed([query, *entries])
        similarity = [float(self._vector(entry) @ self._vector(query)) for entry in entries]
        return sorted(range(len(entries)), key=lambda place: (-similarity[place], place))[:n]

    # --- one entry --------------------------------------------------------------------------

    def find_in(
        self, found: Sequence[Unit], facts: Sequence[Fact]
    ) -> tuple[list[bool], list[bool]]:
        """Which facts the sentences of an entry say, and which sentences say one."""
        said, of_units = [False] * len(facts), [False] * len(found)
        pairs = []
        for place, fact in enumerate(facts):
            for at, word_for_word in enumerate(verbatim(found, fact)):
                if word_for_word:
                    said[place] = of_units[at] = True
                elif may_say(found[at], fact):
                    pairs.append((place, at))
        wanted = [text for place, at in pairs for text in _read_of(found[at], facts[place])]
        self._embed(wanted)
        for place, at in pairs:
            if self._similarity(found[at], facts[place]) >= self.threshold - ROUNDING:
                said[place] = of_units[at] = True
        return said, of_units

    # --- vectors ----------------------------------------------------------------------------

    def _similarity(self, unit: Unit, fact: Fact) -> float:
        """The mean of the cosines of sentences and of predicates."""
        sentence, predicate, *claims, claimed = _read_of(unit, fact)
        # The fact with or without its subject, whichever is nearer.
        whole = max(self._cosine(sentence, claim) for claim in claims)
        if not predicate or not claimed:
            return whole
        mean = (whole + self._cosine(predicate, claimed)) / 2
        differing = texts.substitution(unit.said, fact.body, _things(unit, fact))
        return mean if differing is None else min(mean, self._cosine(*differing))

    def _cosine(self, one: str, other: str) -> float:
        return float(self._vector(one) @ self._vector(other))

    def _vector(self, text: str) -> Vector:
        if text not in self._vectors:
            self._embed([text])
        self._vectors.move_to_end(text)
        return self._vectors[text]

    def _embed(self, wanted: Iterable[str]) -> None:
        missing = [text for text in dict.fromkeys(wanted) if text not in self._vectors]
        for text, vector in zip(missing, self._embedder.embed(missing), strict=True):
            self._vectors[text] = np.array(vector, dtype=np.float32)
        while len(self._vectors) > self._room:
            self._vectors.popitem(last=False)


def _read_of(unit: Unit, fact: Fact) -> tuple[str, str, str, str, str]:
    """What a pair needs vectors of: sentence and its predicate, fact, its sentence, predicate."""
    said, claim, things = unit.said, fact.body, _things(unit, fact)
    predicates = texts.predicate(said, things), texts.predicate(claim, things)
    return said.text, predicates[0], fact.whole.text, claim.text, predicates[1]


def _things(unit: Unit, fact: Fact) -> frozenset[str]:
    """Stems of what a sentence and a fact are about: names, and nouns that carry a number."""
    return frozenset(fact.body.numbered).union(fact.subject, *fact.whole.names, *unit.said.names)


# --- calibration ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rates:
    """How a matcher does on labelled pairs."""

    threshold: float
    precision: float | None  # None where it takes no pair to match
    recall: float
    f_half: float  # F-measure that weighs precision twice as much as recall
    wrong: tuple[Pair, ...]  # the pairs that it labels otherwise


def rates(scores: Sequence[float], pairs: Sequence[Pair], threshold: float) -> Rates:
    """The rates at a threshold, of the scores that `Matcher.score` gives the pairs."""
    taken = [score >= threshold - ROUNDING for score in scores]
    right = sum(took and pair.same for took, pair in zip(taken, pairs, strict=True))
    wanted = sum(pair.same for pair in pairs)
    wrong = tuple(p for took, p in zip(taken, pairs, strict=True) if took != p.same)
    return Rates(
        threshold,
        right / sum(taken) if any(taken) else None,
        right / wanted,
        1.25 * right / (sum(taken) + 0.25 * wanted),
        wrong,
    )


def calibrated(matcher: Matcher, pairs: Sequence[Pair]) -> float:
    """The threshold with the best F(0.5) on labelled pairs; the middle of the widest run of such.

    Precision weighs more, since a fact is looked for in every sentence of a memory: what a pair
    gets wrong now and then, a long memory gets wrong often. The middle, since the ends of a run
    are set by single pairs.
    """
    scores = [matcher.score(pair.entry, pair.fact) for pair in pairs]
    grid = [round(0.01 * step, 2) for step in range(1, 100)]
    measure = [rates(scores, pairs, theta).f_half for theta in grid]
    runs: list[list[float]] = [[]]
    for theta, value in zip(grid, measure, strict=True):
        if value == max(measure):
            runs[-1].append(theta)
        elif runs[-1]:
            runs.append([])
    widest = max(runs, key=len)
    return widest[len(widest) // 2]


def main(name: str) -> None:
    """Print how a matcher with an embedder does: `python -m agemem_eval.harness.quality.matching`.

    The first row is of the pairs that chose the threshold, the second of those that did not.
    """
    from ..plan import make_embedder  # builds plug-ins, which the matcher itself never does

    matcher = Matcher(make_embedder(name))
    print(f"{name}: threshold {matcher.threshold}")
    for title, pairs in (("calibration", CALIBRATION), ("held out", HELD_OUT)):
        scores = [matcher.score(pair.entry, pair.fact) for pair in pairs]
        found = rates(scores, pairs, matcher.threshold)
        precision = "–" if found.precision is None else f"{found.precision:.3f}"
        print(f"{title}: {len(pairs)} pairs, precision {precision}, recall {found.recall:.3f}")
        for pair in found.wrong:
            print(
                f"  {'missed' if pair.same else 'taken '} {pair.kind}: {pair.fact} | {pair.entry}"
            )


if __name__ == "__main__":
    import sys

    main(sys.argv[1] if len(sys.argv) > 1 else "hashing")
