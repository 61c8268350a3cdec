"""Every kind of memory store against a plain dict, and its neighbours."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
)
from store_kinds import ALL, DIM, QDRANT, USEARCH, close_all, make, unit

from agemem_eval.baselines.store import valid_unicode
from agemem_eval.harness.errors import DataError


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    close_all()


every_kind = pytest.mark.parametrize("kind", ALL)


# --- against a model ----------------------------------------------------------------------------

_json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.text(max_size=3)),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=4,
)
_metadata = st.dictionaries(st.sampled_from(["a", "b"]), _json, max_size=2)
_text = st.text(st.characters(exclude_categories=()), max_size=8)
_seeds = st.integers(0, 5)  # few different vectors, so that there are ties


class StoreAgainstDict(RuleBasedStateMachine):
    """Every operation on the store and on a dict; reopening and restoring in between."""

    kind = "sqlite"
    ids = Bundle("ids")

    @initialize()
    def start(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name)
        self.store = make(self.kind, self.path)
        self.store.open("mine")
        self.twin = make(self.kind, self.path)
        self.twin.open("mine")
        self.other = make(self.kind, self.path)
        self.other.open("theirs")
        self.other.add("theirs", unit(0), {}, "t")
        self.model: dict[str, tuple[str, dict[str, Any], int]] = {}
        self.given: set[str] = set()

    @rule(target=ids, content=_text, seed=_seeds, metadata=_metadata)
    def add(self, content: str, seed: int, metadata: dict[str, Any]) -> str:
        id_ = self.store.add(content, unit(seed), metadata, "t1")
        assert id_ not in self.given
        self.given.add(id_)
        self.model[id_] = (valid_unicode(content), valid_unicode(metadata), seed)
        return id_

    @rule(id_=ids, content=_text, seed=st.none() | _seeds, metadata=_metadata)
    def update(self, id_: str, content: str, seed: int | None, metadata: dict[str, Any]) -> None:
        new = None if seed is None else unit(seed)
        if id_ not in self.model:
            with pytest.raises(KeyError):
                self.store.update(id_, content, new, metadata, "t2")
            return
        self.store.update(id_, content, new, metadata, "t2")
        kept = self.model[id_][2] if seed is None else seed
        self.model[id_] = (valid_unicode(content), valid_unicode(metadata), kept)

    @rule(id_=consumes(ids))
    def delete(self, id_: str) -> None:
        if id_ in self.model:
            self.store.delete(id_)
            del self.model[id_]
        with pytest.raises(KeyError):
            self.store.delete(id_)

    @rule(seed=_seeds, top_k=st.integers(1, 4), wanted=_metadata)
    def search(self, seed: int, top_k: int, wanted: dict[str, Any]) -> None:
        def same(metadata: dict[str, Any]) -> bool:
            return all(k in metadata and text(metadata[k]) == text(v) for k, v in wanted.items())

        def text(value: Any) -> str:  # JSON tells true from 1
            return json.dumps(value, sort_keys=True)

        query = unit(seed)
        scored = [
            (-float(unit(s).astype(np.float64) @ query.astype(np.float64)), place, id_)
            for place, (id_, (_, metadata, s)) in enumerate(self.model.items())
            if same(metadata)
        ]
        found = self.store.search(query, top_k, wanted)
        expected = sorted((round(score, 9), place, id_) for score, place, id_ in scored)[:top_k]
        assert [entry.id for entry, _ in found] == [id_ for *_, id_ in expected]
        for (_, score), (negated, *_) in zip(found, expected, strict=True):
            assert score == pytest.approx(-negated, abs=1e-6)

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = make(self.kind, self.path)
        self.store.open("mine")

    @rule()
    def switch(self) -> None:
        """Go on in another store of the same scope, which has to follow what was done."""
        self.store, self.twin = self.twin, self.store

    @rule()
    def round_trip(self) -> None:
        snapshot = self.store.snapshot()
        self.store.restore(b"")
        assert len(self.store) == 0
        self.store.restore(snapshot)
        assert self.store.snapshot() == snapshot

    @rule()
    def disturb(self) -> None:
        self.other.add("theirs", unit(1), {}, "t")

    @invariant()
    def same_entries(self) -> None:
        entries = self.store.entries()
        assert len(self.store) == len(entries) == len(self.model)
        assert [(e.id, e.content, e.metadata) for e in entries] == [
            (id_, content, metadata) for id_, (content, metadata, _) in self.model.items()
        ]
        for id_ in self.model:
            entry = self.store.get(id_)
            assert entry is not None
            assert entry.id == id_

    def teardown(self) -> None:
        self.store.close()
        self.twin.close()
        self.other.close()
        self.folder.cleanup()


class UsearchAgainstDict(StoreAgainstDict):
    kind = "sqlite+usearch"


class QdrantAgainstDict(StoreAgainstDict):
    kind = "qdrant"


def machine(kind: type[StoreAgainstDict], examples: int, marks: list[Any]) -> Any:
    case = kind.TestCase
    case.settings = settings(max_examples=examples, stateful_step_count=30, deadline=None)
    for mark in marks:
        case = mark(case)
    return case


TestSqlite = machine(StoreAgainstDict, 12, [])
TestUsearch = machine(UsearchAgainstDict, 8, list(USEARCH.marks))
TestQdrant = machine(QdrantAgainstDict, 4, list(QDRANT.marks))


# --- details ------------------------------------------------------------------------------------


@every_kind
def test_metadata_are_kept_by_value(kind: str) -> None:
    store = make(kind)
    metadata = {"tags": ["a"]}
    store.add("x", unit(0), metadata, "t")
    metadata["tags"].append("b")
    assert store.entries()[0].metadata == {"tags": ["a"]}


@every_kind
def test_a_vector_of_wrong_shape_changes_nothing(kind: str) -> None:
    store = make(kind)
    store.add("x", unit(0), {}, "t")
    with pytest.raises(ValueError, match="shape"):
        store.add("y", np.zeros(DIM + 1, dtype=np.float32), {}, "t")
    assert [e.content for e in store.entries()] == ["x"]
    store.add("z", unit(0), {}, "t")
    assert [e.content for e in store.entries()] == ["x", "z"]


@every_kind
def test_ids_are_uuids_by_seed_scope_and_count(kind: str) -> None:
    def ids(seed: int, scope: str) -> list[str]:
        store = make(kind, seed=seed)
        store.open(scope)
        return [store.add("x", unit(0), {}, "t") for _ in range(3)]

    assert ids(1, "a") == ids(1, "a")
    assert len({*ids(1, "a"), *ids(2, "a"), *ids(1, "b")}) == 9
    assert all(len(id_) == 36 and id_.count("-") == 4 for id_ in ids(1, "a"))


@every_kind
def test_two_stores_on_one_scope_see_each_other(kind: str, tmp_path: Path) -> None:
    one, two = make(kind, tmp_path), make(kind, tmp_path)
    for store in (one, two):
        store.open("shared")
    first = one.add("first", unit(1), {}, "t")
    second = two.add("second", unit(2), {}, "t")
    assert first != second
    assert [e.content for e in one.entries()] == ["first", "second"]
    one.delete(second)
    assert two.get(second) is None
    assert [e.id for e, _ in two.search(unit(2), 5)] == [first]


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("\ud800", "\ufffd"),
        ("a\udc00b", "a\ufffdb"),
        ("\ud83d\ude00", "😀"),
        ({"\udfff": ["\udfff", 1]}, {"\ufffd": ["\ufffd", 1]}),
        ("\ufeffbom", "\ufeffbom"),
    ],
)
def test_lone_surrogates(text: Any, valid: Any) -> None:
    assert valid_unicode(text) == valid


@every_kind
def test_a_filter_tells_true_from_one_at_any_depth(kind: str) -> None:
    store = make(kind)
    values = [True, 1, 1.0, [True], [1], {"x": [False]}, {"x": [0]}, None, "1", 0.5]
    for value in values:
        store.add("x", unit(0), {"a": value}, "t")

    def found(wanted: Any) -> list[Any]:
        return sorted(repr(e.metadata["a"]) for e, _ in store.search(unit(0), 20, {"a": wanted}))

    assert found(True) == ["True"]
    assert found(1) == found(1.0) == ["1", "1.0"]
    assert found([True]) == ["[True]"]
    assert found([1.0]) == ["[1]"]
    assert found({"x": [0]}) == ["{'x': [0]}"]
    assert found(None) == ["None"]
    assert found("1") == ["'1'"]
    assert found(0.5) == ["0.5"]
    assert found("x") == found({}) == found([]) == []
    assert store.search(unit(0), 20, {"b": None}) == []


@every_kind
def test_a_vector_that_is_not_finite_changes_nothing(kind: str) -> None:
    store = make(kind)
    id_ = store.add("x", unit(0), {}, "t")
    for bad in (np.nan, np.inf, 1e300):  # the last one becomes infinite in float32
        with pytest.raises(ValueError, match="finite"):
            store.add("y", np.full(DIM, bad), {}, "t")
        with pytest.raises(ValueError, match="finite"):
            store.update(id_, "y", np.full(DIM, bad), {}, "t")
    assert [e.content for e in store.entries()] == ["x"]


@every_kind
def test_a_scope_of_another_embedder(kind: str, tmp_path: Path) -> None:
    store = make(kind, tmp_path)
    store.open("s")
    store.add("x", unit(0), {}, "t")
    other = make(kind, tmp_path, embedder={"name": "another"})
    with pytest.raises(DataError, match="another"):
        other.open("s")
    other.open("fresh")
    assert len(other) == 0


@every_kind
def test_many_scopes_are_kept_apart(kind: str, tmp_path: Path) -> None:
    number_of_scopes = 8 if kind == "qdrant" else 64  # Qdrant's local mode waits for the disk
    stores = [make(kind, tmp_path) for _ in range(number_of_scopes)]
    for number, store in enumerate(stores):
        store.open(f"scope {number}")
    for turn in range(3):
        for number, store in enumerate(stores):
            store.add(f"{number}.{turn}", unit(turn), {}, "t")
    for number, store in enumerate(stores):
        assert [e.content for e in store.entries()] == [f"{number}.{turn}" for turn in range(3)]
        assert [e.content for e, _ in store.search(unit(1), 1)] == [f"{number}.1"]
    stores[0].restore(b"")
    assert [len(store) for store in stores] == [0] + [3] * (number_of_scopes - 1)
