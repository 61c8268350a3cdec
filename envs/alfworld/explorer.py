"""The explorer: an expert that knows only what the player has read.

It searches where common sense expects the object, remembers what it saw and where, and plans anew
at each step, so it goes on sensibly after anybody else's actions. It is built from text alone and
has no way to the engine.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from .scenes import OBJECTS, OPENABLE, TREATMENTS

_THING = r"([a-z]+ \d+)"
_IN_ROOM = re.compile(r"looking quickly around you, you see (.*)", re.IGNORECASE)
_FACING = re.compile(r"You are facing the (.*?)\. Next to it")
_ARRIVED = re.compile(rf"You arrive at {_THING}\.")
_SEEN = re.compile(rf"(?:On the {_THING}|The {_THING} is open\. In it), you see (.*?)\.")
_CLOSED = re.compile(rf"(?:The {_THING} is closed|You close the {_THING})\.")
_TAKEN = re.compile(rf"You pick up the {_THING} from the {_THING}\.")
_MOVED = re.compile(rf"You move the {_THING} to the {_THING}\.")
_TREATED = re.compile(rf"You (clean|heat|cool) the {_THING} using the {_THING}\.")
_LIT = re.compile(rf"You turn on the {_THING}\.")
_CARRIED = re.compile(rf"You are carrying: a {_THING}\.")
_NAMES = re.compile(rf"\b{_THING}\b")
NOTHING = "Nothing happens."

# Task sentences: two wordings for each type. Only treated objects have an adjective or a verb.
_TASKS = (
    re.compile(r"(?:put|find) (?P<two>two) (?P<thing>\w+) (?:and put them )?in (?P<target>\w+)"),
    re.compile(r"(?P<how>clean|heat|cool) some (?P<thing>\w+) and put it in (?P<target>\w+)"),
    re.compile(r"put a (?P<how>clean|hot|cool) (?P<thing>\w+) in (?P<target>\w+)"),
    re.compile(r"(?:look at|examine the) (?P<thing>\w+) (?:under|with) the (?P<lamp>\w+)"),
    re.compile(r"put (?:a|some) (?P<thing>\w+) (?:in|on) (?P<target>\w+)"),
)
# The verb and the kind of receptacle for each word a task sentence may use.
_HOW = {
    word: (t.verb, t.station.lower()) for t in TREATMENTS.values() for word in (t.verb, t.adjective)
}
_KINDS = {name.lower(): kind for name, kind in OBJECTS.items()}
_OPENABLE = {name.lower() for name in OPENABLE}
_UNLIKELY = 0.2  # the weight of a place that may hold a kind but rarely does
_SENSELESS = 0.01  # and of one that cannot be meant to


@dataclass(frozen=True, slots=True)
class Errand:
    """What a task sentence asks for; kinds in lower case, as in names."""

    thing: str
    target: str = ""
    verb: str = ""
    station: str = ""
    lamp: str = ""
    count: int = 1


def read_task(goal: str) -> Errand | None:
    """A task sentence's meaning; None for wording that is not ALFWorld's."""
    for pattern in _TASKS:
        found = pattern.search(goal.lower())
        if found:
            words = found.groupdict()
            verb, station = _HOW.get(words.get("how", ""), ("", ""))
            return Errand(
                thing=words["thing"],
                target=words.get("target", ""),
                verb=verb,
                station=station,
                lamp=words.get("lamp", ""),
                count=2 if "two" in words else 1,
            )
    return None


class Explorer:
    """Plays a game by what it has read so far."""

    def __init__(self, goal: str, first_observation: str) -> None:
        """Start with the task sentence and the view of the room."""
        self.errand = read_task(goal)
        self.receptacles: list[str] = []
        self.contents: dict[str, list[str]] = {}  # what was last seen in each receptacle
        self.closed: set[str] = set()  # receptacles last seen closed
        self.here: list[str] = []  # receptacles known to be in reach
        self.holding: str | None = None
        self.treated: set[tuple[str, str]] = set()  # (verb, object) done
        self._failed: set[str] = set()  # commands that did nothing since something last happened
        self._read(first_observation)

    def observe(self, action: str, observation: str) -> None:
        """Take in what an action, one's own or another's, led to."""
        action = action.strip()
        if observation.strip() != NOTHING:
            self._failed.clear()
            self._read(observation)
            return
        self._failed.add(action)
        place = action.removeprefix("go to ")
        if place in self.receptacles and place not in self.here:
            self.here.append(place)  # one cannot go where one already is

    def next_action(self) -> str | None:
        """The next command; None where there is none, or the task cannot be understood."""
        if self.errand is None:
            return None
        plans = self._plans(self.errand)
        return next((action for action in plans if action not in self._failed), None)

    # --- reading ----------------------------------------------------------------------------

    def _read(self, text: str) -> None:
        if room := _IN_ROOM.search(text):
            self._learn(_NAMES.findall(room[1]))
            self.here = []
        if facing := _FACING.search(text):
            self.here = _NAMES.findall(facing[1])
            self._learn(self.here)
        if arrived := _ARRIVED.search(text):
            self.here = [arrived[1]]
            self._learn(self.here)
        for on, inside, listing in _SEEN.findall(text):
            place = on or inside
            self.contents[place] = _NAMES.findall(listing)
            self.closed.discard(place)
        for shut, just_shut in _CLOSED.findall(text):
            self.closed.add(shut or just_shut)
        if taken := _TAKEN.search(text):
            self.holding = taken[1]
            self._forget(taken[1])
        if moved := _MOVED.search(text):
            self.holding = None
            self._forget(moved[1])
            self.contents.setdefault(moved[2], []).append(moved[1])
        if treated := _TREATED.search(text):
            undone = {"heat": "cool", "cool": "heat"}.get(treated[1], "")
            self.treated.discard((undone, treated[2]))
            self.treated.add((treated[1], treated[2]))
        if carried := _CARRIED.search(text):
            self.holding = carried[1]

    def _learn(self, places: list[str]) -> None:
        self.receptacles += [place for place in places if place not in self.receptacles]

    def _forget(self, thing: str) -> None:
        for things in self.contents.values():
            if thing in things:
                things.remove(thing)

    # --- planning: commands in the order of preference ----------------------------------------

    def _plans(self, errand: Errand) -> Iterator[str]:
        if self.holding is None:
            yield from self._fetch(errand)
        elif _kind(self.holding) != errand.thing:
            yield from self._put_away(self.holding)
        elif errand.lamp:
            yield from self._light(errand.lamp)
        else:
            yield from self._bring(errand, self.holding)
        yield "look"

    def _fetch(self, errand: Errand) -> Iterator[str]:
        known = [
            (thing, place)
            for place, things in self.contents.items()
            for thing in things
            if _kind(thing) == errand.thing and not self._is_done(errand, thing, place)
        ]
        # What needs no more treatment first, then what is in reach.
        known.sort(key=lambda k: ((errand.verb, k[0]) not in self.treated, k[1] not in self.here))
        for thing, place in known:
            yield from self._reach_into(place)
            yield f"take {thing} from {place}"
        yield from self._search(errand.thing)

    def _is_done(self, errand: Errand, thing: str, place: str) -> bool:
        if _kind(place) != errand.target:
            return False
        if errand.count > 1:
            return place == self._target(errand)
        return not errand.verb or (errand.verb, thing) in self.treated

    def _target(self, errand: Errand) -> str | None:
        """The receptacle to bring things to: the fullest of them, else one known to be open."""
        targets = self._of_kind(errand.target)
        return max(
            targets,
            key=lambda t: (
                sum(_kind(thing) == errand.thing for thing in self.contents.get(t, ())),
                t in self.here,
                t in self.contents,
            ),
            default=None,
        )

    def _bring(self, errand: Errand, thing: str) -> Iterator[str]:
        if errand.verb and (errand.verb, thing) not in self.treated:
            for station in self._of_kind(errand.station):
                yield from self._go(station)
                yield f"{errand.verb} {thing} with {station}"
        first = self._target(errand)
        targets = self._of_kind(errand.target)
        for target in sorted(targets, key=lambda t: t != first):
            yield from self._reach_into(target)
            yield f"move {thing} to {target}"

    def _light(self, lamp: str) -> Iterator[str]:
        for place, things in self.contents.items():
            for light in things:
                if _kind(light) == lamp:
                    yield from self._go(place)
                    yield f"use {light}"
        yield from self._search(lamp)

    def _put_away(self, thing: str) -> Iterator[str]:
        holders = [r for r in self.receptacles if _weight(_kind(thing), _kind(r)) > _SENSELESS]
        for place in sorted(holders, key=lambda r: (r not in self.here, r not in self.contents)):
            yield from self._reach_into(place)
            yield f"move {thing} to {place}"

    def ranked(self, kind: str) -> list[str]:
        """All places, those with the best odds of a kind for their effort first.

        Those with the same odds are in the order in which the room's view names them.
        """
        counts = Counter(map(_kind, self.receptacles))

        def odds(place: str) -> float:
            effort = 2 if _kind(place) in _OPENABLE and place not in self.here else 1
            return _weight(kind, _kind(place)) / counts[_kind(place)] / effort

        return sorted(self.receptacles, key=lambda place: -odds(place))

    def _search(self, kind: str) -> Iterator[str]:
        for place in self.ranked(kind):
            if place not in self.contents:
                yield from self._reach_into(place)
                yield f"examine {place}"

    def _reach_into(self, place: str) -> Iterator[str]:
        yield from self._go(place)
        if place in self.closed:
            yield f"open {place}"

    def _go(self, place: str) -> Iterator[str]:
        if place not in self.here:
            yield f"go to {place}"

    def _of_kind(self, kind: str) -> list[str]:
        return sorted((r for r in self.receptacles if _kind(r) == kind), key=_order)


def _kind(name: str) -> str:
    return name.rpartition(" ")[0]


def _order(name: str) -> tuple[str, int]:
    kind, _, number = name.rpartition(" ")
    return kind, int(number)


def _weight(thing: str, place: str) -> float:
    """How likely a kind of object is in a kind of receptacle, by common sense."""
    kind = _KINDS.get(thing)
    if kind is None:
        return 1.0
    found = {name.lower(): weight for name, weight in kind.found.items()}
    if place in found:
        return float(found[place])
    return _UNLIKELY if place in map(str.lower, kind.allowed) else _SENSELESS
