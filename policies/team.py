"""A training that several processes carry out: the first one leads, the others do their share.

The first process goes through the training as if it were alone. Its learner and its player are the
team's: what they are asked to do they tell the others, do their own share, and put together what
all have done. So what is decided, logged and written is decided, logged and written once.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from ..harness.errors import InfraError, ModelError, UsageError
from .launched import Team
from .learner import Learner
from .mixture import Pick
from .recipe import GrpoRecipe, Recipe
from .rollout import Batch, Player, add_up
from .sampler import Sampler, make_sampler
from .sharded import check_fsdp
from .trajectory import Group, Step
from .zero import check_zero

END = "end"


def check_team(recipe: Recipe, team: Team) -> None:
    """Refuse what a team cannot do.

    Raises:
        UsageError: for a vLLM server each, or a way to split weights that is not supported.
        MissingExtraError: without DeepSpeed, where it is asked for.
    """
    if team.size == 1:
        return
    if recipe.sampler.engine == "vllm":
        raise UsageError("recipe: sampler.engine vllm is for one process: use hf under a launcher")
    precision = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if precision != "no":
        raise UsageError(
            f"--mixed_precision {precision} is not the launcher's to say: set model.dtype in the "
            "recipe, and launch with --mixed_precision no"
        )
    if team.weights == "fsdp":
        check_fsdp()
    elif team.weights == "deepspeed":
        check_zero(recipe)
    elif team.weights != "copies":
        raise UsageError(
            f"training under {team.weights} is not supported: launch with --multi_gpu, --use_fsdp "
            "or --use_deepspeed, or use the plug-ins for Trinity-RFT and verl (docs/scaling.md)"
        )


class TeamLearner(Learner):
    """The first process's learner: each call is made by all, on their shares."""

    team: Team

    @classmethod
    def lead(cls, team: Team, *args: Any, **kwargs: Any) -> Learner:
        """`Learner.open`, by all processes."""
        if team.size == 1:
            return Learner.open(*args, **kwargs)
        team.tell("open", *args, **kwargs)
        cls.team = team
        return cls.open(*args, team=team, **kwargs)

    def sft_update(self, steps: Sequence[Step], *args: Any, **kwargs: Any) -> dict[str, float]:
        """See `Learner.sft_update`."""
        self.team.tell("sft_update", list(steps), *args, **kwargs)
        return super().sft_update(self.team.share(steps, _length), *args, **kwargs)

    def grpo_update(
        self, groups: Sequence[Group], grpo: GrpoRecipe, learning_rate: float
    ) -> dict[str, float]:
        """See `Learner.grpo_update`."""
        self.team.tell("grpo_update", list(groups), grpo, learning_rate)
        return super().grpo_update(self.team.share(groups), grpo, learning_rate)

    def logprobs(self, steps: Sequence[Step], **kwargs: Any) -> Any:
        """See `Learner.logprobs`; the others only keep pace."""
        self.team.tell("logprobs", [], **kwargs)
        return super().logprobs(steps, **kwargs)

    def hold_reference(self) -> None:
        """See `Learner.hold_reference`."""
        self.team.tell("hold_reference")
        super().hold_reference()

    def reset_optimizer(self) -> None:
        """See `Learner.reset_optimizer`."""
        self.team.tell("reset_optimizer")
        super().reset_optimizer()

    def refresh(self) -> None:
        """See `Learner.refresh`."""
        self.team.tell("refresh")
        super().refresh()

    def save(self, folder: Path) -> None:
        """See `Learner.save`."""
        self.refresh()
        super().save(folder)

    def state(self, keep: bool = True) -> dict[str, Tensor]:
        """See `Learner.state`."""
        self.team.tell("state", keep=False)
        return super().state(keep)

    def restore(self, path: Path) -> None:
        """See `Learner.restore`."""
        self.team.tell("restore", path)
        super().restore(path)

    @property
    def updates(self) -> int:
        """Updates made so far; they seed dropout."""
        return self._optimizer.updates

    @updates.setter
    def updates(self, updates: int) -> None:
        self.team.tell("count", updates)
        self._optimizer.updates = updates


class TeamPlayer(Player):
    """The first process's player: each process plays its share of the tasks."""

    def __init__(self, recipe: Recipe, model: Sampler, runs_dir: Path, team: Team) -> None:
        super().__init__(recipe, model, runs_dir)
        self._team = team

    async def groups(
        self, picks: Sequence[Pick], *, rollouts: int, temperature: float, round_: int
    ) -> Batch:
        """See `Player.groups`."""
        drawn = {"rollouts": rollouts, "temperature": temperature, "round_": round_}
        self._team.tell("groups", list(picks), **drawn)
        return await play_together(super().groups, self._team, picks, drawn)


async def play_together(
    groups: Any, team: Team, picks: Sequence[Pick], drawn: dict[str, Any]
) -> Batch:
    """Play a share of some tasks; the groups of all, in the order of the tasks.

    Raises:
        InfraError: if no group of all could be finished.
    """
    try:
        mine = await groups(team.share(picks), **drawn)
    except InfraError:
        mine = Batch((), len(team.share(picks)))
    told = team.gather([mine])
    found = {(g.source, g.task): g for batch in told for g in batch.groups}
    lost = sum(batch.lost for batch in told)
    costs = [batch.judged for batch in told if batch.judged is not None]
    if lost and not found:
        raise ModelError("no group of rollouts could be finished by any process", "server")
    named = [(pick.source, pick.task.id) for pick in picks]
    whole = tuple(found[name] for name in named if name in found)
    return Batch(whole, lost, add_up(costs))


def _length(step: Step) -> float:
    return step.length


async def follow(team: Team, recipe: Recipe) -> None:
    """What all but the first process do, until that one ends.

    Raises:
        AgememError: as the first one's own share may.
    """
    learner: Any = None
    player: Player | None = None
    sampler: Sampler | None = None
    while True:
        name, args, kwargs = team.hear()
        if name in (END, "open", "play") and player is not None and sampler is not None:
            await player.close()
            await sampler.close()
            player = sampler = None
        if name == END:
            return
        if name == "open":
            learner = Learner.open(*args, team=team, **kwargs)
        elif name == "play":
            sampler = make_sampler(recipe, learner, base=Path(args[0]), scratch=Path(args[1]))
            player = Player(recipe, sampler, Path(args[2]))
            await player.list_tasks()
        elif name == "groups":
            assert player is not None
            assert sampler is not None
            await sampler.forget()  # the weights may have changed
            await play_together(player.groups, team, args[0], kwargs)
        elif name == "count":
            learner.updates = args[0]
        elif name == "sft_update":
            learner.sft_update(team.share(args[0], _length), *args[1:], **kwargs)
        elif name == "grpo_update":
            learner.grpo_update(team.share(args[0]), *args[1:], **kwargs)
        else:
            getattr(learner, name)(*args, **kwargs)
