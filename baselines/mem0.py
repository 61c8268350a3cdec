"""Mem0: facts are extracted from each exchange and reconciled with the memories most like them.

After arXiv 2504.19413, section 2.1, in two profiles that are never mixed:

`paper` (default). Extraction: one call sees the rolling summary S, the last m = 10 messages and
the new pair, P = (S, {m_(t-m), …, m_(t-2)}, m_(t-1), m_t), and gives the facts Ω. Update: for each
fact ω the s = 10 most similar memories are fetched, and one call chooses ADD, UPDATE, DELETE or
NOOP. The paper refreshes S beside the conversation; here it is refreshed in line, every
`summary_every` exchanges, so that every token is counted. Calls of an add: 1 + one a fact, and 1
more when the summary is due; of a search: none.

`oss-1.0`, the library mem0ai 1.0.11, the last one that updates and deletes: no summary, no recent
messages; 1 extraction call; the 5 most similar memories of each fact, united; their ids replaced
by small integers; 1 decision call for all facts. Calls of an add: 2, or 1 without facts. It
differs from the library where that loses things unseen: a reply that is no JSON gets one repair,
and whatever is skipped is counted.

In both, a DELETE removes what a fact contradicts and stores nothing in its place, so the new fact
can be lost; where no memory says it (`says`) and it does more than deny what was deleted
(`denies`), it is counted as the fault `contradiction_lost`. The other faults: `extract_facts` and
`decide` (no usable reply), `fact` and `event` (a bad item of one), `fact_limit` and `event_limit`
(items over the limit), `unknown_id` (an id that was not shown), `message` (a message cut),
`summary` (the model wrote none of use; sentences of the messages stand in for it).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from ..harness.context import Message
from ..harness.errors import UsageError
from ..harness.types import Json, Scope, Services
from . import mem0_prompts as prompts
from .longterm import Exchange, LongTermMemory
from .options import choice, whole
from .quoting import cut
from .structured import ask, fault
from .summary import PROMPT_VERSION as SUMMARY_VERSION
from .summary import summarise

MAX_MESSAGE = 20_000  # characters of a message that are read; the rest is cut, and counted
MAX_RECENT = 2_000  # characters shown of a message that was read before, and summarised of it
_SUMMARY_EVERY = "5"  # exchanges, of two messages each: m messages
_SUMMARY_TOKENS = 300
_KEPT = 0.8  # share of a fact's words that a memory must have to count as saying it
_WORD = re.compile(r"\w+")
_NOT = re.compile(r"n['’]t\b")
_DENIES = {"no", "not", "never"}
_DENIAL = _DENIES | {"longer", "more", "any", "anymore", "do", "does", "did"}
I = TypeVar("I", bound=prompts.Item)  # noqa: E741


@dataclass(frozen=True, slots=True)
class Profile:
    """What tells the profiles apart."""

    recent: int  # m: messages before the pair that the extraction sees
    similar: int  # s: memories fetched for each fact
    one_by_one: bool  # a decision call for each fact, not one for all


PROFILES = {
    "paper": Profile(recent=10, similar=10, one_by_one=True),
    "oss-1.0": Profile(recent=0, similar=5, one_by_one=False),
}


class Mem0(LongTermMemory):
    """Mem0 (arXiv 2504.19413, 2.1): 1 model call an add and 1 a fact, none a search.

    Args:
        services: Metered model and embedder, and where to keep the store.
        profile: `paper`, or `oss-1.0` for what the library mem0ai 1.0.11 does.
        top_k: Memories put into the context before each step. The paper names no number; its
            published evaluation takes 30 of a whole dialogue; the default here is its s.
        summary_every: Exchanges between two refreshes of the rolling summary; 0 does without.
            By default none leaves the window of recent messages before it is in the summary.

    Raises:
        UsageError: for an unknown value, or a summary in `oss-1.0`.
    """

    name = "mem0"

    def __init__(
        self,
        services: Services,
        *,
        profile: str = "paper",
        top_k: str = "10",
        summary_every: str = _SUMMARY_EVERY,
    ) -> None:
        self._profile = PROFILES[choice("profile", profile, list(PROFILES))]
        self._summary_every = whole("summary_every", summary_every, 0, 1000)
        if not self._profile.recent:
            if summary_every != _SUMMARY_EVERY:
                raise UsageError(f"memory option summary_every: {profile} has no rolling summary")
            self._summary_every = 0
        super().__init__(
            services,
            top_k=top_k,
            profile={"name": profile, **asdict(self._profile)},
            summary_every=self._summary_every,
            prompts=[prompts.PROMPT_VERSION, SUMMARY_VERSION],
        )
        self._summary = ""  # S
        self._recent: list[Json] = []  # the last m messages
        self._since: list[Json] = []  # the messages that S does not know yet
        self._exchanges = 0

    async def begin(self, scope: Scope) -> None:
        """Open the scope's memories; the conversation, and its summary, begin anew."""
        await super().begin(scope)
        self._summary, self._recent, self._since, self._exchanges = "", [], [], 0

    async def remember(self, exchange: Exchange) -> None:
        """Learn from the new pair, if anything was said."""
        pair = self._messages(exchange)
        if pair:
            await self._learn(pair)

    async def _learn(self, pair: list[Json]) -> None:
        """Extraction, update, and the refresh of the summary when it is due."""
        facts = await self._extract(pair)
        if self._profile.one_by_one:
            for fact in facts:
                await self._decide(fact)
        elif facts:
            await self._decide_all(facts)
        await self._converse(pair)

    # --- extraction (2.1) -------------------------------------------------------------------

    def _messages(self, exchange: Exchange) -> list[Json]:
        """The new pair: what the world said, and what the agent did."""
        said = [("user", exchange.observation), ("assistant", exchange.action or "")]
        for _, text in said:
            if (excess := len(text) - MAX_MESSAGE) > 0:
                fault(self._trace, "message", f"{excess} characters were not read")
        return [
            {"role": role, "content": cut(text, MAX_MESSAGE)} for role, text in said if text.strip()
        ]

    async def _extract(self, pair: list[Json]) -> list[str]:
        """Ω = φ(P): the facts of the new pair."""
        messages, work = prompts.extract(pair, self._recent, self._summary, self._now())
        reply = await ask(
            self._writer,
            messages,
            prompts.Facts,
            work=work,
            op="extract_facts",
            trace=self._trace,
            max_tokens=prompts.MAX_LIST_TOKENS,
        )
        return [] if reply is None else self._texts(reply.facts)

    def _texts(self, items: Sequence[Any]) -> list[str]:
        """The facts as texts; mem0ai too reads an object by its `fact` or `text`."""
        facts = []
        for item in self._limited(items, "fact"):
            said = (item.get("fact") or item.get("text")) if isinstance(item, dict) else item
            if isinstance(said, str) and said.strip():
                facts.append(said.strip())
            else:
                fault(self._trace, "fact", f"no fact: {item!r:.80}")
        return facts

    def _limited(self, items: Sequence[Any], what: str) -> Sequence[Any]:
        excess = len(items) - prompts.MAX_FACTS
        if excess > 0:
            fault(self._trace, f"{what}_limit", f"{excess} of {len(items)} items are too many")
        return items[: prompts.MAX_FACTS]

    def _items(self, items: Sequence[Any], form: type[I], what: str, *, limit: bool) -> list[I]:
        """The items of that form; any other is skipped alone, and counted."""
        good = []
        for item in self._limited(items, what) if limit else items:
            try:
                good.append(form.model_validate(item))
            except ValidationError as error:
                fault(self._trace, what, f"{error.errors()[0]['msg']}: {item!r:.80}")
        return good

    # --- update, profile `paper` (2.1) ------------------------------------------------------

    async def _decide(self, fact: str) -> None:
        """Fetch the s most similar memories of a fact, and let the model choose an operation."""
        (vector,) = await self._embed([fact])
        similar = self._store.search(vector, self._profile.similar)
        ids = {str(n): entry.id for n, (entry, _) in enumerate(similar)}
        shown = [{"id": str(n), "text": entry.content} for n, (entry, _) in enumerate(similar)]
        messages, work = prompts.decide_one(fact, shown, self._now())
        decision = await ask(
            self._writer, messages, prompts.Decision, work=work, op="decide", trace=self._trace
        )
        if decision is None or decision.operation == "NOOP":
            return
        if decision.operation == "ADD":
            await self._add(fact)
        elif (id_ := ids.get(decision.id or "")) is None:
            fault(self._trace, "unknown_id", f"{decision.operation} of {decision.id!r}")
        elif decision.operation == "UPDATE":
            await self._update(id_, decision.text or fact)
        else:
            self._delete(id_)
            self._count_lost([fact], {entry.id: entry.content for entry, _ in similar})

    # --- update, profile `oss-1.0` ----------------------------------------------------------

    async def _decide_all(self, facts: list[str]) -> None:
        """Fetch the candidates of all facts, and let the model say what becomes of them."""
        candidates: dict[str, str] = {}  # content by id, in order of first appearance
        for vector in await self._embed(facts):
            for entry, _ in self._store.search(vector, self._profile.similar):
                candidates.setdefault(entry.id, entry.content)
        ids = {str(n): id_ for n, id_ in enumerate(candidates)}
        shown = [{"id": n, "text": candidates[id_]} for n, id_ in ids.items()]
        messages, work = prompts.decide_all(facts, shown, self._now())
        reply = await ask(
            self._writer,
            messages,
            prompts.Decisions,
            work=work,
            op="decide",
            trace=self._trace,
            max_tokens=prompts.MAX_LIST_TOKENS,
        )
        if reply is None:
            return
        most = max(prompts.MAX_FACTS, len(facts) + len(shown))  # one for each fact and memory
        items = reply.memory[:most]
        if len(items) < len(reply.memory):
            problem = f"{len(reply.memory)} events for {len(facts)} facts, {len(shown)} memories"
            fault(self._trace, "event_limit", problem)
        events = self._items(items, prompts.Event, "event", limit=False)
        done = [event for event in events if await self._carry_out(event, ids)]
        if any(event.event == "DELETE" for event in done):
            stored = [event.text or "" for event in done if event.event in ("ADD", "UPDATE")]
            self._count_lost(facts, candidates, stored)

    async def _carry_out(self, event: prompts.Event, ids: dict[str, str]) -> str:
        """Carry out one event as mem0ai does; gives the event's name, or nothing if skipped."""
        if not event.text:  # mem0ai passes over these, whatever the event
            fault(self._trace, "event", f"{event.event} of {event.id!r} without a text")
            return ""
        if event.event == "ADD":
            await self._add(event.text)
        elif event.event != "NONE":
            id_ = ids.get(event.id or "")
            if id_ is None or self._store.get(id_) is None:
                fault(self._trace, "unknown_id", f"{event.event} of {event.id!r}")
                return ""
            if event.event == "UPDATE":
                await self._update(id_, event.text)
            else:
                self._delete(id_)
        return event.event

    # --- both profiles ----------------------------------------------------------------------

    def _count_lost(
        self, facts: Sequence[str], shown: dict[str, str], stored: Sequence[str] = ()
    ) -> None:
        """Count the facts that a decision lost which deleted some of the memories shown."""
        left = [entry.content for id_ in shown if (entry := self._store.get(id_)) is not None]
        gone = [text for id_, text in shown.items() if self._store.get(id_) is None]
        for fact in lost(facts, held=(*stored, *left), deleted=gone):
            fault(self._trace, "contradiction_lost", fact)

    # --- the rolling summary (2.1) ----------------------------------------------------------

    async def _converse(self, pair: list[Json]) -> None:
        """Keep the pair for later extractions, and fold it into S when that is due."""
        if not self._profile.recent:
            return
        shown = [{**message, "content": cut(message["content"], MAX_RECENT)} for message in pair]
        self._recent = [*self._recent, *shown][-self._profile.recent :]
        if not self._summary_every:
            return
        self._since += shown
        self._exchanges += 1
        if self._exchanges % self._summary_every == 0:
            self._summary = await self._summarised()
            self._since = []

    async def _summarised(self) -> str:
        """S anew: from the S before and the messages since."""
        before: list[Json] = [{"role": "user", "content": self._summary}] if self._summary else []
        count = self._writer.count_tokens
        messages = [
            Message(f"s{n}", m["role"], "message", m["content"], count(m["content"]))
            for n, m in enumerate([*before, *self._since])
        ]
        text, author = await summarise(messages, self._writer, _SUMMARY_TOKENS)
        if author == "extractive" and self._writer.info.writes:
            fault(self._trace, "summary", "the model wrote none of use: sentences were taken")
        return text


