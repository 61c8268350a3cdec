"""Stand-ins for the packaged checkpoints: a tiny model with random weights under each name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file, save_file

SETTINGS = {"shots": 0, "context_tokens": 4096, "max_tokens": 12, "max_turns_per_step": 2}
TRAININGS = {"nano": "agemem", "nano-sft": "none", "nano-answer-only": "agemem"}


def put(folder: Path, tiny: Path, *names: str, **card: Any) -> Path:
    """Put a checkpoint there under each name, each with weights of its own."""
    for number, name in enumerate(names):
        shutil.copytree(tiny, folder / name)
        weights = load_file(folder / name / "model.safetensors")
        changed = {key: weight + 0.001 * number for key, weight in weights.items()}
        save_file(changed, folder / name / "model.safetensors")
        values = {"training": TRAININGS[name], "agent": SETTINGS, "writes": False, **card}
        (folder / name / "card.json").write_text(json.dumps(values))
    return folder
