"""What each process of `accelerate launch` computes in tests/policies/test_accelerate.py.

`train_ranks.py MODEL OUT`: with whole weights and with an adapter, an SFT update and two GRPO
updates, each process on its share of the groups. The first writes gradients, numbers, and what a
team does, to OUT. Without a launcher one process does it all.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import safetensors.torch
import torch
from tiny_groups import some_groups
from tiny_learner import RATE, grpo

from agemem_eval.policies.distributed import Engine
from agemem_eval.policies.grpo import steps_of
from agemem_eval.policies.launched import Team, accelerator
from agemem_eval.policies.learner import Learner
from agemem_eval.policies.recipe import Lora, ModelRecipe

# Of four groups with 3, 3, 3 and 2 rollouts, so that shares differ in size and in forwards.
REWARDS = [[0.0, 1.0, 0.4], [0.3, 0.3, 0.3], [1.0, 0.0, 0.0], [0.2, 0.1]]


def updates(folder: Path, found, team: Team, lora: Lora | None) -> tuple[dict, list]:
    """Gradients of the updates, and what they told."""
    gradients: dict = {}
    clip = Engine.clip

    def spy(self, parameters, most):
        some = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        gradients[str(len(gradients))] = torch.cat([g.flatten() for g in some]).clone()
        return clip(self, parameters, most)

    Engine.clip = spy
    try:
        recipe = ModelRecipe(path=str(folder), device="cpu", lora=lora)
        learner = Learner.open(recipe, folder, 0, accelerator=found)
        mine = team.share(some_groups(REWARDS, seed=3))
        learner.hold_reference()
        told = [learner.sft_update(steps_of(mine), RATE, 1.0, batch_tokens=64)]
        for aggregate in ("token-mean", "sequence-mean", "trajectory-mean"):
            settings = grpo(aggregate=aggregate, batch_tokens=64, prefix_sharing=True)
            told.append(learner.grpo_update(mine, settings, RATE))
    finally:
        Engine.clip = clip
    return gradients, told


def main() -> None:
    folder, out = map(Path, sys.argv[1:])
    torch.set_num_threads(1)
    found = accelerator()
    team = Team(found)
    result: dict = {"size": team.size, "told": {}}
    kept = {}
    for name, lora in (("whole", None), ("lora", Lora(rank=4, alpha=8))):
        gradients, result["told"][name] = updates(folder, found, team, lora)
        kept |= {f"{name}.{key}": value for key, value in gradients.items()}
    result["gathered"] = [team.gather(team.share(range(count))) for count in (0, 1, 4, 5)]
    result["any"] = [team.any(team.rank == 0), team.any(team.rank == 1), team.any(False)]
    result["writers"] = team.gather([team.first])
    if team.first:
        out.mkdir()
        safetensors.torch.save_file(kept, out / "gradients.safetensors")
        (out / "told.json").write_text(json.dumps(result))
    team.wait()
    if found is not None:
        found.end_training()


if __name__ == "__main__":
    main()
