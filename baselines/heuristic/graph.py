"""Entities, relations and contradicted relations, for memories that keep a graph."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from ...harness.types import Json
from .claims import CONCEPT, SINGLE, STATE, Claim, read
from .decisions import id_of
from .facts import facts_of, settled
from .text import NUMBER, YEAR, dict_of, key, list_of, names, plain, text_of, words

MAX_ENTITIES = 150  # of a text
MAX_RELATIONS = 150
MAX_NAME = 120  # characters
_LABELS = {
    "birth": "born in",
    "birth year": "born in the year",
    "death": "died in",
    "death year": "died in the year",
    "foundation": "founded by",
    "foundation year": "founded in the year",
    "direction": "directed by",
    "authorship": "written by",
    "location": "located in",
    "home": "comes from",
    "lead": "led by",
    "song": "sung by",
    "design": "designed by",
    "publication": "published by",
    "publication year": "published in the year",
    "construction": "built by",
    "construction year": "built in the year",
    "education": "educated at",
    "captaincy": "captained by",
    "records": "under contract with",
    "population number": "has the population",
    "release year": "released in the year",
    "opening year": "opened in the year",
    "launch year": "launched in the year",
    "river": "lies on the river",
    "spouse": "married to",
    "residence": "lives in",
    "employment": "works for",
    "place": "is at",
    "holding": "holds",
    "reading": "reads",
    "profession": "works as",
    "renown": "known for",
}
_RELATIONS = {label: relation for relation, label in _LABELS.items()}
_PLACED = re.compile(r"^(?:is |was |are |now )*(?:located |situated |found )?(?:in|on|at|inside)$")
_TYPES = (
    (re.compile(r" River$|^(?:room[a-z]|kitchen|hallway|bathroom|workshop|outside)$"), "place"),
    (re.compile(r"\b(?:Museum|Gallery|Hall|Park|Station|Airport|Church|Bridge)\b"), "place"),
    (re.compile(r"\b(?:University|College|Academy|Institute|School)\b"), "organisation"),
    (re.compile(r" (?:Works|Brothers|Holdings|Inc|Ltd)$|& Sons$|^House of "), "organisation"),
    (re.compile(r"^(?:MV|SS) | Star$"), "thing"),
    (
        re.compile(
            r"^(?:cabinet|drawer|shelf|countertop|fridge|microwave|sinkbasin|safe|dresser|desk|bed"
            r"|sofa|armchair|ottoman|toilet|bathtub|stove|toaster|garbagecan|[a-z]*table|[a-z]*basin"
            r"|[a-z]*burner|[a-z]*holder|[a-z]*hanger|coffeemachine|cart) ?\d*$"
        ),
        "place",
    ),
    (re.compile(r" \d+$|^[a-z]+\d+$|^(?:red|green|blue|purple|yellow|grey) "), "thing"),
)
_SUBJECTS = {
    "birth": "person", "death": "person", "education": "person", "profession": "person",
    "employment": "person", "residence": "person", "spouse": "person", "direction": "work",
    "authorship": "work", "lead": "work", "genre": "work", "release": "work",
    "publication": "work", "population": "place", "river": "place", "design": "place",
    "song": "organisation", "records": "organisation", "foundation": "organisation",
}  # fmt: skip
_VALUES = {
    "birth": "place", "death": "place", "location": "place", "home": "place", "river": "place",
    "residence": "place", "place": "place", "foundation": "person", "direction": "person",
    "authorship": "person", "lead": "person", "song": "person", "design": "person",
    "captaincy": "person", "spouse": "person", "education": "organisation",
    "publication": "organisation", "construction": "organisation", "records": "organisation",
    "employment": "organisation",
}  # fmt: skip


def claims_of(text: str) -> list[Claim]:
    """The claims of a text's facts; a state that is taken back is its opposite."""
    found: list[Claim] = []
    for said in map(read, settled(facts_of(plain(text)))):
        if not said.retracts:
            found += said.claims
            continue
        states = (c for c in said.claims if c.value.casefold() in STATE)
        found += (replace(claim, value=f"not {claim.value}") for claim in states)
    return found


def _is_state(value: str) -> bool:
    return value.casefold().removeprefix("not ") in STATE


def entities(value: Any) -> list[Json]:
    """The things a text or a query names, each once, with their types."""
    text = text_of(value)
    types: dict[str, str] = {}
    spelt: dict[str, str] = {}
    for claim in claims_of(text):
        root, _, kind = claim.relation.partition(" ")
        ends = (
            (claim.source, _SUBJECTS.get(root, "")),
            (claim.value, kind or _value_type(root, claim)),
        )
        for name, type_ in ends:
            spelt.setdefault(key(name), _tidy(name))
            if type_ and types.get(key(name), "") in ("", "thing"):
                types[key(name)] = type_
    for name in names(text[:20_000]):
        spelt.setdefault(key(name), _tidy(name))
    return [
        {"name": name, "type": types.get(key_) or type_of(name)}
        for key_, name in spelt.items()
        if key_ and name
    ][:MAX_ENTITIES]


