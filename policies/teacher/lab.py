"""A mind for ScienceWorld: where one is, what is there, what was focused on.

Two notes are kept when the context is cut: `place` (where one is) and `focus` (what the task has
been shown so far, which nothing else tells again). The rest is looked at anew.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...envs.scienceworld.explorer import Explorer
from ...envs.scienceworld.simulator import NO_ACTION

PLACE, FOCUS = "place", "focus"
_LOOK = "look around"
_MOST = 3  # things of a thought


def told(texts: Sequence[str]) -> dict[str, str]:
    """Nothing: what is told of another walk is looked at anew."""
    del texts
    return {}


class Lab:
    """What is known of a house."""

    def __init__(self, goal: str) -> None:
        """Start with the task sentence."""
        self._goal = goal
        self._explorer: Explorer | None = None
        self._texts: list[tuple[str, str]] = []  # actions and observations
        self._notes: dict[str, str] = {}  # that were recalled
        self._started = False  # whether the start of the task was read
        self._begun = False  # or a note of where one is
        self._chosen = ""
        self._last = ""

    # --- reading ----------------------------------------------------------------------------

    def read(self, action: str, observation: str) -> None:
        """See `Mind.read`."""
        self._chosen, self._last = "", observation
        if not self._texts:
            self._started = self._begun = not action
        self._texts.append((action, observation))
        self._take_in(action, observation)

    def recall(self, name: str, fact: str) -> None:
        """See `Mind.recall`: only where the start is not in sight."""
        if self._started or name not in (PLACE, FOCUS):
            return
        self._begun |= name == PLACE
        self._notes[name] = fact
        self._chosen = ""
        self._explorer = None  # what was planned without the note is planned anew
        for action, observation in self._texts:
            self._take_in(action, observation)

    def _take_in(self, action: str, observation: str) -> None:
        if self._explorer is not None:
            self._explorer.observe(action, observation)
            return
        self._explorer = Explorer(self._goal, observation)
        notes = self._explorer.notes
        notes.here = notes.here or self._notes.get(PLACE, "")
        before = self._notes.get(FOCUS, "")
        notes.focused[:0] = [f for f in before.split("; ") if f and f not in notes.focused]

    @property
    def whole(self) -> bool:
        """See `Mind.whole`."""
        return self._begun

    # --- acting -----------------------------------------------------------------------------

    def act(self) -> str:
        """See `Mind.act`."""
        if not self._chosen:
            action = self._explorer.next_action() if self._explorer is not None else None
            self._chosen = action or _LOOK
        return self._chosen

    def remark(self, action: str = "") -> str:
        """See `Mind.remark`: of what is here, what the next action is about, and where one is."""
        if self._explorer is None:
            return "Look around."
        if self._last.startswith(NO_ACTION):
            return "That was not understood."
        notes, action = self._explorer.notes, action or self.act()
        if action.startswith(("teleport", "go", "open door")):
            return f"Nothing to do in {notes.here}." if notes.here else "Go on."
        named = dict.fromkeys(thing for thing in notes.place.things if thing in action)
        things = [t for t in named if not any(t != o and t in o for o in named)]
        return f"{' and '.join(things[:_MOST])} in {notes.here}." if things else "Go on."

    # --- notes ------------------------------------------------------------------------------

    def found(self) -> dict[str, str]:
        """See `Mind.found`: what was focused on, which matters to the end."""
        focused = self._explorer.notes.focused if self._explorer is not None else []
        return {FOCUS: "; ".join(focused)} if focused else {}

    def state(self) -> dict[str, str]:
        """See `Mind.state`."""
        here = self._explorer.notes.here if self._explorer is not None else ""
        return self.found() | ({PLACE: here} if here else {})

    def mended(self, name: str, fact: str) -> str | None:
        """See `Mind.mended`."""
        return self.found().get(FOCUS) if name == FOCUS else fact

    def queries(self, *, cut: bool) -> list[tuple[str, int]]:
        """See `Mind.queries`."""
        return [(PLACE, 1), (FOCUS, 1)] if cut else []

    def over(self) -> str:
        """See `Mind.over`."""
        return ""
