"""A question of HotpotQA with its paragraphs, read from either form its records have."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..common import readable
from .metrics import Fact
from .text import fold

MAX_ANSWER = 1000  # characters; the longest real one has fewer than 300
MAX_PARAGRAPH = 15_000  # characters as they are shown; the longest real one has about 6,000
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class RecordError(ValueError):
    """What is wrong with a record; whoever knows the file and the number adds them."""


@dataclass(frozen=True, slots=True)
class Paragraph:
    """The text under one title."""

    title: str  # as in the data, where some hold HTML entities: `X&amp;Y`
    sentences: tuple[str, ...]

    @property
    def name(self) -> str:
        """The title as it is shown."""
        return one_line(html.unescape(self.title))

    @property
    def lines(self) -> list[str]:
        """The sentences as they are shown, each in a line that is not empty."""
        return [one_line(sentence) or "(blank)" for sentence in self.sentences]


@dataclass(frozen=True, slots=True)
class Question:
    """One question.

    Attributes:
        id: the record's.
        text: the question.
        answer: the right one.
        type: `bridge` or `comparison`; empty where the record doesn't say.
        level: `easy`, `medium` or `hard`; empty where the record doesn't say.
        facts: the supporting facts. A few in the real data point outside of their paragraph; they
            are kept, and can be matched by no honest citation, as in the official script.
        context: the paragraphs, supporting ones and others.
    """

    id: str
    text: str
    answer: str
    type: str
    level: str
    facts: tuple[Fact, ...]
    context: tuple[Paragraph, ...]

    def canonical(self) -> bytes:
        """The content as bytes, the same whatever form it was read from."""
        context = [[paragraph.title, paragraph.sentences] for paragraph in self.context]
        content = [self.id, self.text, self.answer, self.type, self.level, self.facts, context]
        return json.dumps(content, separators=(",", ":")).encode() + b"\n"

    def texts(self) -> Iterator[str]:
        """Every text of the question."""
        yield from (self.id, self.text, self.answer, self.type, self.level)
        yield from (title for title, _ in self.facts)
        for paragraph in self.context:
            yield paragraph.title
            yield from paragraph.sentences

    def record(self) -> dict[str, Any]:
        """The question in the official form."""
        return {
            "_id": self.id,
            "question": self.text,
            "answer": self.answer,
            "type": self.type,
            "level": self.level,
            "supporting_facts": [list(fact) for fact in self.facts],
            "context": [[p.title, list(p.sentences)] for p in self.context],
        }


class Titles:
    """Finds paragraphs by title: as written, else whatever the case, else the punctuation."""

    def __init__(self, paragraphs: Sequence[Paragraph]) -> None:
        spellings: tuple[Callable[[Paragraph], str], ...] = (
            lambda paragraph: paragraph.title,
            lambda paragraph: paragraph.name,
            lambda paragraph: paragraph.name.casefold(),
            lambda paragraph: fold(paragraph.title),
        )
        self._numbers: dict[str, int] = {}
        for spelling in spellings:
            for number, paragraph in enumerate(paragraphs):
                self._numbers.setdefault(spelling(paragraph), number)

    def find(self, *titles: str) -> int | None:
        """The number of the paragraph that fits one of the titles best; None if none does."""
        spellings = (
            [*titles],
            [one_line(title) for title in titles],
            [one_line(title).casefold() for title in titles],
            [fold(title) for title in titles],
        )
        every = (spelling for alike in spellings for spelling in alike)
        return next((self._numbers[s] for s in every if s in self._numbers), None)


def one_line(text: str) -> str:
    """A text as it is shown: blanks, line breaks and control codes folded."""
    return " ".join(_CONTROL.sub(" ", text).split())


def read_record(record: object) -> Question:
    """A question from a record: the official form, or the columns of the Hugging Face data.

    Raises:
        RecordError: the record lacks something or holds something else than it should.
    """
    if not isinstance(record, dict):
        raise RecordError(f"an object is expected, not {_kind(record)}")
    question = Question(
        id=_text(record, "_id" if "_id" in record else "id"),
        text=_text(record, "question"),
        answer=_text(record, "answer"),
        type=_text(record, "type", optional=True),
        level=_text(record, "level", optional=True),
        facts=tuple(
            (_string(title, "a title in 'supporting_facts'"), _index(index))
            for title, index in _pairs(record, "supporting_facts", "sent_id")
        ),
        context=tuple(
            Paragraph(_string(title, "a title in 'context'"), _sentences(title, sentences))
            for title, sentences in _pairs(record, "context", "sentences")
        ),
    )
    if not question.context:
        raise RecordError("'context' holds no paragraph")
    try:
        "".join(question.texts()).encode()
    except UnicodeEncodeError as error:
        raise RecordError("a text holds half a surrogate pair") from error
    if readable(question.answer, MAX_ANSWER) is None:
        raise RecordError(
            f"'answer' cannot be given: it has control codes, or more than {MAX_ANSWER} characters"
        )
    for number, paragraph in enumerate(question.context, 1):
        if len(paragraph.name) + sum(len(line) + 8 for line in paragraph.lines) > MAX_PARAGRAPH:
            raise RecordError(f"paragraph {number} has more than {MAX_PARAGRAPH} characters")
    return question


def _text(record: dict[str, Any], key: str, *, optional: bool = False) -> str:
    value = record.get(key)
    if value is None and optional:
        return ""
    if not isinstance(value, str):
        what = _kind(value) if key in record else "nothing"
        raise RecordError(f"{key!r} should be a text, there is {what}")
    if not optional and not value.strip():
        raise RecordError(f"{key!r} is empty")
    return value


def _pairs(record: dict[str, Any], key: str, column: str) -> list[tuple[object, object]]:
    """The pairs of a list of pairs, or of two columns, `title` and the named one."""
    value = record.get(key)
    if isinstance(value, dict):
        titles, others = value.get("title"), value.get(column)
        if not isinstance(titles, list) or not isinstance(others, list):
            raise RecordError(f"{key!r} should have the columns 'title' and {column!r}")
        if len(titles) != len(others):
            raise RecordError(f"the columns of {key!r} differ in length")
        return list(zip(titles, others, strict=True))
    if not isinstance(value, list):
        what = _kind(value) if key in record else "nothing"
        raise RecordError(f"{key!r} should be a list of pairs, there is {what}")
    for item in value:
        if not isinstance(item, list) or len(item) != 2:
            raise RecordError(f"{key!r} should hold pairs [title, …]")
    return [(item[0], item[1]) for item in value]


def _sentences(title: object, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise RecordError(f"the sentences of {title!r} should be a list of texts")
    return tuple(value)


def _string(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise RecordError(f"{what} should be a text, there is {_kind(value)}")
    return value


def _index(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise RecordError("a sentence number in 'supporting_facts' should be a whole number")
    if value < 0:
        raise RecordError(f"a sentence number in 'supporting_facts' is {value}; they count from 0")
    return value


def _kind(value: object) -> str:
    names = {type(None): "null", bool: "a truth value", str: "a text", list: "a list"}
    return names.get(type(value), "an object" if isinstance(value, dict) else "a number")
