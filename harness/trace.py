"""The event trace of an episode: what happened to the context, the memory and the world, in order.

Metrics, rewards, the viewer and the resume logic read events, never the text of messages.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Event = dict[str, Any]
"""One event: `type`, `step`, `turn` and the fields of its type, all JSON values.

Types and their fields:
    message: id, role, kind, text, tokens, pinned; a message entered the context
    rewrite: id, text, tokens; a message lost what held only while it was current
    remove: ids, reason (`filter`, `overflow`, `summary`, `new_context`, `new_goal`); they left it
    completion: text, tool_calls, malformed, finish, tokens, latency_s; the agent's model answered
    malformed: problem; part of the output could not be used
    tool: name, arguments, status, content, data, latency_s; a tool call was answered
    memory: op (`add` | `update` | `delete` | `retrieve` | `summary` | `merge`), ids, content or
        query, changed; a retrieval also has the `contents` of what it found, a deletion that only
        marks an entry `kept`, an addition or update the labels that are new as `metadata`
    memory_fault: op, problem; a memory skipped an operation, since its model gave nothing usable
    model_call: role, model, text, tokens, estimated, latency_s; not the agent's own turn
    call_failed: role, model, kind, problem, latency_s; a model call failed for good
    action: action, valid, reward, progress, metrics, done, observation, answer, latency_s; the
        environment moved on
    forfeit: reason; a step passed without an action
    judge: op, score; a judge gave a score, or none
    judge_fault: op, problem; the judge gave no usable score
    quality: scores, loss, question, gold, facts; the memory was rated when the episode had ended
"""


class Trace:
    """Collects the events of one episode in memory; the recorder writes them at commit.

    Args:
        listener: Called with each event as it comes.
    """

    __slots__ = ("_listener", "events", "step", "turn")

    def __init__(self, listener: Callable[[Event], None] | None = None) -> None:
        self.events: list[Event] = []
        self._listener = listener
        self.step = 0  # environment steps taken so far
        self.turn = 0  # model calls of the agent so far

    def emit(self, type_: str, **fields: Any) -> None:
        """Append an event, stamped with the current step and turn."""
        event = {"type": type_, "step": self.step, "turn": self.turn, **fields}
        self.events.append(event)
        if self._listener is not None:
            self._listener(event)

    def of(self, type_: str) -> list[Event]:
        """All events of one type, in order."""
        return [event for event in self.events if event["type"] == type_]
