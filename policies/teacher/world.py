"""Acting in a world: what was noticed is said before each act, and written down where it matters.

All that is said and done is a function of the prompt, and so can be learned from it: at each turn
what is known is read anew from the messages and notes that stand there. Where the context was cut,
the notes have to hold what matters; they are brought up to date before it is.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Protocol

from ...harness.context import MESSAGE_OVERHEAD
from ...harness.models import prompt_tokens, refuse_writing
from ...harness.tools import ToolCall
from ...harness.types import Completion, EpisodeView, ModelInfo, Request
from .lesson import END, MAX_CALLS, OK, SUMMARY_SHARE, Act, Lesson
from .prompt import Event, View, view

FEW = 3  # observations since a summary that are not worth another one


class Mind(Protocol):
    """What is known of a world by what was read of it, and what to do next."""

    def read(self, action: str, observation: str) -> None:
        """Take in an observation, and the action before it where it is known."""

    def recall(self, name: str, fact: str) -> None:
        """Take in a note."""

    @property
    def whole(self) -> bool:
        """Whether the start of the task was read, or a note of it."""

    def act(self) -> str:
        """The next action."""

    def remark(self, action: str = "") -> str:
        """What matters for the goal in the newest observation, and what comes next.

        Args:
            action: What comes next; empty: what `act` says.
        """

    def found(self) -> dict[str, str]:
        """What was seen and will matter later: facts by name."""

    def state(self) -> dict[str, str]:
        """All that must not be forgotten, beside what was found: facts by name."""

    def mended(self, name: str, fact: str) -> str | None:
        """What a note should say; None where it holds no longer."""

    def queries(self, *, cut: bool) -> list[tuple[str, int]]:
        """What to look for in the notes, and how many, at the start or where the context is cut."""

    def over(self) -> str:
        """What messages are about that are of no more use; empty if there are none."""


Told = Callable[[Sequence[str]], dict[str, str]]  # facts, by name, of what was told in stage 1


class World(Lesson):
    """An episode in an embodied environment.

    Args:
        info: Of the teacher.
        make_mind: What knows nothing yet, by the goal.
        told: Reads what is told before the goal is known.
        noise: How often a sensible tool call is left out.
        draws: Say which.
        episode: What is played.
    """

    def __init__(
        self, info: ModelInfo, make_mind: Callable[[str], Mind], told: Told, noise: float,
        draws: random.Random, episode: EpisodeView,
    ) -> None:  # fmt: skip
        super().__init__(info, noise, draws, episode)
        self._make_mind, self._told = make_mind, told
        self._read: tuple[str, list[Event]] = "", []  # goal and events that the mind has taken in
        self._mind: Mind | None = None
        self._action = ""

    async def generate(self, request: Request) -> Completion:
        """Calls of tools, or an action."""
        refuse_writing(self.info, request)
        shown = view(request.messages)
        if shown.told:
            act = None if shown.last else self._hear(shown)
            if act is not None:
                return self._reply(request, *act)
            facts = self._told([shown.seen[-1].text]) if shown.seen else {}
            thought = f"Noted: {', '.join(facts)}." if facts else "Nothing to note."
            return self._reply(request, thought, (), OK)
        mind, action = self._think(shown)
        if self._episode.tools and not shown.last:
            act = (
                self._recall(shown, mind)
                or self._mend(shown, mind)
                or self._shorten(request, shown, mind)
                or self._filter(shown, mind)
            )
            if act is not None:
                return self._reply(request, *act)
        return self._reply(request, mind.remark(), (), action)

    def thought(self, action: str) -> str:
        """What would be said before another action than the last reply's."""
        return self._mind.remark(action) if self._mind is not None else ""

    # --- what is told -----------------------------------------------------------------------

    def _hear(self, shown: View) -> Act | None:
        """Note what is told; drop small talk that is over."""
        texts = [event.text for event in shown.seen]
        facts = self._told(texts)
        calls = self._write(shown, facts, facts)
        if calls:
            names = ", ".join(c.arguments["content"].partition(": ")[0] for c in calls)
            return f"This may matter: {names}.", tuple(calls)
        talk = [text for text in texts[:-1] if not self._told([text])]
        if talk and self._told(texts[-1:]) == {} and "Filter_context" not in shown.since:
            return self._drop(END.split(talk[-1])[0], "The small talk is over.")
        return None

    # --- what is known ----------------------------------------------------------------------

    def _think(self, shown: View) -> tuple[Mind, str]:
        """What the prompt tells, and the action by it.

        An observation is read after the action that the mind would have chosen before it, as it
        was when it was played. What a prompt has in common with the one before is not read again.
        """
        goal, done = self._read
        mind = self._mind
        if mind is None or goal != shown.goal or shown.events[: len(done)] != done:
            mind, done = self._make_mind(shown.goal), []
            self._mind = mind
        fresh = shown.events[len(done) :]
        for event in fresh:
            if event.kind == "noted":
                mind.recall(event.head, event.text)
                continue
            if done:
                mind.act()
            mind.read(event.head, event.text)
            done = [*done, event]
        self._read = shown.goal, list(shown.events)
        if shown.recalled and len(shown.seen) == 1:  # later it shows what was seen since
            for name, fact in self._told([shown.recalled]).items():
                mind.recall(name, fact)
            self._read = "", []  # it stands in no later prompt
        if fresh or not self._action:
            self._action = mind.act()
        return mind, self._action

    def _recall(self, shown: View, mind: Mind) -> Act | None:
        """Look for what was noted before the task began, or before the context was cut."""
        begins = bool(shown.before) and len(shown.seen) == 1
        if shown.looked or not (begins or not mind.whole):
            return None
        calls = [
            self._call("Retrieve_memory", query=query, top_k=top_k)
            for query, top_k in mind.queries(cut=not mind.whole)
            if self._wants(f"retrieve {query}")
        ]
        made = tuple(call for call in calls if call is not None)
        names = " and ".join(call.arguments["query"] for call in made)
        return (f"What is noted of {names}?", made) if made else None

    # --- notes ------------------------------------------------------------------------------

    def _mend(self, shown: View, mind: Mind) -> Act | None:
        """Write down what was found; mend notes that hold no longer."""
        calls = self._write(shown, mind.found(), self._due(shown, mind))
        return (mind.remark(), tuple(calls)) if calls else None

    @staticmethod
    def _due(shown: View, mind: Mind) -> dict[str, str | None]:
        """What the notes in the context should say; None of one that holds no longer."""
        return {
            name: mind.mended(name, content.partition(": ")[2])
            for name, (_, content) in shown.held.items()
        }

    def _write(
        self, shown: View, wanted: dict[str, str], due: dict[str, str] | dict[str, str | None]
    ) -> list[ToolCall]:
        """The calls that bring the notes up to date: what is held is mended, what is not, added."""
        calls: list[ToolCall | None] = []
        for name, (id_, content) in shown.held.items():
            fact = due.get(name, content.partition(": ")[2])
            if fact is None and self._wants(f"delete {name}"):
                calls.append(self._call("Delete_memory", memory_id=id_, confirmation=True))
            elif fact is not None and f"{name}: {fact}" != content and self._wants(f"mend {name}"):
                said = f"{name}: {fact}"
                calls.append(self._call("Update_memory", memory_id=id_, content=said))
        for name, fact in wanted.items():
            if name not in shown.held and self._wants(f"add {name}"):
                calls.append(self._call("Add_memory", content=f"{name}: {fact}"))
        return [call for call in calls if call is not None][:MAX_CALLS]

    # --- the context ------------------------------------------------------------------------

    def _shorten(self, request: Request, shown: View, mind: Mind) -> Act | None:
        """Before the context is full: write down what must not be forgotten, then summarise."""
        if "Summary_context" in shown.since or len(shown.seen) <= (FEW if shown.cut else 1):
            return None
        fixed = self.count_tokens(request.messages[0].content) + MESSAGE_OVERHEAD
        room = self._episode.context_budget - fixed
        if prompt_tokens(request, self.count_tokens) - fixed <= SUMMARY_SHARE * room:
            return None
        state = mind.state()
        if calls := self._write(shown, state, self._due(shown, mind) | state):
            return "The context is long. What matters is noted first.", tuple(calls)
        call = self._call("Summary_context", span="all") if self._wants("summary") else None
        return ("The context is long.", (call,)) if call is not None else None

    def _filter(self, shown: View, mind: Mind) -> Act | None:
        """Drop what is over and done."""
        if "Filter_context" in shown.since:
            return None
        if shown.before and len(shown.seen) == 1:
            return self._drop(END.split(shown.before[-1])[0], "The small talk is over.")
        criteria = mind.over()
        return self._drop(criteria, f"{mind.remark()} The search is over.") if criteria else None

    def _drop(self, criteria: str, thought: str) -> Act | None:
        call = self._call("Filter_context", criteria=criteria) if self._wants("filter") else None
        return (thought, (call,)) if call is not None else None
