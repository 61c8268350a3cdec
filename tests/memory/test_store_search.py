"""What a search finds, and in which order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from store_kinds import ALL, DIM, QDRANT, close_all, make, unit, vector


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    close_all()


every_kind = pytest.mark.parametrize("kind", ALL)


@pytest.mark.parametrize("kind", ["sqlite", QDRANT])  # a graph may miss some of many ties
def test_ties_come_in_order_of_arrival_wherever_the_rows_lie(kind: str) -> None:
    store = make(kind)
    ids = [store.add(str(i), unit(i % 2), {}, "t") for i in range(300)]
    for id_ in ids[:200]:  # enough for the rows to be packed
        store.delete(id_)
    left = ids[200:]
    found = store.search(unit(0), 50)
    assert [entry.id for entry, _ in found] == left[0::2]
    assert len({score for _, score in found}) == 1


def test_growth_and_packing_keep_everything_in_place(monkeypatch: Any) -> None:
    monkeypatch.setattr("agemem_eval.baselines.vectors.CHUNK", 64)  # so that there are many
    store = make("sqlite")
    ids = [store.add(f"entry {i}", unit(i), {"n": i}, "t") for i in range(1000)]
    for i in range(0, 1000, 2):
        store.delete(ids[i])
    for i in range(1, 1000, 4):
        store.delete(ids[i])
    kept = list(range(3, 1000, 4))
    assert [e.metadata["n"] for e in store.entries()] == kept
    for i in kept[::17]:
        [(entry, score)] = store.search(unit(i), 1)
        assert entry.id == ids[i]
        assert score == pytest.approx(1, abs=1e-6)


def test_search_is_exact(monkeypatch: Any) -> None:
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((5000, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    monkeypatch.setattr("agemem_eval.baselines.vectors.CHUNK", 64)  # so that there are many
    store = make("sqlite")
    for i, v in enumerate(vectors):
        store.add(str(i), v, {}, "t")
    for query in vectors[:20]:
        best = np.argsort(-(vectors.astype(np.float64) @ query), kind="stable")[:10]
        assert [int(e.content) for e, _ in store.search(query, 10)] == best.tolist()


def test_search_is_exact_where_float32_cannot_tell_the_best() -> None:
    rng = np.random.default_rng(5)
    vectors = unit(0) + 3e-4 * rng.standard_normal((2000, DIM))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    store = make("sqlite")
    for i, v in enumerate(vectors):
        store.add(str(i), v, {}, "t")
    for query in vectors[:20]:
        scores = (vectors.astype(np.float64) * query.astype(np.float64)).sum(axis=1)
        best = np.argsort(-scores, kind="stable")[:10]
        assert [int(e.content) for e, _ in store.search(query, 10)] == best.tolist()


@every_kind
@pytest.mark.parametrize("top_k", [0, -1])
def test_nothing_is_asked_nothing_is_found(kind: str, top_k: int) -> None:
    store = make(kind)
    store.add("x", unit(0), {}, "t")
    assert store.search(unit(0), top_k) == []


@every_kind
def test_a_zero_query_finds_the_oldest(kind: str) -> None:
    store = make(kind)
    ids = [store.add(str(i), unit(i), {}, "t") for i in range(5)]
    assert [e.id for e, _ in store.search(vector(), 3)] == ids[:3]


@every_kind
def test_a_rare_filter_finds_what_is_far_from_the_query(kind: str) -> None:
    store = make(kind)
    for i in range(300):
        store.add(str(i), unit(i), {"rare": i in (7, 250)}, "t")
    worst = -(unit(7) + unit(250)) / np.linalg.norm(unit(7) + unit(250))
    found = store.search(worst.astype(np.float32), 5, {"rare": True})
    assert {entry.content for entry, _ in found} == {"7", "250"}


@every_kind
def test_a_query_that_is_no_vector_is_refused_alike(kind: str) -> None:
    store = make(kind)
    store.add("x", unit(0), {}, "t")
    for query in (np.full(DIM, np.nan), np.full(DIM, np.inf), np.full(DIM, 1e300)):
        with pytest.raises(ValueError, match=r"^a vector with numbers that are not finite$"):
            store.search(query, 3)
    with pytest.raises(ValueError, match=rf"^a vector of shape \({DIM + 1},\), expected"):
        store.search(np.ones(DIM + 1, dtype=np.float32), 3)


@every_kind
def test_a_filter_finds_what_was_kept_in_valid_unicode_and_lists(kind: str) -> None:
    store = make(kind)
    store.add("x", unit(0), {"a": "\ud800", "b": (1, 2)}, "t")
    for wanted in ({"a": "\ud800"}, {"a": "\ufffd"}, {"b": (1, 2)}, {"b": [1, 2]}):
        assert len(store.search(unit(0), 3, wanted)) == 1
