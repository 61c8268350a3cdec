"""Notes: how a text should be found again, and how notes change each other."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from ...harness.types import Json
from .claims import read
from .decisions import Memories, Remembered, id_of, superseded
from .facts import facts_of, settled
from .games import FAILURE, SUCCESS
from .graph import entity_types
from .text import STOP, YEAR, dict_of, key, lines, list_of, names, plain, sentences, text_of, words

MAX_KEYWORDS = 10
MAX_TAGS = 5
MAX_CONTEXT = 400  # characters
_ACTION = re.compile(r"^Action taken then: (.*)$", re.MULTILINE | re.DOTALL)
_SUPERSEDED = "superseded"
_CUES = (
    (FAILURE, "failed attempt"),
    (SUCCESS, "success"),
    (re.compile(r", not [^,.]{1,80}\.$|\bcorrect (?:myself|ion)", re.MULTILINE), "correction"),
    (re.compile(r"\byou see\b|\bis in the\b|\bis on the\b"), "whereabouts"),
    (
        re.compile(r"\b(?:open|closed|locked|clean|hot|cool|on|off|free|empty|clear)\.", re.M),
        "state",
    ),
)


def note(content: Any) -> Json:
    """The keywords, the context and the tags of a new note."""
    text, _ = _parts(text_of(content))
    facts = settled(facts_of(text))
    return {
        "keywords": keywords(text, facts),
        "context": context(text, facts),
        "tags": tags(text, facts),
    }


def _parts(content: str) -> tuple[str, str]:
    """What was read, and what was done then."""
    match = _ACTION.search(content)
    return plain(_ACTION.sub("", content)).strip(), match[1].strip() if match else ""


def keywords(text: str, facts: list[str]) -> list[str]:
    """Names and words that tell a text from others, those of most facts first."""
    told = facts or [" ".join(lines(text))[:2000]]
    named = Counter(name for fact in told for name in dict.fromkeys(names(fact)))
    known = {word for name in named for word in words(name)}
    common = Counter(
        word
        for fact in told
        for word in dict.fromkeys(words(fact))
        if word not in STOP and word not in known and len(word) > 3 and not word.isdigit()
    )
    place = {word: n for n, word in enumerate([*named, *common])}
    ranked = sorted(named, key=lambda w: (bool(YEAR.fullmatch(w)), -named[w], place[w]))
    ranked += sorted(common, key=lambda w: (-common[w], place[w]))
    return [word[:100] for word in ranked[:MAX_KEYWORDS]]


def context(text: str, facts: list[str]) -> str:
    """The sentence that says most: with the most names and numbers for its length."""
    candidates = facts or [s for line in lines(text) for s in sentences(line)][:50]
    if not candidates:
        return ""

    def telling(sentence: str) -> float:
        said = read(sentence)
        return 2 * len(said.claims) + len(names(sentence)) + len(said.content) / 20

    return max(candidates, key=telling)[:MAX_CONTEXT]


def tags(text: str, facts: list[str]) -> list[str]:
    """Classes of a note: what it does, then the types of what it names."""
    told = "\n".join([text[:5000], *facts])
    cued = [tag for pattern, tag in _CUES if pattern.search(told)]
    if not facts and not cued:
        asks = text.rstrip().endswith("?") and any(" " in name for name in names(text[:2000]))
        cued = ["question"] if asks else ["small talk"]
    types = entity_types(["\n".join(facts)[:20_000]]) if facts else []
    return list(dict.fromkeys([*cued, *types]))[:MAX_TAGS]


def evolve(new: Any, value: Any) -> Json:
    """The new note's links and tags, and the neighbours that it makes wrong."""
    fresh = dict_of(new)
    text, _ = _parts(text_of(fresh.get("content")))
    facts = settled(facts_of(text))
    known = _subjects(fresh, text, facts)
    links: list[str] = []
    shared: Counter[str] = Counter()
    updates: list[Json] = []
    neighbours = {id_of(dict_of(n).get("id")): dict_of(n) for n in reversed(list_of(value))}
    for id_, neighbour in sorted((i, n) for i, n in neighbours.items() if i is not None):
        old = _parts(text_of(neighbour.get("content")))[0]
        old_facts = settled(facts_of(old))
        wrong = _wrong(facts, old_facts)
        names_shared = known[0] & _subjects(neighbour, old, old_facts)[0]
        words_shared = known[1] & _subjects(neighbour, old, old_facts)[1]
        if not (wrong or names_shared or len(words_shared) > 1):
            continue
        links.append(id_)
        shared.update(list(dict.fromkeys(_texts(neighbour.get("tags")))))
        if wrong:
            updates.append(_update(id_, neighbour, old, old_facts, wrong))
    own = _texts(fresh.get("tags"))
    common = sorted(t for t, n in shared.items() if n > 1 and t != _SUPERSEDED)
    return {
        "links": links,
        "tags": list(dict.fromkeys([*own, *common]))[:MAX_TAGS],
        "updates": updates,
    }


def _wrong(facts: list[str], old_facts: list[str]) -> list[str]:
    """The new facts that make one of a neighbour's wrong."""
    olds = [Remembered(str(n), fact, read(fact)) for n, fact in enumerate(old_facts)]
    return list(dict.fromkeys(superseded(facts, Memories(olds)).values()))


def _update(id_: str, note_: Json, text: str, facts: list[str], wrong: list[str]) -> Json:
    before = text_of(note_.get("context")) or context(text, facts)
    before = before.split(" Since then: ")[0][:MAX_CONTEXT]
    now = f"{before} Since then: {' '.join(wrong)}"[: 2 * MAX_CONTEXT].strip()
    labels = [tag for tag in _texts(note_.get("tags")) if tag != _SUPERSEDED]
    return {"id": id_, "context": now, "tags": [*labels[: MAX_TAGS - 1], _SUPERSEDED]}


def _subjects(note_: Json, text: str, facts: list[str]) -> tuple[set[str], set[str]]:
    """What a note names, and its keywords that are no names."""
    named = {key(name) for fact in (facts or [text[:2000]]) for name in names(fact)}
    named = {name for name in named if len(name) > 1 and not YEAR.fullmatch(name)}
    return named, {key(word) for word in _texts(note_.get("keywords"))} - named


def _texts(value: Any) -> list[str]:
    texts = (" ".join(text_of(item).split())[:100] for item in list_of(value))
    return [text for text in texts if text]
