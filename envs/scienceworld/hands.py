"""What the explorer's plans are made of: going, looking, fetching, focusing.

A plan is a generator: it yields actions and is sent the answers. It works from `Notes` alone, so
that a plan begun anew, after somebody else's action, skips what is already done.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

from .notes import Notes, Place, names
from .simulator import AMBIGUOUS, NO_ACTION

T = TypeVar("T")
Plan = Generator[str, str, T]

# A usual house; places are looked through in this order where a task names none.
HOUSE = (
    "kitchen", "workshop", "bathroom", "living room", "bedroom", "art studio", "greenhouse",
    "hallway", "foundry", "outside",
)  # fmt: skip
_SHUT = re.compile(r"\b(?:The|the) ([a-z ]+?) door is closed")
_CHOICE = re.compile(r"^(\d+):\t(.*)$", re.MULTILINE)


class Hands:
    """Elementary plans over a notebook."""

    def __init__(self, notes: Notes) -> None:
        """Work with this notebook; the explorer fills it."""
        self.notes = notes

    def do(self, action: str, prefer: str = "") -> Plan[str]:
        """An action; among several meanings the first whose text has `prefer` in it."""
        text = yield action
        if text.startswith("Unknown action."):  # it was taken for an answer to somebody's question
            text = yield action
        if text.startswith(AMBIGUOUS):
            choices = _CHOICE.findall(text)
            best = next((number for number, choice in choices if prefer in choice), "0")
            text = yield best
        return text

    def look(self) -> Plan[str]:
        """Look around."""
        return (yield from self.do("look around"))

    def go(self, place: str) -> Plan[bool]:
        """Go to a place, at once or through doors, and look around there if it was never seen."""
        for _ in range(30):
            if self.notes.here == place:
                if place not in self.notes.places:
                    yield from self.look()
                return True
            if self.notes.can_teleport:
                yield from self.do(f"teleport to {place}")
                continue
            if not self.notes.place.doors:
                yield from self.look()
            way = self.notes.way(place)
            if way is None:
                unseen = self.notes.unseen()
                if not unseen:
                    return False
                way = self.notes.way(unseen[0]) or []
            yield from self._through(way[0])
        return False

    def _through(self, door: str) -> Plan[None]:
        if self.notes.place.doors.get(door) == "closed":
            yield from self.do(f"open door to {door}")
            self.notes.place.doors[door] = "open"
        yield from self.do(f"go to {door}")
        if self.notes.here == door:
            yield from self.look()

    def search(
        self, wanted: Callable[[str], bool], places: Iterable[str] = HOUSE, *, shut: bool = True
    ) -> Plan[str]:
        """Go through places until a wanted thing is seen; "" if none is.

        With `shut`, what is shut in a place is opened before the next place.
        """
        places = list(dict.fromkeys(places))
        for place in places:  # what is known first
            found = self._seen(place, wanted)
            if found:
                yield from self.go(place)
                return found
        for place in places:
            if not (yield from self.go(place)):
                continue
            found = self._seen(place, wanted)
            if not found and shut and (yield from self.open_all()):
                yield from self.look()
                found = self._seen(place, wanted)
            if found:
                return found
        return ""

    def _seen(self, place: str, wanted: Callable[[str], bool]) -> str:
        things = self.notes.places.get(place, Place()).things
        return next((thing for thing in things if wanted(thing)), "")

    def open_all(self) -> Plan[bool]:
        """Open what is shut here; False if nothing was."""
        place = self.notes.place
        shut = _SHUT.findall(place.text.partition("You also see:")[0])
        if "glass jar" in place.things:
            shut.append("glass jar")
        for thing in shut:
            yield from self.do(f"open {thing}", prefer="in " + self.notes.here)
        return bool(shut)

    def focus(self, thing: str, prefer: str = "") -> Plan[bool]:
        """Focus on a thing of this place, unless that is done."""
        key = thing.lower().removeprefix("the ")
        if any(key in done.lower() or done.lower() in key for done in self.notes.focused):
            return True
        text = yield from self.do(f"focus on {thing}", prefer)
        return text.startswith("You focus")

    def carried(self) -> Plan[list[str]]:
        """The names of what is carried."""
        text = yield from self.do("inventory")
        return [name for line in text.splitlines()[1:] for name in names(line.strip())]

    def put(self, thing: str, target: str) -> Plan[bool]:
        """Move a thing, carried or of this place, into or onto another."""
        text = ""
        for name in (thing, f"{thing} in inventory"):
            text = yield from self.do(f"move {name} to {target}")
            if not text.startswith(NO_ACTION):
                break
        return "You move" in text

    def fetch(self, thing: str) -> Plan[bool]:
        """Pick a thing of this place up."""
        text = yield from self.do(f"pick up {thing}", prefer=f"in {self.notes.here}")
        return text.startswith("You move")

    def wait(self, times: int = 1) -> Plan[None]:
        """Let single units of time pass."""
        for _ in range(times):
            yield from self.do("wait1")
