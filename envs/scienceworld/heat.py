"""The explorer's plans about heat: temperatures, melting points, changing the state of matter."""

from __future__ import annotations

import re

from .hands import HOUSE, Hands, Plan
from .notes import names

_MEASURED = re.compile(r"measures a temperature of (-?[\d.]+) degrees")
_HEATERS = ("stove", "oven", "blast furnace")
_METALS = ("lead", "tin", "aluminum", "copper", "iron", "gold", "silver", "zinc", "caesium")
_ROOM_OF = {"stove": "kitchen", "oven": "kitchen", "blast furnace": "foundry"}
_KNOWN_LIQUID = re.compile("water|mercury|juice|milk|oil|vinegar")
_PATIENCE = 20  # looks at a heated thing before another device is tried


def temperature(hands: Hands, goal: str) -> Plan[None]:
    """Measure a thing's temperature and put it into the box for that."""
    asked = re.search(r"temperature of (.+?), which is located around the ([\w ]+)\.", goal)
    if asked is None:
        return
    thing, where = asked.groups()
    yield from _thermometer(hands)
    yield from hands.search(lambda name: name == thing, [where, *HOUSE])
    yield from hands.fetch(thing)
    yield from hands.focus(thing)
    degrees = yield from _measure(hands, thing)
    box, room = _answer(goal, degrees, "place it in")
    yield from hands.go(room)
    yield from hands.put(thing, box)


def melting_point(hands: Hands, goal: str) -> Plan[None]:
    """Heat a thing until it melts, and focus on the box for the temperature then."""
    asked = re.search(r"melting point of (.+?), which is located around the ([\w ]+)\.", goal)
    if asked is None:
        return
    thing, where = asked.groups()
    yield from _thermometer(hands)
    yield from hands.search(lambda name: name == thing, [where, *HOUSE])
    yield from hands.focus(thing)
    vessel = yield from _into_pot(hands, thing)
    line = yield from _content(hands, vessel)
    degrees = None
    if _KNOWN_LIQUID.search(thing):  # it has long melted, at a temperature below this
        yield from _measure(hands, (names(line) or [thing])[0])
    else:
        degrees = yield from _heat(hands, thing, vessel, measure=True)
    box, room = _answer(goal, degrees, "focus on")
    yield from hands.go(room)
    yield from hands.focus(box)


def change_state(hands: Hands, goal: str) -> Plan[None]:
    """Heat or cool a substance until it is in another state."""
    asked = re.search(r"(boil|melt|freeze|change the state of matter of) (.+?)\.", goal)
    if asked is None:
        return
    verb, thing = asked.groups()
    vessel = ""
    if thing == "water":
        vessel = yield from _water(hands)
    else:
        found = yield from hands.search(lambda name: name == thing)
        if not found:
            return
    yield from hands.focus(thing)
    if not vessel:
        vessel = yield from _into_pot(hands, thing)
    if verb == "freeze":
        if not _KNOWN_LIQUID.search(thing):
            yield from _heat(hands, thing, vessel)
        yield from _cool(hands, vessel)
    else:
        if thing == "water" and verb == "melt":
            yield from _cool(hands, vessel)
        yield from _heat(hands, thing, vessel, on=True, hot=verb == "boil" and thing != "water")


def _content(hands: Hands, vessel: str) -> Plan[str]:
    """The line about what a vessel holds; empty for nothing."""
    text = yield from hands.do(f"look in {vessel}")
    lines = [line.strip() for line in text.splitlines() if line.startswith("\t")]
    return next((line for line in lines if names(line)), "")


def _thermometer(hands: Hands) -> Plan[None]:
    yield from hands.search(lambda name: name == "thermometer")
    yield from hands.fetch("thermometer")
    yield from hands.focus("thermometer", prefer="inventory")


def _measure(hands: Hands, thing: str) -> Plan[float | None]:
    text = yield from hands.do(f"use thermometer in inventory on {thing}")
    found = _MEASURED.search(text)
    return float(found[1]) if found else None


