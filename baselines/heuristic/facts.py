"""Facts of messages: sentences that stand alone and are worth keeping."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from . import games
from .claims import SINGLE, Statement, read
from .text import (
    NUMBER,
    dict_of,
    is_action,
    lines,
    list_of,
    names,
    plain,
    sentences,
    text_of,
    words,
)

MAX_FACTS = 200  # of one request
MAX_TITLE = 120
_LEAD = re.compile(r"[“\"]([^”\"\n]{1,120})[”\"][^“”\"]{0,20}:$")
_NUMBERED = re.compile(r"^(?:\(Result \d+ / \d+\) )?\[\d+\] ")
_TITLED = re.compile(r"[“\"]([^”\"\n]{1,120})[”\"]")
_OPENING = re.compile(
    r"\b(?:actually|correct(?:ion|ed)?|forget|differs?|mis(?:read|take|taken|heard|remembered)"
    r"|mixed|no longer|not right|slip|sorry|too quick|tricks?|wrong)\b",
    re.IGNORECASE,
)
_WITHDRAWAL = re.compile(
    r"^(?:Not|So it is not|It (?:is|was) not|Forget|Please strike|I said|When I said|I wrote"
    r"|I must have|I do not know where|Before, I told|You heard|The .{1,80} of before)\b"
)
_FRAME_WORDS = """
    i said before which is wrong so it not as had when that was a slip forget please told you
    by mistake do know where got from strike your mind must have dreamt the of my error whatever
    wrote down and cannot be heard me but believe
"""
_FRAME = frozenset(_FRAME_WORDS.split())
_GREETING = re.compile(
    r"^(?:hi|hello|hey|thanks|thank you|good (?:morning|evening|night|day)|bye|goodbye|ok|okay|sure"
    r"|welcome|nice to|let me tell|guess what|i have a question)\b",
    re.IGNORECASE,
)
_PROFILE = re.compile(
    r"^(?:My name is|I am called|I live in|I moved to|I work (?:as|at|for)|I am allergic to"
    r"|I was born|My birthday is|I am (?:a |an )?(?:vegetarian|vegan)|My (?:wife|husband|son"
    r"|daughter|brother|sister|dog|cat) is (?:called|named)|My favou?rite [a-z ]{2,30} is)\b"
)
_KINDS = (
    r"(?:album|band|battle|book|bridge|building|church|city|club|company|district|film|firm|game"
    r"|group|institution|library|lake|mountain|movie|museum|newspaper|novel|opera|organi[sz]ation"
    r"|park|picture|place|play|river|school|series|ship|show|song|stadium|station|team|town|university"
    r"|vessel|village)"
)
_STARTS = (
    (re.compile(r"^(?:It|He|She|They)(?= )"), ""),
    (re.compile(rf"^The {_KINDS}(?= (?!of\b))"), ""),
    (re.compile(r"^(?:Its|His|Her|Their)(?= )"), "'s"),
)
_INSIDE = (
    (re.compile(rf"\b(?:it|him|them|he|she|they|the {_KINDS})\b(?! of\b)"), ""),
    (re.compile(r"\b(?:its|his|their|her)\b(?= )"), "'s"),
)
_SHORT = 14  # words of a sentence in which a pronoun surely means what its paragraph is about


def extract_facts(messages: Any) -> list[str]:
    """The facts of messages, in their order, at most `MAX_FACTS`."""
    found: list[str] = []
    for message in list_of(messages):
        role = dict_of(message).get("role")
        text = plain(text_of(dict_of(message).get("content")))
        if role == "assistant":
            found += [fact for fact in _chat(text) if _asserts(fact, text)]
        elif role != "system":
            found += facts_of(text)
        if len(found) > 2 * MAX_FACTS:
            break
    return settled(found)[:MAX_FACTS]


def _asserts(fact: str, text: str) -> bool:
    """Whether a sentence of the agent's is a statement about something with a name, no action."""
    claims = read(fact).claims
    said = text.strip()
    return said[:1].isupper() and said[-1] in ".!" and any(c.source[0].isupper() for c in claims)


def facts_of(text: str) -> list[str]:
    """The facts of one text that somebody said or that a game showed."""
    first, _, rest = text.strip().partition("\n")
    told = _correction(first)
    if told is not None:
        return [*told, *_paragraphs(rest, talk=True)]
    seen = games.facts(text)
    if seen is not None:
        return [*seen, *_paragraphs(text, talk=False)]
    return list(_paragraphs(text, talk=True))


def settled(facts: list[str]) -> list[str]:
    """Facts without repetitions, and without what a later one of them corrects or replaces."""
    kept: dict[str, tuple[str, Statement]] = {}
    slots: dict[tuple[str, str], str] = {}  # what has one value: the fact that gives it
    for fact in facts:
        said = read(fact)
        if not said.key or said.key in kept:
            continue
        held = [slots[c.slot] for c in said.claims if c.single and c.slot in slots]
        if said.retracts and fact.startswith("No longer") and held:
            continue  # the new state is told already, and implies it
        if said.old or _of_a_game(said):
            for former in held:
                kept.pop(former, None)
        kept[said.key] = fact, said
        if not said.retracts:
            slots.update({c.slot: said.key for c in said.claims if c.single})
    return [fact for fact, _ in kept.values()]


