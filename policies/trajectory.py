"""What training sees of episodes: a group of trajectories of one task, each a list of steps.

A *step* here is one model call with its own exact prompt, since the context is edited between two
calls (arXiv 2601.01885, section 3.3); it is what the harness calls a turn.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..harness.records import Episode
from ..harness.trace import Event
from ..harness.types import Gold

Stage = int  # 1: long-term memory is built; 2: distractors; 3: the task; see `stages_of`


@dataclass(frozen=True, slots=True)
class Step:
    """One model call.

    Attributes:
        prompt_ids: Tokens of the prompt.
        completion_ids: Tokens that the model drew, its stop token among them.
        logprobs: Natural logarithms of their probabilities under the model itself, before
            temperature and top_p, as the sampler computed them; None where it did not tell.
        mask: Of each completion token, whether it is trained on.
        stage: 1, 2 or 3.
    """

    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    logprobs: tuple[float, ...] | None
    mask: tuple[bool, ...]
    stage: Stage

    @property
    def length(self) -> int:
        """Tokens of prompt and completion."""
        return len(self.prompt_ids) + len(self.completion_ids)


@dataclass(frozen=True, slots=True)
class Reward:
    """What a trajectory earned.

    Attributes:
        total: What is trained on.
        components: Every part by name, each as it was before it was weighted; None where a part
            could not be scored, which is not 0.
        hacks: Of each sign of reward hacking, how far it is there, from 0 to 1.
    """

    total: float
    components: Mapping[str, float | None] = field(default_factory=dict)
    hacks: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not math.isfinite(self.total):
            raise ValueError(f"a reward must be a finite number, not {self.total}")


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One rollout of a task."""

    task: str
    rollout: int  # from 0 within the group
    steps: tuple[Step, ...]
    episode: Episode
    events: tuple[Event, ...]
    gold: Gold | None
    reward: Reward


@dataclass(frozen=True, slots=True)
class Group:
    """The rollouts of one task under one policy; they stay together in one update."""

    task: str
    trajectories: tuple[Trajectory, ...]
    source: int = 0  # number of the source that the task is of

    @property
    def rewards(self) -> list[float]:
        """The terminal rewards, in order of the rollouts."""
        return [trajectory.reward.total for trajectory in self.trajectories]

    @property
    def flat(self) -> bool:
        """Whether all rewards are equal, so that nothing can be learned from it."""
        return max(self.rewards) - min(self.rewards) < 1e-9


def stages_of(events: tuple[Event, ...] | list[Event], *, staged: bool) -> list[Stage]:
    """The stage of each model call, in order, read off the event trace.

    Stage 2 begins where the context begins anew, stage 3 where the goal is replaced by the task's
    own. An episode of an environment without stages is all stage 3.

    Args:
        events: Of the episode.
        staged: Whether its environment has the three stages.
    """
    stage, stages = (1 if staged else 3), []
    for event in events:
        if event["type"] == "completion":
            stages.append(stage)
        elif event["type"] == "remove" and event["reason"] == "new_context" and staged:
            stage = max(stage, 2)
        elif event["type"] == "remove" and event["reason"] == "new_goal" and staged:
            stage = 3
    return stages
