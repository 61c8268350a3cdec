"""The approximate index: a graph that is derived from the store, and may always be lost."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from store_kinds import EMBEDDER, USEARCH, close_all, filled, make, overwrite, unit

from agemem_eval.baselines.store import MemoryStore


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    close_all()


@pytest.mark.parametrize("_", [pytest.param(0, marks=USEARCH.marks)])
@pytest.mark.parametrize("damage", ["whole", "graph broken", "note broken", "lost", "stale"])
def test_a_graph_is_taken_if_it_is_whole_and_made_again_if_not(
    damage: str, _: int, tmp_path: Path
) -> None:
    store = filled(tmp_path, 80, "sqlite+usearch")
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
    again = make("sqlite+usearch", tmp_path)
    assert (again._index._graph is not None) == (damage == "whole")
    assert again.search(unit(500), 5) == found
    if damage == "stale":
        assert again.search(unit(501), 1)[0][0].content == "by a store without a graph"


@pytest.mark.parametrize("_", [pytest.param(0, marks=USEARCH.marks)])
def test_the_graph_finds_nearly_what_exact_search_finds(_: int) -> None:
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
