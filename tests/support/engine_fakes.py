"""What the plug-ins for training engines are tested with: a recipe, and groups made by hand."""

from __future__ import annotations

import json
from pathlib import Path

from agemem_eval.policies.trajectory import Group, Reward, Step, Trajectory

SPLIT, TASK = "generated-train", "generated-train/bridge/0000"


def write_recipe(folder: Path, model: Path, **agent) -> Path:
    """A recipe of one short three-stage question for a tiny model."""
    recipe = {
        "name": "engines",
        "model": {"path": str(model)},
        "grpo": {"rollouts": 2},
        "tasks": {
            "options": {"hotpotqa": {"form": "three-stage", "paragraphs": "2", "distractors": "1"}},
            "episodes": 3,
        },
        "agent": {"context_tokens": 8000, "max_tokens": 8, "shots": 0, **agent},
    }
    path = folder / "recipe.yaml"
    path.write_text(json.dumps(recipe))  # JSON is YAML
    return path


def ragged_group() -> Group:
    """Four rollouts of 1, 4, 1 and 4 steps; some tokens are not trained."""
    shapes = ((1, 1.0), (4, 0.25), (1, 0.0), (4, 1.0))
    trajectories = []
    for rollout, (count, reward) in enumerate(shapes):
        steps = tuple(
            Step(
                tuple(range(10, 13 + i)),
                (20, 21, 22)[: 1 + (i + rollout) % 3],
                (-0.5, -0.25, -1.0)[: 1 + (i + rollout) % 3],
                (True, i % 2 == 0, True)[: 1 + (i + rollout) % 3],
                1 + i % 3,
            )
            for i in range(count)
        )
        earned = Reward(reward, {"task": reward, "context": None}, {"repeated_calls": 0.5})
        whole = Trajectory(TASK, rollout, steps, None, (), None, earned)
        trajectories.append(whole)
    return Group(TASK, tuple(trajectories))