def _answer(goal: str, degrees: float | None, how: str) -> tuple[str, str]:
    """The box for a temperature, and where it is."""
    found = re.search(
        rf"is above (-?[\d.]+) degrees celsius, {how} (?:in )?the (\w+ box)\..*"
        rf"{how} (?:in )?the (\w+ box)\. The boxes are located around the ([\w ]+)\.",
        goal,
    )
    if found is None:
        return "", ""
    limit, above, below, room = found.groups()
    return (above if degrees is not None and degrees > float(limit) else below), room


def _into_pot(hands: Hands, thing: str) -> Plan[str]:
    """Put a thing of this place into a pot; returns what holds it."""
    place = hands.notes.here
    line = hands.notes.place.line_of(thing)
    if line.startswith(("a metal pot", "a tin cup")):
        return line.split(" (")[0].removeprefix("a ")
    if "metal pot" not in hands.notes.place.things:
        yield from hands.search(lambda name: name == "metal pot", ["kitchen", *HOUSE])
        yield from hands.fetch("metal pot")
        yield from hands.go(place)
    text = yield from hands.do(f"move {thing} to metal pot", prefer=f"in {place}")
    if "You move" not in text:
        holder = re.search(rf"(?:an?|the) ([\w ]+?) \(containing [^)]*{re.escape(thing)}", line)
        if holder:
            yield from hands.do(f"pour {holder[1]} in metal pot")
    yield from hands.fetch("metal pot")
    return "metal pot"


def _water(hands: Hands) -> Plan[str]:
    """A pot of water, carried."""
    yield from hands.search(lambda name: name == "metal pot", ["kitchen", *HOUSE])
    yield from hands.fetch("metal pot")
    yield from hands.go("kitchen")
    yield from hands.put("metal pot", "sink")
    yield from hands.do("activate sink")
    yield from hands.do("deactivate sink")
    yield from hands.fetch("metal pot")
    yield from hands.focus("substance in metal pot")
    return "metal pot"


def _heat(
    hands: Hands,
    thing: str,
    vessel: str,
    *,
    measure: bool = False,
    on: bool = False,
    hot: bool = False,
) -> Plan[float | None]:
    """Heat what a carried vessel holds, on one device after the other, until it changes.

    Args:
        hands: who does it.
        thing: what is heated.
        vessel: what holds it.
        measure: take its temperature between looks.
        on: go on after it has changed: the task ends by itself in the right state.
        hot: begin with the hottest device.

    Returns the last temperature measured.
    """
    degrees: float | None = None
    first = ""
    for heater in _HEATERS[::-1] if hot or thing in _METALS else _HEATERS:
        yield from hands.go(_ROOM_OF[heater])
        if heater != "stove":
            yield from hands.do(f"open {heater}")
        yield from hands.put(vessel, heater)
        text = yield from hands.do(f"activate {heater}")
        working = "now activated" in text or "already activated" in text
        for _ in range(_PATIENCE if working else 0):
            if on:
                yield from hands.wait()
                continue
            now = yield from _content(hands, vessel)
            first = first or now
            if now != first:
                yield from hands.fetch(vessel)
                return degrees
            if measure:
                found = yield from _measure(hands, (names(now) or [thing])[0])
                degrees = degrees if found is None else found
            else:
                yield from hands.wait()
        yield from hands.fetch(vessel)
    return degrees


def _cool(hands: Hands, vessel: str) -> Plan[None]:
    """Keep a carried vessel in the freezer until what it holds is solid."""
    yield from hands.go("kitchen")
    yield from hands.do("open freezer")
    yield from hands.put(vessel, "freezer")
    for _ in range(_PATIENCE):
        line = yield from _content(hands, vessel)
        if "ice" in names(line):
            break
        yield from hands.do("wait")
    yield from hands.fetch(vessel)
