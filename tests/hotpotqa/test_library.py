"""Finding paragraphs and sentences; the ranking against the formula written out."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import pytest

from agemem_eval.envs.hotpotqa.library import Library
from agemem_eval.envs.hotpotqa.records import Paragraph, read_record
from agemem_eval.envs.hotpotqa.text import content_stems, stem, words

LIBRARY = Library(
    [
        Paragraph("Silver Heron", ("The Silver Heron was a brig.", " It was built in Tallow.")),
        Paragraph("Silver Heron Inn", ("An inn in Tallow.", "It has\n two  rooms.")),
        Paragraph("Odo Brask", ("Odo Brask was a captain.", "He commanded the Silver Heron.")),
        Paragraph("Empty", ()),
    ]
)


def test_a_title_opens_its_paragraph_and_words_open_the_nearest() -> None:
    assert LIBRARY.titled("silver heron") == 0
    assert LIBRARY.titled("Silver Heron Inn") == 1
    assert LIBRARY.titled("heron") is None
    assert LIBRARY.search("inn rooms")[0] == 1
    assert LIBRARY.search("captain who commanded")[0] == 2
    assert LIBRARY.search("zebra") == LIBRARY.search("") == []
    assert LIBRARY.similar(LIBRARY.search("heron")) == ["Silver Heron Inn", "Odo Brask"]
    assert LIBRARY.search("the")  # where nothing else is asked for, small words count


def test_a_paragraph_is_shown_a_numbered_sentence_a_line() -> None:
    assert LIBRARY.show(1) == "Silver Heron Inn\n[0] An inn in Tallow.\n[1] It has two rooms."
    assert LIBRARY.show(3) == "Empty\n(This paragraph is empty.)"


def test_a_sentence_is_found_by_all_of_its_words() -> None:
    assert LIBRARY.lookup(0, "TALLOW built") == [1]
    assert LIBRARY.lookup(0, "heron") == [0]
    assert LIBRARY.lookup(0, "her") == LIBRARY.lookup(0, "") == LIBRARY.lookup(3, "x") == []


@pytest.fixture(scope="module")
def questions(data_dir: Path):
    path = data_dir / "hotpotqa" / "hotpot_sample.json"
    return [read_record(r) for r in json.loads(path.read_text(encoding="utf-8"))]


def _plain(term: str) -> bool:
    return len(term) > 4 and content_stems(term) == {term}


def bm25(documents: list[list[str]], query: set[str]) -> list[float]:
    """Okapi BM25 (k1 1.2, b 0.75), as in Robertson and Zaragoza (2009), naively."""
    mean = sum(map(len, documents)) / len(documents)
    scores = []
    for document in documents:
        total = 0.0
        for term in query:
            n = sum(term in d for d in documents)
            idf = math.log((len(documents) - n + 0.5) / (n + 0.5) + 1)
            tf = document.count(term)
            total += idf * tf * 2.2 / (tf + 1.2 * (0.25 + 0.75 * len(document) / mean))
        scores.append(total)
    return scores


def test_the_ranking_is_bm25_with_the_title_counted_three_times(questions) -> None:
    rng = random.Random(0)
    for question in questions[:60]:
        library = Library(question.context)
        documents = [
            [stem(w) for w in words(" ".join([p.title] * 3 + list(p.sentences)))]
            for p in question.context
        ]
        terms = rng.sample(sorted({t for d in documents for t in d if _plain(t)}), 4)
        query = " ".join(terms)
        scores = library.scores(query)
        assert scores == pytest.approx(bm25(documents, set(terms)))
        ranked = [scores[number] for number in library.search(query)]
        assert ranked == sorted(filter(None, scores), reverse=True)


def test_every_real_title_opens_its_own_paragraph(questions) -> None:
    for question in questions:
        library = Library(question.context)
        for number, paragraph in enumerate(question.context):
            assert library.titled(paragraph.title) == library.titled(paragraph.name) == number
