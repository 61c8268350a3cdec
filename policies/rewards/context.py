"""R_context: how the context was kept small without losing what matters.

Equations are those of arXiv 2601.01885, appendix A.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ...harness.context import MESSAGE_OVERHEAD
from ...harness.quality import texts
from ...harness.trace import Event
from .story import Story, is_message

_TOOLS = ("filter", "summary")  # reasons of a removal that the agent asked for
_ACTS = (
    "put place go open close pick take drop look examine find heat cool clean wash use move make "
    "turn focus bring get grow boil melt freeze measure determine create next"
)
_OWN = ("system", "goal", "assistant", "error")  # kinds of messages that tell nothing of the task


def scores(story: Story) -> dict[str, float | None]:
    """The three components, each defined by its function."""
    return {
        "compression": compression(story),
        "preventive": preventive(story),
        "preservation": preservation(story),
    }


def compression(story: Story) -> float:
    """Equation 19: max(0, 1 - T_used / T_max).

    T_used are the tokens of the context, tool schemas included, at the model call that gave the
    answer, or at the last one where none did: `context_tokens`, or the endpoint's own
    `prompt_tokens` where a trace has none. T_max is the budget. 0 without any model call.
    """
    if story.answering is None:
        return 0.0
    return max(0.0, 1 - used(story.events[story.answering]) / story.evidence.budget)


def used(completion: Event) -> int:
    """Tokens of the context at a model call."""
    tokens: int | None = completion.get("context_tokens", completion.get("prompt_tokens"))
    return tokens or 0


def preventive(story: Story) -> float:
    """Equation 20: 1 if a context tool made the context smaller before it overflowed.

    In any stage a Summary or Filter of the agent took messages out whose tokens outnumber those it
    put in, and by then the harness had not dropped any message for want of room. 0 otherwise, so
    that a call that removes nothing, a summary longer than what it replaces, and the mention of a
    tool earn nothing.
    """
    for removal in replay(story).removals:
        if removal.reason == "overflow":
            return 0.0
        if removal.reason in _TOOLS and removal.freed > 0:
            return 1.0
    return 0.0


def overflowed(story: Story) -> bool:
    """Equation 26, T_used > T_max: the context needed more room than it may have, in any stage.

    The harness then dropped messages to make room, or ended the episode since the pinned ones
    alone were too large, or a model call was made beyond the budget.
    """
    return (
        story.evidence.episode.reason == "context_overflow"
        or any(e["type"] == "remove" and e["reason"] == "overflow" for e in story.events)
        or any(e["type"] == "completion" and used(e) > story.evidence.budget for e in story.events)
    )


def preservation(story: Story) -> float | None:
    """Equation 21: 1 if no key phrase of the question was lost from the context, else 0.

    The harness pins the question, which therefore always holds its own phrases. What can be lost
    is what the context said of them beside it. So a phrase is lost if a message that has it left
    the context by Summary, Filter or overflow, after the context's last new beginning, and no
    message has it at the model call of the answer: neither one that stayed or came later, as a
    retrieval does, nor a summary. The goal, the message that puts the question, the system prompt
    and the agent's own outputs count neither as having nor as keeping a phrase: an echo in a
    thought preserves nothing. Where nothing was removed, nothing is lost: 1.

    Returns:
        None where the question has no key phrase.
    """
    phrases = key_phrases(story.question)
    if not phrases:
        return None
    found = replay(story)
    lost = {
        phrase
        for removal in found.removals[found.since :]
        if removal.reason in (*_TOOLS, "overflow")
        for text in _telling(removal.messages, story.question)
        for phrase in phrases
        if says(text, phrase)
    }
    kept = _telling(found.shown, story.question)
    return float(all(any(says(text, phrase) for text in kept) for phrase in lost))


def key_phrases(question: str) -> tuple[frozenset[str], ...]:
    """K_q of equation 21: names (of people, places, works, months) and numbers (years, counts).

    Each as the stems of its words: a name is a run of capitalised words without stop words. A goal
    of a game has no names. There a numbered thing is one (`ball1`, `mug 2`: the noun with its
    number, not the number alone, which everything has); and where nothing is numbered, each word
    that carries meaning but those that say what to do (`put`, `open`), which no context loses.
    """
    said = texts.statement(question)
    if said.names:
        found = (*said.names, *(frozenset({number}) for number in sorted(said.numbers)))
    elif said.numbered:
        things = ((noun, n) for noun in sorted(said.numbered) for n in sorted(said.numbered[noun]))
        found = tuple(frozenset(thing) for thing in things)
    else:
        stems = said.numbers or said.content - _acts() or said.content
        found = tuple(frozenset({stem}) for stem in sorted(stems))
    return tuple(dict.fromkeys(found))


@lru_cache(maxsize=1)
def _acts() -> frozenset[str]:
    """Stems of what a goal tells to do."""
    return texts.statement(_ACTS).content


def says(text: str, phrase: frozenset[str]) -> bool:
    """Whether a sentence of a text has all words of a phrase, but for inflection."""
    if not phrase <= words(text):  # so that few texts are read sentence by sentence
        return False
    return any(phrase <= unit.said.words for unit in texts.units(text))


@lru_cache(maxsize=4096)
def words(text: str) -> frozenset[str]:
    """Stems of all words of a text, numbers among them."""
    return frozenset(stem for _, stem, _ in texts.sequence(text))


# --- the context, replayed --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Removal:
    """Messages that left the context together.

    Attributes:
        at: Place of the event.
        reason: See `harness.trace`.
        messages: Their events as they last stood.
        freed: Tokens that this made room for; a summary in their place is deducted.
    """

    at: int
    reason: str
    messages: tuple[Event, ...]
    freed: int


@dataclass(frozen=True, slots=True)
class Replay:
    """The context up to the model call of the answer.

    Attributes:
        shown: Messages it had then, in the order in which they came.
        removals: All that ever left it, in order.
        since: Number of the first removal after the context's last new beginning.
    """

    shown: tuple[Event, ...]
    removals: tuple[Removal, ...]
    since: int


def replay(story: Story) -> Replay:
    """The context's changes up to the model call of the answer."""
    shown: dict[str, Event] = {}
    removals: list[Removal] = []
    since = 0
    events = story.events if story.answering is None else story.events[: story.answering]
    for at, event in enumerate(events):
        if event["type"] == "message":
            shown[event["id"]] = event
        elif event["type"] == "rewrite" and event["id"] in shown:
            changed = {"text": event["text"], "tokens": event["tokens"]}
            shown[event["id"]] = {**shown[event["id"]], **changed}
        elif event["type"] == "remove":
            gone = tuple(shown.pop(id_) for id_ in event["ids"] if id_ in shown)
            put = _put_in_place(events[at + 1]) if at + 1 < len(events) else 0
            freed = sum(map(_cost, gone)) - (put if event["reason"] == "summary" else 0)
            removals.append(Removal(at, event["reason"], gone, freed))
            if event["reason"] == "new_context":
                since = len(removals)
    return Replay(tuple(shown.values()), tuple(removals), since)


def _put_in_place(event: Event) -> int:
    """Tokens of the summary that takes the place of what was just removed."""
    return _cost(event) if is_message(event, "summary") else 0


def _cost(message: Event) -> int:
    return int(message["tokens"]) + MESSAGE_OVERHEAD


def _telling(messages: tuple[Event, ...], question: str) -> list[str]:
    """Texts of messages that may tell something of the task beside its question."""
    return [m["text"] for m in messages if m["kind"] not in _OWN and not _puts(m, question)]


def _puts(message: dict[str, Any], question: str) -> bool:
    """Whether a message is the one that puts the question."""
    asked = " ".join(question.split())
    return message["kind"] == "observation" and asked in " ".join(message["text"].split())
