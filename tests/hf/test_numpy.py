"""`numpy:` beside transformers: logits, prompts, tokens, whole replies."""

from __future__ import annotations

import asyncio
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_model import make_model as make_weights
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers

from agemem_eval import policies
from agemem_eval.harness.models import make_model
from agemem_eval.harness.models.inprocess.decoding import Prompt
from agemem_eval.harness.models.numpy.cache import SlotCache
from agemem_eval.harness.models.numpy.decoder import Decoder
from agemem_eval.harness.models.numpy.network import load_network
from agemem_eval.harness.models.numpy.tokenizer import FileTokenizer, stop_ids
from agemem_eval.harness.tools import Tool, ToolArguments, ToolCall
from agemem_eval.harness.types import ChatMessage, Request, Sampling

pytestmark = pytest.mark.hf
KINDS = [
    ("qwen2", True, {"num_key_value_heads": 2}),
    ("qwen2", False, {"num_key_value_heads": 1, "rope_theta": 1e6}),
    ("llama", True, {"num_key_value_heads": 4}),
    ("llama", False, {"num_key_value_heads": 2, "head_dim": 24}),
]
VOCABULARY, PROMPTS = 500, 250  # of each of the four: 1,000


class Query(ToolArguments):
    query: str


RETRIEVE = Tool("Retrieve_memory", "Look something up.", Query, kind="ltm")


def random_model(kind: str, tied: bool, more: dict[str, Any], folder: Path) -> Any:
    """Of transformers, with random weights, biases and norms; saved to the folder."""
    import torch
    import transformers

    torch.manual_seed(3)
    config = getattr(transformers, f"{kind.capitalize()}Config")(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=160,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=1024,
        tie_word_embeddings=tied,
        bos_token_id=None,
        eos_token_id=2,
        **more,
    )
    model = getattr(transformers, f"{kind.capitalize()}ForCausalLM")(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn_like(weight) * 0.15 + (weight.dim() == 1))
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize(("kind", "tied", "more"), KINDS)
def test_logits_of_a_thousand_prompts_are_those_of_transformers(
    kind: str, tied: bool, more: dict[str, Any], tmp_path: Path
) -> None:
    import torch

    model = random_model(kind, tied, more, tmp_path)
    network = load_network(tmp_path)
    cache = SlotCache(network.sizes)
    cache.resize(2, 1024, [], 0)
    draws, worst, alike = np.random.default_rng(5), 0.0, 0
    for number in range(PROMPTS):
        length = int(draws.integers(1, 120)) if number % 25 else 1000
        ids = draws.integers(VOCABULARY, size=length).tolist()
        with torch.inference_mode():
            expected = model(torch.tensor([ids])).logits[0].numpy()
        cut = int(draws.integers(0, length))  # read at once, or in two parts
        if cut:
            (part,) = network.forward(cache, [1], [0], [ids[:cut]])
            worst = max(worst, float(np.abs(part - expected[cut - 1]).max()))
        (logits,) = network.forward(cache, [1], [cut], [ids[cut:]])
        worst = max(worst, float(np.abs(logits - expected[-1]).max()))
        alike += int(logits.argmax() == expected[-1].argmax())
    assert np.abs(expected).max() > 3  # they are not all about 0
    assert worst < 1e-4
    assert alike >= PROMPTS - 1


@pytest.mark.parametrize("name", ["nano-sft", "nano", "nano-answer-only"])
def test_logits_of_the_packages_checkpoints_are_those_of_transformers(name: str) -> None:
    import torch
    import transformers

    folder = Path(policies.__file__).parent / "nano" / name
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    network = load_network(folder)
    cache = SlotCache(network.sizes)
    cache.resize(1, 4096, [], 0)
    draws, worst = np.random.default_rng(7), 0.0
    for length in (1, 2, *draws.integers(3, 700, size=15).tolist(), 4000):
        ids = draws.integers(model.config.vocab_size, size=length).tolist()
        with torch.inference_mode():
            expected = model(torch.tensor([ids])).logits[0, -1].numpy()
        (logits,) = network.forward(cache, [0], [0], [ids])
        worst = max(worst, float(np.abs(logits - expected).max()))
    assert np.abs(expected).max() > 3
    assert worst < 1e-4


@pytest.mark.parametrize(("kind", "tied", "more"), KINDS[1:3])
def test_greedy_replies_of_a_batch_are_those_of_generate(
    kind: str, tied: bool, more: dict[str, Any], tmp_path: Path
) -> None:
    import torch

    model = random_model(kind, tied, more, tmp_path)
    draws = np.random.default_rng(6)
    prompts = [draws.integers(VOCABULARY, size=n).tolist() for n in (1, 7, 30, 64, 65, 200)]
    decoder = Decoder(load_network(tmp_path), (2,), max_rows=4)
    replies = decoder.generate([Prompt(tuple(ids), 16) for ids in prompts])
    for ids, reply in zip(prompts, replies, strict=True):
        row = torch.tensor([ids])
        out = model.generate(
            row, attention_mask=torch.ones_like(row), max_new_tokens=16, do_sample=False,
            pad_token_id=0,
        )  # fmt: skip
        assert list(reply.tokens) == out[0, len(ids) :].tolist()


