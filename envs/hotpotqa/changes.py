"""Facts that change midway: what is corrected, what is then true, and how one says so.

A memory that only gathers what it is told answers such a question wrongly. The first correction
turns the answer; further ones change other facts and leave it as it is. What a new value is made
of occurs nowhere else in the question, so nothing but the correction tells it. One exception: a
comparison that asks whether two things agree, and is answered no, becomes a yes only when one of
them takes the value of the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from random import Random

from ...harness.errors import DataError
from .generator import (
    COUNTS,
    N_PARAGRAPHS,
    Claim,
    Generated,
    Query,
    as_number,
    generate,
    invent,
    names_of,
    polished,
    shortened,
)
from .kinds import KINDS
from .metrics import Fact
from .names import Names
from .records import Question
from .schema import LITERALS

VERSION = "1"  # changes whenever the bytes of any correction do
_NEAR = (12, 40)  # years between the wrong and the right one: plausible, else as needed
_TRIES = 300  # at a count
# Every other one is for training, every other one for testing. What begins a correction names the
# paragraph, what ends it names the old value; between or after them stands what is true.
_OPENINGS = (
    "I misread the page on “{}”.",
    "I have to correct myself on “{}”.",
    "About “{}” again, I mixed something up.",
    "Something I told you about “{}” was not right.",
    "Sorry, I was wrong about “{}”.",
    "I looked at “{}” once more and had made a mistake.",
    "I just noticed a slip in what I said about “{}”.",
    "There is a newer page on “{}”, and it differs in one point.",
    "My eyes played a trick on me with “{}”.",
    "A friend says that I got a detail of “{}” wrong.",
    "Please forget a bit of what I said about “{}”.",
    "I was too quick when I read about “{}”.",
)
_WITHDRAWALS = (
    "I said {} before, which is wrong.",
    "So it is not {}, as I had it.",
    "When I said {}, that was a slip.",
    "Forget {}, please.",
    "Before, I told you {} by mistake.",
    "I do not know where I got {} from.",
    "Please strike {} from your mind.",
    "I must have dreamt of {}.",
    "The {} of before was my error.",
    "Not {}, whatever I told you.",
    "I wrote down {}, and that cannot be.",
    "You heard {} from me, but do not believe it.",
)
MAX_CHANGES = len(_OPENINGS) // 2  # no two corrections of an episode begin or end alike


@dataclass(frozen=True, slots=True)
class Change:
    """One correction.

    Attributes:
        fact: the sentence that was wrong.
        was: what it claimed.
        value: the right value.
        old, new: the sentence as it was told, and as it should have been.
        message: what is said about it.
        told: the sentence of the message that says what is true.
    """

    fact: Fact
    was: Claim
    value: str
    old: str
    new: str
    message: str = ""
    told: str = ""


@dataclass(frozen=True, slots=True)
class Revision:
    """A question after its corrections.

    Attributes:
        question: with the answer and the paragraphs that are right in the end.
        changes: in the order in which they are told.
    """

    question: Question
    changes: tuple[Change, ...]


def revise(
    split: str, index: int, seed: int, count: int, n_paragraphs: int = N_PARAGRAPHS
) -> Revision:
    """A generated question with so many facts changed, one or more; the first turns the answer.

    Args:
        split: of generated questions.
        index: the question's position in it.
        seed: of the task's data, not of an episode; with the task it fixes the changes.
        count: how many, up to `MAX_CHANGES`.
        n_paragraphs: how many are told; no other is corrected.

    Raises:
        DataError: no fact is left that could be changed.
    """
    whole = generate(split, index)
    game = shortened(whole, n_paragraphs)
    rng = Random(f"hotpotqa changes {VERSION} {game.question.id} {seed}")
    draft = _Draft(game, rng, names_of(split, index, rng), "\n".join(whole.question.texts()))
    for number in range(count):
        draft.change(turning=number == 0)
    halves = [texts[split == "generated-train" :: 2] for texts in (_OPENINGS, _WITHDRAWALS)]
    wordings = zip(*(rng.sample(half, count) for half in halves), strict=True)
    changes = [
        _worded(change, opening, withdrawal, rng)
        for change, (opening, withdrawal) in zip(draft.changes, wordings, strict=True)
    ]
    rng.shuffle(changes)  # so that the place of a correction tells nothing
    return Revision(draft.question(), tuple(changes))


class _Draft:
    """A question while its facts are changed; each sentence is changed at most once."""

    def __init__(self, game: Generated, rng: Random, names: Names, seen: str) -> None:
        self.changes: list[Change] = []
        self._game = game
        self._rng = rng
        self._names = names
        self._answer = game.question.answer
        self._claims = dict(game.claims)
        self._texts = {p.title: list(p.sentences) for p in game.question.context}
        self._seen = seen
        while names.word() in self._seen:  # those of the whole question come first
            pass

    def question(self) -> Question:
        """The question as corrected."""
        question = self._game.question
        context = tuple(replace(p, sentences=tuple(self._texts[p.title])) for p in question.context)
        return replace(question, answer=self._answer, context=context)

    def change(self, *, turning: bool) -> None:
        """Change one more fact, such that the answer turns into another one or stays.

        Of a sentence on which the answer rests only that is changed on which it rests: what is
        told in its place is a fact of the gold then, and the sentence as first told is none.
        """
        changed = {change.fact for change in self.changes}
        supporting = self._game.question.facts
        facts = supporting if turning else tuple(self._claims)
        needed = _needed(self._game.query, self._claims)
        options = [
            (fact, claim)
            for fact in facts
            if fact not in changed
            for claim in self._claims[fact]
            if fact not in supporting or (claim.subject, claim.property) in needed
        ]
        self._rng.shuffle(options)
        for fact, claim in options:
            for value in self._values(claim, turning=turning):
                if self._try(fact, claim, value, turning=turning):
                    return
        raise DataError(f"{self._game.question.id}: no further fact can be changed")

    def _try(self, fact: Fact, claim: Claim, value: str, *, turning: bool) -> bool:
        told = tuple(replace(c, value=value) if c == claim else c for c in self._claims[fact])
        answer = _solve(self._game.query, {**self._claims, fact: told})
        if answer is None or (answer != self._answer) != turning:
            return False
        title, at = fact
        old = self._texts[title][at]
        new = _reworded(old, claim.value, value)
        if new is None:
            return False
        self._claims[fact], self._texts[title][at], self._answer = told, new, answer
        self._seen += f"\n{value}"
        self.changes.append(Change(fact, claim, value, old, new))
        return True

    def _values(self, claim: Claim, *, turning: bool) -> Iterator[str]:
        """What could take the place of a claim's value: what nothing has said, mostly."""
        for value in self._invented(claim):
            if not _holds(self._seen, value) and not _holds(value, claim.value):
                yield value
        if turning and self._game.query.form == "same":
            for told in self._claims.values():
                yield from (
                    other.value
                    for other in told
                    if other.subject in self._game.query.things and other.subject != claim.subject
                    if other.property == claim.property
                )

    def _invented(self, claim: Claim) -> Iterator[str]:
        kind = KINDS[claim.kind].properties[claim.property].value
        if kind == "year":
            year, last = int(claim.value), KINDS[claim.kind].years[1]
            for span in _NEAR:
                near = range(year - span, min(year + span, last) + 1)
                yield from map(str, self._rng.sample(near, len(near)))
        elif kind == "count":
            number = as_number(claim.value)
            near = range(max(COUNTS[0], number // 2), min(COUNTS[-1], number * 2))
            for among in (near, COUNTS):
                numbers = self._rng.sample(among, min(_TRIES, len(among)))
                yield from (f"{number:,}" for number in numbers)
        elif kind in LITERALS:
            yield from self._rng.sample(LITERALS[kind], len(LITERALS[kind]))
        else:
            yield invent(kind, self._names, self._rng)[0]


_Claims = Mapping[Fact, tuple[Claim, ...]]


def _values_of(claims: _Claims) -> dict[tuple[str, str], str]:
    return {(c.subject, c.property): c.value for told in claims.values() for c in told}


def _needed(query: Query, claims: _Claims) -> set[tuple[str, str]]:
    """Of which subject which property the answer rests on."""
    if query.form != "chain":
        return {(thing, query.properties[0]) for thing in query.things}
    first, second = query.properties
    link = (query.things[0], first)
    return {link, (_values_of(claims)[link], second)}


def _solve(query: Query, claims: _Claims) -> str | None:
    """The answer that follows from the claims; None where none does."""
    values = _values_of(claims)
    if query.form == "chain":
        first, second = query.properties
        return values.get((values[query.things[0], first], second))
    one, two = query.things
    a, b = (values[thing, query.properties[0]] for thing in query.things)
    if query.form == "same":
        return "yes" if a == b else "no"
    if a == b:
        return None
    return one if (as_number(a) < as_number(b)) == (query.form == "least") else two


def _holds(text: str, value: str) -> bool:
    near = value.lower() in text.lower()  # quickly told, mostly
    return near and _whole(value).search(text) is not None


def _whole(value: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w,]){re.escape(value)}(?!\w)", re.I)


def _reworded(sentence: str, old: str, new: str) -> str | None:
    """A sentence with another value, its article right; None unless it holds the old one once."""
    text, n_found = _whole(old).subn(new, sentence)
    before = re.compile(rf"\ban?(?= {re.escape(new)})")
    return polished(before.sub("a", text)) if n_found == 1 else None


def _worded(change: Change, opening: str, withdrawal: str, rng: Random) -> Change:
    """A change with the message about it, which can be understood by itself."""
    claim, name = change.was, change.was.subject
    kind = KINDS[claim.kind]
    template = rng.choice(kind.properties[claim.property].sentences)
    it = rng.choice(kind.it or (name, name.split()[-1]))
    true = polished(template.format(it=it, its="its", v=change.value))
    rest = [true, withdrawal.format(claim.value)]
    if rng.random() < 0.5:
        rest.reverse()
    return replace(change, message=" ".join([opening.format(name), *rest]), told=true)
