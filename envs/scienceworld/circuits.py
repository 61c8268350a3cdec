"""The explorer's plans about electricity: powering a device, testing what conducts."""

from __future__ import annotations

import re

from .hands import HOUSE, Hands, Plan
from .notes import Notes

_SOURCES = {
    "renewable": ("solar panel", "wind generator"),
    "nonrenewable": ("gas generator", "nuclear generator", "coal generator"),
}
_COLORS = r"(?:red|blue|green|yellow|orange|black|violet|purple|white|brown)"
_WIRE = re.compile(rf"{_COLORS} wire")
_BULB = re.compile(rf"{_COLORS} light bulb")


def power(hands: Hands, goal: str) -> Plan[None]:
    """Wire a device to a source of the kind that is asked for."""
    asked = re.search(r"turn on the (.+?)(?: by powering it using a (\w+) power source)?\.", goal)
    if asked is None:
        return
    device, kind = asked[1], asked[2]
    sources = _SOURCES.get(kind or "", ("battery",))
    yield from hands.search(lambda name: name == device, ["workshop", *HOUSE])
    yield from hands.focus(device)
    source = next((thing for thing in hands.notes.place.things if thing in sources), "")
    if not source:
        return
    wires = [*_wires(hands.notes), "", ""][:2]
    if kind == "renewable":  # sun and wind are outside
        parts = [source, device, *wires]
        for part in parts:
            yield from hands.fetch(part)
        yield from hands.go("outside")
        for part in parts:
            yield from hands.do(f"put down {part}")
    yield from hands.do(f"connect {source} anode to {wires[0]} terminal 1")
    yield from hands.do(f"connect {source} cathode to {wires[1]} terminal 1")
    yield from hands.do(f"connect {wires[0]} terminal 2 to {device} cathode")
    yield from hands.do(f"connect {wires[1]} terminal 2 to {device} anode")
    if kind:
        yield from hands.do(f"activate {source}")
    yield from hands.wait(3)


def conductivity(hands: Hands, goal: str) -> Plan[None]:
    """Put a thing into a circuit with a lamp, and into the box that the lamp tells."""
    asked = re.search(
        r"determine if (.+?) is electrically conductive\. The .+? is located around the (.+?)\..*"
        r"conductive, place it in the (\w+ box)\..*nonconductive, place it in the (\w+ box)",
        goal,
    )
    if asked is None:
        return
    thing, where, good, bad = asked.groups()
    yield from hands.search(lambda name: name.lower() == thing.lower(), [where, *HOUSE])
    yield from hands.fetch(thing)
    yield from hands.focus(thing)
    yield from hands.go("workshop")
    yield from hands.do(f"put down {thing}")
    yield from hands.look()
    bulb = next((name for name in hands.notes.place.things if _BULB.fullmatch(name)), "")
    first, second, third, *_ = [*_wires(hands.notes), "", "", ""]
    yield from hands.do(f"connect battery anode to {first} terminal 1")
    yield from hands.do(f"connect battery cathode to {second} terminal 1")
    yield from hands.do(f"connect {first} terminal 2 to {bulb} cathode")
    yield from hands.do(f"connect {third} terminal 2 to {bulb} anode")
    yield from hands.do(f"connect {thing} terminal 1 to {second} terminal 2")
    yield from hands.do(f"connect {thing} terminal 2 to {third} terminal 1")
    yield from hands.wait()
    text = yield from hands.look()
    lit = f"{bulb}, which is on" in text
    box = good if lit else bad
    if box not in hands.notes.place.things:
        yield from hands.fetch(thing)
        yield from hands.search(lambda name: name == box)
    yield from hands.put(thing, box)


def _wires(notes: Notes) -> list[str]:
    return [name for name in notes.place.things if _WIRE.fullmatch(name)]
