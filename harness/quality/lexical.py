"""Whether a sentence may say a fact, by its words: word for word, or nothing speaks against it.

Names, numbers, denials, opposites, questions and doubts; what they are told by is in `texts` and
`assertion`. Whether it says it in other words, similarity tells (`matching`).
"""

from __future__ import annotations

from collections.abc import Sequence

from . import assertion
from .texts import Fact, Statement, Unit


def verbatim(found: Sequence[Unit], fact: Fact) -> list[bool]:
    """Which sentences are part of the fact, where the entry holds it word for word."""
    whole, body = fact.whole.norm, fact.body.norm
    hits = [False] * len(found)
    if whole and whole in _joined(found):
        hits = [_inside(unit, fact.whole) for unit in found]
    elif body and fact.body is not fact.whole:
        for block in {id(unit.block): unit.block for unit in found}.values():
            there = [unit for unit in found if unit.block is block]  # `it` is whom that is about
            within = body in _joined(there)
            if within and any(_inside(u, fact.body) and _has_subject(u, fact) for u in there):
                of_it = [unit.block is block and _inside(unit, fact.body) for unit in found]
                hits = [a or b for a, b in zip(hits, of_it, strict=True)]
    return hits


def _joined(found: Sequence[Unit]) -> str:
    return "".join(unit.said.norm for unit in found).replace("  ", " ")


def _inside(unit: Unit, claim: Statement) -> bool:
    """Whether a sentence is part of a claim, or holds it and asserts it."""
    own = unit.said.norm
    if own in claim.norm:
        return bool(unit.said.content) and not unit.heading
    asked = assertion.asks(unit.said) and not assertion.asks(claim)
    other = assertion.doubts(unit.said, claim) or assertion.about_another(unit.said, claim)
    return claim.norm in own and not asked and not other


def may_say(unit: Unit, fact: Fact) -> bool:
    """Whether a sentence has what the fact rests on and contradicts nothing of it."""
    said, claim = unit.said, fact.body
    return (
        bool(claim.words)
        and not assertion.asks(said)
        and not assertion.asks(claim)
        and (not fact.telling or bool(fact.telling & said.words))
        and _is_place(unit, fact)
        and _has_numbers(unit, claim)
        and _has_subject(unit, fact)
        and _has_names(unit, fact)
        and assertion.denied(said, claim) == any(no for _, no in claim.clauses)
        and not _opposed(said, claim)
        and not assertion.doubts(said, claim)
        and not assertion.about_another(said, fact.whole)
        and not assertion.swapped(said, fact.whole, fact.subject)
    )


def _is_place(unit: Unit, fact: Fact) -> bool:
    """Whether a sentence itself has half of the fact's numbers and names beside the subject.

    Otherwise a sentence that has none would borrow them all from its neighbours.
    """
    names = [name for name in fact.body.names if not name <= fact.body.unsure]
    anchors = [frozenset({number}) for number in fact.body.numbers] + names
    own = sum(anchor <= unit.said.words or _named(anchor, unit.said) for anchor in anchors)
    return not anchors or 2 * own >= len(anchors)


def _has_numbers(unit: Unit, claim: Statement) -> bool:
    for noun, numbers in claim.numbered.items():
        if noun not in unit.said.words:
            return False
        there = unit.said.numbered.get(noun)
        if there is not None and not numbers <= there:
            return False  # `mug 2 … shelf 1` does not say `mug 1 … shelf 2`
    missing = claim.numbers - unit.said.numbers
    foreign = unit.said.numbers - claim.numbers
    return not missing or (not foreign and missing <= unit.block.numbers)


def _has_subject(unit: Unit, fact: Fact) -> bool:
    """Half of the subject's words, in the sentence, or around one that names nobody else."""
    if not fact.subject:
        return True
    enough = (len(fact.subject) + 1) // 2
    if fact.subject <= unit.said.words:
        return True
    if any(name & fact.subject for name in unit.said.names if not name <= fact.whole.words):
        return False  # the Golden Heron is not the Silver Heron
    numbers = fact.subject & fact.whole.numbers
    if not numbers <= unit.block.words or (
        fact.subject & unit.said.words - numbers and unit.said.numbers - fact.whole.numbers
    ):
        return False  # the Boeing 737 is not the Boeing 747
    if len(fact.subject & unit.said.words) >= enough:
        return True
    around = len(fact.subject & unit.block.words) >= enough
    return around and not _foreign(unit, fact)


def _has_names(unit: Unit, fact: Fact) -> bool:
    missing = [name for name in fact.body.names if not _named(name, unit.said)]
    if not missing:
        return True
    if _foreign(unit, fact):
        return False
    around = [name for name in missing if not _named(name, unit.block)]
    lost = [name for name in around if not name <= fact.body.unsure]
    return len(lost) <= len(fact.body.names) // 4


def _named(name: frozenset[str], said: Statement) -> bool:
    """All of a name, or a part of it that stands alone: `Vell` for `Nora Vell`."""
    return name <= said.words or any(other < name for other in said.names)


def _foreign(unit: Unit, fact: Fact) -> bool:
    """Whether a sentence names something that the fact does not."""
    return any(not name <= fact.whole.words for name in unit.said.names)


def _opposed(said: Statement, claim: Statement) -> bool:
    return any(
        group in said.contrasts and not words & said.contrasts[group]
        for group, words in claim.contrasts.items()
    )
