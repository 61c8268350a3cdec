"""The approximate index: a graph that is derived from the store, and may always be lost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from store_kinds import DIM, EMBEDDER, USEARCH, close_all, filled, make, overwrite, unit

from agemem_eval.baselines.store import MemoryStore


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    close_all()


usearch = pytest.mark.parametrize("kind", [USEARCH])


@usearch
@pytest.mark.parametrize("damage", ["whole", "graph broken", "note broken", "lost", "stale"])
def test_a_graph_is_taken_if_it_is_whole_and_made_again_if_not(
    damage: str, kind: str, tmp_path: Path
) -> None:
    store = filled(tmp_path, 80, kind)
    store.update(store.entries()[4].id, "changed", unit(500), {}, "t")
    store.delete(store.entries()[9].id)
    found = store.search(unit(500), 5)
    assert found[0][0].content == "changed"
    store.close()
    [graph] = (tmp_path / "memory.sqlite-graphs").glob("*.usearch")
    note = graph.with_suffix(".json")
    match damage:
        case "graph broken":
            overwrite(graph, graph.stat().st_size // 2, b"\xff" * 64)
        case "note broken":
            note.write_text('{"keys": [1, 2]}')
        case "lost":
            shutil.rmtree(graph.parent)
        case "stale":
            exact = make("sqlite", tmp_path)
            exact.add("by a store without a graph", unit(501), {}, "t")
            exact.close()
    again = make(kind, tmp_path)
    assert (again._index._graph is not None) == (damage == "whole")
    assert again.search(unit(500), 5) == found
    if damage == "stale":
        assert again.search(unit(501), 1)[0][0].content == "by a store without a graph"


@usearch
def test_the_graph_finds_nearly_what_exact_search_finds(kind: str) -> None:
    from agemem_eval.baselines.approximate import UsearchStore

    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((3000, 32)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    exact = MemoryStore(None, embedder=EMBEDDER, dim=32)
    near = UsearchStore(None, embedder=EMBEDDER, dim=32, threshold=1000)
    for number, v in enumerate(vectors[:2500]):
        for store in (exact, near):
            store.add(str(number), v, {"odd": number % 2 == 1}, "t")
        if number == 2000:
            assert near.search(v, 1)[0][0].content == "2000"
    for number, entry in enumerate(exact.entries()):
        for store in (exact, near):
            if number % 5 == 0:
                store.delete(entry.id)
            elif number % 5 == 1 and number < 2500:
                store.update(entry.id, "changed", vectors[number // 5 + 2500], {"odd": True}, "t")
    hits = total = 0
    for query in vectors[::60]:
        for wanted in ({}, {"odd": True}):
            best = exact.search(query, 10, wanted)
            found = near.search(query, 10, wanted)
            assert len(found) == 10
            assert all(entry.metadata["odd"] for entry, _ in found if wanted)
            known = {entry.id: (entry, score) for entry, score in exact.search(query, 3000)}
            assert all(known[entry.id] == (entry, score) for entry, score in found)
            hits += len({e.id for e, _ in best} & {e.id for e, _ in found})
            total += 10
    assert hits / total > 0.95


@usearch
def test_damaged_keys_of_a_graph_are_no_more_than_a_graph_made_again(
    kind: str, tmp_path: Path
) -> None:
    from agemem_eval.baselines.approximate import _sha256

    store = filled(tmp_path, 80, kind)
    found = store.search(unit(500), 5)
    store.close()
    [graph] = (tmp_path / "memory.sqlite-graphs").glob("*.usearch")
    note = graph.with_suffix(".json")
    whole = json.loads(note.read_text())
    keys = whole["keys"]
    damages = [keys[:-1], [*keys, 80], [10**15, *keys[1:]], [-1, *keys[1:]], [80, *keys[1:]]]
    damages += [[0.5, *keys[1:]], ["x", *keys[1:]], [True, *keys[1:]], [[], *keys[1:]], [0] * 80]
    damages += [{"a": 1}, 5, None, [keys[1], keys[0], *keys[2:]]]
    texts = [json.dumps({**whole, "keys": damaged}) for damaged in damages]
    for damaged in damages[:-1]:  # and with a checksum that vouches for them
        sha = _sha256(graph, damaged)
        texts.append(json.dumps({**whole, "keys": damaged, "sha256": sha}))
    for text in [*texts, "[1]", "[" * 100_000, "\ud800".encode("utf-8", "surrogatepass")]:
        note.write_bytes(text if isinstance(text, bytes) else text.encode())
        again = make(kind, tmp_path)
        assert again._index._graph is None
        assert again.search(unit(500), 5) == found
        again._db.close()


@usearch
def test_a_graph_that_was_taken_grows_on(kind: str, tmp_path: Path) -> None:
    store = filled(tmp_path, 80, kind)
    store.search(unit(0), 1)
    store.delete(store.entries()[-1].id)  # the last key of the graph leads nowhere
    store.close()
    again = make(kind, tmp_path)
    assert again._index._graph is not None
    again.add("new", unit(500), {}, "t")
    assert again.search(unit(500), 1)[0][0].content == "new"
    assert len(again.search(unit(0), 80)) == 80


@usearch
def test_a_graph_outlives_what_a_neighbour_changes(kind: str, tmp_path: Path) -> None:
    near, exact = filled(tmp_path, 80, kind), make("sqlite", tmp_path)
    near.search(unit(0), 1)
    graph = near._index._graph
    kept = exact.entries()
    exact.add("added", unit(500), {}, "t")
    exact.update(kept[4].id, "updated", unit(501), {}, "t")
    exact.delete(kept[9].id)
    for seed in (500, 501, 9):
        assert near.search(unit(seed), 3) == exact.search(unit(seed), 3)
    assert near._index._graph is graph


@usearch
def test_a_restored_scope_takes_the_graph_of_its_vectors(kind: str, tmp_path: Path) -> None:
    store = filled(tmp_path, 80, kind)
    found = store.search(unit(500), 5)
    store.restore(store.snapshot())
    assert store._index._graph is not None
    assert store.search(unit(500), 5) == found


@usearch
def test_keys_that_lead_nowhere_do_not_pile_up(kind: str) -> None:
    store = filled(None, 20, kind)
    for turn in range(10):
        for number, entry in enumerate(store.entries()):
            store.update(entry.id, "new", unit(100 * turn + number), {}, "t")
        assert store.search(unit(100 * turn + 7), 1)[0][1] > 0.999
        assert len(store._index._row_at) <= 60


@usearch
def test_a_filter_so_rare_that_the_graph_proposes_none_is_scanned_for(kind: str) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((5000, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    store = make(kind, None)
    for i, v in enumerate(vectors):
        store.add(str(i), v, {"rare": i in (7, 4000)}, "t")
    worst = -(vectors[7] + vectors[4000])
    found = store.search(worst / np.linalg.norm(worst), 5, {"rare": True})
    assert {entry.content for entry, _ in found} == {"7", "4000"}
