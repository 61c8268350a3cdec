"""The explorer's plans about mixing: paints, and substances by a recipe."""

from __future__ import annotations

import re

from .hands import Hands, Plan
from .notes import names

_SECONDARY = {
    "orange": ("red", "yellow"),
    "green": ("yellow", "blue"),
    "violet": ("red", "blue"),
}


def paint(hands: Hands, goal: str) -> Plan[None]:
    """Mix a secondary colour, and from it a tertiary one, focusing on each."""
    asked = re.search(r"create ([a-z-]+) paint", goal)
    if asked is None:
        return
    parts = asked[1].split("-")
    first = next((part for part in parts if part in _SECONDARY), "")
    if not first or not (yield from hands.go("art studio")):
        return
    yield from hands.look()
    cups = dict.fromkeys(("red", "yellow", "blue"), "")
    for line in hands.notes.place.lines:
        for color in cups:
            if f"{color} paint" in names(line):
                cups[color] = f"{names(line)[0]} containing {color} paint"
    bowl = "bowl" if "bowl" in hands.notes.place.things else "glass cup"
    for color in _SECONDARY[first]:
        yield from hands.do(f"pour {cups[color]} in {bowl}", prefer="art studio")
    yield from hands.do(f"mix {bowl}")
    yield from hands.focus(f"{first} paint")
    last = next((part for part in parts if part != first), "")
    if last in cups:
        yield from hands.open_all()  # more paint is in the cupboard
        yield from hands.do(f"pour {cups[last]} in {bowl}", prefer="art studio")
        yield from hands.do(f"mix {bowl}")
        yield from hands.do(f"focus on {asked[1]} paint")


def recipe(hands: Hands, goal: str) -> Plan[None]:
    """Read the recipe, bring its ingredients together, mix them."""
    asked = re.search(r"substance '(.+?)'.*near the ([\w ]+?)\.", goal)
    if asked is None:
        return
    product, where = asked.groups()
    yield from hands.go(where)
    yield from hands.do("pick up recipe")
    text = yield from hands.do("read recipe", prefer="inventory")
    steps = re.findall(r"you need to mix (.+?)\.", text)
    if not steps:
        return
    wanted = [part.strip() for part in re.split(r",| and ", steps[0]) if part.strip()]
    vessel = yield from _vessel(hands, where)
    for part in wanted:
        yield from _add(hands, part, vessel, where)
    yield from hands.do(f"mix {vessel}")
    yield from hands.focus(product)


def _vessel(hands: Hands, where: str) -> Plan[str]:
    """Something to mix in, carried."""
    vessels = ("metal pot", "bowl", "ceramic cup", "glass cup", "wood cup", "tin cup", "paper cup",
               "plastic cup", "jug")  # fmt: skip
    empty = lambda name: name in vessels[:1]  # noqa: E731 - a pot is best
    found = yield from hands.search(empty, [where, "kitchen"])
    if not found:
        found = yield from hands.search(lambda name: name in vessels, [where, "kitchen"])
    yield from hands.fetch(found)
    return found


def _add(hands: Hands, part: str, vessel: str, where: str) -> Plan[None]:
    """Bring one ingredient into the vessel, which is carried."""
    if part == "water":
        yield from hands.search(lambda name: name == "sink", [where, "kitchen"])
        yield from hands.put(vessel, "sink")
        yield from hands.do("activate sink")
        yield from hands.do("deactivate sink")
        yield from hands.fetch(vessel)
        return
    found = yield from hands.search(lambda name: name == part, [where, "kitchen"])
    if not found:
        found = yield from hands.search(lambda name: name == part)
    if not found:
        return
    inside = names(hands.notes.place.line_of(part))
    text = yield from hands.do(f"move {part} to {vessel}", prefer=vessel)
    if "You move" not in text and inside and inside[0] != part:
        holder = inside[max(0, inside.index(part) - 1)]
        yield from hands.do(f"pour {holder} in {vessel}", prefer=part)
