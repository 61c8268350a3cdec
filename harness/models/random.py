"""`random`: a uniform choice among the valid actions, the floor of every table."""

from __future__ import annotations

import random

from ..errors import UsageError
from ..records import stable_hash
from ..types import Completion, EpisodeView, Model, ModelInfo, Request
from . import ModelBase, estimate_usage, refuse_writing, require_no_name


class RandomModel(ModelBase):
    """Chooses among `valid_actions`; the draws are fixed by task, seed and repeat."""

    info = ModelInfo("random", writes=False, identity={"provider": "random", "rule": "1"})

    def __init__(self, name: str = "") -> None:
        require_no_name("random", name)

    def bind(self, episode: EpisodeView) -> Model:
        """The model for one episode.

        Raises:
            UsageError: if the environment cannot list its valid actions.
        """
        if not episode.env.spec.has_valid_actions:
            raise _cannot_list(episode)
        return _RandomEpisode(episode)


class _RandomEpisode(ModelBase):
    info = RandomModel.info

    def __init__(self, episode: EpisodeView) -> None:
        self._episode = episode
        seed = stable_hash([episode.task.id, episode.key.seed, episode.key.repeat])
        self._draw = random.Random(seed)

    async def generate(self, request: Request) -> Completion:
        """An answer with one of the valid actions; an empty one where there are none."""
        refuse_writing(self.info, request)
        actions = await self._episode.env.valid_actions()
        if actions is None:
            raise _cannot_list(self._episode)
        action = self._draw.choice(actions) if actions else ""
        text = f"<think>Any valid action will do.</think><answer>{action}</answer>"
        return Completion(text, estimate_usage(request, text))


def _cannot_list(episode: EpisodeView) -> UsageError:
    return UsageError(
        f"the model 'random' needs valid actions, and {episode.env.spec.name} cannot list them"
    )
