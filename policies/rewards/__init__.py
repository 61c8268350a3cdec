"""The reward of a trajectory, from its event trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...harness.metering import SharedEmbedder
from ...harness.records import Episode
from ...harness.trace import Event
from ...harness.types import Gold, Model
from ..recipe import RewardRecipe
from ..trajectory import Reward, Stage


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known of one finished rollout.

    Attributes:
        episode: Its record.
        events: Its trace.
        gold: What a perfect memory of its task would hold; None where none is defined.
        stages: The stage of each model call, in order.
        budget: Tokens the context may have: T_max.
        step_limit: Steps after which the environment is not asked any more.
    """

    episode: Episode
    events: Sequence[Event]
    gold: Gold | None
    stages: Sequence[Stage]
    budget: int
    step_limit: int


class Rewarder:
    """Rewards trajectories as a recipe says.

    Args:
        recipe: Profile, scheme and weights.
        embedder: Measures how near texts are.
        judge: Scores answers, where the recipe wants that.
    """

    def __init__(self, recipe: RewardRecipe, embedder: SharedEmbedder, judge: Model | None) -> None:
        self._recipe, self._embedder, self._judge = recipe, embedder, judge

    async def __call__(self, evidence: Evidence) -> Reward:
        """The reward of one trajectory."""
        task = float(bool(evidence.episode.success))
        return Reward(task, {"task": task})
