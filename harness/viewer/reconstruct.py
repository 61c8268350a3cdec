"""What the context and the long-term memory held at every turn, from the events of an episode.

The one place that knows what an event does to either. It says so as explicit changes, of which
the page in the browser only carries out the plainest: put a message at an index, take messages
out, set or drop an entry. Changes, not states, are what is written: a state a turn would be a
hundred times the trace.

A *turn* is cut here so that it can be read: what prepared the call (a retrieval shown, what was
dropped for room), the call, and what came of it, up to the preparation of the next one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from ..trace import Event

Change = dict[str, Any]
"""An event without its stamps; a `message` also has `at`, its index in the context, and, in the
native transport, the `calls` that it makes."""

Held = tuple[str, dict[str, Any]]  # content and labels of an entry
Memory = dict[str, Held]  # by id, oldest first
WRITES = frozenset({"add", "update", "delete"})  # what changes the entries of a memory
_STAMPS = frozenset({"step", "turn"})
_BEFORE_A_CALL = frozenset({"memory", "overflow"})  # why messages leave before a call


@dataclass(slots=True)
class State:
    """A context and a memory, as changes leave them."""

    context: list[Change] = field(default_factory=list)  # messages: `id`, `role`, `text`, …
    memory: Memory = field(default_factory=dict)

    def apply(self, change: Change) -> None:
        """Carry out a change; most say only that something happened."""
        match change["type"]:
            case "message":
                self.context.insert(change["at"], dict(change))
            case "rewrite":
                for message in self.context:
                    if message["id"] == change["id"]:
                        message.update(text=change["text"], tokens=change["tokens"])
            case "remove":
                gone = set(change["ids"])
                self.context = [m for m in self.context if m["id"] not in gone]
            case "memory" if change["op"] in WRITES:
                for id_ in change["ids"]:
                    if change["op"] == "delete":
                        self.memory.pop(id_, None)
                    else:
                        labels = self.memory.get(id_, ("", {}))[1]
                        self.memory[id_] = change["content"], change.get("metadata", labels)


@dataclass(slots=True)
class Turn:
    """One call of the agent's model, what prepared it and what came of it."""

    step: int  # environment steps taken before the call
    before: list[Change] = field(default_factory=list)
    call: Change | None = None  # None: the episode ended before the model answered
    after: list[Change] = field(default_factory=list)

    def to_json(self) -> Change:
        """The turn as JSON values."""
        value = {"step": self.step, "before": self.before, "call": self.call, "after": self.after}
        return {key: item for key, item in value.items() if item not in (None, [])}


def reconstruct(events: Iterable[Event], memory: Memory) -> tuple[list[Turn], State]:
    """The turns of an episode, and the state it ended with.

    Args:
        events: Of its trace, in order.
        memory: What the long-term memory held before; not changed.

    Raises:
        ValueError: for events that no episode can have written.
    """
    state, said = State(memory=dict(memory)), list[tuple[int, Change]]()
    reading = _Reading(state)
    try:
        for event in events:
            change = reading.change(event)
            state.apply(change)
            said.append((int(event.get("step", 0)), change))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"an event lacks what it must have: {error!r}") from error
    return _turns(said), state


class _Reading:
    """Makes changes of events; remembers what a later event leaves unsaid."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._gap: int | None = None  # where the messages stood that a summary stands for
        self._calls: list[Any] = []  # of the native transport, not yet in the context

    def change(self, event: Event) -> Change:
        change = {k: v for k, v in event.items() if k not in _STAMPS and v is not None}
        match event["type"]:
            case "remove" if event["reason"] == "summary":
                gone = set(event["ids"])
                places = (i for i, m in enumerate(self._state.context) if m["id"] in gone)
                self._gap = next(places, None)
            case "message":
                # A summary takes the place of the earliest message it stands for; all others
                # come last.
                place, self._gap = self._gap, None
                end = len(self._state.context)
                change["at"] = place if event["kind"] == "summary" and place is not None else end
                if event["kind"] == "assistant" and self._calls:
                    change["calls"], self._calls = self._calls, []
            case "completion":
                self._calls = list(event.get("tool_calls") or ())
        return change


def _turns(said: Sequence[tuple[int, Change]]) -> list[Turn]:
    calls = [i for i, (_, change) in enumerate(said) if change["type"] == "completion"]
    starts = [0]
    for one, other in pairwise(calls):
        starts.append(_preparation(said, one + 1, other))
    if calls:  # a call that failed for good prepared for nothing
        tail = _preparation(said, calls[-1] + 1, len(said))
        if any(_failed_call(change) for _, change in said[tail:]):
            starts.append(tail)
    turns = []
    for number, (start, end) in enumerate(zip(starts, [*starts[1:], len(said)], strict=True)):
        part = said[start:end]
        at = calls[number] - start if number < len(calls) else None
        changes = [change for _, change in part]
        step = part[at or 0][0] if part else 0
        if at is None:
            turns.append(Turn(step, changes))
        else:
            turns.append(Turn(step, changes[:at], changes[at], changes[at + 1 :]))
    return turns


def _preparation(said: Sequence[tuple[int, Change]], start: int, end: int) -> int:
    """From where events prepare the call at `end`, and are no consequence of the one before."""
    while end > start and _prepares(said[end - 1][1]):
        end -= 1
    return end


def _prepares(change: Change) -> bool:
    match change["type"]:
        case "remove":
            return change["reason"] in _BEFORE_A_CALL
        case "message":
            return bool(change["kind"] == "memory")
        case "memory":
            return bool(change["op"] == "retrieve")
        case "model_call":
            return bool(change["role"] == "memory_read")
    return _failed_call(change)


def _failed_call(change: Change) -> bool:
    return bool(change["type"] == "call_failed" and change["role"] == "agent")
