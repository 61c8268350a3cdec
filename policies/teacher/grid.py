"""A mind for BabyAI: what of the mission is in view, and the map that the texts draw.

When the context is cut, four notes hold what the map was: `place` (where one stands, from the start
on), `doors` and `things` (where those of the mission are, from the start on), and `left` (the parts
of the mission that are still to be done).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ...envs.babyai.explorer import Explorer
from ...envs.babyai.reading import Clause, Description, read_mission
from ...envs.babyai.worldmap import Item, Pose

PLACE, DOORS, THINGS, LEFT = "place", "doors", "things", "left"
_SAID = re.compile(r"((?:red|green|blue|purple|yellow|grey) (?:ball|box|key|door)) (\d+)([^;.]*)")
_CARRIED = re.compile(r"You carry an? (\w+ \w+)")
_DID = re.compile(r"^You (?!see|carry)[^.]*\. (?=You see)")
_HEADINGS = ("ahead", "right", "back", "left")
_WHERE = r"(-?\d+) ahead and (-?\d+) right"
_STANDS = re.compile(rf"{_WHERE} of the start, facing (\w+)")
_LIES = re.compile(rf"([a-z]+ [a-z]+)(?: \((\w+)\))? {_WHERE}")


def told(texts: Sequence[str]) -> dict[str, str]:
    """Nothing: what is told of another walk is told from where that one stood."""
    del texts
    return {}


class Grid:
    """What is known of a building."""

    def __init__(self, goal: str) -> None:
        """Start with the mission."""
        self._goal = goal
        self._explorer: Explorer | None = None
        self._groups = read_mission(goal) or []
        self._text = ""
        self._chosen = ""
        self._turns = 0  # in a row
        self._begun = False  # whether the start, or a note of the place, was read

    # --- reading ----------------------------------------------------------------------------

    def read(self, action: str, observation: str) -> None:
        """See `Mind.read`."""
        self._chosen, self._text = "", observation
        self._turns = self._turns + 1 if action.startswith("turn") else 0
        if self._explorer is not None:
            self._explorer.observe(action, observation)
            return
        self._begun = not action and _DID.match(observation) is None
        self._explorer = Explorer(self._goal, _DID.sub("", observation))

    def recall(self, name: str, fact: str) -> None:
        """See `Mind.recall`: notes that are retrieved where the start is not in sight."""
        if self._begun and name == PLACE:
            return
        explorer = self._explorer
        if explorer is None or name not in (PLACE, DOORS, THINGS, LEFT):
            return
        self._chosen = ""
        if name == PLACE and (stands := _STANDS.fullmatch(fact)):
            self._begun = True
            pose = (int(stands[1]), int(stands[2])), _HEADINGS.index(stands[3])
            self._explorer = _standing(self._goal, pose, _DID.sub("", self._text))
        elif name == LEFT:
            left = read_mission(fact)
            if left is not None:
                explorer.resume(left)
        elif name in (DOORS, THINGS):
            found = _LIES.findall(fact)
            explorer.remember(
                [
                    Item(said, (int(a), int(r)), (int(a), int(r)), state)
                    for said, state, a, r in found
                ]
            )

    @property
    def whole(self) -> bool:
        """See `Mind.whole`."""
        return self._begun

    # --- acting -----------------------------------------------------------------------------

    def act(self) -> str:
        """See `Mind.act`."""
        if not self._chosen:
            self._chosen = self._explorer.next_action() if self._explorer else "turn left"
        return self._chosen

    def remark(self, action: str = "") -> str:
        """See `Mind.remark`: what is wanted now, and of each thing in view whether it is that."""
        view, _, rest = self._text.partition(" Walls:")
        carried = next(iter(_CARRIED.findall(rest)), "")
        wanted = list(dict.fromkeys(_due(clause, carried) for clause in self._clauses()[:2]))
        parts = [f"Want {' or '.join(map(_named, wanted))}."] if wanted else []
        parts += [f"Carried: {carried}."] if carried else []
        said, locked, met = list[str](), list[tuple[str, bool]](), False
        for name, number, where in _SAID.findall(view):
            meant = any(what.fits(name) for what in wanted)
            met = met or meant
            said.append(f"{name} {number}: yes{where}" if meant else f"{name} {number}: no")
            key = name.replace("door", "key")
            if "(locked)" in where and key != carried:
                locked.append((key, meant))
        parts += ["; ".join(said) + "."] if said else []
        parts += [] if met or not wanted else [f"No {' or '.join(map(_named, wanted))}."]
        parts += [f"Needs {key}." for key, meant in locked if meant or not met]
        if (action or self.act()).startswith("turn"):
            parts.append(f"Turn {self._turns + 1}.")
        return " ".join(parts) or "Go on."

    def _clauses(self) -> list[Clause]:
        """What is due now."""
        groups = self._explorer.groups if self._explorer else self._groups
        return list(groups[0]) if groups else []

    # --- notes ------------------------------------------------------------------------------

    def found(self) -> dict[str, str]:
        """See `Mind.found`."""
        return {}

    def state(self) -> dict[str, str]:
        """See `Mind.state`."""
        if self._explorer is None or not self._begun:
            return {}
        world = self._explorer.world
        (ahead, right), heading = world.pose
        place = f"{ahead} ahead and {right} right of the start, facing {_HEADINGS[heading]}"
        facts = {PLACE: place}
        items = sorted(world.items.values(), key=lambda item: item.cell)
        doors = [_lying(item) for item in items if item.is_door]
        things = [_lying(item) for item in items if not item.is_door and self._matters(item)]
        facts |= {DOORS: "; ".join(doors)} if doors else {}
        facts |= {THINGS: "; ".join(things)} if things else {}
        left = [[_clause(clause) for clause in group] for group in self._explorer.groups]
        if left and all(left):
            facts[LEFT] = ", then ".join(" and ".join(group) for group in left)
        return facts

    def _matters(self, item: Item) -> bool:
        groups = self._explorer.groups if self._explorer else []
        named = [d for group in groups for c in group for d in (c.what, c.beside) if d is not None]
        return item.name.endswith("key") or any(d.fits(item.name) for d in named)

    def mended(self, name: str, fact: str) -> str | None:
        """See `Mind.mended`: they are brought up to date when the context is cut."""
        del name
        return fact

    def queries(self, *, cut: bool) -> list[tuple[str, int]]:
        """See `Mind.queries`."""
        return [(name, 1) for name in (PLACE, DOORS, THINGS, LEFT)] if cut else []

    def over(self) -> str:
        """See `Mind.over`."""
        return ""


def _standing(goal: str, pose: Pose, text: str) -> Explorer:
    """An explorer who reads a text where it stands."""
    explorer = Explorer(goal, "")
    explorer.world.pose = pose
    explorer.observe("", text)
    return explorer


def _lying(item: Item) -> str:
    state = f" ({item.state})" if item.state else ""
    return f"{item.name}{state} {item.cell[0]} ahead and {item.cell[1]} right"


def _named(what: Description) -> str:
    return " ".join(part for part in (what.color, what.kind or "object") if part)


def _due(clause: Clause, carried: str) -> Description:
    """What a clause wants now: once its thing is in hand, what it is to lie beside."""
    beside = clause.beside
    return beside if beside is not None and clause.what.fits(carried) else clause.what


def _clause(clause: Clause) -> str:
    """A clause in a mission's words, without the place, which held at the start."""
    beside = f" next to the {_named(clause.beside)}" if clause.beside is not None else ""
    return f"{clause.verb} the {_named(clause.what)}{beside}"
