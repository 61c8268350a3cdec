"""What a sentence says on its face: its numbers, its names, whether it denies something.

A rewritten fact keeps few words of the original, but it keeps its numbers and names; two sentences
that differ in one of them say different things however similar their vectors are. Everything here
is lexical, for English, and the same on every machine.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from functools import lru_cache
from itertools import pairwise

from .words import (
    CONTRASTS,
    DEMONYMS,
    MONTH_NAMES,
    MONTHS,
    NEGATIONS,
    NUMBER_WORDS,
    ORDINALS,
    SCALES,
    STOP_WORDS,
    canonical,
    number_of,
    scaled,
    with_dates,
)

MAX_CHARS = 200_000  # of one text; what lies beyond is not read
_BULLET = re.compile(r"^\s*(?:[-*•]\s+|\(?\d{1,3}[.)]\s+|\[\d{1,4}\]\s*|#+\s+)")
# A sentence ends at a stop, perhaps closed by quotes or brackets, before a blank and an opening.
_END = re.compile(r"[.!?…]+[\"'”’)\]]*\s+(?=[\"'“‘(\[]*[A-Z0-9ÀÖØ-ÞΑ-ΩА-Я])")
_NO_END = re.compile(
    r"(?:\b(?:[A-Z]|Mr|Mrs|Ms|Dr|St|Sr|Jr|Prof|Gen|Col|Capt|Lt|Rev|Hon|Vol|vs|etc|e\.g"
    r"|i\.e|approx|c|ca|cf|Inc|Ltd|Co|Mt|Ft)|\b(?:[A-Za-z]\.)+[A-Za-z])\.[\"'”’)\]]*$"
)
_TOKEN = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+(?:['’][^\W\d_]+)*")
_CLAUSE = re.compile(r",(?!\d)|[;:()—–]|\b(?:but|though|although|while|whereas)\b")
_TITLE = re.compile(r"^\s*([^:\n]{1,120}):\s+(\S.*)$", re.DOTALL)
_OPENING = re.compile(r"[.!?:]\s|\n")
_APART = re.compile(r"[^\s\"'“”‘’.\-–&]|\n")  # what cannot stand within a name
_VERB = re.compile(r"\b(?:is|are|was|were|has|have|had|can|will)\b")  # in no title
_MAX_HEADING_WORDS = 8
_LOOK_BACK = 40  # characters before a stop that tell whether it ends a sentence
_MAX_ALIGNED = 100  # words of a sentence that are aligned with another's


@dataclass(frozen=True, slots=True)
class Statement:
    """A text, mostly one sentence, with what is read off it.

    Attributes:
        text: as written, without a bullet.
        norm: words and numbers in lower case, single blanks between and around them.
        words: stems of all its words, numbers among them as digits.
        content: stems of the words that carry meaning.
        numbers: numbers in digits, whether written so or in words.
        numbered: nouns that carry a number below 100, as things in household games do.
        names: each name as the stems of its words.
        unsure: stems of words that may be capitalised only because a sentence begins with them.
        clauses: content stems and whether it is denied, for each clause.
        contrasts: for each group of opposites, the ones it uses.
    """

    text: str
    norm: str
    words: frozenset[str]
    content: frozenset[str]
    numbers: frozenset[str]
    numbered: Mapping[str, frozenset[str]]
    names: tuple[frozenset[str], ...]
    unsure: frozenset[str]
    carrying: tuple[tuple[str, str], ...] = field(repr=False)  # word and stem, in order
    clauses: tuple[tuple[frozenset[str], bool], ...] = field(repr=False)
    contrasts: Mapping[int, frozenset[str]] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Unit:
    """A sentence of an entry and the paragraph it stands in.

    Attributes:
        said: the sentence.
        block: the whole paragraph, which says who `it` is; of a heading, the heading.
        heading: whether it only introduces what follows.
    """

    said: Statement
    block: Statement
    heading: bool


@dataclass(frozen=True, slots=True)
class Fact:
    """A fact to be looked for, written `subject: sentence` or as a sentence alone.

    Attributes:
        whole: all of it.
        body: the sentence.
        subject: content stems of the subject; empty where the sentence names it itself.
        telling: stems that set it apart from a rival; one of them must be said.
    """

    whole: Statement
    body: Statement
    subject: frozenset[str] = frozenset()
    telling: frozenset[str] = frozenset()


def sentences(text: str) -> list[str]:
    """The sentences of a text, in order; together they hold all of it but blanks and bullets."""
    return [sentence for block in _blocks(text) for sentence, _ in block]


@lru_cache(maxsize=8192)
def units(text: str) -> tuple[Unit, ...]:
    """The sentences of a text, read; those without a word or number are left out."""
    found: list[Unit] = []
    for block in _blocks(text):
        whole = statement("\n".join(sentence for sentence, _ in block))
        known = frozenset().union(*whole.names) - whole.unsure
        for place, (sentence, line_end) in enumerate(block):
            said = statement(sentence, known)
            if said.words:
                heading = place == 0 and len(block) > 1 and line_end and _introduces(sentence)
                found.append(Unit(said, said if heading else whole, heading))
    return tuple(found)


@lru_cache(maxsize=4096)
def fact(text: str, rival: str = "") -> Fact:
    """A fact, read.

    Args:
        text: the fact.
        rival: what was told in its place, or is to be; empty for none.
    """
    parts = _TITLE.match(text)
    if parts is None or _VERB.search(parts[1]):
        whole = body = statement(text)
        subject: frozenset[str] = frozenset()
    else:
        of_title = statement(re.sub(r"\([^)]*\)", " ", parts[1]))
        whole, body = statement(text, of_title.words), statement(parts[2], of_title.words)
        subject = frozenset() if of_title.content & body.words else of_title.content
    telling = whole.words - statement(rival).words if rival else frozenset()
    return Fact(whole, body, subject, telling)


@lru_cache(maxsize=16384)
def statement(text: str, known: frozenset[str] = frozenset()) -> Statement:
    """Read one text.

    Args:
        text: mostly a sentence.
        known: stems known to be names, whose capital at the beginning of a sentence is no chance.
    """
    shown = text[:MAX_CHARS]
    dated = with_dates(shown)
    tokens = _tokens(dated)
    stems = [t.stem for t in tokens]
    names, unsure = _names(dated, tokens, known)
    contrasts: dict[int, set[str]] = {}
    for token in tokens:
        if token.plain in CONTRASTS:
            contrasts.setdefault(CONTRASTS[token.plain], set()).add(token.plain)
    return Statement(
        text=shown,
        norm=f" {' '.join(t.plain for t in tokens)} " if tokens else "",
        words=frozenset(stems),
        content=frozenset(t.stem for t in tokens if t.plain not in STOP_WORDS),
        numbers=frozenset(t.plain for t in tokens if t.number),
        numbered=_numbered(tokens),
        names=names,
        unsure=unsure,
        carrying=tuple((t.plain, t.stem) for t in tokens if _carries(t)),
        clauses=tuple(_clauses(dated)),
        contrasts={group: frozenset(words) for group, words in contrasts.items()},
    )


def predicate(said: Statement, things: frozenset[str]) -> str:
    """The words of a statement that carry meaning, without numbers and the stems of things."""
    return " ".join(plain for plain, stem in said.carrying if stem not in things)


def substitution(
    said: Statement, claim: Statement, things: frozenset[str]
) -> tuple[str, str] | None:
    """What stands in one place of two sentences that otherwise say the same of things.

    `ink` and `clocks` for `The town lives on making ink` and `Lindmoor lives on making clocks`;
    None where they share no word besides things, or differ in more than one place.
    """
    one = [(plain, stem) for plain, stem in claim.carrying if stem not in things]
    two = [(plain, stem) for plain, stem in said.carrying if stem not in things]
    if max(len(one), len(two)) > _MAX_ALIGNED:
        return None
    matcher = SequenceMatcher(None, [s for _, s in one], [s for _, s in two], autojunk=False)
    parts = [part for part in matcher.get_opcodes() if part[0] != "equal"]
    if len(parts) != 1 or parts[0][0] != "replace":
        return None
    _, a, b, c, d = parts[0]
    if b - a == len(one):
        return None
    return " ".join(w for w, _ in one[a:b]), " ".join(w for w, _ in two[c:d])


@lru_cache(maxsize=16384)
def sequence(text: str) -> tuple[tuple[str, str, bool], ...]:
    """Each word in order: as written in lower case, its stem, whether it carries meaning."""
    shown = with_dates(text[:MAX_CHARS])
    tokens = _tokens(shown)
    return tuple((shown[t.start : t.end].lower(), t.stem, _carries(t)) for t in tokens)


# --- sentences ------------------------------------------------------------------------------


def _blocks(text: str) -> list[list[tuple[str, bool]]]:
    """Paragraphs of sentences, each with whether a line ends with it."""
    blocks = []
    for paragraph in re.split(r"\n\s*\n", text[:MAX_CHARS]):
        block: list[tuple[str, bool]] = []
        for line in paragraph.splitlines():
            found = _split(_BULLET.sub("", line))
            block += [(sentence, i == len(found) - 1) for i, sentence in enumerate(found)]
        if block:
            blocks.append(block)
    return blocks


def _split(line: str) -> list[str]:
    found, start = [], 0
    for match in _END.finditer(line):
        before = line[max(start, match.end() - _LOOK_BACK) : match.end()].rstrip()
        numbered = before.endswith(("No.", "Nos.")) and line[match.end()].isdigit()
        if numbered or _NO_END.search(before):
            continue
        found.append(line[start : match.end()].strip())
        start = match.end()
    found.append(line[start:].strip())
    return [sentence for sentence in found if sentence]


def _introduces(line: str) -> bool:
    """`Silver Heron`, or `Then I read about “Silver Heron”:`."""
    return line.endswith(":") or (
        line[-1] not in ".!?…" and len(line.split()) <= _MAX_HEADING_WORDS
    )


# --- words ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Token:
    plain: str  # lower case, without accents; a number in digits
    stem: str
    number: bool
    digits: bool  # a number that was written in digits
    capital: bool  # has a capital letter
    start: int  # where it stands
    end: int


def _tokens(text: str) -> list[_Token]:
    raw = list(_TOKEN.finditer(text))
    found: list[_Token] = []
    at = 0
    while at < len(raw):
        token, used = _token(raw[at : at + 8], found[-1].plain if found else "")
        found.append(token)
        at += used
    return found


def _token(raw: list[re.Match[str]], before: str) -> tuple[_Token, int]:
    """The token that begins here, and of how many pieces it consists."""
    word, start, end = raw[0].group(), raw[0].start(), raw[0].end()
    following = [match.group().casefold() for match in raw[1:]]
    after = following[0] if following else ""
    if word[0].isdigit():
        if after in ("st", "nd", "rd", "th") and raw[1].start() == end:
            months = before in MONTH_NAMES or any(
                MONTHS.get(w, w) in MONTH_NAMES for w in following[1:3]
            )
            if word in ORDINALS and not months:  # 2nd is `second`; on March 2nd it is a number
                return _word(ORDINALS[word], start, raw[1].end()), 2
            return _number(canonical(word), start, raw[1].end(), digits=True), 2
        if after in SCALES and after != "hundred":  # 1.2 million
            return _number(scaled(canonical(word), after), start, raw[1].end(), digits=True), 2
        return _number(canonical(word), start, end, digits=True), 1
    if (plain := word.casefold()) in NUMBER_WORDS:
        value, used = number_of([plain, *following])
        if value is not None:
            return _number(str(value), start, raw[used - 1].end(), digits=False), used
    return _word(word, start, end), 1


def _number(plain: str, start: int, end: int, *, digits: bool) -> _Token:
    return _Token(plain, plain, True, digits, False, start, end)


def _word(word: str, start: int, end: int) -> _Token:
    plain = _plain(word)
    capital = word != word.lower()
    plain = MONTHS.get(plain, plain) if capital else plain
    return _Token(plain, _stem(plain), False, False, capital, start, end)


@lru_cache(maxsize=32768)
def _plain(word: str) -> str:
    """Lower case without accents and possessive endings."""
    folded = unicodedata.normalize("NFKD", word.casefold().replace("’", "'"))
    bare = "".join(c for c in folded if not unicodedata.combining(c))
    return bare.removesuffix("'s").replace("'", "")


@lru_cache(maxsize=32768)
def _stem(word: str) -> str:
    """A word without inflection, a people's name as its country's."""
    if word in DEMONYMS:
        return DEMONYMS[word]
    for ending in ("ies", "ing", "ed", "es", "ian", "an", "ese", "ia", "s", "y", "e", "a"):
        least = 5 if ending in ("ian", "an", "ese", "ia", "y", "a") else 3
        if word.endswith(ending) and len(word) - len(ending) >= least and not word.endswith("ss"):
            bare = word.removesuffix(ending)
            return bare[:-1] if len(bare) > 3 and bare[-1] == bare[-2] else bare
    return word


def _numbered(tokens: list[_Token]) -> dict[str, frozenset[str]]:
    """Nouns right before a small number: `mug 1`, and not `in 7` or `born 1901`."""
    found: dict[str, set[str]] = {}
    for before, token in pairwise(tokens):
        small = token.digits and token.plain.isdecimal() and int(token.plain) < 100
        if small and not before.number and not before.capital and before.plain not in STOP_WORDS:
            found.setdefault(before.stem, set()).add(token.plain)
    return {noun: frozenset(numbers) for noun, numbers in found.items()}


def _names(
    text: str, tokens: list[_Token], known: frozenset[str]
) -> tuple[tuple[frozenset[str], ...], frozenset[str]]:
    """Runs of capitalised words, and those of one word that only begin a sentence."""
    runs: list[list[_Token]] = []
    for token in tokens:
        if not token.capital or token.plain in STOP_WORDS:
            continue
        if runs and _joined(text, runs[-1][-1], token):
            runs[-1].append(token)
        else:
            runs.append([token])
    openings = _openings(text, tokens)
    sure = known | {t.stem for t in tokens if t.capital and t.start not in openings}
    lower = {t.stem for t in tokens if not t.capital}
    single = {run[0].stem for run in runs if len(run) == 1}
    unsure = single - sure
    names = [frozenset(t.stem for t in run) for run in runs]
    kept = [name for name in names if not name <= unsure & lower]
    return tuple(dict.fromkeys(kept)), frozenset(unsure)


def _joined(text: str, last: _Token, token: _Token) -> bool:
    """Whether two capitalised words belong to one name: `J. R. Vell`, `Nora "Nib" Vell`."""
    gap = text[last.end : token.start]
    initial = last.end - last.start == 1
    return not _APART.search(gap) and (initial or not re.search(r"[.]\s", gap))


def _carries(token: _Token) -> bool:
    return not token.number and token.plain not in STOP_WORDS


def _openings(text: str, tokens: list[_Token]) -> set[int]:
    """Where the first word of each sentence stands."""
    starts = [token.start for token in tokens]
    places = [bisect_left(starts, match.end()) for match in _OPENING.finditer(text)]
    return {starts[place] for place in [0, *places] if place < len(starts)}


def _clauses(text: str) -> Iterable[tuple[frozenset[str], bool]]:
    for clause in _CLAUSE.split(text):
        tokens = _tokens(clause)
        if tokens:
            content = frozenset(t.stem for t in tokens if t.plain not in STOP_WORDS)
            yield content, any(t.plain in NEGATIONS for t in tokens)
