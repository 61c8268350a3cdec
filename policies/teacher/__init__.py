"""A teacher of the six memory tools: it plays as an expert does, and keeps notes of what it saw.

What to do next is an expert's knowledge, who has seen only what the agent was shown. All that the
teacher writes stands in the prompt, so a model can learn it from the prompt alone. Each thought
names what was noticed or is looked for, before the act that depends on it: a small model learns to
look things up only where that is written first.

`questions` answers what is asked of what was told; `world` acts in the embodied environments,
each of which has a mind of its own (`minds`).
"""

from __future__ import annotations

import random

from ...harness.errors import unknown_name
from ...harness.models import ModelBase
from ...harness.types import EpisodeView, Model, ModelInfo
from .minds import KNOWN, known
from .questions import UNKNOWN as UNKNOWN
from .questions import Questions
from .slips import Slip as Slip
from .slips import Slipping
from .world import World

# Change whenever what the teacher writes does.
RULES = {"questions": "8", "alfworld": "10", "babyai": "9", "pddl": "10", "scienceworld": "8"}


def rule_of(env: str, expert: str) -> str:
    """The rule by which the teacher writes in an environment, as itself or within three stages."""
    acts = env in KNOWN and KNOWN[env].expert == expert
    return RULES[env if acts else "questions"]


class Teacher(ModelBase):
    """Plays an expert and uses the memory tools; not for models' requests out of an episode.

    Args:
        expert: Of the environment; one that knows only what was shown.
        noise: How often a sensible tool call is left out.
        seed: Of what is left out.
        slips: How often an action is wrong on purpose; see `slips`.
    """

    def __init__(self, expert: str, noise: float = 0.0, seed: int = 0, slips: float = 0.0) -> None:
        self.info = ModelInfo(
            f"teacher ({expert})",
            oracle=True,
            writes=False,
            identity={
                "provider": "teacher", "expert": expert, "rule": RULES, "noise": noise,
                **({"slips": slips} if slips else {}),
            },
        )  # fmt: skip
        self._expert, self._noise, self._seed, self._slips = expert, noise, seed, slips

    def bind(self, episode: EpisodeView) -> Model:
        """The teacher for one episode.

        Raises:
            UsageError: if the environment has no such expert, or it knows what is not shown.
        """
        spec = episode.env.spec
        experts = [name for name in spec.experts if name != "oracle"]
        if self._expert not in experts:
            raise unknown_name(f"expert of {spec.name} that only observes:", self._expert, experts)
        key = episode.key
        draws = random.Random(f"teacher {self._seed} {key.task} {key.seed} {key.repeat}")
        world = known(spec)
        if world is None or world.expert != self._expert:
            return Questions(self.info, self._expert, self._noise, draws, episode)
        teacher = World(self.info, world.make_mind, world.told, self._noise, draws, episode)
        if not self._slips or not spec.has_valid_actions:
            return teacher
        wrong = random.Random(f"slips {self._seed} {key.task} {key.seed} {key.repeat}")
        return Slipping(teacher, self._slips, wrong, episode)
