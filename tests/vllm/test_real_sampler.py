"""The policy drawn by a real vLLM server: each sync is heard in what it answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import pytest_asyncio
from tiny_model import make_adapter, make_model

from agemem_eval.harness.types import ChatMessage, Request, Sampling
from agemem_eval.policies.recipe import make_recipe
from agemem_eval.policies.sampler import make_sampler

from .processes import alive, needs_vllm

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.asyncio(loop_scope="module"),
    needs_vllm,
]

QUESTIONS = ("Where is the apple?", "Put a clean mug on the desk.")


class Learner:
    """Its adapter is another after each update."""

    loaded = None

    def __init__(self) -> None:
        self.seed, self.folder = 0, None

    def save(self, folder: Path) -> None:
        self.folder = make_adapter(folder, "somewhere/else", seed=self.seed)


def ask(text: str, *, temperature: float = 1.0, seed: int | None = 3) -> Request:
    said = [ChatMessage("user", text)]
    return Request(said, Sampling(12, temperature, seed=seed), want_tokens=True)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("sampler") / "base")


@pytest.fixture(scope="module")
def learner():
    return Learner()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sampler(base, learner):
    recipe = make_recipe(
        {
            "name": "r",
            "model": {"path": str(base), "lora": {"rank": 4, "alpha": 8}},
            "grpo": {},
            "sampler": {"engine": "vllm", "options": {"args": '["--enforce-eager"]'}},
        }
    )
    found = make_sampler(recipe, learner, base=base, scratch=base.parent / "scratch")
    yield found
    server = found._server._server
    process = server.supervisor._process if server is not None else None
    await found.close()
    assert process is None or alive(process.pid) == []


def logprobs_of(base: Path, adapter: Path, prompt, drawn) -> list[float]:
    """What transformers says, with the adapter's product added to the weights by hand."""
    import torch
    import transformers
    from safetensors.torch import load_file

    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    weights = load_file(adapter / "adapter_model.safetensors")
    said = json.loads((adapter / "adapter_config.json").read_text())
    for name, first in weights.items():
        if ".lora_A." in name:
            second = weights[name.replace(".lora_A.", ".lora_B.")]
            place = name.removeprefix("base_model.model.").replace(".lora_A", "")
            change = (said["lora_alpha"] / said["r"]) * second @ first
            with torch.no_grad():
                model.get_parameter(place).add_(change)
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *drawn]])).logits[0, len(prompt) - 1 : -1]
    return logits.log_softmax(-1).gather(1, torch.tensor(drawn)[:, None])[:, 0].tolist()


async def test_after_each_sync_the_server_draws_as_the_new_adapter_says(sampler, learner, base):
    heard = []
    for seed in (1, 2, 3):
        learner.seed = seed
        await sampler.sync()
        reply = await sampler.generate(ask(QUESTIONS[0]))
        told = logprobs_of(base, learner.folder, reply.prompt_ids, reply.token_ids)
        assert reply.logprobs == pytest.approx(told, abs=2e-3)
        again = await sampler.generate(ask(QUESTIONS[0]))
        assert again.token_ids == reply.token_ids
        heard.append(reply.token_ids)
    assert len(set(heard)) == 3


async def test_an_adapter_that_comes_back_draws_as_before(sampler, learner):
    heard = []
    for seed in (1, 2, 1):
        learner.seed = seed
        await sampler.sync()
        reply = await sampler.generate(ask(QUESTIONS[1]))
        heard.append((reply.token_ids, [round(value, 3) for value in reply.logprobs]))
    assert heard[0] == heard[2] != heard[1]


async def test_the_server_holds_one_adapter_after_many_syncs(sampler):
    for _ in range(3):
        await sampler.sync()
    await sampler.generate(ask(QUESTIONS[0]))
    process = sampler._server._server.supervisor._process
    async with (
        process.launch.session() as session,
        session.get(f"{process.launch.url}/v1/models") as response,
    ):
        names = [model["id"] for model in (await response.json())["data"]]
    assert len(names) == 2  # the base, and the newest adapter
    assert names[0] == "base"


async def test_prompt_and_completion_ids_are_those_of_the_tokenizer(sampler, base):
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    reply = await sampler.generate(ask(QUESTIONS[0]))
    expected = tokenizer.apply_chat_template(
        [{"role": "user", "content": QUESTIONS[0]}], add_generation_prompt=True, return_dict=False
    )
    assert list(reply.prompt_ids) == expected
    assert len(reply.token_ids) == reply.usage.completion_tokens == len(reply.logprobs)
    assert tokenizer.decode(reply.token_ids, skip_special_tokens=True) == reply.text
    assert (reply.token_ids[-1] == tokenizer.eos_token_id) == (reply.finish == "stop")


async def test_logprobs_are_the_models_own_whatever_the_temperature(sampler, learner, base):
    reply = await sampler.generate(ask(QUESTIONS[0], temperature=0.5))
    told = logprobs_of(base, learner.folder, reply.prompt_ids, reply.token_ids)
    assert reply.logprobs == pytest.approx(told, abs=2e-3)


async def test_one_seed_draws_differently_for_different_prompts(sampler):
    one, other = [await sampler.generate(ask(text, temperature=2.0)) for text in QUESTIONS]
    assert one.token_ids != other.token_ids
