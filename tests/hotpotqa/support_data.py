"""Small data files for several tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from agemem_eval.envs.hotpotqa.env import HotpotqaEnvironment
from agemem_eval.envs.hotpotqa.metrics import METRICS

UNANSWERED = {n: 0.0 if n in ("em", "f1", "prec", "recall") else None for n in METRICS}


def record(number: int = 0, **changes: Any) -> dict[str, Any]:
    """An official record, made up."""
    return {
        "_id": f"id{number}",
        "question": f"Who keeps lighthouse {number}?",
        "answer": f"Odo Brask {number} “é”",
        "type": "bridge" if number % 2 else "comparison",
        "level": "hard",
        "supporting_facts": [["Lamp", 0], ["Odo", 1]],
        "context": [
            ["Lamp", [f"Lamp {number} is old.", " It is kept by Odo."]],
            ["Odo", ["Odo is a keeper.", " He has a boat."]],
            ["Empty", []],
        ],
    } | changes


def columns(official: dict[str, Any]) -> dict[str, Any]:
    """The same record in the columns of the Hugging Face data."""
    facts, context = official["supporting_facts"], official["context"]
    return {
        "id": official["_id"],
        **{key: official[key] for key in ("question", "answer", "type", "level")},
        "supporting_facts": {"title": [t for t, _ in facts], "sent_id": [i for _, i in facts]},
        "context": {"title": [t for t, _ in context], "sentences": [s for _, s in context]},
    }


def write(path: Path, records: list[Any], *, lines: bool = False, **options: Any) -> Path:
    """Records as an array, or one a line."""
    if lines:
        text = "".join(json.dumps(r, **options) + "\n" for r in records)
    else:
        text = json.dumps(records, **options)
    path.write_text(text, encoding="utf-8")
    return path


def started(index: int = 0, **options: str) -> HotpotqaEnvironment:
    """An environment that plays a generated question."""
    environment = HotpotqaEnvironment(**options)
    environment.reset(environment.tasks("generated")[index], 0)
    return environment
