"""What becomes of a fact among the memories: it is new, known, changes one, or takes one back."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from ...harness.types import Json
from .claims import Claim, Statement, read
from .text import dict_of, key, list_of, text_of

Operation = Literal["ADD", "UPDATE", "DELETE", "NONE"]
_LONG = 14  # words; a longer sentence says too much to be replaced by one that corrects nothing


@dataclass(frozen=True, slots=True)
class Remembered:
    """A memory as shown: its id, its text, and the text taken apart."""

    id: str
    text: str
    said: Statement


@dataclass(frozen=True, slots=True)
class Decision:
    """An operation; `id` is None for a new memory, `text` what is then remembered."""

    event: Operation
    id: str | None
    text: str


@dataclass(slots=True)
class Memories:
    """Memories found by their wording and by what they are about; their order plays no part."""

    items: list[Remembered]
    _by_key: dict[str, list[Remembered]] = field(default_factory=lambda: defaultdict(list))
    _about: dict[str, list[Remembered]] = field(default_factory=lambda: defaultdict(list))
    _at: dict[str, list[Remembered]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        self.items.sort(key=lambda memory: (memory.text, memory.id))
        for memory in self.items:
            self._by_key[memory.said.key].append(memory)
            for subject in sorted({claim.subject for claim in memory.said.claims}):
                self._about[subject].append(memory)
            for place in sorted(
                {key(c.value) for c in memory.said.claims if c.relation == "place"}
            ):
                self._at[place].append(memory)

    def same(self, fact: Statement) -> Remembered | None:
        """A memory that says all that the fact says."""
        for memory in self.worded(fact):
            if not memory.said.retracts:
                return memory
        for memory in self.about(fact):
            if memory.said.retracts:
                continue
            slots = {(c.slot, key(c.value)) for c in memory.said.claims}
            claimed = {(c.slot, key(c.value)) for c in fact.claims}
            if claimed and claimed <= slots and fact.content <= memory.said.content:
                return memory
        return None

    def worded(self, fact: Statement) -> list[Remembered]:
        """Memories in the same words, whether they claim or deny it."""
        return self._by_key.get(fact.key, [])

    def about(self, fact: Statement) -> list[Remembered]:
        """Memories with a subject of the fact's."""
        subjects = dict.fromkeys(claim.subject for claim in fact.claims)
        found = (memory for subject in subjects for memory in self._about.get(subject, ()))
        return list({memory.id: memory for memory in found}.values())

    def changed(self, fact: Statement) -> list[Remembered]:
        """Memories that cannot be true if the fact is, the surest first."""
        scored = [(_against(fact, memory), memory) for memory in self.about(fact)]
        # A place that holds nothing, or does no longer: what is said of its things.
        for claim in fact.claims:
            if claim.relation == "holding" and key(claim.value) == "nothing":
                scored += [(1, memory) for memory in self._at.get(claim.subject, ())]
            if claim.relation == "place":
                empty = self._about.get(key(claim.value), ())
                scored += [(1, memory) for memory in empty if _is_empty(memory, claim)]
        best = {memory.id: (score, memory) for score, memory in sorted(scored, key=lambda s: s[0])}
        order = sorted(best.values(), key=lambda s: (-s[0], s[1].text, s[1].id))
        return [memory for score, memory in order if score]


def memories_of(value: Any) -> Memories:
    """The memories of a request; what is no memory is left out, of one id the first counts."""
    found: dict[str, Remembered] = {}
    for item in list_of(value):
        id_ = id_of(dict_of(item).get("id"))
        text = text_of(dict_of(item).get("text") or dict_of(item).get("content"))
        if id_ is not None and id_ not in found:
            found[id_] = Remembered(id_, text, read(text))
    return Memories(list(found.values()))


def id_of(value: Any) -> str | None:
    """An id as text; None for what is none."""
    if isinstance(value, str) and value:
        return text_of(value)
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def decide(facts: Any, value: Any) -> list[Decision]:
    """An operation for each fact, and removals of what else a fact contradicts.

    A memory is changed once at most: later facts that would change it too are added.
    """
    memories = memories_of(value)
    touched: set[str] = set()
    known: set[str] = set()
    decisions: list[Decision] = []
    for text in (text_of(item) for item in list_of(facts)):
        fact = read(text)
        if not fact.key:
            continue
        if fact.key in known:
            decisions.append(Decision("NONE", None, fact.text))
            continue
        known.add(fact.key)
        for decision in _decide(text, fact, memories, touched):
            touched.update([decision.id] if decision.id and decision.event != "NONE" else [])
            decisions.append(decision)
    return decisions


