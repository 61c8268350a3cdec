"""Answering from texts alone, by rules of thumb: what a question asks for, and where it is said.

Nothing here knows the generator: the rules are about English questions, and real ones of HotpotQA
are read the same way (with much less success).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from .text import STOP_WORDS, content_stems, fold, stem, words

Notes = Mapping[str, tuple[str, ...]]  # the sentences read, by title
Place = tuple[str, int]

# Words that ask for, and words that tell, the same.
_SAME_SENSE = (
    "born birthplace birth native raised",
    "directed director", "wrote written author writer", "founded founder formed established",
    "located lies lie stands stand based headquarters headquartered office seat",
    "population inhabitants people live", "lead leading star stars starring role performer",
    "singer sings fronts fronted vocalist", "designed designer architect plans drawn",
    "published publisher publishes came out", "built builder manufacturer",
    "study studied educated institution school degree college university attended",
    "profession occupation worked job", "river flows", "sells sold records label contract",
    "product making made known lived money", "subject known strongest", "home comes started from",
    "released release came out", "opened open opening",
)  # fmt: skip
_SENSES: dict[str, set[str]] = {}
for _group in _SAME_SENSE:
    for _word in _group.split():
        _SENSES.setdefault(stem(_word), set()).update(map(stem, _group.split()))

_SPAN = re.compile(
    r"(?:[A-Z0-9][\w.'’-]*|&)"
    r"(?:,? (?:(?:of|the|to|from|in|at|over|and|de|la|von|van|der) ){0,2}(?:[A-Z][\w.'’-]*|&))*"
)
_YEAR = re.compile(r"\b(1\d{3}|20\d\d)\b")
_DATE = re.compile(r"\b(?:\d{1,2} [A-Z][a-z]+ \d{4}|[A-Z][a-z]+ \d{1,2}, \d{4})\b")
_NUMBER = re.compile(r"\b\d[\d,.]*\d\b|\b\d\b")
_JOB = re.compile(r"\b(?:is|was|as) an? ((?:[\w-]+ ){0,3}?[\w-]+)(?= who| for| and| from|[,.])")
_GENRE = re.compile(r"\b(?:an?|\d{4}) ([a-z][a-z ]*?) (?:film|novel|book|movie|band)\b")
_NO_JOB = re.compile(r"\b(?:company|firm|band|group|town|museum|school|film|novel|ship)\b")
_BEGINNING = re.compile(r"^(?:First|With|[A-Z][a-z]+ed)\b")  # of a sentence; not a name
_QUALIFIER = re.compile(r"^(?:noted|famous|former|retired|professional|[A-Z][a-z]+(?:an|ish|ese)) ")
_YES_NO = re.compile(r"^(?:are|is|was|were|do|does|did|has|have|had|can)\b", re.I)
_OR = re.compile(r"[\s,:]*\b(?:both|either)?\s*([^,:?]+?),? or (?:the )?([^?]+?)\s*\?*$", re.I)
_QUOTED = re.compile(r"[\"“]([^\"”]{2,80})[\"”]")
_LESS = {"first", "earlier", "older", "oldest", "longer", "before", "fewer", "smaller", "less"}
_MORE = {"later", "younger", "youngest", "recently", "recent", "newer", "more", "larger", "bigger"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What the notes say to a question.

    Attributes:
        answer: the best guess; empty for none.
        places: the sentences it rests on.
        wanted: names whose paragraphs should be read before the guess is trusted.
    """

    answer: str
    places: tuple[Place, ...] = ()
    wanted: tuple[str, ...] = ()


def mentions(question: str) -> list[str]:
    """The names in a question: quoted ones, then capitalised ones, long before short."""
    body = re.sub(r"^\W*\w+\s", "", question)  # the first word is capitalised anyway
    spans = [part for span in _SPAN.findall(body) for part in re.split(r" (?:and|or) ", span)]
    names = _QUOTED.findall(question) + sorted(spans, key=len, reverse=True)
    return list(dict.fromkeys(n.strip(" .,") for n in names if fold(n) and fold(n) not in "the"))


def find(question: str, notes: Notes) -> Finding:
    """The best answer from the notes."""
    choice = _OR.search(question)
    if choice is not None:
        named = _named(question, notes)
        options = (named[0], named[1]) if len(named) == 2 else (choice[1], choice[2])
        return _choose(question, options, notes)
    if _YES_NO.match(question.strip()):
        return _agree(question, notes)
    return _Search(question, notes).best()


# --- comparisons ------------------------------------------------------------------------------


