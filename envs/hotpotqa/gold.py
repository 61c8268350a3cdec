"""What a perfect memory of a question would hold, as texts."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ...harness.types import Gold
from .changes import Change
from .metrics import Fact
from .records import Paragraph, Question, one_line


def gold_of(question: Question, changes: Sequence[Change] = ()) -> Gold:
    """The gold of a question.

    Args:
        question: as it is right in the end. Supporting facts that point outside of their
            paragraph, and blank sentences, are left out.
        changes: what was told first and is wrong, and what was told in its place. Of such a
            sentence the fact is what its correction says: as the page should have read, it was
            never told.
    """
    told = {change.fact: change.told for change in changes}
    paragraphs: dict[str, Paragraph] = {}
    for paragraph in question.context:
        paragraphs.setdefault(paragraph.title, paragraph)
    facts = (_fact(paragraphs, fact, told.get(fact)) for fact in question.facts)
    return Gold(
        question=one_line(question.text),
        answer=one_line(question.answer),
        facts=tuple(dict.fromkeys(text for text in facts if text)),
        stale=tuple(_complete(_name(change.fact), change.old) for change in changes),
        corrected=tuple(_complete(_name(change.fact), change.told) for change in changes),
    )


def _fact(paragraphs: dict[str, Paragraph], fact: Fact, told: str | None) -> str:
    """A supporting fact in words, those of its correction if told; empty if it points nowhere."""
    title, at = fact
    paragraph = paragraphs.get(title)
    if paragraph is None or at >= len(paragraph.sentences):
        return ""
    return _complete(paragraph.name, paragraph.sentences[at] if told is None else told)


def _name(fact: Fact) -> str:
    return Paragraph(fact[0], ()).name


def _complete(name: str, sentence: str) -> str:
    """A sentence that says by itself what it is about: `Name: sentence` unless it names it."""
    text = one_line(sentence)
    if not text or re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text):
        return text
    return f"{name}: {text}"
