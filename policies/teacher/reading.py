"""How the teacher reads generated texts: what a sentence tells, and what a question asks for.

It knows the language of the generated worlds (`envs.hotpotqa.kinds`), as one knows English, and
nothing of what is true in them. Each sentence gets a label where it stands, so that a small model
has one decision at a time: which property this sentence tells, which one the question seeks. To
find the value of a label that was written down is to copy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from string import Formatter

from ...envs.hotpotqa.generator import Query, as_number
from ...envs.hotpotqa.kinds import KINDS
from ...envs.hotpotqa.schema import LITERALS, Kind
from .lesson import END, ENTRY

_NAME = r"[A-Z][\w.'’-]*(?:,? (?:&|of|the|to|from|in|at|over|and|[A-Z][\w.'’-]*))*"
_NUMBERS = {"year": r"\d{4}", "count": r"\d[\d,]*"}
_AND = r"(?: and the [A-Z]\w+)?"  # the end of a band's name
HEADER = re.compile(r".*“(.+)”:")  # what is told stands below it, a sentence a line
_PRONOUNS = ("it", "its", "he", "his", "she", "her")


def labelled(sentence: str) -> tuple[tuple[str, str], ...]:
    """The properties that a sentence tells, each with its value; empty for an aside."""
    for pattern, labels in _sentences():
        if found := pattern.fullmatch(sentence):
            return tuple((label, found[label]) for label in labels)
    return ()


def told(entry: str, name: str) -> list[tuple[str, tuple[tuple[str, str], ...]]]:
    """The sentences of a note on a thing, each with what it tells."""
    sentences = END.split(entry.removeprefix(f"{name}: "))
    return [(sentence, labelled(sentence)) for sentence in sentences]


def shown_of(name: str, recalled: str) -> str | None:
    """A note on a thing, made of what a memory shows by itself; None if that tells nothing of it.

    It is a note as the teacher writes them; or its sentences stand below a heading that names the
    thing, each in a line; or each is an entry of its own, which has the name in it.
    """
    sentences, below = dict[str, None](), ""
    for line in recalled.split("\n"):
        text = line.removeprefix("- " if line.startswith("- ") else "  ")
        entry = ENTRY.fullmatch(text)
        if entry is not None and entry[2].startswith(f"{name}: "):
            return entry[2]
        if header := HEADER.fullmatch(text):
            below = header[1]
        elif not text or line.startswith("- "):
            below = ""
        told = labelled(text)
        own = told and name in text and all(value != name for _, value in told)
        if own or (below == name and text.endswith((".", "?", "!"))):
            sentences[text] = None
    return f"{name}: {' '.join(sentences)}" if sentences else None


def sought(question: str) -> Query | None:
    """What a question asks for; None where it is none of the generated language."""
    for pattern, form, label in _questions():
        found = pattern.fullmatch(question)
        if found is None:
            continue
        if form != "chain":
            return Query(form, (_bare(found["x"]), _bare(found["y"])), (label,))
        for phrase, first in _phrases():
            if inner := phrase.fullmatch(found["x"]):
                return Query(form, (_bare(inner["x"]),), (first, label))
    return None


def settled(form: str, values: tuple[str, str]) -> int:
    """Which of two values a comparison prefers, 0 or 1; of `same` 0 if they are alike."""
    if form == "same":
        return int(values[0] != values[1])
    first, second = map(as_number, values)
    return int((first > second) if form == "least" else (first < second))


def compared(form: str, things: tuple[str, str], values: tuple[str, str]) -> tuple[str, str]:
    """How a thought that compares two things ends, and the answer.

    The values stand first and the names behind them, so that a token of a value decides, and all
    after it is copied.
    """
    at = settled(form, values)
    if form == "same":
        return f"same: {values[0]}, {values[1]}.", ("yes", "no")[at]
    pairs = [f"{value} {name}" for name, value in zip(things, values, strict=True)]
    return f"{form}: {', '.join(pairs)}. So {pairs[at]}.", things[at]


# --- the language ---------------------------------------------------------------------------------


@cache
def _sentences() -> list[tuple[re.Pattern[str], tuple[str, ...]]]:
    """Patterns of sentences, each with the properties that it tells."""
    found: dict[str, tuple[str, ...]] = {}
    for kind in KINDS.values():
        for template in kind.openings:
            pattern, labels = _pattern(template, kind, "")
            if labels:
                found[pattern] = labels
        for label, prop in kind.properties.items():
            for template in prop.sentences:
                pattern, labels = _pattern(template, kind, label)
                found[pattern] = labels
    return [(re.compile(pattern), labels) for pattern, labels in found.items()]


def _pattern(template: str, kind: Kind, label: str) -> tuple[str, tuple[str, ...]]:
    """A template as a pattern; `v` is the value of `label`."""
    pattern, labels = "", []
    for text, field, _, _ in Formatter().parse(template):
        pattern += re.sub(r"\ba(?=\\ $)", "an?", re.escape(text))
        if field == "name":
            pattern += f"(?:{_NAME})"
        elif field in ("it", "its"):
            words = "|".join(sorted({*kind.it, *_PRONOUNS}))
            pattern += f"(?:(?i:{words})|{_NAME})"  # or its name, as in corrections
        elif field is not None:
            key = label if field == "v" else field
            labels.append(key)
            pattern += f"(?P<{key}>{_value(kind.properties[key].value)})"
    return pattern, tuple(labels)


def _value(kind: str) -> str:
    if kind in LITERALS:
        return "|".join(map(re.escape, LITERALS[kind]))
    return _NUMBERS.get(kind, _NAME)


@cache
def _questions() -> list[tuple[re.Pattern[str], str, str]]:
    return list(_all_questions())


def _all_questions() -> Iterator[tuple[re.Pattern[str], str, str]]:
    """Patterns of questions, each with its form and the property; comparisons first."""
    for form in ("least", "most", "same"):
        for kind in KINDS.values():
            for label, prop in kind.properties.items():
                for template in getattr(prop, form):
                    yield _asking(template), form, label
    for kind in KINDS.values():
        for label, prop in kind.properties.items():
            for template in prop.asks:
                yield _asking(template), "chain", label


@cache
def _phrases() -> list[tuple[re.Pattern[str], str]]:
    return [
        (_asking(template), label)
        for kind in KINDS.values()
        for label, prop in kind.properties.items()
        for template in prop.refs
    ]


def _asking(template: str) -> re.Pattern[str]:
    text = re.escape(template)
    for name in "xy":
        text = text.replace(re.escape(f"{{{name}}}"), f"(?P<{name}>.+?{_AND})", 1)
    return re.compile(text)


def _bare(phrase: str) -> str:
    """A name without the noun before it."""
    for kind in KINDS.values():
        if kind.noun and phrase.startswith(kind.noun):
            return phrase.removeprefix(kind.noun)
    return phrase
