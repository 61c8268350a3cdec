"""The `README.md` of a packaged checkpoint: what it is, how it came about, what it cannot do."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

TRAINING = "training.json"  # in a packaged checkpoint's folder: the recipe and the curves
_ROWS = 12  # of a curve in the card; all are in `TRAINING`
_LIMITS = (
    "It reads and writes the kinds of text it was trained on, and nothing else: other wordings, "
    "other environments and free instructions are noise to it.",
    "It knows no facts of the world; what it answers comes from its context and its notes.",
    "It cannot write a summary or extract facts for a memory; `heuristic` rules do that for it.",
    "Names and numbers it has seldom seen it copies with errors.",
    "Nothing about larger models follows from its results.",
)


def readme(
    name: str,
    card: Mapping[str, Any],
    told: Mapping[str, Any],
    model: str,
    *,
    results: str = "",
    limits: str = "",
) -> str:
    """The card for people.

    Args:
        name: Of the checkpoint.
        card: Its `card.json`.
        told: Its `training.json`.
        model: As `run --model` takes it.
        results: Markdown: what was measured with it.
        limits: Markdown: further limits, as list items.
    """
    tasks = told["recipe"]["tasks"]
    words = [f"--env {tasks['env']} --memory {tasks['memory']} --model {model}"]
    played = " ".join([*words, *option_words(tasks.get("options") or {})])
    parts = [
        first_line(card, measured=bool(results)),
        f"# {name}",
        _how(card),
        f"```\nagemem-eval run {played}\n```",
        "It is asked as it was trained unless told otherwise: "
        + ", ".join(f"{key} {value}" for key, value in card["agent"].items() if value is not None)
        + ".",
        "## Training",
        _facts(card, told),
        *_curve(told),
        "## Results",
        results or "None are kept with this checkpoint.",
        "## Limits",
        "\n".join([*(f"- {limit}" for limit in _LIMITS), *([limits] if limits else [])]),
        "## Recipe",
        f"```json\n{json.dumps(told['recipe'], indent=1)}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def option_words(options: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Options of environments as `run` takes them: `-o NAME.KEY=VALUE` each."""
    return [
        f"-o {shlex.quote(f'{name}.{key}={value}')}"
        for name, values in options.items()
        for key, value in values.items()
    ]


def first_line(card: Mapping[str, Any], *, measured: bool) -> str:
    """What a model of this size can and cannot do."""
    millions = card["weights"]["count"] / 1e6
    how = "as well as the numbers below say" if measured else "how well was not measured"
    return (
        f"A model of {millions:.1f} million weights: it can play tasks worded like those it was "
        f"trained on and call AgeMem's memory tools there, {how}; it "
        "cannot follow instructions, reason about anything else or write summaries, and says "
        "nothing about larger models."
    )


def _how(card: Mapping[str, Any]) -> str:
    if card["training"] != "agemem":
        return (
            "By supervised fine-tuning alone, without reinforcement learning: the AgeMem-noRL of "
            "its family (arXiv 2601.01885)."
        )
    scheme = card["reward"]["scheme"]
    return (
        f"By supervised fine-tuning, then step-wise GRPO (arXiv 2601.01885, section 3.3), reward "
        f"profile `{card['reward']['profile']}`, scheme `{scheme}`."
    )


def _facts(card: Mapping[str, Any], told: Mapping[str, Any]) -> str:
    base = card["base"]
    began = "from nothing" if "fresh" in base else f"from `{base['name']}` (`{base['hash']}`)"
    tasks, shown = told["recipe"]["tasks"], told["recipe"].get("sft") or {}
    envs = _envs(shown.get("demonstrations") or [], tasks["env"])
    shown_hash = card.get("demonstrations_hash")  # not in the card of an older version
    hashed = f" `{shown_hash}`" if shown_hash else ""
    lines = [
        f"- recipe `{card['recipe']}` (`{card['recipe_hash']}`), seed {card['seed']}, {began}",
        f"- data `{card['data_hash']}`, tasks of "
        + ", ".join(_envs(tasks.get("sources") or [{}], tasks["env"]))
        + (f"; demonstrations{hashed} in {', '.join(envs)}" if envs else ""),
        f"- phase {card['phase']}, step {card['step']}; made with agemem-eval "
        f"{card['agemem_eval']}; weights in {card['weights']['dtype']}",
    ]
    if told["sft"]:
        last = told["sft"][-1]
        lines.append(f"- fine-tuning ended at update {last['step']} with a loss of "
                     f"{last['loss']:.3f}")  # fmt: skip
    return "\n".join(lines)


def _envs(sources: Any, usual: str) -> list[str]:
    """The environments of one source or several; `usual` is that of one that names none."""
    listed = sources if isinstance(sources, list) else [sources]
    return sorted({source.get("env") or usual for source in listed})


def _curve(told: Mapping[str, Any]) -> list[str]:
    """The held-out rewards, a row an evaluation; nothing where there was none."""
    lines = _spread(told["evaluation"])
    if not lines:
        return []
    table = ["| step | held-out reward | success | answered |", "|---|---|---|---|"]
    for line in lines:
        low, high = line.get("low"), line.get("high")
        interval = f" [{low:.3f}, {high:.3f}]" if low is not None and high is not None else ""
        shares = " | ".join(
            f"{line[key]:.1%}" if line.get(key) is not None else "–"
            for key in ("success", "answered")
        )
        table.append(f"| {line['step']} | {line['reward']:.3f}{interval} | {shares} |")
    return ["\n".join(table), f"The curves are in `{TRAINING}`."]


def _spread(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """At most `_ROWS` of them, with the first and the last."""
    if len(lines) <= _ROWS:
        return list(lines)
    places = {round(i * (len(lines) - 1) / (_ROWS - 1)) for i in range(_ROWS)}
    return [line for i, line in enumerate(lines) if i in places]
