"""The messages of an episode, and which of them the context held at every turn, from its trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..trace import Event


@dataclass(slots=True)
class Said:
    """A message as the trace tells it."""

    id: str
    role: str
    kind: str
    text: str
    turn: int
    call: int | None = None  # of a tool's result: which call of its turn it answers
    left: str | None = None  # why it left the context


@dataclass(slots=True)
class Transcript:
    """Takes in the events of an episode one at a time."""

    history: list[Said] = field(default_factory=list)  # all messages, in order
    context: list[Said] = field(default_factory=list)  # those that the model sees now
    _summary_at: int | None = None
    _results: int = 0  # of this turn so far
    _turn: int = 0

    def add(self, event: Event) -> None:
        """Take in the next event; of no concern is what does not change the context.

        Raises:
            KeyError: if it is no event.
        """
        if event["type"] == "message":
            self._message(event)
        elif event["type"] == "rewrite":
            self._rewrite(event)
        elif event["type"] == "remove":
            self._remove(set(event["ids"]), event["reason"])

    def _message(self, event: Event) -> None:
        said = Said(event["id"], event["role"], event["kind"], event["text"], event["turn"])
        if said.turn != self._turn:
            self._turn, self._results = said.turn, 0
        if said.kind == "tool_result":
            said.call, self._results = self._results, self._results + 1
        self.history.append(said)
        place = len(self.context)
        if said.kind == "summary" and self._summary_at is not None:
            place, self._summary_at = self._summary_at, None
        self.context.insert(place, said)

    def _rewrite(self, event: Event) -> None:
        for index, said in enumerate(self.context):
            if said.id == event["id"]:  # as a message of its own: earlier turns saw the other
                new = Said(said.id, said.role, said.kind, event["text"], said.turn, said.call)
                self.context[index] = new

    def _remove(self, ids: set[str], reason: str) -> None:
        places = [index for index, said in enumerate(self.context) if said.id in ids]
        if reason == "summary" and places:
            self._summary_at = places[0]  # where the summary goes; see `Context.summarise`
        for index in places:
            self.context[index].left = reason
        self.context = [said for said in self.context if said.id not in ids]


def calls_by_turn(events: Sequence[Event]) -> dict[int, list[dict[str, Any]]]:
    """The tool calls of each turn, in order."""
    found: dict[int, list[dict[str, Any]]] = {}
    for event in events:
        if event["type"] == "tool":
            found.setdefault(event["turn"], []).append(event)
    return found
