"""Plays generated training tasks by experts and by the teacher, and counts what it writes.

python tests/performance/bench_teacher.py [--episodes N] [--only alfworld,pddl] [--context N]

An expert alone sees all of the history; the teacher, with and without memory, what the context
holds. Tokens are those of a byte-level BPE of 2,048 tokens trained on the demonstrations, where
PyTorch is there, else estimates; each token of an episode counts as often as it is computed in
fine-tuning. Asserts nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table

from agemem_eval.harness.errors import AgememError
from agemem_eval.harness.models import make_model
from agemem_eval.harness.tokens import estimate_tokens
from agemem_eval.harness.types import ChatMessage, Model
from agemem_eval.policies.recipe import Fresh, make_recipe
from agemem_eval.policies.rollout import Heard, Player
from agemem_eval.policies.teacher import Teacher

FORMS: tuple[tuple[str, str, str, dict[str, str]], ...] = (
    ("alfworld", "explorer", "alfworld", {}),
    ("alfworld, world told", "explorer", "three-stage", {"env": "alfworld", "exposure": "world"}),
    ("alfworld, episode told", "explorer", "three-stage",
     {"env": "alfworld", "exposure": "episode"}),
    ("babyai", "explorer", "babyai", {}),
    ("babyai, world told", "explorer", "three-stage", {"env": "babyai", "exposure": "world"}),
    ("pddl", "observer", "pddl", {}),
    ("pddl, world told", "observer", "three-stage", {"env": "pddl", "exposure": "world"}),
    ("scienceworld", "explorer", "scienceworld", {}),
    ("hotpotqa, three-stage", "reader", "hotpotqa", {"form": "three-stage", "paragraphs": "4"}),
    ("hotpotqa, 1 change", "reader", "hotpotqa",
     {"form": "three-stage", "paragraphs": "4", "changes": "1"}),
    ("hotpotqa, 2 changes", "reader", "hotpotqa",
     {"form": "three-stage", "paragraphs": "4", "changes": "2"}),
)  # fmt: skip
TOOLS = ("Add", "Update", "Delete", "Retrieve", "Summary", "Filter")
Count = Callable[[str], int]


def _recipe(env: str, options: dict[str, str], memory: str, context: int) -> Any:
    return make_recipe({
        "name": "bench", "model": {"fresh": {"positions": 65536}}, "sft": {},
        "agent": {"shots": 0, "context_tokens": context, "max_tokens": 512},
        "tasks": {"env": env, "options": {env: options}, "memory": memory},
        "reward": {"task_score": "success"},
    })  # fmt: skip


async def _play(recipe: Any, model: Model, episodes: int) -> tuple[list[Heard], float]:
    """The episodes, and CPU seconds of each."""
    player = Player(recipe, model)
    try:
        split = "train" if recipe.tasks.played == "scienceworld" else "generated-train"
        tasks = await player.tasks(split, 0, 20 * episodes if split == "train" else episodes)
        tasks = tasks[:: len(tasks) // episodes]  # ScienceWorld's stand kind by kind
        clock = time.process_time()
        heard = [await player.listen(task, repeat=0) for task in tasks]
        return heard, (time.process_time() - clock) / len(heard)
    finally:
        await player.close()


def _prompt(messages: tuple[ChatMessage, ...]) -> str:
    """A prompt by the compact template of fresh models."""
    shown = (f"<|{m.role}|>{m.content}<|end|>" for m in messages if m.role != "system")
    return "".join(shown) + "<|assistant|>"


def _texts(heard: Heard) -> list[str]:
    """What is computed of an episode: a prompt that goes on where one ended begins there."""
    parts, so_far = [], ""
    for messages, completion in heard.turns:
        prompt = _prompt(messages)
        new = prompt.removeprefix(so_far) if so_far and prompt.startswith(so_far) else prompt
        said = f"{completion.text}<|end|>"
        parts.append(new + said)
        so_far = prompt + said
    return parts


def _counter(heard: list[Heard]) -> Count:
    try:
        from agemem_eval.policies.fresh import make_tokenizer
    except ImportError:
        return estimate_tokens
    texts = [t for h in heard for _, c in h.turns for t in (c.text,)]
    texts += [m.content for h in heard for ms, _ in h.turns for m in ms if m.role != "system"]
    tokenizer = make_tokenizer(Fresh(vocabulary=2048), dict.fromkeys(texts))
    return lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"])


def _won(heard: list[Heard]) -> str:
    return f"{100 * sum(bool(h.episode.success) for h in heard) / len(heard):.0f}%"


async def _row(
    form: tuple[str, str, str, dict[str, str]], episodes: int, context: int
) -> list[str]:
    title, expert, env, options = form
    scripted = make_model(f"scripted:{expert}")
    alone, _ = await _play(_recipe(env, options, "none", context), scripted, episodes)
    bare, _ = await _play(_recipe(env, options, "none", context), Teacher(expert), episodes)
    heard, seconds = await _play(
        _recipe(env, options, "agemem", context), Teacher(expert), episodes
    )
    count = _counter(heard)
    written = sum(count(c.text) for h in heard for _, c in h.turns) / len(heard)
    computed = sum(count(text) for h in heard for text in _texts(h)) / len(heard)
    calls: Counter[str] = Counter()
    failed = 0
    for h in heard:
        for name, by in h.episode.tool_calls.items():
            calls[name.partition("_")[0]] += sum(by.values())
            failed += sum(n for status, n in by.items() if status != "success")
    used = [f"{calls[tool] / len(heard):.1f}" for tool in TOOLS]
    turns = sum(len(h.turns) for h in heard) / len(heard)
    drops = sum(h.episode.overflow_drops for h in heard) / len(heard)
    return [
        title, _won(alone), _won(bare), _won(heard), *used, str(failed), f"{turns:.1f}",
        f"{drops:.1f}", f"{written:.0f}", f"{computed:.0f}", f"{seconds:.3f}",
    ]  # fmt: skip


def main() -> None:
    """Print the table."""
    asked = argparse.ArgumentParser()
    asked.add_argument("--episodes", type=int, default=100)
    asked.add_argument("--only", default="")
    asked.add_argument("--context", type=int, default=8192)
    args = asked.parse_args()
    table = Table(title=f"{args.episodes} training tasks, context {args.context}")
    for column in (
        "environment", "expert", "teacher, none", "teacher, agemem", *TOOLS, "failed", "turns",
        "dropped", "written", "computed", "CPU s",
    ):  # fmt: skip
        table.add_column(column, justify="left" if column == "environment" else "right")
    for form in FORMS:
        if args.only and form[0].partition(",")[0] not in args.only.split(","):
            continue
        try:
            row = asyncio.run(_row(form, args.episodes, args.context))
        except AgememError as error:
            row = [form[0], str(error)[:60]]
        table.add_row(*row)
        print(*row, sep="\t", file=sys.stderr, flush=True)  # it takes minutes
    Console(width=190).print(table)


if __name__ == "__main__":
    main()
