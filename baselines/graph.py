"""The graph of Mem0g: entities are nodes, relations are directed and labelled edges between them.

After arXiv 2504.19413, section 2.2: G = (V, E, L), a node with its type, its embedding and the
time it was made, an edge a triple (source, relation, target) that is marked as no longer valid
and kept, never removed. Nodes and edges lie in two `MemoryStore` scopes beside the memories, in
the same file: what holds for memories (transactions, scopes, snapshots, ids from a seed) holds
for them.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..harness.errors import DataError
from ..harness.types import Json
from .store import Entry
from .stores import open_store
from .vectors import ROUNDING, Vector

THRESHOLD = 0.7  # cosine from which a name stands for a node (mem0ai: `threshold`)
MAX_NEIGHBOURS = 100  # edges a neighbourhood shows, the nearest first (mem0ai: `limit`)
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Entity:
    """A thing that was named, and its vector."""

    name: str
    type: str
    vector: Vector


class Graph:
    """Nodes and edges of one scope at a time.

    Args:
        directory: Where the memories' file is, which it shares; None keeps everything in memory.
        embedder: Identity of the embedder; a scope made with another one is refused.
        dim: Length of a vector.
        seed: Ids are a function of seed, scope and the number of additions.
        threshold: Cosine similarity from which a name stands for a node.
    """

    def __init__(
        self,
        directory: Path | None,
        *,
        embedder: Json,
        dim: int,
        seed: int = 0,
        threshold: float = THRESHOLD,
    ) -> None:
        # In SQLite whatever the memories are kept in: the search for nodes has to be exact.
        self._nodes = open_store("sqlite", directory, embedder=embedder, dim=dim, seed=seed)
        self._edges = open_store("sqlite", directory, embedder=embedder, dim=dim, seed=seed)
        # Edges are found through their nodes, never by a vector of their own.
        self._no_vector = np.zeros(dim, dtype=np.float32)
        self._threshold = threshold - ROUNDING  # "at or above", in float32

    def open(self, scope: str) -> None:
        """Work in this scope from now on."""
        self._nodes.open(json.dumps([scope, "nodes"]))
        self._edges.open(json.dumps([scope, "relations"]))

    def close(self) -> None:
        """Close the file."""
        self._nodes.close()
        self._edges.close()

    # --- reading ----------------------------------------------------------------------------

    def nodes(self) -> list[Entry]:
        """All nodes: the content is the name; the metadata hold `type` and `mentions`."""
        return self._nodes.entries()

    def relations(self, *, valid_only: bool = True) -> list[Entry]:
        """The edges: the content is a sentence, the metadata hold the triple and `valid`."""
        return [e for e in self._edges.entries() if e.metadata["valid"] or not valid_only]

    def around(self, entities: Sequence[Entity]) -> list[Entry]:
        """Valid edges into and out of every node that one of these names may stand for.

        Those at the most similar node come first, among equals the oldest; at most
        `MAX_NEIGHBOURS`.
        """
        nearness: dict[str, float] = {}
        for entity in entities:
            for node, score in self._standing_for(entity):
                nearness[node.id] = max(score, nearness.get(node.id, 0.0))
        found = [(self._near(edge, nearness), edge) for edge in self.relations()]
        found = sorted((f for f in found if f[0] > 0), key=lambda pair: -pair[0])
        return [edge for _, edge in found[:MAX_NEIGHBOURS]]

    @staticmethod
    def _near(edge: Entry, nearness: dict[str, float]) -> float:
        ends = edge.metadata["source_id"], edge.metadata["target_id"]
        return max(nearness.get(end, 0.0) for end in ends)

    def _standing_for(self, entity: Entity, top_k: int | None = None) -> list[tuple[Entry, float]]:
        """Nodes at or above the threshold, best first; a node of that very name comes first."""
        found = self._nodes.search(entity.vector, len(self._nodes) if top_k is None else top_k)
        similar = [(node, score) for node, score in found if score >= self._threshold]
        same = [node for node in self._nodes.entries() if _same(node, entity)]
        return [(n, 1.0) for n in same] + [pair for pair in similar if pair[0] not in same]

    # --- writing ----------------------------------------------------------------------------

    def link(self, source: Entity, relation: str, target: Entity, now: str) -> tuple[Entry, bool]:
        """Merge a triple into the graph and return its edge, and whether that is new.

        Each end becomes the most similar node at or above the threshold, or a new node, and is
        mentioned once more; so is an edge that is there already. An edge that was invalidated
        stays so: the same triple said again is a new edge. Two different names of one triple
        never become one node, or "the cup is beside the cup 2" would say nothing.

        Raises:
            ValueError: if source and target are the same name.
        """
        if source.name.casefold() == target.name.casefold():
            raise ValueError(f"{source.name!r} is related to itself")
        start = self._mention(source, now, lambda node: _same(node, target))
        end = self._mention(target, now, lambda node: node.id == start.id)
        key = start.id, relation.casefold(), end.id
        for edge in self.relations():
            data = edge.metadata
            if (data["source_id"], data["relation"].casefold(), data["target_id"]) == key:
                data = {**data, "mentions": data["mentions"] + 1}
                self._edges.update(edge.id, edge.content, None, data, now)
                return _there(self._edges.get(edge.id)), False
        data = {
            "kind": "relation",
            "source": start.content,
            "relation": relation,
            "target": end.content,
            "source_id": start.id,
            "target_id": end.id,
            "mentions": 1,
            "valid": True,
        }
        content = sentence(start.content, relation, end.content)
        return _there(self._edges.get(self._edges.add(content, self._no_vector, data, now))), True

    def _mention(self, entity: Entity, now: str, other_end: Callable[[Entry], bool]) -> Entry:
        """The node an end of a triple is merged onto, or a new one; never the other end's."""
        similar = (node for node, _ in self._standing_for(entity, top_k=2) if not other_end(node))
        node = next(similar, None)
        if node is None:
            data: Json = {"kind": "entity", "type": entity.type, "mentions": 1}
            id_ = self._nodes.add(entity.name, entity.vector, data, now)
        else:
            id_ = node.id
            data = {**node.metadata, "mentions": node.metadata["mentions"] + 1}
            self._nodes.update(id_, node.content, None, data, now)
        return _there(self._nodes.get(id_))

    def invalidate(self, id_: str, now: str) -> Entry:
        """Mark an edge as no longer valid; it stays, and no search shows it again.

        Raises:
            KeyError: if there is no such valid edge.
        """
        edge = self._edges.get(id_)
        if edge is None or not edge.metadata["valid"]:
            raise KeyError(id_)
        data = {**edge.metadata, "valid": False, "invalidated": now}
        self._edges.update(id_, edge.content, None, data, now)
        return edge

    # --- snapshots --------------------------------------------------------------------------

    def snapshot(self) -> tuple[bytes, bytes]:
        """The open scope's nodes and edges; the format is `MemoryStore.snapshot`'s."""
        return self._nodes.snapshot(), self._edges.snapshot()

    def restore(self, nodes: bytes, edges: bytes) -> None:
        """Set the open scope to a snapshot, wholly or not at all; empty bytes empty it.

        Raises:
            DataError: if the bytes are no snapshot of a graph.
        """
        before = self.snapshot()
        try:
            self._nodes.restore(nodes)
            self._edges.restore(edges)
            self._check()
        except BaseException:
            self._nodes.restore(before[0])
            self._edges.restore(before[1])
            raise

    def _check(self) -> None:
        known = {node.id for node in self._nodes.entries()}
        try:
            counts = [node.metadata["mentions"] for node in self._nodes.entries()]
            for edge in self._edges.entries():
                data = edge.metadata
                counts.append(data["mentions"])
                if not {data["source_id"], data["target_id"]} <= known:
                    raise ValueError("an edge without its nodes")
                if type(data["valid"]) is not bool or not isinstance(data["relation"], str):
                    raise TypeError("an edge with fields of a wrong type")
            if not all(type(count) is int and count > 0 for count in counts):
                raise TypeError("mentions that are no count")
        except (KeyError, TypeError, ValueError) as error:
            problem = f"{type(error).__name__}: {error}"
            raise DataError(f"not a snapshot of a graph memory ({problem})") from error