def _choose(question: str, options: tuple[str, str], notes: Notes) -> Finding:
    """Which of two: by year or number where the question orders them, else by matching words."""
    asked = set(words(question))
    titles = [_title_of(option, notes) for option in options]
    wanted = tuple(o for o, title in zip(options, titles, strict=True) if title is None)
    found = [_measure(question, title, notes) for title in titles]
    first, second = found
    pick = 0
    if first is not None and second is not None and asked & (_LESS | _MORE):
        smaller = 0 if first[0] <= second[0] else 1
        pick = smaller if _is_less(asked) else 1 - smaller
    elif not asked & (_LESS | _MORE):
        senses = _senses(question)
        fits = [max((_fit(s, senses) for s in notes.get(t or "", ())), default=0) for t in titles]
        pick = int(fits[1] > fits[0])
    places = tuple(f[1] for f in found if f is not None)
    return Finding(_as_titled(options[pick], titles[pick]), places, wanted)


def _is_less(asked: set[str]) -> bool:
    return bool(asked & _LESS) and not asked & (_MORE - {"more"})


def _as_titled(option: str, title: str | None) -> str:
    """The option as it is written in the question, or the title where that holds more of it."""
    return title if title is not None and fold(option) in fold(title) else option.strip(' ."“”')


def _measure(question: str, title: str | None, notes: Notes) -> tuple[float, Place] | None:
    """The year or number of a thing that a question compares, and where it stands."""
    if title is None:
        return None
    counts = re.search(r"inhabitants|people|population|smaller|larger|fewer|members", question)
    pattern = _NUMBER if counts else _YEAR
    senses = _senses(question)
    ranked = sorted(enumerate(notes[title]), key=lambda pair: (-_fit(pair[1], senses), pair[0]))
    for at, sentence in ranked:
        if number := pattern.search(sentence):
            return float(number[0].replace(",", "").rstrip(".")), (title, at)
    return None


def _agree(question: str, notes: Notes) -> Finding:
    """Whether two things have the same value, or both are what the question says."""
    titles = _named(question, notes)[:2]
    wanted = tuple(name for name in mentions(question) if _title_of(name, notes) is None)
    if len(titles) < 2:
        return Finding("no", (), wanted)
    senses = _senses(_without(question, titles))
    values: list[frozenset[str]] = []
    places: list[Place] = []
    same = bool({"same", "share"} & {*words(question)})
    for title in titles:
        at, sentence = max(
            enumerate(notes[title]),
            key=lambda p: (_fit(p[1], senses), bool(_values(p[1], question, title)), -p[0]),
        )
        places.append((title, at))
        if same:
            given = _values(sentence, question, title)
            values.append(frozenset(fold(value).removeprefix("the ") for value in given))
        else:  # whether both are what the question says
            values.append(content_stems(" ".join(notes[title])) & senses.keys())
    agree = bool(values[0] & values[1]) if same else all(values)
    return Finding("yes" if agree else "no", tuple(places), wanted)


# --- values, one or two paragraphs away -----------------------------------------------------------


class _Search:
    """Looks for a value in the paragraphs that a question names, and in those they lead to."""

    def __init__(self, question: str, notes: Notes) -> None:
        self._question = question
        self._notes = notes
        self._named = _named(question, notes)
        self._senses = _senses(_without(question, self._named))
        self._wanted: list[tuple[float, str]] = []

    def best(self) -> Finding:
        """The best-fitting value, with the names that should be read first."""
        candidates = list(self._candidates())
        answer, places = "", tuple[Place, ...]()
        if candidates:
            _, answer, places = max(candidates, key=lambda c: c[0])
        wanted = [name for _, name in sorted(self._wanted, key=lambda w: -w[0])]
        if not self._named:
            wanted = [*mentions(self._question), *wanted]
        return Finding(answer, places, tuple(dict.fromkeys(wanted)))

    def _candidates(self) -> Iterator[tuple[float, str, tuple[Place, ...]]]:
        for title in self._named or self._notes:
            for at, sentence in enumerate(self._notes[title]):
                matched = self._matched(sentence)
                here = ((title, at),)
                for value in _values(sentence, self._question, title)[:1]:
                    yield len(matched) - 0.5, value, here
                for name in _names(sentence, self._question, title):
                    linked = _title_of(name, self._notes)
                    if linked is None:
                        self._wanted.append((len(matched), name))
                    elif linked not in self._named:
                        yield from self._beyond(linked, matched, here)
        for title, sentences in self._notes.items():
            if title not in self._named:
                yield from self._back(title, sentences)

    def _beyond(
        self, title: str, matched: set[str], before: tuple[Place, ...]
    ) -> Iterator[tuple[float, str, tuple[Place, ...]]]:
        """Values in a paragraph that a named one leads to."""
        for at, sentence in enumerate(self._notes[title]):
            further = self._matched(sentence) - matched
            for value in _values(sentence, self._question, title)[:1]:
                bonus = 0.25 if further else -0.75
                yield len(matched) + len(further) + bonus, value, (*before, (title, at))

    def _back(
        self, title: str, sentences: tuple[str, ...]
    ) -> Iterator[tuple[float, str, tuple[Place, ...]]]:
        """Values in a paragraph that mentions a named one."""
        text = f" {fold(' '.join(sentences))} "
        for named in self._named:
            if f" {_bare(named)} " in text:
                for at, sentence in enumerate(sentences):
                    for value in _values(sentence, self._question, title)[:1]:
                        yield len(self._matched(sentence)) - 0.25, value, ((title, at),)

    def _matched(self, sentence: str) -> set[str]:
        """The question's words that a sentence speaks of."""
        stems = content_stems(sentence)
        return {word for word, senses in self._senses.items() if senses & stems}