# --- whole checkpoints --------------------------------------------------------------------------

# How Qwen2.5's tokenizer.json splits a text.
QWEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEMPLATES = {
    "own": None,
    "rich": (
        "{%- set n = namespace(first=true) -%}\n{{ bos_token or '' }}\n"
        "{% for m in messages %}\n    {%- if m.role == 'system' and n.first %}\n"
        "[{{ m.content | trim }}]\n    {%- else %}\n{{ m['role'] }}: {{ m.content }}"
        "{{ eos_token }}\n    {%- endif %}{% set n.first = false %}\n{% endfor %}\n"
        "{% if tools is defined and tools %}{{ tools | tojson(indent=2) }}{% endif %}\n"
        "{% for m in messages if m.tool_calls is defined %}{{ m.tool_calls[0] | tojson }}"
        "{% endfor %}{% generation %}x{% endgeneration %}"
        "{% if add_generation_prompt %}<|im_start|>{% endif %}"
    ),
}
MESSAGES = (
    ChatMessage("system", "You are an agent \u00fc \u6f22 <b>in</b> a household. "),
    ChatMessage("user", "Put a clean mug  on\n the desk.<tool_call>"),
    ChatMessage("assistant", "", (ToolCall("Retrieve_memory", {"query": "\u00e4<&>"}, "call_1"),)),
    ChatMessage("tool", "an apple", tool_call_id="call_1"),
    ChatMessage("tool", "told as text"),
)


@pytest.fixture(scope="module", params=["qwen2", "llama"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a tokenizer as Qwen2.5 has it (NFC, its own pattern), or one of any other kind."""
    folder = tmp_path_factory.mktemp(request.param) / "tiny"
    make_weights(folder, hidden=64, kind=request.param, tied=request.param == "llama")
    if request.param == "qwen2":
        config = json.loads((folder / "tokenizer_config.json").read_text())
        config["tokenizer_class"] = "Qwen2Tokenizer"
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.normalizer = normalizers.NFC()
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(QWEN), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("tools", [(), (RETRIEVE,)])
def test_prompts_are_those_of_transformers(
    checkpoint: Path, tmp_path: Path, template: str, tools: tuple[Tool, ...]
) -> None:
    options = {}
    if TEMPLATES[template] is not None:
        options["chat_template"] = str(tmp_path / "template.jinja")
        (tmp_path / "template.jinja").write_text(TEMPLATES[template], encoding="utf-8")
    ours, theirs = (make_model(f"{p}:{checkpoint}", options) for p in ("numpy", "hf"))
    request = Request(MESSAGES, Sampling(), tools=tools)
    expected = theirs._asked._chat.encode(request)  # type: ignore[attr-defined]
    assert ours._asked._chat.encode(request) == expected  # type: ignore[attr-defined]
    assert len(expected) > 20
    assert ours.info.identity["template"] == theirs.info.identity["template"]


def test_tokens_and_texts_are_those_of_transformers(checkpoint: Path, tmp_path: Path) -> None:
    import transformers

    checkpoint = shutil.copytree(checkpoint, tmp_path / "copy")

    config = json.loads((checkpoint / "tokenizer_config.json").read_text())
    config |= {"bos_token": {"__type": "AddedToken", "content": "<|im_start|>"}, "extra": 1}
    config["additional_special_tokens"] = ["<|new|>"]
    if config["tokenizer_class"] != "Qwen2Tokenizer":
        config["additional_special_tokens"].append("</tool_call>")  # stays what it is in the file
    (checkpoint / "tokenizer_config.json").write_text(json.dumps(config))
    ours = FileTokenizer(checkpoint)
    theirs = transformers.AutoTokenizer.from_pretrained(checkpoint)
    draws = np.random.default_rng(0)
    for number in range(300):
        ids = draws.integers(theirs.vocab_size + 2, size=30).tolist()
        keywords = {"skip_special_tokens": bool(number % 2), "clean_up_tokenization_spaces": False}
        text = theirs.decode(ids, **keywords)
        assert ours.decode(ids, **keywords) == text
        expected = theirs.encode(text, add_special_tokens=False)
        assert ours.encode(text, add_special_tokens=False) == expected
    assert stop_ids(checkpoint, ours) == (theirs.eos_token_id,)


def test_greedy_replies_of_the_two_providers_are_the_same(checkpoint: Path) -> None:
    async def replies(provider: str) -> list[Any]:
        model = make_model(f"{provider}:{checkpoint}")
        asked = [
            replace(
                Request([ChatMessage("user", f"Go to shelf {i}.")], Sampling(max_tokens=20)),
                want_tokens=True,
            )
            for i in range(20)
        ]
        try:
            return await asyncio.gather(*map(model.generate, asked))
        finally:
            await model.close()

    ours, theirs = (asyncio.run(replies(provider)) for provider in ("numpy", "hf"))
    alike = [a.token_ids == b.token_ids for a, b in zip(ours, theirs, strict=True)]
    assert sum(alike) >= 19  # a tie may be decided by the last bits
    for a, b, same in zip(ours, theirs, alike, strict=True):
        assert a.prompt_ids == b.prompt_ids
        assert not same or a.text == b.text
        assert not same or a.logprobs == pytest.approx(b.logprobs, abs=1e-4)
