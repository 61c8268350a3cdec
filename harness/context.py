"""Short-term memory: the messages the model sees, under a token budget.

Pinned messages (system prompt, goal, current observation or question) are removed by nothing:
no tool, no summary, no overflow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal

from .errors import AgememError
from .tools import ToolCall
from .trace import Trace
from .types import ChatMessage

ChatRole = Literal["system", "user", "assistant", "tool"]
Kind = Literal[
    "system", "goal", "example", "observation", "assistant", "tool_result", "error",
    "summary", "memory", "message",
]  # fmt: skip
MESSAGE_OVERHEAD = 4  # tokens a chat template spends on a message's role and separators


class ContextOverflow(AgememError):
    """The pinned messages alone are larger than the budget."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the context."""

    id: str  # stable within the episode: "m7"
    role: ChatRole
    kind: Kind
    content: str
    tokens: int
    pinned: bool = False
    tool_calls: tuple[ToolCall, ...] = ()  # native transport: calls the assistant made
    tool_call_id: str = ""  # native transport: the call this result answers


class Context:
    """The ordered messages of one episode, with their operations.

    Args:
        budget: Tokens the prompt may have; the completion's tokens are not part of it.
        count: Counts the tokens of a text with the model's own tokenizer, or an estimate of it.
        trace: Receives a `message` or `remove` event for every change.
        kept: Share of the budget that is left of a context that exceeds it. With 1 each turn after
            that drops a little, and no prompt begins as the one before it does, so that nothing
            can be reused of what a model computed; with 0.75 that holds of one turn in several.
    """

    def __init__(
        self, budget: int, count: Callable[[str], int], trace: Trace, kept: float = 1.0
    ) -> None:
        self.budget = budget
        self._kept = kept
        self._count = count
        self._trace = trace
        self._messages: list[Message] = []
        self._next_id = 0
        self._tokens = 0
        self.reserved = 0  # tokens of the tool schemas, which the endpoint adds to the prompt

    @property
    def messages(self) -> tuple[Message, ...]:
        """The messages, oldest first."""
        return tuple(self._messages)

    @property
    def tokens(self) -> int:
        """Tokens of the prompt as it stands, tool schemas included."""
        return self._tokens + self.reserved

    def prompt(self) -> list[ChatMessage]:
        """The messages as a model is sent them."""
        return [
            ChatMessage(m.role, m.content, m.tool_calls, m.tool_call_id) for m in self._messages
        ]

    def find(self, kind: Kind) -> Message | None:
        """The newest message of that kind."""
        return next((m for m in reversed(self._messages) if m.kind == kind), None)

    def add(
        self,
        role: ChatRole,
        kind: Kind,
        content: str,
        *,
        pinned: bool = False,
        tool_calls: tuple[ToolCall, ...] = (),
        tool_call_id: str = "",
    ) -> Message:
        """Append a message."""
        message = self._make(role, kind, content, pinned, tool_calls, tool_call_id)
        self._insert(len(self._messages), message)
        return message

    def count(self, text: str) -> int:
        """Tokens of a text, by the model's tokenizer or an estimate of it."""
        return self._count(text)

    def clip(self, text: str, max_tokens: int) -> str:
        """The text, cut with a visible mark if it has more tokens than that.

        One oversized message must not push the whole history out of the context.
        """
        tokens = self._count(text)
        if tokens <= max_tokens:
            return text
        kept = text[: max(1, len(text) * max_tokens // tokens)]
        return f"{kept} [… cut: {len(text) - len(kept)} of {len(text)} characters]"

    def unpin(self, message_id: str, content: str | None = None) -> None:
        """Let a message go the way of all others (an observation that is no longer current).

        Args:
            message_id: Which.
            content: What is left of it where a part held only while it was current; None: all.
        """
        for index, message in enumerate(self._messages):
            if message.id == message_id:
                kept = message.content if content is None else content
                tokens = message.tokens if kept == message.content else self._count(kept)
                self._messages[index] = replace(message, pinned=False, content=kept, tokens=tokens)
                if kept != message.content:
                    self._tokens += tokens - message.tokens
                    self._trace.emit("rewrite", id=message_id, text=kept, tokens=tokens)

    def remove(self, ids: Iterable[str], reason: str) -> list[Message]:
        """Remove messages; pinned ones stay, and a call leaves together with its results."""
        doomed = self._with_call_partners(set(ids))
        removed = [m for m in self._messages if m.id in doomed and not m.pinned]
        if removed:
            gone = {m.id for m in removed}
            self._messages = [m for m in self._messages if m.id not in gone]
            self._tokens -= sum(m.tokens + MESSAGE_OVERHEAD for m in removed)
            self._trace.emit("remove", ids=[m.id for m in removed], reason=reason)
        return removed

    def restart(self) -> None:
        """Begin anew: only the system prompt and the goal stay, pinned or not."""
        for message in self._messages:
            if message.kind not in ("system", "goal"):
                self.unpin(message.id)
        self.remove([m.id for m in self._messages if not m.pinned], "new_context")

    def summarise(self, ids: Iterable[str], text: str) -> Message | None:
        """Replace messages by one summary at the place of the earliest; None if none may go."""
        wanted = self._with_call_partners(set(ids))
        index = next(
            (i for i, m in enumerate(self._messages) if m.id in wanted and not m.pinned), None
        )
        if index is None:
            return None
        self.remove(wanted, "summary")
        summary = self._make("user", "summary", text, False, (), "")
        self._insert(index, summary)
        return summary

    def fit(self) -> list[Message]:
        """Drop the oldest unpinned messages of a prompt over the budget; see `kept`.

        Raises:
            ContextOverflow: if the pinned messages alone are too large.
        """
        dropped: list[Message] = []
        wanted = self.budget if self.tokens <= self.budget else int(self.budget * self._kept)
        while self.tokens > wanted:
            oldest = next((m for m in self._messages if not m.pinned), None)
            if oldest is None and self.tokens <= self.budget:
                break
            if oldest is None:
                raise ContextOverflow(
                    f"the pinned messages need {self.tokens} tokens, the context budget is "
                    f"{self.budget}: raise --context-tokens, or --history-tokens if it is given"
                )
            dropped += self.remove([oldest.id], "overflow")
        return dropped

    def _with_call_partners(self, ids: set[str]) -> set[str]:
        """Native transport: endpoints refuse a call without its results and the reverse.

        So a call and its results go together, and stay together if one of them is pinned.
        """
        caller = {call.id: m.id for m in self._messages for call in m.tool_calls if call.id}
        groups: dict[str, set[str]] = {}
        for m in self._messages:
            owner = m.id if m.tool_calls else caller.get(m.tool_call_id)
            if owner is not None:
                groups.setdefault(owner, set()).add(m.id)
        pinned = {m.id for m in self._messages if m.pinned}
        for group in groups.values():
            if group & ids:
                ids = ids - group if group & pinned else ids | group
        return ids

    def _make(
        self,
        role: ChatRole,
        kind: Kind,
        content: str,
        pinned: bool,
        tool_calls: tuple[ToolCall, ...],
        tool_call_id: str,
    ) -> Message:
        self._next_id += 1
        tokens = self._count(content) + sum(
            self._count(call.name) + self._count(str(call.arguments)) for call in tool_calls
        )
        name = f"m{self._next_id}"
        return Message(name, role, kind, content, tokens, pinned, tool_calls, tool_call_id)

    def _insert(self, index: int, message: Message) -> None:
        self._messages.insert(index, message)
        self._tokens += message.tokens + MESSAGE_OVERHEAD
        self._trace.emit(
            "message",
            id=message.id,
            role=message.role,
            kind=message.kind,
            text=message.content,
            tokens=message.tokens,
            pinned=message.pinned,
        )
