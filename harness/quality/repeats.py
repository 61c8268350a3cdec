"""Entries that say nothing new, found without comparing every entry with every other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from . import texts
from .matching import Matcher, may_say, verbatim
from .texts import Fact, Statement


def repeats(matcher: Matcher, entries: Sequence[str]) -> list[bool]:
    """For each entry, whether one earlier entry says every sentence of it already."""
    index = _Index()
    found = []
    for entry in entries:
        found.append(_is_repeated(matcher, entry, entries, index))
        index.add(entry)
    return found


def _is_repeated(matcher: Matcher, entry: str, entries: Sequence[str], index: _Index) -> bool:
    if index.holds(entry):
        return True
    claims = [Fact(unit.said, unit.said) for unit in texts.units(entry)]
    if not claims:
        return False
    for place in index.candidates([claim.body for claim in claims]):
        units = texts.units(entries[place])
        # Most candidates differ lexically, so that nothing is embedded for them.
        if all(
            any(may_say(unit, claim) for unit in units) or any(verbatim(units, claim))
            for claim in claims
        ) and all(matcher.find_in(units, claims)[0]):
            return True
    return False


class _Index:
    """Which entries hold which words."""

    def __init__(self) -> None:
        self._places: dict[str, set[int]] = {}  # by stem
        self._norms: set[str] = set()
        self._size = 0

    def holds(self, entry: str) -> bool:
        """Whether the same words were added before, in the same order."""
        return _norm(entry) in self._norms

    def add(self, entry: str) -> None:
        self._norms.add(_norm(entry))
        for word in frozenset().union(*(unit.said.words for unit in texts.units(entry))):
            self._places.setdefault(word, set()).add(self._size)
        self._size += 1

    def candidates(self, claims: Iterable[Statement]) -> list[int]:
        """Entries that may say all of the claims, in order.

        An entry that says a claim has each of its numbers and some word of each of its names, of
        which one in four may be left out; and some word of those that carry meaning.
        """
        needed: list[set[int]] = []
        for claim in claims:
            needed += [self._with(word) for word in claim.numbers]
            needed += [self._with(noun) for noun in claim.numbered]
            sure = [name for name in claim.names if not name <= claim.unsure]
            if len(claim.names) < 4:
                needed += [self._with(*name) for name in sure]
            if claim.content:
                needed.append(self._with(*claim.content))
        if not needed:
            return list(range(self._size))
        needed.sort(key=len)
        return sorted(needed[0].intersection(*needed[1:]))

    def _with(self, *words: str) -> set[int]:
        if len(words) == 1:
            return self._places.get(words[0], set())
        return set().union(*(self._places.get(word, set()) for word in words))


def _norm(entry: str) -> str:
    return "".join(unit.said.norm for unit in texts.units(entry)) or entry.strip()
