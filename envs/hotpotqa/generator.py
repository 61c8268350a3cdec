"""Generated questions in HotpotQA's format: invented worlds of ten look-alike paragraphs.

A *bridge* question describes a thing by another one that it names ("the director of the film X")
and asks for one of its properties: one paragraph says which thing that is, a second one has the
answer. A *comparison* names two things and asks which comes first in some respect, or whether
they agree in one. The other paragraphs are about further things of the same kinds with the same
properties. Every name occurs in one question only, so no paragraph answers another question.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from random import Random
from string import Formatter

from ...harness.errors import UsageError, unknown_name
from .kinds import KINDS
from .metrics import Fact
from .names import Names
from .records import Paragraph, Question
from .schema import LITERALS

VERSION = "1"  # changes whenever the bytes of any question of all splits do
# Of a split: changes whenever the bytes of any question of this split do.
VERSIONS: Mapping[str, str] = {"generated": "1", "generated-train": "2"}
SIZES: Mapping[str, int] = {"generated": 500, "generated-train": 15_000}
_FIRST = {"generated": 0, "generated-train": 500}  # the number of a split's first question
_TYPES = ("bridge", "comparison")
N_PARAGRAPHS = 10
_MAX_SENTENCES = 6
COUNTS = range(1200, 98_000)
_SPAN = 20  # years between things that have a person in common, at most
_SHARED = 0.4  # how often a thing that is not asked about shares a value with another one
_BEFORE_VOWEL = re.compile(r"\ba(?= [aeiou])")


@dataclass(frozen=True, slots=True)
class Claim:
    """What one sentence says: a property of a thing, both by name."""

    subject: str
    kind: str
    property: str
    value: str


@dataclass(frozen=True, slots=True)
class Query:
    """What a question asks, for a solver.

    Attributes:
        form: `chain` follows `properties` from the thing; `least` and `most` compare two things
            by a property; `same` asks whether they share its value.
        things: one name or two.
        properties: two of them for a chain, else one.
    """

    form: str
    things: tuple[str, ...]
    properties: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Generated:
    """A question with all that is true in its world."""

    question: Question
    query: Query
    claims: Mapping[Fact, tuple[Claim, ...]]  # by paragraph and sentence


@dataclass(slots=True)
class _Thing:
    kind: str
    name: str
    gender: str = ""
    values: dict[str, str] = field(default_factory=dict)


def generate(split: str, index: int) -> Generated:
    """The question at a position of a split.

    Raises:
        UsageError: an unknown split, or an index outside it.
    """
    if split not in SIZES:
        raise unknown_name("generated split", split, SIZES)
    if not 0 <= index < SIZES[split]:
        raise UsageError(f"split {split!r} has the questions 0 to {SIZES[split] - 1}, not {index}")
    rng = Random(f"hotpotqa question {VERSIONS[split]} {split} {index}")
    world = _World(rng, names_of(split, index, rng))
    make = _bridge if question_type(index) == "bridge" else _comparison
    text, answer, query, used = make(world, rng, index // 2)
    rng.shuffle(world.things)
    context: list[Paragraph] = []
    claims: dict[Fact, tuple[Claim, ...]] = {}
    for thing in world.things:
        sentences = _paragraph(thing, rng)
        context.append(Paragraph(thing.name, tuple(text for text, _ in sentences)))
        claims |= {(thing.name, at): told for at, (_, told) in enumerate(sentences)}
    places = {(c.subject, c.property): at for at, told in claims.items() for c in told}
    question = Question(
        id=task_id(split, index),
        text=text,
        answer=answer,
        type=question_type(index),
        level="generated",
        facts=tuple(places[need] for need in used),
        context=tuple(context),
    )
    return Generated(question, query, claims)


def shortened(game: Generated, n_paragraphs: int) -> Generated:
    """The question with so many of its paragraphs: those that support it, and others, in order.

    The question's id fixes which others; with more paragraphs come further ones, none goes.
    """
    question = game.question
    needed = {title for title, _ in question.facts}
    others = [p.title for p in question.context if p.title not in needed]
    Random(f"hotpotqa paragraphs {VERSION} {question.id}").shuffle(others)
    kept = needed.union(others[: max(0, n_paragraphs - len(needed))])
    context = tuple(paragraph for paragraph in question.context if paragraph.title in kept)
    claims = {fact: told for fact, told in game.claims.items() if fact[0] in kept}
    return replace(game, question=replace(question, context=context), claims=claims)


def question_type(index: int) -> str:
    """The types alternate, so that the first questions are a fair sample."""
    return _TYPES[index % len(_TYPES)]


def task_id(split: str, index: int) -> str:
    """The id of a question; needs no generation."""
    return f"{split}/{question_type(index)}/{index:04d}"


def names_of(split: str, index: int, rng: Random) -> Names:
    """The names that belong to a question, from the first one on."""
    return Names(_FIRST[split] + index, training=split == "generated-train", rng=rng)


def invent(kind: str, names: Names, rng: Random) -> tuple[str, str]:
    """A name for a thing of a kind, and a gender, empty but for people."""
    if kind == "river":
        return f"{names.word()} River", ""
    if kind == "person":
        gender = rng.choice("fm")
        return names.person(gender), gender
    return rng.choice(KINDS[kind].names).format(w=names.word()), ""


@cache
def split_hash(split: str) -> str:
    """A hash of all questions of a split."""
    total = hashlib.sha256(VERSIONS[split].encode())
    for index in range(SIZES[split]):
        total.update(generate(split, index).question.canonical())
    return total.hexdigest()[:16]


# --- worlds ---------------------------------------------------------------------------------


class _World:
    """The things of one question; two share a value only where they are made to."""

    def __init__(self, rng: Random, names: Names) -> None:
        self.things: list[_Thing] = []  # those that get a paragraph
        self._rng = rng
        self._names = names
        self._genders: dict[str, str] = {}  # of people, by name
        self._literals = {name: rng.sample(all_, len(all_)) for name, all_ in LITERALS.items()}
        self._numbers: set[int] = set()

    @property
    def full(self) -> bool:
        """Whether there are as many paragraphs as a question has."""
        return len(self.things) >= N_PARAGRAPHS

    def add(self, kind: str, **values: str) -> _Thing:
        """A thing with a paragraph; values not given are drawn."""
        return self._describe(kind, self._name(kind), KINDS[kind].years, values)

    def add_alike(self, one: _Thing, shared: Iterable[str]) -> _Thing:
        """A thing of the same kind and time that has these values too, and no others."""
        values = {key: one.values[key] for key in shared}
        if "year" in one.values and "year" not in values:
            year, (first, last) = int(one.values["year"]), KINDS[one.kind].years
            near = range(max(first, year - _SPAN), min(last, year + _SPAN))
            values["year"] = str(self._number(near))
        return self.add(one.kind, **values)

    def add_value(self, owner: _Thing, key: str) -> _Thing:
        """The thing that is another one's value gets a paragraph; it is older than its owners."""
        kind, value = KINDS[owner.kind].properties[key].value, owner.values[key]
        years = KINDS[kind].years
        if "year" in owner.values:
            owners = (thing for thing in self.things if thing.values.get(key) == value)
            year = min(int(thing.values["year"]) for thing in owners)
            years = (year - 80, year - 20)
        return self._describe(kind, value, years, {})

    def undescribed(self, thing: _Thing) -> list[str]:
        """The properties of a thing whose values have no paragraph."""
        names = {other.name for other in self.things}
        return [key for key, value in thing.values.items() if value not in names]

    def _describe(
        self, kind: str, name: str, years: tuple[int, int], values: Mapping[str, str]
    ) -> _Thing:
        thing = _Thing(kind, name, self._genders.get(name, ""))
        for key, prop in KINDS[kind].properties.items():
            thing.values[key] = values.get(key) or self._value(prop.value, years)
        self.things.append(thing)
        return thing

    def _value(self, wanted: str, years: tuple[int, int]) -> str:
        if wanted == "year":
            return str(self._number(range(*years)))
        if wanted == "count":
            return f"{self._number(COUNTS):,}"
        if wanted in LITERALS:
            return self._literals[wanted].pop()
        return self._name(wanted)

    def _number(self, among: range) -> int:
        while True:
            number = self._rng.choice(among)
            if number not in self._numbers:
                self._numbers.add(number)
                return number

    def _name(self, kind: str) -> str:
        name, gender = invent(kind, self._names, self._rng)
        self._genders[name] = gender
        return name


