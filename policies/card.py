"""What a checkpoint says of itself: `card.json` for the harness, `README.md` for people.

A model of supervised fine-tuning alone carries no AgeMem training (`none`): it is the paper's
AgeMem-noRL. After steps of GRPO it is `agemem`, and results with it are called so.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from .. import __version__
from ..harness.config import AgentConfig
from ..harness.files import write_json
from ..harness.models.weights import model_hash
from .checkpoints import CARD, State
from .demonstrations import data_hash
from .logs import EVALUATION, METRICS, read_lines
from .package_card import option_words
from .preflight import Plan
from .recipe import Recipe

_TOLD = ("step", "reward", "low", "high", "answered", "success", "format_valid", "sources")


def write_card(folder: Path, plan: Plan, state: State) -> None:
    """Write both into a checkpoint's folder.

    Raises:
        OSError: if the disk refuses.
    """
    card = make_card(plan, state)
    write_json(folder / CARD, card)
    (folder / "README.md").write_text(_readme(plan, card), encoding="utf-8")


def make_card(plan: Plan, state: State) -> dict[str, Any]:
    """The card: what was trained, on what, how far, and how good it was last seen to be."""
    recipe = plan.recipe
    trained = state.phase == "grpo" and state.step > 0
    evaluations = _until(plan.directory / EVALUATION, state) if state.phase == "grpo" else []
    steps = _until(plan.directory / METRICS, state) if state.phase == "grpo" else []
    return {
        "training": "agemem" if trained else "none",
        "recipe": recipe.name,
        "recipe_hash": recipe.hash,
        "data_hash": plan.data_hash,
        "demonstrations_hash": data_hash(recipe, plan.directory),
        "seed": recipe.seed,
        "phase": state.phase,
        "step": state.step,
        "trained_tokens": state.tokens,
        "base": _base(plan),
        "reward": {"profile": recipe.reward.profile, "scheme": recipe.reward.scheme},
        "train": {k: steps[-1][k] for k in _TOLD if k in steps[-1]} if steps else None,
        "evaluation": (
            {k: evaluations[-1][k] for k in _TOLD if k in evaluations[-1]} if evaluations else None
        ),
        "agemem_eval": __version__,
    }


def play_command(recipe: Recipe) -> str:
    """The command that plays with a checkpoint as it was trained: its tasks, prompts and limits.

    Of several sources each has a command of its own: that of one of `Recipe.parts`. Tokens are
    drawn at the temperature of the evaluation, whose rewards are the card's.
    """
    use = "hf:THIS_FOLDER" if recipe.model.lora is None else "hf:BASE -o lora=THIS_FOLDER"
    words = [f"agemem-eval run --env {recipe.tasks.env} --memory {recipe.tasks.memory}"]
    words.append(f"--model {use}")
    words += option_words(recipe.tasks.options)
    usual = AgentConfig()
    for key, value in recipe.agent:
        if key not in ("temperature", "top_p") and value != getattr(usual, key):
            words.append(f"--{key.replace('_', '-')} {value}")
    if recipe.evaluation.temperature:
        words.append(f"--temperature {recipe.evaluation.temperature:g}")
    return " ".join(words)


def _base(plan: Plan) -> dict[str, Any]:
    """What the model was before training, by its content where it was given."""
    if plan.model is None:
        fresh = plan.recipe.model.fresh
        return {"fresh": fresh.model_dump(mode="json") if fresh is not None else None}
    return {"name": Path(str(plan.recipe.model.path)).name, "hash": model_hash(plan.model)}


def _until(path: Path, state: State) -> list[dict[str, Any]]:
    return [line for line in read_lines(path) if line["step"] <= state.step]


def _readme(plan: Plan, card: dict[str, Any]) -> str:
    """The card for people, with the metadata that the hub reads."""
    recipe = plan.recipe
    front: dict[str, Any] = {"tags": ["agents", "memory", "agemem-eval"]}
    front |= {"library_name": "peft" if recipe.model.lora is not None else "transformers"}
    path = recipe.model.path
    if path is not None and not Path(path).expanduser().is_dir():
        front["base_model"] = path
    how = "step-wise GRPO" if card["training"] == "agemem" else "supervised fine-tuning alone"
    lines = [
        "---", yaml.safe_dump(front, sort_keys=False).rstrip(), "---", "",
        f"# {recipe.name}, {card['phase']} step {card['step']}", "",
        f"A policy for AgeMem's memory tools, by {how}; reward profile `{recipe.reward.profile}`, "
        f"scheme `{recipe.reward.scheme}`, seed {recipe.seed}, recipe `{card['recipe_hash']}`, "
        f"{_tasks(recipe)}, data `{card['data_hash']}`.", "",
    ]  # fmt: skip
    if (found := card["evaluation"]) is not None:
        lines += [
            f"Held-out tasks at step {found['step']}: mean reward {_reward(found)}, answered "
            f"{found['answered']:.0%}.",
            "",
        ]
        for label, told in found.get("sources", {}).items():
            lines.append(f"- {label}: {_reward(told)}, success {told['success']:.0%}")
        lines += [""] if "sources" in found else []
    commands = [play_command(part) for part in recipe.parts]
    lines += [
        "On tasks like those it was trained on:", "", "```", *commands, "```", "",
        *(["Without PyTorch: `--model numpy:THIS_FOLDER`.", ""] if recipe.model.fresh else []),
        "The recipe:", "", "```json", json.dumps(recipe.identity, indent=1), "```", "",
    ]  # fmt: skip
    return "\n".join(lines)


def _tasks(recipe: Recipe) -> str:
    """What was played, in words."""
    found = [f"{p.tasks.played} (`{p.tasks.split}`)" for p in recipe.parts]
    return f"tasks of {', '.join(found)}"


def _reward(line: dict[str, Any]) -> str:
    low, high = line["low"], line["high"]
    interval = f" [{low:.3f}, {high:.3f}]" if low is not None and high is not None else ""
    return f"{line['reward']:.3f}{interval}"
