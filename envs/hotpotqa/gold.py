"""What a perfect memory of a question would hold, as texts."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ...harness.types import Gold
from .metrics import Fact
from .records import Paragraph, Question, one_line


def gold_of(question: Question, stale: Iterable[tuple[str, str]] = ()) -> Gold:
    """The gold of a question.

    Args:
        question: as it is right in the end. Supporting facts that point outside of their
            paragraph, and blank sentences, are left out.
        stale: title and sentence of what was told first and is wrong.
    """
    paragraphs: dict[str, Paragraph] = {}
    for paragraph in question.context:
        paragraphs.setdefault(paragraph.title, paragraph)
    facts = (_fact(paragraphs, fact) for fact in question.facts)
    return Gold(
        question=one_line(question.text),
        answer=one_line(question.answer),
        facts=tuple(dict.fromkeys(text for text in facts if text)),
        stale=tuple(_complete(Paragraph(title, ()).name, text) for title, text in stale),
    )


def _fact(paragraphs: dict[str, Paragraph], fact: Fact) -> str:
    """A supporting fact in words; empty if it points nowhere."""
    title, at = fact
    paragraph = paragraphs.get(title)
    if paragraph is None or at >= len(paragraph.sentences):
        return ""
    return _complete(paragraph.name, paragraph.sentences[at])


def _complete(name: str, sentence: str) -> str:
    """A sentence that says by itself what it is about: `Name: sentence` unless it names it."""
    text = one_line(sentence)
    if not text or re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text):
        return text
    return f"{name}: {text}"
