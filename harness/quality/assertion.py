"""Whether a sentence asserts what its words are about, or asks, doubts, denies or turns it round.

By closed lists and patterns of English, so with limits: a plan (`meant to build`), irony, a lesser
degree (`less deep than`), and names turned round with other words between them are not noticed.
"""

from __future__ import annotations

import re
from functools import lru_cache

from .texts import Statement, sequence

_WRONG = r"(?:false|untrue|wrong|incorrect|mistaken|not true|a mistake|an error|a myth)"
# Of the whole sentence; in lower case, so that the title of a film denies nothing.
_DOUBT = re.compile(
    r"\b(?:[Ii]t|[Tt]his|[Tt]hat|which)(?:['’]s| is| was| has been)(?: \w+ly)? " + _WRONG + r"\b"
    r"|\b(?:turned out|proved|shown|known|found|believed)(?: to be)? " + _WRONG + r"\b"
    r"|\b(?:untrue|mistaken|mistakenly|incorrectly|wrongly|falsely|supposedly"
    r"|allegedly|reportedly|perhaps|maybe|possibly|whether)\b"
    r"|\b(?:was|were|had) (?:nearly|almost) [a-z]+(?:ed|en|t)\b"
)
_CORRECTED = re.compile(r"\b(?:corrected|changed|updated) to\b")
_RELATIVES = (
    r"(?:sons?|daughters?|brothers?|sisters?|mother|father|parents|wife|husband|widow|uncle|aunt"
    r"|cousins?|nephew|niece|grand(?:son|daughter|mother|father)|child|children|friends?|teacher"
    r"|pupils?|students?|rivals?|neighbours?|colleagues?|assistant|successor|predecessor|dog|cat)"
)
# `Vell's brother was born`, though not `Vell's brother was Otto Falk`, which says it of Vell too.
_POSSESSIVE = re.compile(
    rf"[^\W\d_]+['’]s? (?:[a-z]+ )?({_RELATIVES})\b(?!,? (?:is |was |were )[A-Z])"
    rf"|^The (?:[a-z]+ )?({_RELATIVES}) of [A-Z][^,.;]*? (?:is|was|were) (?![A-Z])"
)
_SYMMETRIC = frozenset(
    re.split(
        r"\s+",
        """marri meet met near next adjoin adjacent border neighbour sister brother sibl cousin
        friend rival partner colleague twin equal same like resembl and spous""",
    )
)  # stems


def asks(said: Statement) -> bool:
    """Whether it is a question, which says nothing."""
    return said.text.rstrip(" \"'”’)]*_").endswith("?")


@lru_cache(maxsize=16384)
def _doubts(text: str) -> bool:
    return _DOUBT.search(text) is not None


def doubts(said: Statement, claim: Statement) -> bool:
    """Whether a sentence calls all that it says false or open, and the claim does not."""
    if _doubts(said.text) and not _doubts(claim.text):
        return True
    corrected = _CORRECTED.search(said.text)
    if corrected is None or _CORRECTED.search(claim.text):
        return False
    after = frozenset(stem for _, stem, _ in sequence(said.text[corrected.end() :]))
    rest = _anchors(claim)
    return not any(anchor <= after for anchor in rest)


def about_another(said: Statement, whole: Statement) -> bool:
    """Whether a sentence is about somebody's relative where the fact is about nobody's."""
    found = [one or two for one, two in _POSSESSIVE.findall(said.text)]
    return any(stem not in whole.words for word in found for _, stem, _ in sequence(word))


def denied(said: Statement, claim: Statement) -> bool:
    """Whether what a sentence says of the claim holds a negation.

    The clause that shares most with the claim tells; or one that denies a number of the claim or
    a name beside its first, which no other clause affirms: `launched, but not in 1931`.
    """
    shared = [(len(content & claim.content), no) for content, no in said.clauses]
    most = max((n for n, _ in shared), default=0)
    no = any(negated for n, negated in shared if n == most)
    denying = [content for content, negated in said.clauses if negated]
    if not denying:
        return no
    affirming = [content for content, negated in said.clauses if not negated]
    for anchor in _anchors(claim):
        if any(anchor <= c for c in denying) and not any(anchor <= c for c in affirming):
            return True
    # `not in 1931 but in 1922` denies 1931 alone.
    affirmed = claim.numbers <= frozenset().union(*affirming)
    foreign = frozenset().union(*denying) & said.numbers - claim.numbers
    return no and not (claim.numbers and affirmed and foreign)


def _anchors(claim: Statement) -> list[frozenset[str]]:
    """Numbers, and names beside the first, which mostly is the subject."""
    return [frozenset({number}) for number in sorted(claim.numbers)] + list(claim.names[1:])


def swapped(said: Statement, whole: Statement, subject: frozenset[str]) -> bool:
    """Whether two names stand the other way round about the same word.

    `Falk taught Vell` for `Vell taught Falk`. The order of the names, a passive (`was taught by`)
    and a possessive (`Falk's teacher is`) each turn it round; two of them come to the same. Only
    where the words between the names are the same; what holds both ways (`married`) is left out.
    """
    names = [name for name in whole.names if not name & subject]
    pair = [subject, *names][:2] if subject else list(whole.names[:2])
    if len(pair) < 2 or pair[0] <= pair[1] or pair[1] <= pair[0]:
        return False
    pair = [pair[0] - pair[1], pair[1] - pair[0]]  # Mount Iskar and Mount Bel
    claim, other = (_between(text, *pair) for text in (whole.text, said.text))
    if claim is None or other is None or not claim[1] or claim[1] != other[1]:
        return False
    if claim[1] & _SYMMETRIC:
        return False
    return (claim[0] != other[0]) != (claim[2] != other[2])


def _between(
    text: str, one: frozenset[str], two: frozenset[str]
) -> tuple[bool, frozenset[str], bool] | None:
    """Whether `one` comes first, the stems of meaning between, whether passive or possessive."""
    tokens = sequence(text)
    places = [[at for at, (_, stem, _) in enumerate(tokens) if stem in n] for n in (one, two)]
    if not places[0] or not places[1]:
        return None
    first = places[0][0] < places[1][0]
    before, behind = places if first else reversed(places)
    start = max(at for at in before if at < behind[0])
    between = tokens[start + 1 : behind[0]]
    stems = frozenset(stem for _, stem, meaning in between if meaning)
    plain = {word for word, _, _ in between}
    owner = _owns(tokens[start][0]) or bool(plain & {"his", "her", "its", "their"})
    return first, stems, ("by" in plain) != owner


def _owns(word: str) -> bool:
    """Whether a word as written ends in a possessive."""
    return word.endswith(("'s", "’s", "s'", "s’"))
