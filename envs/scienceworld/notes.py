"""What a player has read in ScienceWorld so far: places, things, doors, focus."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field

from .simulator import NO_ACTION

_ROOM = re.compile(r"This (?:room|outside location) is called the ([^.]+)\.")
_DOOR = re.compile(r"A door to the (.+?) \(that is (open|closed)\)")
_MOVED = re.compile(r"You (?:move|teleport|move through the .*?) to the ([^.]+)\.")
_FOCUS = re.compile(r"You focus on the (.+?)\.")
_STATE = re.compile(r", which (?:is|are) [^,.()]*")
_LEAD = re.compile(r"^(?:a substance called|an?|the|some)\s+", re.IGNORECASE)
_LISTED = re.compile(r"^.*?\b(?:On|In|Inside) the .*? (?:is|you see): ?|^On the .*? you see: ?")
_READING = re.compile(r"currently reading")


@dataclass
class Place:
    """A place as last seen."""

    text: str = ""  # the whole look around
    doors: dict[str, str] = field(default_factory=dict)  # where to: open or closed

    @property
    def lines(self) -> list[str]:
        """One line for each thing that stands by itself, with all that is in or on it."""
        inside = self.text.partition("You also see:")[0]
        return [line.strip() for line in inside.splitlines() if line.startswith("\t")]

    @property
    def things(self) -> list[str]:
        """The names of everything here, however deep inside something."""
        return [name for line in self.lines for name in names(line)]

    def line_of(self, thing: str) -> str:
        """The line that a thing is in; empty if it is not here."""
        return next((line for line in self.lines if thing in names(line)), "")


def names(line: str) -> list[str]:
    """The names in one line of a look around, the thing itself first."""
    found = []
    plain = _STATE.sub("", line)
    for part in re.split(r"\. |[(),]|\.$", plain):
        for piece in part.split("containing "):
            name = _LISTED.sub("", piece.strip().rstrip("."))
            name = _LEAD.sub("", _LEAD.sub("", name)).strip()
            if not name or name in ("nothing", "agent", "air") or _READING.match(name):
                continue
            if " is closed" in name or " is open" in name:
                continue
            found.append(name)
    return found


class Notes:
    """A notebook, kept from texts alone."""

    def __init__(self, first_observation: str) -> None:
        """Start with the first look around."""
        self.places: dict[str, Place] = {}
        self.here = ""
        self.focused: list[str] = []
        self.can_teleport = True
        self.observe("look around", first_observation)

    def observe(self, action: str, text: str) -> None:
        """Take in an action, one's own or another's, and the answer."""
        if room := _ROOM.match(text):
            self.here = room[1]
            doors = dict(_DOOR.findall(text))
            self.places[self.here] = Place(text, doors)
        elif moved := _MOVED.match(text):
            if action.startswith(("go ", "teleport ")):
                self.here = moved[1]
        elif focus := _FOCUS.match(text):
            self.focused.append(focus[1])
        elif text.startswith("You reset the goal progress"):
            self.focused.clear()
        if action.startswith("teleport") and text.startswith(NO_ACTION):
            self.can_teleport = False

    @property
    def place(self) -> Place:
        """Where the player is, as last seen."""
        return self.places.get(self.here, Place())

    def way(self, goal: str) -> list[str] | None:
        """The places to go through, over known doors; None if none is known."""
        before: dict[str, str] = {self.here: ""}
        queue = deque([self.here])
        while queue:
            place = queue.popleft()
            if place == goal:
                steps = []
                while place != self.here:
                    steps.append(place)
                    place = before[place]
                return steps[::-1]
            for door in self.places.get(place, Place()).doors:
                if door not in before:
                    before[door] = place
                    queue.append(door)
        return None

    def unseen(self) -> list[str]:
        """Places whose doors are known but which were not seen, the nearest first."""
        known = {door for place in self.places.values() for door in place.doors}
        ways = {place: self.way(place) for place in sorted(known - self.places.keys())}
        return sorted((p for p, way in ways.items() if way), key=lambda p: len(ways[p] or ()))
