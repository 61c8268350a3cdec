"""The oracle: ScienceWorld's own gold path, followed as far as the player's actions allow."""

from __future__ import annotations

import re

from .simulator import AMBIGUOUS

_MOVES = re.compile(r"(?:go|teleport) to (?P<room>.+)")
_ROOM = re.compile(r"This (?:room|outside location) is called the (?P<room>[^.]+)\.")
_HARMLESS = re.compile(
    r"(?:look around|look (?:at|in|on) .*|examine .*|inventory|task|help|objects|read .*)"
)


def room_of(text: str) -> str | None:
    """The room that a look around names."""
    found = _ROOM.search(text)
    return found["room"] if found else None


class Oracle:
    """Follows the gold path of a task.

    The path is a list of actions, so it is surely right only for a player who did nothing else.
    After another's action that may have changed something the oracle goes back to the room in
    which the path was left, if it can, and goes on there; what it then meets it does not
    understand. It has no action left at the end of the path, solved or not.
    """

    def __init__(self, path: list[str], first_room: str | None) -> None:
        """Start at the beginning of the path, in the room the game starts in."""
        self._path = path
        self._next = 0
        self._room = first_room  # in which the path is to be continued
        self._strayed = False

    def observe(self, action: str, understood: bool) -> None:
        """Take in an action, the path's own or another."""
        if self._next < len(self._path) and action == self._path[self._next]:
            self._next += 1
            moved = _MOVES.fullmatch(action)
            if moved:
                self._room = moved["room"]
        elif understood and not _HARMLESS.fullmatch(action):
            self._strayed = True

    def next_action(self, look: str, last_observation: str) -> str | None:
        """The next action.

        Args:
            look: what the player would see by looking around now.
            last_observation: the answer to the last action.
        """
        if self._next >= len(self._path):
            return None
        action = self._path[self._next]
        if last_observation.startswith(AMBIGUOUS) and not action.isdigit():
            return "0"
        here = room_of(look)
        if self._strayed and here and self._room and here != self._room:
            way = re.search(rf"A door to the {re.escape(self._room)} \(that is (\w+)\)", look)
            if way is None:
                return f"teleport to {self._room}"
            if way[1] == "closed":
                return f"open door to {self._room}"
            return f"go to {self._room}"
        return action
