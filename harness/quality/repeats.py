"""Entries that say nothing new, found without comparing every entry with every other.

An entry is compared with the earlier ones that share most with it, rare words counting more. How
many those are is `COMPARED` shared among all entries, and at least `MIN_COMPARED`: up to some 150
entries each is compared with all that may say the same; beyond, a repetition in quite other words
can be missed, so that the time grows with the entries and not with their square. The same words in
the same order are always found.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from . import texts
from .lexical import may_say, verbatim
from .matching import Matcher
from .texts import Fact, Statement, Unit

COMPARED = 25_000  # pairs of entries, in all
MIN_COMPARED = 6  # earlier entries for each, however many entries there are
_LOOKED_UP = 12  # times as many are looked up by their words; the most alike are compared


def repeats(matcher: Matcher, entries: Sequence[str]) -> list[bool]:
    """For each entry, whether one earlier entry says every sentence of it already."""
    index = _Index(max(MIN_COMPARED, COMPARED // max(1, len(entries))))
    found = []
    for entry in entries:
        found.append(_is_repeated(matcher, entry, index))
        index.add(entry)
    return found


def _is_repeated(matcher: Matcher, entry: str, index: _Index) -> bool:
    if index.holds(entry):
        return True
    claims = [Fact(unit.said, unit.said) for unit in texts.units(entry)]
    if not claims:
        return False
    for units in index.candidates([claim.body for claim in claims]):
        # Most candidates differ lexically, so that nothing is embedded for them.
        if all(
            any(may_say(unit, claim) for unit in units) or any(verbatim(units, claim))
            for claim in claims
        ) and all(matcher.find_in(units, claims)[0]):
            return True
    return False


class _Index:
    """Which entries hold which words.

    Args:
        most: entries that `candidates` gives at most.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._places: dict[str, list[int]] = {}  # by stem, in order
        self._units: list[tuple[Unit, ...]] = []
        self._words: list[frozenset[str]] = []  # of each entry
        self._norms: set[str] = set()

    def holds(self, entry: str) -> bool:
        """Whether the same words were added before, in the same order."""
        return _norm(entry) in self._norms

    def add(self, entry: str) -> None:
        units = texts.units(entry)
        words = frozenset().union(*(unit.said.words for unit in units))
        for word in sorted(words):
            self._places.setdefault(word, []).append(len(self._units))
        self._norms.add(_norm(entry))
        self._units.append(units)
        self._words.append(words)

    def candidates(self, claims: Sequence[Statement]) -> list[tuple[Unit, ...]]:
        """Entries that may say all of the claims, the most alike first.

        An entry that says a claim has each of its numbers and some word of each of its names, of
        which one in four may be left out; and some word of those that carry meaning.
        """
        wanted = frozenset().union(*(claim.words for claim in claims))
        lists = sorted(
            (len(places), word, places)
            for word in wanted
            if (places := self._places.get(word)) is not None
        )
        alike: dict[int, float] = {}
        look_up = _LOOKED_UP * self._most
        for size, _, places in lists:
            for place in islice(places, look_up):
                alike[place] = alike.get(place, 0.0) + 1 / size
            if len(alike) >= look_up:
                break
        best = sorted(alike, key=lambda place: (-alike[place], place))
        able = (place for place in best if _may_say_all(self._words[place], claims))
        return [self._units[place] for place in islice(able, self._most)]


def _may_say_all(words: frozenset[str], claims: Sequence[Statement]) -> bool:
    for claim in claims:
        if not (claim.numbers <= words and claim.numbered.keys() <= words):
            return False
        if claim.content and words.isdisjoint(claim.content):
            return False
        if len(claim.names) < 4:
            for name in claim.names:
                if words.isdisjoint(name) and not name <= claim.unsure:
                    return False
    return True


def _norm(entry: str) -> str:
    return "".join(unit.said.norm for unit in texts.units(entry)) or entry.strip()
