"""Sentences, words and names of a text, by rules that take time linear in its length."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

MAX_TEXT = 100_000  # characters of a text that are read
MAX_SENTENCE = 600  # characters; a longer one is cut, with an ellipsis
MAX_ITEMS = 500  # of a list that are read

_THINKING = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_TAG = re.compile(r"</?(?:think|answer|summary)>")
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_END = re.compile(r"[.!?…]+[\"”'’)\]]*(?=\s|$)")
_COMMAND = re.compile(r"^(?:[a-z]+\[.*|[a-z][^.!?]*)$")
_FULL_STOP = re.compile(r"(?:^|[\s(])(?:[^\W_]{3,}|[a-z]+\d+|up|on|in|it|to|at)\.$|[^\W_]{11}\.$")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|Mt|No|vs|ca|approx|Inc|Ltd|Co|Corp|Gen|Col|Lt|Sgt"
    r"|Capt|Rev|Hon|Gov|Sen|Rep|Vol|ed|e\.g|i\.e|etc|[A-Z]|(?:[A-Z]\.)+[A-Z])\.$"
)
_NAME_WORD = (
    r"(?:(?:Mr|Mrs|Ms|Dr|Prof|St|Mt|[A-Z])\.|(?:[A-Z][^\W_]*|\d+(?:st|nd|rd|th))"
    r"(?:[.'’&/-][^\W_]+)*)"
)
_LINK = r"(?:of|the|to|from|in|at|over|for|and the|de|la|le|von|van|der|den|du|del|di|bin|al|&)"
_NAME = re.compile(
    rf"(?<![\w’'-]){_NAME_WORD}(?: (?:{_LINK} ){{0,2}}{_NAME_WORD})*(?: \d{{1,3}}(?![\w,.]*\d))?"
)
_QUOTED = re.compile(r"“([^”\n]{1,120})”|(?<!\w)\"([^\"\n]{1,120})\"(?!\w)")
_COLOUR = r"(?:red|green|blue|purple|yellow|grey)"
_OBJECT = re.compile(
    rf"\b((?:{_COLOUR} )?[a-z]{{2,20}} \d{{1,3}})\b"
    r"(?! (?!(?:is|was|has|holds|reads)\b)(?:[a-z]+s|to|of)\b)"
    rf"|\b({_COLOUR} (?:ball|box|key|door))\b"
    r"|\b([a-z]{1,12}\d{1,3}|room[a-z])\b"
)
NUMBER = re.compile(r"(?<![\w.])\d[\d,.]*\d(?!\w)|(?<![\w.])\d(?!\w)")
YEAR = re.compile(r"(?<![\w,.])(?:1\d{3}|20\d\d)(?!\w|,\d)")

_FUNCTION_WORDS = """
    a an the this that these those some any each every both either neither all no not nor none
    i me my mine myself we us our ours you your yours he him his himself she her hers herself it
    its itself they them their theirs one ones who whom whose which what when where why how whether
    and or but so yet if then than because as while though although since until unless of in on at
    by for from to into onto with without within about above below under over between among through
    during before after against along across around near off out up down upon toward towards via
    per there here am is are was were be been being do does did doing done has have had having will
    would shall should can could may might must too very also just only even still again more most
    much many such other another same own now no longer see
"""
STOP = frozenset(_FUNCTION_WORDS.split())
# Words with a capital letter that begin sentences and are no names.
_OPENING_WORDS = """
    according actually little although another anything apparently besides born built by correction
    during earlier eventually every everybody everyone everything finally first formed founded
    further furthermore however in indeed instead later launched let like many meanwhile moreover
    most much my nobody nothing now of often on once only opened originally our perhaps please
    printed rather released seen several should since somebody somehow something sometimes soon
    sorry thanks then there therefore though thus today tomorrow under unfortunately unlike until
    upon usually what when whenever while will with yes yesterday hello hi hey ok okay oh well
    good great look nothing you guess
