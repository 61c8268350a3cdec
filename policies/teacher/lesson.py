"""What every lesson shares: how it answers, which calls it leaves out, and what a prompt shows."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field

from ...harness.models import ModelBase, estimate_usage
from ...harness.protocol import render_calls
from ...harness.tools import ToolCall, find_tool
from ...harness.types import Completion, EpisodeView, ModelInfo, Request

TOLD = "keep in mind"  # in the goal of an episode that tells things before it asks
SUMMARY_SHARE = 0.7  # of the context budget: summarise from here on
MAX_CALLS = 8  # in one turn
OK = "ok"

ENTRY = re.compile(r"^\[([^\]\s]{4,64})\] (.*)$", re.M)  # of a retrieval: id and content
RESULT = re.compile(r"\[(\w+): (\w+)\] (.*)", re.S)
END = re.compile(r"(?<=[.?!])\s+")  # of a sentence

Act = tuple[str, tuple[ToolCall, ...]]  # thought and calls


@dataclass(slots=True)
class Step:
    """What was done about one observation."""

    skipped: set[str] = field(default_factory=set)  # calls that were left out
    kept: set[str] = field(default_factory=set)  # calls that were drawn to be made
    done: set[str] = field(default_factory=set)
    queries: list[str] = field(default_factory=list)


class Lesson(ModelBase):
    """One episode.

    Args:
        info: Of the teacher.
        noise: How often a sensible tool call is left out.
        draws: Say which.
        episode: What is played.
    """

    def __init__(
        self, info: ModelInfo, noise: float, draws: random.Random, episode: EpisodeView
    ) -> None:
        self.info = info
        self._noise, self._draws, self._episode = noise, draws, episode
        self._step = Step()
        self._n_calls = 0

    def _reply(
        self, request: Request, thought: str, calls: tuple[ToolCall, ...], answer: str = ""
    ) -> Completion:
        text = f"<think>{thought}</think>"
        if not calls:
            self._step = Step()
            text += f"<answer>{answer}</answer>"
        elif not self._episode.native:
            text, calls = text + render_calls(calls), ()
        usage = estimate_usage(request, text, calls)
        return Completion(text, usage, calls, finish="tool_calls" if calls else "stop")

    def _wants(self, what: str) -> bool:
        """Whether a call is made, or left out for this step; it is drawn once."""
        if what in self._step.kept or what in self._step.skipped:
            return what in self._step.kept
        made = self._draws.random() >= self._noise
        (self._step.kept if made else self._step.skipped).add(what)
        return made

    def _call(self, name: str, **arguments: object) -> ToolCall | None:
        """A call of the tool, or None where the memory does not offer it."""
        tool = find_tool(self._episode.tools, name)
        if tool is None:
            return None
        self._n_calls += 1
        return ToolCall(tool.name, arguments, f"call_{self._n_calls}")
