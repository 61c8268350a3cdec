"""The paragraphs of one question: found by title or words, and read."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import cached_property

from .records import Paragraph, Titles
from .text import content_stems, stem, words

# Okapi BM25 with its usual constants; a word of the title counts as often as so many of the text.
_K1, _B, _TITLE_WEIGHT = 1.2, 0.75, 3
_SIMILAR = 3  # further titles that an inexact search names


class Library:
    """Finds paragraphs and sentences; remembers nothing about who reads."""

    def __init__(self, paragraphs: Sequence[Paragraph]) -> None:
        self.paragraphs = tuple(paragraphs)
        self.titled = Titles(self.paragraphs).find
        self._names = [paragraph.name for paragraph in self.paragraphs]

    def search(self, query: str) -> list[int]:
        """The numbers of the paragraphs that share words with the query, the best first."""
        scores = self.scores(query)
        ranking = sorted(range(len(scores)), key=lambda number: (-scores[number], number))
        return [number for number in ranking if scores[number] > 0]

    def scores(self, query: str) -> list[float]:
        """How well each paragraph fits the query: BM25 over stems."""
        weights = self._weights
        telling = content_stems(query) & weights.keys()
        wanted = telling or {stem(word) for word in words(query)} & weights.keys()
        terms = sorted(wanted)  # so that sums are the same in every process
        return [
            sum(
                weights[term] * count * (_K1 + 1) / (count + norm)
                for term in terms
                if (count := counts[term])
            )
            for counts, norm in zip(self._counts, self._norms, strict=True)
        ]

    def lookup(self, number: int, query: str) -> list[int]:
        """The numbers of the paragraph's sentences that hold every word of the query."""
        wanted = set(words(query))
        sentences = self.paragraphs[number].sentences
        return [at for at, text in enumerate(sentences) if wanted and wanted <= {*words(text)}]

    def show(self, number: int) -> str:
        """A paragraph as it is read: its title, then its sentences with their numbers from 0."""
        lines = [f"[{at}] {line}" for at, line in enumerate(self.paragraphs[number].lines)]
        return "\n".join([self._names[number], *(lines or ["(This paragraph is empty.)"])])

    def similar(self, ranking: Sequence[int]) -> list[str]:
        """Titles to name beside the best of a ranking."""
        return [self._names[number] for number in ranking[1 : 1 + _SIMILAR]]

    @cached_property
    def _counts(self) -> list[Counter[str]]:
        counts = []
        for paragraph in self.paragraphs:
            of_text = Counter(stem(word) for text in paragraph.sentences for word in words(text))
            for word in words(paragraph.title):
                of_text[stem(word)] += _TITLE_WEIGHT
            counts.append(of_text)
        return counts

    @cached_property
    def _norms(self) -> list[float]:
        lengths = [counts.total() for counts in self._counts]
        mean = sum(lengths) / max(1, len(lengths)) or 1.0
        return [_K1 * (1 - _B + _B * length / mean) for length in lengths]

    @cached_property
    def _weights(self) -> dict[str, float]:
        """How telling each word is."""
        n = len(self.paragraphs)
        holders = Counter(word for counts in self._counts for word in counts)
        return {w: math.log(1 + (n - h + 0.5) / (h + 0.5)) for w, h in holders.items()}
