"""Snapshots of a memory store: their format, their moves between stores, what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard
from store_kinds import ALL, close_all, make, unit, vector

from agemem_eval.baselines import entries
from agemem_eval.baselines.store import SNAPSHOT_FORMAT
from agemem_eval.baselines.stores import Store
from agemem_eval.harness.errors import DataError


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    close_all()


every_kind = pytest.mark.parametrize("kind", ALL)


def everything(store: Store) -> bytes:
    return zstandard.decompress(store.snapshot())


@every_kind
def test_a_snapshot_moves_between_stores_and_scopes(kind: str, tmp_path: Path) -> None:
    store = make(kind)
    store.add("x \ud800 🦜", unit(1), {"a": [1, None, {"b": 0.5}]}, "t1")
    other = make(kind, tmp_path)
    other.open("elsewhere")
    other.add("old", unit(2), {}, "t")
    other.restore(store.snapshot())
    assert other.entries() == store.entries()
    assert everything(other) == everything(store)
    other.close()
    again = make(kind, tmp_path)
    again.open("elsewhere")
    assert again.entries() == store.entries()


@every_kind
def test_the_snapshot_format_is_what_the_docstring_says(kind: str) -> None:
    store = make(kind)
    store.add("x", vector(1), {}, "now")
    value = json.loads(everything(store))
    assert set(value) == {"format", "embedder", "dim", "added", "entries"}
    assert value["format"] == SNAPSHOT_FORMAT
    [entry] = value["entries"]
    assert set(entry) == {"id", "content", "metadata", "created", "updated", "vector"}


def _changed(**changes: Any) -> bytes:
    store = make("sqlite")
    store.add("x", unit(0), {}, "t")
    value = json.loads(everything(store))
    entry = value["entries"][0]
    for key, new in changes.items():
        (entry if key in entry else value)[key] = new
    return zstandard.compress(json.dumps(value).encode())


_TWICE = json.loads(zstandard.decompress(_changed()))["entries"] * 2


@every_kind
@pytest.mark.parametrize(
    "garbage",
    [
        b"garbage",
        b"\x80\x04K\x01.",
        zstandard.compress(b"not json"),
        zstandard.compress(b"[]"),
        zstandard.compress(b"{}"),
        zstandard.compress(b"\xff\xfe"),
        zstandard.compress(b"[" * 100_000),
        _changed()[:-5],
        _changed() + b"x",
        _changed() + b"x" * (1 << 16),
        _changed() + _changed(),
        _changed(added=0),
        _changed(added=1 << 53),
        _changed(added=10**30),
        _changed(dim="8"),
        _changed(format="agemem-store/9"),
        _changed(added=-1),
        _changed(added="1"),
        _changed(entries=5),
        _changed(entries=[5]),
        _changed(entries=_TWICE),
        _changed(vector="AAAA"),
        _changed(vector="*"),
        _changed(vector="AADAfwAAwH8AAMB/AADAfwAAwH8AAMB/AADAfwAAwH8="),
        _changed(content=7),
        _changed(metadata=[]),
        _changed(embedder='{"name": "other"}'),
    ],
)
def test_a_bad_snapshot_is_refused_and_changes_nothing(kind: str, garbage: bytes) -> None:
    store = make(kind)
    store.add("kept", unit(0), {}, "t")
    with pytest.raises(DataError, match=r"^[^\n]*$"):
        store.restore(garbage)
    assert [e.content for e in store.entries()] == ["kept"]


def test_a_snapshot_that_claims_to_be_endless_is_refused_unread() -> None:
    bomb = zstandard.ZstdCompressor().compressobj(size=1 << 40)
    frame = bomb.compress(b"x") + bomb.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    with pytest.raises(DataError, match="larger than"):
        make("sqlite").restore(frame)


@pytest.mark.parametrize("target", ALL)
@pytest.mark.parametrize("source", ALL)
def test_a_snapshot_moves_between_the_kinds(source: str, target: str, tmp_path: Path) -> None:
    one, two = make(source), make(target, tmp_path)
    for store in (one, two):
        store.open("scope")
    ids = [one.add(f"fact {i}", unit(i), {"n": [i, i / 3]}, f"step {i}") for i in range(40)]
    for id_ in ids[::3]:
        one.delete(id_)
    one.update(ids[1], "changed", unit(77), {"n": True}, "step 40")
    two.restore(one.snapshot())
    assert two.snapshot() == one.snapshot()
    assert two.search(unit(77), 3) == one.search(unit(77), 3)
    # and what follows is the same: ids, order, scores
    assert one.add("next", unit(9), {}, "t") == two.add("next", unit(9), {}, "t")
    assert two.snapshot() == one.snapshot()


def test_a_snapshot_that_does_not_tell_its_size_is_unpacked_up_to_a_limit(monkeypatch: Any) -> None:
    monkeypatch.setattr(entries, "MAX_SNAPSHOT_BYTES", 1000)
    frame = zstandard.ZstdCompressor().compressobj()
    packed = frame.compress(b" " * 1001) + frame.flush()
    with pytest.raises(DataError, match="larger than"):
        make("sqlite").restore(packed)


@every_kind
def test_a_snapshot_with_vectors_of_another_length_tells_of_the_embedder(kind: str) -> None:
    with pytest.raises(DataError, match=r"vectors of 9 dimensions.*same --embedder"):
        make(kind).restore(_changed(dim=9))
