"""The graph of Mem0g: entities are nodes, relations are directed and labelled edges between them.

After arXiv 2504.19413, section 2.2: G = (V, E, L), a node with its type, its embedding and the
time it was made, an edge a triple (source, relation, target) that is marked as no longer valid
and kept, never removed. Nodes and edges lie in two `MemoryStore` scopes beside the memories, in
the same file: what holds for memories (transactions, scopes, snapshots, ids from a seed) holds
for them. What a write or a search looks up it finds by name, by triple and by node: their cost
grows with the neighbourhood, and with the graph only by one pass over the nodes' vectors.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..harness.errors import DataError
from ..harness.types import Json
from .store import Entry
from .stores import open_store
from .vectors import ROUNDING, Vector

THRESHOLD = 0.7  # cosine from which a name stands for a node (mem0ai: `threshold`)
MAX_NEIGHBOURS = 100  # edges a neighbourhood shows, the nearest first (mem0ai: `limit`)
_PAGE = 8  # nodes asked for at first; most names resemble fewer
_WORD = re.compile(r"[^\W_]+")
Triple = tuple[str, str, str]  # a node's id, a relation whatever its case, a node's id


@dataclass(frozen=True, slots=True)
class Entity:
    """A thing that was named, and its vector."""

    name: str
    type: str
    vector: Vector


@dataclass(slots=True)
class _Ways:
    """The ways by which nodes and valid edges are found; it holds ids, the stores the rest."""

    named: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    nodes: int = 0
    edges: int = 0  # valid or not
    valid: dict[str, int] = field(default_factory=dict)  # order of arrival by id
    _linked: dict[Triple, str] = field(default_factory=dict)
    _at: defaultdict[str, dict[str, None]] = field(default_factory=lambda: defaultdict(dict))

    def add_node(self, node: Entry) -> None:
        """A node, found by its name from now on."""
        self.named[node.content.casefold()].append(node.id)
        self.nodes += 1

    def add_edge(self, edge: Entry) -> None:
        """An edge, found by its triple and by its nodes as long as it is valid."""
        if edge.metadata["valid"]:
            self.valid[edge.id] = self.edges
            self._linked.setdefault(_key(edge), edge.id)  # the oldest, should there be two
            for node in _ends(edge):
                self._at[node][edge.id] = None
        self.edges += 1

    def end_edge(self, edge: Entry) -> None:
        """An edge that is valid no longer."""
        del self.valid[edge.id]
        for node in set(_ends(edge)):
            del self._at[node][edge.id]
        if self._linked[_key(edge)] == edge.id:
            del self._linked[_key(edge)]

    def linked(self, key: Triple) -> str | None:
        """The edge of that triple, or None."""
        return self._linked.get(key)

    def at(self, node: str) -> Iterator[str]:
        """The edges into and out of a node."""
        return iter(self._at.get(node, ()))


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
        self._known: _Ways | None = None  # None: to be made anew

    def open(self, scope: str) -> None:
        """Work in this scope from now on."""
        self._nodes.open(json.dumps([scope, "nodes"]))
        self._edges.open(json.dumps([scope, "relations"]))
        self._known = None

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

    def __len__(self) -> int:
        """How many valid edges there are."""
        return len(self._ways().valid)

    def around(self, entities: Sequence[Entity]) -> list[Entry]:
        """Valid edges into and out of every node that one of these names may stand for.

        Those at the most similar node come first, among equals the oldest; at most
        `MAX_NEIGHBOURS`.
        """
        nearness: dict[str, float] = {}
        for entity in entities:
            for node, score in self._standing_for(entity):
                nearness[node.id] = max(score, nearness.get(node.id, 0.0))
        ways = self._ways()
        near: dict[str, float] = {}
        for node_id, score in nearness.items():
            for id_ in ways.at(node_id):
                near[id_] = max(score, near.get(id_, 0.0))
        found = sorted((-score, ways.valid[id_], id_) for id_, score in near.items() if score > 0)
        edges = [_there(self._edges.get(id_)) for _, _, id_ in found[:MAX_NEIGHBOURS]]
        if all(edge.metadata["valid"] for edge in edges):
            return edges
        self._known = None  # another process has ended one
        return self.around(entities)

    def _linked(self, key: Triple) -> Entry | None:
        """The valid edge of that triple, or None."""
        id_ = self._ways().linked(key)
        edge = self._edges.get(id_) if id_ is not None else None
        if edge is None or edge.metadata["valid"]:
            return edge
        self._known = None  # another process has ended it
        return self._linked(key)

    def _standing_for(self, entity: Entity, top_k: int | None = None) -> list[tuple[Entry, float]]:
        """Nodes at or above the threshold, best first; a node of that very name comes first."""
        found = self._nodes.search(entity.vector, top_k or _PAGE)
        asked = _PAGE
        while top_k is None and len(found) == asked and found[-1][1] >= self._threshold:
            asked *= 8
            found = self._nodes.search(entity.vector, asked)
        ids = self._ways().named.get(entity.name.casefold(), ())
        same = [(_there(self._nodes.get(id_)), 1.0) for id_ in ids]
        return same + [
            (node, score)
            for node, score in found
            if score >= self._threshold and node.id not in ids
        ]

    def _ways(self) -> _Ways:
        """Made anew where a scope was opened or restored, or another process added to it."""
        known = self._known
        if known is None or (known.nodes, known.edges) != (len(self._nodes), len(self._edges)):
            known = _Ways()
            for node in self._nodes.entries():
                known.add_node(node)
            for edge in self._edges.entries():
                known.add_edge(edge)
            self._known = known
        return known

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
        edge = self._linked((start.id, relation.casefold(), end.id))
        if edge is not None:
            data = {**edge.metadata, "mentions": edge.metadata["mentions"] + 1}
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
        ways = self._ways()
        edge = _there(self._edges.get(self._edges.add(content, self._no_vector, data, now)))
        ways.add_edge(edge)
        return edge, True

    def _mention(self, entity: Entity, now: str, other_end: Callable[[Entry], bool]) -> Entry:
        """The node an end of a triple is merged onto, or a new one; never the other end's."""
        similar = (node for node, _ in self._standing_for(entity, top_k=2) if not other_end(node))
        node = next(similar, None)
        if node is None:
            data: Json = {"kind": "entity", "type": entity.type, "mentions": 1}
            ways = self._ways()
            id_ = self._nodes.add(entity.name, entity.vector, data, now)
            ways.add_node(node := _there(self._nodes.get(id_)))
            return node
        data = {**node.metadata, "mentions": node.metadata["mentions"] + 1}
        self._nodes.update(node.id, node.content, None, data, now)
        return _there(self._nodes.get(node.id))

    def invalidate(self, id_: str, now: str) -> Entry:
        """Mark an edge as no longer valid; it stays, and no search shows it again.

        Raises:
            KeyError: if there is no such valid edge.
        """
        edge = self._edges.get(id_)
        if edge is None or not edge.metadata["valid"]:
            raise KeyError(id_)
        data = {**edge.metadata, "valid": False, "invalidated": now}
        ways = self._ways()
        self._edges.update(id_, edge.content, None, data, now)
        ways.end_edge(edge)
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
        self._known = None
        try:
            self._nodes.restore(nodes)
            self._edges.restore(edges)
            self._check()
        except BaseException:  # an interrupt too: whole or not at all
            self._nodes.restore(before[0])
            self._edges.restore(before[1])
            raise

    def _check(self) -> None:
        nodes, edges = self._nodes.entries(), self._edges.entries()
        known = {node.id for node in nodes}
        try:
            for node in nodes:
                _check_fields(node, ("type",))
            for edge in edges:
                _check_fields(edge, ("source", "relation", "target", "source_id", "target_id"))
                if not known.issuperset(_ends(edge)):
                    raise ValueError("an edge without its nodes")
                if type(edge.metadata["valid"]) is not bool:
                    raise TypeError("an edge that is neither valid nor invalid")
        except (KeyError, TypeError, ValueError) as error:
            problem = f"{type(error).__name__}: {error}"
            raise DataError(f"not a snapshot of a graph memory ({problem})") from error


def _check_fields(entry: Entry, texts: Sequence[str]) -> None:
    for name in texts:
        if not isinstance(entry.metadata[name], str):
            raise TypeError(f"{name!r} that is no text")
    mentions = entry.metadata["mentions"]
    if type(mentions) is not int or mentions < 1:
        raise TypeError("mentions that are no count")


def _ends(edge: Entry) -> tuple[str, str]:
    return edge.metadata["source_id"], edge.metadata["target_id"]


def _key(edge: Entry) -> Triple:
    source, target = _ends(edge)
    return source, edge.metadata["relation"].casefold(), target


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
