"""A-Mem: notes that are linked to each other and that new notes may change.

After the paper (arXiv 2502.12110, section 3). A note is m = {c, t, K, G, X, e, L} (Eq. 1): content,
time, keywords, tags, one-sentence context, embedding, links. Storing one takes two model calls:
its analysis (3.1, Eq. 2), then, with the k most similar notes (3.2, Eqs. 4 and 5), one call for
its links (Eq. 6) and for the context and tags its neighbours should have from now on (3.3, Eq. 7).
Retrieval (3.4, Eqs. 8 to 10) asks no model: the top k, and the notes each of them is linked to.

Where the paper leaves something open, or the authors' code differs from it:
- A note is embedded over content, keywords, tags and context (Eq. 3, which leaves the time out).
- Eqs. 6 and 7 are asked in one call, as in the authors' code; they need the same neighbours.
- The model sees neighbours under short ids, and an id means a note, never a rank. A changed
  neighbour is embedded again at once (in the authors' code only after 100 evolutions).
- A link points from the newer note to the older one (Eq. 6) and is followed in that direction.
- An analysis that fails leaves the note without keywords, context and tags, never unstored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, TypeVar

from ..harness.types import Json, Services
from .amem_prompts import (
    PROMPT_VERSION,
    EvolveReply,
    NoteReply,
    Update,
    evolve_messages,
    note_messages,
)
from .longterm import Exchange, Found, LongTermMemory
from .options import whole
from .quoting import cut, distinct, within
from .store import Entry, valid_unicode
from .structured import ask, fault

T = TypeVar("T")

MAX_NEIGHBOURS = 20
MAX_WORDS = 20  # keywords, and tags, that a note may have
MAX_WORD = 100  # characters of a keyword or tag
MAX_CONTEXT = 1000  # characters of a note's context
MAX_CHANGES = 2 * MAX_NEIGHBOURS  # links, and updates, that are read of one reply
MAX_SHOWN = 12_000  # characters of a new note that the model is shown; all of it is stored
MAX_NEIGHBOUR_SHOWN = 4000  # characters of a neighbour
_NOTE_TOKENS, _EVOLVE_TOKENS = 512, 1536  # that a reply may have


class AMem(LongTermMemory):
    """A-Mem (arXiv 2502.12110): 2 model calls a note (1 for the first), none a search.

    A note is an entry: `content` is what was read and done, verbatim; `metadata` has its `time`,
    `keywords`, `context`, `tags` and `links`, the ids of other notes.

    Args:
        services: Metered model and embedder, and where to keep the store.
        k: Neighbours that a new note is compared with.
        top_k: Notes found by similarity before each step; their links come on top, at most as
            many again.

    Raises:
        UsageError: for a value out of range.
    """

    name: ClassVar[str] = "amem"

    def __init__(self, services: Services, *, k: str = "5", top_k: str = "5") -> None:
        self._k = whole("k", k, 1, MAX_NEIGHBOURS)
        super().__init__(services, top_k=top_k, k=self._k, prompts=[PROMPT_VERSION])

    # --- writing ----------------------------------------------------------------------------

    async def remember(self, exchange: Exchange) -> None:
        """Store an exchange as a note, and let the notes it resembles evolve."""
        content = _content(exchange)
        if not content:
            return
        note = await self._analysed(content)
        (vector,) = await self._embed([_embedded(content, note)])
        neighbours = self._store.search(vector, self._k)
        reply = await self._evolution(content, note, [entry for entry, _ in neighbours])
        known = {str(i): entry for i, (entry, _) in enumerate(neighbours)}
        note["links"] = self._links(reply.links, known)
        note["tags"] = self._words("tags", reply.tags, "evolve") or note["tags"]
        await self._add(content, note, embed=_embedded(content, note))
        for update in self._within(MAX_CHANGES, reply.updates, "updates", "evolve"):
            await self._evolve(update, known)

    async def _analysed(self, content: str) -> Json:
        """The new note's metadata: keywords, context and tags by the model (Eq. 2)."""
        shown = cut(content, MAX_SHOWN)
        reply = await ask(
            self._writer,
            note_messages(shown, self._now()),
            NoteReply,
            work={"do": "note", "content": shown},
            op="note",
            trace=self._trace,
            max_tokens=_NOTE_TOKENS,
        )
        reply = reply or NoteReply(keywords=[], context="", tags=[])
        return {
            "time": self._now(),
            "keywords": self._words("keywords", reply.keywords, "note"),
            "context": self._sentence(reply.context, "note"),
            "tags": self._words("tags", reply.tags, "note"),
            "links": [],
        }

    async def _evolution(
        self, content: str, note: Json, neighbours: Sequence[Entry]
    ) -> EvolveReply:
        """What the model makes of the new note among its neighbours (Eqs. 6 and 7)."""
        nothing = EvolveReply(links=[])
        if not neighbours:
            return nothing
        new = _shown(content, note, MAX_SHOWN)
        shown = [
            {"id": str(i), **_shown(entry.content, _note(entry), MAX_NEIGHBOUR_SHOWN)}
            for i, entry in enumerate(neighbours)
        ]
        reply = await ask(
            self._writer,
            evolve_messages(new, shown),
            EvolveReply,
            work={
                "do": "evolve",
                "note": _timeless(new),
                "neighbours": list(map(_timeless, shown)),
            },
            op="evolve",
            trace=self._trace,
            max_tokens=_EVOLVE_TOKENS,
        )
        return reply or nothing

    def _links(self, ids: Sequence[str], known: dict[str, Entry]) -> list[str]:
        """Ids of the notes that short ids stand for; others are counted."""
        asked = self._within(MAX_CHANGES, list(dict.fromkeys(ids)), "links", "evolve")
        for id_ in asked:
            if id_ not in known:
                problem = f"a link to the note {id_[:40]!r}, which was not shown"
                fault(self._trace, "evolve", problem)
        return [known[id_].id for id_ in asked if id_ in known]

    async def _evolve(self, update: Update, known: dict[str, Entry]) -> None:
        """Give a neighbour its new context and tags, and embed it again (Eq. 7)."""
        # Read again: an earlier update of the same reply may have changed it already.
        old = self._store.get(known[update.id].id) if update.id in known else None
        if old is None:
            problem = f"an update of the note {update.id[:40]!r}, which was not shown"
            fault(self._trace, "evolve", problem)
            return
        before = _note(old)
        note = {
            **before,
            "context": self._sentence(update.context, "evolve") or before["context"],
            "tags": self._words("tags", update.tags, "evolve") or before["tags"],
        }
        if note != before:
            note["links"] = [id_ for id_ in note["links"] if self._store.get(id_) is not None]
            await self._update(old.id, old.content, note, embed=_embedded(old.content, note))

    def _words(self, what: str, words: Sequence[str], op: str) -> list[str]:
        """Keywords or tags within the limits; what is beyond them is dropped and counted."""
        given = distinct(words)
        short = [word for word in given if len(word) <= MAX_WORD]
        if len(short) < len(given):
            problem = f"{len(given) - len(short)} {what} longer than {MAX_WORD} characters"
            fault(self._trace, op, problem)
        return self._within(MAX_WORDS, short, what, op)

    def _sentence(self, text: str, op: str) -> str:
        """A context within the limit."""
        plain = " ".join(text.split())
        if len(plain) > MAX_CONTEXT:
            fault(self._trace, op, f"a context of {len(plain)} characters, cut to {MAX_CONTEXT}")
        return plain[:MAX_CONTEXT]

    def _within(self, limit: int, items: Sequence[T], what: str, op: str) -> list[T]:
        return within(limit, items, what, op=op, trace=self._trace)

    # --- reading ----------------------------------------------------------------------------

    async def retrieve(self, query: str, top_k: int) -> Found:
        """The `top_k` most similar notes, best first, then those they are linked to.

        The linked ones come in the order of their hits, each once, at most `top_k` of them, each
        with the similarity of the hit that brought it. A link to a note that is gone leads nowhere.
        """
        hits = await super().retrieve(query, top_k)
        seen = {entry.id for entry, _ in hits}
        linked: Found = []
        for hit, score in hits:
            for id_ in _note(hit)["links"]:
                other = self._store.get(id_)
                if other is not None and id_ not in seen and len(linked) < top_k:
                    seen.add(id_)
                    linked.append((other, score))
        return hits + linked

    def _line(self, found: tuple[Entry, float]) -> str:
        """A note as the agent reads it: content, and what its analysis adds."""
        entry = found[0]
        note = _note(entry)
        parts = [note["time"], note["context"]]
        parts += [f"{name}: {', '.join(note[name])}" for name in ("keywords", "tags") if note[name]]
        about = "; ".join(part for part in parts if part)
        return f"- {entry.content}\n({about})" if about else f"- {entry.content}"


def _content(exchange: Exchange) -> str:
    """What is stored of an exchange; empty if nothing was read."""
    read, did = (
        valid_unicode(text or "").strip() for text in (exchange.observation, exchange.action)
    )
    return f"{read}\nAction taken then: {did}" if read and did else read


def _note(entry: Entry) -> Json:
    """An entry's metadata, whole even where another memory made the entry."""
    empty = {"time": entry.created, "keywords": [], "context": "", "tags": [], "links": []}
    return {**empty, **entry.metadata}


def _embedded(content: str, note: Json) -> str:
    """What a note is found by: concat(c, K, G, X) of Eq. 3."""
    parts = [content, ", ".join(note["keywords"]), ", ".join(note["tags"]), note["context"]]
    return "\n".join(part for part in parts if part)


def _shown(content: str, note: Json, limit: int) -> Json:
    """A note as the model reads it."""
    fields = {key: note[key] for key in ("time", "context", "keywords", "tags")}
    return {"content": cut(content, limit), **fields}


def _timeless(note: Json) -> Json:
    return {key: value for key, value in note.items() if key != "time"}