def lost(facts: Iterable[str], *, held: Sequence[str], deleted: Sequence[str]) -> list[str]:
    """The facts that are nowhere after a deletion, though they say more than that it was right.

    Args:
        facts: What was new.
        held: Memories stored or left, as texts.
        deleted: What the deleted ones said.
    """
    return [
        fact
        for fact in facts
        if not any(says(text, fact) for text in held)
        and not any(denies(fact, text) for text in deleted)
    ]


def says(text: str, fact: str) -> bool:
    """Whether a memory's text says a fact: it has four fifths of its words.

    An estimate, since a model may store a fact in other words.
    """
    words = _words(fact)
    return len(words & _words(text)) >= _KEPT * len(words)


def denies(fact: str, text: str) -> bool:
    """Whether a fact only takes back what a text says: "No longer: the box is open.".

    It has a "no", "not" or "never", and apart from the words of denial none that the text has not
    (an ending -s makes no difference). Once the text is deleted, such a fact has nothing to store.
    """
    words, said = (_words(_NOT.sub(" not", t.casefold())) for t in (fact, text))
    stems = {word.removesuffix("s") for word in said}
    rest = {word.removesuffix("s") for word in words - _DENIAL}
    return bool(words & _DENIES) and bool(rest) and rest <= stems


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.casefold()))
