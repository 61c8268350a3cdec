"""`scripted`: the environment's own expert acts, and a fixed rule uses the memory tools.

It needs no weights and no network, so it proves that the whole path works: upper bound, smoke
test. Every table labels it as what it is, e.g. `scripted (oracle)`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import unknown_name
from ..prompts import MEMORY_HEADING, goal_message, last_turn_message
from ..protocol import render_calls
from ..tools import ToolCall, find_tool
from ..types import ChatMessage, Completion, EpisodeView, Model, ModelInfo, Request
from . import ModelBase, estimate_usage, last_of, prompt_tokens, refuse_writing

# The rule, in steps (actions taken so far) unless said otherwise.
RETRIEVE_EVERY = 5  # ask the memory for the goal at steps 0, 5, 10, … and when it is a new one
HOUSEKEEPING_EVERY = 8  # filter at steps 3, 11, … and summarise at steps 6, 14, …
FILTER_AT, SUMMARY_AT = 3, 6
SUMMARY_SHARE = 0.7  # of the context budget: summarise at once from here on
MAX_NOTES = 3  # notes on places held; one more and the oldest is deleted
TOLD = "keep in mind"  # a goal that says so: each message is noted as it is told, and stays
MAX_TOLD = 64  # messages noted; further ones are not
MAX_TOLD_LENGTH = 4000  # characters of a message that are noted, about 1,000 tokens
NOISE = "Nothing happens"  # the observation that is worth filtering

_GO = re.compile(r"\s*(?:go to|goto|teleport to|search)\b\W*(?P<place>.*?)\W*$", re.IGNORECASE)
_UUID = re.compile(r"\b[0-9a-f]{8}(?:-?[0-9a-f]{4}){3}-?[0-9a-f]{12}\b")
_THINK_ACT = "<think>The expert of this environment chooses the action.</think>"
_THINK_TOOL = "<think>The fixed rule uses a memory tool before the next action.</think>"


class ScriptedModel(ModelBase):
    """Plays an environment's expert.

    Where the expert has no action left, the answer is empty: the environment counts it as an
    invalid action, and the episode runs into its step limit instead of looking solved.

    Args:
        name: The expert: `oracle` (default), or another one that the environment has.
    """

    def __init__(self, name: str = "") -> None:
        self.expert = name or "oracle"
        self.info = ModelInfo(
            f"scripted ({self.expert})",
            oracle=True,
            writes=False,
            identity={"provider": "scripted", "expert": self.expert, "rule": "2"},
        )

    def bind(self, episode: EpisodeView) -> Model:
        """The model for one episode.

        Raises:
            UsageError: if the environment has no such expert.
        """
        experts = episode.env.spec.experts
        if self.expert not in experts:
            raise unknown_name(f"expert of {episode.env.spec.name}:", self.expert, experts)
        return _ScriptedEpisode(self.info, self.expert, episode)


@dataclass(slots=True)
class _Note:
    """What the long-term memory holds about a place."""

    id: str
    content: str


class _ScriptedEpisode(ModelBase):
    """One episode: at most one tool turn before each action, beside a note of what was told."""

    def __init__(self, info: ModelInfo, expert: str, episode: EpisodeView) -> None:
        self.info = info
        self._expert = expert
        self._episode = episode
        self._steps = 0  # actions given so far
        self._used_tool = False  # since the last action
        self._heard = False  # whether what was told since then was noted, if it is to be
        self._n_told = 0  # messages noted
        self._calls = 0
        self._goal = ""
        self._action = ""
        self._place = ""  # where the last move led
        self._arrival = ""  # what was seen on arriving there
        self._latest = ""  # what was seen there last, since then
        self._notes: dict[str, _Note] = {}  # by place, oldest first
        self._pending: tuple[str, str] | None = None  # place and content of an unanswered Add

    async def generate(self, request: Request) -> Completion:
        """A tool call by the rule, or an answer with the expert's action."""
        refuse_writing(self.info, request)
        may_call = last_of(request.messages, "user") != last_turn_message()
        if self._episode.tools and may_call:
            self._read_id(request.messages)
            call = self._hear(request)
            if call is None and not self._used_tool:
                call = self._choose(request)
                self._used_tool = call is not None
            if call is not None:
                return self._completion(request, _THINK_TOOL, call)
        action = await self._episode.env.expert_action(self._expert) or ""
        self._used_tool = self._heard = False
        self._steps += 1
        self._action = action
        return self._completion(request, f"{_THINK_ACT}<answer>{action}</answer>")

    def _completion(self, request: Request, text: str, call: ToolCall | None = None) -> Completion:
        calls = (call,) if call is not None else ()
        if calls and not self._episode.native:
            text, calls = text + render_calls(calls), ()
        usage = estimate_usage(request, text, calls)
        return Completion(text, usage, calls, finish="tool_calls" if calls else "stop")

    # --- the rule ---------------------------------------------------------------------------

    def _hear(self, request: Request) -> ToolCall | None:
        """Note a message that was told to be kept in mind, once."""
        if self._heard or self._n_told == MAX_TOLD or TOLD not in _goal_of(request.messages):
            return None
        self._heard = True
        told = _observed(request.messages)[:MAX_TOLD_LENGTH]
        call = self._call("Add_memory", content=told)
        self._n_told += call is not None
        return call

    def _choose(self, request: Request) -> ToolCall | None:
        """The tool call to make before the next action, if any."""
        seen = _observed(request.messages)
        self._follow(seen)
        phase = self._steps % HOUSEKEEPING_EVERY
        goal = _goal_of(request.messages)
        if self._steps % RETRIEVE_EVERY == 0 or goal != self._goal:
            self._goal = goal
            if call := self._call("Retrieve_memory", query=self._goal, top_k=3):
                return call
        if len(self._notes) > MAX_NOTES and find_tool(self._episode.tools, "Delete_memory"):
            place = next(iter(self._notes))
            note = self._notes.pop(place)
            return self._call("Delete_memory", memory_id=note.id, confirmation=True)
        full = prompt_tokens(request, self.count_tokens) > (
            SUMMARY_SHARE * self._episode.context_budget
        )
        if (full or phase == SUMMARY_AT) and (call := self._call("Summary_context", span="all")):
            return call
        noisy = NOISE in seen or phase == FILTER_AT
        if noisy and (call := self._call("Filter_context", criteria=NOISE)):
            return call
        return self._note()

    def _follow(self, seen: str) -> None:
        """Keep track of the place and of what was seen there."""
        moved = _GO.match(self._action)
        if NOISE in seen or not self._action:
            self._latest = ""
        elif moved:
            self._place, self._arrival, self._latest = moved["place"], seen, ""
        else:
            self._latest = seen

    def _note(self) -> ToolCall | None:
        """Add a note on a new place; update it when something was seen there again."""
        if not self._place:
            return None
        content = f"{self._place}: {self._arrival}"
        if self._latest:
            content += f" Later: {self._latest}"
        note = self._notes.get(self._place)
        if note is None:
            call = self._call("Add_memory", content=content)
            self._pending = (self._place, content) if call else None
            return call
        if note.content == content:
            return None
        note.content = content
        return self._call("Update_memory", memory_id=note.id, content=content)

    def _read_id(self, messages: Sequence[ChatMessage]) -> None:
        """Take the id of the entry just added from the tool's result."""
        if self._pending is None:
            return
        place, content = self._pending
        self._pending = None
        found = _UUID.search(last_of(messages, "tool"))
        if found:
            self._notes[place] = _Note(found.group(), content)

    def _call(self, name: str, **arguments: Any) -> ToolCall | None:
        """A call of the tool, or None where the memory does not offer it."""
        tool = find_tool(self._episode.tools, name)
        if tool is None:
            return None
        self._calls += 1
        return ToolCall(tool.name, arguments, f"call_{self._calls}")


def _observed(messages: Sequence[ChatMessage]) -> str:
    """The newest message of the user that is not what a memory shows by itself."""
    own = [m for m in messages if not m.content.startswith(MEMORY_HEADING)]
    return last_of(own, "user")


def _goal_of(messages: Sequence[ChatMessage]) -> str:
    """The message with the goal; a new one stands behind what was said before."""
    of_user = [m.content for m in messages if m.role == "user"]
    goals = (text for text in reversed(of_user) if text.startswith(goal_message("")))
    return next(goals, "")
