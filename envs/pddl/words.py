"""Saying facts and actions in plain English, and reading what was said.

Each predicate has one phrase, used for what is true, what has changed, what an action lacks, and
the goal. So a player meets each fact in one wording, and `Reader` can take a text apart again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

from ..pddl_text import Fact
from .language import Domain, Literal, Operator

_NAME = r"[a-z][a-z0-9_-]*"
_LIST = rf"{_NAME}(?:, {_NAME})*(?:,? and {_NAME})?"
_NOT = "it is not so that "
NOW, NO_LONGER = "Now: ", "No longer: "


@dataclass(frozen=True, slots=True)
class Phrase:
    """How a predicate is said.

    Attributes:
        one: the phrase, with `{0}`, `{1}` for the arguments.
        many: the phrase for several facts that differ in one argument; empty: one at a time.
        gather: the argument they differ in.
    """

    one: str
    many: str = ""
    gather: int = 0


@dataclass(frozen=True, slots=True)
class Words:
    """The wording of a domain.

    Attributes:
        intro: a sentence that names the domain.
        phrases: of the predicates, in the order in which a state is told.
        forms: of the actions, with the operators' parameters in braces. A parameter may be left
            out where the state decides it.
    """

    intro: str
    phrases: Mapping[str, Phrase]
    forms: Mapping[str, str]

    def action(self, operator: Operator, args: Sequence[str]) -> str:
        """A ground action in words."""
        names = (name.removeprefix("?") for name, _ in operator.parameters)
        return self.forms[operator.name].format(**dict(zip(names, args, strict=True)))

    def clauses(self, facts: Iterable[Fact]) -> list[str]:
        """The facts in phrases, several in one where that can be said."""
        by_predicate: dict[str, list[Fact]] = {}
        for fact in sorted(facts, key=natural_fact):
            by_predicate.setdefault(fact[0], []).append(fact)
        return [
            clause
            for predicate, phrase in self.phrases.items()
            if predicate in by_predicate
            for clause in _clauses(phrase, by_predicate[predicate])
        ]

    def literal(self, literal: Literal) -> str:
        """One literal in words."""
        said = self.phrases[literal.fact[0]].one.format(*literal.fact[1:])
        return said if literal.positive else _NOT + said

    def goal(self, goal: Iterable[Literal]) -> str:
        """What is to be reached."""
        goal = list(goal)
        said = self.clauses(g.fact for g in goal if g.positive)
        said += [self.literal(g) for g in goal if not g.positive]
        return f"make all of this true at the same time: {'; '.join(said)}."

    def state(self, facts: Iterable[Fact], objects: Mapping[str, str]) -> str:
        """Everything there is, and everything that is true of it."""
        kinds: dict[str, list[str]] = {}
        for name in sorted(objects, key=natural):
            kinds.setdefault(objects[name], []).append(name)
        things = (
            f"the {kind}{'s' if len(names) > 1 else ''} {listed(names)}"
            for kind, names in sorted(kinds.items())
        )
        sentences = [f"there are {'; '.join(things)}", *self.clauses(facts)]
        return " ".join(f"{_capital(sentence)}." for sentence in sentences)

    def change(self, added: Iterable[Fact], deleted: Iterable[Fact]) -> str:
        """What has become true and what false."""
        parts = [
            f"{head}{'; '.join(clauses)}."
            for head, clauses in (
                (NOW, self.clauses(added)),
                (NO_LONGER, self.clauses(deleted)),
            )
            if clauses
        ]
        return " ".join(parts) or "You do it, but it changes nothing."


def _clauses(phrase: Phrase, facts: Sequence[Fact]) -> Iterator[str]:
    if not phrase.many:
        for fact in facts:
            yield phrase.one.format(*fact[1:])
        return
    groups: dict[Fact, list[str]] = {}
    for fact in facts:
        args = list(fact[1:])
        name, args[phrase.gather] = args[phrase.gather], ""
        groups.setdefault(tuple(args), []).append(name)
    for rest, names in groups.items():
        said = list(rest)
        said[phrase.gather] = listed(names)
        yield (phrase.many if len(names) > 1 else phrase.one).format(*said)


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b, and c`."""
    if len(names) < 3:
        return " and ".join(names)
    return f"{', '.join(names[:-1])}, and {names[-1]}"


def _capital(sentence: str) -> str:
    """With a capital letter, unless it begins with a name, which must be copied as it is."""
    first = sentence.partition(" ")[0]
    plain = first in {"the", "you", "your", "there", "level", "part", "it"}
    return sentence[0].upper() + sentence[1:] if plain else sentence


# As the parts of a name, and the name itself: `b1` and `b01` have the same parts.
_Key: TypeAlias = tuple[tuple[tuple[str, int], ...], str]


@cache
def natural(name: str) -> _Key:
    """A sort key by which `ball2` comes before `ball10`; no two names have the same."""
    parts = re.findall(r"(\D*)(\d{0,9})", name)
    return tuple((word, int(digits or 0)) for word, digits in parts), name


def natural_fact(fact: Fact) -> tuple[_Key, ...]:
    """A sort key of facts; no two have the same."""
    return tuple(map(natural, fact))


# --- reading --------------------------------------------------------------------------------


class Reader:
    """Takes a domain's texts apart; it knows the wording and nothing else."""

    def __init__(self, domain: Domain, words: Words) -> None:
        """Prepare to read a domain's wording."""
        self._patterns = [
            (predicate, re.compile(_pattern(form, len(domain.predicates[predicate]), gather)))
            for predicate, phrase in words.phrases.items()
            for form, gather in ((phrase.one, -1), (phrase.many, phrase.gather))
            if form
        ]

    def literals(self, text: str) -> list[Literal]:
        """What a text says in its sentences and clauses; what is no phrase is passed over."""
        found: list[Literal] = []
        for clause in re.split(r"[.;:]\s*", text.lower()):
            positive = not clause.startswith(_NOT)
            said = clause.removeprefix(_NOT)
            found += [Literal(fact, positive) for fact in self._facts(said)]
        return found

    def _facts(self, clause: str) -> Iterator[Fact]:
        for predicate, pattern in self._patterns:
            match = pattern.fullmatch(clause)
            if match:
                args = [match[f"a{slot}"] for slot in range(len(match.groupdict()))]
                several = next((slot for slot, arg in enumerate(args) if " " in arg), None)
                if several is None:
                    yield (predicate, *args)
                    return
                for name in names_in(args[several]):
                    yield (predicate, *args[:several], name, *args[several + 1 :])
                return

    @staticmethod
    def objects(text: str) -> dict[str, str]:
        """The objects that a text lists with their types."""
        objects: dict[str, str] = {}
        there = re.search(r"there are ([^.]*)\.", text.lower())
        for part in there[1].split("; ") if there else ():
            kind, _, names = part.removeprefix("the ").partition(" ")
            found = names_in(names)
            objects |= dict.fromkeys(found, kind.removesuffix("s") if len(found) > 1 else kind)
        return objects


def names_in(text: str) -> list[str]:
    """The names in `a, b, and c`."""
    return re.split(r",? and |, ", text)


def _pattern(form: str, arity: int, gather: int) -> str:
    pattern = re.escape(form.lower())
    for slot in range(arity):
        named = rf"(?P<a{slot}>{_LIST if slot == gather else _NAME})"
        pattern = pattern.replace(re.escape(f"{{{slot}}}"), named)
    return pattern