def _value_type(root: str, claim: Claim) -> str:
    if _is_state(claim.value) or key(claim.value) == "nothing":
        return "state"
    if root in ("profession", "genre", "renown"):
        return "concept"
    return "" if root == "place" and not type_of(claim.value) else _VALUES.get(root, "")


def type_of(name: str) -> str:
    """The type of a thing by its name alone."""
    for pattern, type_ in _TYPES:
        if pattern.search(name):
            return type_
    if YEAR.fullmatch(name):
        return "year"
    if NUMBER.fullmatch(name):
        return "number"
    return "person" if len(name.split()) == 2 and name.istitle() else "thing"


def relations(value: Any, given: Any = None) -> list[Json]:
    """The triples of a text, between the given entities only where there are any."""
    known: dict[str, str] = {}
    for item in list_of(given):
        name = text_of(dict_of(item).get("name"))
        if key(name):
            known.setdefault(key(name), name)
    found: dict[tuple[str, str, str], Json] = {}
    for claim in claims_of(text_of(value)):
        ends = key(claim.source), key(claim.value)
        if not all(ends) or ends[0] == ends[1] or (known and not {*ends} <= {*known}):
            continue
        source, target = known.get(ends[0], claim.source), known.get(ends[1], claim.value)
        relation = _label(claim)
        triple = {"source": _tidy(source), "relation": relation, "target": _tidy(target)}
        found.setdefault((ends[0], relation, ends[1]), triple)
    return list(found.values())[:MAX_RELATIONS]


def _label(claim: Claim) -> str:
    if claim.relation in STATE.values() and _is_state(claim.value):
        return "is"
    return _LABELS.get(claim.relation, claim.relation.removeprefix("s "))[:MAX_NAME]


def _tidy(name: str) -> str:
    return re.sub(r"^(?:[Tt]he|[Aa]n?) (?=[a-z])", "", name)[:MAX_NAME]


def conflicts(new: Any, existing: Any) -> list[str]:
    """Ids of existing triples that cannot hold if the new ones do."""
    slots: dict[tuple[str, str], set[str]] = {}
    for triple in list_of(new):
        slot, target = _slot(dict_of(triple))
        if slot is not None:
            slots.setdefault(slot, set()).add(target)
    obsolete: dict[str, None] = {}
    for triple in list_of(existing):
        id_ = id_of(dict_of(triple).get("id"))
        slot, target = _slot(dict_of(triple))
        if id_ is None or slot is None:
            continue
        if target not in slots.get(slot, {target}) or _emptied(slot, target, slots):
            obsolete[id_] = None
    return sorted(obsolete)


def _slot(triple: Json) -> tuple[tuple[str, str] | None, str]:
    """What a triple gives a value to, None where it may have many; and the value."""
    source, target = key(text_of(triple.get("source"))), key(text_of(triple.get("target")))
    relation = " ".join(text_of(triple.get("relation")).replace("_", " ").casefold().split())
    if not (source and target and relation):
        return None, target
    canonical = _RELATIONS.get(relation) or _concept(relation, target)
    if relation in ("is", "is now") and _is_state(target):
        canonical = STATE[target.removeprefix("not ")]
    elif _PLACED.match(relation):
        canonical = "location" if canonical == "location" else "place"
    single = canonical is not None and canonical.split()[0] in SINGLE
    return ((source, canonical) if single and canonical else None), target


def _concept(relation: str, target: str) -> str | None:
    """The concept that a relation in other words means."""
    for word in words(relation):
        if word in CONCEPT:
            return f"{CONCEPT[word]} year" if YEAR.fullmatch(target) else CONCEPT[word]
    return None


def _emptied(slot: tuple[str, str], target: str, new: dict[tuple[str, str], set[str]]) -> bool:
    """Whether a new triple says that the place of a thing, or of none, is otherwise."""
    if slot[1] == "place":
        return "nothing" in new.get((target, "holding"), ())
    if slot[1] == "holding" and target == "nothing":
        return any(r == "place" and slot[0] in values for (_, r), values in new.items())
    return False


def entity_types(texts: Iterable[str]) -> list[str]:
    """The types of what texts name, the most frequent first."""
    counts: dict[str, int] = {}
    for text in texts:
        for entity in entities(text):
            counts[entity["type"]] = counts.get(entity["type"], 0) + 1
    return sorted(counts, key=lambda type_: (-counts[type_], type_))
