"""What each process of `accelerate launch` computes in tests of training in several processes.

`train_ranks.py MODEL OUT WEIGHTS…`: in each way to share weights (`copies`, `fsdp`, `deepspeed`; a
number after a colon is a stage of ZeRO), for whole weights and for an adapter: an SFT update, GRPO
updates, each process on its share of the groups; the moments written and taken up by another
learner, which goes on. The first process writes gradients, weights and numbers to OUT/WEIGHTS, and
what a team does to OUT/team.json. Without a launcher one process does it all.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import safetensors.torch
import torch
from tiny_groups import some_groups
from tiny_learner import grpo, weights
from train_launched import do_not_compile

from agemem_eval.policies.grpo import steps_of
from agemem_eval.policies.launched import Team, launched_team
from agemem_eval.policies.learner import Learner, Rates
from agemem_eval.policies.recipe import Lora, ModelRecipe

RATE = 1e-3
# Of four groups with 3, 3, 3 and 2 rollouts, so that shares differ in size and in forwards.
REWARDS = [[0.0, 1.0, 0.4], [0.3, 0.3, 0.3], [1.0, 0.0, 0.0], [0.2, 0.1]]


def gradient(parameter) -> torch.Tensor:
    """All of a parameter's gradient, however it is kept."""
    found = parameter.grad
    if hasattr(parameter, "ds_id") or hasattr(parameter, "_hp_mapping"):
        from deepspeed.utils import safe_get_full_grad

        found = safe_get_full_grad(parameter)
    if found is None:
        return torch.zeros(parameter.shape)
    return (found.full_tensor() if hasattr(found, "full_tensor") else found).clone()


def spied(learner: Learner, gradients: dict) -> Learner:
    """The learner, whose gradients are noted before each update."""
    update = learner.engine.update

    def spy(optimizer, parameters, most):
        parts = [gradient(p).flatten() for p in parameters]
        gradients[f"gradient.{len(gradients)}"] = torch.cat(parts)
        return update(optimizer, parameters, most)

    learner.engine.update = spy
    return learner


def updates(folder: Path, place: Path, team: Team, lora: Lora | None) -> tuple[dict, dict]:
    """Gradients of updates and the weights after all; and what the updates told."""
    recipe = ModelRecipe(path=str(folder), device="cpu", lora=lora, gradient_checkpointing=True)
    groups, found = some_groups(REWARDS, seed=3), {}
    mine = team.share(groups)
    learner = Learner.open(recipe, folder, 0, reference=folder if lora else None, team=team)
    told = [spied(learner, found).sft_update(steps_of(mine), RATE, 1.0, batch_tokens=64)]
    learner.refresh()
    if not lora:
        learner.hold_reference()
    start = place / f"start-{lora is not None}"
    if team.first:
        learner.save(start)
    settings = [
        grpo(aggregate=how, batch_tokens=64, prefix_sharing=True)
        for how in ("token-mean", "sequence-mean", "trajectory-mean")
    ]
    told += [learner.grpo_update(mine, each, RATE) for each in settings]
    # What is kept is taken up by another, which goes on as the first one does.
    learner.refresh()
    kept, moments = place / f"kept-{lora is not None}", learner.state()
    if team.first:
        learner.save(kept)
        safetensors.torch.save_file(moments, kept / "optimizer.safetensors")
    team.wait()
    base, adapter = (folder, kept) if lora else (kept, None)
    again = Learner.open(recipe, base, 0, adapter=adapter, reference=start, team=team)
    spied(again, found)
    again.restore(kept / "optimizer.safetensors")
    told += [again.grpo_update(mine, settings[0], RATE)]
    again.refresh()
    scored = again.logprobs(steps_of(groups))
    numbers = {"told": told, "updates": again.updates}
    part = next(p for p in again._model.parameters() if p.requires_grad)
    numbers["part"] = (part.to_local() if hasattr(part, "to_local") else part).numel()
    result = {**found, **{f"weight.{name}": w for name, w in weights(again).items()}}
    numbers["refuses"] = refuses(again, mine)
    return {**result, "scored": scored[~scored.isnan()].contiguous()}, numbers


def refuses(learner: Learner, mine: list) -> bool:
    """Whether an update by a gradient that is no number is told, and changes nothing."""
    learner.refresh()
    before, updates = weights(learner), learner.updates
    packs = learner._packs(steps_of(mine), 64, False)
    rates = Rates(RATE, 0.0, 1.0)
    done = learner._descend(
        packs, lambda _, logprobs, __: logprobs.sum() * torch.nan, 1.0, rates, dropout=False
    )
    learner.refresh()
    same = all(value.equal(before[name]) for name, value in weights(learner).items())
    return same and done["refused"] == 1.0 and learner.updates == updates


def main() -> None:
    folder, out, kinds = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    torch.set_num_threads(1)
    launched = launched_team()
    if any(kind.startswith("deepspeed") for kind in kinds):
        do_not_compile()
    for kind in kinds:
        name, _, stage = kind.partition(":")
        team = Team(launched.accelerator, name)
        place = out / kind
        if team.first:
            place.mkdir(parents=True)
            # Of a model as tiny as this all would else be left whole.
            names = ("param_persistence_threshold", "max_live_parameters", "max_reuse_distance")
            asked = {"stage": int(stage or 2), **{f"stage3_{name}": 0 for name in names}}
            (place / "zero.json").write_text(json.dumps({"zero_optimization": asked}))
        team.wait()
        os.environ["ACCELERATE_DEEPSPEED_CONFIG_FILE"] = str(place / "zero.json")
        tensors, numbers = {}, {}
        for what, lora in (("whole", None), ("lora", Lora(rank=4, alpha=8))):
            found, numbers[what] = updates(folder, place, team, lora)
            tensors |= {f"{what}.{key}": value for key, value in found.items()}
        if team.first:
            safetensors.torch.save_file(tensors, place / "tensors.safetensors")
            (place / "told.json").write_text(json.dumps(numbers))
    team = launched
    result = {
        "size": team.size,
        "weights": team.weights,
        "gathered": [team.gather(team.share(range(count))) for count in (0, 1, 4, 5)],
        "any": [team.any(team.rank == 0), team.any(team.rank == 1), team.any(False)],
        "writers": team.gather([team.first]),
    }
    if team.first:
        (out / "team.json").write_text(json.dumps(result))
    team.wait()
    if team.accelerator is not None:
        team.accelerator.end_training()


if __name__ == "__main__":
    main()
