"""Whether two runs of `train_ranks.py`, or two trainings, came to the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import safetensors.torch
from train_runs import TINY


def same_updates(one: Path, two: Path) -> None:
    """Gradients and weights, what is drawn with, and moments: to 1e-5."""
    alone, together = (
        {
            **safetensors.torch.load_file(place / "tensors.safetensors"),
            **safetensors.torch.load_file(place / "kept-False/optimizer.safetensors"),
        }
        for place in (one, two)
    )
    assert alone.keys() == together.keys()
    # Of an SFT update and four GRPO updates, whole and with an adapter.
    gradients = [name for name in alone if ".gradient." in name]
    assert len(gradients) == 10
    for name, value in alone.items():
        if name in gradients:
            assert value.abs().max() > 1e-4
        off = float((value - together[name]).abs().max())
        assert off < 1e-5 * max(1.0, float(value.abs().max())), name
    for kind in ("False", "True"):
        names = [sorted(p.name for p in (place / f"kept-{kind}").iterdir()) for place in (one, two)]
        assert names[0] == names[1]


def same_numbers(one: Path, two: Path) -> None:
    """What updates told, and that one by what is no number changed nothing."""
    alone, together = (json.loads((place / "told.json").read_text()) for place in (one, two))
    for kind in ("whole", "lora"):
        a, b = alone[kind], together[kind]
        assert a["refuses"] is b["refuses"] is True
        assert a["updates"] == b["updates"] == 5
        for first, second in zip(a["told"], b["told"], strict=True):
            assert first.keys() == second.keys()
            for key, value in first.items():
                assert second[key] == pytest.approx(value, abs=1e-4, rel=1e-4), key


def short_recipe(place: Path) -> Path:
    """A recipe of demonstrations, fine-tuning and two steps of GRPO with three tasks each."""
    values = json.loads(json.dumps(TINY))
    values["grpo"] |= {"steps": 2, "tasks_per_step": 3, "learning_rate": 0.0003}
    # Where a gradient is rounding alone, Adam moves a weight by up to the rate, either way.
    values["sft"] |= {"epochs": 1, "learning_rate": 0.001}
    values["evaluation"]["episodes"] = 3
    values["checkpoints"]["every"] = 1
    (place / "recipe.yaml").write_text(json.dumps(values))  # JSON is YAML
    return place / "recipe.yaml"


def same_curves(one: Path, two: Path) -> None:
    """All numbers of all logs but for times, and the weights at the end: to 1e-4."""
    for log in ("sft.jsonl", "metrics.jsonl", "evaluation.jsonl"):
        alone, together = (
            [json.loads(line) for line in (place / log).read_text().splitlines()]
            for place in (one, two)
        )
        assert len(alone) == len(together) > 0
        for first, second in zip(alone, together, strict=True):
            assert first.keys() == second.keys()
            for key in first.keys() - {"seconds"}:
                if isinstance(first[key], int | float):
                    assert second[key] == pytest.approx(first[key], abs=1e-4, rel=1e-4), key
    weights, others = (
        safetensors.torch.load_file(place / "final/model.safetensors") for place in (one, two)
    )
    assert weights.keys() == others.keys()
    assert max(float((weights[name] - others[name]).abs().max()) for name in weights) < 1e-4
