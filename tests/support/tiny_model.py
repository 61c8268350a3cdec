"""A tiny Qwen2 or Llama with random weights and a tokenizer of its own, and adapters for it.

Made from nothing: the config and the weights are written by hand, the tokenizer is trained on a
few sentences, so that no download is needed and everything is the same on each machine.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tokenizers import Tokenizer

HIDDEN, LAYERS, HEADS, KV_HEADS, INNER = 128, 2, 4, 2, 256
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
PLAIN = ("<tool_call>", "</tool_call>")  # kept in the text, for the parser to find
SENTENCES = (
    "You are an agent in a household. Put a clean mug on the desk, then go to shelf 1.",
    "Observation: you open the fridge 1. The fridge 1 is open. In it, you see an apple 1.",
    "system user assistant tool name arguments content query memory think answer action goal",
    '{"name": "Retrieve_memory", "arguments": {"query": "where is the apple?", "top_k": 3}}',
)
CHAT_TEMPLATE = (
    "{% if tools %}<|im_start|>system\n{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}"
    "<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content or '' }}"
    "{% for call in m.tool_calls or [] %}<tool_call>\n{{ call.function | tojson }}\n</tool_call>"
    "{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_model(
    folder: Path, seed: int = 0, hidden: int = HIDDEN, kind: str = "qwen2", tied: bool = False
) -> Path:
    """Write config, weights, tokenizer and chat template."""
    from safetensors.numpy import save_file  # here, so that tests can be collected without it

    folder.mkdir(parents=True)
    tokenizer = _train_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    end = tokenizer.token_to_id("<|im_end|>")
    of_tokenizer = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "model_max_length": 32768,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }
    vocabulary = tokenizer.get_vocab_size()
    config = {
        "architectures": [f"{kind.capitalize()}ForCausalLM"],
        "model_type": kind,
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": tied,
        "bos_token_id": None,
        "eos_token_id": end,
        "torch_dtype": "float32",
    }
    _write(folder / "config.json", config)
    _write(folder / "tokenizer_config.json", of_tokenizer)
    _write(folder / "generation_config.json", {"eos_token_id": end})
    weights = _weights(vocabulary, hidden, np.random.default_rng(seed))
    absent = ["lm_head.weight"] if tied else []
    absent += [name for name in weights if kind == "llama" and name.endswith(".bias")]
    for name in absent:
        del weights[name]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def make_adapter(
    folder: Path, base: str, seed: int = 0, hidden: int = HIDDEN, card: str | None = None
) -> Path:
    """Write a LoRA adapter of rank 4 for the queries of all layers."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True)
    draws = np.random.default_rng(seed)
    weights = {}
    for layer in range(LAYERS):
        name = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        for part, shape in (("lora_A", (4, hidden)), ("lora_B", (hidden, 4))):
            drawn = draws.standard_normal(shape, dtype=np.float32)
            weights[f"{name}.{part}.weight"] = drawn
    save_file(weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": 4,
        "lora_alpha": 8,
        "target_modules": ["q_proj"],
        "bias": "none",
    }
    _write(folder / "adapter_config.json", config)
    if card is not None:
        _write(folder / "card.json", {"training": card})
    return folder


def _weights(vocabulary: int, hidden: int, draws: np.random.Generator) -> dict[str, np.ndarray]:
    keys = hidden * KV_HEADS // HEADS
    shapes = {
        "model.embed_tokens.weight": (vocabulary, hidden),
        "lm_head.weight": (vocabulary, hidden),
        "model.norm.weight": (hidden,),
    }
    for layer in range(LAYERS):
        of_layer = {
            "self_attn.q_proj.weight": (hidden, hidden),
            "self_attn.q_proj.bias": (hidden,),
            "self_attn.k_proj.weight": (keys, hidden),
            "self_attn.k_proj.bias": (keys,),
            "self_attn.v_proj.weight": (keys, hidden),
            "self_attn.v_proj.bias": (keys,),
            "self_attn.o_proj.weight": (hidden, hidden),
            "mlp.gate_proj.weight": (INNER, hidden),
            "mlp.up_proj.weight": (INNER, hidden),
            "mlp.down_proj.weight": (hidden, INNER),
            "input_layernorm.weight": (hidden,),
            "post_attention_layernorm.weight": (hidden,),
        }
        shapes |= {f"model.layers.{layer}.{name}": shape for name, shape in of_layer.items()}
    weights = {}
    for name, shape in shapes.items():
        if "norm" in name:
            weights[name] = np.ones(shape, np.float32)
        else:
            weights[name] = draws.standard_normal(shape, dtype=np.float32) * np.float32(0.1)
    return weights


def _train_tokenizer() -> Tokenizer:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in PLAIN])
    return tokenizer


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")
