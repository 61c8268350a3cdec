"""What happened in a rollout, read once off its event trace for everything that is rewarded.

Nothing here looks for the name of a tool in a text: a call is what the harness carried out and
wrote into the trace.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ...harness.records import Episode
from ...harness.trace import Event
from ...harness.types import Gold, Json
from ..trajectory import Stage

GOAL = "Your goal: "  # how the harness begins the message that holds it


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known of one finished rollout.

    Attributes:
        episode: Its record.
        events: Its trace.
        gold: What a perfect memory of its task would hold; None where none is defined.
        stages: The stage of each model call, in order.
        budget: Tokens the context may have: T_max.
        step_limit: Steps after which the environment is not asked any more.
    """

    episode: Episode
    events: Sequence[Event]
    gold: Gold | None
    stages: Sequence[Stage]
    budget: int
    step_limit: int


@dataclass(frozen=True, slots=True)
class Write:
    """An addition, update or deletion of a memory entry that was carried out.

    Attributes:
        at: Its place among the events.
        op: `add`, `update` or `delete`.
        id: Of the entry.
        before: What the entry said; None where it was not written in this episode.
        after: What it says now; None once it is deleted.
        rest: What all other entries written in this episode say at that time.
        changed: Whether the memory says that anything changed.
        stage: 1, 2 or 3.
        step: Environment steps taken before it.
        written: The same of the entry's last write before this one; None: before this episode.
    """

    at: int
    op: str
    id: str
    before: str | None
    after: str | None
    rest: tuple[str, ...]
    changed: bool
    stage: Stage
    step: int
    written: int | None


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call of the agent that was answered.

    Attributes:
        at: Its place among the events.
        name: Of the tool, as it is declared, whatever alias was used.
        arguments: As the agent gave them.
        succeeded: Whether it was carried out, and changed something where it is there to change
            something: an Update to what the entry already says has not.
        stage: 1, 2 or 3.
        turn: The model call that made it, from 1.
        effects: Places of the memory and context events that it brought about.
    """

    at: int
    name: str
    arguments: Json
    succeeded: bool
    stage: Stage
    turn: int
    effects: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Story:
    """A rollout as its reward sees it.

    Attributes:
        evidence: What it was read from.
        stage_at: The stage at each event: that of the model call before it.
        writes: What was done to the long-term memory, in order.
        calls: The agent's tool calls, in order.
        question: What was asked: the gold's question, or else the last goal; may be empty.
        answer: The answer that was given; None without one, or where the task is no question.
        answering: Place of the model call that gave the answer, or else of the last one; None
            without any.
    """

    evidence: Evidence
    stage_at: tuple[Stage, ...]
    writes: tuple[Write, ...]
    calls: tuple[Call, ...]
    question: str
    answer: str | None
    answering: int | None

    @property
    def events(self) -> Sequence[Event]:
        """The trace."""
        return self.evidence.events

    @property
    def staged(self) -> bool:
        """Whether some of it was played before the third stage."""
        return any(stage != 3 for stage in self.evidence.stages)

    @property
    def building(self) -> tuple[Write, ...]:
        """Additions while the memory is built: of stage 1, or of all where there are no stages."""
        added = (write for write in self.writes if write.op == "add" and write.changed)
        return tuple(write for write in added if write.stage == 1 or not self.staged)

    @property
    def asked_at(self) -> int | None:
        """Place of the message that put the goal of stage 3; None if it was never put."""
        if 3 not in self.evidence.stages:
            return None
        goals = [at for at, e in enumerate(self.events) if is_message(e, "goal")]
        return goals[-1] if goals else None

    def retrieved(self) -> list[str]:
        """What was retrieved once the goal of stage 3 had been put, each content once.

        What was looked up before cannot have been looked up for the question; stage 1 asks for a
        look at what is already held (arXiv 2601.01885, algorithm 3).
        """
        since = self.asked_at
        if since is None:
            return []
        found = (e for e in self.events[since:] if e["type"] == "memory" and "contents" in e)
        return list(dict.fromkeys(text for event in found for text in event["contents"]))


def read(evidence: Evidence) -> Story:
    """Read a rollout's trace."""
    reader = _Reader(evidence)
    for at, event in enumerate(evidence.events):
        reader.take(at, event)
    asked = evidence.gold.question if evidence.gold is not None else reader.goal
    answering = reader.answering if reader.answer is not None else reader.last
    return Story(
        evidence, tuple(reader.stage_at), tuple(reader.writes), tuple(reader.calls),
        asked.strip(), reader.answer, answering,
    )  # fmt: skip


def is_message(event: Event, *kinds: str) -> bool:
    """Whether a message of one of these kinds entered the context."""
    return event["type"] == "message" and event["kind"] in kinds


@dataclass(slots=True)
class _Reader:
    """What is known after some of the events."""

    evidence: Evidence
    stage_at: list[Stage] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    entries: dict[str, tuple[str, int]] = field(default_factory=dict)  # content, step it is of
    effects: list[int] = field(default_factory=list)  # since the last model or tool call
    goal: str = ""
    answer: str | None = None
    answering: int | None = None
    last: int | None = None  # place of the last model call
    n_calls: int = 0  # of the model

    @property
    def stage(self) -> Stage:
        stages = self.evidence.stages
        return stages[max(0, min(self.n_calls, len(stages)) - 1)] if stages else 3

    def take(self, at: int, event: Event) -> None:
        kind = event["type"]
        if kind == "completion":
            self.n_calls, self.last, self.effects = self.n_calls + 1, at, []
        self.stage_at.append(self.stage)
        if is_message(event, "goal"):
            self.goal = event["text"].removeprefix(GOAL)
        elif kind == "action" and event.get("answer") is not None:
            self.answer, self.answering = event["answer"], self.last
        elif kind == "tool":
            self._call(at, event)
        elif kind in ("memory", "remove", "message"):
            self.effects.append(at)
            if kind == "memory" and event["op"] in ("add", "update", "delete"):
                self._write(at, event)

    def _call(self, at: int, event: Event) -> None:
        idle = (event.get("data") or {}).get("changed") is False
        self.calls.append(
            Call(
                at, event["name"], event["arguments"], event["status"] == "success" and not idle,
                self.stage, event["turn"], tuple(self.effects),
            )
        )  # fmt: skip
        self.effects = []

    def _write(self, at: int, event: Event) -> None:
        for id_ in map(str, event["ids"]):
            before, written = self.entries.get(id_, (None, None))
            after = None if event["op"] == "delete" else event["content"]
            if before is None and event["op"] == "delete":
                before = event.get("content")  # an entry of before this episode
            rest = tuple(text for other, (text, _) in self.entries.items() if other != id_)
            self.writes.append(
                Write(
                    at, event["op"], id_, before, after, rest, bool(event["changed"]),
                    self.stage, event["step"], written,
                )
            )  # fmt: skip
            if after is None:
                self.entries.pop(id_, None)
            else:
                self.entries[id_] = after, event["step"]
