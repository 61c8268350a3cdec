"""What a prompt shows of an episode: the goal, what was done and seen, and the notes held."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ...harness.prompts import MEMORY_HEADING, goal_message, last_turn_message
from ...harness.protocol import parse_text
from ...harness.tools import ToolCall
from ...harness.types import ChatMessage
from .lesson import ENTRY, RESULT, TOLD

UNKNOWN = "?"  # the action before an observation, where a summary has taken its place
_GOAL = goal_message("")
_SUMMARY = "Summary of "
_ASIDE = "Format problem: "
_STORED = "Stored as memory "
_WRITES = ("Add_memory", "Update_memory")


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a prompt tells, in its order.

    Attributes:
        kind: `seen`: an observation; `noted`: a note that was written or retrieved.
        head: The action before an observation, empty if there is none, `UNKNOWN` if it does not
            stand there any more; or a note's name.
        text: The observation; what the note says.
    """

    kind: str
    head: str
    text: str


@dataclass(slots=True)
class View:
    """What a prompt shows.

    Attributes:
        goal: The goal in force, without its heading.
        before: What was said before this goal and still stands in the context.
        events: What was seen and noted since the goal.
        held: Notes whose ids stand in the context: id and content by name.
        since: The tools called since the newest observation, in order.
        cut: Whether a summary stands in place of messages.
        recalled: What the memory shows by itself.
        looked: Whether something was retrieved since the goal, or since the summary.
        last: Whether this is the last turn of a step.
    """

    goal: str = ""
    before: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    held: dict[str, tuple[str, str]] = field(default_factory=dict)
    since: list[str] = field(default_factory=list)
    cut: bool = False
    recalled: str = ""
    looked: bool = False
    last: bool = False

    @property
    def told(self) -> bool:
        """Whether something is told, and nothing is to be done yet."""
        return TOLD in self.goal

    @property
    def seen(self) -> list[Event]:
        """The observations."""
        return [event for event in self.events if event.kind == "seen"]


def note_name(content: str) -> str:
    """The name of a note: what stands before its colon."""
    return content.partition(": ")[0]


def view(messages: Sequence[ChatMessage]) -> View:
    """Read a prompt."""
    shown, action = View(), ""
    waiting: list[ToolCall] = []  # calls whose results are to come
    for message in messages:
        text = message.content
        if message.role == "assistant":
            parsed = parse_text(text)
            waiting = list(message.tool_calls or parsed.calls)
            action = parsed.answer or ""
        elif message.role == "tool":
            call = waiting.pop(0) if waiting else None
            _result(shown, call, text)
        elif message.role == "user":
            _said(shown, text, action)
            action = ""
    return shown


def _said(shown: View, text: str, action: str) -> None:
    """Take in a message to the agent."""
    if text == last_turn_message():
        shown.last = True
    elif text.startswith(_GOAL):
        shown.goal = text.removeprefix(_GOAL)
        shown.before += [event.text for event in shown.seen]
        shown.events.clear()
        shown.cut = shown.looked = False
    elif text.startswith(MEMORY_HEADING):
        shown.recalled = text
    elif text.startswith(_SUMMARY):
        shown.cut, shown.looked = True, False
    elif not text.startswith(_ASIDE):
        if shown.cut and not shown.seen:
            action = action or UNKNOWN
        shown.events.append(Event("seen", action, text))
        shown.since, shown.last = [], False


def _result(shown: View, call: ToolCall | None, text: str) -> None:
    """Take in what came of a call."""
    result = RESULT.match(text)
    if result is None:
        return
    tool, status, content = result.groups()
    shown.since.append(tool)
    if tool == "Retrieve_memory":
        shown.looked = True
    if status != "success":
        return
    for id_, said in _notes(tool, call, content):
        name, _, fact = said.partition(": ")
        shown.held[name] = id_, said
        shown.events.append(Event("noted", name, fact))
    if tool == "Delete_memory" and call is not None:
        gone = call.arguments.get("memory_id")
        shown.held = {k: v for k, v in shown.held.items() if v[0] != gone}


def _notes(tool: str, call: ToolCall | None, content: str) -> Iterator[tuple[str, str]]:
    """The notes that a result shows, and those that a call wrote: id and content."""
    if tool == "Retrieve_memory":
        yield from ENTRY.findall(content)
    elif call is not None and tool in _WRITES:
        stored = content.removeprefix(_STORED).rstrip(".")
        id_ = call.arguments.get("memory_id") or stored
        yield str(id_), str(call.arguments.get("content", ""))