def _same(node: Entry, entity: Entity) -> bool:
    return node.content.casefold() == entity.name.casefold()


def _there(entry: Entry | None) -> Entry:
    assert entry is not None  # written a moment ago
    return entry


def sentence(source: str, relation: str, target: str) -> str:
    """A triple as a reader would say it; `lives_in` becomes "lives in"."""
    return " ".join(f"{source} {relation.replace('_', ' ')} {target}".split())


def bm25(query: str, texts: Sequence[str], *, k1: float = 1.5, b: float = 0.75) -> list[float]:
    """The Okapi BM25 score of each text for the query, over these texts as the collection.

    score = sum over the query's words of idf · f(k1 + 1) / (f + k1(1 − b + b·length/mean length)),
    with idf = ln(1 + (N − n + 0.5)/(n + 0.5)) (Robertson & Zaragoza, 2009; the 1 added keeps the
    idf of a word that most texts have from falling below 0). Words are runs of letters and
    digits, whatever their case.
    """
    bags = [Counter(_WORD.findall(text.casefold())) for text in texts]
    lengths = [bag.total() for bag in bags]
    mean = sum(lengths) / len(lengths) if any(lengths) else 1.0
    scores = [0.0] * len(bags)
    for word in _WORD.findall(query.casefold()):
        having = sum(word in bag for bag in bags)
        idf = math.log(1 + (len(bags) - having + 0.5) / (having + 0.5))
        for i, (bag, length) in enumerate(zip(bags, lengths, strict=True)):
            f = bag[word]
            scores[i] += idf * f * (k1 + 1) / (f + k1 * (1 - b + b * length / mean))
    return scores
