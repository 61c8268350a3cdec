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
_COMMAND = re.compile(r"(search|lookup|look up|finish)\s*([\[(:])(.*)", re.I | re.S)
_FINISH = re.compile(r"(?<!\w)finish[\[(]", re.I)
_WRAPPED = re.compile(r"[\s*`\"']*(?:(?:action|answer)\s*[*`]*:[\s*`\"']*)?", re.I)
_AFTER = re.compile(r"[\s,;.*`]*(?:and\s+)?(?:supporting )?facts?\s*(?::\s*([\[(]?)|([\[(]))", re.I)
# Inside of an answer, facts are a list in square brackets, or one with a number in it.
_INSIDE = re.compile(r"[\s,;.]*(?<!\w)facts?\s*(?::?\s*(\[)|(\()(?=.*#\s*\d)|:(?=.*#\s*\d))",
                     re.I | re.S)  # fmt: skip
_WRAPPING = " \t\n\"'“”[]()."
# What stands between a title and its numbers, between these, and after them.
_TO_NUMBER = re.compile(r"([\"'”’\])\s]*)(?:[#,\[(]\s*)+(?=\d{1,6}(?!\w))")
_NUMBER = re.compile(r"(\d{1,6})(?:\s*[-–]\s*(\d{1,6}))?(?!\w)")
_MORE = re.compile(r"[\])\"'”\s]*(?:(?:[#,;&\[(]|and\b)\s*)+(?=\d{1,6}(?!\w))")
_NEXT = re.compile(r"^[\])\"'”\s.,;&]*(?:and\s)?")
_MAX_TITLE = 200  # characters in which the end of a title is looked for
_MAX_RANGE = 50  # sentences in `Title # 0-9`


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer and the facts cited for it; None where nothing was said of facts."""

    text: str
    facts: tuple[Fact, ...] | None = None


def unwrapped(action: str) -> str:
    """An action without marks, quotes and words such as `Action:` around it.

    What is taken from a bare answer is what no score can tell, but for quotes around all of it.
    """
    begin = _WRAPPED.match(action)
    text = action[begin.end() if begin else 0 :].rstrip(" \t\n*`\"'")
    quoted = text[:1] == "“" and text.find("”") == len(text) - 1
    return text[1:-1].strip() if quoted else text


def find_finish(text: str) -> str | None:
    """A text from its first `finish[` or `finish(` on; None if there is none."""
    found = _FINISH.search(text)
    return text[found.start() :] if found else None


def read_command(action: str) -> tuple[str, str] | None:
    """The verb (`search`, `lookup` or `finish`) and what it is said of; None for no command.

    What is said with `finish` is for `read_answer`: the inside of `[…]` and what follows.
    """
    found = _COMMAND.fullmatch(unwrapped(action))
    if found is None:
        return None
    verb = found[1].lower().replace(" ", "")
    inside, after = _close(found[3], found[2])
    if verb == "finish":
        return verb, f"{inside}]{after}" if after else inside
    return verb, inside


def read_answer(body: str, context: Iterable[Paragraph]) -> Answer:
    """An answer from the inside of `finish[…]` on, or from a bare text."""
    inside, after = _close(body, "[")
    found, facts = _AFTER.match(after), after
    if found is None:
        found, facts = _INSIDE.search(inside), inside
        if found is None:
            return Answer(inside)
        inside = inside[: found.start()].strip()
    cited, _ = _close(facts[found.end() :], found[1] or found[2] or "[")
    return Answer(inside, read_facts(cited, context))


def read_facts(text: str, context: Iterable[Paragraph]) -> tuple[Fact, ...]:
    """The facts of a list `Title # 0 | Title # 2`, with titles as they are in the data.

    A title that is not in the context and a citation without a number are kept: they count as
    wrong citations.
    """
    paragraphs = [*context]
    titles = Titles(paragraphs)
    facts: list[Fact] = []
    for item in text.split("|"):
        rest = item.strip()
        while rest.strip(_WRAPPING):
            title, numbers, rest = _citation(rest, titles)
            known = _find(title, titles)
            title = title.strip(_WRAPPING) if known is None else paragraphs[known].title
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


def _close(text: str, opened: str) -> tuple[str, str]:
    """A text up to the bracket that closes the one before it, and what follows that."""
    if opened not in "[(":
        return text.strip(), ""
    closing = "])"["[(".index(opened)]
    depth = 0
    for at, char in enumerate(text):
        depth += (char == opened) - (char == closing)
        if depth < 0:
            return text[:at].strip(), text[at + 1 :]
    return text.strip(), ""


def _citation(text: str, titles: Titles) -> tuple[str, list[int], str]:
    """The first title of a list, the numbers cited of it, and the rest of the list.

    Titles hold commas, brackets and numbers: the longest that is in the context counts.
    """
    begins = _numbered(text)
    known = [begin for begin in begins if _find(text[: begin.end(1)], titles) is not None]
    if not begins:
        return text, [NO_SENTENCE], ""
    begin = known[-1] if known else begins[-1] if "#" in begins[-1][0] else begins[0]
    numbers: list[int] = []
    at = begin.end()
    while found := _NUMBER.match(text, at):
        first, last = int(found[1]), int(found[2] or found[1])
        numbers += range(first, last + 1) if 0 <= last - first < _MAX_RANGE else (first, last)
        at = found.end()
        more = _MORE.match(text, at)
        if more is None or ("#" not in more[0] and _is_title(text[more.end() :], titles)):
            break
        at = more.end()
    return text[: begin.end(1)], numbers, _NEXT.sub("", text[at:], count=1)


def _numbered(text: str) -> list[re.Match[str]]:
    """Where a title at the beginning may end and its numbers begin: up to the first `#`."""
    end = text.find("#") + 1 or len(text)
    return [begin for begin in _TO_NUMBER.finditer(text[:_MAX_TITLE]) if begin.start() < end]


def _is_title(text: str, titles: Titles) -> bool:
    """Whether a text begins with a title of the context, and its numbers."""
    begins = _numbered(text)[:4]  # few titles that begin with a number hold more of them
    return any(_find(text[: begin.end(1)], titles) is not None for begin in begins)


def _find(title: str, titles: Titles) -> int | None:
    """A title as it is written, else without what may stand around it."""
    quoted = title.strip().lstrip("[(").strip(" \"'“”")
    return titles.find(title.strip(), quoted, title.strip(_WRAPPING))
