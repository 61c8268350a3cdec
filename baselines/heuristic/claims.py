"""What a sentence claims: a subject, a relation, a value; and when two claims exclude each other.

A relation is a concept ("birthplace") where one of the cue words below stands near a name, a year
or a number; a place, a state or a holding where a short sentence of a game says so; else the words
between two names. Concepts and states take one value at a time, the rest may take many.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from .text import NUMBER, YEAR, content, key, names, words

# Cue words of a concept. The value's kind tells the founder from the year of the foundation.
_CUES = {
    "birth": "born birthplace native raised",
    "death": "died death buried",
    "foundation": "founded founder formed established active",
    "direction": "directed director",
    "authorship": "wrote written author writer",
    "location": "headquarters headquartered based office located lies stands stand lie situated",
    "home": "comes started",
    "lead": "stars starring leading lead role",
    "song": "singer fronted fronts vocalist",
    "design": "designed designer plans architect",
    "publication": "published publisher printed out novel",
    "construction": "built builder",
    "education": "studied educated degree attended",
    "captaincy": "captain",
    "records": "records contract label",
    "population": "population inhabitants people",
    "release": "released film",
    "opening": "opened",
    "launch": "launched",
    "river": "river flows meet",
    "spouse": "married wife husband",
    "residence": "live lives moved",
    "employment": "employed works",
}
CONCEPT = {cue: concept for concept, cues in _CUES.items() for cue in cues.split()}
_ACTIVE = frozenset(
    ("founded", "directed", "wrote", "designed", "published", "built", "flows", "fronts")
)
_NOUNS = {  # concepts whose value is a common noun
    "profession": re.compile(
        r"\b(?:worked as|(?:is|was) best remembered as|is a noted|[Bb]y profession .{1,80} was)"
        r"(?: an?)? ([a-z][a-z ]{2,30}?)(?= for |[,.;]|$)"
        r"|\bis an? ([a-z]+) who was born"
    ),
    "genre": re.compile(r"\bis an? ([a-z][a-z ]{2,30}?) (?:film|novel)\b"),
    "renown": re.compile(
        r"\b(?:known for (?:the making of |its )?|strongest in |lived on making "
        r"|first money with )([a-z][a-z ]{2,30}?)(?=[,.;]|$)"
    ),
}
_STATES = {
    "openness": "open closed locked",
    "lock": "unlocked",
    "power": "on off activated deactivated",
    "temperature": "hot cool cold warm heated cooled",
    "cleanliness": "clean dirty cleaned",
    "content": "empty free",
    "cover": "clear",
    "shaking": "shaken unshaken",
    "fastening": "loose tight fastened unfastened",
    "inflation": "inflated deflated",
}
STATE = {word: name for name, states in _STATES.items() for word in states.split()}
_THING = r"((?:[Tt]he |[Aa]n? )?[^\s,.:;]+(?: [^\s,.:;]+){0,5}?)"
_END = r"\s*(?:\([^()]*\))?[.;]?\s*$"
_PLACE = re.compile(
    rf"^{_THING} (?:is|are|was|were) (?:placed |now )?(?:in|on|at|inside|under|beside) "
    rf"{_THING}{_END}"
)
_STATE = re.compile(rf"^{_THING} (?:is|are) (?:now )?(?:turned )?([a-z]+)(?: on \S+)?{_END}")
_HOLDS = re.compile(rf"^{_THING} (holds?|have|carr(?:y|ies)|contains?|reads?) {_THING}{_END}")
_LIST = re.compile(r"^(?:The )?([^:]{1,60}?) holds: (.{1,400})$")
_OF = re.compile(rf"^[Tt]he ([a-z]+) of {_THING} is {_THING}{_END}")
_MY = re.compile(rf"^(?:My|my) ([a-z]+(?: [a-z]+)?) is {_THING}{_END}")
_NOT = re.compile(r"(?:, (?:and |but )?| and | but )not ((?:[^,.;:()]|[,.](?=\d)){1,80})(?=[.;]?$)")
_RETRACTION = re.compile(r"^No longer: ")
_DENIED = re.compile(r"\b(?:no longer|(?<=is )not|(?<=are )not|(?<=was )not) ")
_PREFIX = re.compile(r"^([A-Z\d“][^.!?;]{0,118}?): (?=[A-Z])")
_DOUBLE = re.compile(  # a title with a comma in it, where a subject or an object stands
    r"(?:^|(?<=directed )|(?<=wrote )|(?<=in ))[A-Z][a-z]+, [A-Z][a-z]+"
    r"(?= (?:is|was|did|stars|has)\b|[,.]?$)"
)
_POSSESSIVE = re.compile(r"['’]s? (?:first |lead |own )?([a-z]+)")
_SINGLE = re.compile(
    r"(?:is|was|(?:'s )?[a-z ]{2,30} (?:is|was))(?: located| situated| called| named)?"
    r"(?: in| on| at| by)?$"
)
_EVERYWHERE = frozenset(
    ("nothing", "none", "everything", "anything", "there", "it", "this", "that", "what")
)
_NEAR = 9  # words between a value and the cue that names its concept
SINGLE = frozenset(
    {*CONCEPT.values(), *_NOUNS, *_STATES, "place", "holding", "reading", "contents"}
)


@dataclass(frozen=True, slots=True)
class Claim:
    """A subject, a relation and a value.

    Attributes:
        subject: as compared, see `key`.
        relation: what of the subject; with the kind of the value where it tells two apart.
        value: as written.
        single: whether only one value can be true at a time.
        source: the subject as written.
    """

    subject: str
    relation: str
    value: str
    single: bool
    source: str

    @property
    def slot(self) -> tuple[str, str]:
        """What the claim gives a value to."""
        return self.subject, self.relation

    def excludes(self, other: Claim) -> bool:
        """Whether both cannot be true."""
        return (
            self.single
            and other.single
            and self.slot == other.slot
            and key(self.value) != key(other.value)
        )


@dataclass(frozen=True, slots=True)
class Statement:
    """A sentence that stands alone, taken apart.

    Attributes:
        text: without the value that it corrects.
        key: what it shares with other wordings of the same.
        content: stems of its words.
        claims: what it says.
        old: the value that it says was wrong; empty for none.
        retracts: whether it only says that something no longer holds.
    """

    text: str
    key: str
    content: frozenset[str]
    claims: tuple[Claim, ...]
    old: str = ""
    retracts: bool = False


@lru_cache(maxsize=4096)
def read(sentence: str) -> Statement:
    """Take a sentence apart."""
    retracts = bool(_RETRACTION.match(sentence))
    text, old = _RETRACTION.sub("", sentence), ""
    match = _NOT.search(text)
    # “X, not lace” corrects; “X and not at all Y” only where Y has a name or a number.
    if match and (match[0][0] == "," or names(match[1]) or NUMBER.search(match[1])):
        old = re.sub(r"^(?:in|on|by|at|for|as|an?|the) ", "", match[1].strip())
        text = text[: match.start()] + text[match.end() :]
    if _DENIED.search(text):
        denied = _DENIED.sub("", text)
        if any(claim.single for claim in _claims(denied)):
            text, retracts = denied, True
    return Statement(text, key(text), content(text), _claims(text), old, retracts)


def _claims(text: str) -> tuple[Claim, ...]:
    found = [*_short(text)] or [*_told(text)]
    kept = {(c.slot, key(c.value)): c for c in found if c.subject and c.subject != key(c.value)}
    counts = Counter(claim.slot for claim in kept.values())
    # Two values said in one breath are a list, not a contradiction.
    return tuple(
        replace(claim, single=claim.single and counts[claim.slot] == 1) for claim in kept.values()
    )


def _claim(source: str, relation: str, value: str, single: bool) -> Claim:
    return Claim(key(source), relation, value.strip(' “”"'), single, source.strip(' “”"'))


# --- short sentences about things -----------------------------------------------------------


def _short(text: str) -> Iterator[Claim]:
    """The claims of a sentence such as those of games; none for any other."""
    if match := _LIST.match(text):
        yield _claim(match[1], "contents", match[2], True)
    elif len(text) > 200:
        return
    elif match := _OF.match(text):
        yield _claim(match[2], match[1], match[3], True)
    elif match := _MY.match(text):
        yield _claim("I", f"my {match[1]}", match[2], True)
    elif match := _HOLDS.match(text):
        yield from _held(match[1], match[2], match[3])
    elif (match := _STATE.match(text)) and match[2] in STATE:
        relation = STATE[match[2]]
        if relation == "content":
            yield _claim(match[1], "holding", "nothing", True)
        else:
            yield _claim(match[1], relation, match[2], True)
    elif (match := _PLACE.match(text)) and _is_thing(match[1]):
        yield _claim(match[1], "place", match[2], True)


def _held(holder: str, verb: str, held: str) -> Iterator[Claim]:
    if verb.startswith("read"):
        yield _claim(holder, "reading", held, True)
        return
    if key(held) != "nothing" and not _is_thing(held):
        return
    # What contains something may contain more; a hand holds one thing.
    single = not verb.startswith(("contain", "have"))
    yield _claim(holder, "holding", held, single)
    if key(held) not in _EVERYWHERE:
        yield _claim(held, "place", holder, not verb.startswith("contain"))


def _is_thing(text: str) -> bool:
    """Whether a phrase is one of a game: lower case, or numbered; not a pronoun, not a name."""
    bare = re.sub(r"^(?:[Tt]he|[Aa]n?) ", "", text)
    return bare == "You" or (not bare[:1].isupper() and bare.casefold() not in _EVERYWHERE)


# --- sentences about what has a name --------------------------------------------------------


def _told(text: str) -> Iterator[Claim]:
    """The claims of any sentence: one for each value near a cue; else the words between names."""
    prefix = _PREFIX.match(text)
    body = (text[prefix.end() :] if prefix else text).replace(" lead singer", " singer")
    named = list(names(body))
    subject = prefix[1] if prefix else _subject(body, named)
    if not subject:
        return
    if (double := _DOUBLE.search(body)) and subject in double[0]:
        subject = double[0]
        named = [name for name in named if name not in subject]
    values = [(name, "") for name in named if key(name) != key(subject)]
    values += [(match[0], "year") for match in YEAR.finditer(body)]
    years = {value for value, kind in values if kind}
    numbers = (m[0].rstrip(".,") for m in NUMBER.finditer(body))
    values += [
        (n, "number") for n in numbers if n not in years and not any(n in v for v, _ in values)
    ]
    found = False
    for value, kind in values[:20]:
        concept = _concept(body, value, subject, kind)
        if concept:
            found = True
            yield _claim(subject, f"{concept} {kind}".strip(), value, True)
    for relation, pattern in _NOUNS.items():
        if match := pattern.search(body):
            found = True
            yield _claim(subject, relation, next(g for g in match.groups() if g), True)
    if not found and len(named) > 1:
        yield from _between(body, subject, named)


def _subject(body: str, named: Sequence[str]) -> str:
    """What a sentence is about, of the names in it; "I" for what a person says of themselves."""
    for name in named:
        after = _POSSESSIVE.match(body, body.find(name) + len(name))
        if after and after[1] in CONCEPT:
            return name
    if len(named) > 1:
        start = body.find(named[0]) + len(named[0])
        following = body[start : start + 40].split()
        if following and (following[0] in _ACTIVE or following[:2] == ["plays", "the"]):
            return named[1]
    if named:
        before = body[: body.find(named[0])]
        if not re.search(r"\b(?:I|My|We|we|my)\b", before):
            return named[0]
    return "I" if re.match(r"(?:I|My|We)\b", body) else ""


def _concept(body: str, value: str, subject: str, kind: str) -> str:
    """The concept whose cue stands nearest to a value, before it rather than after."""
    if value.endswith(" River"):
        return "river"
    at = body.find(value)
    before = words(body[max(0, at - 120) : at].replace(subject, "§"))[-_NEAR:]
    after = words(body[at + len(value) : at + len(value) + 120].replace(subject, "§"))[:_NEAR]
    best: tuple[float, str] | None = None
    for distance, word in [
        *((n, w) for n, w in enumerate(reversed(before))),
        *((n + 2.5, w) for n, w in enumerate(after)),
    ]:
        concept = CONCEPT.get(word)
        if concept and _fits(concept, word, kind) and (best is None or distance < best[0]):
            best = distance, concept
    return best[1] if best else ""


def _fits(concept: str, word: str, kind: str) -> bool:
    """Whether a cue can take a value of this kind."""
    if kind == "number":
        return concept == "population"
    if kind == "year":
        return concept not in ("location", "lead", "population", "home", "river", "captaincy")
    return word not in ("novel", "film", "people", "inhabitants", "population", "active", "river")


def _between(body: str, subject: str, named: Sequence[str]) -> Iterator[Claim]:
    """The words between the subject and the names that follow it."""
    end = body.find(subject) + len(subject)
    for name in named:
        at = body.find(name, end)
        if key(name) == key(subject) or at < 0:
            continue
        phrase = " ".join(body[end:at].replace("’", "'").split()).strip(" ,.:;()'\"“”")
        if phrase and len(phrase.split()) <= 6 and not phrase.endswith(("and", "or")):
            single = bool(_SINGLE.match(phrase))
            yield _claim(subject, phrase.casefold(), name, single)
        return
