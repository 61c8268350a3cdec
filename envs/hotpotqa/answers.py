"""Reading what an agent writes: searches, look-ups, and answers with the facts they rest on.

No title of Wikipedia holds `#`, `|` or a square bracket, so a list of facts can be read without
doubt. An answer may hold brackets: only a closing one that nothing opened ends it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from .metrics import Fact
from .records import Paragraph, Titles

NO_SENTENCE = -1  # the number in a citation that names none; no real fact has it
_COMMAND = re.compile(r"(search|lookup|look up|finish)\s*(?:[\[:]\s*(.*)|\((.*)\))", re.I | re.S)
_FACTS = re.compile(r"(?:\][\s,;.]*facts?\s*[:\[(]|(?<!\w)facts?\s*\[)", re.I)
_CITATION = re.compile(
    r"(.*?)\s*(?:#|,)\s*(\d{1,6}(?:\s*(?:,|and|&)\s*\d{1,6}){0,30})\s*[\])]*", re.S
)
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer and the facts cited for it; None where nothing was said of facts."""

    text: str
    facts: tuple[Fact, ...] | None = None


def read_command(action: str) -> tuple[str, str] | None:
    """The verb (`search`, `lookup` or `finish`) and what it is said of; None for no command."""
    found = _COMMAND.fullmatch(action.strip())
    if found is None:
        return None
    body = found[2] if found[2] is not None else found[3]
    verb = found[1].lower().replace(" ", "")
    return verb, body if verb == "finish" else _close(body)


def read_answer(body: str, context: Iterable[Paragraph]) -> Answer:
    """An answer from the inside of `finish[…]` on, or from a bare text."""
    parts = _FACTS.split(body, maxsplit=1)
    text = _close(parts[0])
    return Answer(text, read_facts(_close(parts[1]), context) if len(parts) > 1 else None)


def read_facts(text: str, context: Iterable[Paragraph]) -> tuple[Fact, ...]:
    """The facts of a list `Title # 0 | Title # 2`, with titles as they are in the data.

    A title that is not in the context and a citation without a number are kept: they count as
    wrong citations.
    """
    paragraphs = [*context]
    titles = Titles(paragraphs)
    facts: list[Fact] = []
    for item in filter(None, (part.strip() for part in text.split("|"))):
        found = _CITATION.fullmatch(item)
        title = found[1].strip(" \t\n\"'“”[(") if found else item
        known = titles.find(title)
        title = title if known is None else paragraphs[known].title
        numbers = [int(n) for n in _NUMBER.findall(found[2])] if found else [NO_SENTENCE]
        facts += [(title, number) for number in numbers]
    return tuple(dict.fromkeys(facts))


def write_answer(text: str, facts: Iterable[tuple[str, int]] | None = None) -> str:
    """The action that gives this answer; titles as they are shown.

    Square brackets become round ones, which no score can tell from them.
    """
    text = text.replace("[", "(").replace("]", ")")
    if facts is None:
        return f"finish[{text}]"
    return f"finish[{text}] facts[{' | '.join(f'{title} # {n}' for title, n in facts)}]"


def _close(text: str) -> str:
    """A text without the bracket that ends it, and what follows that."""
    if "[" not in text:
        return text.partition("]")[0].strip()
    depth = 0
    for at, char in enumerate(text):
        if char == "[":
            depth += 1
        elif char == "]":
            depth -= 1
            if depth < 0:
                return text[:at].strip()
    return text.strip()
