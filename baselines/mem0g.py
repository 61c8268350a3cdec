"""Mem0g: Mem0, and beside it a graph of what is related to what.

After arXiv 2504.19413, section 2.2, on top of either profile of `mem0`. Each add, after Mem0's own
calls: (1) the entities of the exchange and their types; (2) the triples among them; (3) if edges
are already known around these entities, which of those the new triples contradict: they are
marked as invalid and kept; then each triple is merged onto nodes at least 0.7 similar. Calls of an
add: 3 more than Mem0's, 2 while nothing is known around the entities, 1 where fewer than two are
named, and 2 where no triple holds between them. So `oss-1.0` has 4 to 5 for an exchange with
facts, and `paper` with one fact as many.

A search: the entities of the query (1 call, of the role `memory_read`; none while the graph is
empty), the valid edges around the nodes at least 0.7 similar to them, of these the 5 best by BM25,
behind the memories that the vector search finds. This is the paper's entity-centric retrieval as
mem0ai ranks it; the paper's second one, by the similarity of whole triples, is left out.

A known weakness that is the method's own: where names differ by a number alone ("cabinet 1",
"cabinet 2"), their vectors are often more than 0.7 similar, and different things become one node.
Each such merge is written to the trace, as the operation `merge`.

Faults beside those of `mem0`: `entities`, `relations` and `conflicts` (no usable reply), `entity`
and `relation` (a bad item of one), `entity_limit` and `relation_limit` (items over the limit).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any, ClassVar

import zstandard

from ..harness.errors import DataError
from ..harness.metering import MeteredModel
from ..harness.types import Json, Scope, Services
from . import mem0_prompts as prompts
from .entries import as_json
from .graph import THRESHOLD, Entity, Graph, bm25
from .longterm import Found
from .mem0 import MAX_MESSAGE, Mem0
from .options import number
from .quoting import cut
from .store import MAX_SNAPSHOT_BYTES, Entry
from .structured import ask, fault

SNAPSHOT_FORMAT = "agemem-mem0g/1"
TRIPLES = 5  # edges a search gives
_PARTS = ("memories", "nodes", "edges")


class Mem0g(Mem0):
    """Mem0 and a graph (arXiv 2504.19413, 2.2): up to 3 model calls more an add, 1 a search.

    Args:
        services: Metered model and embedder, and where to keep the store.
        profile: Of Mem0, for the memories beside the graph.
        top_k: Memories put into the context before each step, beside up to 5 triples.
        summary_every: See `Mem0`.
        threshold: Similarity from which a name stands for a node; the paper's t has no number,
            mem0ai's is 0.7.

    Raises:
        UsageError: for an unknown value.
    """

    name: ClassVar[str] = "mem0g"

    def __init__(
        self,
        services: Services,
        *,
        profile: str = "paper",
        top_k: str = "10",
        summary_every: str = "5",
        threshold: str = str(THRESHOLD),
    ) -> None:
        super().__init__(services, profile=profile, top_k=top_k, summary_every=summary_every)
        similarity = number("threshold", threshold, 0, 1)
        self.identity["threshold"] = similarity
        self._graph = Graph(
            services.directory,
            embedder=services.embedder.identity,
            dim=services.embedder.dim,
            seed=services.seed,
            threshold=similarity,
        )

    async def begin(self, scope: Scope) -> None:
        """Open the scope's memories and its graph.

        Raises:
            DataError: if they were made with another embedder.
        """
        await super().begin(scope)
        self._graph.open(scope.id)

    # --- writing (2.2) ----------------------------------------------------------------------

    async def _learn(self, pair: list[Json]) -> None:
        """What Mem0 does, then the graph from the same pair."""
        await super()._learn(pair)
        text = "\n".join(message["content"] for message in pair)
        entities = await self._entities(text, self._writer)
        if len(entities) < 2:
            return
        triples = await self._triples(text, entities)
        if not triples:
            return
        await self._invalidate(triples, entities)
        for triple in triples:
            self._link(triple, entities)

    async def _entities(self, text: str, model: MeteredModel) -> dict[str, Entity]:
        """The entities of a text or a query, by their names in lower case."""
        messages, work = prompts.find_entities(text)
        reply = await ask(
            model,
            messages,
            prompts.Entities,
            work=work,
            op="entities",
            trace=self._trace,
            max_tokens=prompts.MAX_LIST_TOKENS,
        )
        if reply is None:
            return {}
        items = self._items(reply.entities, prompts.EntityItem, "entity", limit=True)
        named = {item.name.casefold(): item for item in reversed(items) if item.name}
        names = [item.name for item in named.values()]
        vectors = await self._embed(names)
        return {
            key: Entity(item.name, item.type or "unknown", vector)
            for (key, item), vector in reversed(list(zip(named.items(), vectors, strict=True)))
        }

    async def _triples(self, text: str, entities: dict[str, Entity]) -> list[prompts.RelationItem]:
        """The triples of a text between two different entities that it names."""
        listed = [prompts.EntityItem(name=e.name, type=e.type) for e in entities.values()]
        messages, work = prompts.find_relations(text, listed, self._now())
        reply = await ask(
            self._writer,
            messages,
            prompts.Relations,
            work=work,
            op="relations",
            trace=self._trace,
            max_tokens=prompts.MAX_LIST_TOKENS,
        )
        good = []
        items = reply.relations if reply is not None else []
        for item in self._items(items, prompts.RelationItem, "relation", limit=True):
            ends = item.source.casefold(), item.target.casefold()
            if not item.relation or ends[0] == ends[1] or not set(ends) <= entities.keys():
                fault(self._trace, "relation", f"not between two listed entities: {item!r:.80}")
            else:
                good.append(item)
        return good

    async def _invalidate(
        self, triples: Sequence[prompts.RelationItem], entities: dict[str, Entity]
    ) -> None:
        """Conflict detection: edges that the new triples contradict hold no longer."""
        known = self._graph.around(list(entities.values()))
        if not known:
            return
        ids = {str(n): edge.id for n, edge in enumerate(known)}
        shown = [{"id": n, **_triple(edge)} for n, edge in zip(ids, known, strict=True)]
        new = [triple.model_dump() for triple in triples]
        messages, work = prompts.find_conflicts(new, shown, self._now())
        reply = await ask(
            self._writer, messages, prompts.Obsolete, work=work, op="conflicts", trace=self._trace
        )
        named = dict.fromkeys(map(str, reply.obsolete)) if reply is not None else {}
        if unknown := [name for name in named if name not in ids]:
            problem = f"{len(unknown)} conflicts with what was not shown: {unknown[:3]!r:.80}"
            fault(self._trace, "unknown_id", problem)
        for name in named:
            if name in ids:
                edge = self._graph.invalidate(ids[name], self._now())
                self._emit("delete", [edge.id], changed=True, content=edge.content, kept=True)

    def _link(self, triple: prompts.RelationItem, entities: dict[str, Entity]) -> None:
        """Merge a triple into the graph."""
        source, target = (entities[n.casefold()] for n in (triple.source, triple.target))
        edge, new = self._graph.link(source, triple.relation, target, self._now())
        told = {"content": edge.content, "metadata": edge.metadata}
        self._emit("add" if new else "update", [edge.id], changed=True, **told)
        for named, node in ((source, "source"), (target, "target")):
            if named.name.casefold() != edge.metadata[node].casefold():
                content = f"{named.name} → {edge.metadata[node]}"
                node_id = edge.metadata[f"{node}_id"]
                self._emit("merge", [node_id], changed=False, content=content)

    # --- reading (2.2) ----------------------------------------------------------------------

    async def retrieve(self, query: str, top_k: int) -> Found:
        """The most similar memories, then the triples around what the query names."""
        return [*await super().retrieve(query, top_k), *await self._related(query)]

    async def _related(self, query: str) -> Found:
        if not query.strip() or not len(self._graph):
            return []
        # A query is a message that is booked as cut when it is learnt from.
        entities = await self._entities(cut(query, MAX_MESSAGE), self._reader)
        edges = self._graph.around(list(entities.values()))
        scores = bm25(query, [edge.content for edge in edges])
        ranked = sorted(zip(edges, scores, strict=True), key=lambda pair: -pair[1])
        return ranked[:TRIPLES]

    # --- what it holds ----------------------------------------------------------------------

    def entries(self) -> list[Json]:
        """All memories, then all valid edges (`metadata.kind` is `relation`), oldest first."""
        return [*super().entries(), *map(as_json, self._graph.relations())]

    def snapshot(self) -> bytes:
        """Memories, nodes and edges: a zstd frame around UTF-8 JSON.

        The object has `format`, and `memories`, `nodes` and `edges`, each a snapshot of a
        `MemoryStore` in base64.
        """
        parts = zip(_PARTS, (super().snapshot(), *self._graph.snapshot()), strict=True)
        value = {name: base64.b64encode(part).decode() for name, part in parts}
        return zstandard.compress(json.dumps({"format": SNAPSHOT_FORMAT, **value}).encode(), 3)

    def restore(self, snapshot: bytes) -> None:
        """Set memories and graph to a snapshot, wholly or not at all; empty bytes empty them.

        Raises:
            DataError: if it is no snapshot, or one made with another embedder.
        """
        memories, nodes, edges = _read_snapshot(snapshot) if snapshot else (b"", b"", b"")
        before = super().snapshot()
        super().restore(memories)
        try:
            self._graph.restore(nodes, edges)
        except BaseException:  # an interrupt too: whole or not at all
            super().restore(before)
            raise

    async def close(self) -> None:
        """Close the stores."""
        self._graph.close()
        await super().close()


def _triple(edge: Entry) -> dict[str, Any]:
    return {key: edge.metadata[key] for key in ("source", "relation", "target")}


def _read_snapshot(snapshot: bytes) -> tuple[bytes, bytes, bytes]:
    try:
        if zstandard.frame_content_size(snapshot) > MAX_SNAPSHOT_BYTES:
            raise ValueError("larger than a snapshot may be")
        value = json.loads(zstandard.decompress(snapshot))
        if value["format"] != SNAPSHOT_FORMAT:
            raise ValueError(f"format {value['format']!r}")
        memories, nodes, edges = (base64.b64decode(value[name], validate=True) for name in _PARTS)
    except (zstandard.ZstdError, ValueError, KeyError, TypeError, RecursionError) as error:
        problem = f"{type(error).__name__}: {error}"
        raise DataError(f"not a memory snapshot ({problem})") from error
    return memories, nodes, edges