# --- words ------------------------------------------------------------------------------------


def _bare(title: str) -> str:
    """A title without what stands in brackets to tell it from others."""
    return fold(re.sub(r"\s*\([^)]*\)\s*$", "", title))


def _named(question: str, notes: Notes) -> list[str]:
    """The titles that a question names, in its order; no part of a longer one."""
    text = f" {fold(question)} "
    found = sorted((t for t in notes if _bare(t) and f" {_bare(t)} " in text), key=_length)
    kept: list[str] = []
    for title in found:
        if not any(f" {_bare(title)} " in f" {_bare(other)} " for other in kept):
            kept.append(title)
    return sorted(kept, key=lambda title: text.index(f" {_bare(title)} "))


def _length(title: str) -> tuple[int, str]:
    return -len(_bare(title)), title


def _title_of(name: str, notes: Notes) -> str | None:
    wanted = fold(name)
    exact = (title for title in notes if wanted in (fold(title), _bare(title)))
    return next(exact, None) or next((t for t in notes if f" {_bare(t)} " in f" {wanted} "), None)


def _without(question: str, titles: Iterable[str]) -> str:
    text = f" {fold(question)} "
    for title in titles:
        text = text.replace(f" {_bare(title)} ", " ")
    return text


def _senses(text: str) -> dict[str, set[str]]:
    """The content words of a text, each with the words that tell the same."""
    return {word: {word} | _SENSES.get(word, set()) for word in content_stems(text)}


def _fit(sentence: str, senses: Mapping[str, set[str]]) -> int:
    stems = content_stems(sentence)
    return sum(bool(options & stems) for options in senses.values())


def _names(sentence: str, question: str, title: str) -> list[str]:
    """The names in a sentence, without its own title, the question's, and pronouns."""
    asked, own = f" {fold(question)} ", fold(title)
    kept = []
    for span in _SPAN.findall(_BEGINNING.sub("", sentence.strip())):
        name = span.strip(" .,'’&") if not span.endswith("& Sons") else span
        folded = fold(name)
        if folded in STOP_WORDS or name.isdigit() or not folded:
            continue
        first, _, rest = name.partition(" ")
        if first.lower() in STOP_WORDS and first != "The" and rest:
            name, folded = rest, fold(rest)
        if folded not in own and f" {folded} " not in asked and name[:1].isupper():
            kept.append(name)
    return kept


def _values(sentence: str, question: str, title: str) -> list[str]:
    """What in a sentence could be the answer, by the kind of answer a question asks for."""
    asked = question.lower()
    if re.search(r"\bwhat year\b|\bbirth year\b|\bwhich year\b", asked):
        return _YEAR.findall(sentence)
    if re.search(r"\bwhen\b|\bdate\b|\bbirthday\b", asked):
        return _DATE.findall(sentence) or _YEAR.findall(sentence)
    if re.search(r"\bhow many\b|\bpopulation\b|\bhow much\b|\bhow old\b", asked):
        return [n for n in _NUMBER.findall(sentence) if not _YEAR.fullmatch(n)]
    if re.search(r"\bprofession\b|\boccupation\b", asked):
        jobs = [_QUALIFIER.sub("", job) for job in _JOB.findall(sentence)]
        return [job for job in jobs if not _NO_JOB.search(job)]
    if "genre" in asked:
        return _GENRE.findall(sentence)
    if re.search(r"\bproducts?\b|\bsubject\b|\bmaking of what\b|\bknown for what\b", asked):
        return _tail(sentence, question)
    return _names(sentence, question, title) or []


def _tail(sentence: str, question: str) -> list[str]:
    """The last words of a sentence that neither the question nor grammar explains."""
    known = {s for senses in _senses(question).values() for s in senses} | {"long", "best"}
    kept: list[str] = []
    for word in reversed(sentence.rstrip(" .").split()):
        bare = word.casefold().strip("'’\",")
        if bare in STOP_WORDS or stem(bare) in known:
            break
        kept.insert(0, word)
    return [" ".join(kept)] if kept else []
