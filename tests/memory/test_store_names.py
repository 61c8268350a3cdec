"""The names that `--store` takes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from store_kinds import DIM, EMBEDDER, QDRANT, USEARCH, unit

from agemem_eval.baselines.stores import check_store, open_store
from agemem_eval.harness.errors import MissingExtraError, UsageError


def test_an_unknown_store_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"unknown store 'sqlit'; did you mean 'sqlite'\?"):
        open_store("sqlit", None, embedder=EMBEDDER, dim=DIM)


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("", "no address"),
        ("localhost:6333", "no address"),
        ("ftp://host", "no address"),
        ("http://", "no address"),
        ("http://host:port", "no address"),
        ("http://[::1", "no address"),
        ("http://host:65536", "no address"),
        ("http://host:0", "no address"),
        ("http://host:6333/secret", "no address"),
        ("http://host:secret", "no address"),
        ("http://me:secret@host:6333", "QDRANT_API_KEY"),
        ("http://me:secret@host:99999", "QDRANT_API_KEY"),
        ("http://me:secret@[::1", "QDRANT_API_KEY"),
        ("http:/me:secret@host", "QDRANT_API_KEY"),
        ("me:secret@host", "QDRANT_API_KEY"),
        ("http://host:6333/#secret", "QDRANT_API_KEY"),
        ("http://host:6333?api_key=secret", "QDRANT_API_KEY"),
    ],
)
def test_a_server_with_no_address_or_a_secret_in_it(address: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem) as caught:
        check_store(f"qdrant:{address}")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "address", ["http://host", "https://a-b.example.org:6333/", "http://[::1]:6333"]
)
def test_an_address_of_a_server(address: str) -> None:
    pytest.importorskip("qdrant_client", reason="the extra `qdrant` is not installed")
    check_store(f"qdrant:{address}")


def test_an_address_without_the_name_of_its_store_is_not_repeated() -> None:
    with pytest.raises(UsageError, match="unknown store 'http'") as caught:
        check_store("http://me:secret@host")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "module", "extra"),
    [
        ("sqlite+usearch", "usearch", "ann"),
        ("qdrant", "qdrant_client", "qdrant"),
        ("qdrant:http://localhost:6333", "qdrant_client", "qdrant"),
    ],
)
def test_a_store_whose_package_is_missing(
    kind: str, module: str, extra: str, monkeypatch: Any
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"agemem-eval\[{extra}\]"):
        open_store(kind, None, embedder=EMBEDDER, dim=DIM)


@pytest.mark.parametrize("kind", ["sqlite", USEARCH, QDRANT])
def test_a_store_is_opened_by_its_name(kind: str, tmp_path: Path) -> None:
    check_store(kind)
    for directory in (None, tmp_path):
        store = open_store(kind, directory, embedder=EMBEDDER, dim=DIM, seed=3)
        store.open("s")
        id_ = store.add("x", unit(0), {}, "t")
        assert [entry.id for entry, _ in store.search(unit(0), 3)] == [id_]
        store.close()