"""
_OPENERS = STOP | frozenset(_OPENING_WORDS.split())


def text_of(value: Any) -> str:
    """A JSON value as text: a string, cut to what is read; anything else is empty."""
    if not isinstance(value, str):
        return ""
    return value[:MAX_TEXT].encode("utf-8", "replace").decode()


def list_of(value: Any) -> list[Any]:
    """A JSON value as a list, cut to what is read; anything else is empty."""
    return value[:MAX_ITEMS] if isinstance(value, list) else []


def dict_of(value: Any) -> dict[str, Any]:
    """A JSON value as an object; anything else is empty."""
    return value if isinstance(value, dict) else {}


def plain(text: str) -> str:
    """A text without thoughts and tags."""
    return _TAG.sub(" ", _THINKING.sub(" ", text))


def words(text: str) -> list[str]:
    """The words in lower case, without possessive endings."""
    found = _WORD.findall(text.casefold().replace("’", "'"))
    return [word.removesuffix("'s").replace("'", "") for word in found]


@lru_cache(maxsize=8192)
def stem(word: str) -> str:
    """A word without the endings of number and time; numbers stay as they are."""
    for ending in ("ies", "ied", "ing", "ed", "es", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            return word.removesuffix(ending)
    return word


def content(text: str) -> frozenset[str]:
    """The stems of the words that carry meaning."""
    return frozenset(stem(word) for word in words(text) if word not in STOP)


def key(text: str) -> str:
    """What two wordings share that differ only in case, punctuation and articles."""
    return " ".join(word for word in words(text) if word not in ("a", "an", "the"))


def lines(text: str) -> list[str]:
    """The lines of a text, white space folded; an empty line is an empty string."""
    return [" ".join(line.split()) for line in text.split("\n")]


def is_action(line: str) -> bool:
    """Whether a line is what an agent of a game writes: “go to shelf 1”, “finish[…]”."""
    return bool(_COMMAND.match(line)) and " is " not in line


def sentences(line: str) -> Iterator[str]:
    """The sentences of one line, none longer than `MAX_SENTENCE`."""
    start = 0
    for end in _END.finditer(line):
        following = line[end.end() : end.end() + 2].strip()
        if following and following[0] in ",;:":
            continue
        if (
            following
            and following[0].islower()
            and not _FULL_STOP.search(line[max(0, end.end() - 12) : end.end()])
        ):
            continue
        if _ABBREVIATION.search(line[max(start, end.end() - 12) : end.end()]):
            continue
        yield from _cut(line[start : end.end()])
        start = end.end()
    yield from _cut(line[start:])


def _cut(sentence: str) -> Iterator[str]:
    sentence = sentence.strip()
    if sentence:
        long = len(sentence) > MAX_SENTENCE
        yield f"{sentence[: MAX_SENTENCE - 1]}…" if long else sentence


@lru_cache(maxsize=8192)
def names(text: str) -> tuple[str, ...]:
    """Names in the order in which they occur, each once.

    Quoted titles, runs of capitalised words, numbered objects ("mug 2", "b1"), coloured ones.
    A capitalised word that begins a sentence is a name unless it is one that often does.
    """
    found: list[tuple[int, str]] = []
    taken = bytearray(len(text))
    for match in _QUOTED.finditer(text):
        title = (match[1] or match[2]).strip()
        if title:
            found.append((match.start(), title))
            taken[match.start() : match.end()] = b"\1" * (match.end() - match.start())
    for match in _NAME.finditer(text):
        if not any(taken[match.start() : match.end()]):
            name = _trimmed(match[0], begins=_begins(text, match.start()))
            if name:
                found.append((match.start() + match[0].find(name), name))
    for match in _OBJECT.finditer(text):
        name = next(group for group in match.groups() if group)
        if name.split()[0] not in STOP and not any(taken[match.start() : match.end()]):
            found.append((match.start(), name))
    unique = {name.casefold(): name for _, name in sorted(found, reverse=True)}
    folded = ((name.casefold(), name) for _, name in sorted(found))
    return tuple(unique.pop(fold) for fold, _ in folded if fold in unique)


def _begins(text: str, at: int) -> bool:
    before = text[max(0, at - 3) : at].rstrip(" \"“'(")
    return not before or before[-1] in ".!?:;\n"


def _trimmed(name: str, *, begins: bool) -> str:
    """A run of capitalised words without the words that only begin a sentence."""
    parts = re.sub(r"['’]s?$", "", name).split()
    if begins or parts[0] in ("I", "The", "A", "An"):
        while parts and (parts[0].casefold() in _OPENERS and not _article_of_title(parts)):
            parts = parts[1:]
    while parts and parts[0].islower():
        parts = parts[1:]
    return "" if parts in ([], ["I"]) else " ".join(parts)


def _article_of_title(parts: list[str]) -> bool:
    """Whether “The” belongs to the name: “The Baldaba Star”, but not “The Laskotek River”."""
    return (
        parts[0] in ("The", "A", "An")
        and len(parts) > 2
        and parts[1][:1].isupper()
        and parts[-1] != "River"
    )
