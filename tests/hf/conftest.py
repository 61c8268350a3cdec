"""These tests need the extra `hf`; models are made here, tiny and with random weights."""

from __future__ import annotations

import importlib.util
import random
from pathlib import Path
from typing import Any

import pytest

HERE = importlib.util.find_spec("torch") and importlib.util.find_spec("transformers")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("hf") is not None and not HERE:
            item.add_marker(pytest.mark.skip(reason="needs the extra hf"))


@pytest.fixture(scope="session", autouse=True)
def _one_core() -> None:
    if HERE:
        import torch

        torch.set_num_threads(1)  # for so small a model more are slower


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen2 of two layers, with a tokenizer and a chat template."""
    from tiny_model import make_model

    return make_model(tmp_path_factory.mktemp("models") / "tiny", hidden=64)


@pytest.fixture(scope="session")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tiny_model import make_adapter

    folder = tmp_path_factory.mktemp("adapters") / "steps-10"
    return make_adapter(folder, "tiny", hidden=64, card="agemem")


@pytest.fixture(scope="session")
def network(tiny: Path) -> Any:
    """The weights of `tiny` as transformers loads them: the witness of what is decoded."""
    import torch
    import transformers

    return transformers.AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32).eval()


@pytest.fixture(scope="session")
def ragged(network: Any) -> list[tuple[int, ...]]:
    """Prompts of 1 to 90 tokens; some begin alike, and one comes three times."""
    draws = random.Random(7)
    vocabulary = range(3, network.config.vocab_size)

    def some(length: int) -> tuple[int, ...]:
        return tuple(draws.choices(vocabulary, k=length))

    prompts = [some(draws.randrange(1, 90)) for _ in range(20)] + [some(1)]
    beginning = some(50)
    return [*prompts, *(beginning + some(n) for n in (1, 5, 30)), *[prompts[4]] * 3]
