"""A tiny checkpoint that always answers: with what, its random weights decide."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from tiny_model import make_model

TAGS = ("<answer>", "</answer>")  # a token each


def make_answering(folder: Path, seed: int = 0) -> Path:
    """Write a model that begins each reply with `<answer>` and ends it after `</answer>`."""
    from safetensors.numpy import load_file, save_file
    from tokenizers import AddedToken, Tokenizer

    make_model(folder, seed=seed, hidden=64, kind="llama")  # whose tokenizer is its file
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    newline, bracket = (tokenizer.encode(text).ids[-1] for text in "\n>")  # the former: of prompts
    end = tokenizer.token_to_id("<|im_end|>")
    tokenizer.add_tokens([AddedToken(tag, normalized=False) for tag in TAGS])
    tokenizer.save(str(folder / "tokenizer.json"))
    opening, closing = map(tokenizer.token_to_id, TAGS)
    weights = load_file(folder / "model.safetensors")
    draws = np.random.default_rng(seed + 1)
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        more = draws.standard_normal((len(TAGS), 64), dtype=np.float32) * np.float32(0.1)
        weights[name] = np.concatenate([weights[name], more])
    # A long embedding outweighs what the layers add to it, so the head knows the last token.
    embedding, head = weights["model.embed_tokens.weight"], weights["lm_head.weight"]
    for last, following in ((newline, opening), (closing, end), (bracket, end)):
        embedding[last] *= 200
        head[following] += 10 * embedding[last] / np.linalg.norm(embedding[last])
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["vocab_size"] = len(embedding)
    (folder / "config.json").write_text(json.dumps(config))
    return folder
