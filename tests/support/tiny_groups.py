"""Groups of trajectories made up of random tokens, and tiny models of several architectures."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tiny_model import make_model

from agemem_eval.policies.trajectory import Group, Reward, Step, Trajectory

VOCABULARY = 97


def step(prompt: Iterable[int], completion: Iterable[int], mask: str = "", **given: Any) -> Step:
    """A step; `mask` has a `.` for each token that is not trained. Without it all are."""
    tokens = tuple(completion)
    trained = tuple(letter != "." for letter in mask or "x" * len(tokens))
    return Step(tuple(prompt), tokens, given.get("logprobs"), trained, given.get("stage", 3))


def group(task: str, *trajectories: tuple[float, list[Step]]) -> Group:
    """A group of rewards and steps."""
    made = (
        Trajectory(task, k, tuple(steps), None, (), None, Reward(reward))  # type: ignore[arg-type]
        for k, (reward, steps) in enumerate(trajectories)
    )
    return Group(task, tuple(made))


def some_groups(
    rewards: Iterable[Iterable[float]],
    seed: int = 0,
    *,
    most: int = VOCABULARY,
    masked: float = 0.1,
) -> list[Group]:
    """Groups with these rewards; trajectories of 1 to 3 steps whose prompts begin alike."""
    draws = random.Random(seed)

    def tokens(count: int) -> list[int]:
        return draws.choices(range(3, most), k=count)

    groups = []
    for number, of_group in enumerate(rewards):
        beginning, made = tokens(9), []
        for reward in of_group:
            steps, prompt = [], beginning
            for _ in range(draws.randrange(1, 4)):
                completion = tokens(draws.randrange(1, 6))
                mask = "".join("." if draws.random() < masked else "x" for _ in completion)
                steps.append(step(prompt, completion, mask))
                prompt = prompt + completion + tokens(2)
            made.append((reward, steps))
        groups.append(group(f"task-{number}", *made))
    return groups


def tiny_config(kind: str, **others: Any) -> Any:
    """A config of transformers for a model of two small layers."""
    import transformers

    sizes = {
        "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "head_dim": 8,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "max_position_embeddings": 256, "bos_token_id": None, "eos_token_id": 2, "pad_token_id": 0,
    }  # fmt: skip
    return transformers.AutoConfig.for_model(kind, **{**sizes, **others})


def tiny_network(config: Any, seed: int = 0, scale: float = 0.2) -> Any:
    """A model of random weights, larger than transformers makes them: its logits differ."""
    import torch
    import transformers

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = transformers.AutoModelForCausalLM.from_config(config)
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.data.normal_(0, scale)
    return model.eval()


def tiny_folder(folder: Path, kind: str, **others: Any) -> Path:
    """A checkpoint of such a model, with a tokenizer and a chat template."""
    from transformers import AutoTokenizer

    source = make_model(folder / "tokenizer", hidden=32)
    tokenizer = AutoTokenizer.from_pretrained(source)
    config = tiny_config(kind, vocab_size=len(tokenizer), **others)
    tiny_network(config).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    return folder / "model"
