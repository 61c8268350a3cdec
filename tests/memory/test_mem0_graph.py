"""The graph alone: nodes that names are merged onto, edges that end, and the ranking of triples."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agemem_eval.baselines.graph import MAX_NEIGHBOURS, Entity, Graph, bm25, sentence
from agemem_eval.baselines.store import MemoryStore
from agemem_eval.baselines.vectors import ROUNDING
from agemem_eval.harness.errors import DataError


def unit(*values: float) -> Any:
    vector = np.array([*values, *[0.0] * (4 - len(values))], dtype=np.float32)
    return vector / np.linalg.norm(vector)


def graph(threshold: float = 0.7) -> Graph:
    made = Graph(None, embedder={"name": "test"}, dim=4, threshold=threshold)
    made.open("a")
    return made


CUP, SHELF, DESK = (
    Entity("cup", "thing", unit(1)),
    Entity("shelf", "place", unit(0, 1)),
    Entity("desk", "place", unit(0, 0, 1)),
)
MUG = Entity("mug", "thing", unit(0.7, 0, 0, math.sqrt(0.51)))  # cosine to cup: 0.7
GLASS = Entity("glass", "thing", unit(0.69, 0, 0, math.sqrt(1 - 0.69**2)))


def triples(g: Graph, *, valid_only: bool = True) -> list[tuple[str, str, str, int]]:
    return [
        tuple(e.metadata[k] for k in ("source", "relation", "target", "mentions"))
        for e in g.relations(valid_only=valid_only)
    ]


def test_a_triple_makes_two_nodes_and_an_edge() -> None:
    g = graph()
    edge, new = g.link(CUP, "is_on", SHELF, "step 1")
    assert new
    assert (edge.content, edge.created) == ("cup is on shelf", "step 1")
    assert [(n.content, n.metadata) for n in g.nodes()] == [
        ("cup", {"kind": "entity", "type": "thing", "mentions": 1}),
        ("shelf", {"kind": "entity", "type": "place", "mentions": 1}),
    ]
    assert [edge.metadata["source_id"], edge.metadata["target_id"]] == [n.id for n in g.nodes()]


def test_the_same_triple_again_is_one_more_mention() -> None:
    g = graph()
    first, _ = g.link(CUP, "is on", SHELF, "step 1")
    again, new = g.link(CUP, "IS ON", SHELF, "step 2")
    assert not new
    assert again.id == first.id
    assert triples(g) == [("cup", "is on", "shelf", 2)]
    assert [n.metadata["mentions"] for n in g.nodes()] == [2, 2]


def test_a_name_is_merged_onto_a_node_at_the_threshold_and_not_below_it() -> None:
    g = graph()
    g.link(CUP, "is on", SHELF, "step 1")
    edge, _ = g.link(MUG, "is on", DESK, "step 2")  # 0.7
    assert edge.metadata["source"] == "cup"
    edge, _ = g.link(GLASS, "is on", DESK, "step 3")  # 0.69
    assert edge.metadata["source"] == "glass"
    assert [n.content for n in g.nodes()] == ["cup", "shelf", "desk", "glass"]


def test_of_two_nodes_at_the_threshold_the_more_similar_one_is_taken_and_the_same_name_first() -> (
    None
):
    g = graph(threshold=0.5)
    near = Entity("near", "t", unit(0.9, 0.1))
    g.link(CUP, "is on", DESK, "step 1")
    same = Entity("CUP", "t", unit(0, 1))  # the same name, whatever its vector says
    assert g.link(same, "is on", DESK, "step 2")[0].metadata["source"] == "cup"
    assert g.link(near, "is on", DESK, "step 3")[0].metadata["source"] == "cup"


def test_the_ends_of_a_triple_are_never_one_node() -> None:
    g = graph()
    edge, _ = g.link(CUP, "is beside", MUG, "step 1")
    assert (edge.metadata["source"], edge.metadata["target"]) == ("cup", "mug")
    with pytest.raises(ValueError, match="itself"):
        g.link(CUP, "is beside", Entity("Cup", "t", CUP.vector), "step 2")


def test_no_end_takes_the_node_that_bears_the_other_ends_name() -> None:
    g = graph()
    g.link(CUP, "is on", SHELF, "step 1")
    edge, _ = g.link(MUG, "is beside", CUP, "step 2")  # the mug resembles the cup, and is not it
    assert (edge.metadata["source"], edge.metadata["target"]) == ("mug", "cup")
    assert [n.content for n in g.nodes()] == ["cup", "shelf", "mug"]


def test_an_edge_that_ended_is_kept_and_not_found_and_may_begin_again() -> None:
    g = graph()
    edge, _ = g.link(CUP, "is on", SHELF, "step 1")
    g.invalidate(edge.id, "step 2")
    assert g.relations() == [] == g.around([CUP])
    (kept,) = g.relations(valid_only=False)
    assert (kept.metadata["valid"], kept.metadata["invalidated"]) == (False, "step 2")
    with pytest.raises(KeyError):
        g.invalidate(edge.id, "step 3")
    again, new = g.link(CUP, "is on", SHELF, "step 4")
    assert new
    assert again.id != edge.id
    assert len(g.relations(valid_only=False)) == 2


def test_a_neighbourhood_is_what_goes_in_and_out_the_nearest_first() -> None:
    g = graph()
    g.link(SHELF, "stands beside", DESK, "step 1")
    far, _ = g.link(MUG, "is on", SHELF, "step 2")
    into, _ = g.link(SHELF, "holds", CUP, "step 3")
    # `mug` was there first, and `cup` is merged onto it: both edges are the node's.
    assert [e.id for e in g.around([CUP])] == [far.id, into.id]
    assert len(g.around([SHELF])) == 3
    assert g.around([]) == []
    g = graph()
    g.link(GLASS, "is on", SHELF, "step 1")
    g.link(CUP, "is on", DESK, "step 2")
    between = Entity("beaker", "t", unit(0.95, 0, 0, 0.31))
    assert [e.metadata["source"] for e in g.around([between])] == ["cup", "glass"]


def test_a_neighbourhood_is_limited() -> None:
    g = graph()
    for n in range(MAX_NEIGHBOURS + 5):
        g.link(CUP, f"relation {n}", SHELF, "step 1")
    assert len(g.around([CUP])) == MAX_NEIGHBOURS


def test_scopes_hold_graphs_of_their_own_and_a_snapshot_brings_one_back() -> None:
    g, other = graph(), graph()
    edge, _ = g.link(CUP, "is on", SHELF, "step 1")
    snapshot = g.snapshot()
    g.open("b")
    assert g.nodes() == [] == g.relations()
    g.open("a")
    assert g.relations() == [edge]
    other.restore(*snapshot)
    assert other.relations() == [edge]
    assert other.nodes() == g.nodes()
    with pytest.raises(DataError, match="an edge without its nodes"):
        other.restore(b"", snapshot[1])
    g.link(CUP, "is on", DESK, "step 2")
    with pytest.raises(DataError, match="an edge without its nodes"):
        other.restore(snapshot[0], g.snapshot()[1])
    with pytest.raises(DataError):
        other.restore(snapshot[0], b"nonsense")
    assert other.relations() == [edge]
    other.restore(b"", b"")
    assert other.nodes() == []


def test_what_another_graph_on_the_same_file_changed_is_noticed(tmp_path: Path) -> None:
    one, two = (Graph(tmp_path, embedder={"name": "test"}, dim=4) for _ in range(2))
    one.open("a")
    two.open("a")
    edge, _ = one.link(CUP, "is on", SHELF, "step 1")
    assert two.around([CUP]) == [edge]
    assert not two.link(CUP, "is on", SHELF, "step 2")[1]
    one.invalidate(edge.id, "step 3")
    assert two.around([CUP]) == []
    again, new = two.link(CUP, "is on", SHELF, "step 4")
    assert new
    assert one.around([SHELF]) == [again]
    two.invalidate(again.id, "step 5")
    assert one.link(CUP, "is on", SHELF, "step 6")[1]
    one.close()
    two.close()


def test_neither_a_write_nor_a_search_looks_at_every_node_or_edge(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    g = graph()
    edge, _ = g.link(CUP, "is on", SHELF, "step 1")

    def refuse(self: MemoryStore) -> Any:
        raise AssertionError("all entries were read")

    monkeypatch.setattr(MemoryStore, "entries", refuse)
    g.link(GLASS, "is on", DESK, "step 2")
    g.link(CUP, "is on", SHELF, "step 3")
    g.invalidate(edge.id, "step 4")
    assert g.around([CUP]) == []
    assert len(g.around([DESK])) == len(g) == 1


# --- what always holds ----------------------------------------------------------------------

NAMES = ["cup", "Cup", "cup 2", "mug", "shelf", "desk"]
VECTORS = st.lists(st.floats(-1, 1, width=16), min_size=4, max_size=4).map(
    lambda v: unit(*v) if any(v) else np.zeros(4, dtype=np.float32)
)
ENTITIES = st.builds(Entity, st.sampled_from(NAMES), st.sampled_from(["thing", "place"]), VECTORS)
STEPS = st.one_of(
    st.tuples(st.just("link"), ENTITIES, st.sampled_from(["on", "In", "in"]), ENTITIES),
    st.tuples(st.just("invalidate"), st.integers(0, 9)),
)


@settings(max_examples=50, deadline=None)
@given(st.lists(STEPS, max_size=10), st.floats(0.1, 1.0))
def test_a_graph_stays_a_graph(steps: list[Any], threshold: float) -> None:
    g = graph(threshold)
    linked = 0
    for step, (op, *args) in enumerate(steps):
        if op == "link" and args[0].name.casefold() != args[2].name.casefold():
            g.link(*args, f"step {step}")
            linked += 1
        elif op == "invalidate" and args[0] < len(g.relations()):
            g.invalidate(g.relations()[args[0]].id, f"step {step}")
        assert len(g) == len(g.relations())
    nodes = {node.id: node for node in g.nodes()}
    edges = g.relations(valid_only=False)
    names = [node.content.casefold() for node in nodes.values()]
    assert len(set(names)) == len(names)  # one name, one node
    assert all(node.metadata["mentions"] > 0 for node in nodes.values())
    assert sum(node.metadata["mentions"] for node in nodes.values()) == 2 * linked
    assert sum(edge.metadata["mentions"] for edge in edges) == linked
    for edge in edges:
        data = edge.metadata
        assert data["source_id"] != data["target_id"]
        assert nodes[data["source_id"]].content == data["source"]
        assert nodes[data["target_id"]].content == data["target"]
        assert data["valid"] == ("invalidated" not in data)
    valid = [
        (d["source_id"], d["relation"].casefold(), d["target_id"])
        for d in (edge.metadata for edge in g.relations())
    ]
    assert len(set(valid)) == len(valid)
    copy = graph(threshold)
    copy.restore(*g.snapshot())
    assert (copy.nodes(), copy.relations(valid_only=False)) == (g.nodes(), edges)


LINKS = st.tuples(
    st.just("link"),
    st.builds(Entity, st.integers(0, 40).map("thing {}".format), st.just("t"), VECTORS),
    st.sampled_from(["on", "In", "in"]),
    st.builds(Entity, st.integers(0, 40).map("thing {}".format), st.just("t"), VECTORS),
)


def by_looking_at_everything(g: Graph, entities: list[Entity], threshold: float) -> list[str]:
    """The ids of a neighbourhood, by its definition: every name with every node and edge."""
    nearness: dict[str, float] = {}
    for entity in entities:
        for node, score in g._nodes.search(entity.vector, 10_000):
            same = node.content.casefold() == entity.name.casefold()
            if same or score >= threshold - ROUNDING:
                nearness[node.id] = max(1.0 if same else score, nearness.get(node.id, 0.0))
    ends = [(e.id, e.metadata["source_id"], e.metadata["target_id"]) for e in g.relations()]
    near = [(id_, max(nearness.get(a, 0.0), nearness.get(b, 0.0))) for id_, a, b in ends]
    best = sorted((pair for pair in near if pair[1] > 0), key=lambda pair: -pair[1])
    return [id_ for id_, _ in best[:MAX_NEIGHBOURS]]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.one_of(LINKS, LINKS, LINKS, STEPS), max_size=40),
    st.lists(ENTITIES | LINKS.map(lambda link: link[1]), max_size=3),
    st.floats(0.0, 1.0),
)
def test_a_neighbourhood_is_that_of_looking_at_every_node_and_edge(
    steps: list[Any], asked: list[Entity], threshold: float
) -> None:
    g = graph(threshold)
    for step, (op, *args) in enumerate(steps):
        if op == "link" and args[0].name.casefold() != args[2].name.casefold():
            g.link(*args, f"step {step}")
        elif op == "invalidate" and args[0] < len(g.relations()):
            g.invalidate(g.relations()[args[0]].id, f"step {step}")
    expected = by_looking_at_everything(g, asked, threshold)
    assert [edge.id for edge in g.around(asked)] == expected
    g.restore(*g.snapshot())
    assert [edge.id for edge in g.around(asked)] == expected


# --- BM25 -----------------------------------------------------------------------------------


def test_bm25_is_what_the_formula_gives_by_hand() -> None:
    texts = ["cabinet 1 contains mug 2", "mug 2 is red", "fridge contains apple"]
    # N = 3, lengths 5, 4, 3, mean 4; "mug" and "contains" are in 2 texts each:
    # idf = ln(1 + 1.5/2.5) = ln 1.6 = 0.4700036
    # text 1: 2.5/(1 + 1.5·(0.25 + 0.75·5/4)) = 2.5/2.78125 = 0.8988764, twice
    # text 2: 2.5/(1 + 1.5·(0.25 + 0.75·4/4)) = 1; text 3: 2.5/2.21875 = 1.1267606
    expected = [0.8449503, 0.4700036, 0.5295815]
    assert bm25("Which MUG contains?", texts) == pytest.approx(expected, abs=1e-6)


def test_bm25_counts_repeated_words_less_and_less() -> None:
    # N = 2, "tea" in 1: idf = ln(1 + 1.5/1.5) = ln 2; lengths 3 and 1, mean 2
    # f = 3: 3·2.5/(3 + 1.5·(0.25 + 0.75·1.5)) = 7.5/5.0625
    assert bm25("tea", ["tea tea tea", "cup"]) == pytest.approx([math.log(2) * 7.5 / 5.0625, 0])


def test_bm25_of_nothing_is_nothing() -> None:
    assert bm25("tea", []) == []
    assert bm25("", ["tea"]) == [0.0]
    assert bm25("tea", ["", "—"]) == [0.0, 0.0]


def test_a_relation_reads_as_a_sentence() -> None:
    assert sentence("Mira", "lives_in", " the  north ") == "Mira lives in the north"
