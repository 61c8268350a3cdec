"""A mind for ALFWorld: what lies where, what was looked into, what is in hand.

Notes are of a place each (`desk 1: a mug 2, and a pen 1`), and three more when the context is cut:
`room` (its places), `searched` (places where nothing wanted is), `hand` (what is held, and what was
done to it).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ...envs.alfworld.explorer import NOTHING, Explorer, read_task

ROOM, SEARCHED, HAND = "room", "searched", "hand"
_LOOK = "look"
_THING = r"([a-z]+ \d+)"
_NAMES = re.compile(rf"\b{_THING}\b")
_OPENING = re.compile(r"Looking quickly around you, you see (.*)\.", re.I)
_LISTED = re.compile(rf"(?:On the {_THING}|The {_THING} is open\. In it), you see (.*?)\.")
_HERE = re.compile(rf"(?:from|to|using|open|close) the {_THING}\.")
_DEED = re.compile(r"(take|move|open|examine|go to|use|clean|heat|cool) (.*)")
_DONE = re.compile(r"You (?:pick up|move|clean|heat|cool|turn on) ")
_PLANNED = 12  # kinds of places in a list of those to be searched
_MANY = 3  # places searched in vain that are worth dropping
_TOP = 2  # notes that are looked for of a kind


def told(texts: Sequence[str]) -> dict[str, str]:
    """What lies where, by what was told last of each place."""
    facts: dict[str, str] = {}
    for text in texts:
        for on, inside, listing in _LISTED.findall(text):
            if listing != "nothing":
                facts[on or inside] = listing
    return facts


class House:
    """What is known of a room."""

    def __init__(self, goal: str) -> None:
        """Start with the task sentence."""
        self._goal = goal
        self._explorer = Explorer(goal, "")
        errand = read_task(goal)
        self._errand = errand
        self._kinds = [k for k in (errand.thing, errand.lamp) if k] if errand else []
        self._room = ""
        self._hearsay: set[str] = set()  # places that are known from notes alone
        self._last = "", ""  # action and observation
        self._before = ""  # the kind that was to be found before it
        self._fruitless = 0  # places read of since the search began that held nothing wanted

    # --- reading ----------------------------------------------------------------------------

    def read(self, action: str, observation: str) -> None:
        """See `Mind.read`."""
        explorer = self._explorer
        self._before = self._sought() if self._last[1] else ""
        explorer.observe(action, observation)
        if opening := _OPENING.search(observation):
            self._room = self._room or opening[1]
        elif (here := _HERE.search(observation)) and here[1] not in explorer.here:
            explorer.here.append(here[1])  # it was read where one is, but is told no more
        self._hearsay -= {on or inside for on, inside, _ in _LISTED.findall(observation)}
        self._last = action, observation
        self._fruitless += observation.startswith("You arrive at")

    def recall(self, name: str, fact: str) -> None:
        """See `Mind.recall`."""
        explorer = self._explorer
        if name == ROOM:
            self._room = fact
            explorer.observe("", f"Looking quickly around you, you see {fact}.")
            self._find_self()
        elif name == SEARCHED:
            for place in _NAMES.findall(fact):
                explorer.contents.setdefault(place, [])
        elif name == HAND:
            thing, *deeds = fact.split(", ")
            explorer.holding = None if thing == "nothing" else thing
            explorer.treated |= {(deed, thing) for deed in deeds}
        else:
            things = [t for t in _NAMES.findall(fact) if t != explorer.holding]
            if name not in explorer.contents:  # what was seen is known better
                explorer.contents[name] = things
                self._hearsay.add(name)

    def _find_self(self) -> None:
        """Stand where the newest observation was read, since a room's view begins anew."""
        _, text = self._last
        found = re.search(rf"You arrive at {_THING}\.", text) or _HERE.search(text)
        if found is not None:
            self._explorer.here = [found[1]]

    @property
    def whole(self) -> bool:
        """See `Mind.whole`."""
        return bool(self._room)

    # --- acting -----------------------------------------------------------------------------

    def act(self) -> str:
        """See `Mind.act`."""
        explorer = self._explorer
        action = explorer.next_action()
        if action in (None, _LOOK) and self._hearsay:  # what was told may hold no longer
            for place in self._hearsay:
                explorer.contents.pop(place, None)
            self._hearsay.clear()
            action = explorer.next_action()
        return action or _LOOK

    def remark(self, action: str = "") -> str:
        """See `Mind.remark`."""
        goal = [f"My goal: {self._goal}"] if _DONE.match(self._last[1]) else []
        return " ".join((*self._noticed(), *goal, self._purpose(action or self.act())))

    def _noticed(self) -> list[str]:
        """What the newest observation says of what is wanted: each kind by name, then what of it.

        The name comes first, so that whether it stands in the observation is decided by looking
        for it there.
        """
        action, text = self._last
        if text.strip() == NOTHING:
            failed = f"Not done: {action}." if action[:1].isalpha() else "That did nothing."
            return [failed, f"In hand: {self._explorer.holding or 'nothing'}."]
        if not (listed := _LISTED.findall(text)):
            return []
        on, inside, things = listed[-1]
        placed = self._errand is not None and _kind(on or inside) == self._errand.target
        return [_there(kind, _NAMES.findall(things), placed=placed) for kind in self._due()]

    def _due(self) -> list[str]:
        """The kinds that are still to be found."""
        errand, held = self._errand, self._explorer.holding
        if errand is None:
            return []
        own = errand.thing if held is None or errand.count > 1 else ""
        return [kind for kind in (own, errand.lamp) if kind]

    def _sought(self) -> str:
        """The kind that is to be found next; empty if none is."""
        errand, held = self._errand, self._explorer.holding
        if errand is None:
            return ""
        if held is None:
            return errand.thing
        return errand.lamp if errand.lamp and _kind(held) == errand.thing else ""

    def _purpose(self, action: str) -> str:
        """What the next action is for."""
        deed, errand = _DEED.fullmatch(action), self._errand
        if deed is None or errand is None:
            return "Look around."
        place = (_NAMES.findall(deed[2]) or [""])[-1]
        held = self._explorer.holding
        if deed[1] in ("take", "use", "clean", "heat", "cool"):
            return f"{deed[1].capitalize()} {_NAMES.findall(deed[2])[0]}."
        if held is None or self._sought():
            kind = self._sought()
            things = [t for t in self._explorer.contents.get(place, ()) if _kind(t) == kind]
            return f"The {things[0]} is at {place}." if things else self._search(deed[1], place)
        if errand.verb and (errand.verb, held) not in self._explorer.treated:
            return f"{errand.verb.capitalize()} {held} with {place}."
        return f"Put {held} in {place}."

    def _search(self, deed: str, place: str) -> str:
        """Which place is next, told so that what stands in the prompt goes on with it.

        A search that begins, or goes on after what failed, names the kinds of places that there
        are; then, as whenever a kind is done with, those still to be searched, in their order: so
        such a list is the one before, less its first. Each place stands after the one before as in
        the room's view.
        """
        if deed in ("open", "examine"):
            return f"{deed.capitalize()} {place}."
        seen = self._explorer.contents
        left = dict.fromkeys(
            _kind(p) for p in self._explorer.ranked(self._sought()) if p not in seen
        )
        plan = f"Search {', '.join(list(left)[:_PLANNED])}. Look at {place}."
        if self._sought() != self._before or self._last[1].strip() == NOTHING:
            here = dict.fromkeys(map(_kind, _NAMES.findall(self._room)))
            return f"Here: {', '.join(here)}. {plan}" if here else plan
        follows = re.search(rf"{_THING}(, (?:and )?an? ){place}\b", self._room)
        if follows and _kind(follows[1]) == _kind(place) and follows[1] in seen:
            return f"Past {follows[1]}{follows[2]}{place}."
        begun = any(_kind(searched) == _kind(place) for searched in seen)
        return f"Look at {place}." if begun else plan

    # --- notes ------------------------------------------------------------------------------

    def found(self) -> dict[str, str]:
        """See `Mind.found`: wanted things that are not taken or used at once, where they lie."""
        taken = _NAMES.findall(self.act())[:1]
        _, text = self._last
        facts = {}
        for on, inside, _ in _LISTED.findall(text):
            place = on or inside
            left = [t for t in self._wanted(place) if t not in taken]
            if taken and self._errand and self._errand.count == 1:  # one of a kind is enough
                left = [t for t in left if _kind(t) != _kind(taken[0])]
            if left and not (self._errand and _kind(place) == self._errand.target):
                facts[place] = ", ".join(left)
        return facts

    def state(self) -> dict[str, str]:
        """See `Mind.state`."""
        explorer = self._explorer
        searched = sorted((p for p in explorer.contents if not self._wanted(p)), key=_order)
        held = explorer.holding
        deeds = [verb for verb, thing in sorted(explorer.treated) if thing == held]
        facts = {p: ", ".join(self._wanted(p)) for p in explorer.contents if self._wanted(p)}
        facts |= {ROOM: self._room} if self._room else {}
        facts |= {SEARCHED: ", ".join(searched)} if searched else {}
        return facts | {HAND: ", ".join([held or "nothing", *deeds])}

    def mended(self, name: str, fact: str) -> str | None:
        """See `Mind.mended`."""
        if name in (ROOM, SEARCHED):
            return fact
        if name == HAND:
            held = self._explorer.holding
            return fact if held is None or fact.startswith(held) else self.state()[HAND]
        said = [t for t in _NAMES.findall(fact) if _kind(t) in self._kinds]
        now = self._wanted(name)
        if name not in self._explorer.contents or sorted(said) == sorted(now):
            return fact
        return ", ".join(now) or None

    def queries(self, *, cut: bool) -> list[tuple[str, int]]:
        """See `Mind.queries`."""
        own = [(ROOM, 1), (SEARCHED, 1), (HAND, 1)] if cut else []
        return own + [(kind, _TOP) for kind in self._kinds]

    def over(self) -> str:
        """See `Mind.over`: the search, once the only thing that is wanted is in hand."""
        errand, (_, text) = self._errand, self._last
        single = errand is not None and errand.count == 1 and not errand.lamp
        taken = text.startswith("You pick up") and self._explorer.holding is not None
        return "You arrive at" if single and taken and self._fruitless > _MANY else ""

    def _wanted(self, place: str) -> list[str]:
        """What is wanted of what lies in a place, as far as is known."""
        things = self._explorer.contents.get(place, ())
        return [thing for thing in things if _kind(thing) in self._kinds]


def _there(kind: str, things: Sequence[str], *, placed: bool) -> str:
    """Which of a kind are among some things; `placed` where they are to be."""
    found = [thing for thing in things if _kind(thing) == kind]
    if not found:
        return f"The {kind} is not here."
    where = "placed" if placed else "here"
    return f"The {' and the '.join(found)} {'is' if len(found) == 1 else 'are'} {where}."


def _kind(name: str) -> str:
    return name.rpartition(" ")[0]


def _order(name: str) -> tuple[str, int]:
    kind, _, number = name.rpartition(" ")
    return kind, int(number)