def _of_a_game(said: Statement) -> bool:
    return any(c.relation in ("place", "openness", "holding") for c in said.claims)


# --- what is told of things with a title ----------------------------------------------------


def _paragraphs(text: str, *, talk: bool) -> Iterator[str]:
    """The sentences under titles, each naming its title; with `talk` those elsewhere too."""
    title, loose = "", []
    all_lines = lines(text)
    for number, line in enumerate(all_lines):
        lead = _LEAD.search(line)
        if lead:
            title = lead[1].strip()
        elif not line:
            title = ""
        elif is_action(line):
            continue
        elif not title and number + 1 < len(all_lines) and all_lines[number + 1].startswith("[0]"):
            title = line[:MAX_TITLE]
        elif title:
            for sentence in sentences(_NUMBERED.sub("", line)):
                if len(words(sentence)) > 2 and not sentence.endswith("?"):
                    yield resolved(sentence, title)
        elif talk:
            loose.append(line)
    yield from _chat("\n".join(loose))


def resolved(sentence: str, title: str) -> str:
    """A sentence of a paragraph so that it says by itself what it is about.

    The title takes the place of a pronoun, of “the town” and the like, or of a family name; where
    none of them can be told, it is put before the sentence.
    """
    bare = re.sub(r" \([^()]*\)$", "", title)
    if bare.casefold() in sentence.casefold():
        return sentence
    for pattern, ending in _STARTS:
        if pattern.match(sentence):
            return _put(title + ending, pattern, sentence)
    parts = bare.split()
    for part in (parts[-1], parts[0]) if len(parts) > 1 else ():
        if sentence.startswith(f"{part} ") and part[0].isupper() and part not in ("The", "A"):
            return title + sentence[len(part) :]
    if len(sentence.split()) <= _SHORT:
        for pattern, ending in _INSIDE:
            if pattern.search(sentence):
                return _put(title + ending, pattern, sentence)
    return f"{title}: {sentence}"


def _put(name: str, pattern: re.Pattern[str], sentence: str) -> str:
    return pattern.sub(lambda _: name, sentence, count=1)


# --- corrections ----------------------------------------------------------------------------


def _correction(text: str) -> list[str] | None:
    """What a message corrects: “true sentence, not old value”; None where it corrects nothing."""
    if len(text) > 1000:
        return None
    said = list(sentences(" ".join(text.split())))
    if len(said) < 2 or not _OPENING.search(said[0]):
        return None
    title = _TITLED.search(said[0])
    if title is None:
        return None
    old = next((_withdrawn(s) for s in said[1:] if _WITHDRAWAL.match(s)), "")
    true = [s for s in said[1:] if not _WITHDRAWAL.match(s) and not s.endswith("?")]
    facts = [resolved(sentence, title[1].strip()) for sentence in true]
    return [f"{fact.rstrip('.')}, not {old}." if old else fact for fact in facts]


def _withdrawn(sentence: str) -> str:
    """The value that a sentence takes back: a name or a number, else what is not its frame."""
    framed = re.sub(r"^(?:Not|Forget|Before|When|So|Please|The|You)\b", "", sentence)
    parts = framed.strip(" .,").split()
    while parts and parts[0].strip(".,").casefold() in _FRAME and parts[0] != "The":
        parts.pop(0)
    kept: list[str] = []
    for part in parts:
        if part.strip(".,").casefold() in _FRAME and not _continues(part, parts, kept):
            break
        kept.append(part)
        if part.endswith(","):
            break
    return " ".join(kept).strip(" .,")


def _continues(part: str, parts: list[str], kept: list[str]) -> bool:
    """Whether a frame word is part of a name: “House of Oslo”, “Oslo and the Foxes”."""
    at = len(kept)
    rest = [p for p in parts[at + 1 : at + 3] if p not in ("the", "of")]
    if part == "The" and not kept:
        return True
    return (
        bool(kept)
        and kept[-1][:1].isupper()
        and bool(rest)
        and rest[0][:1].isupper()
        and (rest[0] != "I" and not kept[-1].endswith(","))
    )


# --- talk -----------------------------------------------------------------------------------


def _chat(text: str) -> Iterator[str]:
    """Sentences of talk with a name or a number in them, or about who speaks; no questions."""
    subject = ""
    for line in lines(text):
        for sentence in sentences(line):
            sentence = re.sub(r"^(?:Actually|Correction|By the way|Well|So|Oh),? ", "", sentence)
            sentence = sentence[:1].upper() + sentence[1:]
            if sentence.endswith("?") or _GREETING.match(sentence) or games.NOISE.match(sentence):
                continue
            if subject and re.match(r"(?:It|He|She|They|Its|His|Her|Their) ", sentence):
                sentence = resolved(sentence, subject)
            if _worth(sentence):
                yield sentence
                first = next(iter(names(sentence)), "")
                if first and sentence.startswith(first):
                    subject = first


def _worth(sentence: str) -> bool:
    if _PROFILE.match(sentence):
        return True
    if len(words(sentence)) < 3:
        return False
    # One word with a capital letter at the beginning may be any word.
    named = [n for n in names(sentence) if " " in n or not sentence.startswith(n)]
    if not named and not NUMBER.search(sentence):
        return False
    return bool(named) or any(c.relation.split()[0] in SINGLE for c in read(sentence).claims)