def decide_one(fact: Any, value: Any) -> Json:
    """The operation for one fact, in the form of the one-by-one request."""
    text = text_of(fact)
    said = read(text)
    made = _decide(text, said, memories_of(value), set()) if said.key else []
    first = made[0] if made else Decision("NONE", None, text)
    event = "NOOP" if first.event == "NONE" else first.event
    return {"operation": event, "id": first.id, "text": first.text}


def _decide(text: str, fact: Statement, memories: Memories, touched: set[str]) -> list[Decision]:
    same = memories.same(fact)
    if fact.retracts:
        return _retracted(text, fact, memories, touched)
    changed = [m for m in memories.changed(fact) if m.id not in touched and m is not same]
    if same is not None and same.id not in touched:
        first = [Decision("NONE", same.id, same.text)]
        changed = changed if fact.old or _is_state(fact) else []
    elif changed:
        best = changed.pop(0)
        first = [Decision("UPDATE", best.id, patched(best, fact))]
    elif any(c.slot == ("you", "holding") and key(c.value) == "nothing" for c in fact.claims):
        return [Decision("NONE", None, fact.text)]  # empty hands are news only after full ones
    else:
        return [Decision("ADD", None, fact.text)]
    # Copies of what is now wrong, if they say nothing else.
    return first + [Decision("DELETE", m.id, m.text) for m in changed if len(m.said.claims) <= 1]


def _retracted(text: str, fact: Statement, memories: Memories, touched: set[str]) -> list[Decision]:
    """A fact that only denies: the memories that claim it go; a denial in words is kept else."""
    denied = {(claim.slot, key(claim.value)) for claim in fact.claims}
    told = {memory.id: memory for memory in (*memories.worded(fact), *memories.about(fact))}
    gone = [
        memory
        for memory in told.values()
        if memory.id not in touched and memory.said.key != key(text)
        if not memory.said.retracts
        if denied & {(c.slot, key(c.value)) for c in memory.said.claims}
        or memory.said.key == fact.key
    ]
    if gone:
        return [Decision("DELETE", memory.id, memory.text) for memory in gone]
    if text.startswith("No longer: ") or any(m.text == text for m in memories.items):
        return [Decision("NONE", None, text)]
    return [Decision("ADD", None, text)]


def _against(fact: Statement, memory: Remembered) -> int:
    """How surely a fact changes a memory with the same subject: 0 for not at all."""
    said = memory.said
    if said.retracts:  # it denies what is true again
        denied = {(c.slot, key(c.value)) for c in said.claims}
        return 2 * bool(denied & {(c.slot, key(c.value)) for c in fact.claims})
    pairs = [(f, m) for f in fact.claims for m in said.claims if f.excludes(m)]
    if fact.old and _word(fact.old).search(memory.text):
        shared = {c.slot for c in fact.claims} & {c.slot for c in said.claims}
        return 4 if pairs else 3 if shared or not said.claims else 2
    if pairs and (fact.old or (_short(fact) and _short(said))):
        return 2 if fact.old else 1
    return 0


def _is_empty(memory: Remembered, claim: Claim) -> bool:
    return any(
        c.relation == "holding" and c.subject == key(claim.value) and key(c.value) == "nothing"
        for c in memory.said.claims
    )


def _short(said: Statement) -> bool:
    return len(said.key.split()) <= _LONG


def patched(memory: Remembered, fact: Statement) -> str:
    """The memory's text with the new value in the place of the old; else the fact's text.

    A memory that says more than the fact keeps the rest of it.
    """
    pairs = [(f.value, m.value) for f in fact.claims for m in memory.said.claims if f.excludes(m)]
    if fact.old and not pairs and fact.claims:
        pairs = [(fact.claims[0].value, fact.old)]
    if len(memory.said.claims) <= 1 or len(pairs) != 1 or memory.said.old:
        return fact.text
    new, old = pairs[0]
    if len(_word(old).findall(memory.text)) != 1 or _is_state(fact):
        return fact.text
    text = _word(old).sub(lambda _: new, memory.text)
    return re.sub(rf"\ban?(?= {re.escape(new)})", _article(new), text)


def _is_state(fact: Statement) -> bool:
    return any(claim.relation in ("place", "holding") for claim in fact.claims)


def _article(word: str) -> str:
    return "an" if word[:1].lower() in "aeiou" else "a"


def _word(text: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w,]){re.escape(text)}(?!\w)", re.IGNORECASE)


def superseded(facts: Iterable[str], memories: Memories) -> dict[str, str]:
    """For each memory that one of the facts makes wrong: that fact."""
    found: dict[str, str] = {}
    for text in facts:
        fact = read(text)
        if memories.same(fact) is None:
            for memory in memories.changed(fact):
                found.setdefault(memory.id, fact.text)
    return found