def _bridge(
    world: _World, rng: Random, number: int
) -> tuple[str, str, Query, list[tuple[str, str]]]:
    kind, first, second = _CHAINS[number % len(_CHAINS)]
    prop = KINDS[kind].properties[first]
    bridge = KINDS[prop.value].properties[second]
    start = world.add(kind)
    middle = world.add_value(start, first)
    # Other things that the start names are described too, where they could be mistaken for it.
    for key, other in KINDS[kind].properties.items():
        if key != first and other.value == prop.value:
            world.add_value(start, key)
    while not world.full:
        other_start = world.add(kind)
        if not world.full:
            world.add_value(other_start, first)
    phrase = rng.choice(prop.refs).format(x=KINDS[kind].noun + start.name)
    text = rng.choice(bridge.asks).format(x=phrase)
    query = Query("chain", (start.name,), (first, second))
    return text, middle.values[second], query, [(start.name, first), (middle.name, second)]


def _comparison(
    world: _World, rng: Random, number: int
) -> tuple[str, str, Query, list[tuple[str, str]]]:
    # Every second question is one of yes or no, every second one of those has the answer yes.
    by_order = number % 2 == 0
    choices = _ORDERS if by_order else _SAMES
    kind, key = choices[number // 2 % len(choices)]
    prop = KINDS[kind].properties[key]
    turn, position = divmod(number // 2, len(choices))
    shared = not by_order and (turn + position) % 2 == 0
    one = world.add(kind)
    two = world.add_alike(one, _shared(rng, kind, key, also=shared))
    if rng.random() < 0.5:
        one, two = two, one
    if by_order:
        form = rng.choice(("least", "most"))
        wordings = prop.least if form == "least" else prop.most
        smaller, larger = sorted((one, two), key=lambda thing: as_number(thing.values[key]))
        answer = smaller.name if form == "least" else larger.name
    else:
        form, wordings, answer = "same", prop.same, "yes" if shared else "no"
    text = rng.choice(wordings).format(x=one.name, y=two.name)
    # Where the answer is no, a third thing shares the value, which is thus found as often.
    again = None if by_order or shared else (rng.choice((one, two)), key)
    _surround(world, rng, kind, again)
    query = Query(form, (one.name, two.name), (key,))
    return text, answer, query, [(one.name, key), (two.name, key)]


def _shared(rng: Random, kind: str, key: str, *, also: bool) -> list[str]:
    """What two compared things have in common: the property `key`, if `also`, and others.

    That they share something must not tell whether they share what is asked about: the numbers
    of further shared properties are drawn such that neither they nor the totals say much.
    """
    others = [k for k in _shareable(kind) if k != key]
    if len(others) == 1:
        count = int(rng.random() < (1 / 3 if also else 2 / 3))
    else:
        count = rng.choices((0, 1, 2), (8, 7, 5) if also else (4, 8, 8))[0]
    return rng.sample(others, count) + [key] * also


def _surround(world: _World, rng: Random, kind: str, again: tuple[_Thing, str] | None) -> None:
    """Fill a world with things of a kind, which share values too, and some of their values.

    The first of them shares the property of `again`, if there is one.
    """
    properties = KINDS[kind].properties
    while not world.full:
        like = rng.choice([thing for thing in world.things if thing.kind == kind])
        free = {*world.undescribed(like)} & {*_shareable(kind)}
        shared = [key for key in properties if key in free and rng.random() < _SHARED]
        if again is not None:
            like, shared, again = again[0], [again[1]], None
        thing = world.add_alike(like, shared)
        related = [key for key in world.undescribed(thing) if properties[key].value in KINDS]
        if related and not world.full and rng.random() < 0.5:
            world.add_value(thing, rng.choice(related))


def _shareable(kind: str) -> list[str]:
    return [key for key, prop in KINDS[kind].properties.items() if prop.value != "count"]


def as_number(value: str) -> int:
    """A year or a count as a number."""
    return int(value.replace(",", ""))


def _chains() -> Iterator[tuple[str, str, str]]:
    for kind, spec in KINDS.items():
        for first, prop in spec.properties.items():
            if prop.refs:
                for second, bridge in KINDS[prop.value].properties.items():
                    if bridge.asks:
                        yield kind, first, second


def _mixed(items: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """A fixed order in which neighbours are of different kinds, mostly."""
    return Random(f"hotpotqa order {VERSION}").sample(items, len(items))


_CHAINS = _mixed(list(_chains()))
_ORDERS = _mixed([(k, p) for k, s in KINDS.items() for p, q in s.properties.items() if q.least])
_SAMES = _mixed([(k, p) for k, s in KINDS.items() for p, q in s.properties.items() if q.same])


# --- paragraphs -----------------------------------------------------------------------------


def _paragraph(thing: _Thing, rng: Random) -> list[tuple[str, tuple[Claim, ...]]]:
    """The sentences about a thing, each with what it claims."""
    spec = KINDS[thing.kind]
    opening = rng.choice(spec.openings)
    told = [key for _, key, _, _ in Formatter().parse(opening) if key in spec.properties]
    text = opening.format(name=thing.name, **thing.values)
    sentences = [(polished(text), tuple(_claim(thing, key) for key in told if key))]
    rest = [key for key in spec.properties if key not in told]
    rng.shuffle(rest)
    for key in rest:
        template = rng.choice(spec.properties[key].sentences)
        sentences.append((_say(template, thing, rng, thing.values[key]), (_claim(thing, key),)))
    n_asides = min(rng.choice((0, 1, 1, 2)), _MAX_SENTENCES - len(sentences))
    for aside in rng.sample(spec.asides, n_asides):
        place = rng.randint(1, len(sentences))
        sentences.insert(place, (_say(aside, thing, rng), ()))
    return sentences


def _claim(thing: _Thing, key: str) -> Claim:
    return Claim(thing.name, thing.kind, key, thing.values[key])


def _say(template: str, thing: _Thing, rng: Random, value: str = "") -> str:
    pronoun, possessive = {"f": ("she", "her"), "m": ("he", "his"), "": ("it", "its")}[thing.gender]
    choices = KINDS[thing.kind].it or (pronoun, pronoun, thing.name.split()[-1])
    return polished(template.format(it=rng.choice(choices), its=possessive, v=value))


def polished(text: str) -> str:
    """A sentence with its first letter large and its articles right."""
    return _BEFORE_VOWEL.sub("an", text[:1].upper() + text[1:])
