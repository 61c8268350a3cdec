"""What draws rollouts, chosen by the recipe; the vLLM half with a stand-in for the server."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest
from weights_fakes import write_safetensors

from agemem_eval.harness.errors import UsageError
from agemem_eval.harness.types import ChatMessage, Request, Sampling
from agemem_eval.policies.recipe import make_recipe
from agemem_eval.policies.sampler import check_sampler, make_sampler

FAKE = Path(__file__).parent.parent / "support" / "fake_vllm"


@pytest.fixture(autouse=True)
def fake_vllm(monkeypatch):
    """The stand-in is what `import vllm` finds, here and in the server's process."""
    monkeypatch.syspath_prepend(str(FAKE))
    monkeypatch.setenv("PYTHONPATH", str(FAKE))
    monkeypatch.setenv("FAKE_VLLM", "{}")
    monkeypatch.delitem(sys.modules, "vllm", raising=False)


@pytest.fixture
def base(tmp_path):
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "config.json").write_text('{"hidden_size": 8, "num_hidden_layers": 2}')
    write_safetensors(folder / "model.safetensors", {"w": ([9], b"a" * 9)})
    return folder


class Learner:
    """Writes an adapter that differs each time."""

    loaded = None

    def __init__(self, rank: int = 4) -> None:
        self.rank, self.saved = rank, []

    def save(self, folder: Path) -> None:
        folder.mkdir()
        config = {"peft_type": "LORA", "r": self.rank}
        (folder / "adapter_config.json").write_text(json.dumps(config))
        name = "base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight"
        data = bytes([len(self.saved)]) * self.rank * 8
        write_safetensors(folder / "adapter_model.safetensors", {name: ([self.rank, 8], data)})
        self.saved.append(folder)


def recipe_of(base: Path, *, lora: dict | None = None, **sampler):
    return make_recipe(
        {
            "name": "r",
            "model": {"path": str(base), "lora": lora},
            "grpo": {},
            "sampler": {"engine": "vllm", **sampler},
        }
    )


def sampler_of(base, learner, tmp_path, **sampler):
    recipe = recipe_of(base, lora={"rank": 4}, **sampler)
    return make_sampler(recipe, learner, base=base, scratch=tmp_path / "scratch")


def ask(text: str = "Where?", seed: int | None = 1) -> Request:
    return Request([ChatMessage("user", text)], Sampling(max_tokens=4, seed=seed))


async def said(sampler, request: Request | None = None) -> dict:
    return json.loads((await sampler.generate(request or ask())).text)


def log_of(tmp_path: Path) -> str:
    (log,) = (tmp_path / "scratch/.cache/vllm").glob("*.log")
    return log.read_text()


async def test_each_sync_loads_a_new_adapter_and_unloads_the_one_before(base, tmp_path):
    learner = Learner()
    sampler = sampler_of(base, learner, tmp_path)
    names = []
    for _ in range(3):
        await sampler.sync()
        names.append((await said(sampler))["model"])
    assert len(set(names)) == 3
    assert all(name.startswith("tiny-") for name in names)
    log = log_of(tmp_path)
    assert [log.count(f"unloaded {name}") for name in names] == [1, 1, 0]
    assert [folder.exists() for folder in learner.saved] == [False, False, True]
    await sampler.close()
    assert not learner.saved[-1].exists()


async def test_the_first_request_is_drawn_with_the_adapter_though_nobody_synced(base, tmp_path):
    learner = Learner()
    sampler = sampler_of(base, learner, tmp_path)
    assert (await said(sampler))["model"].startswith("tiny-")
    assert len(learner.saved) == 1
    await sampler.close()


async def test_a_server_that_died_is_given_the_newest_adapter_again(base, tmp_path):
    sampler = sampler_of(base, Learner(), tmp_path)
    await sampler.sync()
    await sampler.sync()
    before = await said(sampler)
    os.kill(before["pid"], signal.SIGKILL)
    await sampler._server._server.supervisor._process.ended.wait()
    after = await said(sampler)
    assert after["model"] == before["model"]
    assert after["pid"] != before["pid"]
    await sampler.close()


async def test_the_server_is_started_for_the_rank_that_is_trained(base, tmp_path):
    sampler = sampler_of(base, Learner(), tmp_path)
    arguments = " ".join((await said(sampler))["arguments"])
    assert "--enable-lora" in arguments
    assert "--max-lora-rank 8 " in arguments  # the least that vLLM takes
    assert "--dtype float32" in arguments
    await sampler.close()


async def test_a_larger_adapter_than_the_recipe_says_is_refused(base, tmp_path):
    sampler = sampler_of(base, Learner(rank=9), tmp_path)
    with pytest.raises(UsageError, match="has rank 9"):
        await sampler.sync()
    await sampler.close()


async def test_turns_of_one_seed_draw_different_numbers_but_always_the_same(base, tmp_path):
    sampler = sampler_of(base, Learner(), tmp_path)
    seeds = []

    async def generate(request):
        seeds.append(request.sampling.seed)

    sampler._count, sampler._server.generate = 1, generate
    for text, seed in (("a", 1), ("b", 1), ("a", 1), ("a", 2), ("a", None)):
        await sampler.generate(ask(text, seed))
    one, other, again, second, none = seeds
    assert one == again
    assert len({one, other, second}) == 3
    assert none is None
    await sampler.close()


def test_weights_that_are_trained_whole_cannot_be_given_to_a_server(base):
    with pytest.raises(UsageError, match=r"add model\.lora"):
        check_sampler(recipe_of(base))


@pytest.mark.parametrize(
    ("engine", "key", "near"),
    [("vllm", "max_model_length", "max_model_len"), ("hf", "prefil_tokens", "prefill_tokens")],
)
def test_an_unknown_option_of_the_engine_is_refused_with_the_nearest_one(base, engine, key, near):
    recipe = recipe_of(base, lora={"rank": 4}, engine=engine, options={key: "1"})
    with pytest.raises(UsageError, match=rf"sampler\.options\.{key}.*{near}"):
        check_sampler(recipe)


@pytest.mark.parametrize("key", ["lora", "seed", "max_lora_rank"])
def test_what_the_recipe_decides_is_no_option(base, key):
    with pytest.raises(UsageError, match=rf"sampler\.options\.{key}"):
        check_sampler(recipe_of(base, lora={}, options={key: "1"}))


def test_a_bad_value_of_an_option_is_refused(base):
    with pytest.raises(UsageError, match="prefill_tokens"):
        check_sampler(recipe_of(base, engine="hf", options={"prefill-tokens": "many"}))


def test_a_rank_beyond_what_vllm_takes_is_refused(base):
    with pytest.raises(UsageError, match="max_lora_rank"):
        check_sampler(recipe_of(base, lora={"rank": 1000}))
